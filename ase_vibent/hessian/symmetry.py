"""Displacements of a crystal that differ by symmetry, and crystals in phonopy's form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from ase.data import chemical_symbols

from ase_vibent.arrays import Array, IntArray
from ase_vibent.errors import InvalidStructureError
from ase_vibent.hessian.displaced import DisplacedForces
from ase_vibent.hessian.matrices import check_plausible
from ase_vibent.hessian.options import HessianOptions
from ase_vibent.structures.operations import Orbit, SymmetryOperations
from ase_vibent.structures.symmetry import atom_kinds, has_directions
from ase_vibent.structures.validity import without_leftovers

#: Atoms; in larger cells spglib takes minutes to find that a defect has few symmetries.
LARGEST_CRYSTAL = 1000
#: What phonopy and spglib raise where they find no symmetry: of coincident atoms, of dummies, in
#: cells that they cannot reduce. Older versions of spglib return None, over which phonopy stumbles.
NO_SYMMETRY = (RuntimeError, AttributeError, getattr(spglib, "SpglibError", RuntimeError))


class SymmetricDifferences:
    """Hessian of a crystal from the displacements that differ by symmetry.

    Displacements are along the cell's vectors, each with its opposite. What a displacement is too
    large for depends on its direction. Diagonals would save some force calls, but a defect and its
    crystal, whose symmetries differ, would be off by different amounts per atom: by 0.012 k_B in
    108 atoms of EMT copper, and by more in larger cells.

    Parameters
    ----------
    crystal : Atoms
        Periodic along three directions.
    displaced_forces : DisplacedForces
    options : HessianOptions
        Of which the displacement counts.
    places : ndarray of int, shape (N,), optional
        Numbers within the unit cell, see `SymmetryOperations`.

    Raises
    ------
    InvalidStructureError
        If spglib finds no symmetry, the identity included.
    """

    def __init__(
        self,
        crystal: Atoms,
        displaced_forces: DisplacedForces,
        options: HessianOptions,
        places: IntArray | None = None,
    ):
        self._displaced_forces, self._step = displaced_forces, options.step
        self._operations = SymmetryOperations(crystal, places)
        self._orbits = self._operations.orbits()
        axes = crystal.cell.array / crystal.cell.lengths()[:, None]
        rotation = self._operations.rotation
        self._site_rotations = [
            np.array([rotation(k) for k in orbit.stabiliser]) for orbit in self._orbits
        ]
        self._directions = [_fewest(axes, own) for own in self._site_rotations]

    @property
    def n_calls(self) -> int:
        """Number of force calls."""
        return 2 * sum(len(directions) for directions in self._directions)

    def hessian(self) -> Array:
        """Second derivatives of the energy, shape (3N, 3N), eV/Å²."""
        changes = self._force_changes()
        n_atoms = self._displaced_forces.n_atoms
        blocks = np.empty((n_atoms, 3, n_atoms, 3))
        for orbit, rotations, directions in zip(
            self._orbits, self._site_rotations, self._directions, strict=True
        ):
            own = [next(changes) for _ in directions]
            of_atom = self._rows(orbit, rotations, directions, own)
            for atom, number in orbit.operation_to.items():
                turn = self._operations.rotation(number)
                images = self._operations.permutation(number)
                blocks[atom][:, images] = np.einsum("xa,anb,yb->xny", turn, of_atom, turn)
        matrix = blocks.reshape(2 * (3 * n_atoms,))
        # Balanced, nothing would be left to see of what is wrong.
        check_plausible(matrix, held=False, calculator=self._displaced_forces.calculator)
        return _without_translations(matrix)

    def _force_changes(self) -> Iterator[Array]:
        """Change of all forces per Å of every displacement, shape (N, 3), eV/Å²."""
        shifts = np.zeros((self.n_calls // 2, self._displaced_forces.n_atoms, 3))
        moved = (
            (orbit.atom, direction)
            for orbit, directions in zip(self._orbits, self._directions, strict=True)
            for direction in directions
        )
        for shift, (atom, direction) in zip(shifts, moved, strict=True):
            shift[atom] = self._step * direction
        for change in self._displaced_forces.changes(shifts):
            yield change / (2 * self._step)

    def _rows(
        self, orbit: Orbit, rotations: Array, directions: Array, changes: Sequence[Array]
    ) -> Array:
        """Blocks of one atom with all others, shape (3, N, 3), from all its equal displacements."""
        inverse = np.linalg.pinv(np.concatenate(directions @ rotations.transpose(0, 2, 1)))
        turned = np.empty((len(rotations), len(directions), *changes[0].shape))
        for own, number, turn in zip(turned, orbit.stabiliser, rotations, strict=True):
            own[:, self._operations.permutation(number)] = np.array(changes) @ turn.T
        return -np.tensordot(inverse, turned.reshape(-1, *changes[0].shape), 1)


def _without_translations(hessian: Array) -> Array:
    """Hessian to which moving all atoms alike is no motion: the acoustic sum rule, both ways."""
    blocks = hessian.reshape(len(hessian) // 3, 3, -1, 3)
    blocks = blocks - blocks.mean(axis=0)
    blocks -= blocks.mean(axis=2, keepdims=True)
    return blocks.reshape(hessian.shape)


def _fewest(axes: Array, rotations: Array) -> Array:
    """As few of three axes as, turned by all rotations, span space; rows."""
    for number in (1, 2):
        for chosen in combinations(axes, number):
            turned = np.concatenate(np.array(chosen) @ rotations.transpose(0, 2, 1))
            if np.linalg.matrix_rank(turned, tol=1e-2) == 3:
                return np.array(chosen)
    return axes


def symmetric_differences(
    atoms: Atoms, displaced_forces: DisplacedForces, options: HessianOptions
) -> SymmetricDifferences | None:
    """Displacements that differ by symmetry, where there is one.

    Parameters
    ----------
    atoms : Atoms
    displaced_forces : DisplacedForces
    options : HessianOptions

    Returns
    -------
    SymmetricDifferences or None
        None for what is not periodic along three directions, has more than `LARGEST_CRYSTAL`
        atoms, or has no symmetry that spglib finds.
    """
    if not np.all(atoms.pbc) or len(atoms) > LARGEST_CRYSTAL:
        return None
    try:
        return SymmetricDifferences(atoms, displaced_forces, options)
    except InvalidStructureError:
        return None


def right_handed(atoms: Atoms) -> Atoms:
    """Copy in a right-handed cell, the only ones that phonopy takes.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    Atoms
        Same atoms at the same positions; the vectors of a left-handed cell are reversed,
        which leaves the lattice as it is.
    """
    copy = without_leftovers(atoms)
    if copy.cell.handedness < 0:
        copy.set_cell(-copy.cell.array)
    return copy


@contextmanager
def phonopy_failures() -> Iterator[None]:
    """What phonopy and spglib raise about a cell leaves as an InvalidStructureError."""
    try:
        yield
    except NO_SYMMETRY as error:
        raise InvalidStructureError(
            f"crystal: phonopy makes nothing of it ({' '.join(str(error).split())}); look for "
            "atoms on one place, dummy atoms, and a cell that is out of proportion"
        ) from error


def tells_symmetry(atoms: Atoms) -> bool:
    """Whether phonopy can be told which atoms of a structure are alike.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    bool
        False where atoms carry vectors, or are of more kinds than there are elements.
    """
    many = atom_kinds(atoms, masses=False).max() >= len(chemical_symbols)
    return not (many or has_directions(atoms))


@phonopy_failures()
def phonopy_cell(atoms: Atoms) -> Any:
    """Phonopy's form of a structure; all masses are 1 amu.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    phonopy.structure.atoms.PhonopyAtoms
        Every kind of atom, see `atom_kinds`, has an element of its own; where there are too many
        kinds, or atoms carry vectors, its symmetry means nothing: see `tells_symmetry`.
    """
    from phonopy.structure.atoms import PhonopyAtoms

    kinds = atom_kinds(atoms, masses=False) if tells_symmetry(atoms) else np.ones(len(atoms), int)
    return PhonopyAtoms(
        numbers=kinds,
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(),
        masses=np.ones(len(atoms)),
    )


@phonopy_failures()
def new_phonons(cell: Any, supercell: IntArray, primitive: Any = "P") -> Any:
    """Phonopy object whose primitive cell is the given one, be it a smallest one or not.

    Parameters
    ----------
    cell : phonopy.structure.atoms.PhonopyAtoms
    supercell : ndarray of int, shape (3, 3)
        Columns are vectors in terms of the cell's, as in phonopy.
    primitive : ndarray, shape (3, 3), optional
        Columns are vectors of another primitive cell in terms of the given one's.

    Returns
    -------
    phonopy.Phonopy
        It looks for no symmetry, which takes it longer than force calls: 13 s for 500 atoms.
    """
    from phonopy import Phonopy

    # 'P': the default takes a perfect supercell for a primitive cell of fewer atoms.
    return Phonopy(cell, supercell, primitive, is_symmetry=False)


def set_hessian(phonons: Any, hessian: Array) -> None:
    """Take force constants from the Hessian of phonopy's supercell.

    Parameters
    ----------
    phonons : phonopy.Phonopy
    hessian : ndarray, shape (3N, 3N), eV/Å²
    """
    n = len(phonons.supercell)
    blocks = hessian.reshape(n, 3, n, 3).transpose(0, 2, 1, 3)
    phonons.force_constants = np.ascontiguousarray(blocks)
