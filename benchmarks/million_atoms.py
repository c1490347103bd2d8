"""A million atoms: entropy and its gradient from a coefficient file, as an ASE calculator.

    python benchmarks/million_atoms.py [--atoms 1000000] [--threads 2]

Rattled iron, 668 functions, 55 neighbours; random coefficients, which cost the same as fitted ones.
First calculation (neighbour list included), then one after every atom has moved by 0.01 Å (list
kept).
120,000 atoms (`--atoms 120000 --threads 1`) is the size of the dislocation loop in Lapointe et al.
"""

from __future__ import annotations

import argparse
import os
import resource
from time import perf_counter


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--atoms", type=int, default=1_000_000, help="about this many")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    # Numerical libraries read their thread counts when they are loaded.
    os.environ["NUMBA_NUM_THREADS"] = str(options.threads)
    os.environ["OMP_NUM_THREADS"] = "1"

    import numpy as np
    from ase.build import bulk

    from ase_vibent import ACE, SiteEntropyCalculator, SiteModel

    cell = bulk("Fe", "bcc", a=2.86, cubic=True)
    ace = ACE(["Fe"], cutoff=5.0, order=3, degree=16)
    shape = (1, ace.n_features)
    weights = 1e-3 * np.random.default_rng(0).normal(size=shape)
    model = SiteModel(ace, np.zeros(1), weights, np.zeros(shape), np.ones(shape))
    calculator = SiteEntropyCalculator(model, temperature=600)
    began = perf_counter()
    calculator.get_property("entropy_gradient", cell * (4, 4, 4))
    print(f"first evaluation of the process: {perf_counter() - began:.2f} s")

    edge = round((options.atoms / 2) ** (1 / 3))
    atoms = cell * (edge, edge, edge)
    atoms.rattle(0.05, seed=0)
    for what in ("list made", "list kept"):
        began = perf_counter()
        gradient = calculator.get_property("entropy_gradient", atoms)
        entropy = calculator.get_property("entropy", atoms)
        seconds = perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(
            f"{len(atoms)} atoms, {options.threads} threads, {what}: {seconds:.2f} s, "
            f"{1e6 * seconds / len(atoms):.2f} µs per atom, peak memory {peak:.2f} GB "
            f"(entropy {entropy:.6g} eV/K, largest slope {np.abs(gradient).max():.3g} eV/K/Å)"
        )
        moves = np.random.default_rng(1).normal(size=(len(atoms), 3))
        atoms.positions += 0.01 * moves / np.linalg.norm(moves, axis=1)[:, None]


if __name__ == "__main__":
    main()
