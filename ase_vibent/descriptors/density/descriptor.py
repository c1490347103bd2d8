"""Descriptors that are polynomials in the channels A of the neighbour density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from ase_vibent.arrays import Array, IntArray
from ase_vibent.checks import check_positive
from ase_vibent.descriptors.density.basis import DensityBasis
from ase_vibent.descriptors.density.products import Products
from ase_vibent.descriptors.density.radial import RadialBasis, TabulatedBasis
from ase_vibent.descriptors.interface import Readout, SiteSums, SummedFeatures
from ase_vibent.descriptors.quadratic_form import QuadraticForm
from ase_vibent.errors import InvalidInputError
from ase_vibent.structures.atom_types import check_species

if TYPE_CHECKING:
    from ase_vibent.neighbours.lists import NeighbourList, NeighbourLists

#: Of a basis that is made within a minute, and evaluated at all.
MOST_CUTOFF, MOST_TYPES, MOST_CHANNELS, MOST_TERMS = 50.0, 200, 20_000, 30_000_000


class DensityDescriptor:
    """Features that are polynomials in A_znlm = Σ_j R_n(r_ij) Y_lm(r̂_ij), j of species z.

    A descriptor says which channels and products there are, what features are made of
    them, and of what radial functions; the kernels are the same for all. It is a frozen
    dataclass of its hyperparameters.

    Attributes
    ----------
    species : sequence of str
        Atom types: chemical symbols, or sublattices as "Si:1"; "*" is any.
    neighbours : sequence of str, optional
        Atom types of neighbours that have channels of their own; by default those of the sites.
    cutoff : float, Å
    """

    species: Sequence[str]
    cutoff: float
    neighbours: Sequence[str] | None = None

    def _check_atom_types(self) -> None:
        """Atom types of sites and of neighbours as tuples; every `__post_init__` begins with it."""
        object.__setattr__(self, "species", check_species(self.species))
        if self.neighbours is not None:
            neighbours = check_species(self.neighbours, "neighbours")
            object.__setattr__(self, "neighbours", neighbours)

    def _check_cost(self, n_channels: float, n_terms: float) -> None:
        """Raise InvalidInputError if a basis would take minutes to make, or too many neighbours.

        Parameters
        ----------
        n_channels : float
            Of one shape for all m, per atom type of neighbours.
        n_terms : float
            Products of channels before any are found to vanish; every `__post_init__` ends with
            this.
        """
        if not self.cutoff <= MOST_CUTOFF:
            raise InvalidInputError(
                f"cutoff: expected at most {MOST_CUTOFF:g} Å, got {self.cutoff!r}"
            )
        n_types = max(len(self.species), len(self.neighbour_species))
        if n_types > MOST_TYPES:
            raise InvalidInputError(f"species: expected at most {MOST_TYPES}, got {n_types}")
        if not (n_channels <= MOST_CHANNELS and n_terms <= MOST_TERMS):
            raise InvalidInputError(
                f"descriptor: {type(self).__name__} of these degrees would have more than "
                f"{MOST_CHANNELS} channels or {MOST_TERMS} terms; take lower ones"
            )

    def to_dict(self) -> dict[str, Any]:
        """Hyperparameters, as they stand in a coefficient file."""
        names = [f.name for f in fields(self)]  # type: ignore[arg-type]
        return {"name": type(self).__name__, **{name: getattr(self, name) for name in names}}

    @property
    def neighbour_species(self) -> Sequence[str]:
        """Atom types of neighbours."""
        return self.species if self.neighbours is None else self.neighbours

    @property
    def radial(self) -> RadialBasis | TabulatedBasis:
        """Radial functions."""
        raise NotImplementedError

    @property
    def radial_degrees(self) -> IntArray:
        """How much every radial function oscillates, from 1 on: see `roughness`."""
        return np.arange(1, self.channels[:, 1].max() + 1)

    @property
    def _tables(self) -> tuple[IntArray, Products]:
        """Channels and products."""
        raise NotImplementedError

    @property
    def channels(self) -> IntArray:
        """Species, n ≥ 1 and l² + l + m of every A-channel, shape (n_channels, 3)."""
        return self._tables[0]

    @property
    def products(self) -> Products:
        """Products of channels and the features made of them."""
        return self._tables[1]

    @cached_property
    def basis(self) -> DensityBasis:
        """What the kernels are told."""
        atom_types = len(self.species), len(self.neighbour_species)
        return DensityBasis(*atom_types, *self._tables, self.radial)

    @property
    def n_features(self) -> int:
        """Number of features of an atom."""
        return int(self.products.feature_of[-1]) + 1

    def roughness(self, power: float) -> Array:
        """Roughness of every feature, by which a smoothness prior divides its coefficient.

        Σ (n^p + l^p) over the factors of its products, the roughest product's, over that of
        the smoothest feature: the algebraic prior of ACEpotentials.jl.

        Parameters
        ----------
        power : float
            p > 0.

        Returns
        -------
        ndarray, shape (n_features,)

        Raises
        ------
        InvalidInputError
            If the power is not positive.
        """
        check_positive("smoothness", power)
        _, n, lm = self.channels.T
        of_channel = self.radial_degrees[n - 1] ** power + np.floor(np.sqrt(lm)) ** power
        members = self.products.members
        of_product = np.sum(np.where(members < 0, 0.0, of_channel[members]), axis=1)
        roughness = np.zeros(self.n_features)
        np.maximum.at(roughness, self.products.feature_of, of_product[self.products.product_of])
        return roughness / roughness.min()

    def compute(self, atoms: Atoms) -> Array:
        """Features of every atom.

        Parameters
        ----------
        atoms : Atoms

        Returns
        -------
        ndarray, shape (N, n_features)
        """
        from ase_vibent.descriptors.density.evaluation import features

        return features(self.basis, atoms, self.find_neighbours(atoms))

    def compute_with_gradients(self, atoms: Atoms) -> SummedFeatures:
        """Features, and gradients of their sums over the centres of each species.

        Parameters
        ----------
        atoms : Atoms

        Returns
        -------
        SummedFeatures
        """
        from ase_vibent.descriptors.density.evaluation import summed_features

        return summed_features(self.basis, atoms, self.find_neighbours(atoms))

    def compute_site_gradients(self, atoms: Atoms) -> Array:
        """Gradients of every atom's features with respect to every position.

        Parameters
        ----------
        atoms : Atoms

        Returns
        -------
        ndarray, shape (N, N, 3, n_features), 1/Å
            The centre comes first. Grows with N²: meant for small cells.
        """
        from ase_vibent.descriptors.density.evaluation import site_gradients

        return site_gradients(self.basis, atoms, self.find_neighbours(atoms))

    def linear_model(
        self,
        atoms: Atoms,
        weights: Array,
        *,
        gradient: bool = True,
        lists: NeighbourLists | None = None,
        forms: Sequence[QuadraticForm] = (),
    ) -> SiteSums:
        """Site values Σ_f w_z(i)f D_if of a linear model, without forming the features.

        Parameters
        ----------
        atoms : Atoms
        weights : ndarray, shape (n_species, n_features)
            Per species of the centre.
        gradient : bool
            Whether gradient and strain derivative of the sum are wanted.
        lists : NeighbourLists, optional
            Keeps the neighbours for structures that differ little.
        forms : sequence of QuadraticForm
            Evaluated in the same pass, in bounded memory.

        Returns
        -------
        SiteSums
        """
        from ase_vibent.descriptors.density.evaluation import linear_sums

        near = self.find_neighbours(atoms, lists)
        return linear_sums(self.basis, atoms, near, weights, gradient=gradient, forms=forms)

    def site_model(
        self,
        atoms: Atoms,
        readout: Readout,
        *,
        gradient: bool = True,
        lists: NeighbourLists | None = None,
        forms: Sequence[QuadraticForm] = (),
    ) -> SiteSums:
        """Site values of any differentiable function of the features.

        Parameters
        ----------
        atoms : Atoms
        readout : callable (features, species) -> values, slopes
            See `Readout`.
        gradient, lists, forms
            As in `linear_model`.

        Returns
        -------
        SiteSums
        """
        from ase_vibent.descriptors.density.evaluation import readout_sums

        near = self.find_neighbours(atoms, lists)
        return readout_sums(self.basis, atoms, near, readout, gradient=gradient, forms=forms)

    def find_neighbours(self, atoms: Atoms, lists: NeighbourLists | None = None) -> NeighbourList:
        """Neighbours of every atom.

        Parameters
        ----------
        atoms : Atoms
        lists : NeighbourLists, optional
            Where to look first, and to keep what is found.

        Returns
        -------
        NeighbourList
        """
        from ase_vibent.neighbours.lists import find_neighbours

        find = find_neighbours if lists is None else lists.find
        return find(atoms, self.species, self.cutoff, neighbours=self.neighbours)
