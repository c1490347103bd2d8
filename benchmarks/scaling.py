"""Cost and memory of a site model against the number of atoms.

    python benchmarks/scaling.py [--largest 1000000] [--threads 1]

Rattled iron, 668 functions, 55 neighbours: entropy, gradient and virial with the neighbour list
made anew. Every size runs in a process of its own, whose peak memory is the operating system's.
Below: the slope of log seconds over log atoms.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from time import perf_counter

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)


def measure(n_atoms: int, repeats: int) -> None:
    """Print atoms, seconds and peak memory in GB of one size."""
    import resource

    import numpy as np
    from ase.build import bulk

    from ase_vibent import ACE

    cell = bulk("Fe", "bcc", a=2.86, cubic=True)
    ace = ACE(["Fe"], cutoff=5.0, order=3, degree=16)
    weights = np.random.default_rng(0).normal(size=(1, ace.n_features))
    ace.linear_model(cell * (4, 4, 4), weights)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    edge = round((n_atoms / 2) ** (1 / 3))
    atoms = cell * (edge, edge, edge)
    atoms.rattle(0.05, seed=0)
    times = []
    for _ in range(repeats):
        began = perf_counter()
        sums = ace.linear_model(atoms, weights)
        times.append(perf_counter() - began)
    assert np.all(np.isfinite(sums.gradient))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(len(atoms), min(times), peak / 1e6, (peak - before) / 1e6)


def main() -> None:
    import numpy as np

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--largest", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, max(3, min(30, 300_000 // options.measure)))
        return
    environment = {
        **os.environ,
        "NUMBA_NUM_THREADS": str(options.threads),
        "OMP_NUM_THREADS": str(options.threads),
    }
    print(f"{'atoms':>8} {'s':>8} {'µs/atom':>8} {'peak GB':>8} {'above start':>11}")
    rows = []
    for size in (s for s in SIZES if s <= options.largest):
        done = subprocess.run(
            [sys.executable, __file__, "--measure", str(size)],
            env=environment, check=True, capture_output=True, text=True,
        )  # fmt: skip
        atoms, seconds, peak, more = map(float, done.stdout.split())
        rows.append((atoms, seconds))
        us = 1e6 * seconds / atoms
        print(f"{atoms:>8.0f} {seconds:>8.4f} {us:>8.2f} {peak:>8.2f} {more:>11.2f}")
    slope = np.polyfit(*np.log(rows).T, 1)[0]
    print(f"slope: {slope:.3f}")


if __name__ == "__main__":
    main()
