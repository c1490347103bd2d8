"""Compiled: values of a linear site model, and slopes of their sum, for a chunk of atoms."""

from __future__ import annotations

import numpy as np

from ase_vibent.compiled.jit import compiled, inlined
from ase_vibent.compiled.simd import (
    LANES,
    WIDTH,
    load,
    load_lanes,
    splat,
    splat_lanes,
    store,
    transpose,
)
from ase_vibent.descriptors.density.expansion import (
    combine_radial,
    expand,
    pair_forces,
    project_all,
    radial_slopes,
)
from ase_vibent.descriptors.density.form_kernel import form_of_block
from ase_vibent.descriptors.density.polynomials import sum_features, weighted_sum
from ase_vibent.descriptors.density.work_arrays import work_arrays


@inlined
def add(array, offset, vector):
    """Add LANES numbers to those of an array."""
    store(array, offset, load_lanes(array, offset) + vector)


@inlined
def add_row(array, row, vector):
    """Add WIDTH numbers to a row of as many."""
    store(array, row * WIDTH, load(array, row * WIDTH) + vector)


@inlined
def scatter_pulls(lane, centre, first, slope, tables, work, gradient, strain):
    """Add one atom's slopes to the gradient on points and to the strain derivative.

    Parameters
    ----------
    slope : ndarray, shape (n_channels, LANES)
        Of the atom's value in its channels.
    gradient : ndarray, shape (n_points, 4)
        Of the points from `first` on; the last column is for filling.
    strain : ndarray, shape (6, LANES)
        Components xx, yy, zz, yz + zy, xz + zx, xy + yx, still to be summed over the last axis.
    """
    n_species, size = work.columns.shape[1] - 1, work.packs.shape[2] * LANES
    indices, count = work.indices[lane], work.columns[lane, n_species]
    work.tiles[:] = 0.0
    for c in range(len(tables.places)):
        work.tiles[tables.places[c]] = slope[c, lane]
    species, zero = 0, splat_lanes(0.0)
    own_x, own_y, own_z = zero, zero, zero
    for k in range(0, count, LANES):
        pack = lane * work.packs.shape[1] * size + k // LANES * size
        radial_slopes(pack, tables, work)
        for half in range(0, LANES, WIDTH):
            while species < n_species and work.columns[lane, species + 1] <= k + half:
                species += 1
            if species < n_species:
                combine_radial(pack, half, species * tables.tile_starts[-1], tables, work)
            else:
                for row in range(half, work.pair_forces.size, LANES):
                    store(work.pair_forces, row, splat(0.0))
        fx, fy, fz = pair_forces(pack, tables, work)
        r = load_lanes(work.packs, pack + 3 * LANES)
        x, y = r * load_lanes(work.packs, pack), r * load_lanes(work.packs, pack + LANES)
        z = r * load_lanes(work.packs, pack + 2 * LANES)
        add(strain, 0, x * fx)
        add(strain, LANES, y * fy)
        add(strain, 2 * LANES, z * fz)
        add(strain, 3 * LANES, y * fz + z * fy)
        add(strain, 4 * LANES, x * fz + z * fx)
        add(strain, 5 * LANES, x * fy + y * fx)
        own_x, own_y, own_z = own_x + fx, own_y + fy, own_z + fz
        store(work.forces, 0, fx)
        store(work.forces, LANES, fy)
        store(work.forces, 2 * LANES, fz)
        # Fillers pull the centre itself with zero force.
        for half in range(0, LANES, WIDTH):
            a, b, c, d = transpose(
                load(work.forces, half), load(work.forces, LANES + half),
                load(work.forces, 2 * LANES + half), load(work.forces, 3 * LANES),
            )  # fmt: skip
            j = k + half
            add_row(gradient, indices[j] - first, a)
            add_row(gradient, indices[j + 1] - first, b)
            add_row(gradient, indices[j + 2] - first, c)
            add_row(gradient, indices[j + 3] - first, d)
    store(work.forces, 0, own_x)
    store(work.forces, LANES, own_y)
    store(work.forces, 2 * LANES, own_z)
    for axis in range(3):
        for b in range(LANES):
            gradient[centre - first, axis] -= work.forces[axis, b]


@compiled
def chunk_sums(chunk, atom_types, points, tables, products, weights, want_gradient, forms):
    """Linear model of a chunk's atoms, and quadratic forms of their features.

    Parameters
    ----------
    chunk : Chunk
    atom_types : ndarray of int64, shape (n_points,)
        Of centres.
    points : ndarray, shape (4 * n_points,), Å
    tables : Tables
    products : Products
    weights : ndarray, shape (n_kinds, n_products)
    want_gradient : bool
    forms : tuple of QuadraticForm
        Those without rows are left out.

    Returns
    -------
    values : ndarray, shape (n_centres,)
    gradient : ndarray, shape (n_points of the chunk, 4)
    strain : ndarray, shape (6, LANES)
        Components of `scatter_pulls`, still to be summed over the last axis.
    closest : float, Å
        Shortest distance; infinite without neighbours.
    form_values : ndarray, shape (n_forms, n_centres)
    form_sums : ndarray, shape (n_forms, n_kinds, n_features, LANES)
        Sums of y, see `FormValues`, still to be summed over the last axis.
    """
    values, strain = np.empty(len(chunk.centres)), np.zeros((6, LANES))
    gradient = np.zeros((chunk.last - chunk.first if want_gradient else 0, WIDTH))
    work = work_arrays(tables, chunk.offsets.shape[1] - 1, chunk.most)
    n_channels, n_shared = len(tables.places), len(products.shared_left)
    density, slope = np.zeros((n_channels, LANES)), np.empty((n_channels, LANES))
    shared, adjoint = np.empty((n_shared, LANES)), np.empty((n_shared + 1, LANES))
    wanted = False
    for form in forms:
        wanted |= len(form.rows) > 0
    n_features = products.feature_of[-1] + 1 if wanted else 0
    features, y = np.empty((1, n_features, LANES)), np.empty((n_features, LANES))
    form_values = np.empty((len(forms), len(values) if wanted else 0))
    form_sums = np.zeros((len(forms), len(weights), n_features, LANES))
    closest = np.inf
    for block in range(len(chunk.blocks) - 1):
        start, stop = chunk.blocks[block], chunk.blocks[block + 1]
        for lane in range(stop - start):
            near = expand(lane, start + lane, chunk, points, tables, work)
            closest = min(closest, near)
            project_all(lane, tables, work, density)
        kind = atom_types[chunk.centres[start]]
        weighted_sum(products, weights[kind], density, shared, adjoint, slope)
        if wanted:
            sum_features(products, density, shared, features, 0)
            for k in range(len(forms)):
                own = form_values[k, start:stop]
                form_of_block(forms[k], kind, features, 0, own, y, form_sums[k])
        for lane in range(stop - start):
            values[start + lane] = adjoint[0, lane]
            if want_gradient:
                centre = chunk.centres[start + lane]
                scatter_pulls(lane, centre, chunk.first, slope, tables, work, gradient, strain)
    return values, gradient, strain, np.sqrt(closest), form_values, form_sums


@compiled
def batch_densities(batch, points, tables):
    """Channels of a batch's atoms, shape (n_blocks, n_channels, LANES), and `closest`.

    Parameters and `closest` as in `chunk_sums`.
    """
    densities = np.zeros((len(batch.blocks) - 1, len(tables.places), LANES))
    work, closest = work_arrays(tables, batch.offsets.shape[1] - 1, batch.most), np.inf
    for block in range(len(batch.blocks) - 1):
        start, stop = batch.blocks[block], batch.blocks[block + 1]
        for lane in range(stop - start):
            near = expand(lane, start + lane, batch, points, tables, work)
            closest = min(closest, near)
            project_all(lane, tables, work, densities[block])
    return densities, np.sqrt(closest)


@compiled
def add_pair_forces(batch, points, tables, slopes, gradient, strain):
    """Add gradient and strain of a batch's values from their slopes in the channels.

    Parameters
    ----------
    slopes : ndarray, shape (n_blocks, n_channels, LANES)
        The others as in `chunk_sums`.
    """
    work = work_arrays(tables, batch.offsets.shape[1] - 1, batch.most)
    for block in range(len(batch.blocks) - 1):
        start, stop = batch.blocks[block], batch.blocks[block + 1]
        for lane in range(stop - start):
            expand(lane, start + lane, batch, points, tables, work)
            centre, slope = batch.centres[start + lane], slopes[block]
            scatter_pulls(lane, centre, batch.first, slope, tables, work, gradient, strain)
