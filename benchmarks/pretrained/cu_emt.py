"""Copper of the effective-medium theory that comes with ASE.

    python benchmarks/pretrained/cu_emt.py [--folder pretrained-cu-emt]

Needs no table and no other package: for first steps, examples and tests.
"""

from __future__ import annotations

from typing import Any

from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from common import Recipe, main
from origins import of_ase
from supercells import Supercells

from ase_vibent.structures import divacancies, vacancies


def calculator(path: str | None) -> Any:
    return EMT()


def defects(crystal: Atoms) -> list[Atoms]:
    return [*vacancies(crystal), *divacancies(crystal, 1)]


RECIPE = Recipe(
    name="cu-emt",
    calculator=calculator,
    structures=Supercells(
        crystal=bulk("Cu", "fcc", a=3.5898, cubic=True) * 3,
        defects=defects,
        rattled=(6, 2),
        near={"Cu vacancy": 12, "Cu-Cu divacancy": 6},
        bulk_rattled=4,
        strains=(0.0, -0.02, 0.015, 0.03),
    ),
    descriptor={"degree": 11.5, "l_weight": 0.75},
    card={
        "title": "Copper, fcc, effective-medium theory of ASE",
        "species": ["Cu"],
        "potential": "ase.calculators.emt.EMT",
        **of_ase("--calculator emt"),
        "citation": "K. W. Jacobsen, P. Stoltze, J. K. Nørskov, Surf. Sci. 366, 394 (1996)",
        "crystal": "fcc, a = 3.5898 Å",
        "not_for": (
            "interstitials, liquid or other phases, surfaces, impurities; real copper beyond what "
            "the potential says of it"
        ),
    },
)

if __name__ == "__main__":
    main(RECIPE)
