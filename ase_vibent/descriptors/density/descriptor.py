"""Descriptors that are polynomials in the channels A of the neighbour density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any

import numpy as np

from ase_vibent.arrays import Array, IntArray
from ase_vibent.checks import check_positive
from ase_vibent.descriptors.density.basis import DensityBasis
from ase_vibent.descriptors.density.local_descriptor import LocalDescriptor
from ase_vibent.descriptors.density.products import Products
from ase_vibent.descriptors.density.radial import RadialBasis, TabulatedBasis
from ase_vibent.errors import InvalidInputError
from ase_vibent.structures.atom_types import check_species

#: Of a basis that is made within a minute, and evaluated at all.
MOST_CUTOFF, MOST_TYPES, MOST_CHANNELS, MOST_TERMS = 50.0, 200, 20_000, 30_000_000


class DensityDescriptor(LocalDescriptor):
    """Features that are polynomials in A_znlm = Σ_j R_n(r_ij) Y_lm(r̂_ij), j of species z.

    A descriptor says which channels and products there are, what features are made of
    them, and of what radial functions; the kernels are the same for all. It is a frozen
    dataclass of its hyperparameters.

    Attributes
    ----------
    species, neighbours, cutoff
        As in `LocalDescriptor`; types of neighbours have channels of their own.
    """

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
    def bases(self) -> Sequence[DensityBasis]:
        """The basis."""
        return (self.basis,)

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
