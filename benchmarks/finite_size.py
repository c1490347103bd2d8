"""Vacancy formation entropy of silicon against cell size, with and without correction.

    python benchmarks/finite_size.py [--largest 4]

The usual Γ-point estimate is S(N-1) - (N-1)/N S(N). Ours replaces the bulk term by the crystal
of the same cell plus the converged bulk value of one atom: S(N-1) - S(N) + s_bulk.
"""

from __future__ import annotations

import argparse

from ase.build import bulk
from ase.optimize import BFGS

from ase_vibent import HessianEntropyCalculator, bulk_site_entropies
from ase_vibent.potentials import stillinger_weber_silicon

LATTICE = 5.4310


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--largest", type=int, default=4, help="cubic cells along each edge")
    options = parser.parse_args()
    exact = HessianEntropyCalculator(stillinger_weber_silicon())
    site = bulk_site_entropies(
        bulk("Si", "diamond", a=LATTICE), stillinger_weber_silicon(), tolerance=1e-7
    )[0]
    print(f"{'atoms':>6} {'Γ-point estimate':>17} {'corrected':>10}   k_B")
    for repeats in [(2, 2, 1), *((n, n, n) for n in range(2, options.largest + 1))]:
        crystal = bulk("Si", "diamond", a=LATTICE, cubic=True) * repeats
        vacancy = crystal.copy()
        del vacancy[0]
        vacancy.calc = stillinger_weber_silicon()
        BFGS(vacancy, logfile=None).run(fmax=1e-4, steps=500)
        whole = exact.harmonic_system(crystal).entropy
        defect = exact.harmonic_system(vacancy).entropy
        n = len(crystal)
        print(f"{n:>6} {defect - (n - 1) / n * whole:>17.4f} {defect - whole + site:>10.4f}")


if __name__ == "__main__":
    main()
