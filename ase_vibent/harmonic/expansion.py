"""Thermodynamics of whatever differs from a crystal, in Σ ln λ and moments of its spectrum.

A free energy Σ f(λ) over the modes of a structure is linear in its density of states. Of a crystal
that is known in full. Of other structures a surrogate knows the classical entropy, which is Σ ln λ,
and the moments Σ λ^k, k = 1, 2, 3, so that for the difference

    f(λ) ≈ r + b_0 ln λ + b_1 λ + b_2 λ²/2 + b_3 λ³/3

has to do. λ f'(λ), half the energy of an oscillator, thus becomes a cubic, b_0 + b_1 λ + …: the one
nearest to it over the densities of states of the crystals. A crystal that is stretched so that its
λ change by factors 1 + ε g(λ), g a cubic, is exact to first order in ε; entropies are slopes of
free energies in T, and vanish at 0 K as the crystal's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase.units import kB
from numpy.polynomial import Legendre, Polynomial
from numpy.polynomial.legendre import legvander
from scipy.linalg import eigh_tridiagonal

from ase_vibent.arrays import Array
from ase_vibent.harmonic.entropy import T0, quantum
from ase_vibent.harmonic.modes import HBAR_OMEGA

Quantity = Literal["entropy", "free_energy"]
#: Nodes that stand for a density of states: integrals of ln λ, and of quantum statistics down to
#: k_B T = 0.01 ħω_max, are exact to 1e-8.
N_NODES = 24
#: Moments of a structure that are known.
N_MOMENTS = 3
#: Σ ln λ over modes is this times their number, less twice their reduced entropy.
LOG_UNIT = -2 * float(np.log(HBAR_OMEGA / (kB * T0)))


def density_nodes(
    eigenvalues: Array, weights: Array, n_nodes: int = N_NODES
) -> tuple[Array, Array]:
    """Gauss quadrature of a density of states, in ω = √λ.

    In ω, nodes crowd towards 0, where the acoustic modes lie.

    Parameters
    ----------
    eigenvalues : ndarray, shape (n,), eV/Å²/amu
        Positive.
    weights : ndarray, shape (n,)
        Positive.
    n_nodes : int
        Fewer than there are different eigenvalues.

    Returns
    -------
    nodes : ndarray, shape (n_nodes,), eV/Å²/amu
        Ascending.
    weights : ndarray, shape (n_nodes,)
        With the same sum.
    """
    frequencies, total = np.sqrt(eigenvalues), weights.sum()
    vectors = np.zeros((n_nodes + 1, len(frequencies)))
    vectors[0] = np.sqrt(weights / total)
    diagonal, beside = np.zeros(n_nodes), np.zeros(n_nodes)
    for k in range(n_nodes):  # Lanczos with a diagonal matrix
        following = frequencies * vectors[k]
        diagonal[k] = following @ vectors[k]
        for _ in range(2):
            following -= (vectors[: k + 1] @ following) @ vectors[: k + 1]
        beside[k] = np.linalg.norm(following)
        vectors[k + 1] = following / beside[k]
    nodes, states = eigh_tridiagonal(diagonal, beside[:-1])
    return nodes**2, total * states[0] ** 2


@dataclass(frozen=True)
class Densities:
    """Densities of states of crystals, by nodes.

    Attributes
    ----------
    nodes, weights : ndarray, shape (n_kinds, N_NODES), eV/Å²/amu
        Of an atom of every kind in its own crystal; weights sum to its three modes.
    sampled, sampled_weights : ndarray, shape (N_NODES,), eV/Å²/amu
        Of a mean atom of all crystals, strained ones among them: over these, expansions are good.
    """

    nodes: Array
    weights: Array
    sampled: Array
    sampled_weights: Array


@dataclass(frozen=True)
class Expansion:
    """A sum over the modes of a structure as a linear function of Σ ln λ and Σ λ^k.

    Attributes
    ----------
    atoms : ndarray, shape (n_kinds,)
        What every atom adds, with its three modes.
    mode : float
        What a mean mode adds of that.
    logarithm : float
        Factor of Σ ln λ, λ in eV/Å²/amu.
    moments : ndarray, shape (N_MOMENTS,)
        Factors of Σ λ^k.
    """

    atoms: Array
    mode: float
    logarithm: float
    moments: Array

    @classmethod
    def of_crystals(
        cls,
        densities: Densities,
        quantity: Quantity,
        temperature: float,
        *,
        scale: float = 1.0,
        n_moments: int = N_MOMENTS,
    ) -> Expansion:
        """Quantum statistics about those of crystals.

        Parameters
        ----------
        densities : Densities
        quantity : {"entropy", "free_energy"}
            In eV/K, in eV.
        temperature : float, K
            0 will do.
        scale : float
            Of all λ beside those of the crystals, as by other masses.
        n_moments : int
            Those to be used; of others the factors are zero.

        Returns
        -------
        Expansion
        """
        # λ and T enter as λ/T².
        reduced = temperature / np.sqrt(scale)
        unit = np.sqrt(scale) if quantity == "free_energy" else 1.0
        at_sampled = quantum(densities.sampled, reduced)
        slopes = densities.sampled * getattr(at_sampled, f"{quantity}_slope")
        cubic = _nearest(densities.sampled, densities.sampled_weights, slopes, n_moments)
        orders = np.arange(1, N_MOMENTS + 1)
        logarithm, factors = cubic[0], cubic[1:] / orders

        def rest(eigenvalues: Array, values: Array) -> Array:
            powers = eigenvalues[..., None] ** orders
            return values - logarithm * np.log(scale * eigenvalues) - powers @ factors

        own = rest(densities.nodes, getattr(quantum(densities.nodes, reduced), quantity))
        mean = rest(densities.sampled, getattr(at_sampled, quantity))
        return cls(
            unit * (densities.weights * own).sum(axis=1),
            float(unit * np.average(mean, weights=densities.sampled_weights)),
            float(unit * logarithm),
            unit * factors / scale**orders,
        )

    def __sub__(self, other: Expansion) -> Expansion:
        """Difference of two expansions."""
        return Expansion(
            self.atoms - other.atoms,
            self.mode - other.mode,
            self.logarithm - other.logarithm,
            self.moments - other.moments,
        )


def _nearest(points: Array, weights: Array, values: Array, degree: int) -> Array:
    """Coefficients of the polynomial of least weighted squares, padded to those of a cubic."""
    unit, roots = points.max(), np.sqrt(weights)
    basis = legvander(2 * points / unit - 1, degree) * roots[:, None]
    fitted = np.linalg.lstsq(basis, roots * values, rcond=None)[0]
    found = Legendre(fitted, domain=[0, unit]).convert(kind=Polynomial).coef
    return np.pad(found, (0, N_MOMENTS + 1 - len(found)))
