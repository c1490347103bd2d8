"""Rotation-invariant products of real spherical harmonics, any number of factors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import factorial

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

from ase_vibent.arrays import Array


def wigner_3j(j1: float, j2: float, j3: float, m1: float, m2: float, m3: float) -> float:
    """Wigner 3j symbol by Racah's formula; degrees may be half-integers."""
    if m1 + m2 + m3 or not abs(j1 - j2) <= j3 <= j1 + j2:
        return 0.0
    lowest = max(0, j2 - j3 - m1, j1 - j3 + m2)
    highest = min(j1 + j2 - j3, j1 - m1, j2 + m2)
    total = 0.0
    for k in range(int(lowest), int(highest) + 1):
        total += (-1) ** k / (
            factorial(k)
            * _factorial(j1 + j2 - j3 - k)
            * _factorial(j1 - m1 - k)
            * _factorial(j2 + m2 - k)
            * _factorial(j3 - j2 + m1 + k)
            * _factorial(j3 - j1 - m2 + k)
        )
    triangle = (
        _factorial(j1 + j2 - j3)
        * _factorial(j1 - j2 + j3)
        * _factorial(-j1 + j2 + j3)
        / _factorial(j1 + j2 + j3 + 1)
    )
    states = np.prod(
        [float(_factorial(j + m) * _factorial(j - m)) for j, m in ((j1, m1), (j2, m2), (j3, m3))]
    )
    return float((-1) ** int(j1 - j2 - m3) * np.sqrt(triangle * states) * total)


def _factorial(n: float) -> int:
    """Factorial of a sum of half-integers that is an integer."""
    return factorial(int(n))


def _real_from_complex(l: int) -> NDArray[np.complex128]:
    """Unitary U with Y_real[M] = Σ_m U[M, m] Y_complex[m] (Condon-Shortley phase)."""
    matrix = np.zeros((2 * l + 1, 2 * l + 1), dtype=complex)
    matrix[l, l] = 1
    for m in range(1, l + 1):
        sign = (-1) ** m
        matrix[l + m, l + m], matrix[l + m, l - m] = sign / np.sqrt(2), 1 / np.sqrt(2)
        matrix[l - m, l + m], matrix[l - m, l - m] = -1j * sign / np.sqrt(2), 1j / np.sqrt(2)
    return matrix


@cache
def real_3j(l1: int, l2: int, l3: int) -> Array:
    """Invariant of three real harmonics, shape (2 l1 + 1, 2 l2 + 1, 2 l3 + 1)."""
    tensor = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            tensor[l1 + m1, l2 + m2, l3 - m1 - m2] = wigner_3j(l1, l2, l3, m1, m2, -m1 - m2)
    units = [_real_from_complex(l).conj() for l in (l1, l2, l3)]
    rotated = np.einsum("abc,Aa,Bb,Cc->ABC", tensor, *units, optimize=True)
    # Real for even, imaginary for odd l1 + l2 + l3; the phase is immaterial.
    return np.ascontiguousarray(rotated.imag if (l1 + l2 + l3) % 2 else rotated.real)


@cache
def invariants(degrees: tuple[int, ...]) -> Array:
    """All O(3)-invariant products of real harmonics of given degrees.

    Degrees are coupled one after the other, ((l1 l2) l3) …; every choice of intermediate
    degrees gives one invariant, and together they are a basis.

    Parameters
    ----------
    degrees : tuple of int
        l of every factor.

    Returns
    -------
    ndarray, shape (n_invariants, 2 l1 + 1, …, 2 lν + 1)
    """
    if sum(degrees) % 2:
        return np.zeros((0, *_shape(degrees)))
    return _rotation_invariants(degrees)


def _rotation_invariants(degrees: tuple[int, ...]) -> Array:
    """SO(3) invariants: one odd intermediate coupling is undone by another."""
    if len(degrees) > 3:
        first, second, *rest = degrees
        found = [np.zeros((0, *_shape(degrees)))]
        for intermediate in range(abs(first - second), first + second + 1):
            outer = real_3j(first, second, intermediate)
            inner = _rotation_invariants((intermediate, *rest))
            found.append(np.einsum("abM,tM...->tab...", outer, inner))
        return np.concatenate(found)
    l1, l2, l3 = (*degrees, 0, 0)[:3]
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        return np.zeros((0, *_shape(degrees)))
    return real_3j(l1, l2, l3).reshape(1, *_shape(degrees))


def _shape(degrees: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(2 * l + 1 for l in degrees)


def invariant_polynomials(
    channels: Sequence[NDArray[np.int64]], tolerance: float = 1e-10
) -> tuple[NDArray[np.int64], Array]:
    """Linearly independent invariants as polynomials in the A-channels.

    Factors with the same radial function, degree and species share channels; exchanging
    them makes some invariants vanish or coincide, and only independent ones are kept.

    Parameters
    ----------
    channels : sequence of ndarray of int64, shapes (2 l + 1,)
        Channel of every m, for every factor.
    tolerance : float
        Relative norm below which an invariant counts as dependent.

    Returns
    -------
    products : ndarray of int64, shape (n_products, ν)
        Sorted channels of every distinct product.
    coefficients : ndarray, shape (n_invariants, n_products)
        Rows of unit norm.
    """
    degrees = tuple((len(c) - 1) // 2 for c in channels)
    tensors = invariants(degrees)
    if len(tensors) == 0:
        return np.empty((0, len(degrees)), dtype=np.int64), np.empty((0, 0))
    support = np.argwhere(np.any(np.abs(tensors) > 1e-14, axis=0))
    members = np.stack([c[support[:, k]] for k, c in enumerate(channels)], axis=1)
    products, inverse = np.unique(np.sort(members, axis=1), axis=0, return_inverse=True)
    entries = tensors[(slice(None), *support.T)]
    coefficients = np.zeros((len(tensors), len(products)))
    np.add.at(coefficients.T, inverse.ravel(), entries.T)
    norms = np.linalg.norm(coefficients, axis=1)
    _, triangle, order = qr(coefficients.T, mode="economic", pivoting=True)
    # Invariant tensors have norms of order one: what symmetrisation shrinks is dependent.
    independent = np.abs(np.diag(triangle)) > tolerance
    kept = np.sort(order[: len(independent)][independent])
    coefficients = coefficients[kept] / norms[kept, None]
    used = np.any(np.abs(coefficients) > 1e-14, axis=0)
    return products[used], coefficients[:, used]
