"""The ACE basis: which channels, products and invariants belong to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from ase_vibent.descriptors.ace.coupling import invariant_polynomials
from ase_vibent.descriptors.ace.harmonics import harmonic_recurrences
from ase_vibent.descriptors.ace.products import Products, link_products
from ase_vibent.descriptors.ace.radial import RadialBasis, radial_basis
from ase_vibent.descriptors.ace.tables import Tables, kernel_tables
from ase_vibent.descriptors.interface import Readout, SiteSums, SummedFeatures
from ase_vibent.errors import InvalidInputError

if TYPE_CHECKING:
    from ase_vibent.descriptors.neighbours import NeighbourList, NeighbourLists

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class ACE:
    """Atomic cluster expansion in real solid harmonics, P0 App. D, P4 App. C.

    A_znlm = Σ_j R_n(r_ij) Y_lm(r̂_ij) over neighbours j of species z; features are all
    linearly independent O(3)-invariant polynomials of up to `order` factors whose total
    degree Σ (n + l_weight · l), n ≥ 1, does not exceed `degree`. The same features serve
    every species of the centre; models weight them per species.

    Parameters
    ----------
    species : sequence of str
        Chemical symbols.
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

    Raises
    ------
    InvalidInputError
        If a parameter is out of range.
    """

    species: Sequence[str]
    cutoff: float = 5.0
    order: int = 3
    degree: float = 16
    l_weight: float = 1.5
    r0: float | None = None
    inner: float | None = None
    power: int = 2

    def __post_init__(self) -> None:
        species = tuple([self.species] if isinstance(self.species, str) else self.species)
        unknown = [s for s in species if s not in atomic_numbers]
        if not species or unknown or len(set(species)) < len(species):
            raise InvalidInputError(
                f"species: expected different chemical symbols, got {list(species)}"
            )
        object.__setattr__(self, "species", species)
        if self.r0 is None:
            radii = [covalent_radii[atomic_numbers[s]] for s in species]
            object.__setattr__(self, "r0", float(2 * np.mean(radii)))
        if self.inner is None:
            object.__setattr__(self, "inner", 0.8 * float(self.r0 or 0))
        for name in ("cutoff", "r0", "inner", "l_weight", "degree"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0 < value < np.inf):
                raise InvalidInputError(f"{name}: expected a number > 0, got {value!r}")
        for name in ("order", "power"):
            value = getattr(self, name)
            if not (isinstance(value, int | np.integer) and value >= 1):
                raise InvalidInputError(f"{name}: expected an integer ≥ 1, got {value!r}")
        if self.degree < 1 + 1e-9:
            raise InvalidInputError(f"degree: expected > 1, got {self.degree}")
        if self.inner >= self.cutoff:  # type: ignore[operator]
            raise InvalidInputError(
                f"cutoff: expected more than the inner distance {self.inner:.3f} Å, "
                f"got {self.cutoff}"
            )

    @property
    def n_features(self) -> int:
        """Number of features of an atom."""
        return int(self.products.feature_of[-1]) + 1

    def to_dict(self) -> dict[str, Any]:
        """Hyperparameters, as they stand in a coefficient file."""
        names = ("species", "cutoff", "order", "degree", "l_weight", "r0", "inner", "power")
        return {"name": "ACE", **{name: getattr(self, name) for name in names}}

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

    @property
    def n_harmonics(self) -> int:
        """Number of spherical harmonics, (l_max + 1)²."""
        return (int(np.sqrt(self.channels[:, 2].max())) + 1) ** 2

    @cached_property
    def harmonics(self) -> Array:
        """Recurrences of the spherical harmonics, see `harmonic_recurrences`."""
        return harmonic_recurrences(int(np.sqrt(self.n_harmonics)) - 1)

    @cached_property
    def kernel_channels(self) -> Indices:
        """Species, n ≥ 1 and row of the harmonic (see `Tables`), shape (n_channels, 3)."""
        z, n, lm = self.channels.T
        l = np.sqrt(lm).astype(np.int64)
        return np.column_stack([z, n, self.n_harmonics - (l + 1) ** 2 + lm - l**2])

    @cached_property
    def tables(self) -> Tables:
        """What the compiled kernels are told of the basis."""
        return kernel_tables(self)

    @property
    def channels(self) -> Indices:
        """Species, n ≥ 1 and l² + l + m of every A-channel, shape (n_channels, 3)."""
        return self._tables[0]

    @property
    def products(self) -> Products:
        """Products of channels and the features made of them."""
        return self._tables[1]

    @cached_property
    def _tables(self) -> tuple[Indices, Products]:
        shells = [
            (z, n, l)
            for l in range(int(self.degree / self.l_weight) + 1)
            for z in range(len(self.species))
            for n in range(1, int(self.degree) + 1)
            if n + self.l_weight * l <= self.degree + 1e-9
        ]
        starts = np.cumsum([0] + [2 * l + 1 for _, _, l in shells])
        polynomials = []
        for members in self._shell_products(shells):
            blocks = [np.arange(starts[k], starts[k + 1]) for k in members]
            found = invariant_polynomials(blocks)
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

    def compute(self, atoms: Atoms) -> Array:
        """Features of every atom.

        Parameters
        ----------
        atoms : Atoms

        Returns
        -------
        ndarray, shape (N, n_features)
        """
        from ase_vibent.descriptors.ace.evaluation import features

        return features(self, atoms, self._neighbours(atoms))

    def compute_with_gradients(self, atoms: Atoms) -> SummedFeatures:
        """Features, and gradients of their sums over the centres of each species.

        Parameters
        ----------
        atoms : Atoms

        Returns
        -------
        SummedFeatures
        """
        from ase_vibent.descriptors.ace.evaluation import summed_features

        return summed_features(self, atoms, self._neighbours(atoms))

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
        from ase_vibent.descriptors.ace.evaluation import site_gradients

        return site_gradients(self, atoms, self._neighbours(atoms))

    def linear_model(
        self,
        atoms: Atoms,
        weights: Array,
        *,
        gradient: bool = True,
        lists: NeighbourLists | None = None,
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

        Returns
        -------
        SiteSums
        """
        from ase_vibent.descriptors.ace.evaluation import linear_sums

        near = self._neighbours(atoms, lists)
        return linear_sums(self, atoms, near, weights, gradient=gradient)

    def site_model(
        self,
        atoms: Atoms,
        readout: Readout,
        *,
        gradient: bool = True,
        lists: NeighbourLists | None = None,
    ) -> SiteSums:
        """Site values of any differentiable function of the features.

        Parameters
        ----------
        atoms : Atoms
        readout : callable (features, species) -> values, slopes
            See `Readout`.
        gradient, lists
            As in `linear_model`.

        Returns
        -------
        SiteSums
        """
        from ase_vibent.descriptors.ace.evaluation import readout_sums

        near = self._neighbours(atoms, lists)
        return readout_sums(self, atoms, near, readout, gradient=gradient)

    def _neighbours(self, atoms: Atoms, lists: NeighbourLists | None = None) -> NeighbourList:
        from ase_vibent.descriptors.neighbours import find_neighbours

        find = find_neighbours if lists is None else lists.find
        return find(atoms, self.species, self.cutoff)
