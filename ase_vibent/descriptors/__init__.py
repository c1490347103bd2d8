"""Local atomic descriptors: from a structure to features of every atom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ase_vibent.descriptors.ace import ACE
from ase_vibent.descriptors.cartesian import CartesianPolynomials
from ase_vibent.descriptors.interface import Descriptor, Readout, SiteSums, SummedFeatures
from ase_vibent.descriptors.kinds import ANY
from ase_vibent.descriptors.quadratic import Quadratic
from ase_vibent.descriptors.scattering import Scattering
from ase_vibent.errors import InvalidInputError

__all__ = [
    "ACE",
    "CartesianPolynomials",
    "Descriptor",
    "Quadratic",
    "Readout",
    "Scattering",
    "SiteSums",
    "SummedFeatures",
    "collapsed",
    "descriptor_from_dict",
]

_DESCRIPTORS = {"ACE": ACE, "CartesianPolynomials": CartesianPolynomials}
#: What a descriptor may tell apart, all of it first.
RESOLUTIONS = ("sublattices", "species", "nothing")


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


def collapsed(descriptor: Descriptor, resolve: str) -> Descriptor:
    """The same descriptor telling less apart: for ablations, P1 5.2.

    Parameters
    ----------
    descriptor : Descriptor
    resolve : {"sublattices", "species", "nothing"}
        What is still told apart, of sites and of neighbours.

    Returns
    -------
    Descriptor

    Raises
    ------
    InvalidInputError
        If `resolve` is none of these.
    """
    if resolve not in RESOLUTIONS:
        raise InvalidInputError(
            f"resolve: expected one of {', '.join(RESOLUTIONS)}, got {resolve!r}"
        )
    if resolve == "sublattices":
        return descriptor

    def merged(kinds: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(kind.partition(":")[0] for kind in kinds))

    data = descriptor.to_dict()
    for name in ("species", "neighbours"):
        if data.get(name) is not None:
            data[name] = merged(data[name]) if resolve == "species" else [ANY]
    return descriptor_from_dict(data)
