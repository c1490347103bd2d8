"""Radial functions: orthogonal polynomials of a transformed distance times an envelope.

P0 App. D, P4 App. C. With x = ((1 + r0)/(1 + r))^p and the envelope f = (x - x_cut)²,

    P_1 = A_1 f,  P_2 = (A_2 x + B_2) P_1,  P_n = (A_n x + B_n) P_(n-1) + C_n P_(n-2),

independent of l: the family that LAMMPS' ML-PACE evaluates without splines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RadialBasis:
    """Radial functions R_n(r), n = 1 … n_max.

    Attributes
    ----------
    cutoff : float, Å
        R_n and its slope vanish here.
    r0 : float, Å
        Nearest-neighbour distance.
    power : int
        Exponent p of the distance transform.
    recursion : ndarray, shape (n_max, 3)
        Coefficients A, B, C.
    """

    cutoff: float
    r0: float
    power: int
    recursion: Array

    @property
    def x_cut(self) -> float:
        """Transformed cutoff distance."""
        return float(transformed_distance(self.cutoff, self.r0, self.power))


def transformed_distance(r: Array | float, r0: float, power: int) -> Array | float:
    """X = ((1 + r0)/(1 + r))^p for distances in Å, dimensionless."""
    return ((1 + r0) / (1 + r)) ** power


def radial_basis(
    n_max: int, *, cutoff: float, r0: float, inner: float, power: int = 2
) -> RadialBasis:
    """Radial basis orthonormal in x between the distances `inner` and `cutoff`.

    Parameters
    ----------
    n_max : int
        Number of functions.
    cutoff : float, Å
    r0 : float, Å
        Nearest-neighbour distance.
    inner : float, Å
        Shortest distance of interest. Closer pairs are evaluated all the same.
    power : int

    Returns
    -------
    RadialBasis
    """
    x_cut = transformed_distance(cutoff, r0, power)
    x_in = transformed_distance(inner, r0, power)
    nodes, weights = np.polynomial.legendre.leggauss(2 * n_max + 8)
    x = 0.5 * (x_in + x_cut) + 0.5 * (x_in - x_cut) * nodes
    weights = weights / 2

    recursion = np.zeros((n_max, 3))
    previous = np.zeros_like(x)
    current = (x - x_cut) ** 2
    recursion[0, 0] = 1 / np.sqrt(weights @ current**2)
    current = recursion[0, 0] * current
    for n in range(1, n_max):
        a = weights @ (x * current**2)
        b = weights @ (x * current * previous)
        following = (x - a) * current - b * previous
        norm = np.sqrt(weights @ following**2)
        recursion[n] = 1 / norm, -a / norm, -b / norm
        previous, current = current, following / norm
    return RadialBasis(cutoff, r0, power, recursion)
