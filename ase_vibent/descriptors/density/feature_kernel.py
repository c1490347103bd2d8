"""Compiled: gradients of every feature, for training.

What a pack of neighbours adds to the gradients is the Jacobian of the features in the
channels, sparse, times the moves of the channels with each neighbour. The atom's own
gradient and the strain derivative are sums over neighbours, hence one more pack of moves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ase_vibent.arrays import IntArray
from ase_vibent.compiled.jit import compiled, inlined
from ase_vibent.compiled.simd import (
    LANES,
    WIDTH,
    load,
    load_lanes,
    repeat_lanes,
    splat,
    splat_lanes,
    store,
    sums,
    transpose,
)
from ase_vibent.descriptors.density.basis import AZIMUTH
from ase_vibent.descriptors.density.expansion import expand, project_all, radial_slopes
from ase_vibent.descriptors.density.products import Products
from ase_vibent.descriptors.density.work_arrays import work_arrays


class JacobianPattern(NamedTuple):
    """Which channels each feature depends on, for some of the features.

    Attributes
    ----------
    first, last : int
        Range of the features, `last` excluded.
    entries : ndarray of int64
        Entries of the features in `Products`.
    members, slots : ndarrays of int64, shape (n_entries, order)
        Channels of an entry's product, -1 for none, and where its slopes in them belong.
    starts : ndarray of int64, shape (last - first + 1,)
        Slots of a feature.
    channels : ndarray of int64
        Channel of every slot.
    """

    first: int
    last: int
    entries: IntArray
    members: IntArray
    slots: IntArray
    starts: IntArray
    channels: IntArray


def jacobian_pattern(products: Products, n_channels: int, first: int, last: int) -> JacobianPattern:
    """Pattern of the features from `first` to `last`, excluded.

    Parameters
    ----------
    products : Products
    n_channels, first, last : int

    Returns
    -------
    JacobianPattern
    """
    entries = np.flatnonzero((products.feature_of >= first) & (products.feature_of < last))
    members = products.members[products.product_of[entries]]
    features = products.feature_of[entries, None] - first + np.zeros_like(members)
    present = members >= 0
    pairs, inverse = np.unique(
        features[present] * n_channels + members[present], return_inverse=True
    )
    slots = np.full(members.shape, -1)
    slots[present] = inverse
    starts = np.searchsorted(pairs // n_channels, np.arange(last - first + 1))
    return JacobianPattern(first, last, entries, members, slots, starts, pairs % n_channels)


@inlined
def jacobian(pattern, coefficients, density, values):
    """Slopes of the features in the channels of lane 0, at their slots."""
    values[:] = 0.0
    for e in range(len(pattern.entries)):
        member, slot = pattern.members[e], pattern.slots[e]
        for t in range(len(member)):
            if member[t] < 0:
                continue
            others = coefficients[pattern.entries[e]]
            for u in range(len(member)):
                if u != t and member[u] >= 0:
                    others *= density[member[u], 0]
            values[slot[t]] += others


@inlined
def harmonics_with_gradients(pack, tables, work, own, gradients):
    """Y_lm of a pack, and the gradients of Y_lm(r/|r|): shapes (n, LANES), (n, 3, LANES)."""
    legendre, n_degrees, zero = tables.legendre_row, tables.n_degrees, splat_lanes(0.0)
    x, y = load_lanes(work.packs, pack), load_lanes(work.packs, pack + LANES)
    z, inverse = load_lanes(work.packs, pack + 2 * LANES), load_lanes(work.packs, pack + 4 * LANES)
    for l in range(n_degrees):
        for m in range(-l, l + 1):
            even, size = (m >= 0), abs(m)
            lm, row = l * (l + 1) // 2 + size, n_degrees**2 - (l + 1) ** 2 + l + m
            turn = pack + (AZIMUTH + 2 * size) * LANES
            turned = load_lanes(work.packs, turn if even else turn + LANES)
            plain = load_lanes(work.packs, pack + (legendre + lm) * LANES)
            value, to_x, to_y, to_z = plain * turned, zero, zero, zero
            if size < l:
                below = load_lanes(work.packs, pack + (legendre + lm - l) * LANES)
                to_z = repeat_lanes(tables.harmonics, 4 * lm + 2) * below * turned
            if size + 1 < l:
                side = load_lanes(work.packs, pack + (legendre + lm - l + 1) * LANES)
                ring = repeat_lanes(tables.harmonics, 4 * lm + 3) * side * turned
                to_x, to_y = x * ring, y * ring
            if size > 0:
                times = splat_lanes(float(size)) * plain
                re, im = (
                    load_lanes(work.packs, turn - 2 * LANES),
                    load_lanes(work.packs, turn - LANES),
                )
                if even:
                    to_x, to_y = to_x + times * re, to_y - times * im
                else:
                    to_x, to_y = to_x + times * im, to_y + times * re
            along = splat_lanes(float(l)) * value
            store(own, row * LANES, value)
            store(gradients, 3 * row * LANES, inverse * (to_x - along * x))
            store(gradients, (3 * row + 1) * LANES, inverse * (to_y - along * y))
            store(gradients, (3 * row + 2) * LANES, inverse * (to_z - along * z))


@inlined
def pack_moves(pack, k, lane, channels, tables, work, own, gradients, mask, moves, first):
    """Slopes of all channels in the vectors to a pack, whose first neighbour is number k.

    Parameters
    ----------
    channels : ndarray of int64, shape (n_channels, 3)
        Neighbour species, n and row among the harmonics.
    own, gradients, mask : ndarrays
        Work arrays.
    moves : ndarray, shape (n_packs + 1, n_channels, 3, LANES)
        Filled from offset `first` on.
    """
    radial = tables.radial_row
    radial_slopes(pack, tables, work)
    harmonics_with_gradients(pack, tables, work, own, gradients)
    for species in range(mask.shape[0]):
        begin, end = work.columns[lane, species], work.columns[lane, species + 1]
        for b in range(LANES):
            mask[species, b] = 1.0 if begin <= k + b < end else 0.0
    x, y = load_lanes(work.packs, pack), load_lanes(work.packs, pack + LANES)
    z = load_lanes(work.packs, pack + 2 * LANES)
    for c in range(len(channels)):
        n, row = channels[c, 1] - 1, channels[c, 2]
        present = load_lanes(mask, channels[c, 0] * LANES)
        value = present * load_lanes(work.packs, pack + (radial + n) * LANES)
        slope = present * load_lanes(work.slopes, n * LANES) * load_lanes(own, row * LANES)
        at = first + 3 * c * LANES
        store(moves, at, slope * x + value * load_lanes(gradients, 3 * row * LANES))
        at += LANES
        store(moves, at, slope * y + value * load_lanes(gradients, (3 * row + 1) * LANES))
        at += LANES
        store(moves, at, slope * z + value * load_lanes(gradients, (3 * row + 2) * LANES))


@inlined
def summed_moves(lane, n_packs, work, moves):
    """Fill one more pack of moves: with the atom itself, and with strain along x, y, z."""
    size = work.packs.shape[2] * LANES
    stride = moves.shape[1] * 3 * LANES
    for row in range(0, stride, LANES):
        own, by_x, by_y, by_z = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
        for k in range(n_packs):
            pack = (lane * work.packs.shape[1] + k) * size
            for half in range(0, LANES, WIDTH):
                move = load(moves, k * stride + row + half)
                own -= move
                move *= load(work.packs, pack + 3 * LANES + half)
                by_x += move * load(work.packs, pack + half)
                by_y += move * load(work.packs, pack + LANES + half)
                by_z += move * load(work.packs, pack + 2 * LANES + half)
        store(moves, n_packs * stride + row, sums(own, by_x, by_y, by_z))
        store(moves, n_packs * stride + row + WIDTH, splat(0.0))


@inlined
def contract_moves(pattern, values, moves, first, part):
    """Slopes of the features in the vectors to a pack: `part`, shape (n_features, 3, LANES)."""
    for f in range(len(pattern.starts) - 1):
        x, y, z = splat_lanes(0.0), splat_lanes(0.0), splat_lanes(0.0)
        for s in range(np.uint64(pattern.starts[f]), np.uint64(pattern.starts[f + 1])):
            weight, at = repeat_lanes(values, s), first + 3 * LANES * pattern.channels[s]
            x += weight * load_lanes(moves, at)
            y += weight * load_lanes(moves, at + LANES)
            z += weight * load_lanes(moves, at + 2 * LANES)
        store(part, 3 * f * LANES, x)
        store(part, (3 * f + 1) * LANES, y)
        store(part, (3 * f + 2) * LANES, z)


@inlined
def scatter_features(part, half, rows, first, result):
    """Add half a pack's slopes to the rows of its atoms, result[rows, :, first:]."""
    n_features, stride = part.shape[0], result.shape[2]
    whole = n_features - n_features % WIDTH
    for axis in range(3):
        for f in range(0, whole, WIDTH):
            at = (3 * f + axis) * LANES + half
            columns = transpose(
                load(part, at), load(part, at + 3 * LANES),
                load(part, at + 6 * LANES), load(part, at + 9 * LANES),
            )  # fmt: skip
            to = axis * stride + first + f
            for b, column in enumerate(columns):
                place = 3 * stride * rows[half + b] + to
                store(result, place, load(result, place) + column)
        for f in range(whole, n_features):
            for b in range(WIDTH):
                result[rows[half + b], axis, first + f] += part[f, axis, half + b]


@compiled
def feature_gradients(chunk, owners, points, tables, products, channels, pattern, groups, result):
    """Add the gradients and strain derivatives of some features of a chunk's atoms.

    Returns the shortest distance, Å.

    Parameters
    ----------
    chunk : Chunk
    owners : ndarray of int64, shape (n_points,)
    points : ndarray, shape (4 * n_points,), Å
    tables : Tables
    products : Products
    channels : ndarray of int64, shape (n_channels, 3)
        Neighbour species, n and row among the harmonics.
    pattern : JacobianPattern
        Of the features that are wanted.
    groups : ndarray of int64, shape (N,)
        Of the atoms as centres: features are summed over the atoms of a group.
    result : ndarray, shape (n_groups, N + 3, 3, n_features)
        Rows N to N + 2: strain derivatives. Other features are not touched.
    """
    work = work_arrays(tables, chunk.offsets.shape[1] - 1, chunk.most)
    n_channels, lane = len(tables.places), np.int64(0)
    density = np.empty((n_channels, LANES))
    values = np.empty(len(pattern.channels))
    n_harmonics = work.pair_forces.shape[1]
    own, gradients = np.empty((n_harmonics, LANES)), np.empty((n_harmonics, 3, LANES))
    mask = np.empty((work.columns.shape[1] - 1, LANES))
    moves = np.empty((work.packs.shape[1] + 1, n_channels, 3, LANES))
    part = np.empty((pattern.last - pattern.first, 3, LANES))
    rows, n_atoms = np.empty(LANES, dtype=np.int64), len(groups)
    closest = np.inf
    for i in range(len(chunk.centres)):
        closest = min(closest, expand(lane, i, chunk, points, tables, work))
        project_all(lane, tables, work, density)
        jacobian(pattern, products.coefficients, density, values)
        centre = owners[chunk.centres[i]]
        n_packs = (work.columns[0, -1] + LANES - 1) // LANES
        for k in range(n_packs):
            pack, first = k * work.packs.shape[2] * LANES, k * n_channels * 3 * LANES
            pack_moves(
                pack, k * LANES, lane, channels, tables, work, own, gradients, mask, moves, first
            )
        summed_moves(lane, n_packs, work, moves)
        for k in range(n_packs + 1):
            contract_moves(pattern, values, moves, k * n_channels * 3 * LANES, part)
            for b in range(LANES):
                if k < n_packs:
                    rows[b] = owners[work.indices[0, k * LANES + b]]
                else:
                    rows[b] = centre if b == 0 else n_atoms + min(b, 3) - 1
            for half in range(0, LANES if k < n_packs else WIDTH, WIDTH):
                scatter_features(part, half, rows, pattern.first, result[groups[centre]])
    return np.sqrt(closest)
