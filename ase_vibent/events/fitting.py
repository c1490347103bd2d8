"""Fits of events: features, targets, and the choice of a basis."""

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
from ase_vibent.events.bases import candidate_bases
from ase_vibent.events.event import Event
from ase_vibent.events.soft import ModelledPart, labelled_soft_part
from ase_vibent.events.table import EventTable
from ase_vibent.hessian import ValenceForceField
from ase_vibent.quantities import SolverName
from ase_vibent.regression.r_factor import RFactor
from ase_vibent.regression.solvers import solve
from ase_vibent.structures.atom_types import species_indices
from ase_vibent.thermo.compensation import THZ

#: Parts of the events, each left out in turn, by which a basis is chosen.
FOLDS = 5


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
        difference: bool = True,
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
class EventData:
    """Events both ways, if wanted, with what is learned of them.

    Attributes
    ----------
    ways : sequence of Event
        Forwards, then backwards.
    targets : ndarray, shape (n_ways · n_events, 2)
        ln(ν*/THz) without what is known of it, and ΔE, eV.
    known : ndarray, shape (n_ways · n_events,)
        What soft modes, and a force field for all others, contribute to the former.
    initial : ndarray of int, shape (n_events,)
        Number of the initial minimum of every event, forwards.
    """

    ways: Sequence[Event]
    targets: Array
    known: Array
    initial: NDArray[np.intp]

    @classmethod
    def of(
        cls,
        events: Sequence[Event],
        soft_modes: int,
        force_field: ValenceForceField | None,
        both_ways: bool,
    ) -> EventData:
        """Data of events, as `EventSurrogate.fit` takes them."""
        if len(events) < 3:
            raise TrainingError(f"events: expected at least three to fit, got {len(events)}")
        ways = [*events, *(event.reversed() for event in events)] if both_ways else list(events)
        modelled = ModelledPart(force_field, soft_modes)
        known = np.array(
            [labelled_soft_part(e, soft_modes) + modelled(e.minimum, e.saddle) for e in ways]
        )
        targets = np.array([[np.log(e.attempt_frequency / THZ), e.barrier] for e in ways])
        targets[:, 0] -= known
        return cls(ways, targets, known, EventTable.from_events(events).initial)

    @property
    def n_ways(self) -> int:
        """One, or two."""
        return len(self.ways) // len(self.initial)


@dataclass(frozen=True)
class Design:
    """Features and their values of all events, both ways if wanted."""

    features: EventFeatures
    columns: Array


def designs_of(
    data: EventData,
    descriptor: Descriptor | None,
    quadratic: bool,
    difference: bool,
) -> list[Design]:
    """Designs of the descriptor that is given, or of all that are to be tried.

    Parameters
    ----------
    data : EventData
    descriptor : Descriptor or None
    quadratic, difference : bool

    Returns
    -------
    list of Design
    """
    minima, saddles = ([getattr(e, point) for e in data.ways] for point in ("minimum", "saddle"))
    tried = candidate_bases([*minima, *saddles]) if descriptor is None else [descriptor]
    designs = []
    for own in tried:
        features = EventFeatures.of(minima, own, quadratic=quadratic, difference=difference)
        designs.append(Design(features, features(minima, saddles)))
    return designs


def choose_design(
    designs: Sequence[Design],
    data: EventData,
    among: NDArray[np.bool_],
    solver: SolverName,
    options: dict[str, Any],
) -> Design:
    """Design whose fits predict left-out events best, all of an initial minimum at a time.

    Parameters
    ----------
    designs : sequence of Design
    data : EventData
    among : ndarray of bool, shape (n_events,)
        Events that may be used.
    solver, options
        Of the fit.

    Returns
    -------
    Design
    """
    if len(designs) == 1:
        return designs[0]
    errors = [left_out_errors(design, data, among, solver, options) for design in designs]
    return designs[least_errors(errors)]


def least_errors(errors: Sequence[Array]) -> int:
    """Number of the design with the least product of its two `left_out_errors`."""
    return int(np.argmin(np.log(np.maximum(errors, 1e-150)).sum(axis=1)))


def left_out_errors(
    design: Design,
    data: EventData,
    among: NDArray[np.bool_],
    solver: SolverName,
    options: dict[str, Any],
) -> Array:
    """RMSE of events left out in turn, all of an initial minimum at a time, shape (2,).

    Parameters
    ----------
    design : Design
    data : EventData
    among : ndarray of bool, shape (n_events,)
        Events that may be used.
    solver, options
        Of the fit.

    Returns
    -------
    ndarray, shape (2,)
        Of ln(ν*/THz), and of ΔE, eV.
    """
    minima = np.unique(data.initial[among])
    # Few minima say little: then events are left out one by one.
    groups = data.initial if len(minima) >= 2 * FOLDS else np.arange(len(among))
    labels = np.random.default_rng(0).permutation(np.unique(groups[among]))
    squares = np.zeros(2)
    for fold in np.array_split(labels, min(FOLDS, len(labels))):
        test = among & np.isin(groups, fold)
        train = np.tile(among & ~test, data.n_ways)
        model = fit_weights(design.columns[train], data.targets[train], solver, options)
        tested = np.flatnonzero(test)
        residuals = predict_from(design.columns[tested], *model) - data.targets[tested]
        squares += np.sum(residuals**2, axis=0)
    return np.asarray(np.sqrt(squares / among.sum()))


def _by_species(descriptor: Descriptor, atoms: Atoms) -> list[Array]:
    """Features of the atoms of every species, in the order of the descriptor's."""
    values, kinds = descriptor.compute(atoms), species_indices(atoms, descriptor.species)
    return [values[kinds == k] for k in range(len(descriptor.species))]


def fit_weights(
    features: Array, targets: Array, solver: SolverName, options: dict[str, Any]
) -> tuple[Array, Array]:
    """Means of the columns, and weights after a constant that carries no penalty.

    Parameters
    ----------
    features : ndarray, shape (n_events, n_columns)
    targets : ndarray, shape (n_events, n_targets)
    solver, options
        Of the fit.

    Returns
    -------
    centre : ndarray, shape (n_columns,)
    weights : ndarray, shape (n_columns + 1, n_targets)
    """
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


def predict_from(features: Array, centre: Array, weights: Array) -> Array:
    """Predictions of `fit_weights`, shape (n_events, n_targets)."""
    return weights[0] + (features - centre) @ weights[1:]
