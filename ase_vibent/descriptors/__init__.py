"""Local atomic descriptors: from a structure to features of every atom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

from ase_vibent.checks import check_choice, parse_call
from ase_vibent.descriptors.ace import ACE
from ase_vibent.descriptors.afs import AFS
from ase_vibent.descriptors.bispectrum import Bispectrum
from ase_vibent.descriptors.cartesian import CartesianPolynomials
from ase_vibent.descriptors.interface import Descriptor, Readout, SiteSums, SummedFeatures
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
    "Quadratic",
    "Readout",
    "Resolution",
    "Scattering",
    "SiteSums",
    "SummedFeatures",
    "collapse",
    "descriptor_from_dict",
    "descriptor_from_text",
]

_DESCRIPTORS: dict[str, Callable[..., Descriptor]] = {
    "ACE": ACE,
    "AFS": AFS,
    "Bispectrum": Bispectrum,
    "CartesianPolynomials": CartesianPolynomials,
}
#: What a descriptor may tell apart, all of it first.
Resolution = Literal["sublattices", "species", "nothing"]
RESOLUTIONS: tuple[Resolution, ...] = get_args(Resolution)


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


def descriptor_from_text(text: str, **defaults: Any) -> Descriptor:
    """Descriptor from `Name(key=value, …)`, as the command line takes it.

    Parameters
    ----------
    text : str
    **defaults
        Hyperparameters that the text may leave out.

    Returns
    -------
    Descriptor

    Raises
    ------
    InvalidInputError
        If the text is malformed, or makes no descriptor.
    """
    try:
        name, keywords = parse_call(text)
    except ValueError as error:
        raise InvalidInputError(
            f"descriptor: expected Name or Name(key=value), got {text!r} ({error})"
        ) from error
    return descriptor_from_dict({**defaults, **keywords, "name": name})


def collapse(descriptor: Descriptor, resolve: Resolution) -> Descriptor:
    """The same descriptor telling less apart: for ablations, [Torabi2026] 5.2.

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
    check_choice("resolve", resolve, RESOLUTIONS)
    if resolve == "sublattices":
        return descriptor

    def merge(atom_types: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(kind.partition(":")[0] for kind in atom_types))

    data = descriptor.to_dict()
    for name in ("species", "neighbours"):
        if data.get(name) is not None:
            data[name] = merge(data[name]) if resolve == "species" else [ANY]
    return descriptor_from_dict(data)
