"""Errors of event surrogates on events that they were not fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ase_vibent.arrays import Array
from ase_vibent.descriptors.interface import Descriptor
from ase_vibent.errors import InvalidInputError, TrainingError
from ase_vibent.events.event import Event
from ase_vibent.events.fitting import (
    EventData,
    choose_design,
    designs_of,
    fit_weights,
    predict_from,
)
from ase_vibent.hessian import ValenceForceField
from ase_vibent.quantities import SolverName

#: Test fractions of `split_errors`.
FRACTIONS = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class SplitErrors:
    """Errors over random splits into training and test.

    Attributes
    ----------
    fractions : ndarray, shape (n_fractions,)
        Of the events that are held out.
    train, test : ndarrays, shape (n_fractions, 2)
        Mean RMSE of ln(ν*/THz) and of ΔE, eV.
    predicted : ndarray, shape (n_events, 2)
        Mean of the predictions, at the smallest fraction, from fits that the event was not in;
        NaN where there was none.
    """

    fractions: Array
    train: Array
    test: Array
    predicted: Array = field(repr=False)


def split_errors(
    events: Sequence[Event],
    descriptor: Descriptor | None = None,
    *,
    soft_modes: int = 0,
    force_field: ValenceForceField | None = None,
    quadratic: bool = False,
    difference: bool = True,
    both_ways: bool = True,
    fractions: Sequence[float] = FRACTIONS,
    splits: int = 20,
    by_minimum: bool = False,
    seed: int = 0,
    solver: SolverName = "ridge",
    **options: Any,
) -> SplitErrors:
    """Errors of `EventSurrogate` on events that it was not fitted to.

    [Lapointe2022] inset of Fig. 3.

    Parameters
    ----------
    events : sequence of Event
    descriptor, soft_modes, force_field, quadratic, difference, both_ways, solver, options
        As of `EventSurrogate.fit`; an event that is held out is so both ways, and tested forwards.
        Soft modes are those of the labels. A cutoff is chosen without what is held out; the force
        field should not have been fitted to these events.
    fractions : sequence of float
        Of the events that are held out, between 0 and 1.
    splits : int
        For every fraction.
    by_minimum : bool
        Whether all events of an initial minimum are held out together; otherwise, as in
        [Lapointe2022], other events of it may be in training.
    seed : int
        Of the splits.

    Returns
    -------
    SplitErrors

    Raises
    ------
    TrainingError
        If there are too few events, or minima, to split.
    """
    data = EventData.of(events, soft_modes, force_field, both_ways)
    designs = designs_of(data, descriptor, quadratic, difference)
    own = slice(0, len(events))
    groups = data.initial if by_minimum else np.arange(len(events))
    rng = np.random.default_rng(seed)
    shape = len(fractions), splits, 2
    train_errors, test_errors = np.empty(shape), np.empty(shape)
    sums, counts = np.zeros((len(events), 2)), np.zeros(len(events))
    for k, fraction in enumerate(fractions):
        for split in range(splits):
            test = _held_out(groups, fraction, rng)
            train = np.tile(~test, data.n_ways)
            columns = choose_design(designs, data, ~test, solver, options).columns
            model = fit_weights(columns[train], data.targets[train], solver, options)
            residuals = predict_from(columns[own], *model) - data.targets[own]
            train_errors[k, split] = np.sqrt(np.mean(residuals[~test] ** 2, axis=0))
            test_errors[k, split] = np.sqrt(np.mean(residuals[test] ** 2, axis=0))
            if fraction == min(fractions):
                sums[test] += (residuals + data.targets[own])[test]
                counts[test] += 1
    with np.errstate(invalid="ignore"):
        predicted = sums / counts[:, None]
    predicted[:, 0] += data.known[own]
    return SplitErrors(
        np.asarray(fractions, float), train_errors.mean(axis=1), test_errors.mean(axis=1), predicted
    )


def _held_out(groups: NDArray[np.intp], fraction: float, rng: np.random.Generator) -> Any:
    """Which events test: of whole groups, about that fraction of all events."""
    if not 0 < fraction < 1:
        raise InvalidInputError(f"fractions: expected numbers between 0 and 1, got {fraction}")
    labels, sizes = np.unique(groups, return_counts=True)
    order = rng.permutation(len(labels))
    total = np.cumsum(sizes[order])
    count = int(np.argmin(np.abs(total - fraction * len(groups)))) + 1
    test = np.isin(groups, labels[order[: min(count, len(labels) - 1)]])
    if not test.any() or np.sum(~test) < 3:
        raise TrainingError(
            f"events: {len(groups)} in {len(labels)} groups are too few to hold {fraction:.0%} out"
        )
    return test
