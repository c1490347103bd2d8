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
from ase_vibent.errors import InvalidInputError
from ase_vibent.events.event import Event
from ase_vibent.events.fitting import (
    EventData,
    EventFeatures,
    designs_of,
    fit_weights,
    least_errors,
    left_out_errors,
    predict_from,
)
from ase_vibent.events.soft import ModelledPart, SoftPartFinder
from ase_vibent.hessian import ValenceForceField
from ase_vibent.quantities import SolverName

#: Modes that are found exactly by default, beside a force field.
SOFT_MODES = 5


@dataclass(frozen=True)
class PredictedEvents:
    """What a surrogate says of events.

    Attributes
    ----------
    logarithms : ndarray, shape (n_events,)
        ln(ν*/THz).
    barriers : ndarray, shape (n_events,), eV
    force_calls : ndarray of int, shape (n_events,)
        That exact soft modes took.
    soft_errors : ndarray, shape (n_events,)
        Estimated errors of the logarithms for soft modes that have not converged.
    logarithm_std : ndarray, shape (n_events,)
        Standard deviations of the logarithms: what events that were left out in training differed
        by, and these errors.
    """

    logarithms: Array
    barriers: Array
    force_calls: NDArray[np.intp]
    soft_errors: Array
    logarithm_std: Array


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
        Of the centred columns, after a constant: of ln(ν*/THz) without what is known of it, and of
        ΔE in eV.
    left_out_errors : ndarray, shape (2,)
        RMSE of both on events that were left out in turn.
    soft_modes : int
        Softest stable modes of either structure that are not learned, but found exactly.
    force_field : ValenceForceField or None
        From which all other modes are known about; the rest is learned.
    """

    features: EventFeatures
    centre: Array = field(repr=False)
    weights: Array = field(repr=False)
    left_out_errors: Array
    soft_modes: int = 0
    force_field: ValenceForceField | None = None

    @classmethod
    def fit(
        cls,
        events: Sequence[Event],
        descriptor: Descriptor | None = None,
        *,
        soft_modes: int | None = None,
        force_field: ValenceForceField | None = None,
        quadratic: bool = False,
        difference: bool = True,
        both_ways: bool = True,
        solver: SolverName = "ridge",
        **options: Any,
    ) -> EventSurrogate:
        """Fit to events.

        Parameters
        ----------
        events : sequence of Event
        descriptor : Descriptor, optional
            By default ACE of orders 2 and 3 side by side, with the cutoff that predicts left-out
            events best.
        soft_modes : int, optional
            Softest stable modes, of minimum and of saddle, that are left out of what is learned:
            logarithms of single modes are no smooth sum over neighbourhoods. The events' labels
            have them; predictions take some force calls for them. By default five with a force
            field, and otherwise none.
        force_field : ValenceForceField, optional
            Fitted to the Hessians of a few minima and saddles. All modes but the softest are taken
            from it, and what it misses is learned; it also spares most of the force calls that the
            softest take.
        quadratic : bool
            Also products of features of an atom: EQML, [Lapointe2022] (17), in place of the linear
            model.
        difference : bool
            Weights of saddle less minimum; False is [Lapointe2022]'s D_min ⊕ D_saddle, twice as
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
            If there are fewer than three events, or they lack labels of soft modes.
        """
        if soft_modes is None:
            soft_modes = 0 if force_field is None else SOFT_MODES
        data = EventData.of(events, soft_modes, force_field, both_ways)
        designs = designs_of(data, descriptor, quadratic, difference)
        every = np.ones(len(events), dtype=bool)
        errors = [left_out_errors(design, data, every, solver, options) for design in designs]
        best = least_errors(errors)
        centre, weights = fit_weights(designs[best].columns, data.targets, solver, options)
        return cls(designs[best].features, centre, weights, errors[best], soft_modes, force_field)

    def predict(
        self,
        minima: Atoms | Sequence[Atoms],
        saddles: Atoms | Sequence[Atoms],
        calculator: object = None,
        *,
        max_force_calls: int = 60,
        similar: Any = None,
    ) -> PredictedEvents:
        """Attempt frequencies and barriers.

        Parameters
        ----------
        minima, saddles : Atoms or sequence of Atoms
            One of each per event. Saddles from `find_events` carry the direction of their unstable
            mode, without which soft modes may take more calls.
        calculator : ASE calculator or factory, optional
            For exact soft modes, if the surrogate was fitted without.
        max_force_calls : int
            For the soft modes of an event; what they have reached by then counts. A minimum of
            several events is looked at once, one that is labelled with soft modes not at all.
        similar : ndarray or sparse array, shape (3n, 3n), eV/Å², optional
            Hessian of a structure that all of them resemble, such as the minimum from which all
            events start, in place of the force field's: it spares force calls.

        Returns
        -------
        PredictedEvents

        Raises
        ------
        InvalidInputError
            If there are soft modes to be found, and no calculator.
        UnstableStructureError
            If a minimum has unstable modes, or a saddle not exactly one.
        """
        below, above = ([s] if isinstance(s, Atoms) else list(s) for s in (minima, saddles))
        if not below and not above:
            none = np.zeros(0)
            return PredictedEvents(none, none, none.astype(np.intp), none, none)
        if self.soft_modes and calculator is None:
            raise InvalidInputError(
                f"calculator: the surrogate was fitted without {self.soft_modes} soft modes; pass "
                "the calculator whose forces give them"
            )
        predicted = predict_from(self.features(below, above), self.centre, self.weights)
        find = SoftPartFinder(
            calculator, self.soft_modes, max_force_calls, similar, self.force_field
        )
        pairs = list(zip(below, above, strict=True))
        parts = [find(*pair) for pair in pairs]
        model = ModelledPart(self.force_field, self.soft_modes)
        modelled = np.array([model(*pair) for pair in pairs])
        soft_errors = np.array([part.error for part in parts])
        return PredictedEvents(
            predicted[:, 0] + modelled + [part.logarithm for part in parts],
            predicted[:, 1],
            np.array([part.force_calls for part in parts], dtype=np.intp),
            soft_errors,
            np.hypot(self.left_out_errors[0], soft_errors),
        )
