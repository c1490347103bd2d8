"""Variations of one structure that keep its atoms: displaced, strained, damaged."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.geometry import get_distances
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from ase_vibent.checks import check_positive
from ase_vibent.errors import InvalidInputError
from ase_vibent.structures.cells import periodic_images
from ase_vibent.structures.validity import check_structure, starting_copy

#: Displaced atoms keep this fraction of the smallest distance between undisplaced ones.
CLOSEST = 0.5


def rattle(
    atoms: Atoms, amplitude: float, count: int, rng: np.random.Generator | int = 0
) -> list[Atoms]:
    """Randomly displaced copies, [Torabi2024] 4.2.1.

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
        Atoms under a constraint stay within it, fixed ones where they are.

    Raises
    ------
    InvalidInputError
        If the amplitude is no length.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase_vibent.structures import rattle
    >>> crystal = bulk("Cu", cubic=True)
    >>> copies = rattle(crystal, 0.1, 5)
    >>> bool(max(abs(copy.positions - crystal.positions).max() for copy in copies) <= 0.05)
    True
    """
    check_structure(atoms)
    check_positive("amplitude", amplitude)
    rng = np.random.default_rng(rng)
    copies = []
    for _ in range(count):
        alpha = amplitude * rng.uniform()
        copy = starting_copy(atoms)
        shifts = rng.uniform(-alpha / 2, alpha / 2, atoms.positions.shape)
        copy.set_positions(copy.positions + shifts)
        copies.append(copy)
    return copies


def apply_strain(atoms: Atoms, strain: float | ArrayLike) -> Atoms:
    """Homogeneously strained copy.

    [Lapointe2022] III.A (isotropic, -1 % to 3 %); atoms follow the cell.

    Parameters
    ----------
    atoms : Atoms
    strain : float or array_like, shape (3, 3), dimensionless
        Isotropic strain of lengths, or a matrix ε: every vector x becomes x + ε x.

    Returns
    -------
    Atoms

    Raises
    ------
    InvalidInputError
        If it is neither a number nor a matrix, or turns the cell inside out.
    """
    check_structure(atoms)
    matrix = np.asarray(strain, dtype=float)
    if matrix.ndim == 0:
        matrix = matrix * np.eye(3)
    if (
        matrix.shape != (3, 3)
        or not np.all(np.isfinite(matrix))
        or np.linalg.det(np.eye(3) + matrix) <= 0
    ):
        raise InvalidInputError(
            "strain: expected a number > -1 or a (3, 3) matrix that leaves a positive volume, "
            f"got {strain!r}"
        )
    copy = starting_copy(atoms)
    deformation = np.eye(3) + matrix.T
    copy.set_cell(atoms.cell.array @ deformation)
    copy.positions = atoms.positions @ deformation
    return copy


def damage(
    atoms: Atoms,
    fraction: float,
    amplitude: float,
    count: int,
    rng: np.random.Generator | int = 0,
) -> list[Atoms]:
    """Copies with many atoms displaced at random, which relax to many Frenkel pairs.

    [Lapointe2020] V.C.

    Displacements are uniform in a ball; one that brings two atoms closer than half the
    smallest distance in `atoms` is drawn again.

    Parameters
    ----------
    atoms : Atoms
    fraction : float
        Of the atoms, those under FixAtoms left aside, that are displaced; in (0, 1].
    amplitude : float, Å
        Radius of the ball; to leave its cell, an atom needs about a neighbour distance.
    count : int
    rng : Generator or seed

    Returns
    -------
    list of Atoms
        Not relaxed.

    Raises
    ------
    InvalidInputError
    """
    check_structure(atoms)
    if not 0 < fraction <= 1:
        raise InvalidInputError(f"fraction: expected a number in (0, 1], got {fraction!r}")
    check_positive("amplitude", amplitude)
    rng = np.random.default_rng(rng)
    closest = CLOSEST * nearest_distance(atoms)
    movable = _movable(atoms)
    n_displaced = max(1, round(fraction * len(movable)))
    copies = []
    for _ in range(count):
        copy = starting_copy(atoms)
        for index in rng.choice(movable, n_displaced, replace=False):
            _displace(copy, int(index), amplitude, closest, rng)
        copies.append(copy)
    return copies


def nearest_distance(atoms: Atoms) -> float:
    """Smallest distance between two atoms, or an atom and its image.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    float, Å
        Infinite for a single atom without images, 0 where two atoms share a spot.
    """
    # The images of one atom, or the two atoms closest to each other as they stand.
    cutoff = np.linalg.norm(atoms.cell.array[atoms.pbc], axis=1).min(initial=np.inf)
    if len(atoms) > 1:
        separations = np.linalg.norm(atoms.positions[1:] - atoms.positions[0], axis=1)
        cutoff = min(cutoff, separations.min())
    owners, shifts = periodic_images(atoms, 1.001 * cutoff)
    points = atoms.positions[owners] + shifts @ atoms.cell.array
    # The nearest to an atom is the atom itself.
    return float(KDTree(points).query(points[: len(atoms)], k=2)[0][:, 1].min())


def _movable(atoms: Atoms) -> NDArray[np.intp]:
    """Atoms that no FixAtoms holds."""
    from ase.constraints import FixAtoms

    held = [c.index for c in atoms.constraints if isinstance(c, FixAtoms)]
    movable = np.setdiff1d(np.arange(len(atoms)), np.concatenate(held or [[]]))
    if len(movable) == 0:
        raise InvalidInputError("atoms: all are fixed, none can be displaced")
    return movable


def _displace(
    atoms: Atoms, index: int, amplitude: float, closest: float, rng: np.random.Generator
) -> None:
    """Move one atom at random, close to no other."""
    others: NDArray[np.float64] = np.delete(atoms.positions, index, axis=0)
    for _ in range(1000):
        direction = rng.normal(size=3)
        length = amplitude * rng.uniform() ** (1 / 3)
        position = atoms.positions[index] + length * direction / np.linalg.norm(direction)
        distances = get_distances(position, others, cell=atoms.cell, pbc=atoms.pbc)[1]
        if distances.min(initial=np.inf) >= closest:
            atoms.positions[index] = position
            return
    raise InvalidInputError(
        f"amplitude: no room for a displacement of up to {amplitude} Å; the structure is too dense"
    )
