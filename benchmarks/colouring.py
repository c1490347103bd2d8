"""Force calls of a Hessian by finite differences, with and without a stated interaction range.

    python benchmarks/colouring.py [--range 4.5] [--cells 4 5 8 12]

Rattled diamond silicon. Two calls more than six per colour: those that test the range.
"""

from __future__ import annotations

import argparse
from time import perf_counter

import numpy as np
from ase.build import bulk

from ase_vibent.hessian import measured_interaction_range
from ase_vibent.hessian.interactions import InteractionGraph
from ase_vibent.potentials import stillinger_weber_silicon


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--range", type=float, default=4.5, help="Å")
    parser.add_argument("--cells", type=int, nargs="+", default=[4, 5, 8, 12], help="per edge")
    options = parser.parse_args()
    rattled = bulk("Si", "diamond", a=5.4310, cubic=True) * (4, 4, 4)
    rattled.rattle(0.02, seed=1)
    measured = measured_interaction_range(rattled, stillinger_weber_silicon())
    print(f"measured range of Stillinger-Weber silicon: {measured:.2f} Å; stated {options.range} Å")
    print(f"{'atoms':>7} {'plain':>8} {'coloured':>9} {'colouring s':>12}")
    for n in options.cells:
        atoms = bulk("Si", "diamond", a=5.4310, cubic=True) * (n, n, n)
        atoms.rattle(0.02, seed=1)
        began = perf_counter()
        graph = InteractionGraph.within(atoms, np.arange(len(atoms)), options.range)
        calls = 6 * len(graph.groups) + 2
        seconds = perf_counter() - began
        print(f"{len(atoms):>7} {6 * len(atoms):>8} {calls:>9} {seconds:>12.2f}")


if __name__ == "__main__":
    main()
