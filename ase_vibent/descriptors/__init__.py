"""Local atomic descriptors: from a structure to features of every atom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ase_vibent.checks import check_choice, parse_sum
from ase_vibent.descriptors.ace import ACE
from ase_vibent.descriptors.afs import AFS
from ase_vibent.descriptors.bispectrum import Bispectrum
from ase_vibent.descriptors.cartesian import CartesianPolynomials
from ase_vibent.descriptors.density.local_descriptor import Joined, LocalDescriptor
from ase_vibent.descriptors.interface import Descriptor, Readout, SiteSums, SummedFeatures
from ase_vibent.descriptors.pair_functions import PairFunctions
from ase_vibent.descriptors.quadratic import Quadratic
from ase_vibent.descriptors.scattering import Scattering
from ase_vibent.errors import InvalidInputError
from ase_vibent.structures.atom_types import ANY

__all__ = [
    "ACE",
    "AFS",
    "Bispectrum",
    "CartesianPolynomials",
    "Descriptor",
    "Joined",
    "PairFunctions",
    "Quadratic",
    "Readout",
    "Resolution",
    "Scattering",
    "SiteSums",
    "SummedFeatures",
    "collapse",
    "descriptor_from_dict",
    "descriptor_from_text",
    "features_within",
    "rescaled",
    "with_degree",
]

_DESCRIPTORS: dict[str, Callable[..., LocalDescriptor]] = {
    "ACE": ACE,
    "AFS": AFS,
    "Bispectrum": Bispectrum,
    "CartesianPolynomials": CartesianPolynomials,
    "Joined": lambda parts: Joined([descriptor_from_dict(part) for part in parts]),
    "PairFunctions": PairFunctions,
}
#: What a descriptor may tell apart, all of it first.
Resolution = Literal["sublattices", "species", "nothing"]
RESOLUTIONS: tuple[Resolution, ...] = get_args(Resolution)


def descriptor_from_dict(data: dict[str, Any]) -> LocalDescriptor:
    """Descriptor from its name and hyperparameters, the inverse of `to_dict`.

    Parameters
    ----------
    data : dict

    Returns
    -------
    LocalDescriptor

    Raises
    ------
    InvalidInputError
        If there is no such descriptor, or a hyperparameter is unknown.
    """
    parameters = dict(data) if isinstance(data, dict) else {"name": data}
    name = parameters.pop("name", None)
    if not isinstance(name, str) or name not in _DESCRIPTORS:
        raise InvalidInputError(
            f"descriptor: expected one of {', '.join(_DESCRIPTORS)}, got {name!r}"
        )
    try:
        return _DESCRIPTORS[name](**parameters)
    except TypeError as error:
        raise InvalidInputError(f"descriptor: {error}") from error


def descriptor_from_text(text: str, **defaults: Any) -> LocalDescriptor:
    """Descriptor from `Name(key=value, …)`, or several with + between, as commands take it.

    Parameters
    ----------
    text : str
    **defaults
        Hyperparameters that the text may leave out, wherever a descriptor has them.

    Returns
    -------
    LocalDescriptor

    Raises
    ------
    InvalidInputError
        If the text is malformed, or makes no descriptor.
    """
    try:
        calls = parse_sum(text)
    except ValueError as error:
        raise InvalidInputError(
            f"descriptor: expected Name, Name(key=value) or a sum of these, got {text!r} ({error})"
        ) from error
    parts = [
        descriptor_from_dict({**defaults, **keywords, "name": name}) for name, keywords in calls
    ]
    return parts[0] if len(parts) == 1 else Joined(parts)


def features_within(descriptor: Descriptor, smaller: Descriptor) -> NDArray[np.bool_] | None:
    """Which features of a descriptor one that is a part of it has, see `LocalDescriptor`.

    Parameters
    ----------
    descriptor, smaller : Descriptor

    Returns
    -------
    ndarray of bool, shape (n_features,), or None
        None if it is no part.
    """
    if isinstance(descriptor, LocalDescriptor) and isinstance(smaller, LocalDescriptor):
        return descriptor.features_within(smaller)
    return None


def rescaled(descriptor: Descriptor, factor: float) -> LocalDescriptor:
    """The same descriptor with all cutoffs times a factor.

    Parameters
    ----------
    descriptor : Descriptor
    factor : float

    Returns
    -------
    LocalDescriptor
    """
    if isinstance(descriptor, Joined):
        return Joined([rescaled(part, factor) for part in descriptor.parts])
    cutoff = round(factor * descriptor.cutoff, 3)
    return descriptor_from_dict({**descriptor.to_dict(), "cutoff": cutoff})


def with_degree(descriptor: Descriptor, change: Callable[[float], float]) -> LocalDescriptor:
    """The same descriptor with other total degrees of ACE, wherever there is any.

    Parameters
    ----------
    descriptor : Descriptor
    change : callable (degree) -> degree

    Returns
    -------
    LocalDescriptor
    """
    if isinstance(descriptor, Joined):
        return Joined([with_degree(part, change) for part in descriptor.parts])
    data = descriptor.to_dict()
    if isinstance(descriptor, ACE):
        data["degree"] = change(descriptor.degree)
    return descriptor_from_dict(data)


def collapse(descriptor: Descriptor, resolve: Resolution) -> Descriptor:
    """The same descriptor telling less apart: for ablations, [Torabi2026] 5.2.

    Parameters
    ----------
    descriptor : Descriptor
    resolve : {"sublattices", "species", "nothing"}
        What is still told apart, of sites and of neighbours.

    Returns
    -------
    LocalDescriptor

    Raises
    ------
    InvalidInputError
        If `resolve` is none of these.
    """
    check_choice("resolve", resolve, RESOLUTIONS)
    if resolve == "sublattices":
        return descriptor

    def merge(atom_types: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(kind.partition(":")[0] for kind in atom_types))

    def collapsed(data: dict[str, Any]) -> dict[str, Any]:
        parts = {"parts": [collapsed(part) for part in data["parts"]]} if "parts" in data else {}
        types = {
            name: merge(data[name]) if resolve == "species" else [ANY]
            for name in ("species", "neighbours")
            if data.get(name) is not None
        }
        return {**data, **types, **parts}

    return descriptor_from_dict(collapsed(descriptor.to_dict()))
