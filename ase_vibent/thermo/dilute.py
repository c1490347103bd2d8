"""From a small cell to a larger one: what a model sees of the relaxation that images held back."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any, NamedTuple

from ase import Atoms
from ase.units import kB

from ase_vibent.arrays import Array
from ase_vibent.calculators.surrogate import SiteEntropyCalculator
from ase_vibent.harmonic.thermodynamics import Vibrations
from ase_vibent.stationary.checks import stationary_energy
from ase_vibent.stationary.relaxation import relax
from ase_vibent.structures.embedding import embed


class LargerCell(NamedTuple):
    """A defect in a larger cell.

    Attributes
    ----------
    defect : Atoms
        Relaxed there.
    energy : float, eV
        Beyond the larger crystal's.
    vibrations : Vibrations
        What formation differs by from that in the small cell.
    entropy_std : float, eV/K
        Of that difference's entropy, as the model predicts it; NaN where it does not know.
    """

    defect: Atoms
    energy: float
    vibrations: Vibrations
    entropy_std: float


def change_in_larger_cell(
    defect: Atoms,
    crystal: Atoms,
    cell: Atoms,
    surrogate: SiteEntropyCalculator,
    potential: Any,
    temperatures: Array,
    *,
    relax_cell: bool,
    fmax: float,
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
    fmax : float, eV/Å
        To which the defect is relaxed.

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
    larger = relax(start, potential, fmax=fmax, relax_cell=relax_cell)
    terms = [(1.0, larger), (-1.0, cell), (-1.0, defect), (1.0, crystal)]
    states = [surrogate.vibrations(atoms, temperatures) * sign for sign, atoms in terms]
    crystal_energy, _ = stationary_energy(cell, potential, "cell", fmax)
    return LargerCell(
        larger,
        float(larger.get_potential_energy()) - crystal_energy,
        reduce(add, states),
        kB * surrogate.model.combination_std(terms),
    )
