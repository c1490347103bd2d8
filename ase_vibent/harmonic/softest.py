"""Softest modes from few products with the Hessian: Davidson's method.

Where a product costs two force calls, each one is kept: the values are the best that all products
together allow, and every new direction comes from the worst of them, through an approximate
Hessian. Davidson, J. Comput. Phys. 17, 87 (1975); the correction is that of Olsen, Jørgensen and
Simons, Chem. Phys. Lett. 169, 463 (1990).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ase_vibent.arrays import Array
from ase_vibent.harmonic.krylov import new_directions
from ase_vibent.harmonic.spectrum import Product, solver_beside


@dataclass(frozen=True)
class LowestEigenpairs:
    """The lowest eigenvalues of a matrix, as far as its products tell.

    Attributes
    ----------
    values : ndarray, shape (n,), eV/Å²
        Ascending. Upper bounds.
    vectors : ndarray, shape (size, n)
    errors : ndarray, shape (n,), eV/Å²
        Estimated from the residuals, to a factor of two or so.
    n_products : int
        What they took.
    """

    values: Array
    vectors: Array = field(repr=False)
    errors: Array
    n_products: int


def lowest_eigenpairs(
    multiply: Product,
    start: Array,
    solve: Callable[[Array], Array],
    count: int | None,
    *,
    known: Array,
    tolerance: float,
    max_products: int,
    below: float = 0.0,
) -> LowestEigenpairs:
    """Lowest eigenpairs of a symmetric matrix, unstable ones among them.

    Parameters
    ----------
    multiply : callable
        Products with columns.
    start : ndarray, shape (size, m)
        Directions in which the modes are first looked for.
    solve : callable
        Products of columns with the inverse of an approximation, positive definite, of any scale.
    count : int or None
        How many are wanted; None for all that are below a limit.
    known : ndarray, shape (size, k)
        Orthonormal motions that are left out.
    tolerance : float
        Largest error of a value as a share of it, by Temple's bound: several times too much as a
        rule, lest a mode be missed.
    max_products : int
        Most products; what has been reached by then is returned.
    below : float, eV/Å²
        That limit.

    Returns
    -------
    LowestEigenpairs
    """
    space, images = np.empty((len(start), 0)), np.empty((len(start), 0))
    block = new_directions(start, known, scale=np.abs(start).max())[:, :max_products]
    inverse, scale = solver_beside(solve, known), None
    while True:
        space, images = np.hstack([space, block]), np.hstack([images, multiply(block)])
        if scale is None:
            scale = float(np.median(np.abs(np.sum(space * inverse(images), axis=0))))
        inner = space.T @ images
        values, turns = np.linalg.eigh((inner + inner.T) / 2)
        wanted = int(np.sum(values < below)) if count is None else count
        turns = turns[:, : wanted + 1]
        vectors = space @ turns
        residuals = images @ turns - vectors * values[: wanted + 1]
        residuals -= known @ (known.T @ residuals)
        lengths = np.linalg.norm(residuals, axis=0)
        shares = _shares(values, lengths, wanted, None if count is not None else below)
        softness = np.sum(residuals * inverse(residuals), axis=0) / scale
        errors = _likely_errors(values, lengths[:wanted], softness[:wanted])
        found = LowestEigenpairs(values[:wanted], vectors[:, :wanted], errors, space.shape[1])
        enough = len(values) > wanted and shares.max() <= tolerance
        if enough or found.n_products >= max_products:
            return found
        worst = int(shares.argmax())
        beside = solver_beside(solve, np.column_stack([known, vectors[:, worst]]))
        step = beside(residuals[:, [worst]])
        block = new_directions(step, np.hstack([known, space]), scale=np.abs(step).max())
        if block.shape[1] == 0:
            return found


def _bounds(values: Array, residuals: Array) -> Array:
    """Of errors of the lowest Ritz values, from the norms of their residuals (Temple).

    What mixes among them does not matter, so the gap is that to the first of the others.
    """
    count = len(residuals)
    if len(values) == count:
        return residuals
    gaps = np.maximum(values[count] - values[:count], residuals)
    return np.asarray(residuals**2 / gaps)


def _shares(values: Array, residuals: Array, count: int, below: float | None) -> Array:
    """Errors as shares of values; of the next value, of that by which it could become a lower one.

    Without it, the first modes to converge would be taken for the lowest.
    """
    shares = _bounds(values, residuals[:count]) / np.abs(values[:count])
    if len(residuals) == count:
        return shares
    room = values[count] - (values[count - 1] if below is None else below)
    beyond = max(_bounds(values, residuals)[count] - room, 0.0)
    return np.append(shares, beyond / abs(values[count]))


def _likely_errors(values: Array, residuals: Array, softness: Array) -> Array:
    """Geometric mean of these bounds and of what the approximation says.

    Temple's distance is that to the next value: several times too near, as a rule. The stiffness
    where the residual lies by the approximation, rᵀr / rᵀB⁻¹r, is several times too far.
    """
    bounds = _bounds(values, residuals)
    stiffness = residuals**2 / np.where(softness > 0, softness, np.inf)
    far = np.maximum(stiffness - values[: len(residuals)], 1e-300)
    return np.asarray(np.sqrt(bounds * np.minimum(residuals**2 / far, bounds)))
