"""Meshes of q over the Brillouin zone of a cell."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import product
from typing import Literal

import numpy as np
from ase import Atoms

from ase_vibent.arrays import Array, IntArray
from ase_vibent.errors import InvalidInputError, NarrowCellWarning
from ase_vibent.harmonic.periodicity import free_standing

#: Points along a direction times the width of the cell, Å, that `mesh="auto"` takes, and at least
#: two points: formation entropies of vacancies in silicon and copper are then converged in the
#: mesh to 1e-3 k_B.
FINENESS = 20.0
#: Å: cells as wide as this are done with one point along that direction.
WIDE = 25.0

#: A mesh as users ask for it.
Mesh = Literal["auto", "gamma"] | Sequence[int]


def choose_mesh(atoms: Atoms, mesh: Mesh = "auto") -> tuple[int, int, int] | None:
    """Numbers of points of a mesh for a cell.

    Parameters
    ----------
    atoms : Atoms
    mesh : "auto", "gamma" or three int
        By the width of the cell; Γ alone; or so many points along every reciprocal cell vector,
        those along directions without periodicity, or along vacuum, not counting.

    Returns
    -------
    tuple of int, or None
        Zero along directions without periodicity, see `free_standing`. None is Γ alone, as of
        whatever is periodic along no direction.

    Raises
    ------
    InvalidInputError
        If it is no mesh, or one is asked for of what is periodic along no direction at all.
    """
    chosen = check_mesh(mesh)
    if chosen == "gamma":
        return None
    if not isinstance(chosen, str) and not np.any(atoms.pbc):
        raise InvalidInputError(
            "mesh: a cluster has vibrations at Γ only; set pbc, or pass mesh='gamma'"
        )
    periodic = np.asarray(free_standing(atoms).pbc)
    if not periodic.any():
        return None
    if isinstance(chosen, str):
        heights = 1 / np.linalg.norm(atoms.cell.complete().reciprocal(), axis=1)
        numbers = np.maximum(2, np.ceil(FINENESS / heights - 1e-9)).astype(int)
        numbers[heights >= WIDE] = 1
    else:
        numbers = np.array(chosen)
    x, y, z = np.where(periodic, numbers, 0).tolist()
    return x, y, z


def check_mesh(mesh: object) -> str | tuple[int, ...]:
    """A mesh as users ask for it, validated.

    Parameters
    ----------
    mesh : "auto", "gamma" or sequence of int

    Returns
    -------
    str or tuple of three int

    Raises
    ------
    InvalidInputError
    """
    if isinstance(mesh, str) and mesh in ("auto", "gamma"):
        return mesh
    try:
        numbers = np.asarray(mesh)
    except ValueError:  # ragged
        numbers = np.empty(0)
    if numbers.shape != (3,) or numbers.dtype.kind not in "iu" or np.any(numbers < 1):
        raise InvalidInputError(
            f"mesh: expected 'auto', 'gamma' or three integers ≥ 1, got {mesh!r}"
        )
    return tuple(numbers.tolist())


def warn_of_one_atom() -> None:
    """Say that a periodic cell of one atom has no vibrations that mean anything."""
    warnings.warn(
        "atoms: the Hessian of one atom in a periodic cell tells nothing of how it feels its "
        "images: at Γ it has no vibrations (S = 0), and on a mesh none that mean anything; repeat "
        "the cell",
        NarrowCellWarning,
        stacklevel=3,
    )


def half_shifted_mesh(mesh: Sequence[int]) -> tuple[Array, IntArray]:
    """Points (k + 1/2) / n of a mesh that avoids Γ: one of each pair (q, -q).

    Parameters
    ----------
    mesh : three int
        Number of points along every reciprocal cell vector; 0 where the cell is not periodic.

    Returns
    -------
    points : ndarray, shape (n_q, 3)
        In units of the reciprocal cell vectors.
    multiplicities : ndarray of int, shape (n_q,)
        2, or 1 for a point that is its own pair; they sum to the number of points of the mesh.
    """
    axes = [(np.arange(n) + 0.5) / n if n else np.zeros(1) for n in mesh]
    points = np.array(list(product(*axes)))
    # In this order -q is as far from the end as q is from the beginning.
    half = (len(points) + 1) // 2
    multiplicities = np.full(half, 2)
    if len(points) % 2:
        multiplicities[-1] = 1
    return points[:half], multiplicities
