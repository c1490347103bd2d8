"""Models of the bispectrum bSO(4), linear or quadratic, for LAMMPS' `pair_style snap`.

LAMMPS lists components (j1, j2, j) with j ≥ j1 ≥ j2; ours have two equal degrees, (j1, j1, j).
Exchanging j and j1 changes a component by (2 j + 1)/(2 j1 + 1). Densities of several neighbour
species are those of its explicit multi-element form (`chemflag 1`), of whose triples of species
ours are those of one species three times. All other coefficients are zero.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ase_vibent.arrays import Array, IntArray
from ase_vibent.descriptors import Bispectrum
from ase_vibent.errors import InvalidInputError
from ase_vibent.export.exported import (
    QuantityOfEntropies,
    SiteEnergies,
    elements_of_kinds,
    site_energies,
)
from ase_vibent.files.writing import check_place, write_text
from ase_vibent.model import SiteModel

#: Numbers in a file, beyond which a quadratic model of many species is not written.
MOST_COEFFICIENTS = 2_000_000


def write_snap(
    model: SiteModel,
    path: str | os.PathLike[str],
    *,
    temperature: float | None = None,
    quantity: QuantityOfEntropies = "free_energy",
) -> dict[str, Any]:
    """Write a bispectrum model as FILE.snapcoeff and FILE.snapparam, without loss.

    Parameters
    ----------
    model : SiteModel
        Linear or quadratic.
    path : path
        Of either file.
    temperature, quantity
        Of a model of entropies, see `ase_vibent.export.exported.site_energies`.

    Returns
    -------
    dict
        What was written: "quantity", "unit", "elements", "coefficients" of an element, "output"
        (files), "lammps" (commands that read them).

    Raises
    ------
    InvalidInputError
        If such files cannot hold the model, or the temperature is missing or out of range.
    OSError
        If a file cannot be written.
    """
    energies = site_energies(model, temperature, quantity)
    bispectrum = energies.descriptor
    if not isinstance(bispectrum, Bispectrum):
        raise InvalidInputError(
            "model: SNAP files hold the bispectrum alone, and this model is of "
            f"{type(bispectrum).__name__}; train one with Bispectrum"
            + (", or export to yace" if type(bispectrum).__name__ == "ACE" else "")
        )
    densities = _densities(bispectrum)
    places, factors, n_components = _places(bispectrum, densities)
    quadratic = energies.curvature is not None
    count = n_components + quadratic * n_components * (n_components + 1) // 2
    if count > MOST_COEFFICIENTS:
        raise InvalidInputError(
            f"model: SNAP files would hold {count} coefficients per element, most of them zero; "
            "train a linear one, with a lower j_max, or with neighbours=['*']"
        )
    rows = []
    for z, constant in enumerate(energies.constants):
        linear = np.zeros(n_components)
        np.add.at(linear, places, energies.weights[z] * factors)
        bent = np.empty(0)
        if energies.curvature is not None:
            bent = _upper_triangle(energies.curvature[z], places, factors, n_components)
        rows.append(np.concatenate([[constant], linear, bent]))
    base = Path(path).with_suffix("") if Path(path).suffix.startswith(".snap") else Path(path)
    written = [f"{base}.snapcoeff", f"{base}.snapparam"]
    for name in written:
        check_place(name)  # both or none
    write_text(written[0], _coefficients(energies, rows))
    write_text(written[1], _parameters(bispectrum, len({*densities} - {None}) > 1, quadratic))
    return energies.summary(
        written,
        ["pair_style snap", f"pair_coeff * * {' '.join([*written, *energies.elements])}"],
        coefficients=count,
    )


def _densities(bispectrum: Bispectrum) -> list[int | None]:
    """Element of every density of neighbours: none without neighbours; 0 if one is of all."""
    kinds = elements_of_kinds(bispectrum)
    if max(map(len, kinds)) == len(bispectrum.species):
        return [0 if own else None for own in kinds]
    shared = [", ".join(bispectrum.species[z] for z in own) for own in kinds if len(own) > 1]
    if shared:
        raise InvalidInputError(
            f"model: its neighbours {shared[0]} share one density, and others have their own; "
            "SNAP has one for every element or one for all: train one with neighbours=None or ['*']"
        )
    return [own[0] if own else None for own in kinds]


def _places(bispectrum: Bispectrum, densities: Sequence[int | None]) -> tuple[IntArray, Array, int]:
    """Where our features stand among LAMMPS' components, and by what they are larger.

    Returns
    -------
    places : ndarray of int64, shape (n_features,)
    factors : ndarray, shape (n_features,)
        0 of the features of densities without neighbours, which vanish.
    n_components : int
    """
    most, n_elements = round(2 * bispectrum.j_max), len({*densities} - {None})
    listed = [
        (j1, j2, j)
        for j1 in range(most + 1)
        for j2 in range(j1 + 1)
        for j in range(j1, min(most, j1 + j2) + 1)
        if (j1 + j2 + j) % 2 == 0
    ]
    number = {degrees: k for k, degrees in enumerate(listed)}
    own, factors = [], []
    for first, last in bispectrum.components:
        j1, j = round(2 * first), round(2 * last)
        own.append(number[(j1, j1, j) if j >= j1 else (j1, j, j1)])
        factors.append(1.0 if j >= j1 else (j + 1) / (j1 + 1))
    triples = [len(listed) * (e or 0) * (n_elements**2 + n_elements + 1) for e in densities]
    places = np.add.outer(triples, own).ravel()
    used = [e is not None for e in densities]
    return places, np.outer(used, factors).ravel(), n_elements**3 * len(listed)


def _upper_triangle(curvature: Array, places: IntArray, factors: Array, n: int) -> Array:
    """W row after row, without what lies below the diagonal: LAMMPS halves the diagonal."""
    matrix = np.zeros((n, n))
    np.add.at(matrix, np.ix_(places, places), 2 * curvature * np.outer(factors, factors))
    return matrix[np.triu_indices(n)]


def _coefficients(energies: SiteEnergies, rows: Sequence[Array]) -> str:
    lines = [
        f"# {energies.title} in {energies.unit}, units metal; by ase-vibent",
        f"{len(rows)} {len(rows[0])}",
    ]
    for symbol, row in zip(energies.elements, rows, strict=True):
        # A pair's cutoff is rcutfac times the sum of its radii.
        lines += [f"{symbol} 0.5 1.0", *(f"{value:.17g}" for value in row)]
    return "\n".join([*lines, ""])


def _parameters(bispectrum: Bispectrum, several: bool, quadratic: bool) -> str:
    parameters = {
        "rcutfac": f"{bispectrum.cutoff:.17g}",
        "twojmax": round(2 * bispectrum.j_max),
        "rfac0": f"{bispectrum.rfac0:.17g}",
        "rmin0": 0,
        "bzeroflag": 1,
        "switchflag": 1,
        "quadraticflag": int(quadratic),
        "chemflag": int(several),
        "bnormflag": 0,
        "wselfallflag": int(several),
    }
    return "".join(f"{name} {value}\n" for name, value in parameters.items())
