"""`vibent learn`: errors against the amount of data, the cutoff, or the size of the basis."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from ase_vibent.cli.shared.arguments import add_basis, add_fit, length, positive_number
from ase_vibent.cli.shared.descriptors import descriptor_of_options, descriptor_text
from ase_vibent.cli.shared.files import (
    json_ready,
    progress_bar,
    require_plottable,
    require_writable,
    show,
)
from ase_vibent.descriptors import Descriptor, descriptor_from_dict, rescaled, with_degree
from ase_vibent.errors import InvalidInputError
from ase_vibent.figures import curve_plot
from ase_vibent.files.writing import write_text
from ase_vibent.quantities import TARGETS
from ase_vibent.tables import format_table
from ase_vibent.training.descriptor_choice import choose_descriptor
from ase_vibent.training.learning import (
    Split,
    learning_curve,
    random_splits,
    rows_by_configuration,
)
from ase_vibent.training.training_set import TrainingSet
from ase_vibent.training.tuning import tune

#: Cutoffs and total degrees beside the descriptor's own.
CUTOFF_FACTORS = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1)
DEGREE_FACTORS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
TEST_FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
#: What the errors are drawn against.
_AXES = {
    "configurations": "training configurations",
    "test-fraction": "training configurations",
    "cutoff": "cutoff (Å)",
    "basis": "functions",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("labels", help="extended XYZ from 'vibent label'")
    parser.add_argument(
        "--against",
        choices=("configurations", "test-fraction", "cutoff", "basis"),
        default="configurations",
        help="what varies; default: configurations",
    )
    parser.add_argument(
        "--values",
        type=length,
        nargs="+",
        metavar="X",
        help="numbers of training configurations, fractions that are held out (default 0.1 to "
        "0.9), cutoffs (Å), or total degrees",
    )
    parser.add_argument(
        "--splits", type=positive_number, default=5, help="random splits of each; default 5"
    )
    add_basis(parser)
    add_fit(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="JSON of every split")
    parser.add_argument("--plot", metavar="FILE", help="figure (PNG, PDF, SVG)")
    parser.add_argument(
        "-j", type=positive_number, default=-1, metavar="N", help="processes; default: all cores"
    )


def run(options: argparse.Namespace) -> int:
    """`vibent learn`: errors against the amount of data, the cutoff, or the size of the basis."""
    require_plottable(options.plot)
    if options.output:
        require_writable(options.output)
    training_set = TrainingSet.of(options.labels, options.quantities, target=options.target)
    descriptor = descriptor_of_options(options, training_set)
    if isinstance(descriptor, dict):
        descriptor = choose_descriptor(
            training_set, progress=lambda items: progress_bar(items, None, "trials"), **descriptor
        ).descriptor
    points = {
        "configurations": _against_configurations,
        "test-fraction": _against_configurations,
        "cutoff": _against_descriptors,
        "basis": _against_descriptors,
    }[options.against](options, training_set, descriptor)
    if options.output:
        write_text(options.output, json.dumps(json_ready(points), indent=1))
    if options.plot:
        curve_plot(_by_kind(points), _AXES[options.against], options.plot, options.target)
    show(options, points, _curve_table(points, options))
    return 0


def _against_configurations(
    options: argparse.Namespace, training_set: TrainingSet, descriptor: Descriptor
) -> list[dict[str, Any]]:
    rows = rows_by_configuration(
        descriptor, training_set, lambda items: progress_bar(items, None, "features")
    )
    keywords = {"solver": options.solver}
    if options.against == "configurations":
        sizes = None if options.values is None else [int(v) for v in options.values]
        splits = learning_curve(rows, sizes, options.splits, **keywords)
    else:
        splits = random_splits(rows, options.values or TEST_FRACTIONS, options.splits, **keywords)
    return [_point(split) for split in progress_bar(splits, None, "fits")]


def _point(split: Split) -> dict[str, Any]:
    return {"x": split.n_train, **asdict(split)}


def _given_degree(value: float, own: float) -> float:
    return value


def _scaled_degree(factor: float, own: float) -> float:
    return max(factor * own, 2.0)


def _against_descriptors(
    options: argparse.Namespace, training_set: TrainingSet, descriptor: Descriptor
) -> list[dict[str, Any]]:
    """Cross-validated errors of the descriptor with another cutoff or degree."""
    if options.against == "cutoff":
        cutoffs = options.values or [f * descriptor.cutoff for f in CUTOFF_FACTORS]
        variants = [rescaled(descriptor, cutoff / descriptor.cutoff) for cutoff in cutoffs]
    else:
        if options.values:
            degrees = [partial(_given_degree, value) for value in options.values]
        else:
            degrees = [partial(_scaled_degree, factor) for factor in DEGREE_FACTORS]
        variants = [with_degree(descriptor, degree) for degree in degrees]
        if with_degree(descriptor, lambda degree: degree + 1) == descriptor:
            raise InvalidInputError(
                "--against basis: expected a descriptor with a total degree, as ACE, got "
                f"{descriptor_text(descriptor.to_dict())}"
            )
    trials = tune(training_set, variants, solver=options.solver, n_jobs=options.j)
    points = []
    for trial in progress_bar(trials, len(variants), "trials"):
        cutoff = descriptor_from_dict(trial.descriptor).cutoff
        x = cutoff if options.against == "cutoff" else trial.n_features
        points.append({"x": x, **asdict(trial)})
    return sorted(points, key=lambda point: point["x"])


def _by_kind(points: Sequence[Mapping[str, Any]]) -> dict[str, dict[float, list[float]]]:
    """Errors of all splits by kind of row and place on the axis."""
    curves: dict[str, dict[float, list[float]]] = {}
    for point in points:
        for kind, value in point["rmse"].items():
            curves.setdefault(kind, {}).setdefault(point["x"], []).append(value)
    return curves


def _curve_table(points: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> str:
    curves, axis, target = _by_kind(points), _AXES[options.against], TARGETS[options.target]
    lines = format_table(
        {axis: "<g"} | {f"{kind} ({target[kind].unit})": ">" for kind in curves},
        [
            (x, *(_mean_and_spread(values[x]) for values in curves.values()))
            for x in sorted({point["x"] for point in points})
        ],
    )
    return "\n".join([*lines, "RMSE of configurations that were held out"])


def _mean_and_spread(errors: Sequence[float]) -> str:
    spread = f" ± {np.std(errors):.1e}" if len(errors) > 1 else ""
    return f"{np.mean(errors):.3e}{spread}"
