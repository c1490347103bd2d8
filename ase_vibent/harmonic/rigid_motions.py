"""Rigid-body motions of structures, known from geometry, and their removal.

They are never found by a threshold on frequencies: a Hessian from finite differences puts them
anywhere between -1e-3 and 1e-3 eV, where a threshold either keeps a spurious one or drops a soft
real one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.linalg.lapack import dgeqrf, dormqr

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidStructureError
from ase_vibent.harmonic.periodicity import free_standing


def rigid_body_motions(atoms: Atoms, *, mass_weighted: bool) -> Array:
    """Displacement patterns of rigid-body motion, not orthonormalised.

    Parameters
    ----------
    atoms : Atoms
        A system periodic along two or three directions has three translations; along
        one direction also the rotation about it; a cluster has three rotations. Vacuum is no
        period, see `free_standing`.
    mass_weighted : bool
        Whether patterns belong to the dynamical matrix (times sqrt(mass), amu^½) or to
        the Hessian.

    Returns
    -------
    ndarray, shape (3N, 3 | 4 | 6)
        Translations first, then rotations about the centre (of mass). The rotations of
        a linear system are linearly dependent: take the range, not the columns.
    """
    return body_motions(free_standing(atoms), mass_weighted=mass_weighted)


def free_motions(atoms: Atoms, free: NDArray[np.intp], *, mass_weighted: bool) -> Array:
    """`rigid_body_motions`; none where some atoms are held.

    Parameters
    ----------
    atoms : Atoms
        Whole structure.
    free : ndarray of int, shape (n,)
        Atoms that move.
    mass_weighted : bool

    Returns
    -------
    ndarray, shape (3n, k)
    """
    if len(free) < len(atoms):
        return np.empty((3 * len(free), 0))
    return rigid_body_motions(atoms, mass_weighted=mass_weighted)


def body_motions(atoms: Atoms, *, mass_weighted: bool) -> Array:
    """`rigid_body_motions` of a structure that is periodic as it says, from `free_standing`."""
    n = len(atoms)
    weights = np.sqrt(atoms.get_masses()) if mass_weighted else np.ones(n)
    motions = [np.outer(weights, axis).ravel() for axis in np.eye(3)]
    positions = atoms.positions - np.average(atoms.positions, axis=0, weights=weights**2)
    motions += [(weights[:, None] * np.cross(axis, positions)).ravel() for axis in body_axes(atoms)]
    return np.array(motions).T


def rotation_axes(atoms: Atoms) -> Array:
    """Axes about which the whole system can turn freely.

    Returns
    -------
    ndarray, shape (0 | 1 | 3, 3)
        Unit vectors: none for cells and slabs, the periodic axis for a wire, x, y and z
        for a cluster, in vacuum or by `pbc`.
    """
    return body_axes(free_standing(atoms))


def body_axes(atoms: Atoms) -> Array:
    """`rotation_axes` of a structure that is periodic as it says, from `free_standing`."""
    periodic = np.flatnonzero(atoms.pbc)
    if len(periodic) == 0:
        return np.eye(3)
    if len(periodic) == 1:
        axis = atoms.cell.array[periodic[0]]
        return (axis / np.linalg.norm(axis))[None, :]
    return np.empty((0, 3))


def require_hold(atoms: Atoms, free: NDArray[np.intp]) -> None:
    """Raise unless fixed atoms keep the whole from turning about them.

    Parameters
    ----------
    atoms : Atoms
    free : ndarray of int, shape (n,)
        All other atoms are fixed.

    Raises
    ------
    InvalidStructureError
    """
    if len(free) == len(atoms):
        return
    motions = rigid_body_motions(atoms, mass_weighted=False)
    fixed = np.delete(motions.reshape(len(atoms), 3, -1), free, axis=0)
    held, all_motions = (
        np.linalg.matrix_rank(part.reshape(-1, motions.shape[1]), tol=1e-6)
        for part in (fixed, motions)
    )
    if held < all_motions:
        raise InvalidStructureError(
            "atoms: the structure can turn about its fixed atoms, which is no vibration; fix atoms "
            "that hold it (three of a cluster, not in a line), or none"
        )


def orthonormal_motions(motions: Array) -> Array:
    """Orthonormal basis of the range of rigid-body patterns.

    Parameters
    ----------
    motions : ndarray, shape (3n, k)
        Possibly linearly dependent; k may be 0.

    Returns
    -------
    ndarray, shape (3n, rank)
    """
    basis, singular, _ = np.linalg.svd(motions, full_matrices=False)
    # Rotations of a linear cluster: the rank is a matter of geometry, not of energy.
    return basis[:, singular > 1e-8 * singular.max(initial=0.0)]


class RigidComplement:
    """Orthonormal coordinates of everything but the rigid-body motions.

    Parameters
    ----------
    motions : ndarray, shape (3n, k)
        Rigid-body patterns, possibly linearly dependent; k may be 0.
    """

    def __init__(self, motions: Array):
        basis = orthonormal_motions(motions)
        self.rank = basis.shape[1]
        self._reflectors, self._tau, _, _ = dgeqrf(np.asfortranarray(basis))

    def _rotate(self, side: str, trans: str, matrix: Array) -> Array:
        if self.rank == 0:
            return matrix
        result, _, info = dormqr(
            side, trans, self._reflectors, self._tau, matrix, lwork=64 * max(matrix.shape)
        )
        assert info == 0
        return result

    def restrict(self, matrix: Any) -> Any:
        """Matrix, real or complex, in the coordinates of the complement, (3n - rank, 3n - rank)."""
        if self.rank and np.iscomplexobj(matrix):
            return self.restrict(matrix.real) + 1j * self.restrict(matrix.imag)
        rotated = self._rotate("R", "N", self._rotate("L", "T", matrix))
        return rotated[self.rank :, self.rank :]

    def expand(self, vectors: Any) -> Any:
        """Columns in the complement's coordinates as displacements, shape (3n, m)."""
        if not self.rank:
            return vectors
        if np.iscomplexobj(vectors):
            return self.expand(vectors.real) + 1j * self.expand(vectors.imag)
        padded = np.zeros((vectors.shape[0] + self.rank, vectors.shape[1]))
        padded[self.rank :] = vectors
        return self._rotate("L", "N", padded)
