"""How the strength of ridge regression is best chosen, where rows are few and where they are many.

    python benchmarks/ridge_strength.py LABELS [--degree 11.5] [--quantities total] [--splits 5]

Learning curves of labelled cells, soft ones left out: RMSE of totals on a fifth of the
configurations, by the number of others that are fitted and by how the strength is chosen.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.units import kB

from ase_vibent import read_labels
from ase_vibent.cli.shared.descriptors import descriptor_of_text
from ase_vibent.dataset import GRADIENT, NAME
from ase_vibent.quantities import QUANTITIES
from ase_vibent.training.descriptor_choice import suited_ace
from ase_vibent.training.learning import learning_curve, rows_by_configuration
from ase_vibent.training.training_set import TrainingSet

STRENGTHS = ("evidence", "gcv", "cv", "auto")
#: Cells with a larger gradient on an atom are left out, k_B/Å.
LARGEST_GRADIENT = 6.0


def is_of(kinds: Sequence[str], atoms: Atoms) -> bool:
    """Whether it is a relaxed cell of one of the kinds."""
    return atoms.info.get("kind") in kinds and bool(atoms.info.get("relaxed", True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("labels")
    parser.add_argument("--degree", type=float, default=11.5)
    parser.add_argument("--descriptor", metavar="SPEC", help="another than ACE: 'AFS(n_max=20)'")
    parser.add_argument("--kinds", nargs="+", help="only cells whose info names these kinds")
    parser.add_argument("--quantities", nargs="+", choices=QUANTITIES, default=["total"])
    parser.add_argument("--sizes", nargs="+", type=int)
    parser.add_argument("--splits", type=int, default=5)
    options = parser.parse_args()
    frames = [
        atoms
        for atoms in read_labels(options.labels)
        if np.linalg.norm(atoms.arrays.get(GRADIENT, np.zeros((1, 3))), axis=1).max()
        < LARGEST_GRADIENT * kB
        and (options.kinds is None or NAME in atoms.info or is_of(options.kinds, atoms))
    ]
    training_set = TrainingSet.of(frames, options.quantities)
    if options.descriptor:
        descriptor = descriptor_of_text(options.descriptor, training_set, {})
    else:
        descriptor = suited_ace(training_set, degree=options.degree, l_weight=0.75)
    rows = rows_by_configuration(descriptor, training_set)
    print(f"{len(frames)} cells, {rows.problem.n_columns} coefficients, {options.quantities}")
    for strength in STRENGTHS:
        found = defaultdict(list)
        for split in learning_curve(
            rows, options.sizes, options.splits, solver_options={"strength": strength}
        ):
            found[split.n_train].append(split.rmse["total"])
        cells = ", ".join(
            f"{n}: {np.mean(values):.2e} (worst {max(values):.1e})" for n, values in found.items()
        )
        print(f"{strength:<10} {cells}", flush=True)


if __name__ == "__main__":
    main()
