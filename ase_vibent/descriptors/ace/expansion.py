"""Compiled: from the neighbours of an atom to its channels A, and from slopes in A to forces.

Works on WIDTH neighbours at a time. Sizes are arguments and tables are arrays, so that one
compilation serves every basis.
"""

from __future__ import annotations

import numpy as np

from ase_vibent.compilation import compiled
from ase_vibent.simd import (
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


@compiled
def gather_neighbours(lane, centre, points, candidates, offsets, cutoff, work):
    """Vectors to the candidates within the cutoff; returns the shortest squared distance."""
    # Unsigned indices need no look whether they count from the end.
    at = np.uint64(4 * centre)
    x, y, z = points[at], points[at + np.uint64(1)], points[at + np.uint64(2)]
    to_x, to_y, to_z = work.pairs[lane, 0], work.pairs[lane, 1], work.pairs[lane, 2]
    to_square, indices = work.pairs[lane, 3], work.indices[lane]
    limit, closest, n = cutoff * cutoff, np.inf, np.uint64(0)
    for species in range(len(offsets) - 1):
        work.columns[lane, species] = first = n
        for k in range(np.uint64(offsets[species]), np.uint64(offsets[species + 1])):
            j = candidates[k]
            at = np.uint64(4 * j)
            dx, dy = points[at] - x, points[at + np.uint64(1)] - y
            dz = points[at + np.uint64(2)] - z
            square = dx * dx + dy * dy + dz * dz
            to_x[n], to_y[n], to_z[n], to_square[n], indices[n] = dx, dy, dz, square, j
            closest = closest if closest < square else square
            n += np.uint64(square < limit)  # no branch to be guessed wrong
        work.counts[lane, species] = n - first
        while n % np.uint64(WIDTH):
            to_x[n], to_y[n], to_z[n], to_square[n], indices[n] = 0.0, 0.0, cutoff, limit, centre
            n += np.uint64(1)
    work.columns[lane, len(offsets) - 1] = n
    # The expansion goes on in steps of LANES.
    for k in range(n, min(n + np.uint64(LANES - WIDTH), np.uint64(len(to_x)))):
        to_x[k], to_y[k], to_z[k], to_square[k] = 0.0, 0.0, cutoff, limit
    return closest


@compiled
def radial_functions(lane, count, tables, work):
    """Unit vectors, distances and R_n of the neighbours of one atom, LANES at a time."""
    width = work.radial.shape[2]
    shifted, power = tables.radial[0], int(tables.radial[1])
    cut, one, n_max = splat_lanes(tables.radial[2]), splat_lanes(1.0), len(tables.recursion)
    pair, row = lane * 7 * width, lane * work.radial.shape[1] * width
    for k in range(pair, pair + count, LANES):
        r = root(load_lanes(work.pairs, k + 3 * width))
        inverse = one / r
        for axis in range(k, k + 3 * width, width):
            store(work.pairs, axis, load_lanes(work.pairs, axis) * inverse)
        store(work.pairs, k + 3 * width, r)
        store(work.pairs, k + 4 * width, inverse)
        ratio = splat_lanes(shifted) / (one + r)
        x = ratio
        for _ in range(1, power):
            x = x * ratio
        store(work.pairs, k + 5 * width, x)
        store(work.pairs, k + 6 * width, splat_lanes(-float(power) / shifted) * x * ratio)
        at = k - pair + row
        old, new = splat_lanes(0.0), repeat_lanes(tables.recursion, 0) * (x - cut) * (x - cut)
        store(work.radial, at, new)
        for n in range(1, n_max):
            line = repeat_lanes(tables.recursion, 3 * n) * x
            line += repeat_lanes(tables.recursion, 3 * n + 1)
            old, new = new, line * new + repeat_lanes(tables.recursion, 3 * n + 2) * old
            store(work.radial, at + n * width, new)


@compiled
def spherical_harmonics(lane, count, tables, work):
    """Y_lm of the neighbours of one atom, and the parts that its gradient needs."""
    width, n_lm = work.radial.shape[2], len(tables.harmonics)
    n_degrees = work.azimuth.shape[1] // 2
    pair, row = lane * 7 * width, lane * n_lm * width
    turn = lane * 2 * n_degrees * width
    for k in range(0, count, LANES):
        x, y = load_lanes(work.pairs, pair + k), load_lanes(work.pairs, pair + width + k)
        z = load_lanes(work.pairs, pair + 2 * width + k)
        cos, sin = splat_lanes(1.0), splat_lanes(0.0)
        for m in range(n_degrees):
            store(work.azimuth, turn + 2 * m * width + k, cos)
            store(work.azimuth, turn + (2 * m + 1) * width + k, sin)
            old, new = splat_lanes(0.0), splat_lanes(0.0)
            for l in range(m, n_degrees):
                lm = l * (l + 1) // 2 + m
                if l == m:
                    new = repeat_lanes(tables.harmonics, 4 * lm)
                else:
                    line = repeat_lanes(tables.harmonics, 4 * lm) * z
                    rest = repeat_lanes(tables.harmonics, 4 * lm + 1) * old
                    old, new = new, line * new + rest
                store(work.legendre, row + lm * width + k, new)
                centre = l * (l + 1)
                store(work.harmonics, (centre + m) * width + k, new * cos)
                if m > 0:
                    store(work.harmonics, (centre - m) * width + k, new * sin)
            cos, sin = x * cos - y * sin, x * sin + y * cos


@compiled
def project(lane, species, tables, work):
    """Fill the tiles with Σ_j R_n Y_lm over the neighbours of one species."""
    width = work.radial.shape[2]
    start, stop = work.columns[lane, species], work.columns[lane, species + 1]
    row = lane * work.radial.shape[1] * width
    for tile in range(len(tables.tile_rows)):
        place, y = tables.tile_starts[tile], tile * WIDTH * width
        for n in range(0, tables.tile_rows[tile], 2):
            r = row + n * width
            a0, a1, a2, a3 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
            b0, b1, b2, b3 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
            for k in range(start, stop, WIDTH):
                a, b = load(work.radial, r + k), load(work.radial, r + width + k)
                y0, y1 = load(work.harmonics, y + k), load(work.harmonics, y + width + k)
                a0, b0, a1, b1 = a0 + a * y0, b0 + b * y0, a1 + a * y1, b1 + b * y1
                y2 = load(work.harmonics, y + 2 * width + k)
                y3 = load(work.harmonics, y + 3 * width + k)
                a2, b2, a3, b3 = a2 + a * y2, b2 + b * y2, a3 + a * y3, b3 + b * y3
            store(work.tiles, place + n * WIDTH, sums(a0, a1, a2, a3))
            store(work.tiles, place + (n + 1) * WIDTH, sums(b0, b1, b2, b3))


@compiled
def expand(lane, centre, points, candidates, offsets, tables, work):
    """All of one atom that its channels need; returns its shortest squared distance."""
    closest = gather_neighbours(
        lane, centre, points, candidates, offsets, tables.radial[3], work
    )
    count = work.columns[lane, len(offsets) - 1]
    radial_functions(lane, count, tables, work)
    spherical_harmonics(lane, count, tables, work)
    return closest


@compiled
def project_all(lane, tables, work, density):
    """Channels of one atom, density[:, lane]; directly after `expand`."""
    for species in range(len(tables.species_channels) - 1):
        project(lane, species, tables, work)
        for c in range(tables.species_channels[species], tables.species_channels[species + 1]):
            density[tables.channels[c], lane] = work.tiles[tables.places[c]]


@compiled
def radial_slopes(lane, count, tables, work):
    """dR_n/dr of the neighbours of one atom, LANES at a time."""
    width = work.radial.shape[2]
    pair, row = lane * 7 * width, lane * work.radial.shape[1] * width
    cut, two = splat_lanes(tables.radial[2]), splat_lanes(2.0)
    for k in range(0, count, LANES):
        x = load_lanes(work.pairs, pair + 5 * width + k)
        dx = load_lanes(work.pairs, pair + 6 * width + k)
        old, new = splat_lanes(0.0), two * repeat_lanes(tables.recursion, 0) * (x - cut)
        store(work.slopes, k, new * dx)
        for n in range(1, len(tables.recursion)):
            a = repeat_lanes(tables.recursion, 3 * n)
            line = a * x + repeat_lanes(tables.recursion, 3 * n + 1)
            own = a * load_lanes(work.radial, row + (n - 1) * width + k)
            own += repeat_lanes(tables.recursion, 3 * n + 2) * old
            old, new = new, line * new + own
            store(work.slopes, n * width + k, new * dx)


@compiled
def combine_radial(lane, column, tables, work):
    """Per harmonic, Σ_n w_nlm R_n and Σ_n w_nlm R_n' of WIDTH neighbours; w stands in the tiles."""
    width = work.radial.shape[2]
    n_rows = WIDTH * len(tables.tile_rows)
    row = lane * work.radial.shape[1] * width + column
    for tile in range(len(tables.tile_rows)):
        w = tables.tile_starts[tile]
        a0, a1, a2, a3 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
        b0, b1, b2, b3 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
        for n in range(tables.tile_rows[tile]):
            value, slope = load(work.radial, row + n * width), load(work.slopes, column + n * width)
            w0, w1 = repeat(work.tiles, w), repeat(work.tiles, w + 1)
            a0, b0, a1, b1 = a0 + w0 * value, b0 + w0 * slope, a1 + w1 * value, b1 + w1 * slope
            w2, w3 = repeat(work.tiles, w + 2), repeat(work.tiles, w + 3)
            a2, b2, a3, b3 = a2 + w2 * value, b2 + w2 * slope, a3 + w3 * value, b3 + w3 * slope
            w += WIDTH
        at = tile * WIDTH * WIDTH
        store(work.pulls, at, a0)
        store(work.pulls, at + WIDTH, a1)
        store(work.pulls, at + 2 * WIDTH, a2)
        store(work.pulls, at + 3 * WIDTH, a3)
        at += n_rows * WIDTH
        store(work.pulls, at, b0)
        store(work.pulls, at + WIDTH, b1)
        store(work.pulls, at + 2 * WIDTH, b2)
        store(work.pulls, at + 3 * WIDTH, b3)


@compiled
def pair_pulls(lane, column, tables, work):
    """Slopes of one atom's value in the vectors to WIDTH neighbours, from `combine_radial`.

    R(r) Y(r̂) changes by (R' - l R/r) Y r̂ + (R/r) ∇S, where S is the solid harmonic.
    """
    width, n_lm = work.radial.shape[2], len(tables.harmonics)
    n_degrees = work.azimuth.shape[1] // 2
    n_rows = WIDTH * len(tables.tile_rows)
    pair, row = lane * 7 * width + column, lane * n_lm * width + column
    turn = lane * 2 * n_degrees * width + column
    inverse = load(work.pairs, pair + 4 * width)
    zero = splat(0.0)
    along, ring, to_x, to_y, to_z = zero, zero, zero, zero, zero
    cos_low, sin_low = zero, zero
    for m in range(n_degrees):
        along_c, along_s, ring_c, ring_s = zero, zero, zero, zero
        flat_c, flat_s, z_c, z_s = zero, zero, zero, zero
        for l in range(m, n_degrees):
            lm, centre = l * (l + 1) // 2 + m, l * (l + 1)
            own = load(work.legendre, row + lm * width)
            degree = splat(float(l)) * inverse
            up, down = (centre + m) * WIDTH, (centre - m) * WIDTH
            p, q = load(work.pulls, up), load(work.pulls, down)
            along_c += (load(work.pulls, n_rows * WIDTH + up) - degree * p) * own
            along_s += (load(work.pulls, n_rows * WIDTH + down) - degree * q) * own
            flat_c, flat_s = flat_c + p * own, flat_s + q * own
            if l > m:
                below = load(work.legendre, row + (lm - l) * width)
                below *= repeat(tables.harmonics, 4 * lm + 2)
                z_c, z_s = z_c + p * below, z_s + q * below
            if l > m + 1:
                side = load(work.legendre, row + (lm - l + 1) * width)
                side *= repeat(tables.harmonics, 4 * lm + 3)
                ring_c, ring_s = ring_c + p * side, ring_s + q * side
        cos = load(work.azimuth, turn + 2 * m * width)
        # For m = 0 both slopes are the same one, and the sine is zero.
        sin = load(work.azimuth, turn + (2 * m + 1) * width)
        along += along_c * cos + along_s * sin
        ring += ring_c * cos + ring_s * sin
        to_z += z_c * cos + z_s * sin
        times = splat(float(m))
        to_x += times * (flat_c * cos_low + flat_s * sin_low)
        to_y += times * (flat_s * cos_low - flat_c * sin_low)
        cos_low, sin_low = cos, sin
    x, y = load(work.pairs, pair), load(work.pairs, pair + width)
    z = load(work.pairs, pair + 2 * width)
    return (
        along * x + inverse * (to_x + ring * x),
        along * y + inverse * (to_y + ring * y),
        along * z + inverse * to_z,
    )
