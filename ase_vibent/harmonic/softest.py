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
    count: int,
    *,
    known: Array,
    tolerance: float,
    max_products: int,
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
    count : int
        How many are wanted.
    known : ndarray, shape (size, k)
        Orthonormal motions that are left out.
    tolerance : float
        Largest sum of estimated errors of the values, each as a share of it.
    max_products : int
        Most products; what has been reached by then is returned.

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
        turns = turns[:, : count + 1]
        vectors = space @ turns
        residuals = images @ turns - vectors * values[: count + 1]
        residuals -= known @ (known.T @ residuals)
        squares = np.sum(residuals**2, axis=0)
        softness = np.sum(residuals * inverse(residuals), axis=0) / scale
        errors = _errors(values, squares[:count], softness[:count])
        shares = errors / np.abs(values[:count])
        if len(values) > count:
            beyond = _errors(values, squares, softness)[count]
            shares = np.append(shares, _share_of_next(values, beyond, count))
        found = LowestEigenpairs(values[:count], vectors[:, :count], errors, space.shape[1])
        enough = len(values) > count and shares.sum() <= tolerance
        if enough or found.n_products >= max_products:
            return found
        worst = int(shares.argmax())
        beside = solver_beside(solve, np.column_stack([known, vectors[:, worst]]))
        step = beside(residuals[:, [worst]])
        block = new_directions(step, np.hstack([known, space]), scale=np.abs(step).max())
        if block.shape[1] == 0:
            return found


def _errors(values: Array, squares: Array, softness: Array) -> Array:
    """Of the lowest Ritz values: r² over a distance between two, their geometric mean.

    The first value beyond is near (Temple): several times too much, as r lies farther. The
    stiffness where it lies by the approximation, rᵀr / rᵀB⁻¹r, is far: up to several times too
    little. What mixes among the lowest does not matter.
    """
    count, lengths = len(squares), np.sqrt(squares)
    near = np.maximum(values[min(count, len(values) - 1)] - values[:count], lengths)
    stiffness = squares / np.where(softness > 0, softness, np.inf)
    return np.asarray(squares / np.sqrt(near * np.maximum(stiffness - values[:count], near)))


def _share_of_next(values: Array, error: float, count: int) -> float:
    """Of the value after those wanted: by how much it could become a lower one.

    Without it, the first modes to converge would be taken for the lowest.
    """
    room = values[count] - values[count - 1]
    return float(max(error - room, 0.0) / abs(values[count]))
