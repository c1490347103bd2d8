"""Weights that the data choose where the user does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ase_vibent.quantities import DEFAULT_WEIGHTS, VALUES, SolverName
from ase_vibent.training.cross_validation import FEWEST_CONFIGURATIONS, cross_validated_errors
from ase_vibent.training.rows import TrainingRows

#: Weights of values beside derivatives that are tried.
VALUE_WEIGHTS = (10.0, 30.0, 60.0, 150.0)
#: Coefficients above which some twenty fits more would take too long.
MOST_TRIED = 400


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
