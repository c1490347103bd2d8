"""Phonopy's displacements: those of a crystal that differ by symmetry."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
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
from ase_vibent.structures.symmetry import atom_kinds, has_directions
from ase_vibent.structures.validity import without_leftovers

#: Finding the symmetries of a perfect crystal takes time that grows with the square of its
#: size: 13 s for 500 atoms, 34 s for 864. With more atoms, symmetry is not looked for.
LARGEST_CRYSTAL = 1000
#: What phonopy and spglib raise where they find no symmetry: of coincident atoms, of dummies, in
#: cells that they cannot reduce. Older versions of spglib return None, over which phonopy stumbles.
NO_SYMMETRY = (RuntimeError, AttributeError, getattr(spglib, "SpglibError", RuntimeError))


class SymmetricDifferences:
    """Hessian of a crystal from the displacements that differ by symmetry.

    Parameters
    ----------
    crystal : Atoms
        Periodic along three directions.
    displaced_forces : DisplacedForces
    options : HessianOptions
        Of which the displacement counts.
    """

    def __init__(self, crystal: Atoms, displaced_forces: DisplacedForces, options: HessianOptions):
        self._displaced_forces = displaced_forces
        self._phonons = new_phonons(phonopy_cell(right_handed(crystal)), np.eye(3, dtype=int))
        generate_displacements(self._phonons, options.step)

    @property
    def n_calls(self) -> int:
        """Number of force calls."""
        return len(self._phonons.dataset["first_atoms"])

    def hessian(self) -> Array:
        """Second derivatives of the energy, shape (3N, 3N), eV/Å²."""
        solve_force_constants(self._phonons, self._displaced_forces)
        blocks: Array = self._phonons.force_constants.transpose(0, 2, 1, 3)
        return blocks.reshape(2 * (3 * len(blocks),))


def symmetric_differences(
    atoms: Atoms, displaced_forces: DisplacedForces, options: HessianOptions
) -> SymmetricDifferences | None:
    """Displacements that differ by symmetry, where its symmetries can be told quickly.

    Parameters
    ----------
    atoms : Atoms
    displaced_forces : DisplacedForces
    options : HessianOptions

    Returns
    -------
    SymmetricDifferences or None
        None for what is not periodic along three directions, has more than
        `LARGEST_CRYSTAL` atoms, or has no symmetry that phonopy finds.

    Warns
    -----
    UserWarning
        If phonopy fails for another reason; then None.
    """
    if not np.all(atoms.pbc) or len(atoms) > LARGEST_CRYSTAL or not tells_symmetry(atoms):
        return None
    try:
        return SymmetricDifferences(atoms, displaced_forces, options)
    except (InvalidStructureError, *NO_SYMMETRY):
        return None
    except Exception as error:
        warnings.warn(
            f"symmetry: phonopy failed to use it ({type(error).__name__}: {error}), so that all "
            "atoms are displaced; pass symmetry=False to do without",
            stacklevel=3,
        )
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
def new_phonons(
    cell: Any, supercell: IntArray, primitive: Any = "P", *, symmetry: bool = True
) -> Any:
    """Phonopy object whose primitive cell is the given one, be it a smallest one or not.

    Parameters
    ----------
    cell : phonopy.structure.atoms.PhonopyAtoms
    supercell : ndarray of int, shape (3, 3)
        Columns are vectors in terms of the cell's, as in phonopy.
    primitive : ndarray, shape (3, 3), optional
        Columns are vectors of another primitive cell in terms of the given one's.
    symmetry : bool
        Whether symmetry is to save displacements; without, six for every atom of the cell.

    Returns
    -------
    phonopy.Phonopy
    """
    from phonopy import Phonopy

    with warnings.catch_warnings():
        # A supercell of fewer symmetries only costs displacements.
        warnings.filterwarnings("ignore", message="Warning: Point group symmetries")
        # 'P': the default takes a perfect supercell for a primitive cell of fewer atoms.
        return Phonopy(cell, supercell, primitive, is_symmetry=symmetry)


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


def generate_displacements(phonons: Any, displacement: float) -> None:
    """Let phonopy choose displacements along the axes, each with its opposite.

    What a displacement is too large for depends on its direction. Diagonals would save some force
    calls, but a defect and its crystal, whose symmetries differ, would be off by different amounts
    per atom: by 0.012 k_B in 108 atoms of EMT copper, and by more in larger cells.

    Parameters
    ----------
    phonons : phonopy.Phonopy
    displacement : float, Å
    """
    phonons.generate_displacements(distance=displacement, is_plusminus=True, is_diagonal=False)


def solve_force_constants(phonons: Any, displaced_forces: DisplacedForces) -> None:
    """Give phonopy the force constants that follow from its displacements.

    Parameters
    ----------
    phonons : phonopy.Phonopy
        After `generate_displacements`.
    displaced_forces : DisplacedForces
        Of its supercell.

    Raises
    ------
    CalculatorError
        If the calculator fails, or what it gives cannot be the Hessian of an energy.
    """
    displaced = phonons.dataset["first_atoms"]
    shifts = np.zeros((len(displaced), len(phonons.supercell), 3))
    for shift, atom in zip(shifts, displaced, strict=True):
        shift[atom["number"]] = atom["displacement"]
    phonons.forces = np.array([response.forces for response in displaced_forces.responses(shifts)])
    phonons.produce_force_constants()
    # Symmetrised, nothing would be left to see of what is wrong.
    blocks = phonons.force_constants.transpose(0, 2, 1, 3)
    check_plausible(
        blocks.reshape(2 * (3 * len(blocks),)), held=False, calculator=displaced_forces.calculator
    )
    phonons.symmetrize_force_constants()
