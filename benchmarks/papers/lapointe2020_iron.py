"""[Lapointe2020] Figs. 2, 3 and 6: formation entropies of defect clusters in iron, linear models.

    python benchmarks/papers/iron_database.py --folder p2-iron        # the data; resumable
    python benchmarks/papers/lapointe2020_iron.py [--figure 2|3|6] [--folder p2-iron]

Fig. 2: I2 to I4 and V4 at zero pressure, descriptors side by side, 100 random splits at every
test fraction. Fig. 3: the same defects at strains of -1 to 3 %, one model. Fig. 6: cells with
tens of defects, (a) in the fit and (b) predicted from small clusters alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from iron_database import KINDS, SETS, labelled
from total_fits import (
    FRACTIONS,
    Formation,
    descriptors,
    feature_sums,
    fitted,
    formation,
    rmse,
    split,
    split_errors,
)

from ase_vibent import train
from ase_vibent.dataset import NAME
from ase_vibent.training.report import evaluate_frames
from ase_vibent.training.targets import ReferenceCrystals

#: k_B: RMSE of AFS(20,10) in the paper's figure, and what we aim for.
PAPER = {
    "2": {"eam": (0.8, 0.5), "meam": (0.3, 0.2)},
    "3": {"eam": (None, None), "meam": (0.4, None)},
    "6a": {"eam": (None, None), "meam": (0.8, None)},
    "6b": {"eam": (None, 1.0), "meam": (1.53, 1.0)},
}
#: Bases of `--gradients`.
BASES = {
    "ACE of order 2": {"cutoff": 5.0, "order": 2, "degree": 20.0},
    "ACE of order 3": {"cutoff": 5.0, "degree": 11.5, "l_weight": 0.75},
}
#: Beginnings of the names of sets.
CLUSTERS = ("tiny", "small", "medium", "clusters", "size")
STRAINED, DAMAGED = ("strain",), ("damage",)


@dataclass(frozen=True)
class Data:
    """Defects of some sets as one descriptor sees them."""

    formation: Formation
    defects: list[Atoms]

    def of(self, beginnings: Sequence[str]) -> np.ndarray:
        """Which defects belong to sets of these names, shape (n,)."""
        return np.array([a.info["set"].startswith(tuple(beginnings)) for a in self.defects])


def available(folder: Path, potential: str, beginnings: Sequence[str]) -> list[str]:
    return [
        name
        for name in SETS
        if name.startswith(tuple(beginnings))
        and (folder / f"{potential}-{name}.labels.xyz").exists()
    ]


def data(name: str, frames: list[Atoms], folder: Path) -> Data:
    descriptor = descriptors("Fe")[name]()
    sums = feature_sums(descriptor, frames, folder, crystal=frames[0])
    return Data(*formation(frames, sums))


def describe(found: Data) -> None:
    for kind in KINDS:
        own = np.array([a.info["kind"] == kind for a in found.defects])
        values = found.formation.entropies[own]
        if len(values):
            print(
                f"{kind:>4} {len(values):>5} cells: {values.min():6.2f} to {values.max():6.2f}, "
                f"standard deviation {values.std():.2f} k_B"
            )
    print(
        f" all {len(found.defects):>5} cells: standard deviation {found.formation.spread:.2f} k_B"
    )


def parity(panel: object, found: Data, predicted: np.ndarray, title: str) -> None:
    exact = found.formation.entropies
    for kind in KINDS:
        own = np.array([a.info["kind"] == kind for a in found.defects])
        panel.plot(exact[own], predicted[own], ".", ms=4, alpha=0.6, label=kind)
    low, high = exact.min(), exact.max()
    panel.plot([low, high], [low, high], color="0.4", lw=0.8, zorder=0)
    panel.set(xlabel="exact formation entropy ($k_B$)", ylabel="predicted ($k_B$)", title=title)
    panel.legend(frameon=False, fontsize="small")


def cross_predicted(found: Data, folds: int = 10, **options: Any) -> np.ndarray:
    """Every cell as predicted by the model of a fit that has not seen it."""
    predicted = np.empty(len(found.defects))
    order = np.random.default_rng(0).permutation(len(predicted))
    for fold in range(folds):
        test = order[fold::folds]
        train = np.setdiff1d(order, test)
        predicted[test] = found.formation.features[test] @ fitted(found.formation[train], **options)
    return predicted


def figure_2(
    frames: list[Atoms],
    names: Sequence[str],
    folder: Path,
    splits: int,
    key: str = "2",
    **options: Any,
) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(names), 6.6), layout="constrained")
    panels = figure.subplots(2, len(names), squeeze=False)
    print(f"{'descriptor':<12} {'features':>8}   RMSE train / test (k_B) at test fractions")
    print(" " * 24 + "".join(f"{fraction:>15.0%}" for fraction in FRACTIONS))
    for column, name in enumerate(names):
        began = time.perf_counter()
        found = data(name, frames, folder)
        if column == 0:
            describe(found)
        errors = split_errors(found.formation, splits=splits, **options)
        predicted = cross_predicted(found, **options)
        missed = np.abs(predicted - found.formation.entropies)
        print(
            f"{name:<12} {found.formation.features.shape[1]:>8}    "
            + "".join(f"{a:>7.3f} /{b:>6.3f}" for a, b in errors)
            + f"   ten-fold: RMSE {np.sqrt(np.mean(missed**2)):.3f}, MAE {missed.mean():.3f}"
            + f"   {time.perf_counter() - began:.0f} s",
            flush=True,
        )
        parity(panels[0, column], found, predicted, f"{name}, ten-fold")
        curve = panels[1, column]
        for values, label in zip(errors.T, ("training", "test"), strict=True):
            curve.plot(FRACTIONS, values, "o-", ms=4, label=label)
        curve.set(xlabel="test fraction", ylabel="RMSE ($k_B$)", ylim=(0, None))
        curve.legend(frameon=False)
    figure.savefig(folder / f"p2-figure-{key}.png", dpi=150)


def with_gradients(folder: Path, gradients: Path, potential: str, sets: Sequence[str]) -> None:
    """What gradients of the entropy are worth: the sets that have them train, all others test."""
    own = [name for name in sets if (gradients / f"{potential}-{name}.labels.xyz").exists()]
    crystals_and_fitted = labelled(own, potential, gradients)
    tests = labelled([name for name in sets if name not in own], potential, folder)
    references = ReferenceCrystals([*crystals_and_fitted, *tests])
    tests = [atoms for atoms in tests if NAME not in atoms.info]
    print(f"trained on {len(crystals_and_fitted)} cells, tested on {len(tests)}")
    for title, basis in BASES.items():
        for labels, quantities in (("totals", ("total",)), ("totals and gradients", None)):
            model = train(crystals_and_fitted, basis, quantities=quantities)
            error = evaluate_frames(model, tests, references)["total"].metrics()["rmse"]
            n = model.descriptor.n_features
            print(f"{title}, {n} functions, {labels}: {error:.3f} k_B", flush=True)


def figure_6(frames: list[Atoms], names: Sequence[str], folder: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(names), 3.4), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    print("RMSE (k_B): (a) joint fit, 30 % held out: all, damaged; (b) damaged, from clusters")
    for panel, name in zip(panels, names, strict=True):
        found = data(name, frames, folder)
        damaged = found.of(DAMAGED)
        joint = []
        for seed in range(20):
            train, test = split(len(damaged), 0.3, seed)
            weights = fitted(found.formation[train])
            joint.append(
                [rmse(found.formation[own], weights) for own in (test, test[damaged[test]])]
            )
        weights = fitted(found.formation[~damaged])
        hidden = found.formation[damaged]
        both = " / ".join(f"{error:.3f}" for error in np.mean(joint, axis=0))
        missed = np.abs(hidden.features @ weights - hidden.entropies)
        print(
            f"{name:<14} {found.formation.features.shape[1]:>4} features: (a) {both}  "
            f"(b) {rmse(hidden, weights):.3f} (MAE {missed.mean():.3f}) over "
            f"{hidden.entropies.min():.0f} to {hidden.entropies.max():.0f} "
            f"({len(hidden.entropies)} cells)",
            flush=True,
        )
        parity(panel, found, found.formation.features @ weights, f"{name}, fitted to clusters")
    figure.savefig(folder / "p2-figure-6.png", dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--figure", type=int, choices=(2, 3, 6), default=2)
    parser.add_argument("--folder", type=Path, default=Path("p2-iron"))
    parser.add_argument("--potential", choices=("eam", "meam"), default="eam", help="of the folder")
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--descriptors", nargs="+", choices=list(descriptors("Fe")))
    parser.add_argument("--sets", nargs="+", help="beginnings of names of sets; by default all")
    parser.add_argument("--strength", type=float, help="of the ridge; default: by evidence")
    parser.add_argument(
        "--gradients", type=Path, metavar="FOLDER", help="where some sets have labels of gradients"
    )
    options = parser.parse_args()
    names = options.descriptors or ["AFS(20,10)", "bSO(4) 3.5", "scattering", "ACE"]
    clusters = options.sets or CLUSTERS
    extra = {2: (), 3: STRAINED, 6: DAMAGED}[options.figure]
    sets = available(options.folder, options.potential, (*clusters, *extra))
    frames = labelled(sets, options.potential, options.folder)
    print(f"{options.potential}: {', '.join(sets)}")
    for key, values in PAPER.items():
        if key.startswith(str(options.figure)):
            paper, goal = values[options.potential]
            print(f"[Lapointe2020] Fig. {key}: {paper} k_B, goal {goal} k_B")
    if options.gradients:
        with_gradients(options.folder, options.gradients, options.potential, sets)
    elif options.figure == 6:
        figure_6(frames, names, options.folder)
    else:
        strength = {} if options.strength is None else {"strength": options.strength}
        figure_2(frames, names, options.folder, options.splits, str(options.figure), **strength)


if __name__ == "__main__":
    main()
