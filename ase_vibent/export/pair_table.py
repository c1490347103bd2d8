"""Models of pairs as tables, which LAMMPS runs by `pair_style table`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from ase_vibent.arrays import Array
from ase_vibent.checks import check_integer
from ase_vibent.descriptors import ACE
from ase_vibent.descriptors.density.radial import RadialBasis, transformed_distance
from ase_vibent.errors import InvalidInputError
from ase_vibent.export.exported import (
    QuantityOfEntropies,
    SiteEnergies,
    check_linear,
    site_energies,
)
from ase_vibent.export.yace import Function, complex_functions
from ase_vibent.files.writing import write_text
from ase_vibent.model import SiteModel

#: Points of a table: splines through them are accurate to 1e-9 of its largest value.
POINTS = 10_000
#: Errors are stated from this multiple of the inner distance on: at that distance itself, radial
#: functions of high degree vary from one point to the next.
SURE = 1.05


def write_table(
    model: SiteModel,
    path: str | os.PathLike[str],
    *,
    temperature: float | None = None,
    quantity: QuantityOfEntropies = "free_energy",
    points: int = POINTS,
) -> dict[str, Any]:
    """Write a model of pairs, ACE of correlation order 1, as tables of pair energies and forces.

    A pair of atoms a and b has e_a(r) + e_b(r), what either is to the other's site energy. Sums
    are those of the model but for a constant per atom, which tables cannot hold; LAMMPS gives half
    of a pair to either atom. Points are even in r², as LAMMPS has them in memory; it stops at pairs
    below the model's inner distance, where radial functions grow beyond all bounds.

    Parameters
    ----------
    model : SiteModel
    path : path
    temperature, quantity
        Of a model of entropies, see `ase_vibent.export.exported.site_energies`.
    points : int
        Of every table, from the model's inner distance to its cutoff.

    Returns
    -------
    dict
        What was written: "quantity", "unit", "elements", "pairs", "points", "left_out" (the
        constant of every element), "energy_error" and "force_error" of a pair by splines through
        the points, at distances "beyond", "output" (files), "lammps" (commands that read them).

    Raises
    ------
    InvalidInputError
        If the model is none of pairs, or a parameter is out of range.
    OSError
        If the file cannot be written.
    """
    check_integer("points", points, 100)
    energies = site_energies(model, temperature, quantity)
    ace = energies.descriptor
    if type(ace) is not ACE:
        raise InvalidInputError(
            "model: tables hold energies of pairs, and this model is of "
            f"{type(ace).__name__}; train one with ACE(order=1)"
        )
    check_linear(energies, "tables hold sums over pairs")
    functions = [complex_functions(ace, own, z) for z, own in enumerate(energies.weights)]
    if any(len(f.radial) > 1 for own in functions for f in own):
        raise InvalidInputError(
            f"model: tables hold energies of pairs, and this model is of order {ace.order}; "
            "train one with ACE(order=1), or export to yace"
        )
    r = np.sqrt(np.linspace(float(ace.inner or 0) ** 2, ace.cutoff**2, points))
    values, slopes = radial_functions(ace.radial, r)
    tables, errors = {}, []
    for a, b in combinations_with_replacement(range(len(energies.elements)), 2):
        weights = _radial_weights(functions[a], b, ace) + _radial_weights(functions[b], a, ace)
        table = np.array([weights @ values, -weights @ slopes])
        tables[a, b] = table
        errors.append(_spline_errors(ace, weights, r, table))
    worst = np.max(errors, axis=0)
    summary = energies.summary(
        [os.fspath(path)],
        [f"pair_style table spline {points}", *_pair_coefficients(energies, tables, path)],
        pairs=len(tables),
        points=points,
        left_out=dict(zip(energies.elements, energies.constants.tolist(), strict=True)),
        energy_error=float(worst[0]),
        force_error=float(worst[1]),
        beyond=SURE * float(r[0]),
    )
    write_text(path, _text(summary, r, tables))
    return summary


def radial_functions(radial: RadialBasis, r: Array) -> tuple[Array, Array]:
    """Radial functions and their slopes by their recursion.

    Parameters
    ----------
    radial : RadialBasis
    r : ndarray, shape (n,), Å

    Returns
    -------
    values : ndarray, shape (n_max, n)
    slopes : ndarray, shape (n_max, n), 1/Å
    """
    x = np.asarray(transformed_distance(r, radial.r0, radial.power))
    above = np.where(r < radial.cutoff, x - radial.x_cut, 0.0)
    values, slopes = np.zeros((2, radial.n_max, len(r)))
    values[0], slopes[0] = radial.recursion[0, 0] * above**2, radial.recursion[0, 0] * 2 * above
    for n in range(1, radial.n_max):
        a, b, c = radial.recursion[n]
        values[n] = (a * x + b) * values[n - 1] + c * (values[n - 2] if n > 1 else 0)
        slopes[n] = a * values[n - 1] + (a * x + b) * slopes[n - 1]
        slopes[n] += c * (slopes[n - 2] if n > 1 else 0)
    return values, slopes * -radial.power * x / (1 + r)


def _radial_weights(functions: Sequence[Function], neighbour: int, ace: ACE) -> Array:
    """Coefficients of the radial functions in the energy of a site next to a neighbour."""
    weights = np.zeros(ace.radial.n_max)
    for function in functions:
        if function.elements == (neighbour,):
            weights[function.radial[0] - 1] += function.coefficients[0]
    return weights


def _spline_errors(ace: ACE, weights: Array, r: Array, table: Array) -> Array:
    """Largest errors, energy and force, of splines in r² halfway between points."""
    middle = np.sqrt((r[1:] ** 2 + r[:-1] ** 2) / 2)
    middle = middle[middle > SURE * r[0]]
    values, slopes = radial_functions(ace.radial, middle)
    found = CubicSpline(r**2, table, axis=1)(middle**2)
    return np.abs(found - [weights @ values, -weights @ slopes]).max(axis=1)


def _pair_coefficients(
    energies: SiteEnergies, pairs: Iterable[tuple[int, int]], path: str | os.PathLike[str]
) -> list[str]:
    named = energies.elements
    return [f"pair_coeff {a + 1} {b + 1} {os.fspath(path)} {named[a]}-{named[b]}" for a, b in pairs]


def _text(summary: dict[str, Any], r: Array, tables: dict[tuple[int, int], Array]) -> str:
    unit, elements = summary["unit"], summary["elements"]
    left_out = ", ".join(f"{symbol} {value:.17g}" for symbol, value in summary["left_out"].items())
    lines = [
        f"# UNITS: metal (LAMMPS); {summary['quantity']} in {unit}, by ase-vibent",
        f"# Left out, {unit} per atom: {left_out}",
        f"# Splines between the points are off by {summary['energy_error']:.1e} {unit} and "
        f"{summary['force_error']:.1e} {unit}/Å a pair beyond {summary['beyond']:.3f} Å",
        "# Types in the order of the elements:",
        *(f"# {command}" for command in summary["lammps"]),
    ]
    for (a, b), (values, forces) in tables.items():
        lines += ["", f"{elements[a]}-{elements[b]}"]
        lines += [f"N {len(r)} RSQ {r[0]:.17g} {r[-1]:.17g}", ""]
        lines += [
            f"{k} {distance:.17g} {value:.17g} {force:.17g}"
            for k, (distance, value, force) in enumerate(zip(r, values, forces, strict=True), 1)
        ]
    return "\n".join([*lines, ""])
