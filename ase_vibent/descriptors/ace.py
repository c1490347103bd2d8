"""The ACE basis: which channels, products and invariants belong to it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ase_vibent.arrays import Array, IntArray
from ase_vibent.checks import check_attributes, check_integer_attributes
from ase_vibent.descriptors.density.coupling import invariant_polynomials
from ase_vibent.descriptors.density.descriptor import (
    MOST_CHANNELS,
    MOST_TERMS,
    DensityDescriptor,
)
from ase_vibent.descriptors.density.local_descriptor import LocalDescriptor
from ase_vibent.descriptors.density.products import Products, link_products
from ase_vibent.descriptors.density.radial import RadialBasis, radial_basis
from ase_vibent.errors import InvalidInputError
from ase_vibent.structures.atom_types import bond_length

#: What looking at a shell costs, in terms.
VISIT = 100


@dataclass(frozen=True)
class ACE(DensityDescriptor):
    """Atomic cluster expansion in real solid harmonics, [Torabi2024] App. D, [Ortner2022] App. C.

    A_znlm = Σ_j R_n(r_ij) Y_lm(r̂_ij) over neighbours j of species z; features are all
    linearly independent O(3)-invariant polynomials of up to `order` factors whose total
    degree Σ (n + l_weight · l), n ≥ 1, does not exceed `degree`. The same features serve
    every species of the centre; models weight them per species.

    Parameters
    ----------
    species : sequence of str
        Atom types: chemical symbols; "Si:1" for silicon of a sublattice (see
        `label_sublattices`), "*" for any species. The first that fits counts.
    cutoff : float, Å
    order : int
        Correlation order: number of neighbours in a product (body order minus one).
    degree : float
        Total degree.
    l_weight : float
        Weight of l in the total degree.
    r0 : float, Å, optional
        Nearest-neighbour distance; by default twice the mean covalent radius.
    inner : float, Å, optional
        Shortest distance that the radial functions are made for; by default 0.8 r0.
    power : int
        Exponent of the distance transform ((1 + r0)/(1 + r))^power.
    neighbours : sequence of str, optional
        Atom types of neighbours that are told apart; by default those of the sites.

    Raises
    ------
    InvalidInputError
        If a parameter is out of range.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase_vibent import ACE
    >>> descriptor = ACE(["Si"], cutoff=4.5, order=2, degree=8)
    >>> descriptor.compute(bulk("Si", cubic=True)).shape  # atoms, features
    (8, 31)
    """

    species: Sequence[str]
    cutoff: float = 5.0
    order: int = 3
    degree: float = 16
    l_weight: float = 1.5
    r0: float | None = None
    inner: float | None = None
    power: int = 2
    neighbours: Sequence[str] | None = None

    def __post_init__(self) -> None:
        self._check_atom_types()
        if self.r0 is None:
            object.__setattr__(self, "r0", bond_length(self.species))
        if self.inner is None:
            object.__setattr__(self, "inner", round(0.8 * float(self.r0 or 0), 6))
        check_attributes(self, "cutoff", "r0", "inner", "l_weight", "degree")
        check_integer_attributes(self, 1, "order", "power")
        if self.degree < 1 + 1e-9:
            raise InvalidInputError(f"degree: expected > 1, got {self.degree}")
        if self.inner >= self.cutoff:  # type: ignore[operator]
            raise InvalidInputError(
                f"cutoff: expected more than the inner distance {self.inner:.3f} Å, "
                f"got {self.cutoff}"
            )
        shells = self.degree * (self.degree / self.l_weight + 1) * len(self.neighbour_species)
        self._check_cost(shells, self._n_terms() if shells <= MOST_CHANNELS else np.inf)

    def _n_terms(self) -> int:
        """Number of products of channels, counted no further than matters."""
        shells, count = self._shells(), 0
        for members in self._shell_products(shells):
            count += VISIT * len(members) + self._n_products([shells[k][2] for k in members])
            if count > MOST_TERMS:
                break
        return count

    def features_within(self, smaller: LocalDescriptor) -> NDArray[np.bool_] | None:
        """Which features a basis of smaller order and degree has, all else equal.

        Parameters
        ----------
        smaller : LocalDescriptor

        Returns
        -------
        ndarray of bool, shape (n_features,), or None
            None if something else differs.
        """
        if (
            not isinstance(smaller, ACE)
            or replace(smaller, order=self.order, degree=self.degree) != self
            or smaller.order > self.order
            or smaller.degree > self.degree
        ):
            return None
        of_channels = self.channels[:, 1] + self.l_weight * np.floor(np.sqrt(self.channels[:, 2]))
        members = self.products.members
        degrees = np.where(members >= 0, of_channels[members], 0.0).sum(axis=1)
        within = (degrees <= smaller.degree + 1e-9) & ((members >= 0).sum(axis=1) <= smaller.order)
        # All products of a feature are of one degree and one order.
        first = np.unique(self.products.feature_of, return_index=True)[1]
        return within[self.products.product_of[first]]

    @cached_property
    def radial(self) -> RadialBasis:
        """Radial functions."""
        assert self.r0 is not None
        assert self.inner is not None
        return radial_basis(
            int(self.channels[:, 1].max()),
            cutoff=self.cutoff,
            r0=self.r0,
            inner=self.inner,
            power=self.power,
        )

    @cached_property
    def _tables(self) -> tuple[IntArray, Products]:
        shells = self._shells()
        starts = np.cumsum([0] + [2 * l + 1 for _, _, l in shells])
        polynomials = []
        for members in self._shell_products(shells):
            blocks = [np.arange(starts[k], starts[k + 1]) for k in members]
            found = self._polynomials(blocks)
            if found[1].size:
                polynomials.append(found)
        every = np.array(
            [(z, n, l * l + k) for z, n, l in shells for k in range(2 * l + 1)], dtype=np.int64
        )
        used = np.unique(np.concatenate([p.ravel() for p, _ in polynomials]))
        # Common factors first: their products are shared by most others.
        degrees = np.repeat([n + self.l_weight * l for _, n, l in shells], np.diff(starts))
        used = used[np.argsort(degrees[used], kind="stable")]
        renumber = np.full(len(every), -1)
        renumber[used] = np.arange(len(used))
        return every[used], link_products(
            [(np.sort(renumber[p], axis=1), c) for p, c in polynomials]
        )

    def _n_products(self, degrees: Sequence[int]) -> int:
        """Terms of the features made of one channel of every shell."""
        coupled = sum(degrees) % 2 == 0 and 2 * max(degrees) <= sum(degrees)
        return math.prod(2 * l + 1 for l in degrees) if coupled else 0

    def _shells(self) -> list[tuple[int, int, int]]:
        """Atom type, n and l of all radial functions with their harmonics."""
        return [
            (z, n, l)
            for l in range(int(self.degree / self.l_weight) + 1)
            for z in range(len(self.neighbour_species))
            for n in range(1, int(self.degree) + 1)
            if n + self.l_weight * l <= self.degree + 1e-9
        ]

    def _polynomials(self, shells: Sequence[IntArray]) -> tuple[IntArray, Array]:
        """Features made of one channel of every shell: products and coefficients."""
        return invariant_polynomials(shells)

    def _shell_products(self, shells: Sequence[tuple[int, int, int]]) -> Iterator[list[int]]:
        """Index multisets of shells within order and total degree."""
        degrees = [n + self.l_weight * l for _, n, l in shells]

        def extend(members: list[int], left: float) -> Iterator[list[int]]:
            if members:
                yield members
            if len(members) == self.order:
                return
            for k in range(members[-1] if members else 0, len(shells)):
                if degrees[k] <= left + 1e-9:
                    yield from extend([*members, k], left - degrees[k])

        yield from extend([], self.degree)
