"""Moments of local densities of states: strictly local, and all that quantum statistics want.

The density of states of the dynamical matrix D at an atom i, over three directions, has the
moments M_k,i = Σ_ν |e_νi|² λ_ν^k = Tr [D^k]_ii, λ = ω².

D^k reaches k interaction lengths, no more. Masses come out of it: with the Hessian H,
M_1,i = P_i/m_i, M_2,i = Σ_z P_iz/(m_i m_z) and M_3,i = Σ_zz' P_izz'/(m_i m_z m_z'), where
P_i = Tr H_ii, P_iz = Σ_{j of z} Tr H_ij H_ji, and P_izz' the same over closed paths i-j-k-i, are
free of masses as long as all atoms of a species z have the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidStructureError
from ase_vibent.harmonic.modes import check_masses

#: Relative standard deviation of 1/m within a species that its mean may stand for: the error of
#: a total is of second order in it.
ISOTOPE_SPREAD = 0.05


def moment_columns(n_species: int) -> list[tuple[int, ...]]:
    """Species on the path of every mass-free moment, the atom's own left out.

    Parameters
    ----------
    n_species : int

    Returns
    -------
    list of tuples of int
        () for P_i, (z,) for P_iz, (z, z') with z ≤ z' for P_izz'; three for one species.
    """
    return [
        path
        for length in range(3)
        for path in combinations_with_replacement(range(n_species), length)
    ]


def path_species(atoms: Atoms) -> tuple[list[str], NDArray[np.int64]]:
    """Species that tell the moments of a structure apart.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    symbols : list of str
        Those that the structure holds, in alphabetical order.
    species : ndarray of int64, shape (N,)
        Index of every atom's.
    """
    symbols, species = np.unique(atoms.get_chemical_symbols(), return_inverse=True)
    return symbols.tolist(), species.astype(np.int64)


def hessian_moments(hessian: Any, species: NDArray[np.int64], n_species: int) -> Array:
    """Mass-free moments P_i, P_iz, P_izz' of every atom.

    Parameters
    ----------
    hessian : ndarray or sparse array, shape (3n, 3n), eV/Å²
        Symmetric, or Hermitian away from Γ.
    species : ndarray of int64, shape (n,)
    n_species : int

    Returns
    -------
    ndarray, shape (n, n_columns), (eV/Å²)^k
        Columns as in `moment_columns`; k - 1 species stand in the path of a k-th moment.
    """
    # Both kinds of arrays understand what follows.
    matrix: Any = csr_array(hessian) if issparse(hessian) else np.asarray(hessian)
    members = [np.flatnonzero(np.repeat(species == z, 3)) for z in range(n_species)]
    towards = [matrix[:, rows] for rows in members]
    columns = []
    for path in moment_columns(n_species):
        if not path:
            traces = matrix.diagonal()
        elif len(path) == 1:
            own = towards[path[0]]
            traces = (own * own.conj()).sum(axis=1)
        else:
            first, second = path
            around = (towards[first] @ towards[second][members[first]]) * towards[second].conj()
            # Both senses of a path have the same trace.
            traces = around.sum(axis=1) * (1 if first == second else 2)
        columns.append(np.real(traces).reshape(-1, 3).sum(axis=1))
    return np.array(columns).T


def mean_inverse_masses(atoms: Atoms, groups: Sequence[NDArray[np.bool_]]) -> Array:
    """Mean 1/m of groups of atoms, which stands for that of every one of them.

    Parameters
    ----------
    atoms : Atoms
    groups : sequence of ndarray of bool, shape (N,)

    Returns
    -------
    ndarray, shape (n_groups,), 1/amu
        0 for an empty group: no path goes through it.

    Raises
    ------
    InvalidStructureError
        If the masses within a group differ by more than `ISOTOPE_SPREAD`.
    """
    inverse, means = 1 / check_masses(atoms), np.zeros(len(groups))
    for index, own in enumerate(groups):
        if not own.any():
            continue
        means[index] = inverse[own].mean()
        if inverse[own].std() > ISOTOPE_SPREAD * means[index]:
            masses = atoms.get_masses()[own]
            raise InvalidStructureError(
                f"atoms: masses from {masses.min():g} to {masses.max():g} amu in one species; "
                "quantum corrections take a mean for all of its atoms, which stands for a spread "
                f"of {ISOTOPE_SPREAD:.0%} at most"
            )
    return means


def mass_factors(own: Array, passed: Array) -> Array:
    """What makes moments M_k of mass-free ones.

    Parameters
    ----------
    own : ndarray, shape (n_kinds,), 1/amu
        Inverse masses of the atoms whose moments these are.
    passed : ndarray, shape (n_species,), 1/amu
        Inverse masses of the species on the paths.

    Returns
    -------
    ndarray, shape (n_kinds, 3, n_columns), 1/amu^k
        M_k,i = Σ_c factors[z_i, k - 1, c] P_ic.
    """
    paths = moment_columns(len(passed))
    factors = np.zeros((len(own), 3, len(paths)))
    for column, path in enumerate(paths):
        factors[:, len(path), column] = own * np.prod(passed[list(path)])
    return factors
