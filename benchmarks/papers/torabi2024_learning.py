"""[Torabi2024] 4.2 and 4.3, Figs. 7 to 10: learning curves of total and site entropies of silicon.

    python benchmarks/papers/torabi2024_learning.py [--figure 7|8|9|10] [--folder p0-silicon] [-j 2]

Cells of 2 × 2 × 1 cubic cells. Figs. 8 and 9: rattled crystals, vacancies, divacancies and
interstitials (the most stable one) in equal numbers, 16 to 200 of them in training, 20 of each
kind in the test (5 for sites), cutoffs of 4 to 7 Å; totals and their gradients (Fig. 8), sites
and theirs (Fig. 9); errors of all kinds together, and of each with the largest training set.
Figs. 7 and 10: models of totals against models of sites where both predict totals, trained on
vacancies (0.1 Å), tested on crystals (0.08 Å); over configurations at two cutoffs (10a), over the
size of the basis (10b). The paper shows curves without numbers. Labels are kept in the folder,
figures saved there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from matplotlib.figure import Figure
from torabi2024_silicon import crystal, relaxed_vacancy, run_labels
from tqdm import tqdm

from ase_vibent import ACE
from ase_vibent.labelling.run import LabelTask
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.quantities import DEFAULT_WEIGHTS
from ase_vibent.stationary import relax
from ase_vibent.structures import divacancies, dumbbells, interstitials, rattle
from ase_vibent.training.cross_validation import held_out_errors
from ase_vibent.training.features import FrameFeatures
from ase_vibent.training.rows import ALWAYS, TrainingRows, gather_rows
from ase_vibent.training.training_set import TrainingSet

CUTOFFS = (4.0, 5.0, 6.0, 7.0)
KINDS = ("crystal", "vacancy", "divacancy", "interstitial")
SIZES = {8: (16, 32, 64, 100, 140, 200), 9: (16, 32, 64)}
#: Degrees of totals and of sites in the paper, and of Fig. 10b.
DEGREE = {8: 14, 9: 16}
DEGREES = (6, 8, 10, 12, 14, 16)
TOTALS, SITES = ("total", "gradient"), ("sites", "site_gradients")


def four_kinds() -> list[list[Atoms]]:
    """70 rattled cells of each kind: 50 to train on, 20 to test."""
    perfect = crystal()
    potential = stillinger_weber_silicon()
    starts = [
        perfect,
        relaxed_vacancy(),
        relax(divacancies(perfect)[0], potential, fmax=1e-3),
        min(
            (
                relax(rattle(atoms, 0.1, 1, 3)[0], potential, fmax=1e-3)
                for atoms in (*interstitials(perfect), *dumbbells(perfect))
            ),
            key=lambda atoms: float(atoms.get_potential_energy()),
        ),
    ]
    return [rattle(start, 0.1, 70, 500 + k) for k, start in enumerate(starts)]


def labelled(
    name: str, structures: Sequence[Atoms], folder: Path, n_jobs: int, *, sites: bool
) -> list[Atoms]:
    """The perfect crystal and the structures, with labels."""
    labels = ["gradient", *(SITES if sites else ())]
    tasks = [LabelTask(crystal(), name="perfect", mesh="gamma", labels=labels)]
    tasks += [
        LabelTask(atoms, reference="perfect", unstable="any", mesh="gamma", labels=labels)
        for atoms in structures
    ]
    return run_labels(tasks, folder / f"{name}.xyz", n_jobs)


def basis(cutoff: float, degree: float) -> ACE:
    return ACE(["Si"], cutoff=cutoff, order=3, degree=degree, inner=2.0)


def rows_of(frames: Sequence[Atoms], descriptor: ACE, quantities: Sequence[str]) -> TrainingRows:
    """Every frame in a fold of its own, in their order."""
    training_set = TrainingSet.of(frames, quantities)
    folds = [ALWAYS, *range(len(frames) - 1)]
    return gather_rows(
        FrameFeatures(descriptor),
        training_set,
        folds=folds,
        progress=lambda items: tqdm(items, disable=None),
    )


def total_error(rows: TrainingRows, train: Sequence[int], test: Sequence[int]) -> float:
    """RMSE of totals, whatever was fitted, k_B."""
    merged = rows.merge(DEFAULT_WEIGHTS, folds={*train, ALWAYS})
    coefficients = rows.problem.fit(merged, "ridge", {}).solution.coefficients
    left = [total for total in rows.totals if total.fold in test]
    errors = [total.row @ coefficients - total.value for total in left]
    return float(np.sqrt(np.mean(np.square(errors))))


def curves(figure: int, folder: Path, n_jobs: int) -> None:
    """Figs. 8 and 9: errors over configurations for four cutoffs."""
    sizes, quantities = SIZES[figure], TOTALS if figure == 8 else SITES
    per_kind = sizes[-1] // 4
    kinds = four_kinds()
    n_test = 20 if figure == 8 else 5
    order = [kinds[k % 4][k // 4] for k in range(4 * per_kind)]
    order += [kinds[k % 4][50 + k // 4] for k in range(4 * n_test)]
    frames = labelled(f"four-kinds-{figure}", order, folder, n_jobs, sites=figure == 9)
    test = list(range(4 * per_kind, 4 * (per_kind + n_test)))
    results = {}
    print(
        f"Fig. {figure}: RMSE of {quantities[0]} (k_B) / {quantities[1]} (k_B/Å), {len(test)} cells"
    )
    print(f"{'cutoff':>6} {'functions':>9}  " + "  ".join(f"{n:>19}" for n in sizes))
    for cutoff in CUTOFFS:
        descriptor = basis(cutoff, DEGREE[figure])
        rows = rows_of(frames, descriptor, quantities)
        errors = [errors_of(rows, n, test) for n in sizes]
        results[cutoff] = errors
        print(f"{cutoff:>6g} {descriptor.n_features:>9}  " + joined(errors, quantities), flush=True)
        for number, kind in enumerate(KINDS):
            by_size = [errors_of(rows, sizes[-1], test[number::4])]
            print(f"{kind:>{18 + 21 * (len(sizes) - 1)}}  {joined(by_size, quantities)}")
    drawing = Figure(figsize=(8.5, 3.6), layout="constrained")
    for panel, kind, unit in zip(drawing.subplots(1, 2), quantities, ("k_B", "k_B/Å"), strict=True):
        for cutoff, errors in results.items():
            panel.loglog(sizes, [e[kind] for e in errors], "o-", ms=4, label=f"{cutoff:g} Å")
        panel.set(xlabel="training configurations", ylabel=f"RMSE ({unit})", title=kind)
        panel.set_xticks(sizes, [str(n) for n in sizes])
        panel.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
        panel.legend(frameon=False)
    drawing.savefig(folder / f"fig{figure}.png", dpi=150)


def errors_of(rows: TrainingRows, n_train: int, test: Sequence[int]) -> dict[str, float]:
    """RMSE by kind of row of a fit to the first configurations."""
    return held_out_errors(rows, range(n_train), test, DEFAULT_WEIGHTS, "ridge", {}).rmse


def joined(errors: Sequence[dict[str, float]], quantities: Sequence[str]) -> str:
    return "  ".join(f"{e[quantities[0]]:.2e} / {e[quantities[1]]:.2e}" for e in errors)


def totals_against_sites(folder: Path, n_jobs: int) -> None:
    """Figs. 7 and 10: both kinds of model predict totals of rattled crystals."""
    vacancies = rattle(relaxed_vacancy(), 0.1, 50, 901)
    crystals = rattle(crystal(), 0.08, 50, 902)
    train = labelled("vacancy-sites", vacancies, folder, n_jobs, sites=True)
    test = labelled("crystal-totals", crystals, folder, n_jobs, sites=False)
    frames, n = [*train, *test[1:]], len(vacancies)
    held = range(n, n + len(crystals))
    models = {"totals": TOTALS, "sites": SITES}
    sizes = (6, 12, 25, 50)
    drawing = Figure(figsize=(8.5, 3.6), layout="constrained")
    left, right = drawing.subplots(1, 2)
    print("Figs. 7, 10: RMSE of totals (k_B) of rattled crystals, trained on vacancies")
    print("fitted to  cutoff  functions  " + "  ".join(f"{k:>3} cells" for k in sizes))
    for cutoff in (5.0, 7.0):
        for name, quantities in models.items():
            rows = rows_of(frames, basis(cutoff, 14), quantities)
            errors = [total_error(rows, range(k), held) for k in sizes]
            cells = "  ".join(f"{e:>9.2e}" for e in errors)
            print(f"{name:<9} {cutoff:>7g} {basis(cutoff, 14).n_features:>10}  {cells}", flush=True)
            left.loglog(sizes, errors, "o-", ms=4, label=f"{name}, {cutoff:g} Å")
            if cutoff == 5.0:
                over_basis(rows, name, range(n), held, right)
    left.set(xlabel="training configurations", ylabel="RMSE of totals (k_B)")
    right.set(xlabel="functions", ylabel="RMSE of totals (k_B)")
    left.legend(frameon=False)
    right.legend(frameon=False)
    drawing.savefig(folder / "fig10.png", dpi=150)


def over_basis(
    rows: TrainingRows, name: str, train: Sequence[int], held: Sequence[int], panel: object
) -> None:
    """Fig. 10b: smaller bases are parts of the largest."""
    largest = rows.problem.descriptor
    points = []
    for degree in DEGREES:
        if degree > largest.degree:
            break
        smaller = basis(largest.cutoff, degree)
        part = rows.restrict(smaller)
        points.append((smaller.n_features, total_error(part, train, held)))
    print(f"{name:<9} over the basis: " + ", ".join(f"{n} {e:.2e}" for n, e in points), flush=True)
    panel.loglog(*zip(*points, strict=True), "o-", ms=4, label=name)  # type: ignore[attr-defined]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--figure", type=int, choices=(7, 8, 9, 10), default=8)
    parser.add_argument("--folder", type=Path, default=Path("p0-silicon"))
    parser.add_argument("-j", type=int, default=2, help="processes for labelling")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.figure in (8, 9):
        curves(options.figure, options.folder, options.j)
    else:
        totals_against_sites(options.folder, options.j)


if __name__ == "__main__":
    main()
