"""What a model says at a temperature, as the site energies that engines know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from ase.units import kB

from ase_vibent.arrays import Array
from ase_vibent.checks import check_choice
from ase_vibent.descriptors import Descriptor
from ase_vibent.descriptors.density.descriptor import DensityDescriptor
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.entropy import classical_entropy, mass_entropy
from ase_vibent.harmonic.thermodynamics import check_temperature
from ase_vibent.model import SiteModel
from ase_vibent.quantities import ENERGY
from ase_vibent.structures.atom_types import ANY, resolves_sublattices

#: What a model of entropies can be exported as, named like the results of its calculator.
QuantityOfEntropies = Literal["free_energy", "entropy"]


@dataclass(frozen=True)
class SiteEnergies:
    """Site energies c_z + w_z · D_i + D_iᵀ W_z D_i of the features D_i of an atom.

    Attributes
    ----------
    descriptor : Descriptor
    constants : ndarray, shape (n_elements,), of `unit`
        c: masses and the constants of thermodynamics included.
    weights : ndarray, shape (n_elements, n_features), of `unit`
    curvature : ndarray, shape (n_elements, n_features, n_features), of `unit`, or None
        W, symmetric; the model is linear without.
    title, unit : str
    """

    descriptor: Descriptor
    constants: Array
    weights: Array
    curvature: Array | None
    title: str
    unit: str

    @property
    def elements(self) -> Sequence[str]:
        """Chemical symbols of the sites."""
        return self.descriptor.species

    def summary(
        self, files: Sequence[str], commands: Sequence[str], **details: Any
    ) -> dict[str, Any]:
        """What was written, and the commands by which LAMMPS reads it."""
        return {
            "quantity": self.title,
            "unit": self.unit,
            "elements": list(self.elements),
            **details,
            "output": list(files),
            "lammps": list(commands),
        }


def site_energies(
    model: SiteModel,
    temperature: float | None = None,
    quantity: QuantityOfEntropies = "free_energy",
) -> SiteEnergies:
    """A model as site energies of elements.

    Parameters
    ----------
    model : SiteModel
    temperature : float, K, optional
        Of a model of entropies, which needs one.
    quantity : {"free_energy", "entropy"}
        Of a model of entropies, classical and with ASE's standard masses: F_vib(T) in eV, or S(T)
        in eV/K.

    Returns
    -------
    SiteEnergies

    Raises
    ------
    InvalidInputError
        If the model tells apart what engines do not, or the temperature is missing, out of range
        or of no use.
    """
    model.require_no_floor("other engines find no soft modes")
    _check_elements(model)
    check_choice("quantity", quantity, get_args(QuantityOfEntropies))
    if model.target == ENERGY.name:
        if temperature is not None or quantity != "free_energy":
            raise InvalidInputError(
                "temperature, quantity: are for models of entropies; this one predicts potential "
                "energies: leave them out"
            )
        factor, offsets, title, unit = 1.0, np.zeros(len(model.species)), "potential energy", "eV"
    else:
        if temperature is None:
            raise InvalidInputError(
                "temperature: missing; a model of entropies is exported as F_vib(T) or S(T) at "
                "one temperature in K"
            )
        kelvin = check_temperature(temperature)
        masses = atomic_masses[[atomic_numbers[symbol] for symbol in model.species]]
        offsets = classical_entropy(mass_entropy(masses), 3.0, kelvin)
        if quantity == "entropy":
            factor, title, unit = kB, f"S({kelvin:g} K)", "eV/K"
        else:
            factor, title, unit = -kelvin * kB, f"F_vib({kelvin:g} K)", "eV"
            offsets = kelvin * (3 * kB - offsets)
    constants, weights, curvature = _uncentred(model)
    return SiteEnergies(
        model.descriptor,
        factor * constants + offsets,
        factor * weights,
        None if curvature is None else factor * curvature,
        title,
        unit,
    )


def check_linear(energies: SiteEnergies, what: str) -> None:
    """Raise InvalidInputError if a model is quadratic."""
    if energies.curvature is not None:
        raise InvalidInputError(
            f"model: it is quadratic, and {what} only; train it without quadratic="
        )


def elements_of_kinds(descriptor: DensityDescriptor) -> list[list[int]]:
    """Elements that every kind of neighbour stands for: those that no kind before it does.

    Parameters
    ----------
    descriptor : DensityDescriptor

    Returns
    -------
    list of list of int
        One of a symbol, all that are left of "*", none where nothing is left.
    """
    kinds, elements = descriptor.neighbour_species, descriptor.species
    first = [min(k for k, kind in enumerate(kinds) if kind in (own, ANY)) for own in elements]
    return [[z for z, own in enumerate(first) if own == k] for k in range(len(kinds))]


def _check_elements(model: SiteModel) -> None:
    neighbours = getattr(model.descriptor, "neighbour_species", model.species)
    if resolves_sublattices([*model.species, *neighbours]):
        raise InvalidInputError(
            f"model: it tells sublattices apart ({', '.join(model.species)}), and other engines "
            "know elements only; train one with resolve='species'"
        )
    if ANY in model.species:
        raise InvalidInputError(
            "model: its sites are of any species ('*'), and other engines need their elements by "
            "name; train one with species named"
        )
    one_sided = set(neighbours) - {*model.species, ANY}
    if ANY not in neighbours:
        one_sided |= set(model.species) - set(neighbours)
    if one_sided:
        raise InvalidInputError(
            f"model: it knows {', '.join(sorted(one_sided))} either as sites or as neighbours, and "
            "other engines let every element be both; train one where neighbours= names all sites"
        )


def _uncentred(model: SiteModel) -> tuple[Array, Array, Array | None]:
    """Constants, weights and W of the features themselves, without the shift."""
    weights, shift = model.weights, model.shift
    constants = model.constants - np.einsum("zf,zf->z", weights, shift)
    if model.curvature is None:
        return constants, weights, None
    factors, curvatures = model.curvature.factors, model.curvature.curvatures
    curvature = np.einsum("zr,zrf,zrg->zfg", curvatures, factors, factors)
    bent = np.einsum("zfg,zg->zf", curvature, shift)
    return constants + np.einsum("zf,zf->z", bent, shift), weights - 2 * bent, curvature
