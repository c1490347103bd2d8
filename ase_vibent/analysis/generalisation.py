"""What a model fitted to small cells gets wrong in large ones, [Ortner2022].

The reference has the potential energy E(u), the surrogate Ẽ(u). How well they match in a training
cell (`TrainingCell`) bounds how far their equilibria are apart in a large cell with several defects
(`defect_errors`), [Ortner2022] Theorem 3.1:

    geometry ≲ √n (ε^F + L^(-d/2) ε^FC_hom + L^(-3d/2)),
    energy ≲ n (geometry² / n + L^(-d) + ε^E)

with n defects and training cells of width L in d dimensions.

Energies are always those of formation, against the perfect crystal of the same model: constants
of an atom, which models have as they like, then drop out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.geometry import find_mic

from ase_vibent.analysis.energy_norm import EnergyNorm
from ase_vibent.analysis.matching import (
    REACH,
    MatchingConditions,
    check_cells,
    evaluate,
    formation_energy,
)
from ase_vibent.arrays import Array
from ase_vibent.checks import check_positive
from ase_vibent.errors import LostStateError
from ase_vibent.potentials import resolve_calculator
from ase_vibent.stationary.relaxation import relax
from ase_vibent.structures.displacements import nearest_distance

#: Atoms of one state are closer than this, in nearest-neighbour distances.
SAME_STATE = 0.3


@dataclass(frozen=True)
class DefectErrors:
    """How far a surrogate is from its reference in a cell with defects.

    Attributes
    ----------
    geometry : float, Å
        ‖Dū - Dũ‖ of both minima, [Ortner2022] (3.7).
    energy : float, eV
        Ẽ(ũ) - E(ū), energies of formation, [Ortner2022] (3.8).
    static_energy : float, eV
        Ẽ(ū) - E(ū): the error where the reference's minimum is known.
    largest_displacement : float, Å
        Of an atom, between the minima.
    minimum : Atoms
        The surrogate's, with its energy and forces.
    """

    geometry: float
    energy: float
    static_energy: float
    largest_displacement: float
    minimum: Atoms


class TheoremBounds(NamedTuple):
    """Right-hand sides of [Ortner2022] (3.7), (3.8) without their constants C^G and C^E.

    Attributes
    ----------
    geometry, energy : float
        Errors are at most proportional to them, in eV, Å and the unit of the width.
    """

    geometry: float
    energy: float


def theorem_bounds(
    conditions: MatchingConditions, width: float, *, n_defects: int = 1, dimension: int = 3
) -> TheoremBounds:
    """What [Ortner2022] Theorem 3.1 says of errors in a large cell.

    Parameters
    ----------
    conditions : MatchingConditions
        In the training cell; largest over its samples, where the theorem has a whole neighbourhood.
    width : float
        L of the training cell, in lattice constants.
    n_defects : int
        In the large cell.
    dimension : int

    Returns
    -------
    TheoremBounds
    """
    check_positive("width", width, "lattice constants")
    decay = width ** (-dimension / 2)
    of_one = conditions.forces + decay * conditions.homogeneous + decay**3
    return TheoremBounds(
        np.sqrt(n_defects) * of_one, n_defects * (of_one**2 + decay**2 + conditions.energy)
    )


def defect_errors(
    minimum: Atoms,
    crystal: Atoms,
    surrogate: object,
    *,
    components: Sequence[int] = (0, 1, 2),
    fmax: float = 1e-4,
    steps: int = 5000,
) -> DefectErrors:
    """Relax a cell with defects with the surrogate, and compare with the reference.

    The surrogate starts from the reference's minimum: [Ortner2022] (3.7), (3.8) are about its
    equilibrium next to that.

    Parameters
    ----------
    minimum : Atoms
        Relaxed with the reference, as by `relax`, whose energy it carries.
    crystal : Atoms
        Perfect crystal in the same cell, with the energy of the reference.
    surrogate : ASE calculator or factory
    components : sequence of int
        Cartesian components that count.
    fmax : float, eV/Å
        Of the surrogate's relaxation; what the reference left on its minimum is an error too.
    steps : int
        Most steps of the relaxation.

    Returns
    -------
    DefectErrors

    Raises
    ------
    LostStateError
        If the surrogate relaxes into another state.
    InvalidStructureError
        If the structures do not belong together.
    RelaxationError, CalculatorError
    """
    check_cells(minimum, crystal, "minimum")
    exact, exact_crystal = (
        evaluate(atoms, None, name) for atoms, name in ((minimum, "minimum"), (crystal, "crystal"))
    )
    surrogate = resolve_calculator(surrogate)
    spacing = nearest_distance(crystal)
    norm = EnergyNorm(minimum, REACH * spacing, components)
    own_crystal = evaluate(crystal, surrogate, "crystal")
    start = evaluate(minimum, surrogate, "minimum")
    own = relax(minimum, surrogate, fmax=fmax, steps=steps)
    displacements = _displacements(minimum, own)
    lengths = np.linalg.norm(displacements, axis=1)
    if lengths.max() > SAME_STATE * spacing:
        raise LostStateError(
            f"surrogate: lost the state: atom {lengths.argmax()} went {lengths.max():.2f} Å from "
            f"its place in the reference's minimum, more than {SAME_STATE} nearest-neighbour "
            "distances; improve the model, or train it on this state"
        )
    energy = formation_energy(exact, exact_crystal)
    return DefectErrors(
        norm(displacements),
        formation_energy(own, own_crystal) - energy,
        formation_energy(start, own_crystal) - energy,
        float(lengths.max()),
        own,
    )


def _displacements(start: Atoms, end: Atoms) -> Array:
    """Shape (N, 3), Å, without that of the whole."""
    vectors: Array = find_mic(end.positions - start.positions, start.cell, start.pbc)[0]
    return vectors - vectors.mean(axis=0)
