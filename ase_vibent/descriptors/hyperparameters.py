"""Checks of hyperparameters that descriptors share."""

from __future__ import annotations

import numpy as np

from ase_vibent.errors import InvalidInputError


def check_positive(descriptor: object, *names: str) -> None:
    """Refuse attributes that are not finite numbers > 0.

    Raises
    ------
    InvalidInputError
    """
    for name in names:
        value = getattr(descriptor, name)
        if not (isinstance(value, int | float) and 0 < value < np.inf):
            raise InvalidInputError(f"{name}: expected a number > 0, got {value!r}")


def check_integers(descriptor: object, least: int, *names: str) -> None:
    """Refuse attributes that are not integers, or less than the least.

    Raises
    ------
    InvalidInputError
    """
    for name in names:
        value = getattr(descriptor, name)
        if not (isinstance(value, int | np.integer) and value >= least):
            raise InvalidInputError(f"{name}: expected an integer ≥ {least}, got {value!r}")
