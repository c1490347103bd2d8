"""Force constants by phonopy alone, as a judge of ours."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms


def make_force_constants(phonons: Any, calculator: Any) -> None:
    """Compute forces of the displacements that phonopy has generated, and what follows."""
    forces = []
    for displaced in phonons.supercells_with_displacements:
        atoms = Atoms(
            displaced.symbols, cell=displaced.cell, positions=displaced.positions, pbc=True
        )
        atoms.calc = calculator
        forces.append(atoms.get_forces())
    phonons.forces = np.array(forces)
    phonons.produce_force_constants()
    phonons.symmetrize_force_constants()
