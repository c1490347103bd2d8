"""What all local descriptors on the kernels share, and several of them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent.arrays import Array
from ase_vibent.descriptors.density.basis import DensityBasis
from ase_vibent.descriptors.interface import Readout, SiteSums, SummedFeatures
from ase_vibent.descriptors.quadratic_form import QuadraticForm
from ase_vibent.errors import InvalidInputError

if TYPE_CHECKING:
    from ase_vibent.neighbours.lists import NeighbourList, NeighbourLists


class LocalDescriptor:
    """Features of one or several bases of the neighbour density, side by side.

    Attributes
    ----------
    species : sequence of str
        Atom types: chemical symbols, or sublattices as "Si:1"; "*" is any.
    neighbours : sequence of str, optional
        Atom types of neighbours that are told apart; by default those of the sites.
    cutoff : float, Å
        The largest of all bases.
    """

    species: Sequence[str]
    cutoff: float
    neighbours: Sequence[str] | None = None

    def __add__(self, other: LocalDescriptor) -> LocalDescriptor:
        """Both, side by side."""
        return Joined([self, other])

    @property
    def bases(self) -> Sequence[DensityBasis]:
        """What the kernels are told."""
        raise NotImplementedError

    @property
    def n_features(self) -> int:
        """Number of features of an atom."""
        raise NotImplementedError

    @property
    def neighbour_species(self) -> Sequence[str]:
        """Atom types of neighbours."""
        return self.species if self.neighbours is None else self.neighbours

    def to_dict(self) -> dict[str, Any]:
        """Hyperparameters, as they stand in a coefficient file."""
        raise NotImplementedError

    def roughness(self, power: float) -> Array:
        """Roughness of every feature, by which a smoothness prior divides its coefficient."""
        raise NotImplementedError

    def features_within(self, smaller: LocalDescriptor) -> NDArray[np.bool_] | None:
        """Which features a descriptor that is a part of this one has.

        Parameters
        ----------
        smaller : LocalDescriptor

        Returns
        -------
        ndarray of bool, shape (n_features,), or None
            None if it is no part.
        """
        return np.ones(self.n_features, dtype=bool) if smaller == self else None

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

        return features(self.bases, atoms, self.find_neighbours(atoms))

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

        return summed_features(self.bases, atoms, self.find_neighbours(atoms))

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

        return site_gradients(self.bases, atoms, self.find_neighbours(atoms))

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
        return linear_sums(self.bases, atoms, near, weights, gradient=gradient, forms=forms)

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
        return readout_sums(self.bases, atoms, near, readout, gradient=gradient, forms=forms)

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


@dataclass(frozen=True)
class Joined(LocalDescriptor):
    """Features of several descriptors side by side: PairFunctions(…) + ACE(…).

    Each has a cutoff, an order and a degree of its own; neighbours are found once for all.

    Parameters
    ----------
    parts : sequence of LocalDescriptor
        Of the same atom types; joined ones stand for their parts.

    Raises
    ------
    InvalidInputError
        If there are none, or they differ in their atom types.
    """

    parts: Sequence[LocalDescriptor]

    def __post_init__(self) -> None:
        parts: list[LocalDescriptor] = []
        for part in self.parts:
            if not isinstance(part, LocalDescriptor):
                raise InvalidInputError(
                    f"parts: expected descriptors of atoms, got {type(part).__name__}"
                )
            parts += part.parts if isinstance(part, Joined) else [part]
        if not parts:
            raise InvalidInputError("parts: expected one descriptor or more, got none")
        object.__setattr__(self, "parts", tuple(parts))
        for part in parts[1:]:
            for name in ("species", "neighbour_species"):
                first, own = getattr(parts[0], name), getattr(part, name)
                if own != first:
                    raise InvalidInputError(
                        f"parts: expected descriptors of the same {name.replace('_', ' ')}, got "
                        f"{', '.join(first)} and {', '.join(own)}"
                    )

    def to_dict(self) -> dict[str, Any]:
        """Hyperparameters of all parts."""
        return {"name": type(self).__name__, "parts": [part.to_dict() for part in self.parts]}

    @property
    def species(self) -> Sequence[str]:  # type: ignore[override]
        """Atom types of all parts."""
        return self.parts[0].species

    @property
    def neighbours(self) -> Sequence[str] | None:  # type: ignore[override]
        """Atom types of neighbours of all parts."""
        return self.parts[0].neighbours

    @property
    def cutoff(self) -> float:  # type: ignore[override]
        """The largest of all parts, Å."""
        return max(part.cutoff for part in self.parts)

    @property
    def bases(self) -> Sequence[DensityBasis]:
        """Those of all parts."""
        return [basis for part in self.parts for basis in part.bases]

    @property
    def n_features(self) -> int:
        """Number of features of an atom."""
        return sum(part.n_features for part in self.parts)

    def roughness(self, power: float) -> Array:
        """Roughness of every feature beside the smoothest of its part."""
        return np.concatenate([part.roughness(power) for part in self.parts])

    def features_within(self, smaller: LocalDescriptor) -> NDArray[np.bool_] | None:
        """Features of a descriptor whose parts are, in order, some of these or within them."""
        wanted = list(smaller.parts if isinstance(smaller, Joined) else [smaller])
        found = []
        for part in self.parts:
            own = part.features_within(wanted[0]) if wanted else None
            if own is not None:
                del wanted[0]
            found.append(np.zeros(part.n_features, dtype=bool) if own is None else own)
        return None if wanted else np.concatenate(found)
