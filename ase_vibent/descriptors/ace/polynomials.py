"""Compiled: polynomials in the channels of LANES atoms, their sums and their slopes.

Product 0 is the empty one; products that others build on (`inner` ones) come first, the
rest are leaves, sorted by the inner product they extend.
"""

from __future__ import annotations

import numpy as np

from ase_vibent.compilation import compiled
from ase_vibent.simd import LANES, load_lanes, load_weight, splat_lanes, store


@compiled
def inner_products(left, right, n_inner, density, inner):
    """Values of the inner products."""
    store(inner, 0, splat_lanes(1.0))
    for p in range(1, n_inner):
        product = load_lanes(inner, left[p] * LANES) * load_lanes(density, right[p] * LANES)
        store(inner, p * LANES, product)


@compiled
def weighted_sum(left, right, leaves, weights, density, inner, adjoint, slope):
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
    inner, adjoint : ndarrays, shape (n_inner, LANES)
        Values of the inner products, and the slopes in them: overwritten.
    slope : ndarray, shape (n_channels, LANES)
        Overwritten.

    Returns
    -------
    The sums stand in adjoint[0].
    """
    n_inner = len(leaves) - 1
    inner_products(left, right, n_inner, density, inner)
    for k in range(0, slope.size, LANES):
        store(slope, k, splat_lanes(0.0))
    for p in range(n_inner):
        product = load_lanes(inner, p * LANES)
        total, other = load_weight(weights, p), splat_lanes(0.0)
        for leaf in range(leaves[p], leaves[p + 1]):
            weight, c = load_weight(weights, leaf), right[leaf] * LANES
            # Two sums, since one would wait for itself.
            total, other = other, total + weight * load_lanes(density, c)
            store(slope, c, load_lanes(slope, c) + weight * product)
        store(adjoint, p * LANES, total + other)
    for p in range(n_inner - 1, 0, -1):
        low, c = left[p] * LANES, right[p] * LANES
        own = load_lanes(adjoint, p * LANES)
        store(adjoint, low, load_lanes(adjoint, low) + own * load_lanes(density, c))
        store(slope, c, load_lanes(slope, c) + own * load_lanes(inner, low))
