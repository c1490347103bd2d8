"""Compiled: tabulated radial functions of a pack by quintic Hermite interpolation.

Between nodes a distance h apart, with t from 0 to 1 and s = 1 - t, the quintic that has the
nodes' values, slopes and curvatures, and the exact slope of this quintic.
"""

from __future__ import annotations

from ase_vibent.compilation import inlined
from ase_vibent.simd import (
    LANES,
    WIDTH,
    load,
    load_lanes,
    repeat,
    splat_lanes,
    store,
    transposed,
)


@inlined
def find_cells(r, tables, work):
    """Cells of a pack's distances; returns t and 1/h."""
    n_nodes, _, n_columns = tables.nodes.shape
    inverse = (n_nodes - 1) / tables.radial[3]
    store(work.hermite, 0, r * splat_lanes(inverse))
    for b in range(LANES):
        cell = min(int(work.hermite[0, b]), n_nodes - 2)
        work.cells[b] = 3 * n_columns * cell
        work.hermite[0, b] -= cell
    return load_lanes(work.hermite, 0), splat_lanes(inverse)


@inlined
def hermite_weights(r, tables, work):
    """Weights of value, slope and curvature at the two nodes around each distance."""
    one, half = splat_lanes(1.0), splat_lanes(0.5)
    three, six = splat_lanes(3.0), splat_lanes(6.0)
    t, _ = find_cells(r, tables, work)
    s = one - t
    t2, s2 = t * t, s * s
    t3, s3 = t * t2, s * s2
    store(work.hermite, 0, s3 * (one + three * t + six * t2))
    store(work.hermite, LANES, s3 * t * (one + three * t))
    store(work.hermite, 2 * LANES, half * s3 * t2)
    store(work.hermite, 3 * LANES, t3 * (one + three * s + six * s2))
    store(work.hermite, 4 * LANES, splat_lanes(-1.0) * t3 * s * (one + three * s))
    store(work.hermite, 5 * LANES, half * t3 * s2)


@inlined
def hermite_slope_weights(r, tables, work):
    """As `hermite_weights`, of the slopes in r."""
    one, half, two = splat_lanes(1.0), splat_lanes(0.5), splat_lanes(2.0)
    five, fifteen = splat_lanes(5.0), splat_lanes(15.0)
    t, inverse = find_cells(r, tables, work)
    s = one - t
    t2, s2 = inverse * t * t, inverse * s * s
    both = splat_lanes(30.0) * t2 * s * s
    store(work.hermite, 0, splat_lanes(-1.0) * both)
    store(work.hermite, LANES, s2 * (one + two * t - fifteen * t * t))
    store(work.hermite, 2 * LANES, half * s2 * t * (two - five * t))
    store(work.hermite, 3 * LANES, both)
    store(work.hermite, 4 * LANES, t2 * (one + two * s - fifteen * s * s))
    store(work.hermite, 5 * LANES, half * t2 * s * (five * s - two))


@inlined
def interpolate(tables, work, target, first):
    """Store the functions, or their slopes, of a pack in the rows from an offset on."""
    n_columns = tables.nodes.shape[2]
    for half in range(0, LANES, WIDTH):
        for n in range(0, n_columns, WIDTH):
            a, b, c, d = transposed(
                interpolated(half, n, tables, work), interpolated(half + 1, n, tables, work),
                interpolated(half + 2, n, tables, work), interpolated(half + 3, n, tables, work),
            )  # fmt: skip
            at = first + n * LANES + half
            store(target, at, a)
            store(target, at + LANES, b)
            store(target, at + 2 * LANES, c)
            store(target, at + 3 * LANES, d)


@inlined
def interpolated(b, n, tables, work):
    """WIDTH functions, from number n on, at one distance."""
    n_columns, at = tables.nodes.shape[2], work.cells[b] + n
    value = repeat(work.hermite, b) * load(tables.nodes, at)
    for k in range(1, 6):
        value += repeat(work.hermite, k * LANES + b) * load(tables.nodes, at + k * n_columns)
    return value
