"""Search for a descriptor by cross-validation: order, degree, cutoff, or another family."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ase_vibent.descriptors import ACE, Descriptor, descriptor_from_dict
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

    ACE bases that differ in order and degree only are parts of the largest of them, and are
    fitted on the same rows: the search costs about as much as its largest bases.

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
        _try_group, training_set=training_set, weights=weights, solver=solver, options=options
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
    groups: dict[Any, list[Descriptor]] = defaultdict(list)
    for descriptor in descriptors:
        key: Any = _key(descriptor)
        if isinstance(descriptor, ACE):
            key = replace(descriptor, order=1, degree=2)
        groups[key].append(descriptor)
    whole: list[list[Descriptor]] = []
    for members in groups.values():
        left = sorted(members, key=lambda d: -d.n_features)
        while left:
            largest = left[0]
            whole.append([member for member in left if _contains(largest, member)])
            left = [member for member in left if not _contains(largest, member)]
    return whole


def _contains(one: Descriptor, other: Descriptor) -> bool:
    if one is other:
        return True
    if not (isinstance(one, ACE) and isinstance(other, ACE)):
        return False
    return one.order >= other.order and one.degree >= other.degree


def _try_group(
    group: Sequence[Descriptor],
    *,
    training_set: TrainingSet,
    weights: Mapping[str, float],
    solver: SolverName,
    options: Mapping[str, Any],
) -> list[Trial]:
    """Trials of nested descriptors, all on the rows of the first one."""
    largest = group[0]
    rows = gather_rows(FrameFeatures(largest), training_set)
    trials = []
    for member in group:
        errors = cross_validated_errors(rows.restrict(member), weights, solver, options)
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
