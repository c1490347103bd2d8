"""What makes a structure unusable, and copies that carry no label of the original."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent.dataset import PREFIX
from ase_vibent.errors import InvalidStructureError

#: Entries of info that hold for one structure only, and for none that is made from it.
_OWN = (
    "unstable",
    "point",
    "connected",
    "barrier_forward",
    "barrier_backward",
    "n_vacancies",
    "n_interstitials",
    "void_radius",
)


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
    if np.any(lengths == 0) or (lengths.size and np.linalg.matrix_rank(periodic) < lengths.size):
        raise InvalidStructureError(
            f"atoms: periodic along {len(periodic)} directions (pbc={atoms.pbc.tolist()}), but the "
            f"cell vectors there are zero or dependent: {periodic.tolist()}; set cell or pbc"
        )


def check_crystal(crystal: Atoms) -> None:
    """Raise unless a structure can be a perfect crystal: usable, periodic along three directions.

    Parameters
    ----------
    crystal : Atoms

    Raises
    ------
    InvalidStructureError
    """
    check_structure(crystal)
    if not crystal.pbc.all():
        raise InvalidStructureError(
            "crystal: expected a structure periodic along three directions, got "
            f"pbc={crystal.pbc.tolist()}; set pbc"
        )


def strip_labels(atoms: Atoms) -> Atoms:
    """Copy without calculator and without our labels, which hold for the original only.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    Atoms
    """
    copy: Atoms = atoms.copy()
    copy.info = {k: v for k, v in copy.info.items() if not str(k).startswith(PREFIX)}
    for name in [name for name in copy.arrays if name.startswith(PREFIX)]:
        del copy.arrays[name]
    return copy


def starting_copy(atoms: Atoms) -> Atoms:
    """Copy to make another structure from: without labels and all else that is found out anew.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    Atoms
    """
    copy = strip_labels(atoms)
    for key in _OWN:
        copy.info.pop(key, None)
    return copy


#: Constraints that leave every atom free to vibrate.
_IGNORED_CONSTRAINTS = ("FixCom", "FixSymmetry")


def free_atoms(atoms: Atoms) -> NDArray[np.intp]:
    """Indices of the atoms that may vibrate, all but those under FixAtoms.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    ndarray, shape (n,)

    Raises
    ------
    InvalidStructureError
        If all atoms are fixed, or another constraint restricts their motion.
    """
    from ase.constraints import FixAtoms

    free = np.ones(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            free[constraint.index] = False
        elif type(constraint).__name__ not in _IGNORED_CONSTRAINTS:
            raise InvalidStructureError(
                f"atoms: vibrations under {type(constraint).__name__} are not supported; "
                "remove the constraint or use FixAtoms"
            )
    if not free.any():
        raise InvalidStructureError("atoms: no atom is free to vibrate")
    return np.flatnonzero(free)
