"""Potential energies as the target: forces, virials and force constants are their derivatives.

Linear ACE potentials, [Ortner2022] 4.1. An energy is extensive as it stands, so that no frame needs
a perfect crystal; where there is one, it is the centre of the features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from ase_vibent import dataset
from ase_vibent.arrays import Array
from ase_vibent.errors import LabelError
from ase_vibent.quantities import ENERGY, Target, TargetName, how_to_label
from ase_vibent.training.targets import FrameTargets, ReferenceCrystals, frame_weight


class EnergyReferences(ReferenceCrystals):
    """Perfect crystals of a dataset, and the targets of its frames: potential energies, in eV.

    Parameters
    ----------
    frames : sequence of Atoms
        Their labels are `vibent_energy` and the like, or else results of their ASE calculators.
    """

    target: ClassVar[Target] = ENERGY

    def _check(self, frames: Sequence[Atoms]) -> None:
        """Nothing to check: energies of different cells need no common reference."""

    def known_constants(self, species: Sequence[str]) -> Mapping[str, float]:
        """None: all are fitted, see `SiteProblem.fit`."""
        return {}

    def targets(self, atoms: Atoms, number: int | str = 0) -> FrameTargets:
        """Targets of a frame, see `ReferenceCrystals.targets`; LabelError if it has none."""
        atoms = with_energy_labels(atoms)
        keys = {quantity.key for quantity in self.target.fitted.values()}
        if not keys.intersection({**atoms.info, **atoms.arrays}):
            raise LabelError(
                f"frame {number}: has no energy, forces, virial or force constants; make them with "
                f"{how_to_label('energies')}, or keep the calculator that gave them on the frame"
            )
        energy = _label(atoms.info, dataset.ENERGY, ())
        forces = _label(atoms.arrays, dataset.FORCES, (len(atoms), 3))
        rows, displaced = force_constants(atoms)
        return FrameTargets(
            None if energy is None else float(energy),
            gradient=None if forces is None else -forces,
            strain=_label(atoms.info, dataset.ENERGY_STRAIN, (3, 3)),
            force_constants=rows,
            displaced=displaced,
            weight=frame_weight(atoms),
        )


def force_constants(
    atoms: Atoms,
) -> tuple[Array, NDArray[np.int64]] | tuple[None, None]:
    """Rows of the Hessian that a frame is labelled with, and the atoms that they belong to.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    rows : ndarray, shape (m, 3, N, 3), eV/Å², or None
    displaced : ndarray of int, shape (m,), or None
    """
    rows = atoms.arrays.get(dataset.FORCE_CONSTANTS)
    if rows is None:
        return None, None
    displaced = np.ravel(atoms.info[dataset.DISPLACED])
    by_atom = rows.reshape(len(atoms), len(displaced), 3, 3)
    return by_atom.transpose(1, 2, 0, 3), displaced


def _label(labels: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Array | None:
    """One label of a frame in its shape, or None."""
    value = labels.get(name)
    return None if value is None else np.reshape(np.asarray(value, dtype=float), shape)


def with_energy_labels(atoms: Atoms) -> Atoms:
    """A frame that keeps results of its ASE calculator, if any, under the names of our labels.

    Parameters
    ----------
    atoms : Atoms
        Labels that it has already are left alone. So is a calculator without finished results.

    Returns
    -------
    Atoms
        The same object where there is nothing to add.
    """
    if atoms.calc is None:
        return atoms
    labelled: Atoms = atoms.copy()
    labelled.calc = atoms.calc
    # Forces belong to the free energy of smeared electrons, where a calculator has that.
    free_energy, energy = _result(atoms, "free_energy"), _result(atoms, "energy")
    energy = energy if free_energy is None else free_energy
    forces, stress = _result(atoms, "forces"), _result(atoms, "stress")
    if energy is not None:
        labelled.info.setdefault(dataset.ENERGY, float(energy))
    if forces is not None and dataset.FORCES not in labelled.arrays:
        labelled.arrays[dataset.FORCES] = np.array(forces, dtype=float)
    if stress is not None and atoms.cell.rank == 3:
        full = stress if np.shape(stress) == (3, 3) else voigt_6_to_full_3x3_stress(stress)
        strain = atoms.get_volume() * np.asarray(full)
        labelled.info.setdefault(dataset.ENERGY_STRAIN, strain)
    return labelled


def _result(atoms: Atoms, name: str) -> Any:
    """Finished result of a frame's calculator, or None."""
    calculator: Any = atoms.calc
    try:
        return calculator.get_property(name, atoms, allow_calculation=False)
    except PropertyNotImplementedError:
        return None


#: How a dataset tells of what is to be learned.
REFERENCES: dict[TargetName, type[ReferenceCrystals]] = {
    kind.target.name: kind for kind in (ReferenceCrystals, EnergyReferences)
}
