"""Moments of local densities of states: strictly local, and enough for quantum corrections.

The density of states of the dynamical matrix D at an atom i, over three directions, has the
moments M_k,i = Σ_ν |e_νi|² λ_ν^k = Tr [D^k]_ii, λ = ω². The zeroth is 3: translations count as
modes, but they weigh nothing in the others, nor in sums of functions that vanish at λ = 0.

D^k reaches k interaction lengths, no more. Masses come out of it: with the Hessian H,
M_1,i = P_i/m_i, M_2,i = Σ_z P_iz/(m_i m_z) and M_3,i = Σ_zz' P_izz'/(m_i m_z m_z'), where
P_i = Tr H_ii, P_iz = Σ_{j of z} Tr H_ij H_ji, and P_izz' the same over closed paths i-j-k-i, are
free of masses as long as all atoms of a species z have the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.harmonic.entropy import Statistics
from ase_vibent.harmonic.modes import check_masses

#: Relative standard deviation of 1/m within a species that its mean may stand for: the error of
#: a total is of second order in it.
ISOTOPE_SPREAD = 0.05
#: Modes of an atom: the zeroth moment.
MODES_PER_ATOM = 3


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


@dataclass(frozen=True)
class LocalQuadrature:
    """Two-point Gauss quadrature of local densities of states.

    It has the zeroth to third moments of the density: Σ_p w_p λ_p^k = M_k.

    Attributes
    ----------
    nodes : ndarray, shape (n, 2), eV/Å²/amu
        Ascending.
    weights : ndarray, shape (n, 2)
        Positive; they sum to 3.
    """

    nodes: Array
    weights: Array

    @classmethod
    def from_moments(cls, moments: Array) -> LocalQuadrature:
        """Quadrature of every atom.

        Parameters
        ----------
        moments : ndarray, shape (n, 3), (eV/Å²/amu)^k
            M_1, M_2, M_3.

        Returns
        -------
        LocalQuadrature

        Raises
        ------
        InvalidStructureError
            If moments are those of no density: its variance must be positive.
        """
        mean, second, third = (moments / MODES_PER_ATOM).T
        variance = second - mean**2
        bad = np.flatnonzero(~(variance > 0))
        if len(bad):
            raise InvalidStructureError(_no_density(moments[bad[0]]))
        skew = (third - 3 * mean * second + 2 * mean**3) / variance
        half_distance = np.sqrt(skew**2 / 4 + variance)
        weights = np.stack([0.5 + skew / (4 * half_distance), 0.5 - skew / (4 * half_distance)])
        nodes = mean + skew / 2 + np.stack([-half_distance, half_distance])
        return cls(nodes.T, MODES_PER_ATOM * weights.T)

    def slopes(self, values: Array, derivatives: Array) -> Array:
        """Derivative of Σ_p w_p f(λ_p) in the moments M_1, M_2, M_3.

        These are the coefficients of the cubic that has the values and the derivatives of f at
        both nodes: the quadrature integrates it exactly, and does so to first order in the nodes.

        Parameters
        ----------
        values, derivatives : ndarray, shape (n, 2)
            f(λ_p) and f'(λ_p).

        Returns
        -------
        ndarray, shape (n, 3)
        """
        low, high = self.nodes.T
        distance = high - low
        rise = (values[:, 1] - values[:, 0]) / distance
        # Newton's form at the nodes low, low, high, high.
        second = (rise - derivatives[:, 0]) / distance
        third = (derivatives[:, 1] - 2 * rise + derivatives[:, 0]) / distance**2
        return np.stack(
            [
                derivatives[:, 0] - 2 * low * second + (low**2 + 2 * low * high) * third,
                second - (2 * low + high) * third,
                third,
            ],
            axis=1,
        )


@dataclass(frozen=True)
class MomentThermodynamics:
    """Entropy and free energy of every atom, and their slopes in its moments.

    Attributes
    ----------
    entropy : ndarray, shape (n,), eV/K
    free_energy : ndarray, shape (n,), eV
    entropy_slopes : ndarray, shape (n, 3), eV/K per (eV/Å²/amu)^k
    free_energy_slopes : ndarray, shape (n, 3), eV per (eV/Å²/amu)^k
    """

    entropy: Array
    free_energy: Array
    entropy_slopes: Array
    free_energy_slopes: Array


def thermodynamics_of_moments(
    moments: Array, statistics: Statistics, temperature: float
) -> MomentThermodynamics:
    """Sums over the local density of states by quadrature.

    Parameters
    ----------
    moments : ndarray, shape (n, 3), (eV/Å²/amu)^k
        M_1, M_2, M_3.
    statistics : callable
        Smooth in λ and zero at λ = 0, where the translations lie: `quantum_correction`.
    temperature : float, K

    Returns
    -------
    MomentThermodynamics

    Raises
    ------
    InvalidStructureError
        If there is no density of states with these moments, or it is too unstable.
    """
    quadrature = LocalQuadrature.from_moments(moments)
    try:
        modes = statistics(quadrature.nodes, temperature)
    except InvalidInputError as error:
        lowest = moments[quadrature.nodes[:, 0].argmin()]
        raise InvalidStructureError(f"{_no_density(lowest)}: {error}") from error
    weights = quadrature.weights
    return MomentThermodynamics(
        (weights * modes.entropy).sum(axis=1),
        (weights * modes.free_energy).sum(axis=1),
        quadrature.slopes(modes.entropy, modes.entropy_slope),
        quadrature.slopes(modes.free_energy, modes.free_energy_slope),
    )


def _no_density(moments: Array) -> str:
    return (
        "atoms: the moments of the density of states at an atom, "
        f"{', '.join(f'{m:.4g}' for m in moments)} (eV/Å²/amu)^k, are those of no stable solid; "
        "predicted ones are so far outside of the training data"
    )
