"""Search for a descriptor by cross-validation: order, degree, cutoff, or another family."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ase_vibent.descriptors import Descriptor, descriptor_from_dict, features_within
from ase_vibent.quantities import DEFAULT_WEIGHTS, QUANTITIES, SolverName
from ase_vibent.runs.records import JsonLines, format_line
from ase_vibent.runs.resumable import resume
from ase_vibent.training.cross_validation import HeldOutErrors, cross_validated_errors
from ase_vibent.training.features import FrameFeatures
from ase_vibent.training.rows import gather_rows
from ase_vibent.training.training_set import TrainingSet


@dataclass(frozen=True)
class Trial:
    """One descriptor and its errors on configurations that were left out.

    Attributes
    ----------
    descriptor : dict
        Name and hyperparameters.
    n_features : int
    rmse : dict of str to float
        By kind of row, units of k_B (gradients: k_B/Å).
    score : float
        Mean logarithm of these: the lower the better.
    """

    descriptor: dict[str, Any]
    n_features: int
    rmse: dict[str, float]
    score: float


def tune(
    training_set: TrainingSet,
    descriptors: Sequence[Descriptor],
    *,
    weights: Mapping[str, float] = DEFAULT_WEIGHTS,
    solver: SolverName = "ridge",
    solver_options: Mapping[str, Any] | None = None,
    path: str | os.PathLike[str] | None = None,
    n_jobs: int = 1,
) -> Generator[Trial, None, None]:
    """Cross-validated errors of descriptors, grouped by configuration.

    Descriptors that are parts of others, as ACE of smaller order and degree, are fitted on the same
    rows: the search costs about as much as its largest bases.

    Parameters
    ----------
    training_set : TrainingSet
    descriptors : sequence of Descriptor
    weights, solver, solver_options
        As of `train`.
    path : path, optional
        File of finished trials, one JSON object in a line. Those that stand there already are
        not made again, if target, data, weights and solver are the same.
    n_jobs : int
        Processes, -1 for all cores.

    Yields
    ------
    Trial
        In the order in which they are ready.

    Raises
    ------
    LabelError
        If another run is writing to the file, it cannot be written, or holds something else.
    """
    options = dict(solver_options or {})
    setting = {
        "target": training_set.references.target.name,
        "data": training_set.checksum(),
        "quantities": list(training_set.quantities),
        "weights": dict(weights),
        "solver": solver,
        "options": options,
    }
    work = partial(
        nested_trials, training_set=training_set, weights=weights, solver=solver, options=options
    )
    wanted = {_key(descriptor): descriptor for descriptor in descriptors}
    file = None if path is None else Path(path)
    with resume(file, JsonLines("trial", "descriptor", _parse_trial)) as run:
        known = {key: trial for found, key, trial in run.finished if found == setting}
        yield from (known[key] for key in wanted if key in known)
        groups = nested_groups([d for key, d in wanted.items() if key not in known])
        for _, result in run.results(work, dict(enumerate(groups)), n_jobs=n_jobs):
            if isinstance(result, Exception):
                raise result
            for trial in result:
                run.append(format_line({**asdict(trial), "setting": setting}))
                yield trial


def nested_groups(descriptors: Sequence[Descriptor]) -> list[list[Descriptor]]:
    """Descriptors that are parts of one another, the largest of each group first.

    Parameters
    ----------
    descriptors : sequence of Descriptor

    Returns
    -------
    list of list of Descriptor
    """
    left = sorted(descriptors, key=lambda d: -d.n_features)
    whole: list[list[Descriptor]] = []
    while left:
        largest = left[0]
        inside = [d is largest or features_within(largest, d) is not None for d in left]
        whole.append([d for d, own in zip(left, inside, strict=True) if own])
        left = [d for d, own in zip(left, inside, strict=True) if not own]
    return whole


def nested_trials(
    group: Sequence[Descriptor],
    *,
    training_set: TrainingSet,
    weights: Mapping[str, float],
    solver: SolverName = "ridge",
    options: Mapping[str, Any] | None = None,
) -> list[Trial]:
    """Trials of nested descriptors, all on the rows of the first one.

    Parameters
    ----------
    group : sequence of Descriptor
        The first and parts of it.
    training_set : TrainingSet
    weights, solver, options
        Of the fits.

    Returns
    -------
    list of Trial
    """
    rows = gather_rows(FrameFeatures(group[0]), training_set)
    trials = []
    for member in group:
        errors = cross_validated_errors(rows.restrict(member), weights, solver, options or {})
        trials.append(Trial(member.to_dict(), member.n_features, errors.rmse, errors.score))
    return trials


def _key(descriptor: Descriptor) -> str:
    return json.dumps(descriptor.to_dict(), sort_keys=True)


def _parse_trial(entry: dict[str, Any]) -> tuple[Any, str, Trial]:
    """Setting, key of the descriptor, and trial."""
    setting = entry.pop("setting")
    trial = Trial(**entry)
    for name, kind in (("descriptor", dict), ("n_features", int), ("rmse", dict), ("score", float)):
        if type(getattr(trial, name)) is not kind:
            raise ValueError(f"{name}: expected {kind.__name__}, got {getattr(trial, name)!r}")
    for name, value in trial.rmse.items():
        if name not in QUANTITIES or type(value) is not float or value < 0:
            raise ValueError(f"rmse: expected errors by quantity, got {name!r}: {value!r}")
    descriptor = descriptor_from_dict(trial.descriptor)
    if descriptor.n_features != trial.n_features:
        raise ValueError(f"n_features: expected {descriptor.n_features}, got {trial.n_features}")
    if not trial.rmse or abs(HeldOutErrors(trial.rmse, {}).score - trial.score) > 1e-9:
        raise ValueError(f"score: {trial.score} is not that of its errors")
    return setting, _key(descriptor), trial
