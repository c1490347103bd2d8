"""Cost and memory of a model that comes with the package against the number of atoms.

    python benchmarks/scaling.py [--largest 1000000] [--threads 1]

Rattled silicon by si-sw with default settings: entropy, gradient and virial, the neighbour list
made anew, which includes the look whether the model knows the like of every atom. Every size runs
in a process of its own, whose peak memory is the operating system's. Below: the slope of log
seconds over log atoms. `--threads 2` shows what a second core gains; what it cannot help with is
the share that stands "outside threads".
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ase import Atoms

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)


def measure(n_atoms: int, repeats: int) -> None:
    """Print atoms, seconds, those outside threads, and peak memory in GB of one size."""
    import resource

    import numpy as np
    from ase.build import bulk

    from ase_vibent import SiteEntropyCalculator
    from ase_vibent.compiled.threads import in_threads
    from ase_vibent.descriptors.density import evaluation
    from ase_vibent.neighbours import lists

    inside = 0.0

    def timed(work: Callable[[Any], Any], pieces: Sequence[Any]) -> list[Any]:
        nonlocal inside
        began = perf_counter()
        results = in_threads(work, pieces)
        inside += perf_counter() - began
        return results

    evaluation.in_threads = lists.in_threads = timed

    def seconds(atoms: Atoms) -> tuple[float, float]:
        nonlocal inside
        calculator = SiteEntropyCalculator.from_pretrained("si-sw")
        began, inside = perf_counter(), 0.0
        forces = calculator.get_property("forces", atoms)
        took = perf_counter() - began
        assert np.all(np.isfinite(forces))
        return took, took - inside

    warnings.simplefilter("ignore")
    cell = bulk("Si", "diamond", a=5.431, cubic=True)
    seconds(cell * (4, 4, 4))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    edge = round((n_atoms / len(cell)) ** (1 / 3))
    atoms = cell * (edge, edge, edge)
    atoms.rattle(0.03, seed=0)
    times = [seconds(atoms) for _ in range(repeats)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(len(atoms), *min(times), peak / 1e6, (peak - before) / 1e6)


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
    titles = f"{'atoms':>8} {'s':>8} {'µs/atom':>8} {'outside threads':>15}"
    print(f"{titles} {'peak GB':>8} {'above start':>11}")
    rows = []
    for size in (s for s in SIZES if s <= options.largest):
        done = subprocess.run(
            [sys.executable, __file__, "--measure", str(size)],
            env=environment, check=True, capture_output=True, text=True,
        )  # fmt: skip
        atoms, seconds, outside, peak, more = map(float, done.stdout.split())
        rows.append((atoms, seconds))
        us, alone = 1e6 * seconds / atoms, 1e6 * outside / atoms
        print(f"{atoms:>8.0f} {seconds:>8.4f} {us:>8.2f} {alone:>15.2f} {peak:>8.2f} {more:>11.2f}")
    slope = np.polyfit(*np.log(rows).T, 1)[0]
    print(f"slope: {slope:.3f}")


if __name__ == "__main__":
    main()
