"""Functions of the distance alone, of high resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ase_vibent.arrays import Array, IntArray
from ase_vibent.checks import check_attributes, check_integer_attributes
from ase_vibent.descriptors.density.descriptor import DensityDescriptor
from ase_vibent.descriptors.density.products import Products, link_products
from ase_vibent.descriptors.density.radial import TabulatedBasis, spline_basis
from ase_vibent.errors import InvalidInputError
from ase_vibent.structures.atom_types import ANY, bond_length

#: Intervals between knots, at most and at least from the inner distance to the cutoff.
MOST_INTERVALS, FEWEST_INTERVALS = 1000, 4


@dataclass(frozen=True)
class PairFunctions(DensityDescriptor):
    """B-splines of the distance, summed over the neighbours of every species.

    They resolve what polynomials of the distance do not, as potentials that are tables, and
    stand beside many-body features: PairFunctions(…) + ACE(…). Models of them cost as much as one
    function of the distance, whatever their number.

    Parameters
    ----------
    species : sequence of str
        Atom types, as for `ACE`.
    cutoff : float, Å
    spacing : float, Å
        Distance of the knots, which are even and reach the cutoff: the nearest that fits.
    degree : int
        Of the polynomials between knots: 3, with smooth second derivatives; 2; or 1, where slopes
        jump at knots, rounded off over an eighth of their distance.
    inner : float, Å, optional
        Shortest distance that is resolved; by default 0.8 of twice the mean covalent radius.
        Closer pairs are all alike.
    neighbours : sequence of str, optional
        Atom types of neighbours that are told apart; by default those of the sites.

    Raises
    ------
    InvalidInputError
        If a parameter is out of range.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase_vibent.descriptors import ACE, PairFunctions
    >>> descriptor = PairFunctions(["Si"], cutoff=5.0, spacing=0.2) + ACE(["Si"], degree=8)
    >>> descriptor.compute(bulk("Si", cubic=True)).shape  # atoms, features
    (8, 71)
    """

    species: Sequence[str]
    cutoff: float = 5.0
    spacing: float = 0.1
    degree: int = 3
    inner: float | None = None
    neighbours: Sequence[str] | None = None

    def __post_init__(self) -> None:
        self._check_atom_types()
        if self.inner is None:
            if all(kind.startswith(ANY) for kind in self.species):
                raise InvalidInputError(f"inner: expected a distance in Å beside species {ANY!r}")
            object.__setattr__(self, "inner", round(0.8 * bond_length(self.species), 6))
        check_attributes(self, "cutoff", "spacing", "inner")
        check_integer_attributes(self, 1, "degree")
        if self.degree > 3:
            raise InvalidInputError(f"degree: expected 1, 2 or 3, got {self.degree}")
        most = self.cutoff / self.spacing
        if most > MOST_INTERVALS or self._intervals - self._first < FEWEST_INTERVALS:
            raise InvalidInputError(
                f"spacing: expected {FEWEST_INTERVALS} intervals or more from the inner distance "
                f"{self.inner:g} Å to the cutoff, and at most {MOST_INTERVALS} below it, got "
                f"{self.spacing:g} Å"
            )
        self._check_cost(len(self.neighbour_species) * most, 0)

    @property
    def _intervals(self) -> int:
        """Number of intervals from 0 to the cutoff."""
        return round(self.cutoff / self.spacing)

    @property
    def _first(self) -> int:
        """The first interval that is resolved."""
        return int(self.inner * self._intervals / self.cutoff)  # type: ignore[operator]

    @cached_property
    def radial(self) -> TabulatedBasis:
        """B-splines, from the inner distance outwards."""
        return spline_basis(self._intervals, self._first, cutoff=self.cutoff, degree=self.degree)

    @property
    def radial_degrees(self) -> IntArray:
        """All alike."""
        return np.ones(self.radial.n_max, dtype=np.int64)

    @cached_property
    def _tables(self) -> tuple[IntArray, Products]:
        n_functions = self._intervals - self._first
        z, n = np.divmod(np.arange(len(self.neighbour_species) * n_functions), n_functions)
        alone: list[tuple[IntArray, Array]] = [(np.arange(len(z))[:, None], np.eye(len(z)))]
        return np.column_stack([z, n + 1, 0 * n]), link_products(alone)
