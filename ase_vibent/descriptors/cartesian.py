"""Local polynomials in Cartesian components: the baseline that knows no rotations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ase_vibent.arrays import Array, IntArray
from ase_vibent.descriptors.ace import ACE


@dataclass(frozen=True)
class CartesianPolynomials(ACE):
    """Body-ordered polynomials of relative positions, invariant to permutations only.

    [Torabi2026] 5.2.

    The function space is that of all products of up to `order` sums

        A_znabc = Σ_j R_n(r_ij) x^a y^b z^c / r^(a+b+c),   j of species z,

    of total degree Σ (n + l_weight · (a + b + c)) ≤ degree. On the unit sphere the monomials
    of one degree p depend on each other; the real harmonics of l = p, p - 2, … are a basis of
    them. As all lower degrees belong to the space too, it is that of products of A_znlm
    with l in place of a + b + c: ACE before its products are coupled to invariants. Every
    product is a feature of its own.

    Features turn with the structure, so models see the axes of the crystal: use them for
    cells in one orientation only.

    Parameters
    ----------
    species, cutoff, order, degree, l_weight, r0, inner, power, neighbours
        As in `ACE`.

    Raises
    ------
    InvalidInputError
        If a parameter is out of range.
    """

    order: int = 2
    degree: float = 6
    l_weight: float = 1.0

    def _n_products(self, degrees: Sequence[int]) -> int:
        """All of them: none is coupled."""
        return math.prod(2 * l + 1 for l in degrees)

    def _polynomials(self, shells: Sequence[IntArray]) -> tuple[IntArray, Array]:
        """All products of one channel of every shell."""
        members = np.stack(np.meshgrid(*shells, indexing="ij"), axis=-1)
        products = np.unique(np.sort(members.reshape(-1, len(shells)), axis=1), axis=0)
        return products, np.eye(len(products))
