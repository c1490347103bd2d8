"""Space groups of defects, from atoms that few others are like: no search for translations.

spglib reduces a crystal to its primitive cell at once, but takes N² to N³ operations where there
is none to reduce to: seconds for a vacancy among 500 atoms, minutes among 2000. Here operations
are those of the lattice that take one atom to another with surroundings alike, and all atoms to
atoms: as many candidates as there are such atoms, for the few next to a defect.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ase_vibent.arrays import Array, IntArray
from ase_vibent.structures.cells import periodic_images

#: Distances to so many neighbours, up to so many Å, are what surroundings are compared by.
NEIGHBOURS, REACH = 40, 6.0
#: More atoms that are alike, or operations, are signs of translations, and left to spglib.
MOST_ALIKE, MOST_OPERATIONS = 24, 192
#: Atoms among which the one with the fewest alike is looked for.
MOST_RARE = 200
#: Atoms that an operation is tried on before all of them, those nearest to the first.
FIRST = 16


@dataclass(frozen=True)
class SpaceGroup:
    """Operations x → R x + t on scaled positions, those of `spglib.SpglibDataset`.

    Attributes
    ----------
    rotations : ndarray of int, shape (n, 3, 3)
    translations : ndarray, shape (n, 3)
    equivalent_atoms : ndarray of int, shape (N,)
        The first atom that each can be brought to.
    """

    rotations: IntArray
    translations: Array
    equivalent_atoms: IntArray


def group_by_surroundings(
    atoms: Atoms, kinds: IntArray, symprec: float, *, turned: bool = True
) -> SpaceGroup | None:
    """Space group of a structure with an atom that few others are like.

    Parameters
    ----------
    atoms : Atoms
        Periodic along three directions.
    kinds : ndarray of int, shape (N,)
        Only atoms of one kind are mapped on each other.
    symprec : float, Å
        Distance of an image from its atom.
    turned : bool
        Whether other operations than translations count.

    Returns
    -------
    SpaceGroup or None
        None where there is no such atom, where operations within the tolerance make no group, or
        where spglib fails on the lattice.
    """
    rotations: IntArray = np.eye(3, dtype=np.int64)[None]
    if turned:
        lattice = spglib_dataset((atoms.cell.array, [[0, 0, 0]], [1]), symprec)
        if lattice is None:  # of a cell too skew for it, it tells nothing of the atoms either
            return None
        rotations = lattice.rotations.astype(np.int64)
    atom, alike = _rarest(_surroundings(atoms), kinds, symprec)
    if len(alike) > MOST_ALIKE:
        return None
    places = _Places(atoms, kinds, symprec)
    turns = np.repeat(rotations, len(alike), axis=0)
    shifts = places.shifts(atom, alike, rotations)
    kept = np.all(places.images(places.nearest(atom), turns, shifts)[0] >= 0, axis=1)
    turns, shifts = turns[kept], shifts[kept]
    images, misses = places.images(np.arange(len(atoms)), turns, shifts)
    # Whichever atom was the first, an operation is where it fits all of them best.
    drift = misses.mean(axis=1)
    largest = np.linalg.norm(misses - drift[:, None], axis=2).max(axis=1)
    kept = np.all(np.sort(images, axis=1) == np.arange(len(atoms)), axis=1) & (largest <= symprec)
    shifts = shifts + drift @ np.linalg.inv(atoms.cell.array)
    turns, shifts, images = turns[kept], shifts[kept], images[kept]
    return SpaceGroup(turns, shifts, images.min(axis=0)) if _is_group(turns, images) else None


def spglib_dataset(cell: Any, symprec: float) -> Any:
    """Of `spglib.get_symmetry_dataset`, however that fails: by nothing, or by an error of its own.

    Parameters
    ----------
    cell : tuple
        Vectors, scaled positions, and kinds.
    symprec : float, Å

    Returns
    -------
    spglib.SpglibDataset or None
        None if it fails.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return spglib.get_symmetry_dataset(cell, symprec=symprec)
        except Exception:  # of several kinds, which change with its version
            return None


class _Places:
    """Atoms by where they are."""

    def __init__(self, atoms: Atoms, kinds: IntArray, symprec: float):
        self._cell, self._kinds = atoms.cell.array, kinds
        self._reach = 2 * symprec  # from the place that the first atom asks for
        self._scaled = atoms.cell.scaled_positions(atoms.positions)
        self._owners, moved = periodic_images(atoms, 2 * self._reach)
        self._tree = cKDTree((self._scaled[self._owners] + moved) @ self._cell)

    def nearest(self, atom: int) -> IntArray:
        """The first few atoms around one."""
        vectors = self._scaled - self._scaled[atom]
        lengths = np.linalg.norm((vectors - np.round(vectors)) @ self._cell, axis=1)
        return np.argsort(lengths)[:FIRST]

    def shifts(self, atom: int, others: IntArray, rotations: IntArray) -> Array:
        """Translations that bring a turned atom to others, rotation by rotation, shape (n, 3)."""
        turned = rotations @ self._scaled[atom]
        shifts: Array = self._scaled[others] - turned[:, None]
        return shifts.reshape(-1, 3)

    def images(
        self, chosen: IntArray, rotations: IntArray, shifts: Array
    ) -> tuple[IntArray, Array]:
        """Atoms that operations bring others to, -1 where to none, and how far they miss them."""
        turned = self._scaled[chosen] @ rotations.transpose(0, 2, 1) + shifts[:, None]
        points = (turned % 1) @ self._cell
        found = self._tree.query(points, distance_upper_bound=self._reach)[1]
        known = np.minimum(found, len(self._owners) - 1)
        owners = self._owners[known]
        hit = (found == known) & (self._kinds[owners] == self._kinds[chosen])
        return np.where(hit, owners, -1), self._tree.data[known] - points


def _surroundings(atoms: Atoms) -> Array:
    """Distances from every atom to its nearest neighbours in order, shape (N, NEIGHBOURS), Å.

    None changes by more than atoms move, twice; what is beyond reach counts as there.
    """
    owners, shifts = periodic_images(atoms, REACH)
    points = atoms.positions[owners] + shifts @ atoms.cell.array
    own = points[: len(atoms)]
    found = cKDTree(points).query(own, k=NEIGHBOURS + 1, distance_upper_bound=REACH)[0]
    return np.minimum(found[:, 1:], REACH)


def _rarest(distances: Array, kinds: IntArray, symprec: float) -> tuple[int, NDArray[np.intp]]:
    """Of an atom with few others alike: its number, and those that may be its images."""
    rounded = np.column_stack([kinds, np.round(distances / (10 * symprec))])
    _, first, counts = np.unique(rounded, axis=0, return_index=True, return_counts=True)
    candidates = first[np.argsort(counts, kind="stable")[:MOST_RARE]]
    best = np.arange(len(kinds))
    atom = 0
    for candidate in candidates.tolist():
        # Twice the tolerance for the ends of a distance, once more for that of the lattice.
        same = np.all(np.abs(distances - distances[candidate]) <= 3 * symprec, axis=1)
        alike = np.flatnonzero(same & (kinds == kinds[candidate]))
        if len(alike) < len(best):
            atom, best = candidate, alike
        if len(best) == 1:
            break
    return atom, best


def _is_group(rotations: IntArray, images: IntArray) -> bool:
    """Whether operations, given as rotations and permutations, are closed; few enough to say."""
    if not 0 < len(rotations) <= MOST_OPERATIONS:
        return False
    known = {r.tobytes() + p.tobytes() for r, p in zip(rotations, images, strict=True)}
    return all(
        (rotations[i] @ rotations[j]).tobytes() + images[i][images[j]].tobytes() in known
        for i in range(len(rotations))
        for j in range(len(rotations))
    )
