"""Processor time per atom of the files that `vibent predict` writes and reads.

    python benchmarks/frame_files.py [--cells 27]

Rattled silicon with the site values of an entropy model, once in every format.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np
from ase.build import bulk

from ase_vibent.dataset import frame_file
from ase_vibent.files.frames import iterate_frames


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=27, help="along each edge")
    options = parser.parse_args()
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * options.cells
    atoms.rattle(0.03)
    rng = np.random.default_rng(0)
    for name in ("entropies", "entropies_std", "extrapolation_grades"):
        atoms.set_array(f"predicted_{name}", rng.random(len(atoms)))
    atoms.set_array("predicted_entropy_gradient", rng.normal(size=(len(atoms), 3)))
    print(f"{len(atoms)} atoms, µs per atom\n{'':<6} {'write':>6} {'read':>6} {'bytes':>6}")
    with TemporaryDirectory() as folder:
        for suffix in (".xyz", ".dump", ".traj"):
            path = Path(folder, f"out{suffix}")
            times = [process_time()]
            with frame_file(path) as add:
                add(atoms)
            times.append(process_time())
            (_,) = iterate_frames(path)
            times.append(process_time())
            write, read = 1e6 * np.diff(times) / len(atoms)
            size = path.stat().st_size / len(atoms)
            print(f"{suffix:<6} {write:>6.2f} {read:>6.2f} {size:>6.0f}", flush=True)


if __name__ == "__main__":
    main()
