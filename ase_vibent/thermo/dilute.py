"""From a small cell to a larger one: what a model sees of the relaxation that images held back."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.geometry import find_mic

from ase_vibent.arrays import Array
from ase_vibent.calculators.base import EntropyCalculator
from ase_vibent.calculators.surrogate import SiteEntropyCalculator
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.thermodynamics import Vibrations
from ase_vibent.stationary.checks import stationary_energy
from ase_vibent.stationary.relaxation import relax
from ase_vibent.stationary.saddles import climb
from ase_vibent.structures.embedding import embed

#: Largest force left in the larger cell, eV/Å: what is looked for there are far, small motions.
FMAX = 1e-4


class LargerCell(NamedTuple):
    """A defect, or a saddle, in a larger cell.

    Attributes
    ----------
    defect : Atoms
        At rest there.
    energy : float, eV
        Beyond the larger crystal's, or the minimum's.
    vibrations : Vibrations
        What formation, or activation, differs by from that in the small cell, with no errors of
        its own.
    entropy_std : float, eV/K
        Of that difference's entropy, as the model predicts it; NaN where it does not know.
    """

    defect: Atoms
    energy: float
    vibrations: Vibrations
    entropy_std: float


def check_dilute(
    surrogate: SiteEntropyCalculator | None,
    cell: Atoms | None,
    calculator: EntropyCalculator,
    potential: Any,
) -> None:
    """Raise InvalidInputError unless a larger cell can be taken, where one is wanted.

    Parameters
    ----------
    surrogate : SiteEntropyCalculator, or None
    cell : Atoms, or None
    calculator : EntropyCalculator
        Of the small cell.
    potential : ASE calculator, or None
    """
    if (surrogate is None) != (cell is None):
        missing = "surrogate" if surrogate is None else "cell"
        raise InvalidInputError(f"{missing}: the dilute limit needs both, surrogate and cell")
    if surrogate is None:
        return
    if not calculator.sees_modes:
        raise InvalidInputError(
            "surrogate: takes exact entropies to a larger cell; a model gives that cell's by itself"
        )
    if potential is None:
        raise InvalidInputError("potential: the dilute limit relaxes the defect in a larger cell")
    if surrogate.parameters["quantum"] != calculator.parameters["quantum"]:
        raise InvalidInputError(
            "surrogate: its statistics are not those of the exact calculator; set quantum alike"
        )


def change_in_larger_cell(
    defect: Atoms,
    crystal: Atoms,
    cell: Atoms,
    surrogate: SiteEntropyCalculator,
    potential: Any,
    temperatures: Array,
    *,
    relax_cell: bool,
) -> LargerCell:
    """A defect relaxed in a larger cell, and what a model says that formation changes by.

    Parameters
    ----------
    defect, crystal : Atoms
        At rest, of the small cell.
    cell : Atoms
        Perfect crystal in a larger supercell.
    surrogate : SiteEntropyCalculator
    potential : ASE calculator
    temperatures : ndarray, shape (n,), K
    relax_cell : bool
        Whether the larger cell relaxes too, as the small one has.

    Returns
    -------
    LargerCell

    Raises
    ------
    InvalidStructureError
        If the larger cell is none of the same crystal.
    RelaxationError
        If the defect does not relax.
    """
    start = embed(defect, crystal, cell)
    larger = relax(start, potential, fmax=FMAX, relax_cell=relax_cell)
    crystal_energy, _ = stationary_energy(cell, potential, "cell")
    return LargerCell(
        larger,
        float(larger.get_potential_energy()) - crystal_energy,
        *_predicted_change(
            surrogate, temperatures, ((larger, 0), (cell, 0)), ((defect, 0), (crystal, 0))
        ),
    )


def barrier_in_larger_cell(
    minimum: Atoms,
    saddle: Atoms,
    crystal: Atoms,
    cell: Atoms,
    surrogate: SiteEntropyCalculator,
    potential: Any,
    temperatures: Array,
) -> LargerCell:
    """A saddle found again in a larger cell, and what a model says that its rate changes by.

    Parameters
    ----------
    minimum, saddle : Atoms
        At rest, of the small cell.
    crystal : Atoms
        Perfect crystal of the small cell, or one that repeats to it.
    cell : Atoms
        Perfect crystal in a larger supercell.
    surrogate : SiteEntropyCalculator
    potential : ASE calculator
    temperatures : ndarray, shape (n,), K

    Returns
    -------
    LargerCell
        The saddle there, its energy and vibrations beyond the minimum's.

    Raises
    ------
    InvalidStructureError
        If the larger cell is none of the same crystal.
    RelaxationError
        If minimum or saddle are not reached.
    """
    step = find_mic(saddle.positions - minimum.positions, minimum.cell, minimum.pbc)[0]
    bottom = embed(minimum, crystal, cell)
    direction = np.zeros((len(bottom), 3))
    direction[-len(minimum) :] = step  # an embedded defect's own atoms come last
    guess = bottom.copy()
    guess.positions += direction
    bottom = relax(bottom, potential, fmax=FMAX)
    top = climb(guess, direction, potential, fmax=FMAX)
    return LargerCell(
        top,
        float(top.get_potential_energy() - bottom.get_potential_energy()),
        *_predicted_change(
            surrogate, temperatures, ((top, 1), (bottom, 0)), ((saddle, 1), (minimum, 0))
        ),
    )


def _predicted_change(
    surrogate: SiteEntropyCalculator,
    temperatures: Array,
    large: tuple[tuple[Atoms, int], tuple[Atoms, int]],
    small: tuple[tuple[Atoms, int], tuple[Atoms, int]],
) -> tuple[Vibrations, float]:
    """Difference of two structures in a large cell less that in a small one, and its deviation.

    Structures come with their number of unstable modes.
    """
    signed = list(zip((1.0, -1.0, -1.0, 1.0), (*large, *small), strict=True))
    states = [
        surrogate.vibrations(atoms, temperatures, n_unstable=n_unstable) * sign
        for sign, (atoms, n_unstable) in signed
    ]
    std = surrogate.combination_std([(sign, atoms) for sign, (atoms, _) in signed], temperatures)
    # What is off is the standard deviation, not an estimate with a sign.
    return replace(reduce(add, states), errors=np.zeros(3)), std
