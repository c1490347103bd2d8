"""`vibent train`, `tune` and `learn`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ase_vibent import dataset
from ase_vibent.cli.files import json_ready, progress_bar, require_plottable, require_writable, show
from ase_vibent.cli.plots import curve_plot, parity_plot
from ase_vibent.descriptors import Descriptor, descriptor_from_text
from ase_vibent.quantities import TARGETS, TargetName
from ase_vibent.training.automatic import choose_descriptor
from ase_vibent.training.budget import as_header, error_budget, format_budget
from ase_vibent.training.energies import REFERENCES
from ase_vibent.training.learning import (
    Split,
    learning_curve,
    random_splits,
    rows_by_configuration,
)
from ase_vibent.training.report import evaluate_frames, format_metrics
from ase_vibent.training.trainer import split_frames
from ase_vibent.training.trainer import train as train_model
from ase_vibent.training.training_set import TrainingSet
from ase_vibent.training.tuning import Trial
from ase_vibent.training.tuning import tune as tune_descriptors

#: Cutoffs around the one that suits the data, orders, degrees and weights of l that are tried.
CUTOFF_FACTORS = (0.85, 1.0, 1.15)
ORDERS = (2, 3)
DEGREES = (6.0, 8.0, 10.0, 12.0)
TEST_FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def train(options: argparse.Namespace) -> int:
    """`vibent train`: labels to coefficient file."""
    frames = dataset.read_labels(options.labels)
    fitted, held_out = split_frames(frames, options.test_fraction, options.seed)
    require_writable(options.output)
    require_plottable(options.plot)
    target = options.target
    training_set = TrainingSet.of(fitted, options.quantities, held_out=held_out, target=target)
    model = train_model(
        fitted,
        _chosen_descriptor(options, training_set),
        target=target,
        resolve=options.resolve,
        quantities=options.quantities,
        quadratic=_curvature_options(options.quadratic),
        solver=options.solver,
        test=held_out,
        progress=lambda items: progress_bar(items, None, "features"),
    )
    if options.budget:
        budgets = error_budget(
            training_set,
            model.descriptor,
            model.header["row_weights"],
            {},
            progress=lambda items: progress_bar(items, None, "error budget"),
        )
        model.header["budget"] = as_header(budgets)
    model.save(options.output)
    if options.plot:
        references = REFERENCES[target](frames)
        sets = {"train": fitted, "test": held_out}
        comparisons = {k: evaluate_frames(model, v, references) for k, v in sets.items()}
        parity_plot(comparisons, options.plot, target)
    errors, n_features = model.header["errors"], model.descriptor.n_features
    budget = model.header.get("budget")
    show(
        options,
        {
            "model": str(options.output),
            "descriptor": model.descriptor.to_dict(),
            "n_features": n_features,
            "errors": errors,
            "budget": budget,
        },
        f"{_describe(model.descriptor.to_dict())}\n"
        f"{n_features} functions, {model.header['n_rows']} rows, "
        f"{len(fitted)} frames fitted, {len(held_out)} held out\n"
        f"{format_metrics(errors, target)}\n"
        + (format_budget(budget, model.descriptor.cutoff) + "\n" if budget else "")
        + f"coefficient file: {options.output}",
    )
    return 0


def tune(options: argparse.Namespace) -> int:
    """`vibent tune`: cross-validated errors of many descriptors."""
    require_writable(options.output)
    training_set = TrainingSet.of(options.labels, options.quantities, target=options.target)
    candidates = _grid(options, training_set)
    trials = list(
        progress_bar(
            tune_descriptors(
                training_set,
                candidates,
                solver=options.solver,
                path=options.output,
                n_jobs=options.j,
            ),
            len(candidates),
            "trials",
        )
    )
    trials.sort(key=lambda trial: trial.score)
    show(options, [asdict(trial) for trial in trials], _trial_table(trials, options.target))
    return 0


def learn(options: argparse.Namespace) -> int:
    """`vibent learn`: errors against the amount of data, the cutoff, or the size of the basis."""
    require_plottable(options.plot)
    if options.output:
        require_writable(options.output)
    training_set = TrainingSet.of(options.labels, options.quantities, target=options.target)
    descriptor = _chosen_descriptor(options, training_set)
    points = {
        "configurations": _against_configurations,
        "test-fraction": _against_configurations,
        "cutoff": _against_descriptors,
        "basis": _against_descriptors,
    }[options.against](options, training_set, descriptor)
    if options.output:
        Path(options.output).write_text(json.dumps(json_ready(points), indent=1))
    if options.plot:
        curve_plot(_by_kind(points), _AXES[options.against], options.plot, options.target)
    show(options, points, _curve_table(points, options))
    return 0


_AXES = {
    "configurations": "training configurations",
    "test-fraction": "training configurations",
    "cutoff": "cutoff (Å)",
    "basis": "functions",
}


def _chosen_descriptor(options: argparse.Namespace, training_set: TrainingSet) -> Descriptor:
    """Descriptor of the options; what they leave open the data choose."""
    given = {k: v for k in ("cutoff", "order", "degree") if (v := getattr(options, k)) is not None}
    if options.descriptor is None:
        return choose_descriptor(training_set, **given)
    return _descriptor_from_text(options.descriptor, training_set, given)


def _descriptor_from_text(
    text: str, training_set: TrainingSet, given: Mapping[str, Any]
) -> Descriptor:
    cutoff = given.get("cutoff") or choose_descriptor(training_set, degree=3).cutoff
    return descriptor_from_text(text, species=training_set.kinds, **{"cutoff": cutoff, **given})


def _curvature_options(quadratic: bool | int) -> bool | dict[str, int]:
    return quadratic if isinstance(quadratic, bool) else {"directions": quadratic}


def _grid(options: argparse.Namespace, training_set: TrainingSet) -> list[Descriptor]:
    suits = choose_descriptor(training_set, degree=3).cutoff
    cutoffs = options.cutoffs or [round(factor * suits, 2) for factor in CUTOFF_FACTORS]
    choices = {
        "cutoff": cutoffs,
        "order": options.orders or ORDERS,
        "degree": options.degrees or DEGREES,
        "l_weight": options.l_weights or [0.75],
    }
    grid: list[Descriptor] = [
        choose_descriptor(training_set, **dict(zip(choices, values, strict=True)))
        for values in product(*choices.values())
    ]
    return grid + [_descriptor_from_text(text, training_set, {}) for text in options.descriptors]


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


def _against_descriptors(
    options: argparse.Namespace, training_set: TrainingSet, descriptor: Descriptor
) -> list[dict[str, Any]]:
    """Cross-validated errors of the descriptor with another cutoff or degree."""
    name = "cutoff" if options.against == "cutoff" else "degree"
    own = descriptor.to_dict()
    values = options.values or (
        [round(f * own["cutoff"], 2) for f in (0.6, 0.7, 0.8, 0.9, 1.0, 1.1)]
        if name == "cutoff"
        else [d for d in range(3, 13) if d <= max(own.get("degree", 12), 8)]
    )
    from ase_vibent.descriptors import descriptor_from_dict

    variants = [descriptor_from_dict({**own, name: value}) for value in values]
    trials = tune_descriptors(training_set, variants, solver=options.solver, n_jobs=options.j)
    points = [
        {
            "x": trial.descriptor["cutoff"] if name == "cutoff" else trial.n_features,
            **asdict(trial),
        }
        for trial in progress_bar(trials, len(variants), "trials")
    ]
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
    lines = [f"{axis:<26} " + " ".join(f"{f'{kind} ({target[kind].unit})':>24}" for kind in curves)]
    for x in sorted({point["x"] for point in points}):
        cells = []
        for values in curves.values():
            errors = np.array(values[x])
            spread = f" ± {errors.std():.1e}" if len(errors) > 1 else ""
            cells.append(f"{errors.mean():.3e}{spread}".rjust(24))
        lines.append(f"{x:<26g} " + " ".join(cells))
    return "\n".join([*lines, "RMSE of configurations that were held out"])


def _trial_table(trials: Sequence[Trial], target: TargetName) -> str:
    kinds = list(trials[0].rmse) if trials else []
    lines = [
        f"{'functions':>9} "
        + " ".join(f"{f'{k} ({TARGETS[target][k].unit})':>18}" for k in kinds)
        + "  descriptor"
    ]
    for trial in trials:
        cells = " ".join(f"{trial.rmse[kind]:>18.3e}" for kind in kinds)
        lines.append(f"{trial.n_features:>9} {cells}  {_describe(trial.descriptor)}")
    return "\n".join([*lines, "RMSE of configurations that were left out; the best first"])


def _describe(descriptor: Mapping[str, Any]) -> str:
    """A descriptor as `--descriptor` takes it."""
    own = {k: v for k, v in descriptor.items() if k not in ("name", "species") and v is not None}
    return f"{descriptor['name']}({', '.join(f'{k}={v!r}' for k, v in own.items())})"
