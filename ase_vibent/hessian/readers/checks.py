"""What goes wrong with Hessians from files: units, masses, the order of atoms, the sum rule."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from ase.units import Bohr, Hartree

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.accuracy import without_net_forces
from ase_vibent.harmonic.spectrum import as_dense
from ase_vibent.hessian.matrices import check_plausible, net_force, symmetrise
from ase_vibent.hessian.readers.request import UNITS
from ase_vibent.hessian.stored import StoredHessian
from ase_vibent.structures.validity import check_structure, free_atoms

#: Force constant of an atom in units of e²/(4πε₀ d³), d to its nearest neighbour: from argon (0.8)
#: over rock salt (4), copper (8) and silicon (12) to tungsten (60).
STIFFNESS = 0.4, 100.0
TYPICAL = 6.0
#: Structures of fewer atoms tell too little of how a Hessian falls off with distance.
FEW = 6
#: Neighbours are closer than so many times the nearest; they have this share at least of the
#: squares of a Hessian (rock salt, with its charges, has 0.86, most 0.95), below the other it is
#: refused. Where more than the last share of all pairs are neighbours, nothing can be said.
NEIGHBOURS, USUAL, LEAST, MOST_CLOSE = 1.5, 0.75, 0.6, 0.6


def checked(stored: StoredHessian, *, acoustic_sum_rule: bool, units_given: bool) -> StoredHessian:
    """A Hessian as read, symmetrised, after all that can be checked of it.

    Parameters
    ----------
    stored : StoredHessian
    acoustic_sum_rule : bool
        Whether to impose that a translation of all atoms costs no force.
    units_given : bool
        Whether the user has stated the units.

    Returns
    -------
    StoredHessian

    Raises
    ------
    InvalidInputError
        If it cannot be the Hessian of an energy of this structure.
    InvalidStructureError
        If the structure is unusable.

    Warns
    -----
    UserWarning
        If its size is none of force constants in eV/Å².
    """
    check_structure(stored.atoms)
    size = 3 * len(free_atoms(stored.atoms))
    if stored.matrix.shape != (size, size):
        raise InvalidInputError(
            f"{stored.origin}: expected {size} × {size} entries for its {size // 3} free atoms, "
            f"got {' × '.join(map(str, stored.matrix.shape))}"
        )
    held = size < 3 * len(stored.atoms)
    try:
        matrix = symmetrise(stored.matrix, sparse=hasattr(stored.matrix, "tocsr"))
        check_plausible(stored.matrix, held=held)
    except InvalidInputError as error:
        raise InvalidInputError(f"{stored.origin}: {_blame(stored) or error}") from error
    _check_order(stored)
    if not units_given:
        _warn_of_units(stored)
    if acoustic_sum_rule:
        if held:
            raise InvalidInputError(
                f"{stored.origin}: acoustic_sum_rule: fixed atoms hold the others; there is none"
            )
        matrix = without_net_forces(as_dense(matrix))
    return replace(stored, matrix=matrix)


def translation_force(matrix: Any) -> float:
    """Largest force that moving all atoms by 1 Å costs, beside the largest entry."""
    return net_force(matrix) / max(abs(matrix).max(), 1e-300)


def closest_unit(atoms: Atoms, matrix: Any, units: Mapping[str, float]) -> float:
    """Of some units the one in which a Hessian looks most like one of a solid or molecule.

    Parameters
    ----------
    atoms : Atoms
    matrix : ndarray, shape (3N, 3N)
    units : mapping of str to float, eV/Å²

    Returns
    -------
    float, eV/Å²
    """
    stiffness = _stiffness(atoms, matrix)
    if not stiffness > 0:
        return 1.0
    return units[_likeliest(stiffness, units)]


def _likeliest(stiffness: float, units: Mapping[str, float]) -> str:
    return min(units, key=lambda name: abs(np.log(stiffness * units[name] / TYPICAL)))


def _blame(stored: StoredHessian) -> str | None:
    """Whether masses are what is wrong with a matrix that is no Hessian."""
    atoms, matrix = stored.atoms, stored.matrix
    if len(free_atoms(atoms)) < len(atoms) or not np.all(np.isfinite(_values(matrix))):
        return None
    roots = np.sqrt(np.repeat(atoms.get_masses(), 3))
    dense = as_dense(matrix)
    weighted = dense * roots[:, None] * roots
    symmetric = abs(weighted - weighted.T).max() < 0.1 * abs(weighted).max()
    if symmetric and translation_force(weighted) < 0.05 < translation_force(dense):
        return (
            "it is a dynamical matrix, over the roots of masses, and no Hessian: multiply by "
            "√(m_i m_j), or pass format='lammps' if it is one of LAMMPS"
        )
    return None


def _values(matrix: Any) -> Array:
    return matrix.data if hasattr(matrix, "tocsr") else matrix


def _stiffness(atoms: Atoms, matrix: Any) -> float:
    """Median force constant of an atom, in units of e²/(4πε₀ d³); NaN of a single atom."""
    free = free_atoms(atoms)
    constants = matrix.diagonal().reshape(-1, 3).mean(axis=1)
    distances = [_distances(atoms, atom).min(initial=np.inf) for atom in free]
    units = Hartree * Bohr / np.array(distances) ** 3
    return float(np.median(constants / units)) if np.all(units > 0) else float("nan")


def _distances(atoms: Atoms, atom: int) -> Array:
    """Distances from an atom to all others, nearest images."""
    others = np.delete(np.arange(len(atoms)), atom)
    vectors = atoms.positions[others] - atoms.positions[atom]
    return np.asarray(find_mic(vectors, atoms.cell, atoms.pbc)[1]) if len(others) else np.empty(0)


def _warn_of_units(stored: StoredHessian) -> None:
    stiffness = _stiffness(stored.atoms, stored.matrix)
    low, high = STIFFNESS
    if low <= stiffness <= high or not np.isfinite(stiffness):
        return
    constants = float(np.median(stored.matrix.diagonal()))
    likely = _likeliest(stiffness, UNITS)
    warnings.warn(
        f"{stored.origin}: force constants of {constants:.3g} eV/Å² per atom would be rather "
        f"{'soft' if stiffness < low else 'stiff'} at these distances; are they in other units "
        f"({likely}?), or over masses? Say which: units= (--units)",
        stacklevel=4,
    )


def _check_order(stored: StoredHessian) -> None:
    """Raise, or warn, if atoms that are far apart feel each other more than neighbours do."""
    atoms, free = stored.atoms, free_atoms(stored.atoms)
    n = len(free)
    if n < FEW:
        return
    matrix = stored.matrix
    dense = as_dense(matrix)
    strengths = np.square(dense.reshape(n, 3, n, 3)).sum(axis=(1, 3))
    np.fill_diagonal(strengths, 0)
    vectors = atoms.positions[free][None] - atoms.positions[free][:, None]
    distances = find_mic(vectors.reshape(-1, 3), atoms.cell, atoms.pbc)[1].reshape(n, n)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.min(axis=1)
    close = distances < NEIGHBOURS * np.maximum(nearest, nearest[:, None])
    felt = float(strengths[close].sum() / max(strengths.sum(), 1e-300))
    if not strengths.any() or felt > USUAL or close.sum() > MOST_CLOSE * n * (n - 1):
        return
    fault = (
        f"{stored.origin}: neighbours have {felt:.0%} of the squares of its entries between atoms, "
        f"all others the rest; are the rows in the order of the structure's atoms (phonopy's "
        "supercells are ordered atom by atom of the unit cell, ASE's cell by cell), and the "
        "supercell right?"
    )
    if felt < LEAST:
        raise InvalidInputError(fault)
    warnings.warn(fault, stacklevel=4)
