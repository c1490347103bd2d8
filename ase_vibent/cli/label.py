"""`vibent label`: exact labels of structures, into an extended XYZ file."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from ase import Atoms

from ase_vibent import dataset
from ase_vibent.cli.shared.arguments import (
    add_bulk_width,
    add_finite_differences,
    add_mesh,
    add_workers,
    hessian_options,
    length,
    number_or_any,
    positive_number,
)
from ase_vibent.cli.shared.files import add_format, model_file, progress_bar, read_structures, show
from ase_vibent.cli.shared.hessians import Stored, add_hessians, stored_hessians
from ase_vibent.cli.shared.output import write_result
from ase_vibent.errors import InvalidInputError, LabelError
from ase_vibent.harmonic.spectrum import check_unstable
from ase_vibent.labelling.run import (
    LabellingSummary,
    LabelTask,
    failure_list,
    label_structures,
    labelled_frames,
)
from ase_vibent.model import SiteModel
from ase_vibent.potentials import BUILT_IN, CalculatorSpec
from ase_vibent.quantities import DEFAULT_LABELS, ENERGY, EVALUATED, LABELS, LabelName
from ase_vibent.structures.cells import match_references
from ase_vibent.structures.embedding import is_perfect
from ase_vibent.tables import format_table
from ase_vibent.training.selection import Choice, select
from ase_vibent.training.soft_frames import SOFT
from ase_vibent.verification.size_check import in_larger_cell, size_check

#: Standard deviation of the displacements of crystals (Å), and what their labels count: see
#: benchmarks/papers/torabi2024_silicon.py --crystals.
DISPLACED, DISPLACED_WEIGHT = 0.02, 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "structures",
        nargs="*",
        help="files that ASE reads, all frames of each; with --hessian those of its files, if left "
        "out",
    )
    add_format(parser)
    parser.add_argument("-o", "--output", required=True, help="extended XYZ; a rerun continues it")
    parser.add_argument(
        "--calculator",
        metavar="SPEC",
        help="needed unless --hessian is given: "
        f"{', '.join(BUILT_IN)}, or an import path: 'ase.calculators.lj:LennardJones"
        "(sigma=2.5, epsilon=0.4)', or the same of a function that returns one; it may live in "
        "this folder, and gets a folder of its own below OUTPUT.work for its files. Whatever it "
        "names is run",
    )
    parser.add_argument(
        "--reference",
        metavar="CRYSTAL",
        help="perfect crystals, unit cells or supercells; each structure's own cell is made "
        "from them, labelled too and named as its reference",
    )
    parser.add_argument(
        "--labels",
        nargs="+",
        choices=tuple(LABELS),
        metavar="NAME",
        help="behind the structures: beside totals, some of "
        + "; ".join(f"{name}: {text}" for name, text in LABELS.items())
        + f"; default: {' '.join(DEFAULT_LABELS)}, "
        "of Hessians without a calculator: sites",
    )
    parser.add_argument(
        "--check-size",
        action="store_true",
        help="label the first structure with a defect in the next larger cell of --reference, too: "
        "says how far the labels of small cells are off, and training takes the error in large "
        "cells from it",
    )
    parser.add_argument(
        "--displaced-crystals",
        type=positive_number,
        default=0,
        metavar="N",
        help="label every perfect crystal N times more with all atoms displaced by some "
        f"{DISPLACED:g} Å, of threefold weight: without such frames a model of defects knows "
        "little of the crystal's curvature. Two or three are enough",
    )
    add_hessians(parser)
    add_mesh(parser)
    parser.add_argument(
        "--floor",
        type=length,
        default=0.0,
        metavar="EV/Å²",
        help="modes softer than this eigenvalue of the Hessian count as this one: for models of "
        "defects with soft modes, which predictions then find by force calls. Some 3 %% of the "
        "largest is about right; some relaxed structures also need --labels force_constants",
    )
    add_bulk_width(parser)
    add_finite_differences(parser)
    parser.add_argument(
        "--select",
        metavar="MODEL",
        help="of all structures, label only those that would teach this model most",
    )
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument(
        "--budget", type=positive_number, metavar="N", help="of --select: so many structures"
    )
    budget.add_argument(
        "--budget-atoms", type=positive_number, metavar="N", help="of --select: so many atoms"
    )
    parser.add_argument(
        "--unstable",
        type=number_or_any,
        default=0,
        metavar="N",
        help="expected number of unstable modes, or 'any' (log⁺ of rattled cells); default 0. A "
        "structure's own info entry 'unstable' goes before it",
    )
    add_workers(parser, "a structure")


def run(options: argparse.Namespace) -> int:
    """`vibent label`: exact labels into an extended XYZ file."""
    stored = stored_hessians(options, options.structures, options.reference)
    spec = _calculator(options, stored)
    sources, structures = _structures(options, stored)
    choices = _choices(options, structures)
    picked = range(len(structures)) if choices is None else [c.index for c in choices]
    chosen = [structures[k] for k in picked]
    crystals = stored.crystals
    if options.reference and not crystals:
        crystals = read_structures([options.reference], options.format)[1]
    matches = match_references(chosen, crystals) if crystals else []
    tasks = _label_tasks(options, [sources[k] for k in picked], chosen, matches, stored)
    if options.displaced_crystals and not (matches and spec):
        raise InvalidInputError(
            "--displaced-crystals: needs --reference, the crystals, and --calculator"
        )
    checked = None
    if options.check_size and spec is not None:
        checked = _add_larger_cell(tasks, chosen, matches, crystals, spec)
    if choices is not None and not options.json:
        write_result(_choice_table(choices, sources))
    summary = label_structures(
        tasks,
        options.output,
        spec,
        calculator_name=_name(spec),
        n_jobs=options.j,
        scheduler=options.scheduler,
        time_limit=options.time_limit,
        progress=lambda items, total: progress_bar(items, total, "labelling"),
    )
    for number, reason in summary.failed[:10]:
        print(f"vibent label: {tasks[number].source} failed: {reason}", file=sys.stderr)
    if summary.narrow:
        print(
            f"vibent label: {len(summary.narrow)} cells are narrower than the interaction, up to "
            f"{max(summary.narrow.values()):.0%} of their Hessians are told apart by guess; take "
            "wider ones, or --mesh gamma",
            file=sys.stderr,
        )
    listed = f" ({failure_list(options.output)})" if summary.failed else ""
    result = {
        **({} if choices is None else {"selected": _choice_data(choices, sources)}),
        "labelled": summary.done,
        "found": summary.skipped,
        "failed": len(summary.failed),
        "narrow": len(summary.narrow),
        "unstable": len(summary.unstable),
        "soft": len(summary.soft),
        "failures": [
            {"source": tasks[number].source, "reason": reason} for number, reason in summary.failed
        ],
        "output": str(options.output),
    }
    show(
        options,
        result,
        f"{summary.done} labelled, {summary.skipped} found there already, "
        f"{len(summary.failed)} failed{listed}: {options.output}"
        + _soft_line(summary)
        + _size_line(checked, tasks, options.output, spec)
        + (
            ""
            if crystals
            else "\nNo perfect crystal: to train on defects of a crystal, pass --reference."
        ),
    )
    return 1 if summary.failed else 0


def _calculator(options: argparse.Namespace, stored: Stored) -> CalculatorSpec | None:
    """The calculator, or None where Hessians are enough."""
    if options.calculator is None:
        if not stored.defects:
            raise InvalidInputError("--calculator, --hessian: give one of them, or both")
        if options.check_size:
            raise InvalidInputError("--check-size: needs --calculator, for the larger cell")
        return None
    spec = CalculatorSpec(options.calculator)
    if options.scheduler is None:  # a cluster may have what this machine lacks
        spec()  # a wrong specification fails here, once, and not in every structure
    return spec


def _structures(options: argparse.Namespace, stored: Stored) -> tuple[list[str], list[Atoms]]:
    """Names and structures: those of the Hessians, if there are any."""
    if stored.defects:
        return [Path(path).name for path in options.hessian], [s.atoms for s in stored.defects]
    if not options.structures:
        raise InvalidInputError("structures: give files, or --hessian")
    return read_structures(options.structures, options.format)


def _name(spec: CalculatorSpec | None) -> str:
    """Of the calculator, in the label file."""
    return "Hessians from files" if spec is None else spec.text


def _label_tasks(
    options: argparse.Namespace,
    sources: Sequence[str],
    structures: Sequence[Atoms],
    matches: Sequence[Atoms],
    stored: Stored,
) -> list[LabelTask]:
    """Structures to label, after the perfect crystals that they refer to."""
    wanted = {
        "labels": options.labels or (DEFAULT_LABELS if options.calculator else ("sites",)),
        "mesh": options.mesh,
        "floor": options.floor,
        "bulk_width": options.bulk_width,
        "options": hessian_options(options),
    }
    tasks = []
    names: list[str | None] = [None] * len(structures)
    if matches:
        crystals = list({id(c): c for c in matches}.values())
        titles = {id(c): _crystal_name(c) for c in crystals}
        tasks = [
            LabelTask(
                c,
                name=titles[id(c)],
                source=f"crystal {titles[id(c)]}",
                hessian=stored.of(c, calculated=options.calculator is not None),
                **wanted,
            )
            for c in crystals
        ]
        tasks += [
            replace(task, atoms=atoms, name=None, reference=task.name, source=source, hessian=None)
            for task in tasks
            for atoms, source in _displaced(task, options.displaced_crystals)
        ]
        names = [titles[id(c)] for c in matches]
    tasks += [
        LabelTask(
            atoms,
            reference=name,
            unstable=_expected_unstable(atoms, options.unstable),
            source=source,
            hessian=stored.of(atoms, calculated=options.calculator is not None),
            **wanted,
        )
        for atoms, name, source in zip(structures, names, sources, strict=True)
    ]
    return tasks


def _displaced(crystal: LabelTask, count: int) -> Iterator[tuple[Atoms, str]]:
    """Copies of a crystal that hold its curvature, the same in every run, and their names."""
    rng = np.random.default_rng(0)
    for number in range(count):
        atoms = crystal.atoms.copy()
        atoms.positions += rng.normal(0, DISPLACED, (len(atoms), 3))
        atoms.info[dataset.WEIGHT] = DISPLACED_WEIGHT
        yield atoms, f"{crystal.source}, displaced {number + 1}"


def _add_larger_cell(
    tasks: list[LabelTask],
    structures: Sequence[Atoms],
    matches: Sequence[Atoms],
    crystals: Sequence[Atoms],
    spec: CalculatorSpec,
) -> int:
    """Add the tasks of a structure in a larger cell, and say which task is the small one."""
    if not crystals:
        raise InvalidInputError("--check-size: needs --reference, of which larger cells are made")
    first = len(tasks) - len(structures)
    pairs = enumerate(zip(structures, matches, strict=True))
    number = next((n for n, (atoms, crystal) in pairs if not is_perfect(atoms, crystal)), None)
    if number is None:
        raise InvalidInputError("--check-size: every structure is the crystal, without a defect")
    small = tasks[first + number]
    larger, whole = in_larger_cell(structures[number], matches[number], crystals, spec)
    title, source = _crystal_name(whole), f"{small.source}, larger cell"
    totals: list[LabelName] = ["total"]
    tasks.append(replace(small, atoms=whole, name=title, reference=None, labels=totals, unstable=0))
    tasks.append(replace(small, atoms=larger, reference=title, labels=totals, source=source))
    return first + number


def _soft_line(summary: LabellingSummary) -> str:
    """What is to be known of structures that were labelled now, before they are trained on."""
    if not summary.unstable + summary.soft:
        return ""
    return (
        f"\nsoft: of those labelled now {len(summary.unstable)} have unstable modes, which are "
        f"left out of their entropies, {len(summary.soft)} soft ones (a gradient above {SOFT:g} "
        "k_B/Å): training says what they do to a model"
    )


def _size_line(
    checked: int | None, tasks: Sequence[LabelTask], path: str, spec: CalculatorSpec | None
) -> str:
    """What the larger cell says, if it is labelled."""
    if checked is None:
        return ""
    try:
        frames = labelled_frames(tasks, path, _name(spec))
    except LabelError:
        return "\nsize: not known, as not all cells are labelled"
    found = size_check(frames, frames[checked])
    small, large = found.n_atoms
    return (
        f"\nsize: {tasks[checked].source} has {found.entropies[0]:.4f} k_B beyond the crystal's "
        f"atoms in {small} atoms, {found.entropies[1]:.4f} in {large}: {found.difference:+.4f}. "
        "Labels of cells as small are off by as much; training takes that into entropy_std"
    )


def _expected_unstable(atoms: Atoms, default: int | str) -> int | str:
    """What the structure says of itself, as `vibent make` writes it, else the option."""
    own = atoms.info.get("unstable", default)
    try:
        return check_unstable(own)
    except InvalidInputError:
        return default


def _crystal_name(crystal: Atoms) -> str:
    """Name that a rerun with other structures gives to the same crystal again."""
    arrays = (crystal.numbers, crystal.positions, crystal.cell.array, crystal.get_masses())
    digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays))
    return f"{crystal.get_chemical_formula()}-{digest.hexdigest()[:6]}"


def _choices(options: argparse.Namespace, structures: Sequence[Atoms]) -> list[Choice] | None:
    """What `--select` chooses from a pool; None where it is not asked for."""
    budgets = [b for b in (options.budget, options.budget_atoms) if b is not None]
    if options.select is None:
        if budgets:
            raise InvalidInputError("budget: it belongs to --select MODEL")
        return None
    if not budgets:
        raise InvalidInputError("select: say how much may be labelled, --budget or --budget-atoms")
    model = SiteModel.load(model_file(options.select))
    fitted = model.header.get("quantities", ())
    # Totals are labelled anyway, and forces with energies; of the others, training will use what it
    # used before.
    given = EVALUATED if model.target == ENERGY.name else options.labels or DEFAULT_LABELS
    wanted = [q for q in EVALUATED if q == "total" or (q in given and q in fitted)]
    return select(
        model,
        structures,
        budgets[0],
        unit="structures" if options.budget is not None else "atoms",
        quantities=wanted,
        progress=lambda items: progress_bar(items, len(structures), "choosing"),
    )


def _choice_table(choices: Sequence[Choice], sources: Sequence[str]) -> str:
    """Choices for people."""
    lines = format_table(
        {"structure": "<", "gain (nats)": ">.2f", "std of total*": ">.3g", "grade": ">.2f"},
        [(sources[c.index], c.gain, c.std, c.grade) for c in choices],
    )
    title = f"{len(choices)} of {len(sources)} structures chosen, in this order"
    return "\n".join([title, *lines, "* k_B, or eV where the model predicts energies"])


def _choice_data(choices: Sequence[Choice], sources: Sequence[str]) -> list[dict[str, object]]:
    """Choices for machines."""
    return [{"structure": sources[c.index], **asdict(c)} for c in choices]
