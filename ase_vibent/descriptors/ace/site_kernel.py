"""Compiled: values of a linear site model, and slopes of their sum, for a chunk of atoms."""

from __future__ import annotations

import numpy as np

from ase_vibent.compilation import compiled
from ase_vibent.descriptors.ace.expansion import (
    combine_radial,
    expand,
    pair_pulls,
    project_all,
    radial_slopes,
)
from ase_vibent.descriptors.ace.polynomials import weighted_sum
from ase_vibent.descriptors.ace.tables import work_arrays
from ase_vibent.simd import LANES, WIDTH, load, splat, store, sums, transposed


@compiled
def scatter_pulls(lane, centre, first, slope, tables, work, gradient, strain):
    """Add one atom's slopes to the gradient on points and to the strain derivative.

    Parameters
    ----------
    slope : ndarray, shape (n_channels, LANES)
        Of the atom's value in its channels.
    gradient : ndarray, shape (n_points, 4)
        Of the points from `first` on; the last column is for filling.
    strain : ndarray, shape (6, WIDTH)
        Components xx, yy, zz, yz, xz, xy, still to be summed over the last axis.
    """
    width = work.radial.shape[2]
    zero = splat(0.0)
    own_x, own_y, own_z = zero, zero, zero
    xx, yy, zz, yz, xz, xy = zero, zero, zero, zero, zero, zero
    radial_slopes(lane, work.columns[lane, -1], tables, work)
    indices = work.indices[lane]
    for species in range(len(tables.species_channels) - 1):
        begin = work.columns[lane, species]
        end = begin + work.counts[lane, species]
        for c in range(tables.species_channels[species], tables.species_channels[species + 1]):
            work.tiles[tables.places[c]] = slope[tables.channels[c], lane]
        for k in range(begin, end, WIDTH):
            combine_radial(lane, k, tables, work)
            fx, fy, fz = pair_pulls(lane, k, tables, work)
            own_x, own_y, own_z = own_x + fx, own_y + fy, own_z + fz
            pair = lane * 7 * width + k
            r = load(work.pairs, pair + 3 * width)
            x, y = r * load(work.pairs, pair), r * load(work.pairs, pair + width)
            z = r * load(work.pairs, pair + 2 * width)
            xx, yy, zz = xx + x * fx, yy + y * fy, zz + z * fz
            yz, xz, xy = yz + y * fz, xz + x * fz, xy + x * fy
            # Fillers pull the centre itself with zero force.
            for b, pull in enumerate(transposed(fx, fy, fz, zero)):
                j = 4 * (indices[k + b] - first)
                store(gradient, j, load(gradient, j) + pull)
    own = 4 * (centre - first)
    store(gradient, own, load(gradient, own) - sums(own_x, own_y, own_z, zero))
    for row, part in enumerate((xx, yy, zz, yz, xz, xy)):
        store(strain, row * WIDTH, load(strain, row * WIDTH) + part)


@compiled
def chunk_sums(
    chunk, species, points, tables, left, right, leaves, weights, want_gradient,
    values, gradient, strain,
):  # fmt: skip
    """Values of a chunk's atoms; adds the slopes of their sum. Returns the shortest distance.

    Parameters
    ----------
    chunk : tuple of ndarrays
        Centres, offsets, candidates, blocks (see `Chunk`), and the first point.
    weights : ndarray, shape (n_species, n_products)
    values : ndarray, shape (n_centres,)
        Overwritten.
    gradient, strain
        See `scatter_pulls`.
    """
    centres, offsets, candidates, blocks, first = chunk
    work = work_arrays(tables, offsets)
    n_channels, n_inner = len(tables.channels), len(leaves) - 1
    density, slope = np.zeros((n_channels, LANES)), np.empty((n_channels, LANES))
    inner, adjoint = np.empty((n_inner, LANES)), np.empty((n_inner, LANES))
    closest = np.inf
    for block in range(len(blocks) - 1):
        start, stop = blocks[block], blocks[block + 1]
        for lane in range(stop - start):
            i = start + lane
            near = expand(lane, centres[i], points, candidates, offsets[i], tables, work)
            closest = min(closest, near)
            project_all(lane, tables, work, density)
        own = weights[species[centres[start]]]
        weighted_sum(left, right, leaves, own, density, inner, adjoint, slope)
        for lane in range(stop - start):
            values[start + lane] = adjoint[0, lane]
            if want_gradient:
                scatter_pulls(
                    lane, centres[start + lane], first, slope, tables, work, gradient, strain
                )  # fmt: skip
    return np.sqrt(closest)
