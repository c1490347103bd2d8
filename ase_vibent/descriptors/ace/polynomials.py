"""Compiled: polynomials in the channels of LANES atoms, their sums and their slopes.

Product 0 is the empty one; products that others build on (`inner` ones) come first, the
rest are leaves, sorted by the inner product they extend.
"""

from __future__ import annotations

import numpy as np

from ase_vibent.compilation import inlined
from ase_vibent.simd import LANES, load_lanes, load_weight, splat_lanes, store


@inlined
def shared_products(left, right, n_shared, density, shared):
    """Values of the products that other inner products extend."""
    store(shared, 0, splat_lanes(1.0))
    for p in range(1, n_shared):
        product = load_lanes(shared, left[p] * LANES) * load_lanes(density, right[p] * LANES)
        store(shared, p * LANES, product)


@inlined
def weighted_sum(left, right, leaves, weights, density, shared, adjoint, slope):
    """Σ_p w_p Π A of LANES atoms, and its slope in every A.

    Every sub-product is computed once. Weights are of shape (n_products,), or
    (n_products, LANES) if they differ between the atoms.

    Parameters
    ----------
    left, right : ndarrays of int64, shape (n_products,)
        Products as a shorter product times one more channel.
    leaves : ndarray of int64, shape (n_inner + 1,)
        Leaves of inner product p: leaves[p] : leaves[p + 1].
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
    n_shared, zero = len(shared), splat_lanes(0.0)
    shared_products(left, right, n_shared, density, shared)
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
        if p < n_shared:
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
