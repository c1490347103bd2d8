"""Attempt frequencies and barriers of events from summed descriptors, [Lapointe2022] (27), (30)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent.arrays import Array
from ase_vibent.descriptors.interface import Descriptor
from ase_vibent.errors import InvalidInputError, TrainingError
from ase_vibent.events.event import Event
from ase_vibent.events.table import EventTable
from ase_vibent.quantities import SolverName
from ase_vibent.regression.r_factor import RFactor
from ase_vibent.regression.solvers import solve
from ase_vibent.structures.atom_types import species_indices
from ase_vibent.thermo.compensation import THZ

#: Test fractions of `split_errors`.
FRACTIONS = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class EventFeatures:
    """Σ_i D_i of minimum and saddle of events.

    [Lapointe2022] (27), of a quadratic model also Σ_i x_i x_iᵀ.

    x_i is D_i less its mean over the atoms of one species in training, [Lapointe2022] (17). Sums go
    over the atoms of every species apart. The second half of the columns is saddle less minimum:
    the same models as of D_min ⊕ D_saddle, whose columns all but repeat each other.

    Parameters
    ----------
    descriptor : Descriptor
    quadratic : bool
    difference : bool
        Saddle less minimum alone: then one function of a structure gives both, as energies and
        entropies are, and events of other minima need no other weights.
    shift : ndarray, shape (n_species, n_features)
        Those means; a linear model needs none.
    """

    descriptor: Descriptor
    quadratic: bool
    difference: bool
    shift: Array = field(repr=False)

    @classmethod
    def of(
        cls,
        minima: Sequence[Atoms],
        descriptor: Descriptor,
        *,
        quadratic: bool = False,
        difference: bool = False,
    ) -> EventFeatures:
        """Features whose means are those of these minima."""
        shift = np.zeros((len(descriptor.species), descriptor.n_features))
        if quadratic:
            counts = np.zeros(len(shift))
            for atoms in minima:
                for z, values in enumerate(_by_species(descriptor, atoms)):
                    shift[z] += values.sum(axis=0)
                    counts[z] += len(values)
            shift /= np.maximum(counts, 1)[:, None]
        return cls(descriptor, quadratic, difference, shift)

    def __call__(self, minima: Sequence[Atoms], saddles: Sequence[Atoms]) -> Array:
        """Features of events, shape (n_events, n_columns)."""
        if len(minima) != len(saddles):
            raise InvalidInputError(
                f"saddles: expected as many as minima, {len(minima)}, got {len(saddles)}"
            )
        below, above = (
            np.array([self._sum_features(atoms) for atoms in structures])
            for structures in (minima, saddles)
        )
        return above - below if self.difference else np.hstack([below, above - below])

    def _sum_features(self, atoms: Atoms) -> Array:
        sums = []
        for values, shift in zip(_by_species(self.descriptor, atoms), self.shift, strict=True):
            centred = values - shift
            sums.append(centred.sum(axis=0))
            if self.quadratic:
                sums.append((centred.T @ centred)[np.triu_indices(len(shift))])
        return np.concatenate(sums)


@dataclass(frozen=True)
class EventSurrogate:
    """ln(ν*/THz) and ΔE of events from the structures of minimum and saddle.

    [Lapointe2022] (27), (30).

    Attributes
    ----------
    features : EventFeatures
    centre : ndarray, shape (n_columns,)
        Mean of every column in training.
    weights : ndarray, shape (n_columns + 1, 2)
        Of the centred columns, after a constant: of ln(ν*/THz), and of ΔE in eV.
    """

    features: EventFeatures
    centre: Array = field(repr=False)
    weights: Array = field(repr=False)

    @classmethod
    def fit(
        cls,
        events: Sequence[Event],
        descriptor: Descriptor,
        *,
        quadratic: bool = False,
        difference: bool = False,
        both_ways: bool = False,
        solver: SolverName = "ridge",
        **options: Any,
    ) -> EventSurrogate:
        """Fit to events.

        Parameters
        ----------
        events : sequence of Event
        descriptor : Descriptor
        quadratic : bool
            Also products of features of an atom: EQML, [Lapointe2022] (17), in place of the linear
            model.
        difference : bool
            Weights of saddle less minimum, in place of [Lapointe2022]'s D_min ⊕ D_saddle: half as
            many.
        both_ways : bool
            Every event trains backwards, too, from its final minimum: twice as many data.
        solver : {"ridge", "bayesian-ridge", "ard", "rrqr"}
            As of `ase_vibent.train`.
        **options
            Of the solver.

        Returns
        -------
        EventSurrogate

        Raises
        ------
        TrainingError
            If there are fewer than three events.
        """
        ways = [*events, *(event.reversed() for event in events)] if both_ways else events
        minima, saddles = _structures(ways)
        features = EventFeatures.of(minima, descriptor, quadratic=quadratic, difference=difference)
        return cls(
            features, *_fit_weights(features(minima, saddles), _targets(ways), solver, options)
        )

    def predict(
        self, minima: Atoms | Sequence[Atoms], saddles: Atoms | Sequence[Atoms]
    ) -> tuple[Array, Array]:
        """Attempt frequencies and barriers.

        Parameters
        ----------
        minima, saddles : Atoms or sequence of Atoms
            One of each per event.

        Returns
        -------
        logarithms : ndarray, shape (n_events,)
            ln(ν*/THz).
        barriers : ndarray, shape (n_events,), eV
        """
        below, above = ([s] if isinstance(s, Atoms) else list(s) for s in (minima, saddles))
        if not below and not above:
            return np.zeros(0), np.zeros(0)
        predicted = _predict_from(self.features(below, above), self.centre, self.weights)
        return predicted[:, 0], predicted[:, 1]


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
    descriptor: Descriptor,
    *,
    quadratic: bool = False,
    difference: bool = False,
    both_ways: bool = False,
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
    descriptor : Descriptor
    quadratic, difference, both_ways, solver, options
        As of `EventSurrogate.fit`; an event that is held out is so both ways, and tested forwards.
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
    ways = [*events, *(event.reversed() for event in events)] if both_ways else list(events)
    minima, saddles = _structures(ways)
    features = EventFeatures.of(minima, descriptor, quadratic=quadratic, difference=difference)(
        minima, saddles
    )
    targets = _targets(ways)
    own = slice(0, len(events))
    groups = EventTable.from_events(events).initial if by_minimum else np.arange(len(events))
    rng = np.random.default_rng(seed)
    shape = len(fractions), splits, 2
    train_errors, test_errors = np.empty(shape), np.empty(shape)
    sums, counts = np.zeros_like(targets[own]), np.zeros(len(events))
    for k, fraction in enumerate(fractions):
        for split in range(splits):
            test = _held_out(groups, fraction, rng)
            train = np.tile(~test, len(ways) // len(events))
            model = _fit_weights(features[train], targets[train], solver, options)
            residuals = _predict_from(features[own], *model) - targets[own]
            train_errors[k, split] = np.sqrt(np.mean(residuals[~test] ** 2, axis=0))
            test_errors[k, split] = np.sqrt(np.mean(residuals[test] ** 2, axis=0))
            if fraction == min(fractions):
                sums[test] += (residuals + targets[own])[test]
                counts[test] += 1
    with np.errstate(invalid="ignore"):
        predicted = sums / counts[:, None]
    return SplitErrors(
        np.asarray(fractions, float), train_errors.mean(axis=1), test_errors.mean(axis=1), predicted
    )


def _by_species(descriptor: Descriptor, atoms: Atoms) -> list[Array]:
    """Features of the atoms of every species, in the order of the descriptor's."""
    values = descriptor.compute(atoms)
    kinds = species_indices(atoms, descriptor.species)
    return [values[kinds == k] for k in range(len(descriptor.species))]


def _structures(events: Sequence[Event]) -> tuple[list[Atoms], list[Atoms]]:
    if len(events) < 3:
        raise TrainingError(f"events: expected at least three to fit, got {len(events)}")
    return [event.minimum for event in events], [event.saddle for event in events]


def _targets(events: Sequence[Event]) -> Array:
    """ln(ν*/THz) and ΔE (eV), shape (n_events, 2)."""
    return np.array([[np.log(e.attempt_frequency / THZ), e.barrier] for e in events])


def _fit_weights(
    features: Array, targets: Array, solver: SolverName, options: dict[str, Any]
) -> tuple[Array, Array]:
    """Means of the columns, and weights after a constant that carries no penalty."""
    centre = features.mean(axis=0)
    centred = features - centre
    scale = np.sqrt(np.mean(centred**2, axis=0))
    # Of columns that do not change but for rounding.
    scale[scale <= 1e-10 * np.abs(features).max(axis=0, initial=0)] = np.inf
    columns = np.column_stack([np.ones(len(features)), centred])
    weights = [
        solve(
            RFactor.from_blocks([(columns, values)]), solver, n_free=1, scale=scale, **options
        ).coefficients
        for values in targets.T
    ]
    return centre, np.array(weights).T


def _predict_from(features: Array, centre: Array, weights: Array) -> Array:
    return weights[0] + (features - centre) @ weights[1:]


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
