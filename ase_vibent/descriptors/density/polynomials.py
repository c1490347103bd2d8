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
def add_to_features(products, entry, value, features, block):
    """Add a product to the features that it occurs in, from its entry on; returns the next one."""
    first, one = block * features.shape[1], np.uint64(1)
    while True:
        at = (first + products.entry_features[entry]) * LANES
        weight = repeat_lanes(products.entry_coefficients, entry)
        store(features, at, load_lanes(features, at) + weight * value)
        entry += one
        if products.entry_is_first[entry]:
            return entry


@inlined
def sum_features(products, density, shared, features, block):
    """Features of LANES atoms.

    Parameters
    ----------
    products : Products
    density : ndarray, shape (n_channels, LANES)
    shared : ndarray, shape (n_shared, LANES)
        Overwritten.
    features : ndarray, shape (n_blocks, n_features, LANES)
        Those of `block` are overwritten.
    """
    shared_products(products, density, shared)
    features[block] = 0.0
    p, node, entry, one = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(1)
    for s in range(len(shared) - 1, -1, -1):
        below = load_lanes(shared, s * LANES)
        for _ in range(products.n_nodes[s]):
            product = below * load_lanes(density, products.last[p] * LANES)
            n_leaves = products.n_leaves[node]
            entry = add_to_features(products, entry, product, features, block)
            p, node = p + one, node + one
            while n_leaves > 0:
                leaf = product * load_lanes(density, products.last[p] * LANES)
                entry = add_to_features(products, entry, leaf, features, block)
                p, n_leaves = p + one, n_leaves - 1


@compiled
def features_of(products, blocks, density):
    """Features of the atoms of blocks, shape (n_blocks, n_features, LANES).

    Parameters
    ----------
    products : Products
    blocks : ndarray of int64
        Edges of the blocks.
    density : ndarray, shape (n_blocks, n_channels, LANES)
    """
    features = np.empty((len(blocks) - 1, products.feature_of[-1] + 1, LANES))
    shared = np.empty((len(products.shared_left), LANES))
    for block in range(len(blocks) - 1):
        sum_features(products, density[block], shared, features, block)
    return features


@compiled
def rows_of(blocks, features):
    """Features of `features_of` atom by atom, shape (n_atoms, n_features)."""
    rows = np.empty((blocks[-1], features.shape[1]))
    for block in range(len(blocks) - 1):
        for lane in range(blocks[block + 1] - blocks[block]):
            for f in range(features.shape[1]):
                rows[blocks[block] + lane, f] = features[block, f, lane]
    return rows


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
