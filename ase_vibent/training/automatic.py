"""Choices that the data make where the user makes none: descriptor and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from ase_vibent.descriptors import ACE
from ase_vibent.quantities import DEFAULT_WEIGHTS, VALUES, SolverName
from ase_vibent.training.cross_validation import FEWEST_CONFIGURATIONS, cross_validated_errors
from ase_vibent.training.rows import TrainingRows
from ase_vibent.training.training_set import TrainingSet

#: Weights of values beside derivatives that are tried.
VALUE_WEIGHTS = (10.0, 30.0, 60.0, 150.0)
#: Cutoff in nearest-neighbour distances: 5 Å for silicon, 5.3 Å for iron.
CUTOFF = 2.13
#: Radial functions reach this much below the shortest distance of the data.
MARGIN = 0.95
#: Weight of the angular in the total degree: at equal size more accurate than 1.0 or 1.5
#: ([Torabi2024]).
L_WEIGHT = 0.75
#: Degrees that are considered, and how many rows every coefficient should have.
DEGREES = (4, 5, 6, 7, 8, 9, 10, 11, 12)
ROWS_PER_COEFFICIENT = 4
#: Coefficients of a model, at most and at least.
MOST_COEFFICIENTS, FEWEST_COEFFICIENTS = 1000, 60
#: Coefficients above which some twenty fits more would take too long.
MOST_TRIED = 400


def choose_descriptor(training_set: TrainingSet, **chosen: Any) -> ACE:
    """ACE of third order whose distances and size suit the data.

    Parameters
    ----------
    training_set : TrainingSet
    **chosen
        Parameters of `ACE` that the user has chosen.

    Returns
    -------
    ACE
    """
    frames = training_set.frames
    crystals = list(training_set.references.crystals.values())
    typical = float(np.median(_nearest_distances(crystals or frames)))
    shortest = float(_nearest_distances(frames).min())
    parameters: dict[str, Any] = {
        "species": training_set.kinds,
        "cutoff": round(CUTOFF * typical, 2),
        "order": 3,
        "r0": round(typical, 3),
        "inner": round(MARGIN * shortest, 3),
    }
    if "degree" not in chosen:
        parameters["l_weight"] = L_WEIGHT
    parameters |= chosen
    if "degree" in parameters:
        return ACE(**parameters)
    n_kinds = len(parameters["species"])
    limit = np.clip(
        training_set.n_rows / ROWS_PER_COEFFICIENT, FEWEST_COEFFICIENTS, MOST_COEFFICIENTS
    )
    best = ACE(**parameters, degree=DEGREES[0])
    for degree in DEGREES[1:]:
        larger = ACE(**parameters, degree=degree)
        if larger.n_features * n_kinds > limit:
            break
        best = larger
    return best


def _nearest_distances(frames: Sequence[Atoms]) -> NDArray[np.float64]:
    """Distance of every atom of all frames to its nearest neighbour, Å."""
    found = []
    for atoms in frames:
        centres, distances = neighbor_list("id", atoms, 4.5)
        nearest = np.full(len(atoms), np.inf)
        np.minimum.at(nearest, centres, distances)
        found.append(nearest[np.isfinite(nearest)])
    distances = np.concatenate(found)
    return distances if len(distances) else np.array([4.5])


def choose_weights(
    rows: TrainingRows, solver: SolverName, options: Mapping[str, Any]
) -> dict[str, float]:
    """Weight of values beside derivatives that predicts left-out configurations best.

    Parameters
    ----------
    rows : TrainingRows
    solver, options
        Of the fit.

    Returns
    -------
    dict of str to float
        By kind of row. `DEFAULT_WEIGHTS` if only one kind is fitted, or there are fewer than
        `FEWEST_CONFIGURATIONS` configurations, or more than `MOST_TRIED` coefficients.
    """
    values = {*VALUES}.intersection(rows.quantities)
    n_configurations = sum(total.fold in rows.folds for total in rows.totals)
    unsuited = n_configurations < FEWEST_CONFIGURATIONS or rows.problem.n_columns > MOST_TRIED
    if not values or values == set(rows.quantities) or unsuited:
        return DEFAULT_WEIGHTS
    candidates = [DEFAULT_WEIGHTS | dict.fromkeys(values, weight) for weight in VALUE_WEIGHTS]
    scores = [cross_validated_errors(rows, w, solver, options).score for w in candidates]
    return candidates[int(np.argmin(scores))]
