"""Power laws y = A x^-p fitted on logarithmic axes, and what is read off them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidInputError

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


def fit_power_law(r: Array, values: Array, least: int = LEAST_POINTS) -> PowerLaw | None:
    """Least squares in the logarithms, over values above 0.

    Parameters
    ----------
    r : ndarray, shape (n,), Å
    values : ndarray, shape (n,)
    least : int
        Number of points without which there is no fit; two have no scatter, and NaN for an error.

    Returns
    -------
    PowerLaw or None
        None where too few points are left.
    """
    used = values > 0
    if used.sum() < least:
        return None
    x, y = np.log(r[used]), np.log(values[used])
    spread = x - x.mean()
    slope = spread @ y / (spread @ spread)
    rest = y - y.mean() - slope * spread
    scatter = rest @ rest / (len(x) - 2) if len(x) > 2 else np.nan
    std = np.sqrt(scatter / (spread @ spread))
    return PowerLaw(float(np.exp(y.mean() - slope * x.mean())), -float(slope), float(std))


def convergence_rate(sizes: ArrayLike, errors: ArrayLike) -> PowerLaw:
    """How errors fall with a size: error ≈ A size^-p.

    Parameters
    ----------
    sizes, errors : array_like, shape (n,)
        Errors may be signed.

    Returns
    -------
    PowerLaw

    Raises
    ------
    InvalidInputError
        If there are fewer than two sizes, or a number is zero or not finite.
    """
    x, y = np.asarray(sizes, dtype=float), np.abs(np.asarray(errors, dtype=float))
    if x.shape != y.shape or x.ndim != 1 or len(np.unique(x)) < 2:
        raise InvalidInputError(
            f"sizes: expected two at least, and an error of each, got {x.shape} and {y.shape}"
        )
    if not (np.all(np.isfinite(x + y)) and np.all(x > 0) and np.all(y > 0)):
        raise InvalidInputError("errors: a power law needs finite numbers other than 0")
    law = fit_power_law(x, y, least=2)
    assert law is not None
    return law


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
