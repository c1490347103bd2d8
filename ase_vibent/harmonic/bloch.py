"""Modes of a cell that lattice translations map on itself: plane waves of its primitive cell.

A matrix D_ij(q) of n = n_t n_p atoms that n_t translations leave as it is, phases aside, falls into
n_t blocks of n_p atoms each: (3n)³ operations become n_t (3n_p)³.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ase_vibent.arrays import Array, IntArray

#: Two positions closer than this are one, Å.
SAME = 1e-5
#: Share of a matrix that its modes may miss before it counts as not symmetric.
MISSED = 1e-9


@dataclass(frozen=True)
class Translations:
    """Lattice translations of a supercell, a group of order n_t.

    Attributes
    ----------
    images : ndarray of int, shape (n_t, n)
        The atom on whose place every atom comes.
    characters : ndarray of int, shape (n_t, n_t)
        Phase of every plane wave at every translation, in units of 2π/n_t.
    scaled : ndarray, shape (n, 3)
        Scaled positions.
    """

    images: IntArray
    characters: IntArray
    scaled: Array

    def modes(self, matrix: Any, q: Array) -> tuple[Array, NDArray[np.complex128]] | None:
        """Eigenvalues, ascending, and eigenvectors of a Hermitian matrix at q.

        Parameters
        ----------
        matrix : ndarray, shape (3n, 3n)
        q : ndarray, shape (3,)
            In units of the reciprocal cell vectors.

        Returns
        -------
        eigenvalues : ndarray, shape (3n,)
        eigenvectors : ndarray, shape (3n, 3n)
        None if the matrix is not that symmetric.
        """
        n, n_t = len(self.scaled), len(self.images)
        # Phases of the atoms' own places, not of their cells: translations become permutations.
        gauge = np.exp(2j * np.pi * self.scaled @ q)
        blocks = matrix.reshape(n, 3, n, 3) * gauge.conj()[:, None, None, None]
        blocks = blocks * gauge[:, None]
        basis = np.unique(self.images.min(axis=0))
        # From atoms of one primitive cell to those of all: (n_p, 3, n_t, n_p, 3).
        rows = blocks[basis][:, :, self.images[:, basis]]
        waves = np.exp(2j * np.pi / n_t * self.characters)
        size = 3 * len(basis)
        of_waves = np.tensordot(waves, rows, (1, 2)).reshape(n_t, size, size)
        values, vectors = np.linalg.eigh(of_waves)
        # Amplitude of wave k on translated atom t(p): waves[k, t] vectors[k, p] / √n_t.
        spread = np.empty((n, 3, n_t, size), dtype=complex)
        columns = vectors.reshape(n_t, len(basis), 3, size)
        for k in range(n_t):
            amplitudes = waves[k][:, None, None, None] * columns[k] / np.sqrt(n_t)
            spread[self.images[:, basis], :, k] = amplitudes
        spread *= gauge[:, None, None, None]
        order = np.argsort(values, axis=None, kind="stable")
        eigenvalues, eigenvectors = values.ravel()[order], spread.reshape(3 * n, 3 * n)[:, order]
        probe = np.random.default_rng(0).normal(size=3 * n)
        missed = matrix @ probe - eigenvectors @ (eigenvalues * (eigenvectors.conj().T @ probe))
        scale = np.abs(eigenvalues).max() * np.linalg.norm(probe)
        return (eigenvalues, eigenvectors) if np.linalg.norm(missed) <= MISSED * scale else None


def translations(atoms: Atoms, kinds: IntArray) -> Translations | None:
    """Lattice translations that map a cell on itself.

    Parameters
    ----------
    atoms : Atoms
        Periodic along some directions.
    kinds : ndarray of int, shape (n,)
        Atoms of different kinds are different.

    Returns
    -------
    Translations or None
        None if there are none but those of the cell.
    """
    n = len(atoms)
    numbers, counts = np.unique(kinds, return_counts=True)
    if n == 0 or np.gcd.reduce(counts) == 1:
        return None
    scaled = atoms.cell.scaled_positions(atoms.positions)
    wrapped = _in_cell(scaled, atoms.pbc)
    tree = cKDTree(wrapped, boxsize=np.where(atoms.pbc, 1.0, 0.0))
    same = SAME / np.linalg.norm(atoms.cell.array, axis=1).max()
    rarest = np.flatnonzero(kinds == numbers[counts.argmin()])
    shifts = wrapped[rarest] - wrapped[rarest[0]]
    # Most candidates fail for a few atoms already.
    for tried in (slice(0, 8), slice(None)):
        moved = _in_cell(wrapped[tried][None] + shifts[:, None], atoms.pbc)
        distances, images = tree.query(moved)
        fits = np.all((distances < same) & (kinds[images % n] == kinds[tried]), axis=1)
        shifts, images = shifts[fits], images[fits]
    n_t = len(shifts)
    if n_t == 1 or n % n_t:
        return None
    # Rounded positions may let some of a group pass and not others: all, or none.
    multiples = np.rint(n_t * shifts).astype(np.int64)
    places = images[:, rarest[0]]
    closed = np.isin(images[:, places], places).all()
    if not closed or np.abs(multiples / n_t - shifts).max() > 2 * same:
        return None
    characters = _characters(multiples % n_t, n_t)
    return Translations(images, characters, scaled) if len(characters) == n_t else None


def _characters(multiples: IntArray, n_t: int) -> IntArray:
    """Phases K·τ of all plane waves that translations τ tell apart, shape (n, n_t), in 1/n_t.

    Parameters
    ----------
    multiples : ndarray of int, shape (n_t, 3)
        τ in units of the cell vectors, times n_t.
    n_t : int
    """
    found = np.zeros((1, n_t), dtype=np.int64)
    for wave in multiples.T:
        known, steps = {row.tobytes() for row in found}, [np.zeros(n_t, dtype=np.int64)]
        while (step := (steps[-1] + wave) % n_t).tobytes() not in known:
            steps.append(step)
        found = ((found[:, None] + np.array(steps)) % n_t).reshape(-1, n_t)
    return found


def _in_cell(scaled: Array, pbc: NDArray[np.bool_]) -> Array:
    """Scaled positions from 0 to less than 1 along periodic directions."""
    return np.where(pbc, scaled % 1 % 1, scaled)  # twice, for what is just below zero
