"""Copper of ASE's effective-medium theory along the jump of a vacancy: modes across the path.

    python benchmarks/pretrained/cu_emt_jump.py [--folder pretrained-cu-emt-jump]

For elastic bands on E + F_vib(T), whose images are neither minima nor saddles.
"""

from __future__ import annotations

from ase.build import bulk
from common import Recipe, main
from cu_emt import calculator
from origins import of_ase
from supercells import Supercells

RECIPE = Recipe(
    name="cu-emt-jump",
    calculator=calculator,
    structures=Supercells(
        crystal=bulk("Cu", "fcc", a=3.5898, cubic=True) * 3,
        defects=lambda crystal: [],
        strains=(0.0,),
        bulk_rattled=8,
        path_images=7,
    ),
    descriptor={"degree": 10, "l_weight": 0.75},
    card={
        "title": "Copper, jump of a vacancy, modes across the path, effective-medium theory of ASE",
        "species": ["Cu"],
        "potential": "ase.calculators.emt.EMT",
        **of_ase("--calculator emt"),
        "citation": "K. W. Jacobsen, P. Stoltze, J. K. Nørskov, Surf. Sci. 366, 394 (1996)",
        "crystal": "fcc, a = 3.5898 Å",
        "not_for": (
            "minima, whose mode along the path is missing here (use cu-emt), other paths, other "
            "defects; real copper beyond what the potential says of it"
        ),
    },
)

if __name__ == "__main__":
    main(RECIPE)
