"""Moments of local densities of states as a part of a site model: quantum corrections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ase_vibent.arrays import Array, IntArray
from ase_vibent.descriptors import Descriptor, SiteSums
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.harmonic.entropy import quantum_correction
from ase_vibent.harmonic.moments import (
    mass_factors,
    mean_inverse_masses,
    moment_columns,
    thermodynamics_of_moments,
)
from ase_vibent.model.parts import ModelPart
from ase_vibent.neighbours.lists import NeighbourLists
from ase_vibent.structures.atom_types import species_indices


@dataclass(frozen=True)
class MomentModel(ModelPart):
    """Linear site models of the mass-free moments, P_ic = constants_cz + weights_cz · x_i.

    As in the site model, z is the kind of site i and x_i = D_i - shift_z. The columns c are those
    of `moment_columns`. Atoms of a species count with their mean inverse mass, so that the
    masses of all species are free, and isotopes may be mixed as far as `mean_inverse_masses` says.

    Attributes
    ----------
    numbers : ndarray of int, shape (n_species,)
        Atomic numbers of the species that paths go through.
    weights : ndarray, shape (n_columns, n_kinds, n_features), (eV/Å²)^k
    constants : ndarray, shape (n_columns, n_kinds), (eV/Å²)^k
    shift : ndarray, shape (n_kinds, n_features)
    """

    numbers: NDArray[np.int64]
    weights: Array
    constants: Array
    shift: Array

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """See `ModelPart`."""
        n_species, (_, n_kinds, n_features) = len(self.numbers), np.shape(self.weights)
        if not 0 < n_species == len(np.intersect1d(self.numbers, range(1, 119))):
            raise InvalidInputError(f"numbers: expected atomic numbers, got {self.numbers!r}")
        n_columns = len(moment_columns(n_species))
        return {
            "numbers": (n_species,),
            "weights": (n_columns, n_kinds, n_features),
            "constants": (n_columns, n_kinds),
            "shift": (n_kinds, n_features),
        }

    def fits(self, n_kinds: int, n_features: int) -> bool:
        """See `ModelPart`."""
        return self.shift.shape == (n_kinds, n_features)

    def evaluate(
        self,
        descriptor: Descriptor,
        atoms: Atoms,
        temperature: float,
        *,
        gradient: bool = True,
        lists: NeighbourLists | None = None,
    ) -> tuple[SiteSums, SiteSums]:
        """Quantum minus classical entropy and free energy.

        Parameters
        ----------
        descriptor : Descriptor
            Of the site model that this is a part of.
        atoms : Atoms
        temperature : float, K
        gradient : bool
            Whether derivatives are wanted.
        lists : NeighbourLists, optional
            Keeps the neighbours for structures that differ little.

        Returns
        -------
        entropy : SiteSums, eV/K
        free_energy : SiteSums, eV

        Raises
        ------
        InvalidStructureError
            If predicted moments are those of no density of states, as may be far outside of
            the training data; or if the masses of a species differ by too much.
        """
        factors = self._mass_factors(descriptor, atoms)
        weights = np.einsum("zkc,czf->zkf", factors, self.weights)
        constants = np.einsum("zkc,cz->zk", factors, self.constants)

        def sums(quantity: str) -> SiteSums:
            readout = _Correction(weights, constants, self.shift, temperature, quantity)
            return descriptor.site_model(atoms, readout, gradient=gradient, lists=lists)

        return sums("entropy"), sums("free_energy")

    def _mass_factors(self, descriptor: Descriptor, atoms: Atoms) -> Array:
        """Factors of `mass_factors` for every kind of site."""
        kinds = species_indices(atoms, descriptor.species)
        unknown = np.setdiff1d(atoms.numbers, self.numbers)
        if len(unknown):
            raise InvalidStructureError(
                f"atoms: the quantum correction was learned without {chemical_symbols[unknown[0]]}"
            )
        return mass_factors(
            mean_inverse_masses(atoms, [kinds == z for z in range(len(self.shift))]),
            mean_inverse_masses(atoms, [atoms.numbers == number for number in self.numbers]),
        )


@dataclass(frozen=True)
class _Correction:
    """A quantum correction as a function of the features; a `Readout`."""

    weights: Array
    constants: Array
    shift: Array
    temperature: float
    quantity: str

    def __call__(self, features: Array, species: IntArray) -> tuple[Array, Array]:
        """See `Readout`."""
        values, slopes = np.empty(len(features)), np.empty_like(features)
        for z in np.unique(species):
            own = species == z
            moments = self.constants[z] + (features[own] - self.shift[z]) @ self.weights[z].T
            found: Any = thermodynamics_of_moments(moments, quantum_correction, self.temperature)
            values[own] = getattr(found, self.quantity)
            slopes[own] = getattr(found, f"{self.quantity}_slopes") @ self.weights[z]
        return values, slopes
