"""Angular Fourier series, [Lapointe2020] III.A."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cached_property
from itertools import combinations_with_replacement

import numpy as np
from numpy.polynomial.chebyshev import cheb2poly
from numpy.polynomial.legendre import poly2leg
from numpy.typing import NDArray
from scipy.special import eval_jacobi

from ase_vibent.arrays import Array, IntArray
from ase_vibent.checks import check_attributes, check_integer_attributes
from ase_vibent.descriptors.density.descriptor import DensityDescriptor
from ase_vibent.descriptors.density.products import Products, link_products
from ase_vibent.descriptors.density.radial import TabulatedBasis, tabulated_basis


@dataclass(frozen=True)
class AFS(DensityDescriptor):
    """Angular Fourier series of radial functions g_n and multiples of the angle.

    [Lapointe2020] III.A.

    Σ_jk f(r_ij) g_n(r_ij) f(r_ik) g_n(r_ik) cos(l θ_jik) over all neighbours j of one
    species and k of one species, j = k included: one set of n_max (l_max + 1) features for
    every pair of neighbour species, like or unlike. The sum over pairs costs one over
    neighbours: cos(l θ) is a sum of Legendre polynomials, and these are power spectra.

    g_n are the polynomials (cutoff - r)^(α + 2), α = 0 … n_max - 1, orthonormalised by
    S^(-1/2) of their overlaps S (Bartók, Kondor, Csányi 2013), and f is half a cosine wave.

    Parameters
    ----------
    species : sequence of str
        Atom types, as for `ACE`.
    cutoff : float, Å
    n_max : int
        Number of radial functions.
    l_max : int
        Largest multiple of the angle.
    neighbours : sequence of str, optional
        Atom types of neighbours that are told apart; by default those of the sites.

    Raises
    ------
    InvalidInputError
        If a parameter is out of range.
    """

    species: Sequence[str]
    cutoff: float = 5.0
    n_max: int = 20
    l_max: int = 10
    neighbours: Sequence[str] | None = None

    def __post_init__(self) -> None:
        self._check_atom_types()
        check_attributes(self, "cutoff")
        check_integer_attributes(self, 1, "n_max")
        check_integer_attributes(self, 0, "l_max")
        n_types = len(self.neighbour_species)
        n_channels = n_types * self.n_max * (self.l_max + 1) ** 2
        # A coefficient for every harmonic of every feature; decimals for every radial function.
        n_terms = n_channels * (n_types + 1) / 2 * (self.l_max + 1) + 100 * self.n_max**3
        self._check_cost(n_types * self.n_max * (self.l_max + 1), n_terms)

    @cached_property
    def radial(self) -> TabulatedBasis:
        """Radial functions f g_n."""
        rotation = orthogonal_factor(self.n_max)

        def functions(r: Array) -> Array:
            envelope = (1 + np.cos(np.pi * r / self.cutoff)) / 2
            own = jacobi_functions(self.n_max, 1 - r / self.cutoff)
            return rotation @ own * envelope / np.sqrt(self.cutoff)

        return tabulated_basis(functions, cutoff=self.cutoff)

    @cached_property
    def _tables(self) -> tuple[IntArray, Products]:
        n_lm = (self.l_max + 1) ** 2
        # Rows l: by the addition theorem with Y_00 = 1, P_k is Σ_m Y_km Y_km / (2k + 1).
        coefficients = np.zeros((self.l_max + 1, n_lm))
        for l in range(self.l_max + 1):
            for k, weight in enumerate(poly2leg(cheb2poly([0] * l + [1]))):
                coefficients[l, k * k : (k + 1) ** 2] = weight / (2 * k + 1)
        numbers = np.arange(len(self.neighbour_species) * self.n_max * n_lm)
        by_shell = numbers.reshape(len(self.neighbour_species), self.n_max, n_lm)
        z, n, lm = (axis.ravel() for axis in np.indices(by_shell.shape))
        polynomials = [
            (np.column_stack([by_shell[y, m], by_shell[x, m]]), coefficients)
            for x, y in combinations_with_replacement(range(len(self.neighbour_species)), 2)
            for m in range(self.n_max)
        ]
        polynomials = [(np.sort(p, axis=1), c) for p, c in polynomials]
        return np.column_stack([z, n + 1, lm]), link_products(polynomials)


def jacobi_functions(n_max: int, t: Array) -> Array:
    """Orthonormal functions t² × polynomials on 0 … 1, by degree: shape (n_max, n)."""
    return np.array(
        [np.sqrt(2 * k + 5) * t**2 * eval_jacobi(k, 0, 4, 2 * t - 1) for k in range(n_max)]
    )


def orthogonal_factor(n_max: int) -> Array:
    """Bartók's functions in terms of `jacobi_functions`: an orthogonal matrix.

    With φ = L h, φ the normalised powers t^(α + 2) and h orthonormal, S = L Lᵀ and
    g = S^(-1/2) φ = S^(-1/2) L h: the orthogonal polar factor of L. The condition number of
    S grows by 34 per function, hence decimals, as many as it takes, and Newton's iteration.

    Parameters
    ----------
    n_max : int

    Returns
    -------
    ndarray, shape (n_max, n_max)
        Rows: functions g.
    """
    with localcontext() as context:
        context.prec = 30 + 2 * n_max
        factor = np.zeros((n_max, n_max), dtype=object)
        for a in range(n_max):
            # ∫ t^(α + 4) P_k^(0,4)(2t - 1) dt, k = 0 … α.
            integral = Decimal(1)
            for k in range(a + 1):
                integral *= Decimal(a - k + 1 if k else 1) / (a + 5 + k)
                factor[a, k] = integral * (Decimal(2 * a + 5) * (2 * k + 5)).sqrt()
        change = Decimal(1)
        while change > Decimal("1e-20"):
            other = _inverse(factor).T
            # Scaled so that the singular values come together in a few steps.
            scale = (np.sum(other**2) / np.sum(factor**2)).sqrt().sqrt()
            mean = (scale * factor + other / scale) / 2
            factor, change = mean, np.abs(mean - factor).max()
    return factor.astype(float)


def _inverse(matrix: NDArray[np.object_]) -> NDArray[np.object_]:
    """Inverse of a matrix of decimals by Gauss and Jordan's elimination."""
    n = len(matrix)
    both = np.hstack([matrix, np.eye(n, dtype=object)])
    for k in range(n):
        pivot = k + np.abs(both[k:, k]).argmax()
        both[[k, pivot]] = both[[pivot, k]]
        both[k] = both[k] / both[k, k]
        column = both[:, k].copy()
        column[k] = 0
        both -= np.outer(column, both[k])
    return both[:, n:]
