"""Posterior of a fit whose intervals cover what they promise on left-out configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from ase_vibent.model import Posterior
from ase_vibent.training.problem import LinearFit
from ase_vibent.training.rows import ALWAYS, TrainingRows

Array = NDArray[np.float64]

#: Coverage of the intervals that the scale is made for.
COVERAGES = (0.5, 0.8, 0.95)
#: Left-out totals without which there is nothing to calibrate on.
FEWEST = 5


def posterior(
    fit: LinearFit,
    rows: TrainingRows,
    weights: Mapping[str, float],
    solver: str,
    options: Mapping[str, Any],
) -> Posterior:
    """Posterior covariance, scaled by cross-validation grouped by configuration.

    Parameters
    ----------
    fit : LinearFit
        Of all rows.
    rows : TrainingRows
    weights, solver, options
        Of the fit.

    Returns
    -------
    Posterior
    """
    n_free, shape = len(fit.problem.free), fit.problem.shift.shape
    factor = fit.solution.covariance_factor
    constants = np.zeros((shape[0], factor.shape[1]))
    constants[fit.problem.free] = factor[:n_free]
    deviations = left_out_deviations(fit, rows, weights, solver, options)
    return Posterior(
        factor[n_free:].reshape(*shape, -1).astype(np.float32),
        constants.astype(np.float32),
        noise=np.array(_noise_of_total(fit, weights)),
        scale=np.array(calibrated_scale(deviations)),
    )


def left_out_deviations(
    fit: LinearFit,
    rows: TrainingRows,
    weights: Mapping[str, float],
    solver: str,
    options: Mapping[str, Any],
) -> Array:
    """Errors of totals over their standard deviations, from fits that left them out.

    Parameters
    ----------
    As in `posterior`.

    Returns
    -------
    ndarray, shape (n,)
    """
    if "strength" in fit.solution.details:
        options = {**options, "strength": fit.solution.details["strength"]}
    deviations = []
    for fold in rows.folds if len(rows.folds) > 1 else ():
        totals = [total for total in rows.totals if total.fold == fold]
        if not totals:
            continue
        others = [ALWAYS, *(other for other in rows.folds if other != fold)]
        partial = rows.problem.fit(rows.merged(weights, folds=others), solver, options)
        matrix = np.array([total.row for total in totals])
        error = matrix @ partial.solution.coefficients - [total.value for total in totals]
        spread = np.linalg.norm(matrix @ partial.solution.covariance_factor, axis=1)
        deviations.append(error / np.hypot(spread, _noise_of_total(partial, weights)))
    found = np.concatenate([[], *deviations])
    return found[np.isfinite(found)]


def calibrated_scale(deviations: Array) -> float:
    """Factor by which standard deviations must grow for normal intervals to cover enough.

    Parameters
    ----------
    deviations : ndarray, shape (n,)
        Errors over their standard deviations.

    Returns
    -------
    float
        Geometric mean of what intervals of 50, 80 and 95 % ask for; 1 with too few errors.
    """
    if len(deviations) < FEWEST:
        return 1.0
    widths = np.quantile(np.abs(deviations), COVERAGES) / norm.ppf((1 + np.array(COVERAGES)) / 2)
    return float(np.exp(np.mean(np.log(np.maximum(widths, 1e-12)))))


def _noise_of_total(fit: LinearFit, weights: Mapping[str, float]) -> float:
    """Standard deviation of a total that no coefficients explain."""
    noise = fit.solution.noise
    return float(noise / weights["entropy"]) if np.isfinite(noise) and weights["entropy"] else 0.0
