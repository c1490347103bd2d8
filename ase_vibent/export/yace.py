"""Linear ACE models as C-tilde potentials (.yace), which LAMMPS runs by `pair_style pace`.

Products of real channels become products of complex ones, A_znlm with the phase of Condon and
Shortley: for m > 0

    A^R_l,m = ((-1)^m A_l,m + A_l,-m)/√2,   A^R_l,-m = ((-1)^m A_l,m - A_l,-m)/(i √2).

What is left after products are merged has Σ m = 0, and a product and that of opposite m have the
same real part: one of them stands for both. The radial functions are those that the engine calls
ACE.jl, evaluated without splines (see `ase_vibent.descriptors.density.radial`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ase_vibent.arrays import Array, IntArray
from ase_vibent.descriptors import ACE
from ase_vibent.descriptors.density.radial import transformed_distance
from ase_vibent.errors import InvalidInputError
from ase_vibent.export.exported import (
    QuantityOfEntropies,
    SiteEnergies,
    check_linear,
    elements_of_kinds,
    site_energies,
)
from ase_vibent.files.writing import write_text
from ase_vibent.model import SiteModel

#: A coefficient below this part of what it is a sum of has cancelled: nothing but rounding is left.
CANCELLED = 1e-13


@dataclass(frozen=True)
class Function:
    """Products of A_znlm that differ in m only.

    Attributes
    ----------
    elements, radial, degrees : tuple of int
        z, n ≥ 1 and l of the factors.
    orders : ndarray of int64, shape (n_products, n_factors)
        m.
    coefficients : ndarray, shape (n_products,)
    """

    elements: tuple[int, ...]
    radial: tuple[int, ...]
    degrees: tuple[int, ...]
    orders: IntArray
    coefficients: Array


def write_yace(
    model: SiteModel,
    path: str | os.PathLike[str],
    *,
    temperature: float | None = None,
    quantity: QuantityOfEntropies = "free_energy",
) -> dict[str, Any]:
    """Write a linear ACE model as a .yace file, without loss.

    Parameters
    ----------
    model : SiteModel
    path : path
    temperature, quantity
        Of a model of entropies, see `ase_vibent.export.exported.site_energies`.

    Returns
    -------
    dict
        What was written: "quantity", "unit", "elements", "functions" and "products" of all
        elements, "output" (files), "lammps" (commands that read them).

    Raises
    ------
    InvalidInputError
        If such a file cannot hold the model, or the temperature is missing or out of range.
    OSError
        If the file cannot be written.
    """
    energies = site_energies(model, temperature, quantity)
    descriptor = energies.descriptor
    if type(descriptor) is not ACE:
        raise InvalidInputError(
            f"model: .yace files hold the radial functions and invariants of ACE alone, and this "
            f"model is of {type(descriptor).__name__}; train one with ACE"
        )
    check_linear(energies, ".yace files hold linear models")
    functions = [
        complex_functions(descriptor, weights, z) for z, weights in enumerate(energies.weights)
    ]
    write_text(path, _text(energies, descriptor, functions))
    return energies.summary(
        [os.fspath(path)],
        ["pair_style pace", f"pair_coeff * * {os.fspath(path)} {' '.join(energies.elements)}"],
        functions=sum(map(len, functions)),
        products=sum(len(f.coefficients) for own in functions for f in own),
    )


def complex_functions(ace: ACE, weights: Array, site: int) -> list[Function]:
    """Site energies of one element as functions of complex channels.

    Parameters
    ----------
    ace : ACE
    weights : ndarray, shape (n_features,)
    site : int
        The element.

    Returns
    -------
    list of Function
        By order; what vanishes is left out.
    """
    products = ace.products
    of_products = products.weights(weights)
    ranks = np.where(of_products != 0, (products.members >= 0).sum(axis=1), 0)
    kinds = elements_of_kinds(ace)
    found: list[Function] = []
    for rank in range(1, ranks.max(initial=0) + 1):
        own = ranks == rank
        channels = ace.channels[products.members[own, :rank]]
        keys = _Keys(len(ace.species), int(ace.channels[:, 1].max()), ace.basis.n_harmonics)
        rows, parts = zip(*_complex_products(channels, of_products[own], kinds, keys), strict=True)
        found += _merge(np.concatenate(rows), np.concatenate(parts), keys)
    return found


class _Keys:
    """Numbers for (z, n, l, m) that order channels by z, n, l, then m from the largest down."""

    def __init__(self, n_elements: int, n_max: int, n_harmonics: int) -> None:
        degrees = int(np.sqrt(n_harmonics))
        self.shape = n_elements, n_max + 1, degrees
        self.middle, self.width = degrees - 1, 2 * degrees - 1

    def of(self, shells: IntArray, m: IntArray) -> IntArray:
        return shells * self.width + self.middle - m

    def shells(self, z: IntArray, n: IntArray, l: IntArray) -> IntArray:
        return np.asarray(np.ravel_multi_index((z, n, l), self.shape))

    def split(self, keys: IntArray) -> tuple[IntArray, IntArray]:
        """Shells and m."""
        shells, rest = np.divmod(keys, self.width)
        return shells, self.middle - rest


def _complex_products(
    channels: IntArray, weights: Array, kinds: Sequence[Sequence[int]], keys: _Keys
) -> Iterator[tuple[IntArray, NDArray[np.complex128]]]:
    """Terms with Σ m = 0 of products of real channels.

    Parameters
    ----------
    channels : ndarray of int64, shape (n_products, rank, 3)
        Kind of neighbour, n and l² + l + m of the factors.
    weights : ndarray, shape (n_products,)

    Yields
    ------
    keys : ndarray of int64, shape (n_terms, rank)
        Sorted.
    coefficients : ndarray of complex, shape (n_terms,)
    """
    kind, n, lm = np.moveaxis(channels, 2, 0)
    l = np.sqrt(lm).astype(np.int64)
    real = lm - l * l - l
    size, phase = np.abs(real), np.where(np.abs(real) % 2, -1.0, 1.0)
    # Shares of A_l,|m| and A_l,-|m| in a real channel.
    plus = np.select([real > 0, real < 0], [phase / np.sqrt(2), phase / (1j * np.sqrt(2))], 1.0)
    minus = np.select([real > 0, real < 0], [np.sqrt(0.5), -1 / (1j * np.sqrt(2))], 0.0)
    widest = max(map(len, kinds))
    elements = np.array([[*own, *[-1] * (widest - len(own))] for own in kinds])
    rank = channels.shape[1]
    for signs in product((1, -1), repeat=rank):
        m = size * np.array(signs)
        share = weights * np.prod(np.where(np.array(signs) > 0, plus, minus), axis=1)
        for choice in product(range(widest), repeat=rank):
            z = elements[kind, np.array(choice)]
            kept = (share != 0) & (m.sum(axis=1) == 0) & np.all(z >= 0, axis=1)
            shells = keys.shells(z[kept], n[kept], l[kept])
            yield np.sort(keys.of(shells, m[kept]), axis=1), share[kept]


def _merge(rows: IntArray, parts: NDArray[np.complex128], keys: _Keys) -> list[Function]:
    """Functions of all terms, equal and opposite ones added up."""
    shells, m = keys.split(rows)
    opposite = np.sort(keys.of(shells, -m), axis=1)
    # The smaller of the two: where they differ first it has the larger m, so its first m is > 0.
    different = rows != opposite
    first = np.argmax(different, axis=1)[:, None]
    swapped = np.take_along_axis(rows > opposite, first, axis=1)
    unique, inverse = np.unique(np.where(swapped, opposite, rows), axis=0, return_inverse=True)
    sums = np.bincount(inverse.ravel(), parts.real)
    sizes = np.bincount(inverse.ravel(), np.abs(parts))
    kept = np.abs(sums) > CANCELLED * sizes
    shells, m = keys.split(unique[kept])
    of_functions, number, counts = np.unique(
        shells, axis=0, return_inverse=True, return_counts=True
    )
    order = np.argsort(number.ravel(), kind="stable")
    parts_of = [np.split(own[order], np.cumsum(counts)[:-1]) for own in (m, sums[kept])]
    functions = []
    for factors, orders, coefficients in zip(of_functions, *parts_of, strict=True):
        z, n, l = (tuple(axis.tolist()) for axis in np.unravel_index(factors, keys.shape))
        functions.append(Function(z, n, l, orders, coefficients))
    return functions


def _text(energies: SiteEnergies, ace: ACE, functions: Sequence[Sequence[Function]]) -> str:
    every = [function for own in functions for function in own]
    radial = ace.radial
    # The engine computes all n and l for every neighbour, and two n at least.
    maxn = max([2, *(n for function in every for n in function.radial)])
    recursion = np.zeros((maxn, 3))
    recursion[: radial.n_max] = radial.recursion[:maxn]
    far = float(transformed_distance(0.0, radial.r0, radial.power)) + 1  # where no x ever is
    bond = (
        f"{{radbasename: ACE.jl.base, p: {radial.power}, r0: {_number(radial.r0)}, "
        f"rcut: {_number(radial.cutoff)}, xl: {_number(radial.x_cut)}, xr: {_number(far)}, "
        f"pl: 2, pr: 0, maxn: {maxn}, recursion_coefficients: {{"
        + ", ".join(
            f"{name}: {_numbers(own)}" for name, own in zip("ABC", recursion.T, strict=True)
        )
        + "}}"
    )
    embedding = (
        "{ndensity: 1, FS_parameters: [1.0, 1.0], npoti: FinnisSinclairShiftedScaled, "
        "rho_core_cutoff: 100000.0, drho_core_cutoff: 250.0}"
    )
    sites = range(len(energies.elements))
    return "\n".join(
        [
            f"# {energies.title} per atom in {energies.unit}, lengths in Å; written by ase-vibent",
            f"elements: [{', '.join(energies.elements)}]",
            f"E0: {_numbers(energies.constants)}",
            f"lmax: {max((l for function in every for l in function.degrees), default=0)}",
            "deltaSplineBins: 0.001",
            "embeddings:",
            *(f"  {z}: {embedding}" for z in sites),
            "bonds:",
            *(f"  [{i}, {j}]: {bond}" for i in sites for j in sites),
            "functions:",
            *(line for z in sites for line in _function_lines(z, functions[z])),
            "",
        ]
    )


def _function_lines(site: int, functions: Sequence[Function]) -> Iterator[str]:
    if not functions:
        yield f"  {site}: []"
        return
    yield f"  {site}:"
    for function in functions:
        rank, count = len(function.radial), len(function.coefficients)
        yield (
            f"    - {{mu0: {site}, rank: {rank}, ndensity: 1, num_ms_combs: {count}, "
            f"mus: {list(function.elements)}, ns: {list(function.radial)}, "
            f"ls: {list(function.degrees)}, ms_combs: {function.orders.ravel().tolist()}, "
            f"ctildes: {_numbers(function.coefficients)}}}"
        )


def _numbers(values: Array) -> str:
    return f"[{', '.join(map(_number, values))}]"


def _number(value: float) -> str:
    """All digits; with a point, which readers of YAML 1.1 need beside an exponent."""
    text = repr(float(value))
    return text if "." in text else text.replace("e", ".0e")
