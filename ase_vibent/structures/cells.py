"""Cells: which are the same, which are repetitions of another, how wide they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from ase_vibent.arrays import Array, IntArray
from ase_vibent.errors import InvalidStructureError, LabelError
from ase_vibent.structures.validity import check_structure, without_leftovers

#: The six strains of unit size in Voigt's order, shape (6, 3, 3): a shear is twice its element.
VOIGT_STRAINS = voigt_6_to_full_3x3_stress(np.diag([1, 1, 1, 0.5, 0.5, 0.5]))


def has_volume(atoms: Atoms) -> bool:
    """Whether a stress is defined: a cell that is periodic in two directions or three."""
    return bool(atoms.cell.rank == 3 and sum(atoms.pbc) >= 2)


def match_references(structures: Sequence[Atoms], crystals: Sequence[Atoms]) -> list[Atoms]:
    """Perfect crystal in the cell of every structure, by repeating the given crystals.

    Parameters
    ----------
    structures : sequence of Atoms
    crystals : sequence of Atoms
        Perfect crystals, each a unit cell or a supercell.

    Returns
    -------
    list of Atoms
        One for every structure; the same object where cells agree.

    Raises
    ------
    LabelError
        If no crystal fits the cell of a structure.
    """
    fitted: list[Atoms] = []
    chosen = []
    for number, atoms in enumerate(structures):
        match = next((c for c in fitted if same_cell(c, atoms)), None)
        if match is None:
            match = next(filter(None, (_repeat_to(c, atoms) for c in crystals)), None)
            if match is None:
                raise LabelError(
                    f"structure {number}: no reference crystal, nor a repetition of one, has "
                    f"its cell {np.round(atoms.cell.cellpar(), 4).tolist()}; give the perfect "
                    "crystal at the same strain"
                )
            fitted.append(match)
        chosen.append(match)
    return chosen


def same_cell(one: Atoms, other: Atoms) -> bool:
    """Whether two structures have the same cell, to 1e-5 Å, and are periodic alike."""
    same_pbc = np.array_equal(one.pbc, other.pbc)
    return same_pbc and bool(np.allclose(one.cell.array, other.cell.array, rtol=0, atol=1e-5))


def strained(atoms: Atoms, strain: Array) -> Atoms:
    """Copy in a strained cell, which its atoms follow affinely.

    Parameters
    ----------
    atoms : Atoms
    strain : ndarray, shape (3, 3)
        Symmetric.

    Returns
    -------
    Atoms
    """
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return copy


def strain_derivatives(function: Callable[[Array], Any], step: float) -> Array:
    """Central differences of a function of strain.

    Parameters
    ----------
    function : callable (strain of shape (3, 3)) -> number or ndarray
    step : float

    Returns
    -------
    ndarray, shape (6, …)
        Along the strains of Voigt.
    """
    return np.array(
        [(function(step * unit) - function(-step * unit)) / (2 * step) for unit in VOIGT_STRAINS]
    )


def cell_strain(atoms: Atoms, reference: Atoms) -> Array:
    """Strain that takes a reference's cell to that of a structure, small, shape (3, 3)."""
    deformation = np.linalg.solve(reference.cell.array, atoms.cell.array) - np.eye(3)
    return np.asarray((deformation + deformation.T) / 2)


def repeats_to(crystal: Atoms, atoms: Atoms) -> NDArray[np.int64]:
    """How often a crystal's cell fits into a structure's along every direction, shape (3,).

    Parameters
    ----------
    crystal, atoms : Atoms
        In one orientation; lengths are rounded, so that strains do not matter.

    Returns
    -------
    ndarray of int
        One at least.

    Raises
    ------
    InvalidStructureError
        If the crystal is unusable: a flat cell fits very often.
    """
    check_structure(crystal)
    ratios = atoms.cell.lengths() / np.maximum(crystal.cell.lengths(), 1e-3)
    return np.maximum(1, np.rint(ratios)).astype(np.int64)


def repeated(crystal: Atoms, repeats: Sequence[int] | NDArray[np.int64]) -> Atoms:
    """Supercell of a crystal, FixAtoms repeated; what a relaxation has left of others is dropped.

    Parameters
    ----------
    crystal : Atoms
    repeats : sequence of three int

    Returns
    -------
    Atoms
    """
    supercell: Atoms = without_leftovers(crystal).repeat(repeats)
    return supercell


def _repeat_to(crystal: Atoms, atoms: Atoms) -> Atoms | None:
    if crystal.cell.rank < 3:
        return None
    candidate = repeated(crystal, repeats_to(crystal, atoms))
    return candidate if same_cell(candidate, atoms) else None


def next_supercell(atoms: Atoms, crystals: Sequence[Atoms]) -> Atoms:
    """The crystal, repeated once more along every periodic direction than in a structure's cell.

    Parameters
    ----------
    atoms : Atoms
    crystals : sequence of Atoms
        Perfect crystals, of which one, repeated, has that cell.

    Returns
    -------
    Atoms

    Raises
    ------
    InvalidStructureError
        If none has it.
    """
    for crystal in crystals:
        if _repeat_to(crystal, atoms) is not None:
            return repeated(crystal, repeats_to(crystal, atoms) + np.asarray(atoms.pbc))
    raise InvalidStructureError(
        "crystal: no repetition of it has the structure's cell "
        f"{np.round(atoms.cell.cellpar(), 4).tolist()}"
    )


def widths(atoms: Atoms) -> NDArray[np.float64]:
    """Distances between opposite faces of the cell, periodic directions only, Å."""
    distances = 1 / atoms.cell.complete().reciprocal().lengths()
    return np.asarray(distances[atoms.pbc])


def periodic_images(atoms: Atoms, reach: float) -> tuple[IntArray, Array]:
    """Atoms, wrapped into the cell, and all their periodic images within reach of it.

    Parameters
    ----------
    atoms : Atoms
        Periodic along any of its directions.
    reach : float, Å

    Returns
    -------
    owners : ndarray of int, shape (n,)
        Atoms that the points belong to; the first N are the atoms themselves.
    shifts : ndarray, shape (n, 3)
        Whole numbers of cell vectors: a point lies at positions[owner] + shift @ cell.
    """
    # Whatever vectors stand along directions that are not periodic, they do not matter.
    cell = atoms.cell.copy()
    cell[~atoms.pbc] = 0
    cell = cell.complete()
    scaled = atoms.positions @ np.linalg.inv(cell.array)
    shifts = np.where(atoms.pbc, -np.floor(scaled), 0.0)
    owners = np.arange(len(atoms))
    # Heights of the cell over its faces.
    margins = reach * np.linalg.norm(cell.reciprocal(), axis=1)
    for axis in np.flatnonzero(atoms.pbc):
        most = int(np.ceil(margins[axis]))
        place = scaled[owners, axis] + shifts[:, axis]
        copies = [(owners, shifts)]
        for images in (*range(-most, 0), *range(1, most + 1)):
            near = np.flatnonzero(
                (place + images >= -margins[axis]) & (place + images <= 1 + margins[axis])
            )
            moved = shifts[near]
            moved[:, axis] += images
            copies.append((owners[near], moved))
        owners = np.concatenate([o for o, _ in copies])
        shifts = np.concatenate([s for _, s in copies])
    return owners, shifts


def closest_supercell(defect: Atoms, crystals: Sequence[Atoms]) -> Atoms:
    """The crystal that, repeated, comes closest to the cell of a defect, which may be relaxed.

    Parameters
    ----------
    defect : Atoms
    crystals : sequence of Atoms
        Perfect crystals, each a unit cell or a supercell.

    Returns
    -------
    Atoms
    """
    candidates = []
    for crystal in crystals:
        repeats = repeats_to(crystal, defect)
        found = crystal if np.all(repeats == 1) else repeated(crystal, repeats)
        candidates.append((np.abs(found.cell.array - defect.cell.array).max(), found))
    return min(candidates, key=lambda candidate: float(candidate[0]))[1]
