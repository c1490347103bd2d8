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
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ase_vibent.arrays import Array, IntArray
from ase_vibent.compiled.jit import compiled
from ase_vibent.errors import InvalidInputError, UnstableStructureError
from ase_vibent.harmonic.entropy import reduced_entropy
from ase_vibent.harmonic.modes import NOISE, signed_frequencies
from ase_vibent.harmonic.rigid_motions import orthonormal_motions
from ase_vibent.harmonic.spectrum import (
    Product,
    check_sites,
    largest_eigenvalue,
    lowest_modes,
    product_with,
    unit_vectors,
)

#: Steps between two looks at the convergence.
STRIDE = 5

#: Smallest error that is ever claimed, k_B: rounding in the logarithm of soft modes.
ROUNDING = 1e-12

#: A Ritz value of less weight on the site cannot be felt there.
NEGLIGIBLE = 1e-12

#: Share of a column that is left, below which rounding has brought rigid-body motions back.
_CANCELLED = 1e-6

#: Sites iterated together: 48 columns amortise reading the matrix and still fit the cache.
BATCH = 16


@dataclass(frozen=True)
class LanczosSpectrum:
    """Site entropies, what is known about their convergence, and the quadratures behind them.

    Attributes
    ----------
    values : ndarray, shape (n_sites,), dimensionless (units of k_B)
        Gauss quadratures of the reduced entropy; they approach the exact values from below.
    errors : ndarray, shape (n_sites,), dimensionless (units of k_B)
        Estimated errors.
    modes : ndarray, shape (n_sites,)
        Number of modes Σ_ν |e_νi|² on every site, rigid-body motions left out.
    steps : ndarray, shape (n_sites,)
        Lanczos steps; each multiplied the matrix once with three columns per site.
    nodes, shares : ndarray, shape (n_sites, k)
        Ritz values and their weights on the site: the local density of states.
    n_unstable : int
        Number of unstable modes that were left out.
    """

    values: Array
    errors: Array
    modes: Array
    steps: IntArray
    nodes: Array
    shares: Array
    n_unstable: int = 0

    @property
    def error(self) -> float:
        """Largest estimated error of a site, k_B."""
        return float(self.errors.max(initial=0.0))

    def site_sums(self, function: Callable[[Array], Array]) -> Array:
        """Σ_ν |e_νi|² f(λ_ν) of every site, shape (n_sites,)."""
        return np.einsum("ij,ij...->i...", self.shares, function(self.nodes))


def lanczos_site_entropies(
    matrix: Any,
    sites: ArrayLike,
    *,
    motions: Array,
    unstable: int | str = 0,
    tolerance: float = 1e-6,
    max_steps: int = 200,
) -> LanczosSpectrum:
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
    unstable : int or "any"
        Number of unstable modes that must be found; they are left out. 0 is a promise,
        checked on the sites alone; any other value takes their iterative solution first.
    tolerance : float, k_B
        Largest estimated error of a site.
    max_steps : int
        Largest number of Lanczos steps. Convergence is looked at every 5, from 15 on.

    Returns
    -------
    LanczosSpectrum

    Raises
    ------
    InvalidInputError
        If shapes do not fit, products are not finite, or `max_steps` do not suffice.
    UnstableStructureError
        If another number of unstable modes is found, or a site sees a mode without restoring
        force. Then `frequencies` and `n_unstable` count Ritz values of that site, and a site
        that feels no unstable mode has its value.
    """
    motions = np.asarray(motions, dtype=float)
    if motions.ndim != 2 or len(motions) % 3:
        raise InvalidInputError(f"motions: expected shape (3n, k), got {motions.shape}")
    if not tolerance > 0:
        raise InvalidInputError(f"tolerance: expected an error in k_B > 0, got {tolerance!r}")
    sites = check_sites(sites, len(motions) // 3)
    multiply = product_with(matrix, len(motions))
    basis = orthonormal_motions(motions)
    n_unstable = 0
    if unstable != 0:
        lowest = lowest_modes(
            multiply, basis, largest_eigenvalue(multiply, len(basis)), unstable=unstable
        )
        n_unstable = len(lowest.negative)
        basis = np.hstack([basis, lowest.vectors])
    parts = [
        _converged(multiply, sites[first : first + BATCH], basis, tolerance, max_steps)
        for first in range(0, len(sites), BATCH)
    ]
    return replace(_join(parts), n_unstable=n_unstable)


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
        residual = np.ascontiguousarray(self._multiply(self._current))
        alpha, squares = _orthogonalise(
            residual, self._previous, self._current, self._coupling, self._basis
        )
        self._scale = np.maximum(self._scale, np.abs(alpha) + self._coupling)
        norms, noise = np.sqrt(squares), NOISE * self._scale
        self._previous = self._current
        if np.any(norms <= _CANCELLED * self._scale):
            self._current, self._coupling = self._normalised(residual, noise)
        else:
            residual /= norms
            self._current, self._coupling = residual, norms
        self.diagonal.append(alpha)
        self.off_diagonal.append(self._coupling)

    def quadrature(self) -> tuple[Array, Array]:
        """Nodes and weights of every column, shape (n_columns, steps)."""
        diagonal, off_diagonal = np.array(self.diagonal).T, np.array(self.off_diagonal).T
        return gauss_quadrature(diagonal, off_diagonal[:, :-1], self.norms**2)


@compiled
def _orthogonalise(
    residual: Array, previous: Array, current: Array, coupling: Array, basis: Array
) -> tuple[Array, Array]:
    """Take two columns and rigid-body motions out of a residual, in place, in two passes over it.

    Parameters
    ----------
    residual, previous, current : ndarray, shape (3n, m)
        The last two orthogonal to the motions but for rounding.
    coupling : ndarray, shape (m,)
        Of the previous column.
    basis : ndarray, shape (3n, k)

    Returns
    -------
    overlaps, squares : ndarray, shape (m,)
        With the current column, and squared lengths of what is left.
    """
    n, m = residual.shape
    overlaps, squares = np.zeros(m), np.zeros(m)
    rigid, rounding = np.zeros((2, basis.shape[1], m))
    for i in range(n):
        r, p, q = residual[i], previous[i], current[i]
        for c in range(m):
            r[c] -= coupling[c] * p[c]
            overlaps[c] += q[c] * r[c]
        for k in range(basis.shape[1]):
            b = basis[i, k]
            if b != 0:
                rigid[k] += b * r
                rounding[k] += b * q
    # What rounding left of the motions in a column would grow from step to step.
    rigid -= overlaps * rounding
    for i in range(n):
        r, q = residual[i], current[i]
        for k in range(basis.shape[1]):
            b = basis[i, k]
            if b != 0:
                r -= b * rigid[k]
        for c in range(m):
            r[c] -= overlaps[c] * q[c]
            squares[c] += r[c] * r[c]
    return overlaps, squares


def _converged(
    multiply: Product, sites: IntArray, basis: Array, tolerance: float, max_steps: int
) -> LanczosSpectrum:
    """Iterate a few sites until the worst of them has converged."""
    recursion = _Recursion(multiply, unit_vectors(sites, len(basis)), basis)
    history: list[Array] = []
    errors = np.full(len(sites), np.inf)
    for steps in range(STRIDE, max_steps + 1, STRIDE):
        for _ in range(STRIDE):
            recursion.advance()
        nodes, shares = (part.reshape(len(sites), -1) for part in recursion.quadrature())
        history.append(np.einsum("ij,ij->i", shares, reduced_entropy(nodes)))
        if len(history) < 3:
            continue
        errors = estimated_errors(*history[-3:])
        if errors.max() <= tolerance:
            modes = (recursion.norms**2).reshape(-1, 3).sum(axis=1)
            counts = np.full(len(sites), steps)
            return LanczosSpectrum(history[-1], errors, modes, counts, nodes, shares)
    raise InvalidInputError(
        f"max_steps: after {max_steps} steps the error of site {sites[errors.argmax()]} is "
        f"estimated at {errors.max():.1g} k_B, above the tolerance of {tolerance:.1g}; "
        "allow more steps (soft modes need them) or a larger error"
    )


def _join(parts: list[LanczosSpectrum]) -> LanczosSpectrum:
    """One spectrum of all batches, their quadratures padded to one length by zero weights."""
    width = max((part.nodes.shape[1] for part in parts), default=0)

    def column(name: str, padding: float | None = None, dtype: type = float) -> Any:
        arrays = [getattr(part, name) for part in parts]
        if padding is None:
            return np.concatenate([np.empty(0, dtype=dtype), *arrays])
        padded = [
            np.pad(a, ((0, 0), (0, width - a.shape[1])), constant_values=padding) for a in arrays
        ]
        return np.concatenate([np.empty((0, width)), *padded])

    return LanczosSpectrum(
        values=column("values"),
        errors=column("errors"),
        modes=column("modes"),
        steps=column("steps", dtype=np.int64),
        nodes=column("nodes", 1.0),
        shares=column("shares", 0.0),
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


def gauss_quadrature(diagonal: Array, off_diagonal: Array, weights: Array) -> tuple[Array, Array]:
    """Nodes and weights of tridiagonal matrices, Golub and Welsch (1969).

    Parameters
    ----------
    diagonal : ndarray, shape (m, steps), eV/Å² or eV/Å²/amu
    off_diagonal : ndarray, shape (m, steps - 1), same unit
    weights : ndarray, shape (m,)
        Squared lengths of the start vectors.

    Returns
    -------
    nodes : ndarray, shape (m, steps), eV/Å² or eV/Å²/amu
        Positive; 1 where nothing is felt.
    shares : ndarray, shape (m, steps)

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
    return np.where(felt, nodes, 1.0), np.where(felt, shares, 0.0)


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
