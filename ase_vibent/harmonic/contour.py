"""Site entropies by contour integration: resolvents at a few complex points.

For a symmetric A whose positive eigenvalues lie in [m, M], and f analytic off (-∞, 0],

    f(A) = Im Σ_j c_j f(z_j) (z_j - A)⁻¹

on the positive part of the spectrum, with the nodes of Hale, Higham and Trefethen, SIAM J.
Numer. Anal. 46, 2505 (2008), in the variable √z; [Torabi2024] App. C. What is not positive lies
outside the contour, so the logarithm is the log⁺ of [Torabi2024] (2.10) by itself. The error falls
exponentially with the number of nodes, at a rate ∝ 1/(ln(M/m) + 6), half of it beside unstable
modes; that of a scalar in place of A bounds it, so it is known before anything is factorised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import block_diag, lu_factor, lu_solve
from scipy.sparse import csc_array, eye_array, issparse
from scipy.sparse.linalg import splu
from scipy.special import ellipj, ellipk, ellipkm1

from ase_vibent.arrays import Array, IntArray
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.entropy import reduced_entropy
from ase_vibent.harmonic.rigid_motions import orthonormal_motions
from ase_vibent.harmonic.spectrum import (
    DerivativeFactors,
    check_sites,
    lowest_modes,
    solver_beside,
    symmetric_matrix,
    truncate,
    unit_vectors,
)

Complex = NDArray[np.complex128]
Function = Callable[[Any], Any]

#: Sites whose right-hand sides are solved for together.
BATCH = 32


@dataclass(frozen=True)
class Contour:
    """Nodes and coefficients of f(A) = Im Σ_j c_j f(z_j) (z_j - A)⁻¹.

    Attributes
    ----------
    nodes : ndarray of complex, shape (n_nodes,), unit of the matrix
    coefficients : ndarray of complex, shape (n_nodes,), unit of the matrix
    """

    nodes: Complex
    coefficients: Complex

    def __call__(self, function: Function, eigenvalue: Array) -> Array:
        """What the quadrature makes of f at eigenvalues, shape (n,)."""
        terms = self.coefficients * function(self.nodes)
        values: Array = (terms / (self.nodes - np.asarray(eigenvalue)[:, None])).sum(axis=1).imag
        return values


def contour(smallest: float, largest: float, n_nodes: int) -> Contour:
    """Hale-Higham-Trefethen nodes around an interval, [Torabi2024] (C.2)-(C.7).

    Parameters
    ----------
    smallest, largest : float, eV/Å² or eV/Å²/amu
        Interval [m, M], m > 0, that holds all positive eigenvalues.
    n_nodes : int

    Returns
    -------
    Contour
    """
    ratio = (largest / smallest) ** 0.25
    k = (ratio - 1) / (ratio + 1)
    quarter = ellipk(k**2)
    real = -quarter + (2 * np.arange(n_nodes) + 1) * quarter / n_nodes
    sn, cn, dn = _jacobi(real, ellipkm1(k**2) / 2, k)
    middle = (smallest * largest) ** 0.25
    root = middle * (1 / k + sn) / (1 / k - sn)
    scale = -8 * quarter * middle / (np.pi * n_nodes * k)
    return Contour(root**2, scale * root * cn * dn / (1 / k - sn) ** 2)


def _jacobi(real: Array, imaginary: float, k: float) -> tuple[Any, Any, Any]:
    """Jacobi's sn, cn, dn of complex arguments, by their addition theorems."""
    s, c, d, _ = ellipj(real, k**2)
    s1, c1, d1, _ = ellipj(imaginary, 1 - k**2)
    denominator = c1**2 + (k * s * s1) ** 2
    sn = (s * d1 + 1j * c * d * s1 * c1) / denominator
    cn = (c * c1 - 1j * s * d * s1 * d1) / denominator
    dn = (d * c1 * d1 - 1j * k**2 * s * c * s1) / denominator
    return sn, cn, dn


def converged_contour(
    smallest: float,
    largest: float,
    negative: Array,
    tolerance: float,
    max_nodes: int = 400,
    function: Function = reduced_entropy,
) -> tuple[Contour, float]:
    """Contour with the least number of nodes that a tolerance needs.

    Parameters
    ----------
    smallest, largest : float, eV/Å² or eV/Å²/amu
        Interval that holds all positive eigenvalues.
    negative : ndarray, shape (n_unstable,), same unit
        Eigenvalues to be left out.
    tolerance : float, k_B
        Largest error of a site, three modes in the worst place of the spectrum.
    max_nodes : int
    function : callable
        Entropy of a mode, k_B, from its eigenvalue.

    Returns
    -------
    contour : Contour
    error : float, k_B
        Bound on the error of a site.

    Raises
    ------
    InvalidInputError
        If `max_nodes` do not suffice.
    """
    # Where eigenvalues can be, and what each then should contribute.
    grid = np.geomspace(smallest, largest, 400)
    exact = np.concatenate([function(grid), np.zeros(len(negative))])
    places = np.concatenate([grid, negative])
    for n_nodes in range(4, max_nodes + 1):
        found = contour(smallest, largest, n_nodes)
        # Between two points of the grid the error may be a per cent larger.
        error = 1.02 * 3 * float(np.abs(found(function, places) - exact).max())
        if error <= tolerance:
            return found, error
    raise InvalidInputError(
        f"tolerance: {max_nodes} nodes leave an error of {error:.1e} k_B, more than {tolerance}"
    )


@dataclass(frozen=True)
class ContourSpectrum:
    """Resolvents on sites, from which sums over the kept modes follow for any function.

    Attributes
    ----------
    contour : Contour
    resolvents : ndarray of complex, shape (n_sites, n_nodes), inverse unit of the matrix
        Trace of (z_j - A)⁻¹ over the directions of a site, rigid-body motions left out.
    error : float, k_B
        Bound on the error of a site's reduced entropy.
    n_unstable : int
    """

    contour: Contour
    resolvents: Complex
    error: float
    n_unstable: int

    def site_sums(self, function: Function) -> Array:
        """Σ_ν |e_νi|² f(λ_ν) of every site, shape (n_sites,); f takes complex arguments."""
        terms = self.contour.coefficients * function(self.contour.nodes)
        values: Array = (self.resolvents @ np.broadcast_to(terms, self.contour.nodes.shape)).imag
        return values


class ContourSolver:
    """Factorised resolvents of one matrix.

    Parameters
    ----------
    matrix : sparse matrix or ndarray, shape (3n, 3n), eV/Å² or eV/Å²/amu
        Hessian or dynamical matrix. Sparse ones are factorised as such (SuperLU).
    motions : ndarray, shape (3n, k)
        Rigid-body patterns that belong to the matrix.
    unstable : int or "any"
        Number of unstable modes that must be found.
    tolerance : float, k_B
        Largest error of a site.

    Raises
    ------
    InvalidInputError
        If shapes do not fit or the tolerance cannot be reached.
    UnstableStructureError
        If the number of unstable modes is not `unstable`.
    """

    #: Entropy of a mode from its eigenvalue.
    _function: Function = staticmethod(reduced_entropy)

    def __init__(
        self,
        matrix: Any,
        *,
        motions: Array,
        unstable: int | str = 0,
        tolerance: float = 1e-8,
    ):
        if not tolerance > 0:
            raise InvalidInputError(f"tolerance: expected an error in k_B > 0, got {tolerance!r}")
        self._matrix = symmetric_matrix(matrix, len(motions))
        self._basis = orthonormal_motions(motions)
        # No eigenvalue exceeds the largest absolute row sum.
        self._largest = float(abs(self._matrix).sum(axis=0).max())
        self._lowest = lowest_modes(
            lambda columns: self._matrix @ columns,
            self._basis,
            self._largest,
            unstable=unstable,
            matrix=self._matrix if issparse(self._matrix) else None,
        )
        self._tolerance = tolerance

    def _contour(self, outside: Array) -> tuple[Contour, float]:
        # The softest mode is known to the eigensolver's tolerance only.
        smallest = 0.99 * self._lowest.smallest
        return converged_contour(smallest, self._largest, outside, self._tolerance)

    def spectrum(self, sites: ArrayLike | None = None) -> ContourSpectrum:
        """Resolvents on sites, by default on all.

        Parameters
        ----------
        sites : array_like of int, shape (n_sites,), optional

        Returns
        -------
        ContourSpectrum
        """
        n_atoms = len(self._basis) // 3
        chosen = check_sites(sites, n_atoms)
        # Unstable modes are known and projected out: the nodes need not keep clear of them.
        nodes, error = self._contour(outside=np.empty(0))
        resolvents = np.empty((len(chosen), len(nodes.nodes)), dtype=complex)
        for j, node in enumerate(nodes.nodes):
            solve = self._solver(node, deflate=True)
            for first in range(0, len(chosen), BATCH):
                start = self._start(chosen[first : first + BATCH], deflate=True)
                products = np.einsum("ij,ij->j", start, solve(start))
                resolvents[first : first + BATCH, j] = products.reshape(-1, 3).sum(axis=1)
        return ContourSpectrum(nodes, resolvents, error, len(self._lowest.negative))

    def derivative_factors(
        self, sites: ArrayLike, per_mode: float = 0.0
    ) -> list[DerivativeFactors]:
        """Factors of the derivatives of sites' reduced entropies in the matrix.

        [Torabi2024] (C.8): Im Σ_j c_j f(z_j) y_j y_jᵀ with the solutions y_j of a site's
        directions.

        Parameters
        ----------
        sites : array_like of int, shape (n_sites,)
        per_mode : float, k_B
            Added to the reduced entropy of every mode.

        Returns
        -------
        list of DerivativeFactors
        """
        chosen = check_sites(sites, len(self._basis) // 3)
        # Moving an atom mixes stable with unstable modes: those must stay outside the contour.
        nodes, _ = self._contour(outside=self._lowest.negative)
        at_nodes: Any = nodes.nodes
        amounts = nodes.coefficients * (self._function(at_nodes) + per_mode)
        inner = block_diag(
            *(np.kron([[a.imag, a.real], [a.real, -a.imag]], np.eye(3)) for a in amounts)
        )
        factors = []
        for first in range(0, len(chosen), BATCH):
            start = self._start(chosen[first : first + BATCH], deflate=False)
            solutions = np.array([self._solver(z, deflate=False)(start) for z in at_nodes])
            for column in range(0, start.shape[1], 3):
                of_site = solutions[:, :, column : column + 3]
                columns = np.concatenate([of_site.real, of_site.imag], axis=2)
                basis, triangle = np.linalg.qr(np.hstack(list(columns)))
                factors.append(truncate(triangle @ inner @ triangle.T, basis))
        return factors

    def _outside(self, deflate: bool) -> Array:
        """Orthonormal motions that are left out: rigid ones, and where asked the unstable modes."""
        return np.hstack([self._basis, self._lowest.vectors]) if deflate else self._basis

    def _start(self, sites: IntArray, *, deflate: bool) -> Array:
        """Unit vectors of sites without what is left out, shape (3n, 3 n_sites)."""
        basis = self._outside(deflate)
        start = unit_vectors(sites, len(basis))
        return start - basis @ (basis.T @ start)

    def _solver(self, node: complex, *, deflate: bool) -> Function:
        """Multiplication by (z - P A P)⁻¹ P; P projects out what is left out."""
        return solver_beside(self._factorise(node), self._outside(deflate))

    def _factorise(self, node: complex) -> Function:
        """Multiplication by (z - A)⁻¹."""
        if issparse(self._matrix):
            return complex_factor(node * eye_array(len(self._basis)) - self._matrix)
        factors = lu_factor(node * np.eye(len(self._matrix)) - self._matrix, check_finite=False)
        return lambda columns: lu_solve(factors, columns, check_finite=False)


def complex_factor(matrix: Any) -> Function:
    """Multiplication by the inverse of a sparse, complex symmetric matrix z K - A, z not real."""
    # Diagonal pivots keep the symmetric ordering; off the real axis they are safe.
    factor = splu(
        csc_array(matrix),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=1e-3,
        options={"SymmetricMode": True},
    )
    return lambda columns: factor.solve(columns.astype(complex))
