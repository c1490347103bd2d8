"""Exact entropies of perfect crystals of some hundred atoms, beside phonopy's force constants.

    python benchmarks/perfect_crystals.py [--repeats 3 4 5]

Cubic cells of fcc copper (EMT), repeated so many times; one thread. Ours is all that a user waits
for: Hessian by finite differences, its error, site entropies on the mesh. Phonopy's is the
symmetry of the same cell, given as a unit cell, and its force constants, by the same force calls;
nothing is diagonalised. Force constants are compared.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
from time import perf_counter

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import kB
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms
from phonopy_forces import make_force_constants

from ase_vibent import HessianEntropyCalculator
from ase_vibent.hessian import compute_hessian

ROW = "{:>6} {:>10} {:>12} {:>12} {:>22}"


def force_constants_of_phonopy(atoms: Atoms) -> np.ndarray:
    """Hessian, shape (3N, 3N), eV/Å²."""
    cell = PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(),
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(),
    )
    phonons = Phonopy(cell, np.eye(3, dtype=int), "P")
    phonons.generate_displacements(distance=0.01, is_plusminus=True, is_diagonal=False)
    make_force_constants(phonons, EMT())
    return phonons.force_constants.transpose(0, 2, 1, 3).reshape(3 * len(atoms), -1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeats", type=int, nargs="+", default=[3, 4, 5])
    options = parser.parse_args()
    HessianEntropyCalculator(EMT()).get_property("entropy", bulk("Cu") * 2)  # imports
    print(ROW.format("atoms", "ours (s)", "phonopy (s)", "S/N (k_B)", "constants differ by"))
    for repeats in options.repeats:
        atoms = bulk("Cu", "fcc", a=3.5898, cubic=True) * repeats
        start = perf_counter()
        entropy = HessianEntropyCalculator(EMT()).get_property("entropy", atoms)
        own = perf_counter() - start
        start = perf_counter()
        theirs = force_constants_of_phonopy(atoms)
        other = perf_counter() - start
        difference = np.abs(compute_hessian(atoms, EMT()) - theirs).max() / np.abs(theirs).max()
        per_atom = entropy / kB / len(atoms)
        print(
            ROW.format(
                len(atoms), f"{own:.2f}", f"{other:.2f}", f"{per_atom:.5f}", f"{difference:.1e}"
            )
        )


if __name__ == "__main__":
    main()
