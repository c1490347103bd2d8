"""What every descriptor offers: features, their gradients, and linear models of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ase import Atoms

from ase_vibent.arrays import Array, IntArray
from ase_vibent.descriptors.quadratic_form import FormValues, QuadraticForm

if TYPE_CHECKING:
    from ase_vibent.neighbours.lists import NeighbourList, NeighbourLists


@dataclass(frozen=True)
class SummedFeatures:
    """Derivatives of features, summed over the centres of each species.

    Attributes
    ----------
    values : ndarray, shape (N, n_features)
        Features of every atom.
    gradient : ndarray, shape (n_species, N, 3, n_features), 1/Å
        Of the sum over centres of one species, with respect to each position.
    strain : ndarray, shape (n_species, 3, 3, n_features)
        Of the same sums, with respect to homogeneous strain.
    """

    values: Array
    gradient: Array
    strain: Array


@dataclass(frozen=True)
class SiteSums:
    """Site values of a model, and derivatives of their sum.

    Attributes
    ----------
    values : ndarray, shape (N,)
    gradient : ndarray, shape (N, 3), 1/Å, or None
    strain : ndarray, shape (3, 3), or None
    forms : tuple of FormValues
        Of the quadratic forms that were asked for.
    """

    values: Array
    gradient: Array | None
    strain: Array | None
    forms: tuple[FormValues, ...] = ()


class Readout(Protocol):
    """A differentiable function of an atom's features."""

    def __call__(self, features: Array, species: IntArray) -> tuple[Array, Array]:
        """Values and slopes.

        Parameters
        ----------
        features : ndarray, shape (n, n_features)
        species : ndarray of int64, shape (n,)
            Index of every atom's species.

        Returns
        -------
        values : ndarray, shape (n,)
        slopes : ndarray, shape (n, n_features)
            Of every value in its features.
        """


class Descriptor(Protocol):
    """A map from the neighbourhood of an atom to invariant features."""

    @property
    def species(self) -> Sequence[str]:
        """Chemical symbols in the order of their indices."""

    @property
    def cutoff(self) -> float:
        """Range in Å."""

    @property
    def n_features(self) -> int:
        """Number of features of an atom."""

    def to_dict(self) -> dict[str, Any]:
        """Name and hyperparameters."""

    def find_neighbours(self, atoms: Atoms, lists: NeighbourLists | None = None) -> NeighbourList:
        """Neighbours of every atom, of those kept if these still serve."""

    def compute(self, atoms: Atoms) -> Array:
        """Features of every atom, shape (N, n_features)."""

    def compute_with_gradients(self, atoms: Atoms) -> SummedFeatures:
        """Features, and gradients of their sums over the centres of each species."""

    def compute_site_gradients(self, atoms: Atoms) -> Array:
        """Gradients of every atom's features, shape (N, N, 3, n_features), 1/Å."""

    def linear_model(
        self,
        atoms: Atoms,
        weights: Array,
        *,
        gradient: bool = True,
        lists: NeighbourLists | None = None,
        forms: Sequence[QuadraticForm] = (),
    ) -> SiteSums:
        """Site values of a linear model with weights of shape (n_species, n_features)."""

    def site_model(
        self,
        atoms: Atoms,
        readout: Readout,
        *,
        gradient: bool = True,
        lists: NeighbourLists | None = None,
        forms: Sequence[QuadraticForm] = (),
    ) -> SiteSums:
        """Site values of a differentiable function of the features."""
