"""Compiled: tabulated radial functions by quintic Hermite interpolation.

Between nodes a distance h apart, with t from 0 to 1 and s = 1 - t, the quintic that has the
nodes' values, slopes and curvatures, and the exact slope of this quintic.
"""

from __future__ import annotations

from ase_vibent.compiled.jit import inlined
from ase_vibent.compiled.simd import (
    LANES,
    WIDTH,
    load,
    load_lanes,
    repeat,
    root,
    splat,
    splat_lanes,
    store,
    transpose,
)


def tabulated_functions(lane, tables, work):
    """Unit vectors, distances and R_n of the neighbours of one atom."""
    count, size = work.columns[lane, -1], work.packs.shape[2] * LANES
    one, half = splat_lanes(1.0), splat_lanes(0.5)
    three, six = splat_lanes(3.0), splat_lanes(6.0)
    for k in range(0, count, LANES):
        pack = lane * work.packs.shape[1] * size + k // LANES * size
        r = root(load_lanes(work.vectors, 3 * work.vectors.shape[1] + k))
        inverse = one / r
        for axis in range(3):
            along = load_lanes(work.vectors, axis * work.vectors.shape[1] + k)
            store(work.packs, pack + axis * LANES, along * inverse)
        store(work.packs, pack + 3 * LANES, r)
        store(work.packs, pack + 4 * LANES, inverse)
        t, _ = find_cells(r, tables.nodes, tables.radial, work.cells, work.hermite)
        s = one - t
        t2, s2 = t * t, s * s
        t3, s3 = t * t2, s * s2
        store(work.hermite, 0, s3 * (one + three * t + six * t2))
        store(work.hermite, LANES, s3 * t * (one + three * t))
        store(work.hermite, 2 * LANES, half * s3 * t2)
        store(work.hermite, 3 * LANES, t3 * (one + three * s + six * s2))
        store(work.hermite, 4 * LANES, splat_lanes(-1.0) * t3 * s * (one + three * s))
        store(work.hermite, 5 * LANES, half * t3 * s2)
        first = pack + tables.radial_row * LANES
        interpolate(tables.nodes, work.cells, work.hermite, work.packs, first)


def tabulated_slopes(pack, tables, work):
    """dR_n/dr of one pack."""
    one, half, two = splat_lanes(1.0), splat_lanes(0.5), splat_lanes(2.0)
    five, fifteen = splat_lanes(5.0), splat_lanes(15.0)
    r = load_lanes(work.packs, pack + 3 * LANES)
    t, inverse = find_cells(r, tables.nodes, tables.radial, work.cells, work.hermite)
    s = one - t
    t2, s2 = inverse * t * t, inverse * s * s
    both = splat_lanes(30.0) * t2 * s * s
    store(work.hermite, 0, splat_lanes(-1.0) * both)
    store(work.hermite, LANES, s2 * (one + two * t - fifteen * t * t))
    store(work.hermite, 2 * LANES, half * s2 * t * (two - five * t))
    store(work.hermite, 3 * LANES, both)
    store(work.hermite, 4 * LANES, t2 * (one + two * s - fifteen * s * s))
    store(work.hermite, 5 * LANES, half * t2 * s * (five * s - two))
    interpolate(tables.nodes, work.cells, work.hermite, work.slopes, 0)


@inlined
def find_cells(r, nodes, radial, cells, hermite):
    """Where a pack's distances stand among the nodes; returns t and 1/h."""
    inverse = (nodes.shape[0] - 1) / radial[3]
    store(hermite, 0, r * splat_lanes(inverse))
    for b in range(LANES):
        cell = min(int(hermite[0, b]), nodes.shape[0] - 2)
        cells[b] = 3 * nodes.shape[2] * cell
        hermite[0, b] -= cell
    return load_lanes(hermite, 0), splat_lanes(inverse)


@inlined
def interpolate(nodes, cells, hermite, target, first):
    """Store the functions, or their slopes, of a pack in the rows from an offset on."""
    row = nodes.shape[2]
    for half in range(0, LANES, WIDTH):
        for n in range(0, row, WIDTH):
            i, j = cells[half] + n, cells[half + 1] + n
            k, l = cells[half + 2] + n, cells[half + 3] + n
            a, b, c, d = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
            for weight in range(half, half + 6 * LANES, LANES):
                a += repeat(hermite, weight) * load(nodes, i)
                b += repeat(hermite, weight + 1) * load(nodes, j)
                c += repeat(hermite, weight + 2) * load(nodes, k)
                d += repeat(hermite, weight + 3) * load(nodes, l)
                i, j, k, l = i + row, j + row, k + row, l + row
            a, b, c, d = transpose(a, b, c, d)
            at = first + n * LANES + half
            store(target, at, a)
            store(target, at + LANES, b)
            store(target, at + 2 * LANES, c)
            store(target, at + 3 * LANES, d)
