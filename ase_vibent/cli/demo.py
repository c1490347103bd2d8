"""`vibent demo`: the whole path on Stillinger-Weber silicon with a vacancy."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.mixing import SumCalculator
from ase.optimize import BFGS
from ase.units import kB

from ase_vibent import dataset
from ase_vibent.calculators.hessian import HessianEntropyCalculator
from ase_vibent.calculators.surrogate import SiteEntropyCalculator
from ase_vibent.cli.shared.arguments import positive_number
from ase_vibent.cli.shared.files import json_ready, progress_bar
from ase_vibent.cli.shared.output import write_result
from ase_vibent.descriptors import ACE
from ase_vibent.errors import VibentError
from ase_vibent.figures import parity_plot
from ase_vibent.files.writing import append_bytes, write_text
from ase_vibent.labelling.run import LabelTask, label_structures, labelled_frames
from ase_vibent.model import SiteModel
from ase_vibent.potentials import CalculatorSpec, stillinger_weber_silicon
from ase_vibent.stationary import relax
from ase_vibent.structures import rattle, vacancies
from ase_vibent.training.report import evaluate_frames, format_metrics
from ase_vibent.training.targets import ReferenceCrystals
from ase_vibent.training.trainer import train

LATTICE = 5.4310
TEMPERATURE = 600.0
#: [Torabi2024] Fig. 5, RMSE in k_B and k_B/Å; 70 training cells of 2 × 2 × 1 there, 27 of 2 × 2 × 2
#: here.
PAPER = {"bulk": (1.68e-4, 1.46e-3), "vacancy": (3.81e-4, 2.56e-3)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("-o", "--output", default="vibent-demo", help="folder for the results")
    parser.add_argument(
        "-j", type=positive_number, default=2, metavar="N", help="processes for labelling"
    )


def run(options: argparse.Namespace) -> int:
    """Label, train, test, predict a large cell, relax on the free energy; write it all."""
    began = time.perf_counter()
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    say = _Log(folder / "report.txt", quiet=options.json)
    say("Stillinger-Weber silicon with a vacancy\n")
    frames, groups = _label(folder, options.j, say)
    model, errors = _train(frames, groups, folder, say)
    result = {
        "errors": errors,
        "formation": _formation(model, frames[0], say),
        "relaxation": _relax(folder / "si.vibent", say),
        "seconds": time.perf_counter() - began,
    }
    write_text(folder / "report.json", json.dumps(json_ready(result), indent=2, allow_nan=False))
    say(f"\n{result['seconds']:.0f} s in all. Results in {folder.resolve()}:")
    say("  si.vibent    coefficient file: SiteEntropyCalculator('si.vibent', temperature=600)")
    say("  labels.xyz   exact labels      report.txt, report.json   these tables")
    say("  parity.png   predicted against exact, held-out cells")
    if options.json:
        write_result(json.dumps(json_ready(result), indent=2, allow_nan=False))
    return 0


class _Log:
    """Prints lines and keeps them in a file."""

    def __init__(self, path: Path, *, quiet: bool):
        self._path, self._quiet = path, quiet
        write_text(path, "")

    def __call__(self, line: str) -> None:
        if not self._quiet:
            write_result(line)
        append_bytes(self._path, f"{line}\n".encode())


_Say = Callable[[str], None]


def _crystal(repeats: int) -> Atoms:
    return bulk("Si", "diamond", a=LATTICE, cubic=True) * (repeats, repeats, repeats)


@cache
def _relaxed_vacancy(repeats: int) -> Atoms:
    (vacancy,) = vacancies(_crystal(repeats))
    return relax(vacancy, stillinger_weber_silicon, fmax=1e-4)


def _label(folder: Path, n_jobs: int, say: _Say) -> tuple[list[Atoms], dict[str, list[Atoms]]]:
    vacancy = _relaxed_vacancy(2)
    plan = {
        "train": rattle(vacancy, 0.1, 20, 1) + rattle(_crystal(2), 0.1, 6, 2),
        "bulk": rattle(_crystal(2), 0.08, 10, 3),
        "vacancy": rattle(vacancy, 0.1, 10, 4),
    }
    tasks = [LabelTask(_crystal(2), name="perfect", labels=["gradient"])]
    tasks += [
        LabelTask(atoms, reference="perfect", labels=["gradient"], unstable="any")
        for group in plan.values()
        for atoms in group
    ]
    spec, began = CalculatorSpec("sw-si"), time.perf_counter()
    summary = label_structures(
        tasks,
        folder / "labels.xyz",
        spec,
        calculator_name=spec.text,
        n_jobs=n_jobs,
        progress=lambda items, total: progress_bar(items, total, "labelling"),
    )
    if summary.failed:
        raise VibentError(f"labelling failed: {summary.failed[0][1]}")
    say(
        f"labels: {summary.done} cells of 63 and 64 atoms in {time.perf_counter() - began:.0f} s"
        f" ({summary.skipped} were there already); entropy and gradient, exact"
    )
    frames = labelled_frames(tasks, folder / "labels.xyz", spec.text)
    groups, first = {}, 1
    for name, group in plan.items():
        groups[name] = frames[first : first + len(group)]
        first += len(group)
    return [frames[0], *groups["train"]], groups


def _train(
    frames: list[Atoms], groups: dict[str, list[Atoms]], folder: Path, say: _Say
) -> tuple[SiteModel, dict[str, Any]]:
    began = time.perf_counter()
    held_out = groups["bulk"] + groups["vacancy"]
    descriptor = ACE(["Si"], cutoff=5.0, order=3, degree=16)
    model = train(frames, descriptor, test=held_out)
    model.save(folder / "si.vibent")
    say(
        f"training: {len(frames)} cells, {model.header['n_rows']} rows, {descriptor.n_features} "
        f"functions in {time.perf_counter() - began:.0f} s, compilation included\n"
    )
    references = ReferenceCrystals(frames)
    comparisons = {
        name: evaluate_frames(model, groups[name], references) for name in ("bulk", "vacancy")
    }
    errors = {
        name: {kind: c.metrics() for kind, c in kinds.items()}
        for name, kinds in comparisons.items()
    }
    say(f"errors on held-out cells\n{format_metrics(errors)}")
    for name, (entropy, gradient) in PAPER.items():
        say(
            f"  [Torabi2024] Fig. 5, {name:<8} {entropy:.2e} k_B, {gradient:.2e} k_B/Å "
            "(2 × 2 × 1 cells, 70 in training)"
        )
    parity_plot(comparisons, folder / "parity.png")
    return model, errors


def _formation(model: SiteModel, reference: Atoms, say: _Say) -> dict[str, float]:
    """Vacancy formation entropy in a cell 8 times larger than the training cell."""
    crystal, vacancy = _crystal(4), _relaxed_vacancy(4)
    surrogate = SiteEntropyCalculator(model)
    exact = HessianEntropyCalculator(stillinger_weber_silicon())
    seconds, totals = {}, {}
    for name, calculator in (("surrogate", surrogate), ("exact", exact)):
        began = time.perf_counter()
        totals[name] = [calculator.get_property("entropy", a) / kB for a in (vacancy, crystal)]
        seconds[name] = time.perf_counter() - began
    bulk_site = reference.arrays[dataset.BULK].mean() / kB
    values = {name: v - b + bulk_site for name, (v, b) in totals.items()}
    own = exact.get_property("entropy", _relaxed_vacancy(2)) - reference.info[dataset.ENTROPY]
    values["exact in the training cell"] = own / kB + bulk_site
    ratio = seconds["exact"] / seconds["surrogate"]
    say("\nvacancy formation entropy, S(vacancy) - S(crystal) + converged bulk value of one atom")
    say(
        f"  exact, {len(crystal)} atoms       {values['exact']:8.4f} k_B  {seconds['exact']:7.2f} s"
    )
    say(
        f"  surrogate, {len(crystal)} atoms   {values['surrogate']:8.4f} k_B  "
        f"{seconds['surrogate']:7.3f} s, {ratio:.0f} times faster"
    )
    say(
        f"  exact, {len(reference)} atoms        {values['exact in the training cell']:8.4f} k_B  "
        "what the training cells know"
    )
    return {
        **{f"{name}, k_B": value for name, value in values.items()},
        **{f"{name}, s": value for name, value in seconds.items()},
    }


def _relax(path: Path, say: _Say) -> dict[str, float]:
    """Relax the vacancy on E + F_vib(T)."""
    atoms = _relaxed_vacancy(2).copy()
    start = atoms.positions.copy()
    entropic = SiteEntropyCalculator(path, temperature=TEMPERATURE)
    atoms.calc = SumCalculator([stillinger_weber_silicon(), entropic])
    before = atoms.get_potential_energy()
    optimizer = BFGS(atoms, logfile=None)
    converged = optimizer.run(fmax=1e-3, steps=200)
    after = atoms.get_potential_energy()
    moved = float(np.linalg.norm(atoms.positions - start, axis=1).max())
    say(
        f"\nrelaxation on E + F_vib({TEMPERATURE:.0f} K) with SumCalculator: "
        f"{'converged' if converged else 'not converged'} in {optimizer.nsteps} steps,"
        f"\n  free energy {1e3 * (after - before):.3f} meV, largest shift of an atom {moved:.4f} Å"
    )
    return {
        "converged": float(converged),
        "steps": float(optimizer.nsteps),
        "free_energy_change_eV": after - before,
        "largest_shift_A": moved,
    }
