"""Point defects of a perfect crystal, and which of them symmetry makes equal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent.arrays import Array, IntArray
from ase_vibent.errors import InvalidStructureError
from ase_vibent.structures.fingerprint import marks
from ase_vibent.structures.space_group import SpaceGroup, group_by_surroundings, spglib_dataset
from ase_vibent.structures.validity import check_crystal, starting_copy, without_leftovers

#: Precision of the crystal's positions, Å.
SYMPREC = 0.01
#: Precision where what follows is exact, Å.
STRICT_SYMPREC = 1e-5
#: Precision of relaxed defects, Å.
DEFECT_SYMPREC = 0.02
#: Atoms; in larger cells spglib takes minutes for the symmetry of a defect, and soon hours.
LARGEST_DEFECT = 2000
#: Two positions closer than this are one, Å.
SAME = 0.05
#: Per-atom arrays that tell no atoms apart: running numbers in LAMMPS and CIF files.
_RUNNING_NUMBERS = ("id", "spacegroup_kinds")
#: Numbers closer than this share of the largest in their array are the same.
_ROUNDING = 1e-8


def atom_kinds(atoms: Atoms, *, masses: bool = True) -> IntArray:
    """Kinds of atoms: alike are those of one species that no per-atom array tells apart.

    Calculators may read any array: moments, charges, tags, or one of the user's own. Symmetry may
    map atoms on each other only if they are of one kind.

    Parameters
    ----------
    atoms : Atoms
    masses : bool
        Whether isotopes are different kinds. Forces do not depend on them.

    Returns
    -------
    ndarray of int, shape (N,)
        From 1 on.
    """
    labels = [_ranks(atoms.numbers)]
    isotopes = [atoms.get_masses()] if masses else []
    for values in (*isotopes, *_marks(atoms).values()):
        labels += [_ranks(column) for column in values.reshape(len(atoms), -1).T]
    kinds = np.unique(np.column_stack(labels), axis=0, return_inverse=True)[1]
    return kinds.reshape(len(atoms)) + 1


def has_directions(atoms: Atoms) -> bool:
    """Whether atoms carry vectors or tensors, which rotations would turn.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    bool
    """
    return any(
        values.ndim > 1 and values.dtype.kind in "iufc" and bool(np.any(values))
        for values in _marks(atoms).values()
    )


def same_marks(one: Atoms, other: Atoms) -> bool:
    """Whether two structures agree in every per-atom array that forces may depend on.

    Parameters
    ----------
    one, other : Atoms

    Returns
    -------
    bool
        Species, positions and masses are not compared.
    """
    first, second = _marks(one), _marks(other)
    return first.keys() == second.keys() and all(
        np.array_equal(values, second[name]) for name, values in first.items()
    )


def _marks(atoms: Atoms) -> dict[str, NDArray[Any]]:
    """Per-atom arrays by which atoms of one species may differ."""
    return {k: values for k, values in marks(atoms).items() if k not in _RUNNING_NUMBERS}


def _ranks(values: NDArray[Any]) -> IntArray:
    """Equal integers for equal values, to rounding."""
    if values.dtype.kind == "O":
        values = np.array([repr(value) for value in values])
    different, ranks = np.unique(values, return_inverse=True)
    if values.dtype.kind == "f":
        rounding = _ROUNDING * np.abs(different[np.isfinite(different)]).max(initial=0.0)
        ranks = np.append(0, np.cumsum(~(np.diff(different) <= rounding)))[ranks]
    return np.asarray(ranks, dtype=np.int64)


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
        found = symmetry_dataset(crystal)
        self.primitive: Array = found.primitive_lattice
        self.conventional: Array = np.linalg.inv(found.transformation_matrix.T) @ crystal.cell.array
        self.basis = np.unique(found.mapping_to_primitive, return_index=True)[1]
        self.sites = np.unique(found.equivalent_atoms)
        self.orbit_of_atom: NDArray[np.intp] = found.equivalent_atoms
        self.site_of_atom: NDArray[np.intp] = found.mapping_to_primitive
        # One operation per rotation: the pure translations are those of the primitive cell.
        rotations, first = np.unique(found.rotations, axis=0, return_index=True)
        self._operations = list(zip(rotations, found.translations[first], strict=True))
        self._kinds = atom_kinds(crystal)

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
        """Scaled positions; labels are atomic numbers, or -kinds where an atom is taken out."""
        removed = list(defect.removed)
        positions = np.concatenate([self.crystal.positions[removed], defect.positions])
        labels = np.concatenate([-self._kinds[removed], defect.numbers]).astype(np.intp)
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
    return np.unique(space_group(atoms, STRICT_SYMPREC).equivalent_atoms).astype(np.int64)


def point_group(crystal: Atoms) -> Array:
    """Rotations and reflections that leave a crystal as it is, translations aside.

    Parameters
    ----------
    crystal : Atoms

    Returns
    -------
    ndarray, shape (n, 3, 3)
        Orthogonal, of Cartesian columns.
    """
    rotations = np.unique(symmetry_dataset(crystal, STRICT_SYMPREC).rotations, axis=0)
    cell = crystal.cell.array.T
    return np.asarray(cell @ rotations @ np.linalg.inv(cell))


def n_primitive_cells(crystal: Atoms) -> int:
    """Number of primitive cells that a perfect supercell consists of.

    Parameters
    ----------
    crystal : Atoms

    Returns
    -------
    int
    """
    return len(crystal) // len(np.unique(symmetry_dataset(crystal).mapping_to_primitive))


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
        If spglib fails, the supercell is less symmetric than the crystal, or has more atoms than
        `LARGEST_DEFECT`.
    """
    if len(defect) > LARGEST_DEFECT:
        raise InvalidStructureError(
            f"multiplicity: symmetry is not looked for in a defect's cell of {len(defect)} atoms; "
            "pass multiplicity=, as a smaller cell has it"
        )
    found = symmetry_dataset(crystal)
    basis = np.unique(found.mapping_to_primitive, return_index=True)[1]
    primitive = without_leftovers(crystal)[basis]
    primitive.set_cell(found.primitive_lattice)
    operations, cells = len(found.rotations), len(crystal) // len(primitive)
    if operations != cells * len(symmetry_dataset(primitive).rotations):
        raise InvalidStructureError(
            "multiplicity: the supercell is less symmetric than its crystal, so that symmetry "
            "cannot count the orientations of a defect in it; pass multiplicity="
        )
    return operations / len(space_group(defect, symprec).rotations) / cells


def space_group(atoms: Atoms, symprec: float, kinds: IntArray | None = None) -> SpaceGroup:
    """Operations of a structure with a defect or without, in the fastest way.

    Parameters
    ----------
    atoms : Atoms
        Periodic along three directions.
    symprec : float, Å
    kinds : ndarray of int, shape (N,), optional
        Of the atoms; by default `atom_kinds`.

    Returns
    -------
    SpaceGroup
        Where atoms carry vectors, translations are all its operations.

    Raises
    ------
    InvalidStructureError
        If spglib fails.
    """
    kinds = atom_kinds(atoms) if kinds is None else kinds
    found = group_by_surroundings(atoms, kinds, symprec, turned=not has_directions(atoms))
    if found is not None:
        return found
    known = symmetry_dataset(atoms, symprec, kinds)
    return SpaceGroup(known.rotations, known.translations, known.equivalent_atoms)


def symmetry_dataset(atoms: Atoms, symprec: float = SYMPREC, kinds: IntArray | None = None) -> Any:
    """What spglib knows about a structure.

    Parameters
    ----------
    atoms : Atoms
    symprec : float, Å
    kinds : ndarray of int, shape (N,), optional
        Of the atoms; by default `atom_kinds`.

    Returns
    -------
    spglib.SpglibDataset
        Where atoms carry vectors, translations are all its operations.

    Raises
    ------
    InvalidStructureError
        If spglib fails.
    """
    kinds = atom_kinds(atoms) if kinds is None else kinds
    cell: Any = (atoms.cell.array, atoms.get_scaled_positions(), kinds)
    found = spglib_dataset(cell, symprec)
    if found is None:
        raise InvalidStructureError("crystal: spglib finds no symmetry in it; do atoms coincide?")
    if not has_directions(atoms):
        return found
    # Translations alone leave vectors as they are.
    moved = np.all(found.rotations == np.eye(3, dtype=int), axis=(1, 2))
    sites = found.mapping_to_primitive
    return replace(
        found,
        rotations=found.rotations[moved],
        translations=found.translations[moved],
        equivalent_atoms=np.unique(sites, return_index=True)[1][sites],
    )


def _integer(vector: Array, lattice: Array) -> bool:
    """Whether a Cartesian vector is a vector of a lattice."""
    scaled = np.linalg.solve(lattice.T, vector)
    return bool(np.linalg.norm((scaled - np.round(scaled)) @ lattice) < SAME)
