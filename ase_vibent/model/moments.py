"""Moments of local densities of states as a part of a site model: quantum statistics."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ase_vibent.arrays import Array
from ase_vibent.descriptors import Descriptor, SiteSums
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.harmonic.entropy import mass_entropy, unstable_mass_entropy
from ase_vibent.harmonic.expansion import LOG_UNIT, N_MOMENTS, Densities, Expansion, Quantity
from ase_vibent.harmonic.modes import check_masses
from ase_vibent.harmonic.moments import mass_factors, mean_inverse_masses, moment_columns
from ase_vibent.harmonic.thermodynamics import SiteThermodynamics
from ase_vibent.model.parts import ModelPart
from ase_vibent.model.prediction import Prediction
from ase_vibent.neighbours.lists import NeighbourLists
from ase_vibent.structures.atom_types import species_indices


@dataclass(frozen=True)
class MomentModel(ModelPart):
    """Linear site models of the mass-free moments, P_ic = constants_cz + weights_cz · x_i.

    As in the site model, z is the kind of site i and x_i = D_i - shift_z. The columns c are those
    of `moment_columns`. Beside the site entropies and the densities of states of crystals they
    give quantum statistics, see `Expansion`. Atoms of a species count with their mean inverse mass,
    so that the masses of all species are free, and isotopes may be mixed as far as
    `mean_inverse_masses` says.

    Attributes
    ----------
    numbers : ndarray of int, shape (n_species,)
        Atomic numbers of the species that paths go through.
    weights : ndarray, shape (n_columns, n_kinds, n_features), (eV/Å²)^k
    constants : ndarray, shape (n_columns, n_kinds), (eV/Å²)^k
    shift : ndarray, shape (n_kinds, n_features)
    masses : ndarray, shape (n_species,), amu
        Of the crystals.
    nodes, node_weights : ndarray, shape (n_kinds, n_nodes)
    sampled, sampled_weights : ndarray, shape (n_nodes,)
        See `Densities`.
    """

    positive: ClassVar[tuple[str, ...]] = ("masses", "nodes", "sampled", "sampled_weights")
    not_negative: ClassVar[tuple[str, ...]] = ("node_weights",)

    numbers: NDArray[np.int64]
    weights: Array
    constants: Array
    shift: Array
    masses: Array
    nodes: Array
    node_weights: Array
    sampled: Array
    sampled_weights: Array

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """See `ModelPart`."""
        n_species, (_, n_kinds, n_features) = len(self.numbers), np.shape(self.weights)
        if not 0 < n_species == len(np.intersect1d(self.numbers, range(1, 119))):
            raise InvalidInputError(f"numbers: expected atomic numbers, got {self.numbers!r}")
        n_columns, n_nodes = len(moment_columns(n_species)), len(self.sampled)
        return {
            "numbers": (n_species,),
            "weights": (n_columns, n_kinds, n_features),
            "constants": (n_columns, n_kinds),
            "shift": (n_kinds, n_features),
            "masses": (n_species,),
            "nodes": (n_kinds, n_nodes),
            "node_weights": (n_kinds, n_nodes),
            "sampled": (n_nodes,),
            "sampled_weights": (n_nodes,),
        }

    def fits(self, n_kinds: int, n_features: int) -> bool:
        """See `ModelPart`."""
        return self.shift.shape == (n_kinds, n_features)

    def expansion(
        self, atoms: Atoms, quantity: Quantity, temperature: float, n_moments: int = N_MOMENTS
    ) -> Expansion:
        """Expansion for the masses of a structure, see `Expansion.of_crystals`."""
        densities = Densities(self.nodes, self.node_weights, self.sampled, self.sampled_weights)
        return Expansion.of_crystals(
            densities, quantity, temperature, scale=self._scale(atoms), n_moments=n_moments
        )

    def evaluate(
        self,
        descriptor: Descriptor,
        atoms: Atoms,
        reduced: SiteSums | Prediction,
        temperature: float,
        *,
        gradient: bool = True,
        lists: NeighbourLists | None = None,
    ) -> SiteThermodynamics:
        """Quantum entropies and free energies of all sites, three modes each.

        Parameters
        ----------
        descriptor : Descriptor
            Of the site model that this is a part of.
        atoms : Atoms
        reduced : SiteSums or Prediction, k_B
            What that model predicts for them.
        temperature : float, K
        gradient : bool
            Whether derivatives are wanted.
        lists : NeighbourLists, optional
            Keeps the neighbours for structures that differ little.

        Returns
        -------
        SiteThermodynamics

        Raises
        ------
        InvalidStructureError
            If the masses of a species differ by too much, or a species is unknown.
        """
        entropy, free_energy = (
            self._sums(
                descriptor,
                atoms,
                reduced,
                self.expansion(atoms, quantity, temperature),
                gradient=gradient,
                lists=lists,
            )
            for quantity in ("entropy", "free_energy")
        )
        return SiteThermodynamics(
            entropy.values,
            free_energy.values,
            entropy.gradient,
            free_energy.gradient,
            entropy.strain,
            free_energy.strain,
        )

    def of_missing_modes(
        self, atoms: Atoms, n_missing: int, temperature: float
    ) -> tuple[float, float]:
        """What entropy (eV/K) and free energy (eV) have too much where modes are left out."""
        masses, values = check_masses(atoms), []
        for quantity in ("entropy", "free_energy"):
            found = self.expansion(atoms, quantity, temperature)
            logarithm = n_missing * LOG_UNIT + 2 * unstable_mass_entropy(masses, n_missing)
            values.append(n_missing * found.mode + found.logarithm * logarithm)
        return values[0], values[1]

    def entropy_slope(self, atoms: Atoms, temperature: float) -> float:
        """Derivative of the entropy (eV/K) in the reduced entropy: k_B when it is hot."""
        return -2 * self.expansion(atoms, "entropy", temperature).logarithm

    def truncation(
        self,
        descriptor: Descriptor,
        atoms: Atoms,
        reduced: SiteSums | Prediction,
        temperature: float,
        lists: NeighbourLists | None = None,
    ) -> Array:
        """What each of the last two moments adds to entropies of sites: about what others would.

        One alone may add little by chance.

        Parameters
        ----------
        descriptor, atoms, reduced, temperature, lists
            As in `evaluate`.

        Returns
        -------
        ndarray, shape (2, N), eV/K
            With signs: the root of the squares of both sums is about the error of the total.
        """
        fewer, some, every = (
            self.expansion(atoms, "entropy", temperature, N_MOMENTS - left) for left in (2, 1, 0)
        )
        return np.array(
            [
                self._sums(descriptor, atoms, reduced, term, gradient=False, lists=lists).values
                for term in (every - some, some - fewer)
            ]
        )

    def free_energies(
        self,
        descriptor: Descriptor,
        atoms: Atoms,
        temperature: float,
        labels: Array | None = None,
    ) -> Array:
        """What moments add to the free energies of sites.

        Parameters
        ----------
        descriptor : Descriptor
        atoms : Atoms
        temperature : float, K
        labels : ndarray, shape (N, n_columns), (eV/Å²)^k, optional
            Exact mass-free moments in place of predicted ones.

        Returns
        -------
        ndarray, shape (N,), eV
        """
        expansion = self.expansion(atoms, "free_energy", temperature)
        if labels is None:
            return self._moment_sums(descriptor, atoms, expansion, False, None).values
        kinds = species_indices(atoms, descriptor.species)
        factors = expansion.moments @ self._mass_factors(atoms, descriptor)
        return np.asarray((labels * factors[kinds]).sum(axis=1))

    def _moment_sums(
        self,
        descriptor: Descriptor,
        atoms: Atoms,
        expansion: Expansion,
        gradient: bool,
        lists: NeighbourLists | None,
    ) -> SiteSums:
        """Moments times their factors."""
        factors = expansion.moments @ self._mass_factors(atoms, descriptor)
        weights = np.einsum("zc,czf->zf", factors, self.weights)
        constants = np.einsum("zc,cz->z", factors, self.constants)
        constants -= np.einsum("zf,zf->z", weights, self.shift)
        found = descriptor.linear_model(atoms, weights, gradient=gradient, lists=lists)
        return replace(
            found, values=found.values + constants[species_indices(atoms, descriptor.species)]
        )

    def _sums(
        self,
        descriptor: Descriptor,
        atoms: Atoms,
        reduced: SiteSums | Prediction,
        expansion: Expansion,
        *,
        gradient: bool,
        lists: NeighbourLists | None,
    ) -> SiteSums:
        of_moments = self._moment_sums(descriptor, atoms, expansion, gradient, lists)
        of_atoms = expansion.atoms[species_indices(atoms, descriptor.species)]
        logarithms = 3 * LOG_UNIT - 2 * (reduced.values + mass_entropy(check_masses(atoms)))
        slope = -2 * expansion.logarithm

        def derivative(one: Array | None, other: Array | None) -> Array | None:
            return None if one is None or other is None else slope * one + other

        return SiteSums(
            of_atoms + expansion.logarithm * logarithms + of_moments.values,
            derivative(reduced.gradient, of_moments.gradient),
            derivative(reduced.strain, of_moments.strain),
        )

    def _mass_factors(self, atoms: Atoms, descriptor: Descriptor) -> Array:
        """Factors of `mass_factors` for every kind of site."""
        kinds = species_indices(atoms, descriptor.species)
        return mass_factors(
            mean_inverse_masses(atoms, [kinds == z for z in range(len(self.shift))]),
            self._inverse_masses(atoms),
        )

    def _inverse_masses(self, atoms: Atoms) -> Array:
        """Mean of every species; 0 where there is none."""
        unknown = np.setdiff1d(atoms.numbers, self.numbers)
        if len(unknown):
            raise InvalidStructureError(
                f"atoms: quantum statistics were learned without {chemical_symbols[unknown[0]]}"
            )
        return mean_inverse_masses(atoms, [atoms.numbers == number for number in self.numbers])

    def _scale(self, atoms: Atoms) -> float:
        """Ratio of λ by masses: geometric mean over the species that are there."""
        inverse = self._inverse_masses(atoms)
        present = inverse > 0
        return float(np.exp(np.log(inverse[present] * self.masses[present]).mean()))
