"""Point defects of a perfect crystal, and which of them symmetry makes equal."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidStructureError
from ase_vibent.structures.validity import check_crystal, starting_copy

#: Precision of the crystal's positions, Å.
SYMPREC = 0.01
#: Precision where what follows is exact, Å.
STRICT_SYMPREC = 1e-5
#: Precision of relaxed defects, Å.
DEFECT_SYMPREC = 0.02
#: Two positions closer than this are one, Å.
SAME = 0.05


@dataclass(frozen=True)
class PointDefect:
    """Atoms taken out of a perfect crystal, and atoms put in.

    Attributes
    ----------
    kind : str
        What `info["defect"]` of the structure says.
    removed : tuple of int
        Indices in the crystal.
    numbers : tuple of int
        Atomic numbers of the atoms put in.
    positions : ndarray, shape (n_added, 3), Å
    """

    kind: str
    removed: tuple[int, ...] = ()
    numbers: tuple[int, ...] = ()
    positions: Array = field(default_factory=lambda: np.empty((0, 3)))

    def in_crystal(self, crystal: Atoms) -> Atoms:
        """Structure with the defect: the crystal's atoms in their order, then those put in.

        Parameters
        ----------
        crystal : Atoms

        Returns
        -------
        Atoms
        """
        if len(self.removed) == len(crystal):
            raise InvalidStructureError(
                f"crystal: no atom is left around the {self.kind}; use a larger supercell"
            )
        atoms = starting_copy(crystal)
        del atoms[list(self.removed)]
        if self.numbers:
            atoms += Atoms(self.numbers, self.positions)
        atoms.info["defect"] = self.kind
        return atoms


class CrystalSymmetry:
    """Space group of a perfect crystal, as far as its supercell shares it.

    Parameters
    ----------
    crystal : Atoms
        Unit cell or supercell.

    Attributes
    ----------
    primitive : ndarray, shape (3, 3), Å
        Vectors of a primitive cell, as rows, in the crystal's own orientation.
    conventional : ndarray, shape (3, 3), Å
        Vectors of the conventional cell, likewise.
    basis : ndarray, shape (n_primitive,)
        Indices of atoms that make up one primitive cell.
    sites : ndarray, shape (n_inequivalent,)
        Indices of atoms, one of every inequivalent kind.
    orbit_of_atom, site_of_atom : ndarrays, shape (N,)
        Atoms that symmetry operations, or lattice translations alone, map on each other
        have the same number.
    """

    def __init__(self, crystal: Atoms):
        check_crystal(crystal)
        self.crystal = crystal
        cell = _spglib_cell(crystal)
        found = _dataset(cell)
        self.primitive: Array = found.primitive_lattice
        self.conventional: Array = np.linalg.inv(found.transformation_matrix.T) @ cell[0]
        self.basis = np.unique(found.mapping_to_primitive, return_index=True)[1]
        self.sites = np.unique(found.equivalent_atoms)
        self.orbit_of_atom: NDArray[np.intp] = found.equivalent_atoms
        self.site_of_atom: NDArray[np.intp] = found.mapping_to_primitive
        # One operation per rotation: the pure translations are those of the primitive cell.
        rotations, first = np.unique(found.rotations, axis=0, return_index=True)
        self._operations = list(zip(rotations, found.translations[first], strict=True))

    def inequivalent(self, defects: Iterable[PointDefect]) -> list[PointDefect]:
        """The first defect of every set that symmetry operations map on each other.

        Parameters
        ----------
        defects : iterable of PointDefect

        Returns
        -------
        list of PointDefect
        """
        kept: list[PointDefect] = []
        shapes: list[tuple[Array, NDArray[np.intp]]] = []
        for defect in defects:
            points, labels = self._labelled_points(defect)
            images = [points @ rotation.T + shift for rotation, shift in self._operations]
            if not any(
                np.array_equal(np.sort(labels), np.sort(other_labels))
                and any(self._coincide(image, labels, other, other_labels) for image in images)
                for other, other_labels in shapes
            ):
                kept.append(defect)
                shapes.append((points, labels))
        return kept

    def _labelled_points(self, defect: PointDefect) -> tuple[Array, NDArray[np.intp]]:
        """Scaled positions; labels are atomic numbers, negative where an atom is taken out."""
        removed = list(defect.removed)
        positions = np.concatenate([self.crystal.positions[removed], defect.positions])
        labels = np.concatenate([-self.crystal.numbers[removed], defect.numbers]).astype(np.intp)
        return self.crystal.cell.scaled_positions(positions), labels

    def _coincide(
        self, points: Array, labels: NDArray[np.intp], others: Array, other_labels: NDArray[np.intp]
    ) -> bool:
        """Whether a lattice translation brings labelled points upon others."""
        cell = self.crystal.cell.array
        for other in others[other_labels == labels[0]]:
            translation = other - points[0]
            if not _integer(translation @ cell, self.primitive):
                continue
            differences = others[None] - points[:, None] - translation
            distances = np.linalg.norm((differences - np.round(differences)) @ cell, axis=2)
            same = (distances < SAME) & (labels[:, None] == other_labels)
            if np.all(same.sum(axis=0) == 1) and np.all(same.sum(axis=1) == 1):
                return True
        return False


def inequivalent_atoms(atoms: Atoms) -> NDArray[np.int64]:
    """Atoms of which no two are equal by symmetry: all of them outside of full periodicity.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    if not atoms.pbc.all():
        return np.arange(len(atoms))
    return np.unique(_dataset(_spglib_cell(atoms), STRICT_SYMPREC).equivalent_atoms).astype(
        np.int64
    )


def n_primitive_cells(crystal: Atoms) -> int:
    """Number of primitive cells that a perfect supercell consists of.

    Parameters
    ----------
    crystal : Atoms

    Returns
    -------
    int
    """
    found = _dataset(_spglib_cell(crystal))
    return len(crystal) // len(np.unique(found.mapping_to_primitive))


def defect_multiplicity(defect: Atoms, crystal: Atoms, *, symprec: float = DEFECT_SYMPREC) -> float:
    """Number of equivalent defects per primitive cell: positions times orientations.

    The crystal's symmetry operations map a defect on all its equivalents, as many as there
    are operations for each that leaves it as it is.

    Parameters
    ----------
    defect : Atoms
        Relaxed; a rattled one has lost its symmetry.
    crystal : Atoms
        Perfect crystal in the same supercell.
    symprec : float, Å
        How exactly the relaxed atoms sit where symmetry wants them.

    Returns
    -------
    float

    Raises
    ------
    InvalidStructureError
        If spglib fails, or the supercell is less symmetric than the crystal.
    """
    operations = len(_dataset(_spglib_cell(crystal)).rotations)
    primitive: Any = spglib.find_primitive(_spglib_cell(crystal), symprec=SYMPREC)
    cells = len(crystal) // len(primitive[2])
    if operations != cells * len(_dataset(primitive).rotations):
        raise InvalidStructureError(
            "multiplicity: the supercell is less symmetric than its crystal, so that symmetry "
            "cannot count the orientations of a defect in it; pass multiplicity="
        )
    return operations / len(_dataset(_spglib_cell(defect), symprec).rotations) / cells


def _spglib_cell(atoms: Atoms) -> tuple:
    return atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers


def _dataset(cell: tuple, symprec: float = SYMPREC) -> Any:
    """What spglib knows about a cell; how it says that it failed is about to change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            found = spglib.get_symmetry_dataset(cell, symprec=symprec)
        except Exception as error:
            raise InvalidStructureError(f"crystal: spglib failed ({error})") from error
    if found is None:
        raise InvalidStructureError("crystal: spglib finds no symmetry in it; do atoms coincide?")
    return found


def _integer(vector: Array, lattice: Array) -> bool:
    """Whether a Cartesian vector is a vector of a lattice."""
    scaled = np.linalg.solve(lattice.T, vector)
    return bool(np.linalg.norm((scaled - np.round(scaled)) @ lattice) < SAME)
