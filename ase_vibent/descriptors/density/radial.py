"""Radial functions: by a recursion in a transformed distance, or any smooth ones from a table.

The recursion, [Torabi2024] App. D and [Ortner2022] App. C: orthogonal polynomials times an
envelope. With x = ((1 + r0)/(1 + r))^p and the envelope f = (x - x_cut)²,

    P_1 = A_1 f,  P_2 = (A_2 x + B_2) P_1,  P_n = (A_n x + B_n) P_(n-1) + C_n P_(n-2),

independent of l: the family that LAMMPS' ML-PACE evaluates without splines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from scipy.interpolate import BSpline

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidInputError


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
    def n_max(self) -> int:
        """Number of functions."""
        return len(self.recursion)

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


#: Tabulated functions are accurate to this fraction of their largest value.
TABLE_ACCURACY = 1e-10


@dataclass(frozen=True)
class TabulatedBasis:
    """Radial functions R_n(r), n = 1 … n_max, between evenly spaced nodes from 0 to the cutoff.

    Attributes
    ----------
    cutoff : float, Å
        R_n and its slope vanish here.
    nodes : ndarray, shape (n_nodes, 3, n_max)
        R_n, h R_n' and h² R_n'' with the distance h between nodes.
    """

    cutoff: float
    nodes: Array

    @property
    def n_max(self) -> int:
        """Number of functions."""
        return self.nodes.shape[2]


def tabulated_basis(
    functions: Callable[[Array], Array], *, cutoff: float, inner: float = 0.3
) -> TabulatedBasis:
    """Table of smooth radial functions, with as many nodes as its accuracy takes.

    Parameters
    ----------
    functions : callable
        From distances in Å, shape (n,), to values, shape (n_max, n); analytic from 0 to the
        cutoff, where values and slopes vanish.
    cutoff : float, Å
    inner : float, Å
        Shortest distance of interest: the table begins at 0, but is accurate from here on.

    Returns
    -------
    TabulatedBasis

    Raises
    ------
    InvalidInputError
        If the functions vary too fast.
    """
    # A polynomial through Chebyshev's points knows the derivatives.
    points = chebyshev.chebpts1(129)
    series = chebyshev.chebfit(points, functions(cutoff / 2 * (1 + points)).T, 128)
    for n_cells in (128, 256, 512, 1024, 2048):
        x = np.linspace(-1, 1, n_cells + 1)
        nodes = np.stack(
            [
                (2 / n_cells) ** order * chebyshev.chebval(x, chebyshev.chebder(series, order)).T
                for order in range(3)
            ],
            axis=1,
        )
        nodes[-1, :2] = 0
        r = cutoff / 2 * (1 + (x[1:] + x[:-1]) / 2)
        far = r > min(inner, cutoff / 2)
        exact = functions(r[far])
        (a, b, c), (d, e, f) = nodes[:-1].transpose(1, 2, 0), nodes[1:].transpose(1, 2, 0)
        # Hermite's quintic halfway between the nodes, where it is worst.
        middle = (a + d) / 2 + 5 / 32 * (b - e) + (c + f) / 64
        error = np.abs(middle[:, far] - exact).max(axis=1)
        if np.all(error < TABLE_ACCURACY * np.abs(exact).max(axis=1)):
            return TabulatedBasis(cutoff, nodes)
    raise InvalidInputError(
        "radial functions: too many of them, they vary too fast to be tabulated within "
        f"{TABLE_ACCURACY}"
    )


#: Cells of the table between two knots of functions that are rougher than cubic: where slopes or
#: curvatures jump, they turn within this part of the distance on either side.
CELLS = 8


def spline_basis(n_intervals: int, first: int, *, cutoff: float, degree: int) -> TabulatedBasis:
    """B-splines on evenly spaced knots from 0 to the cutoff.

    Parameters
    ----------
    n_intervals : int
    first : int
        Interval, counted from 0, that is the first of interest. Functions that end before it
        are summed up with the first one that reaches it: the sum of all is 1 up to the first
        knots before the cutoff.
    cutoff : float, Å
    degree : int
        1, 2 or 3.

    Returns
    -------
    TabulatedBasis
        Exact for cubic splines; those of lower degree are rounded off at the knots.
    """
    n_cells = n_intervals * (1 if degree == 3 else CELLS)
    element = BSpline.basis_element(np.arange(degree + 2), extrapolate=False)
    # From the cutoff inwards, in knots; function by function. Those beyond the centre are in the
    # sum, too.
    inwards = np.linspace(n_intervals, 0, n_cells + 1)[:, None] - np.arange(n_intervals)
    nodes = np.zeros((n_cells + 1, 3, n_intervals))
    nodes[:, 0] = np.nan_to_num(element(inwards))
    for order in range(1, min(degree, 2) + 1):
        derivative = element.derivative(order)
        # The highest one jumps: the mean of both sides.
        beside = (0.0,) if order < degree else (-1e-9, 1e-9)
        sides = [np.nan_to_num(derivative(inwards + side)) for side in beside]
        nodes[:, order] = (-n_intervals / n_cells) ** order * np.mean(sides, axis=0)
    nodes[-1, :2] = 0
    # Function k ends k knots before the cutoff.
    kept = n_intervals - first
    inner = nodes[:, :, kept - 1 :].sum(axis=2, keepdims=True)
    outer = nodes[:, :, : kept - 1][:, :, ::-1]
    return TabulatedBasis(cutoff, np.concatenate([inner, outer], axis=2))
