"""Learning curves: errors against the number of configurations, over random splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ase_vibent.descriptors import Descriptor
from ase_vibent.errors import InvalidInputError, TrainingError
from ase_vibent.quantities import DEFAULT_WEIGHTS, SolverName
from ase_vibent.training.cross_validation import held_out_errors
from ase_vibent.training.features import FrameFeatures
from ase_vibent.training.rows import Progress, TrainingRows, gather_rows, split_folds
from ase_vibent.training.training_set import TrainingSet


@dataclass(frozen=True)
class Split:
    """A random split and its errors.

    Attributes
    ----------
    n_train, n_test : int
        Configurations, perfect crystals not counted.
    seed : int
    rmse : dict of str to float
        Of the test configurations by kind of row, see `HeldOutErrors`.
    """

    n_train: int
    n_test: int
    seed: int
    rmse: dict[str, float]


def rows_by_configuration(
    descriptor: Descriptor,
    training_set: TrainingSet,
    progress: Progress = lambda items: items,
) -> TrainingRows:
    """Rows with a fold for every configuration, for any number of splits.

    Parameters
    ----------
    descriptor : Descriptor
    training_set : TrainingSet
    progress : callable (items) -> items

    Returns
    -------
    TrainingRows
    """
    folds = split_folds(training_set.frames, None)
    return gather_rows(FrameFeatures(descriptor), training_set, folds=folds, progress=progress)


def random_splits(
    rows: TrainingRows,
    fractions: Sequence[float],
    n_splits: int,
    *,
    weights: Mapping[str, float] = DEFAULT_WEIGHTS,
    solver: SolverName = "ridge",
    solver_options: Mapping[str, Any] | None = None,
) -> Iterator[Split]:
    """Splits at several test fractions, [Lapointe2020] Fig. 2, [Lapointe2022] Fig. 2.

    Parameters
    ----------
    rows : TrainingRows
        Of `rows_by_configuration`.
    fractions : sequence of float
        Of the configurations that are held out.
    n_splits : int
        For each fraction.
    weights, solver, solver_options
        As of `train`.

    Yields
    ------
    Split

    Raises
    ------
    InvalidInputError
        If a fraction is not between 0 and 1.
    TrainingError
        If there are fewer than two configurations.
    """
    for fraction in fractions:
        if not 0 < fraction < 1:
            raise InvalidInputError(f"fractions: expected numbers between 0 and 1, got {fraction}")
        for seed in range(n_splits):
            train, test = _random_split(rows, fraction, seed)
            errors = held_out_errors(rows, train, test, weights, solver, solver_options or {})
            yield Split(len(train), len(test), seed, errors.rmse)


def learning_curve(
    rows: TrainingRows,
    sizes: Sequence[int] | None = None,
    n_splits: int = 5,
    *,
    test_fraction: float = 0.2,
    weights: Mapping[str, float] = DEFAULT_WEIGHTS,
    solver: SolverName = "ridge",
    solver_options: Mapping[str, Any] | None = None,
) -> Iterator[Split]:
    """Errors on the same held-out configurations as training grows, [Torabi2024] Fig. 8.

    Parameters
    ----------
    rows : TrainingRows
        Of `rows_by_configuration`.
    sizes : sequence of int, optional
        Numbers of training configurations; by default seven, equal factors apart.
    n_splits : int
        Random orders of the configurations.
    test_fraction : float
        Held out in each of them.
    weights, solver, solver_options
        As of `train`.

    Yields
    ------
    Split

    Raises
    ------
    InvalidInputError
        If a size is larger than what is left to train on.
    TrainingError
        If there are fewer than two configurations.
    """
    train, test = _random_split(rows, test_fraction, 0)
    most = len(train)
    if sizes is None:
        sizes = np.unique(np.rint(np.geomspace(max(2, most / 32), most, 7)).astype(int)).tolist()
    for size in sizes:
        if not 1 <= size <= most:
            raise InvalidInputError(
                f"sizes: expected 1 to {most} configurations ({len(test)} of {most + len(test)} "
                f"are held out), got {size}"
            )
    for seed in range(n_splits):
        train, test = _random_split(rows, test_fraction, seed)
        for size in sizes:
            errors = held_out_errors(
                rows, train[:size], test, weights, solver, solver_options or {}
            )
            yield Split(size, len(test), seed, errors.rmse)


def _random_split(rows: TrainingRows, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Folds to train on, in random order, and the share that is held out, one at least of each."""
    n = len(rows.folds)
    if n < 2:
        raise TrainingError(
            f"frames: {n} configurations beside perfect crystals, a split needs two at least"
        )
    n_test = int(np.clip(round(fraction * n), 1, n - 1))
    order = np.random.default_rng(seed).permutation(rows.folds).tolist()
    return order[n_test:], order[:n_test]
