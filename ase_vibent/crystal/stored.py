"""Force constants of a crystal from a stored Hessian, for q-meshes through phonopy."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree

from ase_vibent.arrays import IntArray
from ase_vibent.errors import InvalidStructureError
from ase_vibent.harmonic.spectrum import as_dense
from ase_vibent.hessian.stored import SAME_PLACE, StoredHessian
from ase_vibent.hessian.symmetry import (
    new_phonons,
    phonopy_cell,
    phonopy_failures,
    set_hessian,
    tells_symmetry,
)
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
