"""Site entropies from a sparse Hessian by the Lanczos (Haydock) recursion, no diagonalisation.

A site entropy is a diagonal element of a logarithm: three start vectors on the site give
three tridiagonal matrices, whose Gauss quadrature is exact for polynomials of degree
2 · steps - 1 and converges exponentially in the number of steps. Golub and Meurant, Matrices,
Moments and Quadrature (2010); Haydock, Heine and Kelly, J. Phys. C 5, 2845 (1972).

On the whole matrix, with rigid-body motions deflated, site entropies are exact up to a stated
error. See `ball` for a cost per site that does not depend on the size of the system.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse

from ase_vibent.errors import InvalidInputError, UnstableStructureError
from ase_vibent.harmonic.entropy import reduced_entropy
from ase_vibent.harmonic.modes import (
    NOISE,
    check_hessian,
    orthonormal_motions,
    signed_frequencies,
)

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Product = Callable[[Array], Array]

#: Steps between two looks at the convergence.
STRIDE = 5

#: Smallest error that is ever claimed, k_B: rounding in the logarithm of soft modes.
ROUNDING = 1e-12

#: A Ritz value of less weight on the site cannot be felt there.
NEGLIGIBLE = 1e-12

#: Sites iterated together: 48 columns amortise reading the matrix and still fit the cache.
BATCH = 16


@dataclass(frozen=True)
class LanczosEntropies:
    """Site entropies with what is known about their convergence.

    Attributes
    ----------
    values : ndarray, shape (n_sites,), dimensionless (units of k_B)
        Gauss quadratures; they approach the exact values from below.
    errors : ndarray, shape (n_sites,), dimensionless (units of k_B)
        Estimated errors.
    modes : ndarray, shape (n_sites,)
        Number of modes Σ_ν |e_νi|² on every site, rigid-body motions left out.
    steps : ndarray, shape (n_sites,)
        Lanczos steps; each multiplied the matrix once with three columns per site.
    """

    values: Array
    errors: Array
    modes: Array
    steps: Indices


def lanczos_site_entropies(
    matrix: Any,
    sites: ArrayLike,
    *,
    motions: Array,
    tolerance: float = 1e-6,
    max_steps: int = 200,
) -> LanczosEntropies:
    """Reduced site entropies s_i = -Σ_ν |e_νi|² ln(ħω_ν/(k_B T0)), exact to a tolerance.

    Parameters
    ----------
    matrix : sparse matrix, ndarray, LinearOperator or callable, (3n, 3n), eV/Å² or eV/Å²/amu
        Hessian (for masses of 1 amu) or dynamical matrix. A callable multiplies: it takes
        and returns an array of shape (3n, m), and must be symmetric.
    sites : array_like of int, shape (n_sites,)
    motions : ndarray, shape (3n, k)
        Rigid-body patterns that belong to the matrix, possibly linearly dependent; k may be
        0. See `rigid_body_motions`.
    tolerance : float, k_B
        Largest estimated error of a site.
    max_steps : int
        Largest number of Lanczos steps. Convergence is looked at every 5, from 15 on.

    Returns
    -------
    LanczosEntropies

    Raises
    ------
    InvalidInputError
        If shapes do not fit, products are not finite, or `max_steps` do not suffice.
    UnstableStructureError
        If a site sees a mode without restoring force. Its `frequencies` and `n_unstable`
        count Ritz values of that site. A site that feels no unstable mode has its value.
    """
    motions = np.asarray(motions, dtype=float)
    if motions.ndim != 2 or len(motions) % 3:
        raise InvalidInputError(f"motions: expected shape (3n, k), got {motions.shape}")
    if not tolerance > 0:
        raise InvalidInputError(f"tolerance: expected an error in k_B > 0, got {tolerance!r}")
    sites = check_sites(sites, len(motions) // 3)
    multiply = _product(matrix, len(motions))
    basis = orthonormal_motions(motions)
    parts = [
        _converged(multiply, sites[first : first + BATCH], basis, tolerance, max_steps)
        for first in range(0, len(sites), BATCH)
    ]
    if not parts:
        none = np.empty(0)
        return LanczosEntropies(none, none, none, np.empty(0, dtype=np.int64))
    columns = zip(*((p.values, p.errors, p.modes, p.steps) for p in parts), strict=True)
    return LanczosEntropies(*map(np.concatenate, columns))


def check_sites(sites: ArrayLike, n_atoms: int) -> Indices:
    """Site indices, validated.

    Parameters
    ----------
    sites : array_like of int, shape (n_sites,)
    n_atoms : int

    Returns
    -------
    ndarray of int64, shape (n_sites,)

    Raises
    ------
    InvalidInputError
    """
    indices = np.atleast_1d(np.asarray(sites))
    if indices.size == 0:
        return np.empty(0, dtype=np.int64)
    integers = indices.ndim == 1 and np.issubdtype(indices.dtype, np.integer)
    if not integers or indices.min() < 0 or indices.max() >= n_atoms:
        raise InvalidInputError(f"sites: expected indices from 0 to {n_atoms - 1}")
    return indices.astype(np.int64)


def symmetric_rows(matrix: Any, size: int) -> csr_array:
    """Symmetrised sparse matrix, validated.

    Parameters
    ----------
    matrix : sparse matrix, shape (size, size)
    size : int

    Returns
    -------
    csr_array, shape (size, size)

    Raises
    ------
    InvalidInputError
        If its shape is another, or an entry is not finite.
    """
    rows = csr_array(matrix, dtype=float)
    if rows.shape != (size, size):
        raise InvalidInputError(f"hessian: expected shape {(size, size)}, got {rows.shape}")
    if not np.all(np.isfinite(rows.data)):
        raise InvalidInputError("hessian: holds NaN or infinite entries; check the calculator")
    return ((rows + rows.T) / 2).tocsr()


def _product(matrix: Any, size: int) -> Product:
    """Multiplication by a matrix, whatever it is given as, checked as far as possible."""
    if not callable(matrix):
        if not issparse(matrix):
            matrix = check_hessian(matrix)
        explicit = symmetric_rows(matrix, size) if issparse(matrix) else matrix
        if explicit.shape != (size, size):
            raise InvalidInputError(f"hessian: expected {size} rows, got {len(explicit)}")
        return lambda columns: explicit @ columns

    def multiply(columns: Array) -> Array:
        result = np.asarray(matrix(columns), dtype=float)
        if result.shape != columns.shape or not np.all(np.isfinite(result)):
            raise InvalidInputError(
                f"matrix: expected finite products of shape {columns.shape}, got {result.shape}"
            )
        return result

    return multiply


class _Recursion:
    """Lanczos recursions of independent start vectors, the columns of one block.

    No column is orthogonalised against more than the two before it: lost orthogonality
    repeats Ritz values but leaves quadratures intact (Greenbaum 1989; Knizhnerman 1996).
    Rigid-body motions would come back the same way and are projected out in every step.
    """

    def __init__(self, multiply: Product, start: Array, basis: Array):
        self._multiply = multiply
        self._basis = basis
        self._previous = np.zeros_like(start)
        self._current, self.norms = self._normalised(start)
        self._coupling = np.zeros(start.shape[1])
        self._scale = np.zeros(start.shape[1])
        self.diagonal: list[Array] = []
        self.off_diagonal: list[Array] = []

    def _normalised(self, columns: Array, noise: Array | float = NOISE) -> tuple[Array, Array]:
        """Unit columns orthogonal to rigid-body motions, and their lengths; 0 where noise."""
        for _ in range(2):  # the second time for columns that cancel almost completely
            columns -= self._basis @ (self._basis.T @ columns)
        norms = np.sqrt(np.einsum("ij,ij->j", columns, columns))
        norms[norms <= noise] = 0
        columns *= np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)
        return columns, norms

    def advance(self) -> None:
        """One more step, one multiplication."""
        residual = self._multiply(self._current) - self._coupling * self._previous
        alpha = np.einsum("ij,ij->j", self._current, residual)
        residual -= alpha * self._current
        self._scale = np.maximum(self._scale, np.abs(alpha) + self._coupling)
        self._previous = self._current
        self._current, self._coupling = self._normalised(residual, NOISE * self._scale)
        self.diagonal.append(alpha)
        self.off_diagonal.append(self._coupling)

    def quadrature(self) -> Array:
        """Reduced entropy of every column, shape (n_columns,), units of k_B."""
        diagonal, off_diagonal = np.array(self.diagonal).T, np.array(self.off_diagonal).T
        return gauss_quadrature(diagonal, off_diagonal[:, :-1], self.norms**2)


def _converged(
    multiply: Product, sites: Indices, basis: Array, tolerance: float, max_steps: int
) -> LanczosEntropies:
    """Iterate a few sites until the worst of them has converged."""
    start = np.zeros((len(basis), 3 * len(sites)))
    start[(3 * sites[:, None] + np.arange(3)).ravel(), np.arange(3 * len(sites))] = 1
    recursion = _Recursion(multiply, start, basis)
    history: list[Array] = []
    errors = np.full(len(sites), np.inf)
    for steps in range(STRIDE, max_steps + 1, STRIDE):
        for _ in range(STRIDE):
            recursion.advance()
        history.append(recursion.quadrature().reshape(-1, 3).sum(axis=1))
        if len(history) < 3:
            continue
        errors = estimated_errors(*history[-3:])
        if errors.max() <= tolerance:
            modes = (recursion.norms**2).reshape(-1, 3).sum(axis=1)
            return LanczosEntropies(history[-1], errors, modes, np.full(len(sites), steps))
    raise InvalidInputError(
        f"max_steps: after {max_steps} steps the error of site {sites[errors.argmax()]} is "
        f"estimated at {errors.max():.1g} k_B, above the tolerance of {tolerance:.1g}; "
        "allow more steps (soft modes need them) or a larger error"
    )


def estimated_errors(before: Array, previous: Array, last: Array) -> Array:
    """Errors left in the last of three quadratures, an equal number of steps apart.

    With r the ratio of the last two changes, the last change times (1 + r)/(1 - r): in fast
    convergence the change itself, far above the error; exact for an error that falls like
    1/steps, the slowest that soft modes cause (those of a chain). Gauss quadratures of the
    logarithm are monotone, so changes cannot cancel.

    Parameters
    ----------
    before, previous, last : ndarray, shape (n_sites,), units of k_B

    Returns
    -------
    ndarray, shape (n_sites,), units of k_B
        Infinite where changes do not fall.
    """
    change, former = np.abs(last - previous), np.abs(previous - before)
    ratio = change / np.maximum(former, ROUNDING)
    falling = ratio < 1
    growth = np.divide(1 + ratio, 1 - ratio, out=np.full_like(ratio, np.inf), where=falling)
    return np.where(change <= ROUNDING, ROUNDING, change * growth)


def gauss_quadrature(diagonal: Array, off_diagonal: Array, weights: Array) -> Array:
    """Reduced entropies from tridiagonal matrices, Golub and Welsch (1969).

    Parameters
    ----------
    diagonal : ndarray, shape (m, steps), eV/Å² or eV/Å²/amu
    off_diagonal : ndarray, shape (m, steps - 1), same unit
    weights : ndarray, shape (m,)
        Squared lengths of the start vectors.

    Returns
    -------
    ndarray, shape (m,), dimensionless (units of k_B)

    Raises
    ------
    UnstableStructureError
        If a Ritz value that is not positive has a weight.
    """
    steps = diagonal.shape[1]
    matrices = np.zeros((len(diagonal), steps, steps))
    rows = np.arange(steps)
    matrices[:, rows, rows] = diagonal
    matrices[:, rows[1:], rows[:-1]] = off_diagonal  # the lower triangle is all eigh reads
    nodes, vectors = np.linalg.eigh(matrices)
    shares = weights[:, None] * vectors[:, 0, :] ** 2
    felt = shares > NEGLIGIBLE
    _require_restoring_forces(nodes, felt)
    logarithms = reduced_entropy(np.where(felt, nodes, 1.0))
    return np.einsum("ij,ij->i", np.where(felt, shares, 0.0), logarithms)


def _require_restoring_forces(nodes: Array, felt: NDArray[np.bool_]) -> None:
    largest = np.abs(nodes).max(axis=1, initial=0.0, keepdims=True)
    bad = felt & (nodes <= NOISE * largest)
    if not bad.any():
        return
    column = bad.sum(axis=1).argmax()
    frequencies = signed_frequencies(nodes[column, felt[column]])
    raise UnstableStructureError(
        f"hessian: a site feels {bad[column].sum()} modes without restoring force (lowest ħω of "
        f"its Ritz values in meV, imaginary as negative: {1e3 * frequencies[0]:.4g}); relax the "
        "structure, or diagonalise it to leave unstable modes out",
        frequencies,
        int(bad[column].sum()),
    )
