"""[Lapointe2022] Fig. 2: defects in strained iron, linear against EQML, on bSO(4) with j_max = 4.

    python benchmarks/papers/iron_database.py --folder p2-iron        # the data; resumable
    python benchmarks/papers/lapointe2022_strain.py [--folder p2-iron] [--descriptors "bSO(4) 4" …]

I2 to I4 and V4 at isotropic strains of -1 to 3 %, every strain relaxed anew and compared with
its own perfect crystal, [Lapointe2022] (19). Splits are at random, as in the paper, and by
structure: then all strains of a defect are on one side. EQML has a W of full rank, fitted with
the linear part, or after it as in the paper. `--trainer`: the package's `train`, in two steps, W
of 24 directions.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from iron_database import SETS, labelled
from lapointe2020_iron import STRAINED, available
from total_fits import (
    FRACTIONS,
    Formation,
    descriptors,
    feature_sums,
    fitted,
    formation,
    rmse,
    split,
)

from ase_vibent import train
from ase_vibent.dataset import NAME
from ase_vibent.training.report import evaluate_frames
from ase_vibent.training.targets import ReferenceCrystals

PAPER = {"linear": 0.82, "EQML": 0.34}
GOAL = 0.3


def grouped_split(
    groups: Sequence[int], fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Training and test frames, whole groups at a time."""
    names = np.unique(groups)
    held = np.random.default_rng(seed).permutation(names)[: round(fraction * len(names))]
    test = np.isin(groups, held)
    return np.flatnonzero(~test), np.flatnonzero(test)


def random_split(
    groups: Sequence[int], fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Training and test frames at random: a test frame has strained copies of its own in training.

    [Lapointe2022] IV.A.
    """
    return split(len(groups), fraction, seed)


SPLITS = {"structure": grouped_split, "random": random_split}
KINDS = ("linear", "EQML, one fit", "EQML, two steps")


def n_features(n_columns: int) -> int:
    """How many features there are, if columns are these and their products."""
    return int((np.sqrt(9 + 8 * n_columns) - 3) / 2)


def fitted_weights(data: Formation, kind: str, stiffness: float) -> np.ndarray:
    """Of features and all their products, W of full rank: [Lapointe2022] (17), (18)."""
    own = n_features(data.features.shape[1])
    linear, products = data.features[:, :own], data.features[:, own:]
    if kind == "EQML, one fit":
        roughness = np.repeat([1.0, stiffness], [own, products.shape[1]])
        return fitted(data, roughness=roughness)
    first = fitted(Formation(linear, data.entropies))
    if kind == "linear":
        return np.append(first, np.zeros(products.shape[1]))
    rest = data.entropies - linear @ first
    return np.append(first, fitted(Formation(products, rest)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("p2-iron"))
    parser.add_argument("--potential", choices=("eam", "meam"), default="eam", help="of the folder")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--unstrained", nargs="+", default=["small"], help="sets beside them")
    parser.add_argument(
        "--descriptors", nargs="+", choices=list(descriptors("Fe")), default=["bSO(4) 4"]
    )
    parser.add_argument(
        "--stiffness", type=float, default=100.0, help="prior of products against features, one fit"
    )
    parser.add_argument("--trainer", action="store_true", help="beside them, the package's train")
    options = parser.parse_args()
    sets = available(options.folder, options.potential, (*options.unstrained, *STRAINED))
    frames = labelled(sets, options.potential, options.folder)
    print(f"{options.potential}: {', '.join(sets)}")
    print(f"[Lapointe2022] Fig. 2: {PAPER} k_B, goal {GOAL} k_B for EQML")
    for name in options.descriptors:
        descriptor = descriptors("Fe")[name]()
        sums = feature_sums(descriptor, frames, options.folder, crystal=frames[0], quadratic=True)
        data, defects = formation(frames, sums)
        # A defect and its strained copies have one source.
        groups = np.unique([a.info["origin"] for a in defects], return_inverse=True)[1]
        strains = np.array([SETS[a.info["set"]].strain for a in defects])
        print(
            f"{name}: {n_features(sums.shape[1])} features, {len(defects)} cells of "
            f"{groups.max() + 1} defects, standard deviation {data.spread:.2f}; RMSE train / test"
        )
        print(f"{'split by':<10}{'':<17}" + "".join(f"{fraction:>15.0%}" for fraction in FRACTIONS))
        for by, splitter in SPLITS.items():
            for kind in KINDS:
                errors = []
                for fraction in FRACTIONS:
                    found = []
                    for seed in range(options.splits):
                        train, test = splitter(groups, fraction, seed)
                        weights = fitted_weights(data[train], kind, options.stiffness)
                        found.append([rmse(data[part], weights) for part in (train, test)])
                    errors.append(np.mean(found, axis=0))
                cells = "".join(f"{a:>7.3f} /{b:>6.3f}" for a, b in errors)
                print(f"{by:<10}{kind:<17}{cells}", flush=True)
        for kind in KINDS:
            plot(data, kind, options.stiffness, groups, strains, f"{name}, {kind}", options.folder)
        if options.trainer:
            compare_trainer(descriptor, frames, defects, groups, name)


def compare_trainer(
    descriptor: Any,
    frames: Sequence[Atoms],
    defects: Sequence[Atoms],
    groups: Sequence[int],
    name: str,
    splits: int = 3,
) -> None:
    """RMSE of totals at a test fraction of 10 %, by `train`."""
    crystals = [atoms for atoms in frames if NAME in atoms.info]
    references = ReferenceCrystals(frames)
    for kind, quadratic in (("linear", False), ("EQML", True)):
        errors = []
        for seed in range(splits):
            train_part, test_part = grouped_split(groups, 0.1, seed)
            model = train(
                [*crystals, *(defects[k] for k in train_part)], descriptor, quadratic=quadratic
            )
            tests = [defects[k] for k in test_part]
            errors.append(evaluate_frames(model, tests, references)["total"].metrics()["rmse"])
        print(f"{name} {kind:<7} by train, test at 10%: {np.mean(errors):.3f}", flush=True)


def plot(
    data: Formation,
    kind: str,
    stiffness: float,
    groups: np.ndarray,
    strains: np.ndarray,
    title: str,
    folder: Path,
) -> None:
    from matplotlib.figure import Figure

    predicted = np.empty(len(strains))
    for fold in range(10):
        test = groups % 10 == fold
        predicted[test] = data.features[test] @ fitted_weights(data[~test], kind, stiffness)
    figure = Figure(figsize=(4.2, 4), layout="constrained")
    panel = figure.subplots()
    for strain in np.unique(strains):
        own = strains == strain
        error = np.sqrt(np.mean((predicted - data.entropies)[own] ** 2))
        panel.plot(
            data.entropies[own],
            predicted[own],
            ".",
            ms=4,
            alpha=0.6,
            label=f"{strain:+.0%}: {error:.2f} $k_B$",
        )
    ends = [data.entropies.min(), data.entropies.max()]
    panel.plot(ends, ends, color="0.4", lw=0.8, zorder=0)
    panel.set(
        xlabel="exact formation entropy ($k_B$)",
        ylabel="predicted, ten-fold ($k_B$)",
        title=title,
    )
    panel.legend(frameon=False, fontsize="small")
    name = "".join(c if c.isalnum() else "-" for c in title)
    figure.savefig(folder / f"p3-figure-2-{name}.png", dpi=150)


if __name__ == "__main__":
    main()
