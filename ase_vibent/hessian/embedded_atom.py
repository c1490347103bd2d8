"""Sparse Hessian of an embedded-atom potential, from matscipy's splines.

With the density ρ_γ at atom γ and G = ∂ρ/∂u (N × 3N, sparse), the embedding terms that couple three
atoms are Gᵀ diag(F'') G; all others are a pair term with the slope of an effective pair potential,
φ' + F_i' f_j' + F_j' f_i'. The same numbers as matscipy's `get_hessian`, several times faster, and
100,000 atoms fit into 8 GB.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from scipy.sparse import bsr_array, csr_array, diags_array

from ase_vibent.arrays import Array, IntArray, coordinates
from ase_vibent.errors import UnknownSpeciesError


def is_matscipy_eam(calculator: object) -> bool:
    """Whether a calculator is matscipy's EAM, which is not imported to tell."""
    return any(
        base.__name__ == "EAM" and base.__module__.startswith("matscipy.")
        for base in type(calculator).__mro__
    )


def eam_hessian(atoms: Atoms, potential: Any) -> csr_array:
    """Hessian of all atoms.

    Parameters
    ----------
    atoms : Atoms
    potential : matscipy.calculators.eam.EAM
        Or what has its splines: `rep`, `f`, `dF` … of tables that hold r φ(r), `cutoff`, and
        `atnum_to_index` (ndarray by atomic number, -1 for none).

    Returns
    -------
    csr_array, shape (3N, 3N), eV/Å²

    Raises
    ------
    UnknownSpeciesError
        If the potential has no tables of a species.
    """
    from matscipy.neighbours import neighbour_list

    tables = potential.atnum_to_index  # -1 between its species, and no longer than needed
    numbers = np.flatnonzero(tables >= 0)
    unknown = sorted({chemical_symbols[z] for z in atoms.numbers if z not in numbers})
    if unknown:
        known = sorted(chemical_symbols[z] for z in numbers)
        raise UnknownSpeciesError(
            f"atoms: expected {', '.join(known)}, of which the potential has tables, got "
            f"{', '.join(unknown)}; take a potential of all species"
        )
    i, j, vectors, distances = neighbour_list("ijDd", atoms, potential.cutoff)
    kinds = tables[atoms.numbers]
    pairs = partial(_of_pairs, distances=distances)
    density: Any = np.bincount(i, pairs(potential.f, kinds[j], kinds[i]), minlength=len(atoms))
    slope, curvature = (
        _of_atoms(splines, kinds, density) for splines in (potential.dF, potential.ddF)
    )
    # What j contributes to the density at i, and i to that at j.
    inward, inward2 = (pairs(s, kinds[j], kinds[i]) for s in (potential.df, potential.ddf))
    outward, outward2 = (pairs(s, kinds[i], kinds[j]) for s in (potential.df, potential.ddf))
    repulsion = [
        pairs(s, kinds[i], kinds[j]) for s in (potential.rep, potential.drep, potential.ddrep)
    ]
    # The tables hold r φ(r).
    energy = repulsion[0] / distances
    first = (repulsion[1] - energy) / distances
    second = (repulsion[2] - 2 * first) / distances
    first = first + slope[i] * inward + slope[j] * outward
    second = second + slope[i] * inward2 + slope[j] * outward2
    units = vectors / distances[:, None]
    tangential = first / distances
    blocks = (second - tangential)[:, None, None] * (units[:, :, None] * units[:, None, :])
    blocks += tangential[:, None, None] * np.eye(3)
    gradient = _density_gradient(i, j, inward, units, len(atoms))
    embedding = gradient.T.tocsr() @ (diags_array(curvature) @ gradient).tocsr()
    return (embedding + pair_term(i, j, blocks, len(atoms)).tocsr()).tocsr()


def _of_pairs(splines: Any, first: IntArray, second: IntArray, *, distances: Array) -> Array:
    """Splines of one species or of two, [species] or [species][species], at every pair."""
    values = np.zeros(len(distances))
    for a, b in set(zip(first.tolist(), second.tolist(), strict=True)):
        mask = (first == a) & (second == b)
        spline = splines[a][b] if isinstance(splines[a], list) else splines[a]
        values[mask] = spline(distances[mask])
    return values


def _of_atoms(splines: list[Callable[..., Any]], kinds: IntArray, density: Array) -> Any:
    values = np.empty(len(kinds))
    for kind in np.unique(kinds):
        values[kinds == kind] = splines[kind](density[kinds == kind])
    return values


def pair_term(i: IntArray, j: IntArray, blocks: Array, n: int) -> bsr_array:
    """Pair blocks off the diagonal, and on it what makes rows sum to zero.

    Parameters
    ----------
    i, j : ndarrays of int, shape (n_pairs,)
        Every pair both ways, i ascending.
    blocks : ndarray, shape (n_pairs, 3, 3)
    n : int
        Number of atoms.

    Returns
    -------
    bsr_array, shape (3n, 3n)
    """
    starts = np.searchsorted(i, np.arange(n + 1))
    shape = (3 * n, 3 * n)
    own = np.array(
        [np.bincount(i, blocks[:, a, b], minlength=n) for a in range(3) for b in range(3)]
    ).T.reshape(n, 3, 3)
    diagonal = bsr_array((own, np.arange(n), np.arange(n + 1)), shape=shape)
    return bsr_array((-blocks, j, starts), shape=shape) + diagonal


def _density_gradient(i: IntArray, j: IntArray, inward: Array, units: Array, n: int) -> csr_array:
    """∂ρ/∂u, shape (n, 3n)."""
    near = inward != 0
    i, j, pull = i[near], j[near], (inward[:, None] * units)[near]
    columns = coordinates(j)
    starts = 3 * np.searchsorted(i, np.arange(n + 1))
    own = np.array([np.bincount(i, pull[:, a], minlength=n) for a in range(3)]).T
    diagonal = csr_array((own.ravel(), np.arange(3 * n), 3 * np.arange(n + 1)), shape=(n, 3 * n))
    return (csr_array((pull.ravel(), columns, starts), shape=(n, 3 * n)) - diagonal).tocsr()
