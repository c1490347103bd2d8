"""Compiled: quadratic forms of the features of a batch of atoms."""

from __future__ import annotations

import numpy as np

from ase_vibent.compiled.jit import compiled, inlined
from ase_vibent.compiled.simd import LANES, below, load_lanes, repeat_lanes, splat_lanes, store
from ase_vibent.descriptors.quadratic_form import ROWS


@inlined
def centred_features(form, kind, features, block, count, y, sums):
    """Fill y, shape (n_features, LANES), of a block, and add it to the sums; returns |y|²."""
    squares, n_features = splat_lanes(0.0), y.shape[0]
    for f in range(n_features):
        at = (block * n_features + f) * LANES
        centred = load_lanes(features, at) - repeat_lanes(form.centre, kind * n_features + f)
        centred *= repeat_lanes(form.inverse_spread, kind * n_features + f)
        store(y, f * LANES, centred)
        squares += centred * centred
        if count == LANES:
            to = (kind * n_features + f) * LANES
            store(sums, to, load_lanes(sums, to) + centred)
        else:  # the other lanes hold nobody
            for lane in range(count):
                sums[kind, f, lane] += y[f, lane]
    return squares


@inlined
def squares_of_group(form, kind, group, y):
    """Sum of the squares of ROWS rows of P y + b."""
    n_groups, n_features = form.rows.shape[1], y.shape[0]
    first = (kind * n_groups + group) * ROWS
    a, b = repeat_lanes(form.offsets, first), repeat_lanes(form.offsets, first + 1)
    c, d = repeat_lanes(form.offsets, first + 2), repeat_lanes(form.offsets, first + 3)
    e, g = repeat_lanes(form.offsets, first + 4), repeat_lanes(form.offsets, first + 5)
    h, i = repeat_lanes(form.offsets, first + 6), repeat_lanes(form.offsets, first + 7)
    start = form.starts[kind, group]
    row = np.uint64(first * n_features + start * ROWS)
    for f in range(np.uint64(start), np.uint64(n_features)):
        own = load_lanes(y, f * np.uint64(LANES))
        a += repeat_lanes(form.rows, row) * own
        b += repeat_lanes(form.rows, row + np.uint64(1)) * own
        c += repeat_lanes(form.rows, row + np.uint64(2)) * own
        d += repeat_lanes(form.rows, row + np.uint64(3)) * own
        e += repeat_lanes(form.rows, row + np.uint64(4)) * own
        g += repeat_lanes(form.rows, row + np.uint64(5)) * own
        h += repeat_lanes(form.rows, row + np.uint64(6)) * own
        i += repeat_lanes(form.rows, row + np.uint64(7)) * own
        row += np.uint64(ROWS)
    return (a * a + b * b) + (c * c + d * d) + (e * e + g * g) + (h * h + i * i)


@inlined
def form_of_block(form, kind, features, block, values, y, sums):
    """Fill the values of a form of one block's atoms, as many as there are.

    Parameters
    ----------
    form : QuadraticForm
        Without rows, nothing is done.
    kind : int
    features : ndarray, shape (n_blocks, n_features, LANES)
    block : int
    values : ndarray, shape (count,)
    y : ndarray, shape (n_features, LANES)
        Work array.
    sums : ndarray, shape (n_kinds, n_features, LANES)
        The block's y are added.
    """
    if len(form.rows) == 0:
        return
    squares = centred_features(form, kind, features, block, len(values), y, sums)
    value, enough = squares if form.complement else splat_lanes(0.0), splat_lanes(form.enough)
    for group in range(form.rows.shape[1]):
        if form.complement and below(value, enough) == 2**LANES - 1:
            break
        own = squares_of_group(form, kind, group, y)
        value = value - own if form.complement else value + own
    store(y, 0, value)
    for lane in range(len(values)):
        own = y[0, lane]
        # Features beyond all numbers give inf - inf, and are as far away.
        values[lane] = np.inf if np.isnan(own) else max(own, 0.0)


@compiled
def form_values(form, kinds, blocks, features, sums):
    """Values of a form, shape (n_atoms,).

    Parameters
    ----------
    form : QuadraticForm
    kinds : ndarray of int64, shape (n_blocks,)
    blocks : ndarray of int64, shape (n_blocks + 1,)
        Edges of the blocks.
    features : ndarray, shape (n_blocks, n_features, LANES)
    sums : ndarray, shape (n_kinds, n_features, LANES)
        Sums of y are added, see `FormValues`; still to be summed over the last axis.
    """
    values, y = np.empty(blocks[-1]), np.empty((features.shape[1], LANES))
    for block in range(len(kinds)):
        own = values[blocks[block] : blocks[block + 1]]
        form_of_block(form, kinds[block], features, block, own, y, sums)
    return values
