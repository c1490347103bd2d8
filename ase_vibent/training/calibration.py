"""Posterior of a fit whose intervals cover what they promise on left-out configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ase_vibent.model import Posterior
from ase_vibent.training.problem import LinearFit
from ase_vibent.training.rows import ALWAYS, TrainingRows

Array = NDArray[np.float64]

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
    errors, spreads = left_out_errors(fit, rows, weights, solver, options)
    noise, scale = _noise_of_total(fit, weights), 1.0
    if len(errors) >= FEWEST:
        noise, scale = calibrated(errors, spreads)
    return Posterior(
        factor[n_free:].reshape(*shape, -1).astype(np.float32),
        constants.astype(np.float32),
        noise=np.array(noise),
        scale=np.array(scale),
    )


def left_out_errors(
    fit: LinearFit,
    rows: TrainingRows,
    weights: Mapping[str, float],
    solver: str,
    options: Mapping[str, Any],
) -> tuple[Array, Array]:
    """Errors of totals, and their posterior spreads, from fits that left them out.

    Parameters
    ----------
    As in `posterior`.

    Returns
    -------
    errors, spreads : ndarrays, shape (n,), k_B
    """
    if "strength" in fit.solution.details:
        options = {**options, "strength": fit.solution.details["strength"]}
    errors, spreads = [np.empty(0)], [np.empty(0)]
    for fold in rows.folds if len(rows.folds) > 1 else ():
        totals = [total for total in rows.totals if total.fold == fold]
        if not totals:
            continue
        others = [ALWAYS, *(other for other in rows.folds if other != fold)]
        partial = rows.problem.fit(rows.merged(weights, folds=others), solver, options)
        matrix = np.array([total.row for total in totals])
        predicted = matrix @ partial.solution.coefficients
        errors.append(predicted - [total.value for total in totals])
        spreads.append(np.linalg.norm(matrix @ partial.solution.covariance_factor, axis=1))
    found = np.stack([np.concatenate(errors), np.concatenate(spreads)])
    error, spread = found[:, np.isfinite(found).all(axis=0)]
    return error, spread


def calibrated(errors: Array, spreads: Array) -> tuple[float, float]:
    """Noise and scale that make errors most likely: variance = noise² + scale² · spread².

    Errors of a fit that is not the true function grow with the distance from the crystal, as
    the spread does, and more than it: a noise alone would be too wide near the crystal,
    too narrow far from it.

    Parameters
    ----------
    errors, spreads : ndarrays, shape (n,), k_B

    Returns
    -------
    noise : float, k_B
    scale : float
    """
    typical = max(float(np.sqrt(np.mean(errors**2))), 1e-12)
    ratio = typical / max(float(np.sqrt(np.mean(spreads**2))), 1e-12)

    def cost(logarithms: Array) -> float:
        noise, scale = np.exp(logarithms) * [typical, ratio]
        variances = noise**2 + scale**2 * spreads**2
        return float(np.sum(np.log(variances) + errors**2 / variances))

    bounds = [(np.log(1e-3), np.log(3.0)), (np.log(1e-3), np.log(30.0))]
    best = min(
        (minimize(cost, start, bounds=bounds) for start in ([-3.0, 0.0], [0.0, -3.0])),
        key=lambda result: float(result.fun),
    )
    noise, scale = np.exp(best.x) * [typical, ratio]
    return float(noise), float(scale)


def _noise_of_total(fit: LinearFit, weights: Mapping[str, float]) -> float:
    """Standard deviation of a total that no coefficients explain."""
    noise = fit.solution.noise
    return float(noise / weights["entropy"]) if np.isfinite(noise) and weights["entropy"] else 0.0
