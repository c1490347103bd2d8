"""How far a model is off in larger cells than it was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from ase_vibent import dataset
from ase_vibent.model import FiniteSize, SiteModel
from ase_vibent.training.targets import ReferenceCrystals

#: Usual share of what sites have beyond the crystal's by which a model is off in large cells, with
#: labels of a mesh and of Γ alone: the largest of vacancies in silicon, copper, iron and tungsten,
#: see benchmarks/infinite_crystal.py.
USUAL, USUAL_AT_GAMMA = 0.002, 0.03


def split_larger_cells(frames: Sequence[Atoms]) -> tuple[list[Atoms], list[Atoms]]:
    """Frames to fit, and those larger cells with which the error in large cells is measured.

    Parameters
    ----------
    frames : sequence of Atoms

    Returns
    -------
    fitted, larger : lists of Atoms
        Perfect crystals of larger cells are among the larger.
    """
    larger = [bool(atoms.info.get(dataset.SIZE_CHECK, False)) for atoms in frames]
    return (
        [atoms for atoms, own in zip(frames, larger, strict=True) if not own],
        [atoms for atoms, own in zip(frames, larger, strict=True) if own],
    )


def finite_size(model: SiteModel, frames: Sequence[Atoms], larger: Sequence[Atoms]) -> FiniteSize:
    """Error of a model of crystals in large cells.

    Parameters
    ----------
    model : SiteModel
    frames : sequence of Atoms
        Of the training.
    larger : sequence of Atoms
        From `split_larger_cells`; without any, the share is the usual one.

    Returns
    -------
    FiniteSize

    Raises
    ------
    LabelError
        If a larger cell has no perfect crystal.
    """
    n_atoms = max(len(atoms) for atoms in frames)
    measured = [
        atoms for atoms in larger if dataset.NAME not in atoms.info and len(atoms) > n_atoms
    ]
    if not measured:
        on_mesh = any(dataset.MESH in atoms.info for atoms in frames)
        usual = USUAL if on_mesh else USUAL_AT_GAMMA
        return FiniteSize(np.array(usual), np.array(float(n_atoms)))
    references = ReferenceCrystals(larger)
    errors = []
    for number, atoms in enumerate(measured):
        total = references.targets(atoms, f"larger cell {number}").total
        errors.append(model.evaluate(atoms, gradient=False).values.sum() - total)
    return FiniteSize.measured(n_atoms, np.array(errors), [model.deviations(a) for a in measured])
