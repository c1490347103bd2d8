"""Error bars and the extrapolation grade: do they hold, do they tell unseen defects from seen ones.

    python benchmarks/uncertainty.py [--folder uncertainty] [--draws 10] [-j 2] [--plot FILE]

Stillinger-Weber silicon in cells of 2 × 2 × 1 cubic cells. Training: rattled crystals and
vacancies, drawn several times from one pool. Held out: the rest of it, on which intervals of 50,
80 and 95 % are counted (goal: within 5 points for either kind). Unseen: interstitials and
divacancies; the area under the ROC curve of the largest grade of a structure, unseen against held
out (goal: 0.95), and how many cells exceed a limit. With --quadratic, of EQML.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.units import kB
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from ase_vibent import SiteEntropyCalculator, train
from ase_vibent.calculators.surrogate_base import EXTRAPOLATION_LIMIT
from ase_vibent.labelling.run import LabelTask, label_structures, labelled_frames
from ase_vibent.potentials import CalculatorSpec, stillinger_weber_silicon
from ase_vibent.stationary import relax
from ase_vibent.structures import divacancies, interstitials, rattle, vacancies
from ase_vibent.training.report import evaluate_frames
from ase_vibent.training.targets import ReferenceCrystals

LATTICE = 5.4310
AMPLITUDE = 0.12
#: Structures of each kind: for training, and beyond it.
COUNTS = {"bulk": (30, 200), "vacancy": (60, 200), "interstitial": (0, 30), "divacancy": (0, 30)}
COVERAGES = (0.5, 0.8, 0.95)
LIMITS = (1.0, 1.5, 2.0, 3.0, 4.0)


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
        minima = [relax(atoms, potential, fmax=1e-3) for atoms in unrelaxed]
        share = -(-sum(COUNTS[kind]) // len(minima))
        every = [
            atoms
            for place, minimum in enumerate(minima)
            for atoms in rattle(minimum, AMPLITUDE, share, seed + 100 * number + place)
        ]
        order = np.random.default_rng(seed).permutation(len(every))[: sum(COUNTS[kind])]
        found[kind] = [every[k] for k in order]
    return found


def labelled(by_kind: dict[str, list[Atoms]], folder: Path, n_jobs: int) -> dict[str, list[Atoms]]:
    """The same with labels, and the crystal under "crystal"."""
    crystal = bulk("Si", "diamond", a=LATTICE, cubic=True) * (2, 2, 1)
    spec = CalculatorSpec("sw-si")
    labels = ["gradient"]
    tasks = {"crystal": [LabelTask(crystal, name="perfect", labels=labels)]}
    for kind, members in by_kind.items():
        tasks[kind] = [
            LabelTask(atoms, reference="perfect", unstable="any", labels=labels)
            for atoms in members
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


class Found(NamedTuple):
    """Of unseen cells: errors of totals and their standard deviations (k_B), largest grades."""

    errors: np.ndarray
    deviations: np.ndarray
    grades: np.ndarray


def draw(frames: dict[str, list[Atoms]], seed: int, **options: Any) -> dict[str, Found]:
    """Train on some of the pool and look at all other cells."""
    rng = np.random.default_rng(seed)
    fitted, held = list(frames["crystal"]), {}
    for kind, (n, _) in COUNTS.items():
        order = rng.permutation(len(frames[kind]))
        fitted += [frames[kind][k] for k in order[:n]]
        held[kind] = [frames[kind][k] for k in order[n:]]
    model = train(fitted, **options)
    posterior = model.posterior
    assert posterior is not None
    print(
        f"{model.descriptor.n_features} functions, {len(fitted)} frames, "
        f"weights {model.header['row_weights']}, noise {float(posterior.noise):.1e} k_B, "
        f"scale {float(posterior.scale):.2f}, exponent {float(posterior.exponent):.2f}",
        flush=True,
    )
    calculator = SiteEntropyCalculator(model, extrapolation="ignore")
    references, found = ReferenceCrystals(fitted), {}
    for kind, cells in held.items():
        comparison = evaluate_frames(model, cells, references)["total"]
        found[kind] = Found(
            comparison.predicted - comparison.exact,
            np.array([calculator.get_property("entropy_std", a) / kB for a in cells]),
            np.array([calculator.get_property("extrapolation_grades", a).max() for a in cells]),
        )
    return found


def inside(found: Found) -> list[float]:
    """Share of errors inside the intervals."""
    scores = np.abs(found.errors / found.deviations)
    return [float(np.mean(scores < norm.ppf((1 + c) / 2))) for c in COVERAGES]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("uncertainty"))
    parser.add_argument("-j", type=int, default=2, help="processes for labelling")
    parser.add_argument("--seed", type=int, default=0, help="of the structures")
    parser.add_argument("--draws", type=int, default=10, help="training sets")
    parser.add_argument("--quadratic", action="store_true")
    parser.add_argument("--plot", help="histogram of the grades and of the errors")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    frames = labelled(structures(options.seed), options.folder, options.j)
    draws = [draw(frames, k, quadratic=options.quadratic) for k in range(options.draws)]
    found = {
        kind: Found(*map(np.concatenate, zip(*(d[kind] for d in draws), strict=True)))
        for kind in COUNTS
    }
    seen = Found(*map(np.concatenate, zip(found["bulk"], found["vacancy"], strict=True)))
    print(
        f"\n{'kind':<14} {'cells':>5} {'RMSE':>9} {'mean std':>9} "
        + " ".join(f"{f'{c:.0%}':>6}" for c in COVERAGES)
        + f" {'grade: median':>14} {'ROC area':>9} "
        + " ".join(f"{f'> {limit:g}':>6}" for limit in LIMITS)
    )
    for kind, result in {**found, "held out": seen}.items():
        area = ""
        if kind in COUNTS and not COUNTS[kind][0]:
            truth = np.repeat([0, 1], [len(seen.grades), len(result.grades)])
            area = f"{roc_auc_score(truth, np.append(seen.grades, result.grades)):.4f}"
        print(
            f"{kind:<14} {len(result.errors):>5} {np.sqrt(np.mean(result.errors**2)):>9.2e} "
            f"{result.deviations.mean():>9.2e} "
            + " ".join(f"{c:>6.1%}" for c in inside(result))
            + f" {np.median(result.grades):>14.2f} {area:>9} "
            + " ".join(f"{np.mean(result.grades > limit):>6.1%}" for limit in LIMITS)
        )
    for kind in ("bulk", "vacancy"):
        single = np.array([inside(d[kind]) for d in draws])
        print(
            f"{kind}: standard deviation between draws", *(f"{s:.1%}" for s in single.std(axis=0))
        )
    if options.plot:
        plot(found, options.plot)


def plot(found: dict[str, Found], path: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    edges = np.geomspace(0.1, max(f.grades.max() for f in found.values()) * 1.1, 50)
    for kind, result in found.items():
        left.hist(result.grades, edges, histtype="step", label=kind)
    left.axvline(EXTRAPOLATION_LIMIT, color="0.5", lw=0.8)
    left.set(xscale="log", xlabel="largest extrapolation grade of a cell", ylabel="cells")
    left.legend(frameon=False)
    for kind in ("bulk", "vacancy"):
        scores = found[kind].errors / found[kind].deviations
        right.hist(scores, np.linspace(-4, 4, 33), density=True, histtype="step", label=kind)
    x = np.linspace(-4, 4, 200)
    right.plot(x, norm.pdf(x), lw=0.8, color="0.5")
    right.set(xlabel="error / standard deviation (held out)", ylabel="density")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
