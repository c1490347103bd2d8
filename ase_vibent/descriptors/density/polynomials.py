"""Compiled: polynomials in the channels of LANES atoms, their sums and their slopes."""

from __future__ import annotations

import numpy as np

from ase_vibent.compiled.jit import compiled, inlined
from ase_vibent.compiled.simd import (
    LANES,
    load_lanes,
    load_weight,
    repeat_lanes,
    splat_lanes,
    store,
)


@inlined
def shared_products(products, density, shared):
    """Values of the shared products, shape (n_shared, LANES)."""
    store(shared, 0, splat_lanes(1.0))
    for s in range(1, len(products.shared_left)):
        low, c = products.shared_left[s] * LANES, products.shared_right[s] * LANES
        store(shared, s * LANES, load_lanes(shared, low) * load_lanes(density, c))


@inlined
def weighted_sum(products, weights, density, shared, adjoint, slope):
    """Σ_p w_p Π A of LANES atoms, and its slope in every A.

    Weights are of shape (n_products,), or (n_products, LANES) if they differ between atoms.

    Parameters
    ----------
    products : Products
    weights : ndarray
    density : ndarray, shape (n_channels, LANES)
    shared : ndarray, shape (n_shared, LANES)
        Values of the shared products: overwritten.
    adjoint : ndarray, shape (n_shared + 1, LANES)
        Slopes in them, overwritten: the sum itself stands in adjoint[0].
    slope : ndarray, shape (n_channels, LANES)
        Overwritten.
    """
    zero, one = splat_lanes(0.0), np.uint64(1)
    shared_products(products, density, shared)
    for k in range(0, slope.size, LANES):
        store(slope, k, zero)
    # Nodes that are not shared have no slope but their own.
    store(adjoint, len(shared) * LANES, zero)
    # Unsigned indices need no look whether they count from the end.
    p, node = np.uint64(0), np.uint64(0)
    for s in range(len(shared) - 1, -1, -1):
        below, total = load_lanes(shared, s * LANES), zero
        for _ in range(products.n_nodes[s]):
            c, n_leaves = products.last[p] * LANES, products.n_leaves[node]
            factor = load_lanes(density, c)
            product = below * factor
            own = load_weight(weights, p) + load_lanes(adjoint, products.own[node] * LANES)
            p, node = p + one, node + one
            while n_leaves > 0:
                weight, at = load_weight(weights, p), products.last[p] * LANES
                own += weight * load_lanes(density, at)
                store(slope, at, load_lanes(slope, at) + weight * product)
                p, n_leaves = p + one, n_leaves - 1
            total += own * factor
            store(slope, c, load_lanes(slope, c) + own * below)
        store(adjoint, s * LANES, total)


@inlined
def all_products(products, density, shared, values):
    """Values of all products, shape (n_products, LANES)."""
    shared_products(products, density, shared)
    p, node = 0, 0
    for s in range(len(shared) - 1, -1, -1):
        below = load_lanes(shared, s * LANES)
        for _ in range(products.n_nodes[s]):
            product = below * load_lanes(density, products.last[p] * LANES)
            store(values, p * LANES, product)
            stop = p + 1 + products.n_leaves[node]
            for leaf in range(p + 1, stop):
                last = load_lanes(density, products.last[leaf] * LANES)
                store(values, leaf * LANES, product * last)
            p, node = stop, node + 1


@compiled
def features_of(products, blocks, density):
    """Features of the atoms of blocks, shape (n_atoms, n_features).

    Parameters
    ----------
    products : Products
    blocks : ndarray of int64
        Edges of the blocks.
    density : ndarray, shape (n_blocks, n_channels, LANES)
    """
    feature_of, product_of = products.feature_of, products.product_of
    n_entries = len(feature_of)
    features = np.empty((blocks[-1], feature_of[-1] + 1))
    shared, row = np.empty((len(products.shared_left), LANES)), np.empty(LANES)
    values = np.empty((len(products.last), LANES))
    for block in range(len(blocks) - 1):
        start, stop = blocks[block], blocks[block + 1]
        all_products(products, density[block], shared, values)
        entry = np.uint64(0)
        for f in range(features.shape[1]):
            total = splat_lanes(0.0)
            while entry < n_entries and feature_of[entry] == f:
                product = load_lanes(values, product_of[entry] * LANES)
                total += repeat_lanes(products.coefficients, entry) * product
                entry += np.uint64(1)
            store(row, 0, total)
            for lane in range(stop - start):
                features[start + lane, f] = row[lane]
    return features


@compiled
def slopes_of(products, blocks, density, weights):
    """Slopes in the channels of Σ_f w_f D_f with weights of every atom's own.

    Parameters
    ----------
    products, blocks, density
        As in `features_of`.
    weights : ndarray, shape (n_atoms, n_features)

    Returns
    -------
    ndarray, shape (n_blocks, n_channels, LANES)
    """
    slopes, n_shared = np.empty_like(density), len(products.shared_left)
    shared, adjoint = np.empty((n_shared, LANES)), np.empty((n_shared + 1, LANES))
    of_products = np.empty((len(products.last), LANES))
    for block in range(len(blocks) - 1):
        start, stop = blocks[block], blocks[block + 1]
        of_products[:] = 0.0
        for entry in range(len(products.feature_of)):
            f, p = products.feature_of[entry], products.product_of[entry]
            for lane in range(stop - start):
                of_products[p, lane] += products.coefficients[entry] * weights[start + lane, f]
        weighted_sum(products, of_products, density[block], shared, adjoint, slopes[block])
    return slopes
