"""Normal modes of a Hessian, with rigid-body motion projected out exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import _amu, _e, _hbar
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky, eigh
from scipy.sparse import diags_array, issparse

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidInputError, InvalidStructureError, UnstableStructureError
from ase_vibent.harmonic.rigid_motions import RigidComplement, free_motions

#: ħω in eV of an eigenvalue of 1 eV/Å²/amu.
HBAR_OMEGA = _hbar * 1e10 / np.sqrt(_e * _amu)

#: An eigenvalue below this fraction of the largest cannot be told from rounding.
NOISE = 1e-13


@dataclass(frozen=True)
class Modes:
    """Eigenvalues and eigenvectors of a Hessian or dynamical matrix.

    Attributes
    ----------
    eigenvalues : ndarray, shape (n_modes,), eV/Å² or eV/Å²/amu
        Ascending, rigid-body modes excluded; the first `n_unstable` are negative.
    eigenvectors : ndarray, shape (3n, n_modes), real, or complex away from Γ
        Orthonormal columns, rows ordered x1 y1 z1 x2 …
    n_unstable : int
        Number of negative eigenvalues.
    """

    eigenvalues: Array
    eigenvectors: NDArray[Any] = field(repr=False)
    n_unstable: int

    @property
    def frequencies(self) -> Array:
        """ħω of every mode, shape (n_modes,), eV; imaginary ones as negative numbers.

        Meaningful for a dynamical matrix; for a Hessian it is ħω at a mass of 1 amu.
        """
        return signed_frequencies(self.eigenvalues)

    @property
    def stable(self) -> slice:
        """The kept modes, those with a positive eigenvalue."""
        return slice(self.n_unstable, None)

    @property
    def kept(self) -> Array:
        """Positive eigenvalues, shape (n_kept,), eV/Å² or eV/Å²/amu."""
        return self.eigenvalues[self.stable]

    @property
    def site_weights(self) -> Array:
        """Weight |e_νi|² of every kept mode on every atom, shape (n, n_kept)."""
        return site_weights(self.eigenvectors[:, self.stable])

    def scaled(self, factor: float) -> Modes:
        """The same modes with eigenvalues times a positive factor."""
        return Modes(factor * self.eigenvalues, self.eigenvectors, self.n_unstable)

    def site_sums(self, function: Callable[[Array], Array]) -> Array:
        """Σ_ν |e_νi|² f(λ_ν) over the kept modes, shape (n,)."""
        return self.site_weights @ function(self.kept)


def site_weights(eigenvectors: NDArray[Any]) -> Array:
    """Weight |e_νi|² of modes on atoms.

    Parameters
    ----------
    eigenvectors : ndarray, shape (3n, n_modes), real or complex
        Rows ordered x1 y1 z1 x2 …

    Returns
    -------
    ndarray, shape (n, n_modes)
    """
    squares = np.abs(eigenvectors) ** 2
    return squares.reshape(len(squares) // 3, 3, squares.shape[1]).sum(axis=1)


def signed_frequencies(eigenvalues: Array) -> Array:
    """ħω in eV of eigenvalues in eV/Å²/amu, negative where the eigenvalue is.

    Parameters
    ----------
    eigenvalues : ndarray, shape (n,), eV/Å²/amu

    Returns
    -------
    ndarray, shape (n,), eV
    """
    return np.sign(eigenvalues) * HBAR_OMEGA * np.sqrt(np.abs(eigenvalues))


def dynamical_matrix(hessian: Any, masses: Array) -> Any:
    """Mass-weighted Hessian M^-½ H M^-½.

    Parameters
    ----------
    hessian : ndarray or sparse array, shape (3n, 3n), eV/Å²
    masses : ndarray, shape (n,), amu

    Returns
    -------
    ndarray or csr_array, shape (3n, 3n), eV/Å²/amu
    """
    scale = np.repeat(1 / np.sqrt(masses), 3)
    if issparse(hessian):
        weights: Any = diags_array(scale)
        return (weights @ hessian @ weights).tocsr()
    return hessian * scale[:, None] * scale[None, :]


def check_hessian(hessian: Array) -> Array:
    """Symmetrised copy of a Hessian.

    Parameters
    ----------
    hessian : ndarray, shape (3n, 3n), eV/Å²

    Returns
    -------
    ndarray, shape (3n, 3n), eV/Å²

    Raises
    ------
    InvalidInputError
        If it is not square, not a multiple of 3, or not finite.
    """
    hessian = np.asarray(hessian, dtype=float)
    if hessian.ndim != 2 or hessian.shape[0] != hessian.shape[1] or hessian.shape[0] % 3:
        raise InvalidInputError(f"hessian: expected shape (3n, 3n), got {hessian.shape}")
    if not np.all(np.isfinite(hessian)):
        raise InvalidInputError("hessian: holds NaN or infinite entries; check the calculator")
    return (hessian + hessian.T) / 2


def solve_modes(
    matrix: Any, complement: RigidComplement, *, unstable: int | str, vectors: bool = True
) -> Modes:
    """Diagonalise a symmetric matrix on the complement of rigid-body motion.

    Parameters
    ----------
    matrix : ndarray, shape (3n, 3n), eV/Å² or eV/Å²/amu
        Hessian or dynamical matrix, complex away from Γ.
    complement : RigidComplement
        Of the motions that belong to that matrix.
    unstable : int or "any"
        Number of negative eigenvalues that must be found.
    vectors : bool
        Whether eigenvectors are wanted; without them they have zero rows.

    Returns
    -------
    Modes

    Raises
    ------
    UnstableStructureError
        If the number of unstable modes is not `unstable`, or a mode is so soft that its
        logarithm would be rounding noise.
    """
    restricted = complement.restrict(matrix)
    if restricted.size == 0:
        return Modes(np.empty(0), np.empty((len(matrix), 0)), 0)
    if vectors:
        eigenvalues, columns = eigh(restricted, driver="evd")
        eigenvectors = complement.expand(columns)
    else:
        eigenvalues = eigh(restricted, eigvals_only=True)
        eigenvectors = np.empty((0, len(eigenvalues)))
    return checked_modes(eigenvalues, eigenvectors, unstable)


def checked_modes(eigenvalues: Array, eigenvectors: NDArray[Any], unstable: int | str) -> Modes:
    """Modes of eigenvalues, ascending; UnstableStructureError as of `solve_modes`."""
    require_stability(eigenvalues, unstable)
    return Modes(eigenvalues, eigenvectors, int(np.sum(eigenvalues < 0)))


def require_stability(
    eigenvalues: Array, unstable: int | str, *, largest: float | None = None
) -> None:
    """Raise unless exactly `unstable` eigenvalues are negative and none is noise.

    Parameters
    ----------
    eigenvalues : ndarray, shape (n_modes,), eV/Å² or eV/Å²/amu
        All of them, or the lowest.
    unstable : int or "any"
    largest : float, optional, same unit
        Largest eigenvalue, where it is not among them.

    Raises
    ------
    UnstableStructureError
    """
    frequencies = signed_frequencies(eigenvalues)
    n_unstable = int(np.sum(eigenvalues < 0))
    scale = np.abs(eigenvalues).max(initial=0.0) if largest is None else largest
    n_soft = int(np.sum(np.abs(eigenvalues) <= NOISE * scale))
    if n_soft:
        raise UnstableStructureError(
            f"hessian: {n_soft} modes have no restoring force although rigid-body motion is "
            "projected out; is an atom, or a fragment, out of reach of all the others?",
            frequencies,
            n_unstable,
        )
    if unstable != "any" and n_unstable != unstable:
        lowest = ", ".join(f"{1e3 * f:.4g}" for f in frequencies[:6])
        raise UnstableStructureError(
            f"unstable: expected {unstable} unstable modes, found {n_unstable} "
            f"(lowest ħω in meV, imaginary as negative: {lowest}); relax the structure, or pass "
            f"unstable={n_unstable}, or unstable='any' for log⁺ of configurations off a minimum",
            frequencies,
            n_unstable,
        )


def log_determinant(matrix: Any, complement: RigidComplement) -> float | None:
    """Logarithm of the determinant on the complement of rigid-body motion, by Cholesky.

    Parameters
    ----------
    matrix : ndarray, shape (3n, 3n)
        Symmetric, or Hermitian.
    complement : RigidComplement

    Returns
    -------
    float or None
        None if the matrix is not (safely) positive definite: diagonalise it then.
    """
    if complement.rank == len(matrix):
        return 0.0
    try:
        factor = cholesky(complement.restrict(matrix), check_finite=False)
    except LinAlgError:
        return None
    diagonal = np.diag(factor).real ** 2
    if np.any(diagonal <= NOISE * diagonal.max(initial=0.0)):
        return None
    return float(np.sum(np.log(diagonal)))


def lowest_eigenvalues(atoms: Atoms, hessian: Array, free: NDArray[np.intp], count: int) -> Array:
    """Lowest eigenvalues of a Hessian at Γ, unstable ones among them, rigid-body motions left out.

    Parameters
    ----------
    atoms : Atoms
        Whole structure.
    hessian : ndarray, shape (3n, 3n), eV/Å²
        Of its free atoms.
    free : ndarray of int, shape (n,)
    count : int
        Of eigenvalues; fewer where there are no more.

    Returns
    -------
    ndarray, shape (count,), eV/Å²
    """
    motions = free_motions(atoms, free, mass_weighted=False)
    inside = RigidComplement(motions).restrict(check_hessian(hessian))
    last = min(count, len(inside)) - 1
    return np.asarray(eigh(inside, eigvals_only=True, subset_by_index=(0, last)))


def on_all_atoms(values: Array, free: NDArray[np.intp], n_atoms: int) -> Array:
    """Values of the free atoms among zeros for the fixed ones.

    Parameters
    ----------
    values : ndarray, shape (n, …)
    free : ndarray of int, shape (n,)
    n_atoms : int

    Returns
    -------
    ndarray, shape (N, …)
    """
    full = np.zeros((n_atoms, *values.shape[1:]))
    full[free] = values
    return full


def displacement_patterns(columns: Array, free: NDArray[np.intp], n_atoms: int) -> Array:
    """Displacement patterns of all atoms from columns over the free ones.

    Parameters
    ----------
    columns : ndarray, shape (3n, k)
    free : ndarray of int, shape (n,)
    n_atoms : int

    Returns
    -------
    ndarray, shape (k, N, 3)
    """
    patterns = np.zeros((columns.shape[1], n_atoms, 3))
    patterns[:, free] = columns.T.reshape(len(patterns), len(free), 3)
    return patterns


def check_masses(atoms: Atoms) -> Array:
    """Masses of a structure.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    ndarray, shape (N,), amu

    Raises
    ------
    InvalidStructureError
        If a mass is not a positive number.
    """
    masses = atoms.get_masses()
    if not np.all(np.isfinite(masses) & (masses > 0)):
        raise InvalidStructureError("atoms: every mass must be positive; see Atoms.set_masses")
    return masses


def path_direction(tangent: Array, n_atoms: int) -> Array:
    """Normalised direction of a path, validated.

    Parameters
    ----------
    tangent : ndarray, shape (N, 3)
    n_atoms : int

    Returns
    -------
    ndarray, shape (N, 3)

    Raises
    ------
    InvalidInputError
        If its shape is another, or it is zero.
    """
    direction = np.asarray(tangent, dtype=float)
    if direction.shape != (n_atoms, 3) or not 0 < np.linalg.norm(direction) < np.inf:
        raise InvalidInputError(
            f"tangent: expected a direction of shape {(n_atoms, 3)}, not all zero, got shape "
            f"{direction.shape}"
        )
    return direction / np.linalg.norm(direction)
