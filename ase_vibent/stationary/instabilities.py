"""Minima below structures that symmetry, or a short relaxation, holds on a saddle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.geometry import find_mic

from ase_vibent.arrays import Array
from ase_vibent.checks import check_integer
from ase_vibent.errors import RelaxationError, UnstableStructureError
from ase_vibent.harmonic.system import HarmonicSystem
from ase_vibent.hessian import HessianOptions, HessianSource
from ase_vibent.potentials import resolve_calculator
from ase_vibent.stationary.relaxation import both_sides, relax
from ase_vibent.structures.validity import free_atoms

#: Steps down that may be needed, by default.
ROUNDS = 10


@dataclass(frozen=True)
class Minimum:
    """A minimum, and how far it is from where plain relaxation ends.

    Attributes
    ----------
    atoms : Atoms
        With energy and forces.
    rounds : int
        Steps down along unstable modes; none where plain relaxation is enough.
    unstable_before : int
        Number of unstable modes, at Γ of the cell, where plain relaxation ends.
    energy_gained : float, eV
        By the rounds.
    largest_displacement : float, Å
        Of an atom, by the rounds; a shift of all atoms, and of the cell with them, apart.
    """

    atoms: Atoms
    rounds: int
    unstable_before: int
    energy_gained: float
    largest_displacement: float


def relax_to_minimum(
    atoms: Atoms,
    calculator: object,
    *,
    fmax: float = 1e-3,
    steps: int = 2000,
    relax_cell: bool = False,
    rounds: int = ROUNDS,
    options: HessianOptions = HessianOptions(),
) -> Minimum:
    """Relax a structure, step down along its unstable modes, and again, until there are none.

    In every round all unstable modes share a step of 0.1 Å in which the softest weigh most; of
    the relaxations from its two ends that of the lower energy counts. Modes are those at Γ of the
    cell: what doubles it is not seen, repeat the cell for that.

    Parameters
    ----------
    atoms : Atoms
    calculator : ASE calculator or factory
    fmax : float, eV/Å
        Largest force that may be left on an atom.
    steps : int
        Most steps of each relaxation.
    relax_cell : bool
        Whether the cell relaxes too, to zero stress.
    rounds : int
        Most steps down.
    options : HessianOptions
        Of the Hessians, one more than there are rounds.

    Returns
    -------
    Minimum
        A structure that is a minimum already comes back as it was.

    Raises
    ------
    UnstableStructureError
        If unstable modes are left; it carries the frequencies.
    RelaxationError
        If the first relaxation, or both of a round, do not converge.
    """
    check_integer("rounds", rounds, 1)
    shared = resolve_calculator(calculator)

    def relaxed(start: Atoms) -> Atoms:
        return relax(start, shared, fmax=fmax, steps=steps, relax_cell=relax_cell)

    first = current = relaxed(atoms)
    frequencies, pattern = _unstable_modes(first, shared, options)
    n_before, gained, number = _n_unstable(frequencies), 0.0, 0
    while _n_unstable(frequencies) and number < rounds:
        number += 1
        lower = _lower_side(current, pattern, relaxed)
        gained = current.get_potential_energy() - lower.get_potential_energy()
        current = lower
        frequencies, pattern = _unstable_modes(current, shared, options)
    if n_left := _n_unstable(frequencies):
        raise UnstableStructureError(
            f"atoms: {n_left} unstable modes are left after {rounds} rounds, the last of which "
            f"gained {gained:.3g} eV (lowest ħω {1e3 * frequencies[0]:.4g} meV, imaginary as "
            "negative); allow more rounds, or a smaller fmax where they gain next to nothing",
            frequencies,
            n_left,
        )
    energy = first.get_potential_energy() - current.get_potential_energy()
    return Minimum(current, number, n_before, energy, _largest_displacement(first, current))


def _n_unstable(frequencies: Array) -> int:
    return int(np.sum(frequencies < 0))


def _unstable_modes(
    atoms: Atoms, calculator: object, options: HessianOptions
) -> tuple[Array, Array]:
    """ħω of all modes at Γ, eV, and the sum of the unstable ones, each times |ω|, shape (N, 3)."""
    hessian, _ = HessianSource(calculator, None).checked(atoms, options)
    system = HarmonicSystem(atoms, hessian, free=free_atoms(atoms), unstable="any")
    frequencies, n = system.frequencies, system.n_unstable
    patterns = system.patterns(system.modes.eigenvectors[:, :n], system.masses)
    return frequencies, np.tensordot(frequencies[:n], patterns, axes=1)


def _lower_side(atoms: Atoms, pattern: Array, relaxed: Callable[[Atoms], Atoms]) -> Atoms:
    """The lower one of two structures down from a saddle; one is enough."""
    found, failure = [], None
    for side in both_sides(atoms, pattern):
        try:
            found.append(relaxed(side))
        except RelaxationError as error:
            failure = error
    if not found and failure is not None:
        raise failure
    return min(found, key=lambda one: float(one.get_potential_energy()))


def _largest_displacement(first: Atoms, last: Atoms) -> float:
    """Of an atom of the same structure, Å, but for a shift of all and the change of the cell."""
    start: Atoms = first.copy()
    start.set_constraint()
    start.set_cell(last.cell, scale_atoms=True)
    difference = find_mic(last.positions - start.positions, last.cell, last.pbc)[0]
    if len(free_atoms(first)) == len(first):
        difference -= difference.mean(axis=0)
    return float(np.linalg.norm(difference, axis=1).max())
