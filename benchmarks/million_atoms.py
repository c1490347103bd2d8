"""A million atoms by a model that comes with the package, as its users get it.

    python benchmarks/million_atoms.py [--model si-sw] [--atoms 1000000] [--threads 2] [--no-files]

Rattled crystal, default settings: entropy and its gradient with the neighbour list made, then kept
(every atom has moved by 0.01 Å), beside the bare kernel (extrapolation="ignore": no atom is looked
at whether the model knows its like); standard deviations of all sites; all of it in one call. Then
`vibent predict` from file to file, everything in the file, start of the process included: extended
XYZ, and LAMMPS text dumps.
`--atoms 216000 --threads 1` is the row "as users get it" of benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from time import perf_counter

ALL = ["forces", "entropies_std", "extrapolation_grades"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="si-sw")
    parser.add_argument("--atoms", type=int, default=1_000_000, help="about this many")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-files", action="store_true", help="without vibent predict")
    options = parser.parse_args()
    # Numerical libraries read their thread counts when they are loaded.
    os.environ["NUMBA_NUM_THREADS"] = str(options.threads)
    os.environ["OMP_NUM_THREADS"] = "1"
    warnings.simplefilter("ignore")

    import numpy as np
    from ase.build import bulk

    from ase_vibent import SiteEntropyCalculator
    from ase_vibent.dataset import frame_file

    crystals = {
        "si-sw": bulk("Si", "diamond", a=5.431, cubic=True),
        "cu-emt": bulk("Cu", "fcc", a=3.59, cubic=True),
        "cu-mishin": bulk("Cu", "fcc", a=3.615, cubic=True),
        "fe-am04": bulk("Fe", "bcc", a=2.8553, cubic=True),
        "cdte-sw": bulk("CdTe", "zincblende", a=6.5, cubic=True),
    }
    crystal = crystals[options.model]
    edge = round((options.atoms / len(crystal)) ** (1 / 3))
    atoms = crystal * (edge, edge, edge)
    atoms.rattle(0.03, seed=0)
    moves = np.random.default_rng(1).normal(size=(len(atoms), 3))
    moved = atoms.copy()
    moved.positions += 0.01 * moves / np.linalg.norm(moves, axis=1)[:, None]

    def took(*properties: str, **chosen: str) -> list[float]:
        """Seconds of a calculator for the atoms, and after they have moved."""
        calculator = SiteEntropyCalculator.from_pretrained(options.model, **chosen)
        calculator.calculate(crystal * (3, 3, 3), ALL)  # kernels are loaded
        seconds = []
        for structure in (atoms, moved):
            began = perf_counter()
            calculator.calculate(structure, properties)
            seconds.append(perf_counter() - began)
        return seconds

    def report(what: str, seconds: float, who: int = resource.RUSAGE_SELF) -> None:
        size, per_atom = resource.getrusage(who).ru_maxrss / 1e6, 1e6 * seconds / len(atoms)
        print(f"{what:36} {seconds:7.2f} s {per_atom:7.2f} µs per atom {size:6.2f} GB at most")

    print(f"{options.model}, {len(atoms)} atoms, {options.threads} threads")
    for suffix in () if options.no_files else (".xyz", ".dump"):  # first: a child's memory begins
        # with its parent's, and the greatest of all children is what is known of them.
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, f"in{suffix}"), Path(folder, f"out{suffix}")
            with frame_file(source) as add:
                add(atoms)
            command = [sys.executable, "-m", "ase_vibent.cli", "predict", options.model]
            command += [str(source), "-o", str(target)]
            began = perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds = perf_counter() - began
        report(f"vibent predict, {suffix} to {suffix}", seconds, resource.RUSAGE_CHILDREN)
    bare, default = took("forces", extrapolation="ignore"), took("forces")
    for what, seconds in (("bare kernel", bare), ("default settings", default)):
        report(f"{what}, list made", seconds[0])
        report(f"{what}, list kept", seconds[1])
    print(f"default settings over bare kernel, list made: {default[0] / bare[0]:.2f}")
    report("entropies_std, list made", took("entropies_std")[0])
    report("forces, entropies_std, grades", took(*ALL)[0])


if __name__ == "__main__":
    main()
