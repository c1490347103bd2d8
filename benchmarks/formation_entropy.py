"""Vacancy formation entropy of copper against cell size, ours beside phonopy's own.

    python benchmarks/formation_entropy.py [--potentials emt eam] [--largest 6] [--plot FILE]

Vacancies relaxed at constant volume; classical, 300 K, at Γ of cells of 2 × 2 × 2 to 6 × 6 × 6
cubic cells. The usual estimate S(N-1) - (N-1)/N S(N) is made twice: with HessianEntropyCalculator,
and with nothing but phonopy (its displacements, force constants and thermal properties). Ours with
its finite-size correction is S(N-1) - S(N) + the converged bulk value of one atom.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import potentials
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.optimize import LBFGS
from ase.units import _k, _Nav, kB
from phonopy_forces import make_force_constants

from ase_vibent import HessianEntropyCalculator, bulk_site_entropies
from ase_vibent.hessian import HessianOptions

TEMPERATURE = 300.0  # K
DISPLACEMENT = 1e-4  # Å; at 0.01 Å central differences are off by 1e-4 k_B per atom

#: Lattice constant in Å, calculator.
POTENTIALS = {
    "emt": ("EMT", 3.5898, EMT),
    "eam": ("EAM of Mishin et al.", 3.6150, potentials.copper),
}


@dataclass
class FormationEntropies:
    """Estimates for one cell of N atoms, in k_B."""

    atoms: int
    ours: float
    phonopys: float
    corrected: float


def relaxed_vacancy(crystal: Atoms, make: Any) -> Atoms:
    atoms = crystal.copy()
    del atoms[0]
    atoms.calc = make()
    if not LBFGS(atoms, logfile=None).run(fmax=1e-6, steps=500):
        raise SystemExit(f"the vacancy in {len(crystal)} atoms did not relax to 1e-6 eV/Å")
    return atoms


def our_entropy(atoms: Atoms, make: Any) -> float:
    exact = HessianEntropyCalculator(
        make(), temperature=TEMPERATURE, displacement=DISPLACEMENT, mesh="gamma"
    )
    return exact.get_property("entropy", atoms) / kB


def phonopy_entropy(atoms: Atoms, make: Any) -> float:
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    cell = PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(),
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(),
        masses=atoms.get_masses(),
    )
    # 'P': by default the perfect crystal would collapse to one atom.
    phonons = Phonopy(cell, np.eye(3, dtype=int), "P")
    phonons.generate_displacements(distance=DISPLACEMENT, is_plusminus=True)
    make_force_constants(phonons, make())
    phonons.run_mesh([1, 1, 1])
    # The acoustic modes at Γ must go, or those enter that come out with a positive square.
    thermal = phonons.run_thermal_properties(
        temperatures=[TEMPERATURE], classical=True, exclude_gamma_acoustic=True
    )
    assert thermal.number_of_integrated_modes == 3 * len(atoms) - 3
    return float(thermal.entropy[0]) / (_k * _Nav)


def compare(crystal: Atoms, make: Any, bulk_value: float) -> FormationEntropies:
    vacancy = relaxed_vacancy(crystal, make)
    n = len(crystal)
    whole, defect = our_entropy(crystal, make), our_entropy(vacancy, make)
    return FormationEntropies(
        atoms=n,
        ours=defect - (n - 1) / n * whole,
        phonopys=phonopy_entropy(vacancy, make) - (n - 1) / n * phonopy_entropy(crystal, make),
        corrected=defect - whole + bulk_value,
    )


def bulk_entropy(crystal: Atoms, make: Any) -> float:
    """Converged entropy of one atom at TEMPERATURE, in k_B."""
    options = HessianOptions(displacement=DISPLACEMENT)
    reduced = bulk_site_entropies(crystal, make(), width=20.0, tolerance=1e-6, options=options)[0]
    return float(reduced + 3 * (1 + np.log(TEMPERATURE / 300.0)))


def plot(results: dict[str, list[FormationEntropies]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(results), 3.8), layout="constrained")
    panels = figure.subplots(1, len(results), squeeze=False)[0]
    for panel, (name, rows) in zip(panels, results.items(), strict=True):
        sizes = [row.atoms for row in rows]
        panel.plot(
            sizes, [row.corrected for row in rows], "o-", label="finite-size corrected, ours"
        )
        panel.plot(sizes, [row.ours for row in rows], "s-", ms=4, label="Γ-point estimate, ours")
        panel.plot(
            sizes,
            [row.phonopys for row in rows],
            "kx",
            ms=8,
            label="Γ-point estimate, phonopy",
        )
        panel.set_xscale("log")
        panel.set_xticks(sizes, [str(size) for size in sizes])
        panel.minorticks_off()
        panel.set_xlabel("atoms in the perfect cell")
        panel.set_ylabel("vacancy formation entropy ($k_B$)")
        panel.set_title(f"Cu, {name}")
        panel.legend(frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--potentials", nargs="+", choices=list(POTENTIALS), default=["emt"])
    parser.add_argument("--largest", type=int, default=6, help="cubic cells along each edge")
    parser.add_argument("--plot", type=Path, help="PNG, PDF or SVG")
    options = parser.parse_args()
    results: dict[str, list[FormationEntropies]] = {}
    for key in options.potentials:
        name, lattice, make = POTENTIALS[key]
        bulk_value = bulk_entropy(bulk("Cu", "fcc", a=lattice), make)
        print(f"Cu, {name}: bulk value {bulk_value:.6f} k_B per atom at {TEMPERATURE:g} K")
        print(f"{'atoms':>6} {'Γ, ours':>10} {'phonopy':>10} {'difference':>11} {'corrected':>10}")
        rows = results.setdefault(name, [])
        for edge in range(2, options.largest + 1):
            crystal = bulk("Cu", "fcc", a=lattice, cubic=True) * (edge, edge, edge)
            row = compare(crystal, make, bulk_value)
            rows.append(row)
            print(
                f"{row.atoms:>6} {row.ours:>10.5f} {row.phonopys:>10.5f} "
                f"{row.ours - row.phonopys:>11.1e} {row.corrected:>10.5f}   k_B",
                flush=True,
            )
    if options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
