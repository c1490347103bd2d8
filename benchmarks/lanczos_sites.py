"""Processor time of Lanczos on a whole matrix, per site, and where it goes.

    python benchmarks/lanczos_sites.py [--cells 5] [--sites 32]

Rattled Stillinger-Weber silicon, one thread; the second of two runs, compiled before.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
import cProfile
import pstats
from time import process_time

import numpy as np
from ase.build import bulk

from ase_vibent.harmonic.lanczos import lanczos_site_entropies
from ase_vibent.harmonic.rigid_motions import rigid_body_motions
from ase_vibent.potentials import stillinger_weber_silicon


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=5)
    parser.add_argument("--sites", type=int, default=32)
    options = parser.parse_args()
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * options.cells
    atoms.rattle(0.02, seed=1)
    calculator = stillinger_weber_silicon()
    calculator.get_potential_energy(atoms)
    hessian = calculator.get_hessian(atoms, format="sparse")
    motions = rigid_body_motions(atoms, mass_weighted=False)
    sites = np.arange(options.sites)
    for _ in range(2):
        profile, began = cProfile.Profile(), process_time()
        found = profile.runcall(lanczos_site_entropies, hessian, sites, motions=motions)
        seconds = process_time() - began
    pstats.Stats(profile).sort_stats("tottime").print_stats(8)
    milliseconds = 1e3 * seconds / len(sites)
    print(f"{len(atoms)} atoms, {found.steps.max()} steps: {milliseconds:.1f} ms a site")


if __name__ == "__main__":
    main()
