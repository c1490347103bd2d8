"""Bispectrum in hyperspherical harmonics (bSO(4), SNAP).

[Lapointe2020] III.A (16)-(18), [Lapointe2022] (11)-(13).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ase_vibent.arrays import Array, IntArray
from ase_vibent.checks import check_attributes
from ase_vibent.descriptors.density.coupling import real_3j, wigner_3j
from ase_vibent.descriptors.density.descriptor import DensityDescriptor
from ase_vibent.descriptors.density.products import Products, link_products
from ase_vibent.descriptors.density.radial import TabulatedBasis, tabulated_basis
from ase_vibent.errors import InvalidInputError


@dataclass(frozen=True)
class Bispectrum(DensityDescriptor):
    """Diagonal bispectrum of the density on the sphere of four dimensions, bSO(4).

    A neighbour at r becomes the rotation by 2 θ0 around r̂, θ0 = rfac0 π r / cutoff, and the
    atom itself the unit rotation. With half a cosine wave f and Wigner's matrices U^j,

        u^j = 1 + Σ_k f(r_k) U^j(r_k),   B = Σ conj(u^j)_mm' (H u^j1 ⊗ u^j1)_mm'

    for j1 ≤ j_max and integers j ≤ min(2 j1, j_max): 26 components for j_max = 3.5, 35 for 4,
    those of LAMMPS' `compute sna/atom` with `bzeroflag 1`, where those with j < j1 are
    (2 j + 1) / (2 j1 + 1) times the one that LAMMPS lists as (j1, j, j1). Without neighbours
    B would be 2 j + 1, which is subtracted.

    Neighbours of each species have a density of their own and one set of features, for j1,
    then j, ascending: no products of different densities, of which there are very many.

    Parameters
    ----------
    species : sequence of str
        Atom types, as for `ACE`.
    cutoff : float, Å
    j_max : float
        Largest degree, a multiple of ½.
    rfac0 : float
        Fraction of the half circle that θ0 reaches at the cutoff.
    neighbours : sequence of str, optional
        Atom types of neighbours that are told apart; by default those of the sites.

    Raises
    ------
    InvalidInputError
        If a parameter is out of range.
    """

    species: Sequence[str]
    cutoff: float = 5.0
    j_max: float = 3.5
    rfac0: float = 0.99363
    neighbours: Sequence[str] | None = None

    def __post_init__(self) -> None:
        self._check_atom_types()
        check_attributes(self, "cutoff", "j_max", "rfac0")
        if 2 * self.j_max % 1:
            raise InvalidInputError(f"j_max: expected a multiple of 1/2, got {self.j_max}")
        if self.rfac0 > 1:
            raise InvalidInputError(f"rfac0: expected at most 1, got {self.rfac0}")
        largest = min(self.j_max, 100.0)
        # From what j_max = 3.5 has, as time grows.
        self._check_cost((2 * largest + 1) ** 2, 2.3e4 * (largest / 3.5) ** 10)

    @property
    def components(self) -> list[tuple[float, float]]:
        """Degrees j1 = j2 and j of the features of one neighbour species."""
        degrees = np.arange(2 * self.j_max + 1) / 2
        return [(j1, j) for j1 in degrees for j in degrees if j % 1 == 0 and j <= 2 * j1]

    @cached_property
    def _shells(self) -> list[tuple[int, float]]:
        """Degrees l ≤ 2 j and j of every radial function."""
        most = int(2 * self.j_max)
        return [(l, j / 2) for l in range(most + 1) for j in range(l, most + 1)]

    @cached_property
    def radial(self) -> TabulatedBasis:
        """Radial functions f(r) times Gegenbauer polynomials of θ0, as sums of waves."""

        def functions(r: Array) -> Array:
            theta = self.rfac0 * np.pi * r / self.cutoff
            envelope = (1 + np.cos(np.pi * r / self.cutoff)) / 2
            values = []
            for l, j in self._shells:
                wave = np.sin if l % 2 else np.cos
                m = np.arange(-j, j + 1)
                values.append(envelope * (_diagonal(l, j) @ wave(2 * np.outer(m, theta))))
            return np.array(values)

        return tabulated_basis(functions, cutoff=self.cutoff)

    @property
    def radial_degrees(self) -> IntArray:
        """Degrees of the Gegenbauer polynomials, and 1."""
        return np.array([1 + round(2 * j) - l for l, j in self._shells])

    @cached_property
    def _tables(self) -> tuple[IntArray, Products]:
        channels = np.array(
            [(n, l, m) for n, (l, _) in enumerate(self._shells) for m in range(-l, l + 1)]
        )
        n, l, m = channels.T
        j = np.array([j for _, j in self._shells])[n]
        # So most products share their first two factors with others: found by trial.
        order = np.lexsort((-l, -np.abs(m), j % 1 == 0))
        number = np.argsort(order)
        shells = {shell: number[n == k] for k, shell in enumerate(self._shells)}
        # The atom itself, 1, is √(2 j + 1) times the first of Wigner's operators.
        selves = np.append(np.where(l == 0, np.sqrt(2 * j + 1), 0)[order], 0)
        polynomials = [_polynomial(j1, j, shells, selves) for j1, j in self.components]
        densities = range(len(self.neighbour_species))
        table = np.column_stack([n + 1, l * l + l + m])[order]
        return (
            np.concatenate([np.insert(table, 0, z, axis=1) for z in densities]),
            link_products(
                [
                    (np.where(products < 0, -1, products + z * len(order)), coefficients)
                    for z in densities
                    for products, coefficients in polynomials
                ]
            ),
        )


def _polynomial(
    j1: float, j: float, shells: dict[tuple[int, float], IntArray], selves: Array
) -> tuple[IntArray, Array]:
    """One component as a polynomial in the channels: see `link_products`.

    Parameters
    ----------
    j1, j : float
    shells : dict
        Channels of (l, j), by m.
    selves : ndarray
        What the atom itself adds to every channel; 0 at last, for a channel that is none.
    """
    parts = []
    for (l1, l2, l), strength in _strengths(j1, j):
        tensor = strength * real_3j(l1, l2, l)
        support = np.nonzero(np.abs(tensor) > 1e-14)
        of_shells = shells[l1, j1], shells[l2, j1], shells[l, j]
        members = np.stack([own[m] for own, m in zip(of_shells, support, strict=True)], axis=1)
        parts.append((members, tensor[support]))
    members, coefficients = (np.concatenate(part) for part in zip(*parts, strict=True))
    # Multiply out (A + self) (A + self) (A + self).
    for factor in range(3):
        own = selves[members[:, factor]]
        without = members[own != 0]
        without[:, factor] = -1
        members = np.concatenate([members, without])
        coefficients = np.concatenate([coefficients, (coefficients * own)[own != 0]])
    products, inverse = np.unique(np.sort(members, axis=1), axis=0, return_inverse=True)
    sums = np.bincount(inverse.ravel(), coefficients).astype(np.float64)
    kept = (products[:, -1] >= 0) & (np.abs(sums) > 1e-14)  # without the constant
    return products[kept], sums[None, kept]


def _diagonal(l: int, j: float) -> Array:
    """Diagonal (-1)^(j-m) 3j(j, j, l; m, -m, 0) of Wigner's operator T_l0, m = -j … j."""
    return np.array(
        [(-1) ** int(j - m) * wigner_3j(j, j, l, m, -m, 0) for m in np.arange(-j, j + 1)]
    )


def _strengths(j1: float, j: float) -> Iterator[tuple[tuple[int, int, int], float]]:
    """Degrees l1 ≤ l2, l and the factors of their real 3j symbols in a component.

    Rotations leave one number per (l1, l2, l), which is read off where all axes are z: the
    u^j are diagonal there, and 3j(l1, l2, l; 0, 0, 0) does not vanish.
    """
    m = np.arange(-j1, j1 + 1)
    coupling = np.zeros((len(m), len(m), int(2 * j) + 1))
    for a, m1 in enumerate(m):
        for b, m2 in enumerate(m):
            if abs(m1 + m2) <= j:
                square = (2 * j + 1) * wigner_3j(j1, j1, j, m1, m2, -m1 - m2) ** 2
                coupling[a, b, int(m1 + m2 + j)] = square
    degrees = range(int(2 * j1) + 1)
    singles = np.array([np.sqrt(2 * l + 1) * _diagonal(l, j1) for l in degrees])
    sums = np.array([np.sqrt(2 * l + 1) * _diagonal(l, j) for l in range(int(2 * j) + 1)])
    strengths = np.einsum("abc,xa,yb,zc->xyz", coupling, singles, singles, sums, optimize=True)
    for l1 in degrees:
        for l2 in range(l1, len(degrees)):
            for l in range(l2 - l1, min(l1 + l2, int(2 * j)) + 1, 2):
                # Odd waves are imaginary: (-i)² of u^j1 ⊗ u^j1, or -i and i.
                sign = -1 if l1 % 2 and l2 % 2 else 1
                exchanged = 2 if l1 < l2 else 1
                factor = sign * exchanged / wigner_3j(l1, l2, l, 0, 0, 0)
                yield (l1, l2, l), factor * strengths[l1, l2, l]
