"""Error bars and the extrapolation grade: do they hold, do they tell unseen defects from seen ones.

    python benchmarks/uncertainty.py [--folder uncertainty] [-j 2] [--plot FILE]

Stillinger-Weber silicon in cells of 2 × 2 × 1 cubic cells. Training: rattled crystals and
vacancies. Held out: more of both, on which intervals of 50, 80 and 95 % are counted (goal:
within 5 points). Unseen: interstitials and divacancies; the area under the ROC curve
of the largest grade of a structure, unseen against held out (goal: 0.95).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.units import kB
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from ase_vibent import SiteEntropyCalculator, train
from ase_vibent.label_run import LabelTask, label_structures, labelled_frames
from ase_vibent.potentials import CalculatorSpec, stillinger_weber_silicon
from ase_vibent.structures import divacancies, interstitials, rattled, relaxed, vacancies
from ase_vibent.training.report import evaluate_frames
from ase_vibent.training.targets import ReferenceCrystals

LATTICE = 5.4310
AMPLITUDE = 0.12
#: Structures of each kind: for training, and beyond it.
COUNTS = {"bulk": (30, 60), "vacancy": (60, 90), "interstitial": (0, 30), "divacancy": (0, 30)}
COVERAGES = (0.5, 0.8, 0.95)


def structures(seed: int) -> dict[str, list[Atoms]]:
    """Rattled structures by kind."""
    crystal = bulk("Si", "diamond", a=LATTICE, cubic=True) * (2, 2, 1)
    potential = stillinger_weber_silicon()
    starts = {
        "bulk": [crystal],
        "vacancy": vacancies(crystal),
        "interstitial": list(interstitials(crystal)),
        "divacancy": divacancies(crystal),
    }
    found = {}
    for number, (kind, unrelaxed) in enumerate(starts.items()):
        minima = [relaxed(atoms, potential, fmax=1e-3) for atoms in unrelaxed]
        share = -(-sum(COUNTS[kind]) // len(minima))
        every = [
            atoms
            for place, minimum in enumerate(minima)
            for atoms in rattled(minimum, AMPLITUDE, share, seed + 100 * number + place)
        ]
        order = np.random.default_rng(seed).permutation(len(every))[: sum(COUNTS[kind])]
        found[kind] = [every[k] for k in order]
    return found


def labelled(by_kind: dict[str, list[Atoms]], folder: Path, n_jobs: int) -> dict[str, list[Atoms]]:
    """The same with labels, and the crystal under "crystal"."""
    crystal = bulk("Si", "diamond", a=LATTICE, cubic=True) * (2, 2, 1)
    spec = CalculatorSpec("sw-si")
    wanted = {"gradient": True, "sites": False}
    tasks = {"crystal": [LabelTask(crystal, name="perfect", **wanted)]}
    for kind, members in by_kind.items():
        tasks[kind] = [
            LabelTask(atoms, reference="perfect", unstable="any", **wanted) for atoms in members
        ]
    path = folder / "labels.xyz"
    flat = [task for members in tasks.values() for task in members]
    summary = label_structures(
        flat,
        path,
        spec,
        calculator_name=spec.text,
        n_jobs=n_jobs,
        progress=lambda items, total: tqdm(items, total=total, unit="cell", disable=None),
    )
    assert not summary.failed, summary.failed
    return {kind: labelled_frames(members, path, spec.text) for kind, members in tasks.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("uncertainty"))
    parser.add_argument("-j", type=int, default=2, help="processes for labelling")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", help="histogram of the grades and of the errors")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    frames = labelled(structures(options.seed), options.folder, options.j)
    fitted = frames["crystal"] + [a for k, (n, _) in COUNTS.items() for a in frames[k][:n]]
    model = train(fitted)
    print(f"{model.descriptor}\n{model.descriptor.n_features} functions, {len(fitted)} frames")
    posterior = model.posterior
    assert posterior is not None
    print(
        f"weights {model.header['row_weights']}, noise {float(posterior.noise):.1e} k_B, "
        f"scale {float(posterior.scale):.2f}\n"
    )
    calculator = SiteEntropyCalculator(model, extrapolation="ignore")
    references = ReferenceCrystals(fitted)
    print(
        f"{'kind':<14} {'cells':>5} {'RMSE':>9} {'mean std':>9} "
        + " ".join(f"{f'{c:.0%}':>6}" for c in COVERAGES)
        + f" {'grade: median':>14} {'largest':>8} {'ROC area':>9}"
    )
    scores, grades = {}, {}
    for kind, (n, _) in COUNTS.items():
        held = frames[kind][n:]
        comparison = evaluate_frames(model, held, references)["entropy"]
        errors = comparison.predicted - comparison.exact
        deviations = np.array([calculator.get_property("entropy_std", a) / kB for a in held])
        grades[kind] = [calculator.get_property("extrapolation_grades", a).max() for a in held]
        scores[kind] = errors / deviations
        inside = [np.mean(np.abs(scores[kind]) < norm.ppf((1 + c) / 2)) for c in COVERAGES]
        area = ""
        if not n:
            seen = grades["bulk"] + grades["vacancy"]
            truth = [0] * len(seen) + [1] * len(held)
            area = f"{roc_auc_score(truth, seen + grades[kind]):.4f}"
        print(
            f"{kind:<14} {len(held):>5} {np.sqrt(np.mean(errors**2)):>9.2e} "
            f"{deviations.mean():>9.2e} "
            + " ".join(f"{c:>6.0%}" for c in inside)
            + f" {np.median(grades[kind]):>14.2f} {max(grades[kind]):>8.2f} {area:>9}"
        )
    seen_scores = np.concatenate([scores["bulk"], scores["vacancy"]])
    inside = [np.mean(np.abs(seen_scores) < norm.ppf((1 + c) / 2)) for c in COVERAGES]
    print("held out, both kinds: " + ", ".join(f"{i:.1%}" for i in inside) + " inside")
    if options.plot:
        plot(scores, grades, options.plot)


def plot(scores: dict[str, np.ndarray], grades: dict[str, list[float]], path: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    edges = np.geomspace(0.2, max(map(max, grades.values())) * 1.1, 50)
    for kind, values in grades.items():
        left.hist(values, edges, histtype="step", label=kind)
    left.axvline(1.5, color="0.5", lw=0.8)
    left.set(xscale="log", xlabel="largest extrapolation grade of a cell", ylabel="cells")
    left.legend(frameon=False)
    seen = np.concatenate([scores["bulk"], scores["vacancy"]])
    right.hist(seen, np.linspace(-4, 4, 33), density=True, histtype="step")
    x = np.linspace(-4, 4, 200)
    right.plot(x, norm.pdf(x), lw=0.8, color="0.5")
    right.set(xlabel="error / standard deviation (held out)", ylabel="density")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
