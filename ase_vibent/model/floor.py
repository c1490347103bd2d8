"""The floor of a model that leaves soft modes out, and the force field that leads to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from ase_vibent.arrays import Array, IntArray
from ase_vibent.errors import InvalidInputError
from ase_vibent.hessian import SoftPart, ValenceForceField, soft_part
from ase_vibent.model.parts import ModelPart


@dataclass(frozen=True)
class Floor(ModelPart):
    """Eigenvalue of the Hessian as which all softer modes count in a model of entropies.

    What they have beyond that is found by force calls, see `soft_part`.

    Attributes
    ----------
    value : ndarray, shape (), eV/Å²
    numbers : ndarray of int, shape (n_species,)
        Atomic numbers of the force field's species.
    cutoff : ndarray, shape (), Å
        Of the force field.
    coefficients : ndarray, shape (n_functions,), eV/Å²
        Of the force field.
    """

    positive: ClassVar[tuple[str, ...]] = ("value", "cutoff")

    value: Array
    numbers: IntArray
    cutoff: Array
    coefficients: Array

    @classmethod
    def of(cls, value: float, force_field: ValenceForceField) -> Floor:
        """From a force field.

        Parameters
        ----------
        value : float, eV/Å²
        force_field : ValenceForceField

        Returns
        -------
        Floor
        """
        numbers = np.array([atomic_numbers[symbol] for symbol in force_field.species])
        cutoff, coefficients = np.array(force_field.cutoff), force_field.coefficients
        return cls(np.array(float(value)), numbers, cutoff, coefficients)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """See `ModelPart`."""
        n_species = np.size(self.numbers)
        if not 0 < n_species == len(np.intersect1d(self.numbers, range(1, 119))):
            raise InvalidInputError(f"numbers: expected atomic numbers, got {self.numbers!r}")
        n_functions = ValenceForceField.n_functions(n_species)
        shapes = {"numbers": (n_species,), "coefficients": (n_functions,)}
        return {"value": (), "cutoff": (), **shapes}

    def fits(self, n_kinds: int, n_features: int) -> bool:
        """See `ModelPart`."""
        return True

    @property
    def force_field(self) -> ValenceForceField:
        """That leads to soft modes."""
        symbols = tuple(chemical_symbols[number] for number in self.numbers)
        return ValenceForceField(symbols, float(self.cutoff), self.coefficients)

    def soft_part(self, atoms: Atoms, calculator: object, unstable: int = 0) -> SoftPart:
        """What modes below the floor have beyond it.

        Parameters
        ----------
        atoms : Atoms
            At rest.
        calculator : ASE calculator or factory
        unstable : int
            How many unstable modes there must be.

        Returns
        -------
        SoftPart
        """
        return soft_part(atoms, calculator, float(self.value), self.force_field, unstable=unstable)
