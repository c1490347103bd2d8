"""Contour integrals normalised by a crystal: resolvents of F H F by the pencil z K - H.

With K the crystal's Hessian and F = K^(-½), (z - F H F)⁻¹ = K^½ (z K - H)⁻¹ K^½: nothing dense is
factorised. The eigenvalues of F H F lie around 1 whatever the size, so that six or seven nodes do
where log H needs more the softer its modes. K^½ of a site's directions comes from real resolvents
of K, K^½ = K Σ_j w_j (K + s_j)⁻¹ (Hale, Higham and Trefethen, SIAM J. Numer. Anal. 46, 2505 (2008),
method 3), once for every crystal and only for atoms that no translation maps on each other.

Rigid-body motions are null vectors of both: their rows and columns are struck out ("grounded"),
which leaves the eigenvalues of the pencil on the complement as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr
from scipy.sparse import csc_array, csr_array, diags_array, eye_array
from scipy.sparse.linalg import splu
from scipy.special import ellipj, ellipk

from ase_vibent.arrays import Array, IntArray
from ase_vibent.errors import InvalidInputError, UnstableStructureError
from ase_vibent.harmonic.bloch import MISSED, Translations
from ase_vibent.harmonic.contour import (
    Contour,
    ContourSolver,
    Function,
    complex_factor,
    converged_contour,
)
from ase_vibent.harmonic.rigid_motions import orthonormal_motions
from ase_vibent.harmonic.site_gradient import REDUCED_OFFSET
from ase_vibent.harmonic.spectrum import (
    DerivativeFactors,
    largest_eigenvalue,
    lowest_modes,
    positive_factor,
    solver_beside,
    symmetric_matrix,
    unit_vectors,
)

#: Share of the tolerance of a site that the square root may take, twice three modes of it.
ROOT_SHARE = 0.02
#: Relative error of square roots that rounding leaves.
ROOT_NOISE = 1e-13


def half_log(eigenvalues: Any) -> Any:
    """Entropy of a mode beside the crystal's, -½ ln κ, k_B."""
    return -0.5 * np.log(eigenvalues)


def root_quadrature(smallest: float, largest: float, tolerance: float) -> tuple[Array, Array]:
    """Shifts s_j and weights w_j of √λ = λ Σ_j w_j / (λ + s_j) on an interval.

    Parameters
    ----------
    smallest, largest : float, eV/Å²
    tolerance : float
        Largest relative error.

    Returns
    -------
    shifts : ndarray, shape (n,), eV/Å²
    weights : ndarray, shape (n,), (eV/Å²)^½

    Raises
    ------
    InvalidInputError
        If the tolerance cannot be reached.
    """
    grid = np.geomspace(smallest, largest, 400)
    quarter = ellipk(1 - smallest / largest)
    for n_nodes in range(4, 100):
        places = (np.arange(n_nodes) + 0.5) * quarter / n_nodes
        sn, cn, dn, _ = ellipj(places, 1 - smallest / largest)
        shifts = smallest * (sn / cn) ** 2
        weights = 2 * quarter * np.sqrt(smallest) / (np.pi * n_nodes) * dn / cn**2
        found = np.sqrt(grid) * (weights / (grid[:, None] + shifts)).sum(axis=1)
        if np.abs(found - 1).max() <= max(tolerance, ROOT_NOISE):
            return shifts, weights
    raise InvalidInputError(
        f"crystal: its modes reach from {smallest:.1e} to {largest:.1e} eV/Å², too far for a "
        f"square root to {tolerance:.1e}; is it stable?"
    )


class CrystalRoot:
    """Columns of the square root of a crystal's Hessian.

    Parameters
    ----------
    matrix : sparse matrix, shape (3n, 3n), or its real form (6n, 6n), eV/Å²
        Crystal's Hessian at a point q.
    motions : ndarray, shape of a column of the matrix, k columns
        Rigid-body patterns.
    translations : Translations or None
        That map the crystal on itself.
    phases : ndarray of complex, shape (n,)
        exp(iq·r) of the sites, with which translations become permutations.
    tolerance : float, k_B
        Of a site entropy.

    Raises
    ------
    InvalidInputError
        If the crystal is not stable.
    """

    def __init__(
        self,
        matrix: Any,
        motions: Array,
        *,
        translations: Translations | None = None,
        phases: NDArray[np.complex128],
        tolerance: float,
    ):
        self.matrix = csr_array(symmetric_matrix(matrix, len(motions)))
        self.motions = orthonormal_motions(motions)
        #: Bound on the relative error.
        self.error = max(ROOT_SHARE * tolerance, ROOT_NOISE)
        self._phases = phases
        self._translations = translations
        if translations is not None and not self._is_symmetric(translations):
            self._translations = None
        self._known: dict[int, Array] = {}

    def __call__(self, sites: IntArray) -> Array:
        """K^½ of the three directions of every site, shape (3n or 6n, 3 n_sites), (eV/Å²)^½."""
        origins, moves = self._origins(sites)
        missing = np.setdiff1d(origins, list(self._known))
        if len(missing):
            self._compute(missing)
        columns = [
            self._known[origin] if move is None else self._moved(self._known[origin], origin, move)
            for origin, move in zip(origins.tolist(), moves, strict=True)
        ]
        return np.hstack(columns)

    def _origins(self, sites: IntArray) -> tuple[IntArray, list[IntArray | None]]:
        """First translational image of every site, and the permutation that leads back."""
        if self._translations is None:
            return sites, [None] * len(sites)
        images = self._translations.images
        origins = images.min(axis=0)[sites]
        numbers = (images[:, origins] == sites).argmax(axis=0)
        return origins, list(images[numbers])

    def _compute(self, sites: IntArray) -> None:
        start = unit_vectors(sites, len(self.motions))
        start -= self.motions @ (self.motions.T @ start)
        largest = float(abs(self.matrix).sum(axis=0).max())
        try:
            lowest = lowest_modes(
                lambda columns: self.matrix @ columns,
                self.motions,
                largest,
                unstable=0,
                matrix=self.matrix,
            )
        except UnstableStructureError as error:
            raise InvalidInputError(
                f"crystal: has unstable modes; it is no reference: {error}"
            ) from error
        shifts, weights = root_quadrature(0.99 * lowest.smallest, largest, self.error)
        total = np.zeros_like(start)
        unit = eye_array(len(start))
        for shift, weight in zip(shifts, weights, strict=True):
            factor = positive_factor(self.matrix + shift * unit)
            assert factor is not None  # the crystal is stable
            total += weight * solver_beside(factor.solve, self.motions)(start)
        columns = self.matrix @ total
        columns -= self.motions @ (self.motions.T @ columns)
        self._known |= dict(zip(sites.tolist(), np.split(columns, len(sites), 1), strict=True))

    def _moved(self, columns: Array, origin: int, move: IntArray) -> Array:
        """Columns of an atom's image from those of the atom."""
        amplitudes = self._complex(columns).reshape(len(move), 3, -1)
        amplitudes = amplitudes * (self._phases.conj() * self._phases[origin])[:, None, None]
        moved = np.empty_like(amplitudes)
        moved[move] = amplitudes
        moved *= (self._phases * self._phases[move[origin]].conj())[:, None, None]
        flat = moved.reshape(3 * len(move), -1)
        doubled = len(columns) > len(flat)
        return np.vstack([flat.real, flat.imag]) if doubled else flat.real

    def _complex(self, columns: Array) -> NDArray[np.complex128]:
        half = 3 * len(self._phases)
        if len(columns) == half:
            return columns.astype(complex)
        whole: NDArray[np.complex128] = columns[:half] + 1j * columns[half:]
        return whole

    def _is_symmetric(self, translations: Translations) -> bool:
        """Whether translations leave the matrix as it is, on a random vector."""
        n, copies = len(self._phases), len(self.motions) // (3 * len(self._phases))
        probe = np.random.default_rng(0).normal(size=(3 * n * copies, 1))
        amplitudes = self._complex(probe)[:, 0].reshape(n, 3)
        scale = MISSED * float(abs(self.matrix).sum(axis=0).max()) * np.sqrt(n)

        def product(of: NDArray[np.complex128]) -> NDArray[np.complex128]:
            flat = (of * self._phases[:, None]).reshape(-1, 1)
            real = np.vstack([flat.real, flat.imag]) if copies == 2 else flat.real
            image = self._complex(self.matrix @ real)[:, 0].reshape(n, 3)
            return image * self._phases.conj()[:, None]

        image = product(amplitudes)
        for move in translations.images:
            moved = np.empty_like(amplitudes)
            moved[move] = amplitudes
            if np.linalg.norm(product(moved)[move] - image) > scale:
                return False
        return True


class PencilSolver(ContourSolver):
    """Resolvents of a Hessian normalised by the crystal's; offers what `ContourSolver` offers.

    Parameters
    ----------
    matrix : sparse matrix, shape (m, m), eV/Å²
        Of the structure; at a point q the real form of its Hermitian matrix.
    root : CrystalRoot
        Of the crystal, of the same shape.
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

    _function: Function = staticmethod(half_log)

    def __init__(self, matrix: Any, root: CrystalRoot, *, unstable: int | str, tolerance: float):
        self._matrix = csr_array(symmetric_matrix(matrix, len(root.motions)))
        self._root, self._basis, self._tolerance = root, root.motions, tolerance
        pivots = qr(self._basis.T, mode="r", pivoting=True)[-1][: self._basis.shape[1]]
        self._kept = np.setdiff1d(np.arange(len(self._basis)), pivots)
        factor = positive_factor(self._grounded(root.matrix))
        if factor is None:
            raise InvalidInputError("crystal: has unstable modes; it is no reference")
        # K = C Cᵀ with a lower triangle C in the order of the factors; its LU is itself.
        self._kept = self._kept[np.argsort(factor.perm_c)]
        triangle = splu(
            csc_array(factor.L @ diags_array(np.sqrt(factor.U.diagonal()))),
            permc_spec="NATURAL",
            diag_pivot_thresh=0.0,
        )

        def normalised(columns: Array) -> Array:
            patterns = np.zeros((len(self._basis), columns.shape[1]))
            patterns[self._kept] = triangle.solve(columns, "T")
            # Translations are no motions, also where differences of forces miss the sum rule.
            patterns -= self._basis @ (self._basis.T @ patterns)
            images = self._matrix @ patterns
            images -= self._basis @ (self._basis.T @ images)
            found: Array = triangle.solve(images[self._kept])
            return found

        empty = np.empty((len(self._kept), 0))
        self._largest = largest_eigenvalue(normalised, len(self._kept))
        self._lowest = lowest_modes(normalised, empty, self._largest, unstable=unstable)
        unstable_modes = np.zeros((len(self._basis), len(self._lowest.negative)))
        if unstable_modes.size:
            unstable_modes[self._kept] = triangle.solve(self._lowest.vectors, "T")
        #: K x of the unstable patterns x = F v.
        self._reactions = root.matrix @ unstable_modes

    def derivative_factors(
        self, sites: Any, per_mode: float = -REDUCED_OFFSET
    ) -> list[DerivativeFactors]:
        """See `ContourSolver.derivative_factors`; the matrix is the Hessian, not F H F."""
        return super().derivative_factors(sites, per_mode + REDUCED_OFFSET)

    def _contour(self, outside: Array) -> tuple[Contour, float]:
        smallest, largest = 0.99 * self._lowest.smallest, self._largest
        worst = np.abs(half_log(np.array([smallest, largest]))).max()
        of_root = 3 * (2 + self._root.error) * self._root.error * worst
        if of_root >= self._tolerance:
            raise InvalidInputError(
                f"tolerance: the crystal's square root leaves {of_root:.1e} k_B, more than "
                f"{self._tolerance}; take a larger one, or engine 'dense'"
            )
        left = self._tolerance - of_root
        nodes, error = converged_contour(smallest, largest, outside, left, function=half_log)
        return nodes, error + of_root

    def _start(self, sites: IntArray, *, deflate: bool) -> Array:
        return self._root(sites)

    def _solver(self, node: complex, *, deflate: bool) -> Function:
        """Multiplication by (P (z K - H) P)⁻¹; P projects out the rigid-body motions."""
        matrix, basis = node * self._root.matrix - self._matrix, self._basis
        # P M P = M - B Rᵀ - R Bᵀ; R is what forces miss of their sum rule, 0 but for noise.
        residue = matrix @ basis
        residue -= basis @ (basis.T @ residue) / 2
        solve = _solver_less(
            complex_factor(self._grounded(matrix)), basis[self._kept], residue[self._kept]
        )

        def solve_all(columns: Array) -> Any:
            solutions = np.zeros(columns.shape, dtype=complex)
            solutions[self._kept] = solve(columns[self._kept])
            return solutions - basis @ (basis.T @ solutions)

        return solver_beside(solve_all, self._reactions) if deflate else solve_all

    def _grounded(self, matrix: Any) -> Any:
        return csc_array(csr_array(matrix)[self._kept][:, self._kept])


def _solver_less(solve: Function, first: Array, second: Any) -> Function:
    """Multiplication by (M - b rᵀ - r bᵀ)⁻¹ from that by M⁻¹, by Woodbury's formula."""
    if first.shape[1] == 0:
        return solve
    columns = np.hstack([first, second])
    swapped = np.kron([[0, 1], [1, 0]], np.eye(first.shape[1]))
    response = solve(columns)
    inner = np.linalg.inv(swapped - columns.T @ response)

    def solve_less(right: Array) -> Any:
        solutions = solve(right)
        return solutions + response @ (inner @ (columns.T @ solutions))

    return solve_less
