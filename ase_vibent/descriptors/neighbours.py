"""Neighbours of every atom within a cutoff, grouped by species."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import vesin
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ase_vibent.errors import InvalidStructureError, UnknownSpeciesError
from ase_vibent.structures import check_structure

#: Two atoms closer than this, in Å, are taken for a mistake in the structure.
COINCIDENT = 0.3


@dataclass(frozen=True)
class Neighbourhood:
    """Pairs of a structure, sorted by centre and then by species of the neighbour.

    Attributes
    ----------
    species : ndarray of int64, shape (N,)
        Index of every atom's species.
    offsets : ndarray of int64, shape (N, n_species + 1)
        Pairs of centre i with neighbours of species z: offsets[i, z] : offsets[i, z + 1].
    neighbours : ndarray of int64, shape (n_pairs,)
        Index of the neighbour; an atom may neighbour its own periodic image.
    vectors : ndarray, shape (n_pairs, 3), Å
        From centre to neighbour.
    """

    species: NDArray[np.int64]
    offsets: NDArray[np.int64]
    neighbours: NDArray[np.int64]
    vectors: NDArray[np.float64]


def find_neighbours(atoms: Atoms, species: Sequence[str], cutoff: float) -> Neighbourhood:
    """Neighbourhood of every atom.

    Parameters
    ----------
    atoms : Atoms
        Periodic along any of its directions.
    species : sequence of str
        Chemical symbols that are known, in the order of their indices.
    cutoff : float, Å

    Returns
    -------
    Neighbourhood

    Raises
    ------
    UnknownSpeciesError
        If another species occurs.
    InvalidStructureError
        If there is no atom, positions are not finite, two atoms coincide, or no atom has
        a neighbour.
    """
    check_structure(atoms)
    indices = species_indices(atoms, species)
    neighbour_list = vesin.NeighborList(cutoff=cutoff, full_list=True, sorted=True)
    centres, neighbours, distances, vectors = neighbour_list.compute(
        points=atoms.positions,
        box=atoms.cell.complete().array,
        periodic=np.asarray(atoms.pbc),
        quantities="ijdD",
    )
    if len(centres) == 0:
        raise InvalidStructureError(
            f"atoms: no atom has a neighbour within {cutoff} Å; check cell, units and pbc"
        )
    if distances.min() < COINCIDENT:
        pair = int(distances.argmin())
        raise InvalidStructureError(
            f"atoms: atoms {centres[pair]} and {neighbours[pair]} sit on one spot "
            f"({distances[pair]:.2g} Å apart)"
        )
    centres, neighbours = centres.astype(np.int64), neighbours.astype(np.int64)
    groups = centres * len(species) + indices[neighbours]
    if len(species) > 1:
        order = np.argsort(groups, kind="stable")
        neighbours, vectors = neighbours[order], vectors[order]
    counts = np.bincount(groups, minlength=len(atoms) * len(species))
    ends = np.cumsum(counts).reshape(len(atoms), len(species))
    starts = ends[:, :1] - counts.reshape(ends.shape)[:, :1]
    return Neighbourhood(indices, np.hstack([starts, ends]), neighbours, vectors)


def species_indices(atoms: Atoms, species: Sequence[str]) -> NDArray[np.int64]:
    """Index of every atom's species.

    Parameters
    ----------
    atoms : Atoms
    species : sequence of str

    Returns
    -------
    ndarray of int64, shape (N,)

    Raises
    ------
    UnknownSpeciesError
    """
    known = [atomic_numbers[s] for s in species]
    table = np.full(max(atoms.numbers.max(initial=0), *known, 0) + 1, -1)
    table[known] = np.arange(len(species))
    indices = table[atoms.numbers]
    if np.any(indices < 0):
        unknown = sorted(set(np.array(atoms.get_chemical_symbols())[indices < 0]))
        raise UnknownSpeciesError(
            f"atoms: species {', '.join(unknown)} not among those known ({', '.join(species)}); "
            "train on structures that hold them"
        )
    return indices.astype(np.int64)
