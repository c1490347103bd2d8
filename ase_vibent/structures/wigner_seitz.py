"""Vacancies and interstitials of a disordered cell, counted against its perfect crystal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.geometry import wrap_positions
from numpy.typing import NDArray

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidStructureError
from ase_vibent.structures.cells import repeated, repeats_to
from ase_vibent.structures.displacements import nearest_distance
from ase_vibent.structures.symmetry import CrystalSymmetry
from ase_vibent.structures.validity import check_crystal, strip_labels


@dataclass(frozen=True)
class SiteOccupation:
    """How the atoms of a structure fill the Wigner-Seitz cells of its perfect crystal.

    Attributes
    ----------
    sites : Atoms
        The perfect crystal in the structure's cell.
    site_of_atom : ndarray, shape (N,)
        Index of the site whose Wigner-Seitz cell holds the atom.
    vectors : ndarray, shape (N, 3), Å
        From the site of every atom to it, the drift taken out.
    occupation : ndarray, shape (n_sites,)
        Number of atoms in every cell.
    drift : ndarray, shape (3,), Å
        Rigid shift of the structure against the crystal that was taken out.
    foreign : ndarray of bool, shape (N,)
        Whether the atom is of another species than the crystal's on its site.
    """

    sites: Atoms = field(repr=False)
    site_of_atom: NDArray[np.intp] = field(repr=False)
    vectors: Array = field(repr=False)
    occupation: NDArray[np.intp] = field(repr=False)
    drift: Array
    foreign: NDArray[np.bool_] = field(repr=False)

    @property
    def distances(self) -> Array:
        """From every atom to its site, shape (N,), Å."""
        return np.linalg.norm(self.vectors, axis=1)

    @property
    def odd_sites(self) -> NDArray[np.intp]:
        """Sites that are not filled as in the crystal."""
        odd = self.occupation != 1
        odd[self.site_of_atom[self.foreign]] = True
        return np.flatnonzero(odd)

    @property
    def n_antisites(self) -> int:
        """Number of cells that hold one atom, of another species than the crystal's."""
        return int(np.sum(self.foreign & (self.occupation[self.site_of_atom] == 1)))

    @property
    def n_vacancies(self) -> int:
        """Number of empty cells."""
        return int(np.sum(self.occupation == 0))

    @property
    def n_interstitials(self) -> int:
        """Number of atoms beyond the first in their cell."""
        return int(np.sum(np.maximum(self.occupation - 1, 0)))

    @property
    def interstitial_atoms(self) -> NDArray[np.intp]:
        """Indices of all atoms that share a cell: both atoms of a dumbbell."""
        return np.flatnonzero(self.occupation[self.site_of_atom] > 1)

    @property
    def surplus_atoms(self) -> NDArray[np.intp]:
        """Indices of those atoms that are not the closest one to the site of their cell."""
        closest = np.lexsort((self.distances, self.site_of_atom))
        _, first = np.unique(self.site_of_atom[closest], return_index=True)
        return np.setdiff1d(np.arange(len(self.site_of_atom)), closest[first])


def wigner_seitz_defects(atoms: Atoms, crystal: Atoms) -> SiteOccupation:
    """Wigner-Seitz analysis, by which [Lapointe2020] IV.A and V.C find their defects.

    Parameters
    ----------
    atoms : Atoms
    crystal : Atoms
        Perfect crystal in the same orientation, a unit cell or a supercell; it is repeated
        and strained to the structure's cell. Any order of atoms, any rigid shift.

    Returns
    -------
    SiteOccupation

    Raises
    ------
    InvalidStructureError
        If no repetition of the crystal fits the structure's cell, to within a strain of 0.2.
    """
    sites = _sites(atoms, crystal)
    drift = _drift(atoms, sites)
    site_of_atom, vectors = nearest_sites(atoms.positions - drift, sites)
    occupation = np.bincount(site_of_atom, minlength=len(sites))
    foreign = sites.numbers[site_of_atom] != atoms.numbers
    return SiteOccupation(sites, site_of_atom, vectors, occupation, drift, foreign)


def defect_atoms(atoms: Atoms, crystal: Atoms) -> NDArray[np.intp]:
    """Atoms that share a Wigner-Seitz cell, have another species', or neighbour an empty one.

    Parameters
    ----------
    atoms, crystal : Atoms
        As in `wigner_seitz_defects`.

    Returns
    -------
    ndarray, shape (n,)
        Indices, ascending.
    """
    import vesin

    found = wigner_seitz_defects(atoms, crystal)
    sites = found.sites
    centres, neighbours = vesin.NeighborList(
        cutoff=1.2 * nearest_distance(sites), full_list=True
    ).compute(points=sites.positions, box=sites.cell.array, periodic=True, quantities="ij")
    near = np.zeros(len(sites), dtype=bool)
    near[neighbours[found.occupation[centres] == 0]] = True
    near |= found.occupation > 1
    return np.flatnonzero(near[found.site_of_atom] | found.foreign)


def _sites(atoms: Atoms, crystal: Atoms) -> Atoms:
    """The crystal, repeated and strained to a structure's cell."""
    check_crystal(atoms)
    check_crystal(crystal)
    sites = strip_labels(repeated(crystal, repeats_to(crystal, atoms)))
    deformation = np.linalg.solve(sites.cell.array, atoms.cell.array)
    if np.abs(deformation - np.eye(3)).max() > 0.2:
        raise InvalidStructureError(
            "crystal: expected the perfect crystal of the structure, but no repetition of the "
            f"cell {np.round(crystal.cell.cellpar(), 3).tolist()} gives "
            f"{np.round(atoms.cell.cellpar(), 3).tolist()}, in the same orientation"
        )
    sites.set_cell(atoms.cell, scale_atoms=True)
    return sites


def nearest_sites(points: Array, sites: Atoms) -> tuple[NDArray[np.intp], Array]:
    """Nearest site of every point, and the vectors from site to point.

    Parameters
    ----------
    points : ndarray, shape (n, 3), Å
    sites : Atoms

    Returns
    -------
    sites : ndarray of int, shape (n,)
    vectors : ndarray, shape (n, 3), Å
    """
    import vesin

    box = sites.cell.array
    both = np.concatenate([points, sites.positions])
    wrapped = wrap_positions(both, box)
    cutoff = nearest_distance(sites)
    while True:
        i, j, distances, vectors = vesin.NeighborList(cutoff=cutoff, full_list=True).compute(
            points=wrapped, box=box, periodic=True, quantities="ijdD"
        )
        pairs = np.flatnonzero((i < len(points)) & (j >= len(points)))
        pairs = pairs[np.lexsort((distances[pairs], i[pairs]))]
        atoms, first = np.unique(i[pairs], return_index=True)
        if len(atoms) == len(points):
            nearest = pairs[first]
            return j[nearest].astype(np.intp) - len(points), -vectors[nearest]
        cutoff *= 1.5


def _drift(atoms: Atoms, sites: Atoms) -> Array:
    """Rigid shift that brings the atoms closest to the sites."""
    spacing = nearest_distance(sites)
    best, least = np.zeros(3), np.inf
    for shift in _possible_drifts(atoms, sites):
        for _ in range(2):
            vectors = nearest_sites(atoms.positions - shift, sites)[1]
            shift = shift + np.median(vectors, axis=0)  # few defects do not move a median
        distance = np.linalg.norm(vectors - np.median(vectors, axis=0), axis=1).mean()
        if distance < least:
            best, least = shift, distance
        if least < 0.1 * spacing:
            return best
    # Where atoms are as far from sites as random points, the best drift is one by chance.
    points = np.random.default_rng(0).uniform(size=(1000, 3)) @ sites.cell.array
    at_random = np.linalg.norm(nearest_sites(points, sites)[1], axis=1).mean()
    return best if least < 0.9 * at_random else np.zeros(3)


def _possible_drifts(atoms: Atoms, sites: Atoms) -> Iterator[Array]:
    """No shift at all, then those that put some atom upon some site of a primitive cell."""
    yield np.zeros(3)
    bare = Atoms(numbers=sites.numbers, positions=sites.positions, cell=sites.cell, pbc=True)
    basis = sites.positions[CrystalSymmetry(bare).basis]
    for atom in np.linspace(0, len(atoms) - 1, min(8, len(atoms))).astype(int):
        for position in basis:
            yield atoms.positions[atom] - position
