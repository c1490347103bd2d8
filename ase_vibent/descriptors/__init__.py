"""Local atomic descriptors: from a structure to features of every atom."""

from __future__ import annotations

from typing import Any

from ase_vibent.descriptors.ace import ACE
from ase_vibent.descriptors.interface import Descriptor, Readout, SiteSums, SummedFeatures
from ase_vibent.descriptors.quadratic import Quadratic
from ase_vibent.errors import InvalidInputError

__all__ = [
    "ACE",
    "Descriptor",
    "Quadratic",
    "Readout",
    "SiteSums",
    "SummedFeatures",
    "descriptor_from_dict",
]

_DESCRIPTORS = {"ACE": ACE}


def descriptor_from_dict(data: dict[str, Any]) -> Descriptor:
    """Descriptor from its name and hyperparameters, the inverse of `to_dict`.

    Parameters
    ----------
    data : dict

    Returns
    -------
    Descriptor

    Raises
    ------
    InvalidInputError
        If there is no such descriptor, or a hyperparameter is unknown.
    """
    parameters = dict(data)
    name = parameters.pop("name", None)
    if name not in _DESCRIPTORS:
        raise InvalidInputError(
            f"descriptor: expected one of {', '.join(_DESCRIPTORS)}, got {name!r}"
        )
    try:
        return _DESCRIPTORS[name](**parameters)
    except TypeError as error:
        raise InvalidInputError(f"descriptor: {error}") from error
