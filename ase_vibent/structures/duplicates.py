"""Which structures are the same, by the two criteria of [Lapointe2020] IV.A."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from ase_vibent.arrays import Array
from ase_vibent.checks import check_positive
from ase_vibent.errors import InvalidInputError
from ase_vibent.potentials import calculator_failures
from ase_vibent.structures.wigner_seitz import wigner_seitz_defects


def unique(
    structures: Sequence[Atoms],
    energies: Sequence[float] | None = None,
    *,
    crystal: Atoms | None = None,
    energy_tolerance: float = 1e-2,
    inertia_tolerance: float = 1e-3,
) -> list[int]:
    """Indices of structures no two of which are equivalent, [Lapointe2020] IV.A.

    Two structures are non-equivalent if (i) their energies differ, and (ii) where they
    hold interstitials, so does the sum of squares of the principal components of the
    interstitial atoms' inertia tensor. Other cells or compositions are never equivalent.

    Parameters
    ----------
    structures : sequence of Atoms
    energies : sequence of float, eV, optional
        By default those that the structures carry.
    crystal : Atoms, optional
        Perfect, as in `wigner_seitz_defects`: it tells where interstitials are. Without it
        only energies are compared.
    energy_tolerance : float, eV
        [Lapointe2020] has 10⁻².
    inertia_tolerance : float
        Relative; [Lapointe2020] gives none. Twins relaxed to 1e-3 eV/Å agree to 2e-4, and <110> and
        <111> dumbbells in iron differ by 1e-2.

    Returns
    -------
    list of int
        Ascending: the first of every set of equivalent structures.

    Raises
    ------
    InvalidInputError
        If an energy is missing or not finite, or a tolerance is no positive number.
    """
    check_positive("energy_tolerance", energy_tolerance)
    check_positive("inertia_tolerance", inertia_tolerance)
    values = _energies(structures) if energies is None else list(energies)
    if len(values) != len(structures) or not np.all(np.isfinite(values)):
        raise InvalidInputError(
            f"energies: expected {len(structures)} finite numbers in eV, one per structure, "
            f"got {len(values)}"
        )
    inertia = [
        None if crystal is None else interstitial_inertia(atoms, crystal) for atoms in structures
    ]
    kept: list[int] = []
    for k in range(len(structures)):
        twins = (
            _comparable(structures[k], structures[other])
            for other in kept
            if abs(values[k] - values[other]) <= energy_tolerance
            or _same_inertia(inertia[k], inertia[other], inertia_tolerance)
        )
        if not any(twins):
            kept.append(k)
    return kept


def interstitial_inertia(atoms: Atoms, crystal: Atoms) -> float | None:
    """Sum of squares of the principal components of the inertia tensor, [Lapointe2020] IV.A (ii).

    Parameters
    ----------
    atoms : Atoms
    crystal : Atoms
        Perfect, as in `wigner_seitz_defects`.

    Returns
    -------
    float, Å⁴, or None
        Of the atoms that share a Wigner-Seitz cell, at unit mass, about their centre;
        None if there are none.
    """
    members = wigner_seitz_defects(atoms, crystal).interstitial_atoms
    if len(members) == 0:
        return None
    positions = _gather(atoms.positions[members], atoms)
    positions -= positions.mean(axis=0)
    second = positions.T @ positions
    tensor = np.trace(second) * np.eye(3) - second
    return float(np.sum(tensor**2))


def _gather(positions: Array, atoms: Atoms) -> Array:
    """Periodic images that lie together: every point next to its nearest in the set."""
    differences = positions[None] - positions[:, None]
    vectors, lengths = find_mic(differences.reshape(-1, 3), atoms.cell, atoms.pbc)
    vectors = vectors.reshape(differences.shape)
    tree = minimum_spanning_tree(lengths.reshape(len(positions), -1))
    order, parents = breadth_first_order(tree, 0, directed=False)
    gathered = positions.copy()
    for child in order[1:]:
        gathered[child] = gathered[parents[child]] + vectors[parents[child], child]
    return gathered


def _same_inertia(one: float | None, other: float | None, tolerance: float) -> bool:
    if one is None or other is None:
        return False
    return math.isclose(one, other, rel_tol=tolerance)


def _comparable(one: Atoms, other: Atoms) -> bool:
    """Whether two structures have the same composition and, rotations aside, the same cell."""
    return (
        len(one) == len(other)
        and bool(np.all(np.sort(one.numbers) == np.sort(other.numbers)))
        and np.allclose(one.cell.cellpar(), other.cell.cellpar(), rtol=1e-6)
    )


def _energies(structures: Sequence[Atoms]) -> list[float]:
    if any(atoms.calc is None for atoms in structures):
        raise InvalidInputError(
            "energies: the structures carry none; relax them first or pass energies"
        )
    energies = []
    for atoms in structures:
        with calculator_failures(atoms.calc, "energy", "telling structures apart"):
            energies.append(float(atoms.get_potential_energy()))
    return energies
