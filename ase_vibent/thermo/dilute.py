"""From a small cell to a larger one: what a model sees of the relaxation that images held back."""

from __future__ import annotations

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
    """What a defect's formation in a larger cell differs by.

    Attributes
    ----------
    defect : Atoms
        Relaxed in the larger cell.
    energy : float, eV
    vibrations : Vibrations
    entropy_std : float, eV/K
        Of the entropy, as the model predicts it; NaN where it does not know.
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
    """Formation of a defect in a larger cell less that in its own, entropies from a model.

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
    energies, states = [], []
    for sign, atoms in terms:
        energies.append(sign * stationary_energy(atoms, potential, "cell", fmax)[0])
        states.append(surrogate.vibrations(atoms, temperatures) * sign)
    return LargerCell(
        larger,
        sum(energies),
        states[0] + states[1] + states[2] + states[3],
        kB * surrogate.model.combination_std(terms),
    )
