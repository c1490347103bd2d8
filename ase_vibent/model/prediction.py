"""What a site model says of a structure."""

from __future__ import annotations

from dataclasses import dataclass

from ase_vibent.arrays import Array


@dataclass(frozen=True)
class Prediction:
    """Site values of a model, derivatives of their sum, and errors, each None unless wanted.

    Attributes
    ----------
    values : ndarray, shape (N,)
    gradient : ndarray, shape (N, 3), 1/Å
    strain : ndarray, shape (3, 3)
    std : float
        Standard deviation of the sum.
    site_stds : ndarray, shape (N,)
    grades : ndarray, shape (N,)
        Extrapolation grades.
    """

    values: Array
    gradient: Array | None
    strain: Array | None
    std: float | None
    site_stds: Array | None
    grades: Array | None
