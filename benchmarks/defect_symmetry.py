"""Seconds of the search for the symmetry of a vacancy, spglib's and ours.

    python benchmarks/defect_symmetry.py [--cells 4 5 6]

Copper with a vacancy, atoms on the sites of the crystal, at the tolerance of labels (1e-5 Å) and of
multiplicities (0.02 Å). Seconds are those of the processor, one thread.
"""

from __future__ import annotations

import argparse
from time import process_time

from ase.build import bulk

from ase_vibent.structures.symmetry import (
    DEFECT_SYMPREC,
    STRICT_SYMPREC,
    space_group,
    symmetry_dataset,
)


def timed(function, *arguments):
    began = process_time()
    return len(function(*arguments).rotations), process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cells", type=int, nargs="+", default=[4, 5, 6])
    options = parser.parse_args()
    print(f"{'atoms':>6} {'Å':>6} {'operations':>10} {'spglib s':>9} {'ours s':>7}")
    for n in options.cells:
        atoms = bulk("Cu", cubic=True) * n
        del atoms[0]
        for symprec in (STRICT_SYMPREC, DEFECT_SYMPREC):
            expected, theirs = timed(symmetry_dataset, atoms, symprec)
            found, ours = timed(space_group, atoms, symprec)
            assert found == expected
            print(f"{len(atoms):>6} {symprec:>6} {found:>10} {theirs:>9.2f} {ours:>7.2f}")


if __name__ == "__main__":
    main()
