"""Labels chosen by expected information against labels chosen at random: learning curves.

    python benchmarks/active_learning.py [--labels FILE.xyz] [--repeats 5] [--plot FILE]

A mixed pool of Stillinger-Weber silicon, 15 to 17 atoms each: rattled crystals, vacancies,
interstitials and strained crystals, labelled once (kept in --labels). A third is held out for
testing. From the same ten seeds on, drawn at random, `select` and chance each add five structures
at a time. Root mean square errors of totals (k_B) and gradients (k_B/Å) on the held-out third,
medians of the repeats; "worst": the largest error of a total.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from time import perf_counter

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("--labels", default="active-learning-labels.xyz")
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--most", type=int, default=60, help="labels at the end of the curves")
parser.add_argument("--batch", type=int, default=5)
parser.add_argument("--degree", type=int, default=12)
parser.add_argument("-j", type=int, default=1, help="processes for labelling")
parser.add_argument("--plot", metavar="FILE")
options = parser.parse_args()
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

# Numerical libraries read their thread counts when they are loaded.
import numpy as np  # noqa: E402
from ase import Atoms  # noqa: E402
from ase.build import bulk  # noqa: E402

from ase_vibent import ACE, SiteModel  # noqa: E402
from ase_vibent.labelling.run import LabelTask, label_structures, labelled_frames  # noqa: E402
from ase_vibent.potentials import CalculatorSpec, stillinger_weber_silicon  # noqa: E402
from ase_vibent.stationary import relax  # noqa: E402
from ase_vibent.structures import apply_strain, dumbbells, rattle, vacancies  # noqa: E402
from ase_vibent.training.calibration import posterior  # noqa: E402
from ase_vibent.training.features import FrameFeatures  # noqa: E402
from ase_vibent.training.problem import LinearFit  # noqa: E402
from ase_vibent.training.rows import ALWAYS, TrainingRows, gather_rows, split_folds  # noqa: E402
from ase_vibent.training.selection import select  # noqa: E402
from ase_vibent.training.training_set import TrainingSet  # noqa: E402

WEIGHTS = {"total": 60.0, "gradient": 1.0}
SEEDS = 10
WAYS = {"random": None, "select": None, "select by totals": ("total",)}


def tasks() -> list[LabelTask]:
    """Perfect crystals of all strains, then the pool."""
    crystals = {"perfect": bulk("Si", "diamond", a=5.431, cubic=True) * (2, 1, 1)}
    crystals |= {f"strain{e}": apply_strain(crystals["perfect"], e) for e in (-0.01, 0.02)}
    crystal = crystals["perfect"]
    # Displaced first: a symmetric dumbbell is a saddle, from which nothing would move.
    defects = [
        relax(rattle(atoms, 0.1, 1, 3)[0], stillinger_weber_silicon, fmax=1e-3)
        for atoms in (vacancies(crystal)[0], dumbbells(crystal, directions=[(1, 1, 1)])[0])
    ]
    plan = [
        ("perfect", crystal, 0.3, 70),
        ("perfect", defects[0], 0.2, 40),
        ("perfect", defects[1], 0.1, 30),
        ("strain-0.01", crystals["strain-0.01"], 0.3, 15),
        ("strain0.02", crystals["strain0.02"], 0.3, 15),
    ]
    made = [LabelTask(atoms, name=name, labels=["gradient"]) for name, atoms in crystals.items()]
    for seed, (name, atoms, amplitude, count) in enumerate(plan):
        made += [
            LabelTask(copy, reference=name, labels=["gradient"], unstable="any")
            for copy in rattle(atoms, amplitude, count, seed)
        ]
    return made


def labelled() -> list[Atoms]:
    """Labels of the pool, from the file where they are there."""
    spec, wanted = CalculatorSpec("sw-si"), tasks()
    began = perf_counter()
    summary = label_structures(
        wanted, options.labels, spec, calculator_name=spec.text, n_jobs=options.j
    )
    print(f"{summary.done} structures labelled in {perf_counter() - began:.0f} s")
    if summary.failed:
        raise SystemExit(f"labelling failed: {summary.failed[0]}")
    return labelled_frames(wanted, options.labels, spec.text)


def fit(rows: TrainingRows, folds: list[int]) -> LinearFit:
    """Ridge regression on some configurations and the crystals."""
    return rows.problem.fit(rows.merge(WEIGHTS, folds={*folds, ALWAYS}), "ridge", {})


def model_of(found: LinearFit) -> SiteModel:
    """Site model with the posterior that choices are made by."""
    return replace(
        found.model(),
        header={
            "row_weights": WEIGHTS,
            "quantities": list(WEIGHTS),
            "solver": {"noise": found.solution.noise},
        },
        posterior=posterior(found, WEIGHTS),
    )


def errors(rows: TrainingRows, found: LinearFit, test: list[int]) -> tuple[float, float, float]:
    """RMSE of totals and of gradients, and the largest error of a total."""
    coefficients = found.solution.coefficients
    left_out = [t for t in rows.totals if t.fold in set(test)]
    of_totals = np.array([t.row @ coefficients - t.value for t in left_out])
    gradients = [rows.r_factors[fold]["gradient"] for fold in test]
    squares = sum(float(t.squared_residual(coefficients)) for t in gradients)
    return (
        float(np.sqrt(np.mean(of_totals**2))),
        float(np.sqrt(squares / sum(t.n_rows for t in gradients))),
        float(np.abs(of_totals).max()),
    )


def curve(
    rows: TrainingRows,
    structures: dict[int, Atoms],
    train: list[int],
    test: list[int],
    way: str,
    random: np.random.Generator,
) -> list[tuple[float, float, float]]:
    """Errors as labels are added."""
    chosen, found = train[:SEEDS], []
    while True:
        solution = fit(rows, chosen)
        found.append(errors(rows, solution, test))
        if len(chosen) >= options.most:
            return found
        rest = [fold for fold in train if fold not in chosen]
        if way == "random":
            picked = random.choice(len(rest), options.batch, replace=False).tolist()
        else:
            pool = [structures[fold] for fold in rest]
            choices = select(model_of(solution), pool, options.batch, quantities=WAYS[way])
            picked = [choice.index for choice in choices]
        chosen = [*chosen, *(rest[k] for k in picked)]


def plot(sizes: range, curves: dict[str, np.ndarray]) -> None:
    """Median and range of the repeats."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    titles = ("total entropy, RMSE (k_B)", "gradient, RMSE (k_B/Å)", "worst total (k_B)")
    for k, (axes, title) in enumerate(zip(figure.subplots(1, 3), titles, strict=True)):
        for way, values in curves.items():
            (line,) = axes.plot(sizes, np.median(values[..., k], axis=0), ".-", label=way)
            bounds = values[..., k].min(axis=0), values[..., k].max(axis=0)
            axes.fill_between(sizes, *bounds, color=line.get_color(), alpha=0.15, lw=0)
        axes.set(xlabel="labelled structures", title=title, yscale="log")
    figure.axes[0].legend(frameon=False)
    figure.savefig(options.plot, dpi=150)


def main() -> None:
    frames = labelled()
    began = perf_counter()
    training_set = TrainingSet.of(frames, tuple(WEIGHTS))
    descriptor = ACE(["Si"], cutoff=5.0, order=3, degree=options.degree)
    folds = split_folds(frames, None)
    rows = gather_rows(FrameFeatures(descriptor), training_set, folds=folds)
    structures = dict(zip(folds, frames, strict=True))
    curves: dict[str, list] = {way: [] for way in WAYS}
    for repeat in range(options.repeats):
        order = np.random.default_rng(repeat).permutation(rows.folds).tolist()
        n_test = len(order) // 3
        for way in WAYS:
            random = np.random.default_rng(repeat)
            curves[way].append(curve(rows, structures, order[n_test:], order[:n_test], way, random))
    arrays = {way: np.array(values) for way, values in curves.items()}
    sizes = range(SEEDS, options.most + 1, options.batch)
    print(
        f"{len(order)} structures, {n_test} held out, {descriptor.n_features} functions, "
        f"{options.repeats} repeats, {perf_counter() - began:.0f} s"
    )
    print(
        f"{'labels':>6}"
        + "".join(f"{way + ': total':>24} {'gradient':>9} {'worst':>8}" for way in WAYS)
    )
    for k, size in enumerate(sizes):
        medians = [np.median(values[:, k], axis=0) for values in arrays.values()]
        print(f"{size:>6}" + "".join(f"{m[0]:>24.4f} {m[1]:>9.4f} {m[2]:>8.3f}" for m in medians))
    if options.plot:
        plot(sizes, arrays)


if __name__ == "__main__":
    main()
