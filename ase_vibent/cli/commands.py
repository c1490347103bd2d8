"""One function per command of `vibent`: read, call the library, print."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence

from ase import Atoms

from ase_vibent import dataset
from ase_vibent.cli.demo import demo
from ase_vibent.cli.events import events, export
from ase_vibent.cli.files import (
    model_file,
    plain,
    progress_bar,
    read_structures,
    require_plottable,
    show,
)
from ase_vibent.cli.locality import locality
from ase_vibent.cli.make import make
from ase_vibent.cli.models import models
from ase_vibent.cli.plots import parity_plot
from ase_vibent.cli.prediction import predict
from ase_vibent.cli.selection import choice_data, choice_table, selected
from ase_vibent.cli.thermo import formation, rate
from ase_vibent.cli.train import learn, train, tune
from ase_vibent.cli.verify import verify
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.spectrum import check_unstable
from ase_vibent.labelling.run import LabelTask, failure_list, label_structures
from ase_vibent.model import SiteModel
from ase_vibent.potentials import CalculatorSpec
from ase_vibent.quantities import ENTROPY
from ase_vibent.structures.cells import match_references
from ase_vibent.training.report import Report, evaluate_frames, format_metrics

__all__ = [
    "demo",
    "evaluate",
    "events",
    "export",
    "formation",
    "info",
    "label",
    "learn",
    "locality",
    "make",
    "models",
    "predict",
    "rate",
    "train",
    "tune",
    "verify",
]


def label(options: argparse.Namespace) -> int:
    """`vibent label`: exact labels into an extended XYZ file."""
    sources, structures = read_structures(options.structures)
    spec = CalculatorSpec(options.calculator)
    if options.scheduler is None:  # a cluster may have what this machine lacks
        spec()  # a wrong specification fails here, once, and not in every structure
    choices = selected(options, structures)
    picked = range(len(structures)) if choices is None else [c.index for c in choices]
    tasks = _label_tasks(options, [sources[k] for k in picked], [structures[k] for k in picked])
    if choices is not None and not options.json:
        print(choice_table(choices, sources), flush=True)
    summary = label_structures(
        tasks,
        options.output,
        spec,
        calculator_name=spec.text,
        n_jobs=options.j,
        scheduler=options.scheduler,
        progress=lambda items, total: progress_bar(items, total, "labelling"),
    )
    for number, reason in summary.failed[:10]:
        print(f"vibent label: {tasks[number].source} failed: {reason}", file=sys.stderr)
    listed = f" ({failure_list(options.output)})" if summary.failed else ""
    result = {
        **({} if choices is None else {"selected": choice_data(choices, sources)}),
        "labelled": summary.done,
        "found": summary.skipped,
        "failed": len(summary.failed),
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
        + (
            ""
            if options.reference
            else "\nNo perfect crystal: totals of periodic cells are not "
            "extensive. To train on defects of a crystal, pass --reference."
        ),
    )
    return 1 if summary.failed else 0


def _label_tasks(
    options: argparse.Namespace, sources: Sequence[str], structures: Sequence[Atoms]
) -> list[LabelTask]:
    """Structures to label, after the perfect crystals that they refer to."""
    wanted = {
        "labels": options.labels,
        "options": {
            "displacement": options.displacement,
            "interaction_range": options.interaction_range,
            "cache": options.cache,
        },
    }
    tasks = []
    names: list[str | None] = [None] * len(structures)
    if options.reference:
        matches = match_references(structures, read_structures([options.reference])[1])
        crystals = list({id(c): c for c in matches}.values())
        titles = {id(c): _crystal_name(c) for c in crystals}
        tasks = [
            LabelTask(c, name=titles[id(c)], source=f"crystal {titles[id(c)]}", **wanted)
            for c in crystals
        ]
        names = [titles[id(c)] for c in matches]
    tasks += [
        LabelTask(
            atoms,
            reference=name,
            unstable=_expected_unstable(atoms, options.unstable),
            source=source,
            **wanted,
        )
        for atoms, name, source in zip(structures, names, sources, strict=True)
    ]
    return tasks


def _expected_unstable(atoms: Atoms, default: int | str) -> int | str:
    """What the structure says of itself, as `vibent make` writes it, else the option."""
    own = atoms.info.get("unstable", default)
    try:
        return check_unstable(own)
    except InvalidInputError:
        return default


def evaluate(options: argparse.Namespace) -> int:
    """`vibent evaluate`: a model against labels."""
    require_plottable(options.plot)
    model = SiteModel.load(model_file(options.model))
    frames = dataset.read_labels(options.labels)
    comparisons = evaluate_frames(model, frames)
    if options.plot:
        parity_plot({"": comparisons}, options.plot, model.target)
    errors = Report(train={}, test=comparisons).metrics()
    show(options, errors["test"], format_metrics({"": errors["test"]}, model.target))
    return 0


def info(options: argparse.Namespace) -> int:
    """`vibent info`: header of a coefficient file."""
    model = SiteModel.load(model_file(options.model))
    header = {
        **model.header,
        "target": model.target,
        "descriptor": model.descriptor.to_dict(),
        "n_features": model.descriptor.n_features,
        "constants": dict(zip(model.species, model.constants.tolist(), strict=True)),
    }
    what = f"{model.target} of {', '.join(model.species)}"
    if model.target == ENTROPY.name:
        what += ", classical" if model.moments is None else ", classical and quantum"
    lines = [f"{options.model}: {what}"]
    for key, value in header.items():
        if key not in ("errors", "card"):
            lines.append(f"  {key.replace('_', ' '):<20} {plain(value)}")
    show(
        options, header, "\n".join([*lines, format_metrics(header.get("errors", {}), model.target)])
    )
    return 0


def _crystal_name(crystal: Atoms) -> str:
    """Name that a rerun with other structures gives to the same crystal again."""
    arrays = (crystal.numbers, crystal.positions, crystal.cell.array, crystal.get_masses())
    digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays))
    return f"{crystal.get_chemical_formula()}-{digest.hexdigest()[:6]}"
