"""One structure of a set in a larger cell: what small cells make of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from ase_vibent import dataset
from ase_vibent.potentials import calculator_failures, resolve_calculator
from ase_vibent.stationary.relaxation import relax
from ase_vibent.structures.cells import next_supercell
from ase_vibent.structures.embedding import embed
from ase_vibent.structures.validity import starting_copy
from ase_vibent.training.targets import ReferenceCrystals

#: Structures with a smaller force are minima, which relax in the larger cell, too, eV/Å.
AT_REST = 0.05
#: To which they do, eV/Å.
FMAX = 1e-3


def in_larger_cell(
    atoms: Atoms, crystal: Atoms, crystals: Sequence[Atoms], calculator: object
) -> tuple[Atoms, Atoms]:
    """A structure in the next larger supercell, and that supercell, both marked.

    A minimum is relaxed there; of any other structure the atoms keep their displacements.

    Parameters
    ----------
    atoms : Atoms
    crystal : Atoms
        Perfect crystal in the structure's cell.
    crystals : sequence of Atoms
        Perfect crystals of which one, repeated, is that cell.
    calculator : ASE calculator or factory

    Returns
    -------
    structure, crystal : Atoms
        With `vibent_size_check`: training measures the error in large cells with them.

    Raises
    ------
    InvalidStructureError
        If the structure is the crystal itself, or no crystal fits its cell.
    RelaxationError
        If it does not relax.
    CalculatorError
        If the calculator fails.
    """
    larger = next_supercell(atoms, crystals)
    moved = embed(atoms, crystal, larger)
    copy = starting_copy(atoms)
    copy.calc = resolve_calculator(calculator)
    with calculator_failures(copy.calc, "forces", "a check of sizes"):
        forces = copy.get_forces()
    if np.linalg.norm(forces, axis=1).max() < AT_REST:
        moved = relax(moved, copy.calc, fmax=FMAX)
    found = []
    for structure in (moved, larger):
        marked = structure.copy()
        marked.info = {dataset.SIZE_CHECK: True}
        found.append(marked)
    if "unstable" in atoms.info:
        found[0].info["unstable"] = atoms.info["unstable"]
    return found[0], found[1]


@dataclass(frozen=True)
class SizeCheck:
    """Formation entropies of one structure in two cells.

    Attributes
    ----------
    n_atoms : tuple of int
        Of the two.
    entropies : tuple of float, k_B
        Beyond as many atoms of the crystal.
    """

    n_atoms: tuple[int, int]
    entropies: tuple[float, float]

    @property
    def difference(self) -> float:
        """Larger less smaller, k_B."""
        return self.entropies[1] - self.entropies[0]


def size_check(frames: Sequence[Atoms], small: Atoms) -> SizeCheck:
    """Compare a labelled structure with what the larger cell says of it.

    Parameters
    ----------
    frames : sequence of Atoms
        Labels, those of both cells and both crystals among them.
    small : Atoms
        The labelled structure in the smaller cell.

    Returns
    -------
    SizeCheck
    """
    marked = [a for a in frames if a.info.get(dataset.SIZE_CHECK)]
    (large,) = (atoms for atoms in marked if dataset.NAME not in atoms.info)
    references = ReferenceCrystals([atoms for atoms in frames if dataset.NAME in atoms.info])
    return SizeCheck(
        (len(small), len(large)),
        (references.beyond_crystal(small), references.beyond_crystal(large)),
    )
