"""Structures: what makes one unusable, and random variations of one."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from ase_vibent.errors import InvalidStructureError


def check_structure(atoms: Atoms) -> None:
    """Raise unless positions and cell are usable.

    Parameters
    ----------
    atoms : Atoms

    Raises
    ------
    InvalidStructureError
        If there is no atom, a number is not finite, or the cell is degenerate along a
        periodic direction.
    """
    if len(atoms) == 0:
        raise InvalidStructureError("atoms: the structure is empty")
    if not np.all(np.isfinite(atoms.positions)) or not np.all(np.isfinite(atoms.cell.array)):
        raise InvalidStructureError("atoms: positions or cell hold NaN or infinite numbers")
    periodic = atoms.cell.array[atoms.pbc]
    lengths = np.linalg.norm(periodic, axis=1)
    if np.any(lengths == 0) or np.linalg.matrix_rank(periodic) < len(periodic):
        raise InvalidStructureError(
            f"atoms: periodic along {len(periodic)} directions (pbc={atoms.pbc.tolist()}), but the "
            f"cell vectors there are zero or dependent: {periodic.tolist()}; set cell or pbc"
        )


def rattled(
    atoms: Atoms, amplitude: float, count: int, rng: np.random.Generator | int = 0
) -> list[Atoms]:
    """Randomly displaced copies, P0 4.2.1.

    Components are uniform in [-α/2, α/2] with α = amplitude · U(0, 1), one α per copy.

    Parameters
    ----------
    atoms : Atoms
    amplitude : float, Å
    count : int
    rng : Generator or seed

    Returns
    -------
    list of Atoms
    """
    rng = np.random.default_rng(rng)
    copies = []
    for _ in range(count):
        alpha = amplitude * rng.uniform()
        copy = atoms.copy()
        copy.positions += rng.uniform(-alpha / 2, alpha / 2, atoms.positions.shape)
        copies.append(copy)
    return copies
