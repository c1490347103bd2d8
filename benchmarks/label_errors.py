"""How much a fit depends on the model's own error, beside which errors of labels count.

    python benchmarks/label_errors.py LABELS [--draws 5] [--degree 8] [--quantities total …]

Totals of labelled cells get errors of known size, from none to a good deal of what they vary by,
and say so in `vibent_entropy_errors`. Fits that weigh them by these errors, beside a model's error
of several shares of what totals vary by, on cells that are held out and keep their labels.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.units import kB

from ase_vibent import ACE, read_labels, train
from ase_vibent.dataset import ENTROPY, ERRORS, NAME
from ase_vibent.quantities import QUANTITIES
from ase_vibent.training import training_set
from ase_vibent.training.report import evaluate_frames
from ase_vibent.training.targets import ReferenceCrystals
from ase_vibent.training.trainer import split_frames

SHARES = (0.0025, 0.01, 0.04, 1e9)
#: Decades below the spread of the totals in which sizes of errors lie.
DECADES = 3


def with_errors(frames: Sequence[Atoms], spread: float, rng: np.random.Generator) -> list[Atoms]:
    """Copies whose totals are off by errors of known standard deviations."""
    made = []
    for atoms in frames:
        copy = atoms.copy()
        if NAME not in atoms.info:
            std = spread * 10 ** -rng.uniform(0, DECADES)
            copy.info[ENTROPY] += kB * rng.normal(0, std)
            copy.info[ERRORS] = kB * np.array([0.0, std, std])
        made.append(copy)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("labels")
    parser.add_argument("--draws", type=int, default=5, help="of split and errors")
    parser.add_argument("--degree", type=float, default=8)
    parser.add_argument(
        "--quantities", nargs="+", choices=QUANTITIES, default=["total", "gradient"]
    )
    options = parser.parse_args()
    frames = [
        atoms for atoms in read_labels(options.labels) if "vibent_size_check" not in atoms.info
    ]
    references = ReferenceCrystals(frames)
    defects = [atoms for atoms in frames if NAME not in atoms.info]
    spread = float(np.std([references.beyond_crystal(atoms) for atoms in defects]))
    species = sorted({symbol for atoms in frames for symbol in atoms.symbols})
    descriptor = ACE(species, cutoff=5.0, order=3, degree=options.degree, l_weight=0.75)
    print(f"{len(defects)} cells, spread {spread:.2f} k_B, {descriptor.n_features} functions")
    rmse: dict[str, list[float]] = {}
    for seed in range(options.draws):
        fitted, held_out = split_frames(frames, 0.25, seed)
        worse = with_errors(fitted, spread, np.random.default_rng(seed))
        for share, cells in [(0.01, fitted), *((share, worse) for share in SHARES)]:
            training_set.MODEL_ERROR = share
            model = train(cells, descriptor, quantities=options.quantities, weights={"total": 60.0})
            title = f"model's error {share:.1%}" if share < 1 else "all alike"
            title = "labels without errors" if cells is fitted else title
            found = evaluate_frames(model, held_out, references)["total"].metrics()["rmse"]
            rmse.setdefault(title, []).append(found)
    for title, values in rmse.items():
        print(f"{title:<24} held-out RMSE {np.mean(values):.2e} k_B  ({np.ptp(values):.1e} range)")


if __name__ == "__main__":
    main()
