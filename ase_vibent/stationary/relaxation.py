"""Relaxation to a stated force."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE, BFGSLineSearch
from numpy.typing import NDArray

from ase_vibent.arrays import Array
from ase_vibent.checks import check_positive
from ase_vibent.errors import CalculatorError, InvalidStructureError, RelaxationError
from ase_vibent.potentials import calculator_failures, resolve_calculator, with_results
from ase_vibent.structures.validity import check_structure, starting_copy

#: Largest displacement of an atom in a step down from a saddle, Å.
DESCENT = 0.1


def relax(
    atoms: Atoms,
    calculator: object,
    *,
    fmax: float = 1e-3,
    steps: int = 2000,
    relax_cell: bool = False,
) -> Atoms:
    """Copy relaxed until no force exceeds a limit; constraints are respected.

    FIRE only ever goes downhill. (L-BFGS and BFGS without line search were seen to climb
    back to the saddle from a start beside one.) Symmetry of the start is kept:
    `relax_to_minimum` leaves the saddles on which that may end.

    Parameters
    ----------
    atoms : Atoms
    calculator : ASE calculator or factory
    fmax : float, eV/Å
        Largest force that may be left on an atom.
    steps : int
        Most steps to take.
    relax_cell : bool
        Whether the cell relaxes too, to zero stress.

    Returns
    -------
    Atoms
        With energy and forces, as a `SinglePointCalculator` keeps them.

    Raises
    ------
    RelaxationError
        If the force is not reached; it carries steps and force.
    CalculatorError
        If the calculator fails or returns NaN.
    InvalidStructureError
        If the cell of a structure that is not periodic along three directions is to relax.
    """
    check_structure(atoms)
    check_positive("fmax", fmax)
    if relax_cell and not atoms.pbc.all():
        raise InvalidStructureError(
            "relax_cell: expected a structure periodic along three directions, got "
            f"pbc={atoms.pbc.tolist()}; keep the cell, or set pbc"
        )
    copy = starting_copy(atoms)
    copy.set_constraint(atoms.copy().constraints)  # they may change as the atoms move
    copy.calc = resolve_calculator(calculator)
    quantity = "forces and stress" if relax_cell else "forces"
    with calculator_failures(copy.calc, quantity, "a relaxation"):
        # A cell's few, stiff degrees of freedom would take FIRE thousands of steps.
        optimizer = (
            BFGSLineSearch(FrechetCellFilter(copy), logfile=None)
            if relax_cell
            else FIRE(copy, logfile=None)
        )
        with warnings.catch_warnings():
            # Of FrechetCellFilter, at errors of 1e-12.
            warnings.filterwarnings("ignore", "logm result may be inaccurate")
            follow(optimizer, fmax, steps, "relaxation")
    return with_results(copy)


def follow(optimizer: Any, fmax: float, steps: int, title: str) -> None:
    """Run an optimizer to the end, or raise.

    Parameters
    ----------
    optimizer : ASE optimizer
    fmax : float, eV/Å
    steps : int
    title : str
        What the error calls it.

    Raises
    ------
    RelaxationError
    CalculatorError
        If a force is not finite.
    """
    for converged in optimizer.irun(fmax=fmax, steps=steps):
        force = largest_force(optimizer.atoms.get_forces())
        if not np.isfinite(force):
            raise CalculatorError("calculator: returned forces that are not finite")
        if converged:
            return
    raise RelaxationError(
        f"{title}: not converged to {fmax:g} eV/Å in {optimizer.nsteps} steps, {force:.3g} eV/Å "
        "left; allow more steps or start closer",
        optimizer.nsteps,
        force,
    )


def largest_force(forces: NDArray[np.float64]) -> float:
    """Length of the longest force; shape (N, 3), eV/Å."""
    return float(np.linalg.norm(forces, axis=1).max(initial=0))


def both_sides(saddle: Atoms, pattern: Array) -> Iterator[Atoms]:
    """Starts of the two ways down from a saddle.

    Parameters
    ----------
    saddle : Atoms
    pattern : ndarray, shape (N, 3)
        Direction of the step, of any length.

    Yields
    ------
    Atoms
        Against the direction first.
    """
    step = DESCENT / np.linalg.norm(pattern, axis=1).max() * pattern
    for sign in (-1, 1):
        side = starting_copy(saddle)
        side.positions += sign * step
        yield side
