"""Compiled: from the neighbours of an atom to its channels A, and from slopes in A to forces.

Works on WIDTH neighbours at a time. Sizes are arguments and tables are arrays, so that one
compilation serves every basis.
"""

from __future__ import annotations

import numpy as np

from ase_vibent.compiled.jit import chosen, inlined
from ase_vibent.compiled.simd import (
    LANES,
    WIDTH,
    load,
    load_lanes,
    repeat,
    repeat_lanes,
    root,
    splat,
    splat_lanes,
    store,
    sums,
)
from ase_vibent.descriptors.density.basis import AZIMUTH, is_tabulated
from ase_vibent.descriptors.density.interpolation import tabulated_functions, tabulated_slopes


@inlined
def gather_neighbours(lane, centre, points, candidates, offsets, cutoff, work):
    """Vectors to the candidates within the cutoff; returns the shortest squared distance."""
    # Unsigned indices need no look whether they count from the end.
    at = np.uint64(4 * centre)
    x, y, z = points[at], points[at + np.uint64(1)], points[at + np.uint64(2)]
    to_x, to_y, to_z, to_square = work.vectors
    indices = work.indices[lane]
    limit, closest, n = cutoff * cutoff, np.inf, np.uint64(0)
    for species in range(len(offsets) - 1):
        work.columns[lane, species] = n
        for k in range(np.uint64(offsets[species]), np.uint64(offsets[species + 1])):
            j = candidates[k]
            at = np.uint64(4 * j)
            dx, dy = points[at] - x, points[at + np.uint64(1)] - y
            dz = points[at + np.uint64(2)] - z
            square = dx * dx + dy * dy + dz * dz
            to_x[n], to_y[n], to_z[n], to_square[n], indices[n] = dx, dy, dz, square, j
            closest = closest if closest < square else square
            n += np.uint64(square < limit)  # no branch to be guessed wrong
        while n % np.uint64(WIDTH):
            to_x[n], to_y[n], to_z[n], to_square[n], indices[n] = 0.0, 0.0, cutoff, limit, centre
            n += np.uint64(1)
    work.columns[lane, len(offsets) - 1] = n
    while n % np.uint64(LANES):
        to_x[n], to_y[n], to_z[n], to_square[n], indices[n] = 0.0, 0.0, cutoff, limit, centre
        n += np.uint64(1)
    return closest


@chosen
def radial_functions(lane, tables, work):
    """Unit vectors, distances and R_n of the neighbours of one atom."""
    return tabulated_functions if is_tabulated(tables) else polynomial_functions


def polynomial_functions(lane, tables, work):
    """`radial_functions` by recursion."""
    count, size = work.columns[lane, -1], work.packs.shape[2] * LANES
    radial = tables.radial_row
    shifted, power = tables.radial[0], int(tables.radial[1])
    cut, one = splat_lanes(tables.radial[2]), splat_lanes(1.0)
    for k in range(0, count, LANES):
        pack = lane * work.packs.shape[1] * size + k // LANES * size
        r = root(load_lanes(work.vectors, 3 * work.vectors.shape[1] + k))
        inverse = one / r
        for axis in range(3):
            along = load_lanes(work.vectors, axis * work.vectors.shape[1] + k)
            store(work.packs, pack + axis * LANES, along * inverse)
        store(work.packs, pack + 3 * LANES, r)
        store(work.packs, pack + 4 * LANES, inverse)
        ratio = splat_lanes(shifted) / (one + r)
        x = ratio
        for _ in range(1, power):
            x = x * ratio
        store(work.packs, pack + 5 * LANES, x)
        store(work.packs, pack + 6 * LANES, splat_lanes(-float(power) / shifted) * x * ratio)
        at = pack + radial * LANES
        old, new = splat_lanes(0.0), repeat_lanes(tables.recursion, 0) * (x - cut) * (x - cut)
        store(work.packs, at, new)
        for n in range(1, len(tables.recursion)):
            line = repeat_lanes(tables.recursion, 3 * n) * x
            line += repeat_lanes(tables.recursion, 3 * n + 1)
            old, new = new, line * new + repeat_lanes(tables.recursion, 3 * n + 2) * old
            store(work.packs, at + n * LANES, new)


@inlined
def spherical_harmonics(lane, tables, work):
    """Y_lm of the neighbours of one atom, and the parts that its gradient needs."""
    count, size = work.columns[lane, -1], work.packs.shape[2] * LANES
    legendre = tables.legendre_row
    n_degrees = tables.n_degrees
    for k in range(0, count, LANES):
        pack = lane * work.packs.shape[1] * size + k // LANES * size
        first = k * work.harmonics.shape[1] + n_degrees**2 * LANES
        x, y = load_lanes(work.packs, pack), load_lanes(work.packs, pack + LANES)
        z = load_lanes(work.packs, pack + 2 * LANES)
        re, im = splat_lanes(1.0), splat_lanes(0.0)
        for m in range(n_degrees):
            store(work.packs, pack + (AZIMUTH + 2 * m) * LANES, re)
            store(work.packs, pack + (AZIMUTH + 2 * m + 1) * LANES, im)
            old, new = splat_lanes(0.0), splat_lanes(0.0)
            for l in range(m, n_degrees):
                lm = l * (l + 1) // 2 + m
                if l == m:
                    new = repeat_lanes(tables.harmonics, 4 * lm)
                else:
                    line = repeat_lanes(tables.harmonics, 4 * lm) * z
                    rest = repeat_lanes(tables.harmonics, 4 * lm + 1) * old
                    old, new = new, line * new + rest
                store(work.packs, pack + (legendre + lm) * LANES, new)
                centre = first + (l - (l + 1) ** 2) * LANES
                store(work.harmonics, centre + m * LANES, new * re)
                if m > 0:
                    store(work.harmonics, centre - m * LANES, new * im)
            re, im = x * re - y * im, x * im + y * re


@chosen
def first_function(tables, tile):
    """The first radial function of a tile."""
    return tabulated_first if is_tabulated(tables) else polynomial_first


def polynomial_first(tables, tile):
    """0, for all of ACE's tiles: known to the compiler, which saves a fifth of the time."""
    return 0


def tabulated_first(tables, tile):
    """As the tables say."""
    return tables.tile_first[tile]


@inlined
def project(lane, species, tables, work):
    """Fill the tiles with Σ_j R_n Y_lm over the neighbours of one species."""
    start = np.uint64(work.columns[lane, species])
    stop = np.uint64(work.columns[lane, species + 1])
    size, of_harmonics = work.packs.shape[2] * LANES, work.harmonics.shape[1] * LANES
    radial = tables.radial_row
    row = lane * work.packs.shape[1] * size + radial * LANES
    first = species * tables.tile_starts[-1]
    for tile in range(len(tables.tile_last)):
        place, one = first + tables.tile_starts[tile], tile * WIDTH * LANES
        for n in range(first_function(tables, tile), tables.tile_last[tile], 3):
            a0, a1, a2, a3 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
            b0, b1, b2, b3 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
            c0, c1, c2, c3 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
            for k in range(start, stop, np.uint64(WIDTH)):
                pack, column = int(k) // LANES, int(k) % LANES
                r, y = row + n * LANES + pack * size + column, one + pack * of_harmonics + column
                a, b = load(work.packs, r), load(work.packs, r + LANES)
                c, y0 = load(work.packs, r + 2 * LANES), load(work.harmonics, y)
                a0, b0, c0 = a0 + a * y0, b0 + b * y0, c0 + c * y0
                y1 = load(work.harmonics, y + LANES)
                a1, b1, c1 = a1 + a * y1, b1 + b * y1, c1 + c * y1
                y2 = load(work.harmonics, y + 2 * LANES)
                a2, b2, c2 = a2 + a * y2, b2 + b * y2, c2 + c * y2
                y3 = load(work.harmonics, y + 3 * LANES)
                a3, b3, c3 = a3 + a * y3, b3 + b * y3, c3 + c * y3
            store(work.tiles, place, sums(a0, a1, a2, a3))
            store(work.tiles, place + WIDTH, sums(b0, b1, b2, b3))
            store(work.tiles, place + 2 * WIDTH, sums(c0, c1, c2, c3))
            place += 3 * WIDTH
    # Y_00 = 1.
    single, end = tables.tile_starts[-2], tables.tile_starts[-1]
    row += first_function(tables, len(tables.tile_last)) * LANES
    for n in range(0, end - single, WIDTH):
        a0, a1, a2, a3 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
        for k in range(start, stop, np.uint64(WIDTH)):
            r = row + n * LANES + int(k) // LANES * size + int(k) % LANES
            a0, a1 = a0 + load(work.packs, r), a1 + load(work.packs, r + LANES)
            a2 += load(work.packs, r + 2 * LANES)
            a3 += load(work.packs, r + 3 * LANES)
        store(work.tiles, first + single + n, sums(a0, a1, a2, a3))


@inlined
def expand(lane, i, chunk, points, tables, work):
    """All that the channels of a chunk's centre i need; returns its shortest squared distance."""
    centre, offsets = chunk.centres[i], chunk.offsets[i]
    cutoff = tables.radial[3]
    closest = gather_neighbours(lane, centre, points, chunk.candidates, offsets, cutoff, work)
    radial_functions(lane, tables, work)
    spherical_harmonics(lane, tables, work)
    return closest


@inlined
def project_all(lane, tables, work, density):
    """Channels of one atom, density[:, lane]; directly after `expand`."""
    for species in range(work.columns.shape[1] - 1):
        project(lane, species, tables, work)
    for c in range(len(tables.places)):
        density[c, lane] = work.tiles[tables.places[c]]


@chosen
def radial_slopes(pack, tables, work):
    """dR_n/dr of one pack, which begins at an offset."""
    return tabulated_slopes if is_tabulated(tables) else polynomial_slopes


def polynomial_slopes(pack, tables, work):
    """`radial_slopes` by recursion."""
    radial = tables.radial_row
    row = pack + radial * LANES
    x, dx = load_lanes(work.packs, pack + 5 * LANES), load_lanes(work.packs, pack + 6 * LANES)
    cut, two = splat_lanes(tables.radial[2]), splat_lanes(2.0)
    old, new = splat_lanes(0.0), two * repeat_lanes(tables.recursion, 0) * (x - cut)
    store(work.slopes, 0, new * dx)
    for n in range(1, len(tables.recursion)):
        a = repeat_lanes(tables.recursion, 3 * n)
        line = a * x + repeat_lanes(tables.recursion, 3 * n + 1)
        own = a * load_lanes(work.packs, row + (n - 1) * LANES)
        own += repeat_lanes(tables.recursion, 3 * n + 2) * old
        old, new = new, line * new + own
        store(work.slopes, n * LANES, new * dx)


@inlined
def combine_radial(pack, half, first, tables, work):
    """Per harmonic, Σ_n w_nlm R_n and Σ_n w_nlm R_n' of half a pack.

    The weights w stand in the tiles from `first` on.
    """
    radial = tables.radial_row
    row, primed = pack + radial * LANES + half, work.pair_forces.shape[1] * LANES
    zero = splat(0.0)
    for tile in range(len(tables.tile_last)):
        w = first + tables.tile_starts[tile]
        a0, a1, a2, a3, b0, b1, b2, b3 = zero, zero, zero, zero, zero, zero, zero, zero
        begin = first_function(tables, tile) * LANES
        for n in range(begin, tables.tile_last[tile] * LANES, LANES):
            value, slope = load(work.packs, row + n), load(work.slopes, half + n)
            w0, w1 = repeat(work.tiles, w), repeat(work.tiles, w + 1)
            a0, b0, a1, b1 = a0 + w0 * value, b0 + w0 * slope, a1 + w1 * value, b1 + w1 * slope
            w2, w3 = repeat(work.tiles, w + 2), repeat(work.tiles, w + 3)
            a2, b2, a3, b3 = a2 + w2 * value, b2 + w2 * slope, a3 + w3 * value, b3 + w3 * slope
            w += WIDTH
        at = tile * WIDTH * LANES + half
        store(work.pair_forces, at, a0)
        store(work.pair_forces, at + LANES, a1)
        store(work.pair_forces, at + 2 * LANES, a2)
        store(work.pair_forces, at + 3 * LANES, a3)
        store(work.pair_forces, primed + at, b0)
        store(work.pair_forces, primed + at + LANES, b1)
        store(work.pair_forces, primed + at + 2 * LANES, b2)
        store(work.pair_forces, primed + at + 3 * LANES, b3)
    single, end = first + tables.tile_starts[-2], first + tables.tile_starts[-1]
    if single < end:
        skipped = first_function(tables, len(tables.tile_last))
        a0, a1, b0, b1 = zero, zero, zero, zero
        # Two sums each, since one would wait for itself.
        for w in range(single, end, 2):
            n = (w - single + skipped) * LANES
            w0, w1 = repeat(work.tiles, w), repeat(work.tiles, w + 1)
            a0 += w0 * load(work.packs, row + n)
            b0 += w0 * load(work.slopes, half + n)
            a1 += w1 * load(work.packs, row + n + LANES)
            b1 += w1 * load(work.slopes, half + n + LANES)
        store(work.pair_forces, primed - LANES + half, a0 + a1)
        store(work.pair_forces, 2 * primed - LANES + half, b0 + b1)


@inlined
def pair_forces(pack, tables, work):
    """Slopes of one atom's value in the vectors to one pack, from `combine_radial`.

    R(r) Y(r̂) changes by R' Y r̂, and across r̂ by the solid harmonic's gradient times R/r.
    """
    n_harmonics = work.pair_forces.shape[1]
    legendre = tables.legendre_row
    n_degrees = tables.n_degrees
    zero = splat_lanes(0.0)
    along, ring, to_x, to_y, to_z = zero, zero, zero, zero, zero
    for m in range(n_degrees):
        # Re, then Im of (x + iy)^m; there is no Im for m = 0.
        for part in range(2 if m > 0 else 1):
            along_m, ring_m, flat_m, z_m = zero, zero, zero, zero
            row = pack + (legendre + m * (m + 3) // 2) * LANES
            pull = (n_harmonics - (m + 1) ** 2 + (0 if part else 2 * m)) * LANES
            for l in range(m, n_degrees):
                own, p = load_lanes(work.packs, row), load_lanes(work.pair_forces, pull)
                along_m += load_lanes(work.pair_forces, n_harmonics * LANES + pull) * own
                flat_m += p * own
                lm = l * (l + 1) // 2 + m
                if l > m:
                    below = load_lanes(work.packs, row - l * LANES)
                    z_m += p * (below * repeat_lanes(tables.harmonics, 4 * lm + 2))
                if l > m + 1:
                    side = load_lanes(work.packs, row - (l - 1) * LANES)
                    ring_m += p * (side * repeat_lanes(tables.harmonics, 4 * lm + 3))
                row += (l + 1) * LANES
                pull -= (2 * l + 2) * LANES
            turn = pack + (AZIMUTH + 2 * m) * LANES
            own = load_lanes(work.packs, turn + part * LANES)
            along, ring, to_z = along + along_m * own, ring + ring_m * own, to_z + z_m * own
            if m > 0:
                times = splat_lanes(float(m)) * flat_m
                re, im = (
                    load_lanes(work.packs, turn - 2 * LANES),
                    load_lanes(work.packs, turn - LANES),
                )
                if part:
                    to_x, to_y = to_x + times * im, to_y + times * re
                else:
                    to_x, to_y = to_x + times * re, to_y - times * im
    x, y = load_lanes(work.packs, pack), load_lanes(work.packs, pack + LANES)
    z, inverse = load_lanes(work.packs, pack + 2 * LANES), load_lanes(work.packs, pack + 4 * LANES)
    to_x, to_y = to_x + ring * x, to_y + ring * y
    along -= inverse * (x * to_x + y * to_y + z * to_z)
    return along * x + inverse * to_x, along * y + inverse * to_y, along * z + inverse * to_z
