"""Force constants of a crystal from a stored Hessian, for q-meshes through phonopy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import make_supercell
from ase.units import Bohr, Hartree

from ase_vibent.arrays import IntArray
from ase_vibent.crystal.phonons import supercell_hessian_at
from ase_vibent.errors import InvalidStructureError
from ase_vibent.harmonic.accuracy import entropy_errors
from ase_vibent.harmonic.mesh import choose_mesh
from ase_vibent.harmonic.mesh_system import MeshSystem
from ase_vibent.harmonic.spectrum import as_dense
from ase_vibent.hessian.stored import SAME_PLACE, StoredHessian
from ase_vibent.hessian.symmetry import (
    new_phonons,
    phonopy_cell,
    phonopy_failures,
    set_hessian,
    tells_symmetry,
)
from ase_vibent.structures.cells import same_cell, widths
from ase_vibent.structures.validity import free_atoms


def stored_phonons(stored: StoredHessian) -> Any:
    """Phonopy object of the primitive cell that repeats to a stored supercell; masses are 1 amu.

    Parameters
    ----------
    stored : StoredHessian
        Of a crystal, all atoms free. With its polarity, matrices at q ≠ 0 have the non-analytic
        correction.

    Returns
    -------
    phonopy.Phonopy

    Raises
    ------
    InvalidStructureError
        If it is no crystal.
    """
    from phonopy.structure.cells import guess_primitive_matrix

    atoms = stored.atoms
    if not np.all(atoms.pbc) or len(free_atoms(atoms)) < len(atoms):
        raise InvalidStructureError(
            f"{stored.origin}: expected the Hessian of a crystal, periodic along three directions, "
            "all atoms free"
        )
    cell = phonopy_cell(atoms)
    with phonopy_failures():
        primitive = guess_primitive_matrix(cell) if tells_symmetry(atoms) else "P"
    phonons = new_phonons(cell, np.eye(3, dtype=int), primitive)
    set_hessian(phonons, as_dense(stored.matrix))
    if stored.polarity is not None:
        phonons.nac_params = {
            "born": stored.polarity.charges[phonons.primitive.p2s_map],
            "dielectric": stored.polarity.dielectric,
            "factor": Hartree * Bohr,
        }
    return phonons


def sites_in(crystal: Atoms, phonons: Any) -> tuple[Atoms, IntArray]:
    """Primitive cell of a phonopy object, and the site of every atom of a crystal in it.

    Parameters
    ----------
    crystal : Atoms
        Any cell of the same crystal, in the same place.
    phonons : phonopy.Phonopy
        From `stored_phonons`.

    Returns
    -------
    primitive : Atoms
    sites : ndarray of int, shape (N,)

    Raises
    ------
    InvalidStructureError
        If it is another crystal.
    """
    cell = phonons.primitive.cell
    places = phonons.primitive.scaled_positions
    apart = crystal.positions[:, None] @ np.linalg.inv(cell) - places
    distances = np.linalg.norm((apart - np.rint(apart)) @ cell, axis=2)
    sites = distances.argmin(axis=1)
    repeats = crystal.cell.array @ np.linalg.inv(cell)
    counts = np.bincount(sites, minlength=len(places))
    fits = np.abs((repeats - np.rint(repeats)) @ cell).max() < SAME_PLACE
    if not fits or distances.min(axis=1).max() > SAME_PLACE or np.ptp(counts) > 0:
        raise InvalidStructureError(
            "crystal: it is not the crystal whose force constants are known: cell and positions "
            "must be a repetition of the same primitive cell, in the same place"
        )
    first = [int(np.flatnonzero(sites == site)[0]) for site in range(len(places))]
    primitive = crystal[first]
    primitive.set_cell(cell)
    primitive.positions = places @ cell
    return primitive, sites


def in_supercell(stored: StoredHessian, atoms: Atoms) -> StoredHessian:
    """Hessian of a crystal in the supercell of another structure, as of a defect.

    From the crystal's dynamical matrices at the points that fit into that supercell: as good as
    force constants that reach no farther than half of either cell.

    Parameters
    ----------
    stored : StoredHessian
        Of a crystal, in any of its cells, all atoms free.
    atoms : Atoms
        In a cell that is one of the crystal's, strained at most, and in the same orientation.

    Returns
    -------
    StoredHessian
        In the crystal's own unstrained lattice; the same one where that is its cell already. In a
        wider cell it has an error: by blocks at the border between images of the narrower one.

    Raises
    ------
    InvalidStructureError
        If it is the Hessian of no crystal, or the cell holds none of its primitive cells.
    """
    if same_cell(stored.atoms, atoms):
        return stored
    phonons = stored_phonons(replace(stored, polarity=None))
    primitive, sites = sites_in(stored.atoms, phonons)
    repeats = np.rint(atoms.cell.array @ np.linalg.inv(primitive.cell.array)).astype(int)
    if round(np.linalg.det(repeats)) == 0:
        raise InvalidStructureError(
            f"{stored.origin}: its primitive cell {np.round(primitive.cell.cellpar(), 4).tolist()} "
            f"does not fit into the cell {np.round(atoms.cell.cellpar(), 4).tolist()} of the other "
            "structure; both must be in one orientation"
        )
    supercell = make_supercell(primitive, repeats)
    if same_cell(stored.atoms, supercell):
        return stored
    places = sites_in(supercell, phonons)[1]
    hessian = supercell_hessian_at(phonons, supercell, places, np.zeros(3)).real
    polarity = stored.polarity
    if polarity is not None:
        first = np.unique(sites, return_index=True)[1]
        polarity = replace(polarity, charges=polarity.charges[first[places]])
    wider = np.any(widths(supercell) > widths(stored.atoms) + SAME_PLACE)
    error = _error_of_images(stored) * len(supercell) / len(stored.atoms) if wider else 0.0
    return StoredHessian(supercell, hessian, stored.origin, polarity, error)


def _error_of_images(stored: StoredHessian) -> float:
    """Of the reduced entropy of its cell on a mesh, k_B; see `EntropyErrors.images`."""
    mesh = choose_mesh(stored.atoms, "auto")
    if len(stored.atoms) == 1 or mesh is None:
        return float("nan")
    system = MeshSystem(stored.atoms, as_dense(stored.matrix), mesh, unstable="any")
    return entropy_errors(stored.atoms, system).images
