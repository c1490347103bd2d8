"""Compiled: polynomials in the channels of LANES atoms, their sums and their slopes.

Product 0 is the empty one; products that others build on (`inner` ones) come first, the
rest are leaves, sorted by the inner product they extend.
"""

from __future__ import annotations

import numpy as np

from ase_vibent.compilation import compiled, inlined
from ase_vibent.simd import LANES, load_lanes, load_weight, splat_lanes, store


@inlined
def shared_products(products, density, shared):
    """Values of the products that inner ones extend."""
    store(shared, 0, splat_lanes(1.0))
    for p in range(1, products.n_shared):
        low, c = products.left[p] * LANES, products.right[p] * LANES
        store(shared, p * LANES, load_lanes(shared, low) * load_lanes(density, c))


@inlined
def weighted_sum(products, weights, density, shared, adjoint, slope):
    """Σ_p w_p Π A of LANES atoms, and its slope in every A.

    Every sub-product is computed once. Weights are of shape (n_products,), or
    (n_products, LANES) if they differ between the atoms.

    Parameters
    ----------
    products : Products
    weights : ndarray
    density : ndarray, shape (n_channels, LANES)
    shared, adjoint : ndarrays, shape (n_shared, LANES)
        Values of the products that inner ones extend, and slopes in them: overwritten.
    slope : ndarray, shape (n_channels, LANES)
        Overwritten.

    Returns
    -------
    The sums stand in adjoint[0].
    """
    left, right, leaves = products.left, products.right, products.leaves
    zero = splat_lanes(0.0)
    shared_products(products, density, shared)
    for k in range(0, slope.size, LANES):
        store(slope, k, zero)
    for k in range(0, adjoint.size, LANES):
        store(adjoint, k, zero)
    for p in range(len(leaves) - 2, -1, -1):
        low, c = left[p] * LANES, right[p] * LANES
        below, factor = load_lanes(shared, low), load_lanes(density, c)
        # Product 0 stands for 1.
        product = below * factor if p > 0 else below
        total, other = load_weight(weights, p), zero
        if p < products.n_shared:
            other = load_lanes(adjoint, p * LANES)
        # Unsigned indices need no look whether they count from the end.
        for leaf in range(np.uint64(leaves[p]), np.uint64(leaves[p + 1])):
            weight, at = load_weight(weights, leaf), right[leaf] * LANES
            # Two sums, since one would wait for itself.
            total, other = other, total + weight * load_lanes(density, at)
            store(slope, at, load_lanes(slope, at) + weight * product)
        total += other
        if p > 0:
            store(adjoint, low, load_lanes(adjoint, low) + total * factor)
            store(slope, c, load_lanes(slope, c) + total * below)
        else:
            store(adjoint, 0, total)


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
    left, right = products.left, products.right
    n_entries = len(products.feature_of)
    features = np.empty((blocks[-1], products.feature_of[-1] + 1))
    shared, row = np.empty((products.n_shared, LANES)), np.empty(LANES)
    for block in range(len(blocks) - 1):
        start, stop = blocks[block], blocks[block + 1]
        own = density[block]
        shared_products(products, own, shared)
        entry = 0
        for f in range(features.shape[1]):
            total = splat_lanes(0.0)
            while entry < n_entries and products.feature_of[entry] == f:
                p = products.product_of[entry]
                low, last = left[p], right[p] * LANES
                product = load_lanes(own, last)
                if low < products.n_shared:
                    product *= load_lanes(shared, low * LANES)
                else:
                    product *= load_lanes(own, right[low] * LANES)
                    product *= load_lanes(shared, left[low] * LANES)
                total += splat_lanes(products.coefficients[entry]) * product
                entry += 1
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
    slopes = np.empty_like(density)
    shared, adjoint = (
        np.empty((products.n_shared, LANES)),
        np.empty((products.n_shared, LANES)),
    )
    of_products = np.zeros((len(products.left), LANES))
    for block in range(len(blocks) - 1):
        start, stop = blocks[block], blocks[block + 1]
        of_products[:] = 0.0
        for entry in range(len(products.feature_of)):
            f, p = products.feature_of[entry], products.product_of[entry]
            for lane in range(stop - start):
                of_products[p, lane] += products.coefficients[entry] * weights[start + lane, f]
        weighted_sum(products, of_products, density[block], shared, adjoint, slopes[block])
    return slopes
