"""Posterior of a fit whose intervals cover what they promise on left-out configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from ase_vibent.arrays import Array
from ase_vibent.model import Posterior
from ase_vibent.training.left_out import LeftOut
from ase_vibent.training.problem import LinearFit

#: Left-out totals without which there is nothing to calibrate on.
FEWEST = 5
#: Width of the Gaussian prior of the exponent: few totals say little about it.
EXPONENT_PRIOR = 0.3
#: Largest exponent by size.
LARGEST_EXPONENT = 0.5


class Calibration(NamedTuple):
    """Noise, scale, exponent and typical coherence of a `Posterior`."""

    noise: float
    scale: float
    exponent: float
    typical: float


def posterior(
    fit: LinearFit, weights: Mapping[str, float], left_out: LeftOut | None = None
) -> Posterior:
    """Posterior covariance of a fit.

    Parameters
    ----------
    fit : LinearFit
        Of all rows.
    weights : mapping of str to float
        Of the kinds of row.
    left_out : LeftOut, optional
        To calibrate on. Without, or with few, the noise is that of the rows of totals.

    Returns
    -------
    Posterior
    """
    n_free, shape = len(fit.problem.free), fit.problem.shift.shape
    factor = fit.solution.covariance_factor
    constants = np.zeros((shape[0], factor.shape[1]))
    constants[fit.problem.free] = factor[:n_free]
    calibration = Calibration(_noise_of_total(fit, weights), 1.0, 0.0, 1.0)
    if left_out is not None and len(left_out.errors) >= FEWEST:
        calibration = calibrate(left_out)
    return Posterior(
        factor[n_free:].reshape(*shape, -1).astype(np.float32),
        constants.astype(np.float32),
        *map(np.array, calibration),
    )


def calibrate(left_out: LeftOut) -> Calibration:
    """Calibration that makes errors most likely, see `Posterior`.

    The variances are then enlarged by n / (n - 2), as two parameters were fitted.

    Parameters
    ----------
    left_out : LeftOut

    Returns
    -------
    Calibration
    """
    errors, spreads, site_spreads = (np.asarray(part, dtype=float) for part in left_out)
    coherence = np.maximum(spreads, 1e-30) / np.maximum(site_spreads, 1e-30) ** 2
    typical = float(np.exp(np.median(np.log(coherence))))
    logarithms = np.log(coherence / typical)
    size = max(float(np.sqrt(np.mean(errors**2))), 1e-12)
    ratio = size / max(float(np.sqrt(np.mean(spreads**2))), 1e-12)

    def variances(parameters: Array) -> Array:
        noise, scale = np.exp(parameters[:2]) * [size, ratio]
        return np.asarray(
            noise**2 + (scale * spreads) ** 2 * np.exp(2 * parameters[2] * logarithms)
        )

    def cost(parameters: Array) -> float:
        found = variances(parameters)
        prior = (parameters[2] / EXPONENT_PRIOR) ** 2
        return float(np.sum(np.log(found) + errors**2 / found) + prior)

    bounds = [
        (np.log(1e-3), np.log(3.0)),
        (np.log(1e-3), np.log(30.0)),
        (-LARGEST_EXPONENT, LARGEST_EXPONENT),
    ]
    starts = ([-6.0, 0.0, 0.0], [-3.0, 0.0, 0.0], [0.0, -3.0, 0.0])
    best = min(
        (minimize(cost, start, bounds=bounds) for start in starts),
        key=lambda result: float(result.fun),
    )
    noise, scale = np.exp(best.x[:2]) * [size, ratio]
    noise, scale = np.sqrt(len(errors) / (len(errors) - 2)) * np.array([noise, scale])
    return Calibration(float(noise), float(scale), float(best.x[2]), typical)


def _noise_of_total(fit: LinearFit, weights: Mapping[str, float]) -> float:
    """Standard deviation of a total that no coefficients explain."""
    noise = fit.solution.noise
    return float(noise / weights["total"]) if np.isfinite(noise) and weights["total"] else 0.0
