"""Microseconds per atom of the ACE kernels, one thread.

    python benchmarks/kernel.py [--atoms 8000]

Silicon (28 neighbours within 5 Å) and iron (about 55), neighbour list apart.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("NUMBA_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
from collections.abc import Callable
from time import perf_counter

import numpy as np
from ase.build import bulk

from ase_vibent import ACE
from ase_vibent.descriptors.ace import evaluation
from ase_vibent.descriptors.neighbours import find_neighbours


def best_of(repeats: int, work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(repeats):
        began = perf_counter()
        work()
        times.append(perf_counter() - began)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--atoms", type=int, default=8000, help="about this many")
    options = parser.parse_args()
    print(
        f"{'':<3} {'atoms':>6} {'pairs/atom':>10} {'list':>6} {'values':>7} {'+ gradient':>10} "
        f"{'features':>9} {'+ gradients':>11}   µs per atom"
    )
    for symbol, cell in (
        ("Si", bulk("Si", "diamond", a=5.431, cubic=True)),
        ("Fe", bulk("Fe", "bcc", a=2.86, cubic=True)),
    ):
        edge = max(2, round((options.atoms / len(cell)) ** (1 / 3)))
        atoms = cell * (edge, edge, edge)
        atoms.rattle(0.05, seed=0)
        small = cell * (4, 4, 4)
        small.rattle(0.05, seed=0)
        ace = ACE([symbol], cutoff=5.0, order=3, degree=16)
        weights = np.random.default_rng(0).normal(size=(1, ace.n_features))
        near = find_neighbours(atoms, ace.species, ace.cutoff)
        few = find_neighbours(small, ace.species, ace.cutoff)
        jobs: list[tuple[int, Callable[[], object]]] = [
            (len(atoms), lambda a=atoms, d=ace: find_neighbours(a, d.species, d.cutoff)),
            (
                len(atoms),
                lambda d=ace, n=near, w=weights: evaluation.site_sums(d, n, w, gradient=False),
            ),
            (
                len(atoms),
                lambda d=ace, n=near, w=weights: evaluation.site_sums(d, n, w, gradient=True),
            ),
            (len(small), lambda d=ace, n=few: evaluation.features(d, n)),
            (len(small), lambda d=ace, n=few: evaluation.summed_features(d, n)),
        ]
        us = [1e6 * best_of(3, work) / count for count, work in jobs]
        print(
            f"{symbol:<3} {len(atoms):>6} {len(near.neighbours) / len(atoms):>10.1f} {us[0]:>6.1f} "
            f"{us[1]:>7.1f} {us[2]:>10.1f} {us[3]:>9.1f} {us[4]:>11.1f}"
        )


if __name__ == "__main__":
    main()
