"""[Lapointe2022] Fig. 2: defects in strained iron, linear against EQML, on bSO(4) with j_max = 4.

    python benchmarks/papers/iron_database.py --folder p2-iron        # the data; resumable
    python benchmarks/papers/lapointe2022_strain.py [--folder p2-iron] [--descriptors "bSO(4) 4" …]

I2 to I4 and V4 at isotropic strains of -1 to 3 %, every strain relaxed anew and compared with
its own perfect crystal, [Lapointe2022] (19). All strains of a defect are on the same side of a
split. `--trainer` fits the same splits with the package's `train`, whose EQML has a W of low rank.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from iron_database import SETS, labelled
from lapointe2020_iron import STRAINED, available
from total_fits import FRACTIONS, Formation, descriptors, feature_sums, fitted, formation, rmse

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
        "--stiffness", type=float, default=100.0, help="prior of products against features"
    )
    parser.add_argument("--trainer", action="store_true", help="beside them, the package's train")
    options = parser.parse_args()
    sets = available(options.folder, options.potential, (*options.unstrained, *STRAINED))
    frames = labelled(sets, options.potential, options.folder)
    print(f"{options.potential}: {', '.join(sets)}")
    print(f"[Lapointe2022] Fig. 2: {PAPER} k_B, goal {GOAL} k_B for EQML")
    for name in options.descriptors:
        for kind in ("linear", "EQML"):
            began = time.perf_counter()
            sums = feature_sums(
                descriptors("Fe")[name](),
                frames,
                options.folder,
                crystal=frames[0],
                quadratic=kind == "EQML",
            )
            data, defects = formation(frames, sums)
            roughness = np.ones(sums.shape[1])
            if kind == "EQML":
                n_linear = int((np.sqrt(9 + 8 * sums.shape[1]) - 3) / 2)
                roughness[n_linear:] = options.stiffness
            # A defect and its strained copies have one source.
            groups = np.unique([a.info["origin"] for a in defects], return_inverse=True)[1]
            strains = np.array([SETS[a.info["set"]].strain for a in defects])
            errors = []
            for fraction in FRACTIONS:
                found = []
                for seed in range(options.splits):
                    train, test = grouped_split(groups, fraction, seed)
                    weights = fitted(data[train], roughness=roughness)
                    found.append([rmse(data[part], weights) for part in (train, test)])
                errors.append(np.mean(found, axis=0))
            print(
                f"{name} {kind:<7} {sums.shape[1]:>5} columns, {len(defects)} cells, standard "
                f"deviation {data.spread:.2f}; train / test at "
                + ", ".join(
                    f"{f:.0%}: {a:.3f} / {b:.3f}"
                    for f, (a, b) in zip(FRACTIONS, errors, strict=True)
                )
                + f"; {time.perf_counter() - began:.0f} s",
                flush=True,
            )
            plot(data, roughness, groups, strains, f"{name}, {kind}", options.folder)
        if options.trainer:
            compare_trainer(descriptors("Fe")[name](), frames, defects, groups, name)


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
    roughness: np.ndarray,
    groups: np.ndarray,
    strains: np.ndarray,
    title: str,
    folder: Path,
) -> None:
    from matplotlib.figure import Figure

    predicted = np.empty(len(strains))
    for fold in range(10):
        test = groups % 10 == fold
        predicted[test] = data.features[test] @ fitted(data[~test], roughness=roughness)
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
