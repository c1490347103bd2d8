"""Power laws y = A x^-p fitted on logarithmic axes, and cutoffs read off them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

#: Points that a fit needs at least, to have an uncertainty worth the name.
LEAST_POINTS = 4


@dataclass(frozen=True)
class PowerLaw:
    """A r^-p.

    Attributes
    ----------
    prefactor : float
        A, in the unit of y with r in Å.
    exponent : float
        p.
    exponent_std : float
        Standard error of p from the scatter of the points.
    """

    prefactor: float
    exponent: float
    exponent_std: float

    def __call__(self, r: ArrayLike) -> Array:
        """A r^-p, of the shape of r."""
        return self.prefactor * np.asarray(r, dtype=float) ** -self.exponent


def fit_power_law(r: Array, values: Array) -> PowerLaw | None:
    """Least squares in the logarithms, over values above 0.

    Parameters
    ----------
    r : ndarray, shape (n,), Å
    values : ndarray, shape (n,)

    Returns
    -------
    PowerLaw or None
        None where fewer than `LEAST_POINTS` points are left.
    """
    used = values > 0
    if used.sum() < LEAST_POINTS:
        return None
    x, y = np.log(r[used]), np.log(values[used])
    spread = x - x.mean()
    slope = spread @ y / (spread @ spread)
    rest = y - y.mean() - slope * spread
    std = np.sqrt(rest @ rest / (len(x) - 2) / (spread @ spread))
    return PowerLaw(float(np.exp(y.mean() - slope * x.mean())), -float(slope), float(std))


@dataclass(frozen=True)
class RecommendedCutoff:
    """Cutoff for a wanted error of a site entropy.

    Attributes
    ----------
    cutoff : float, Å
    measured : bool
        Whether measured values reach that far; otherwise a fitted power law does.
    """

    cutoff: float
    measured: bool
