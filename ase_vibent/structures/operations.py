"""Symmetry operations of a periodic structure, as permutations of its atoms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree

from ase_vibent.arrays import Array, IntArray
from ase_vibent.structures.symmetry import STRICT_SYMPREC, atom_kinds, space_group


@dataclass(frozen=True)
class Orbit:
    """Atoms that symmetry makes equal.

    Attributes
    ----------
    atom : int
        The first of them.
    stabiliser : ndarray of int, shape (m,)
        Operations that leave it where it is.
    operation_to : dict of int to int
        For every atom of the orbit an operation that takes the first to it.
    """

    atom: int
    stabiliser: IntArray
    operation_to: dict[int, int]


class SymmetryOperations:
    """All operations that map a structure on itself, to 1e-5 Å.

    Parameters
    ----------
    atoms : Atoms
        Periodic along three directions.
    places : ndarray of int, shape (N,), optional
        Numbers within the unit cell. Where given, only translations between atoms of one place
        count.

    Raises
    ------
    InvalidStructureError
        If spglib finds none, the identity included.

    Notes
    -----
    Masses tell no atoms apart: forces do not depend on them.
    """

    def __init__(self, atoms: Atoms, places: IntArray | None = None):
        kinds = atom_kinds(atoms, masses=False) if places is None else places + 1
        found = space_group(atoms, STRICT_SYMPREC, kinds)
        kept = np.ones(len(found.rotations), dtype=bool)
        if places is not None:
            kept = np.all(found.rotations == np.eye(3, dtype=int), axis=(1, 2))
        self._rotations, self._translations = found.rotations[kept], found.translations[kept]
        self._scaled = atoms.get_scaled_positions()
        self._places = cKDTree(self._scaled % 1 % 1, boxsize=1)
        columns = atoms.cell.array.T
        self._to_cartesian, self._to_scaled = columns, np.linalg.inv(columns)

    def __len__(self) -> int:
        return len(self._rotations)

    def rotation(self, number: int) -> Array:
        """Rotation or reflection of an operation, shape (3, 3), of Cartesian columns."""
        return np.asarray(self._to_cartesian @ self._rotations[number] @ self._to_scaled)

    def permutation(self, number: int) -> IntArray:
        """Atom on whose place an operation brings every atom, shape (N,)."""
        rotation, translation = self._rotations[number], self._translations[number]
        return self._atoms_at(self._scaled @ rotation.T + translation)

    def orbits(self) -> list[Orbit]:
        """Sets of atoms that symmetry makes equal."""
        found, seen = [], np.zeros(len(self._scaled), dtype=bool)
        for atom in range(len(seen)):
            if seen[atom]:
                continue
            images = self._atoms_at(self._rotations @ self._scaled[atom] + self._translations)
            members, first = np.unique(images, return_index=True)
            seen[members] = True
            operation_to = dict(zip(members.tolist(), first.tolist(), strict=True))
            found.append(Orbit(atom, np.flatnonzero(images == atom), operation_to))
        return found

    def _atoms_at(self, scaled: Array) -> IntArray:
        # Twice, for what is just below zero.
        return np.asarray(self._places.query(scaled % 1 % 1)[1], dtype=np.int64)
