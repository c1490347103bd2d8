"""What makes a structure unusable, and copies that carry no label of the original."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray

from ase_vibent.dataset import PREFIX
from ase_vibent.errors import InvalidStructureError

#: No atom is closer to its own image, Å.
THINNEST = 0.1
#: Sites occupied to this share are full: files round.
FULL = 0.999

#: Entries of info that hold for one structure only, and for none that is made from it.
_OWN = (
    "unstable",
    "unstable_before",
    "rounds",
    "energy_gained",
    "largest_displacement",
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
        If there is no atom, a number is not finite, or no element's, the cell is degenerate along a
        periodic direction or brings images upon each other, or sites are occupied in part.
    """
    if len(atoms) == 0:
        raise InvalidStructureError("atoms: the structure is empty")
    if not np.all(np.isfinite(atoms.positions)) or not np.all(np.isfinite(atoms.cell.array)):
        raise InvalidStructureError("atoms: positions or cell hold NaN or infinite numbers")
    unknown = np.flatnonzero((atoms.numbers < 0) | (atoms.numbers >= len(chemical_symbols)))
    if len(unknown):
        raise InvalidStructureError(
            f"atoms: atom {unknown[0]} has the atomic number {atoms.numbers[unknown[0]]}, which is "
            f"no element's (1 to {len(chemical_symbols) - 1})"
        )
    periodic = atoms.cell.array[atoms.pbc]
    lengths = np.linalg.norm(periodic, axis=1)
    if np.any(lengths == 0) or (lengths.size and np.linalg.matrix_rank(periodic) < lengths.size):
        raise InvalidStructureError(
            f"atoms: periodic along {len(periodic)} directions (pbc={atoms.pbc.tolist()}), but the "
            f"cell vectors there are zero or dependent: {periodic.tolist()}; set cell or pbc"
        )
    shortest = minkowski_reduce(atoms.cell.complete(), atoms.pbc)[0][atoms.pbc]
    if np.linalg.norm(shortest, axis=1).min(initial=np.inf) < THINNEST:
        raise InvalidStructureError(
            f"atoms: periodic images of one atom are closer than {THINNEST} Å; set cell or pbc"
        )
    _check_occupancies(atoms)


def _check_occupancies(atoms: Atoms) -> None:
    """Raise where ASE's readers, of CIF and PDB files, say that sites are filled in part only."""
    n = len(atoms)
    shares, contents = np.ones(n), n * [""]
    of_kinds = atoms.info.get("occupancy")
    kinds = atoms.arrays.get("spacegroup_kinds", np.arange(n))
    for k, kind in enumerate(kinds if isinstance(of_kinds, Mapping) else ()):
        species = of_kinds.get(str(kind), of_kinds.get(int(kind), {}))
        if species:
            shares[k] = min(species.values())
            contents[k] = " and ".join(f"{share:g} {symbol}" for symbol, share in species.items())
    in_file = atoms.arrays.get("occupancy")
    if in_file is not None and in_file.dtype.kind == "f":
        shares = np.where((in_file > 0) & (in_file < shares), in_file, shares)
    partial = np.flatnonzero((shares > 0) & (shares < FULL))
    if not len(partial):
        return
    named = ", ".join(
        f"atom {k} ({contents[k] or f'{shares[k]:g} {atoms.symbols[k]}'})" for k in partial[:8]
    )
    raise InvalidStructureError(
        f"atoms: {len(partial)} sites are occupied in part: {named}"
        f"{', …' if len(partial) > 8 else ''}; vibrations need one atom on every site: choose an "
        "ordered supercell, and delete atoms.info['occupancy'] or atoms.arrays['occupancy'] there"
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
        Of its constraints, FixAtoms and the like are left, see `without_leftovers`.
    """
    copy = strip_labels(without_leftovers(atoms))
    for key in _OWN:
        copy.info.pop(key, None)
    return copy


#: Constraints that leave every atom free to vibrate.
_IGNORED_CONSTRAINTS = ("FixCom", "FixSymmetry")


def without_leftovers(atoms: Atoms) -> Atoms:
    """Copy without constraints that a relaxation has left, and that leave every atom free.

    They hold for this cell and these atoms only: ASE fails, or restores what they hold, where such
    a structure is repeated, cut or given another cell.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    Atoms
    """
    copy: Atoms = atoms.copy()
    copy.set_constraint(
        [c for c in copy.constraints if type(c).__name__ not in _IGNORED_CONSTRAINTS]
    )
    return copy


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
