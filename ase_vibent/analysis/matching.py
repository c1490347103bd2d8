"""How well a surrogate matches its reference in a training cell, [Ortner2022] (3.3) to (3.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from ase_vibent.analysis.energy_norm import EnergyNorm
from ase_vibent.arrays import Array
from ase_vibent.checks import check_positive
from ase_vibent.errors import CalculatorError, InvalidInputError, InvalidStructureError
from ase_vibent.hessian import compute_hessian
from ase_vibent.potentials import resolve_calculator, with_results
from ase_vibent.structures.cells import widths
from ase_vibent.structures.displacements import nearest_distance
from ase_vibent.structures.validity import starting_copy

#: Neighbours of the norm are this much farther apart than the crystal's closest atoms at most:
#: the first shell of most crystals, the first two of bcc.
REACH = 1.2
#: Hessians of more atoms are sparse.
SPARSE = 500


@dataclass(frozen=True)
class MatchingConditions:
    """How far a surrogate is from its reference in a training cell.

    Attributes
    ----------
    energy : float, eV
        ε^E of [Ortner2022] (3.3), largest over the samples; of the energy of formation.
    energy_rmse : float, eV
    forces : float, eV/Å
        ε^F of [Ortner2022] (3.4), in the dual of ‖Du‖, largest over the samples.
    forces_rmse : float, eV/Å
        Of a component.
    force_constants : float, eV/Å²
        ε^FC of [Ortner2022] (3.5), at the defect's minimum.
    homogeneous : float, eV/Å²
        ε^FC_hom of [Ortner2022] (3.6), in the crystal.
    relative_force_constants, relative_homogeneous : float
        The same over the norm of the reference's force constants.
    """

    energy: float
    energy_rmse: float
    forces: float
    forces_rmse: float
    force_constants: float
    homogeneous: float
    relative_force_constants: float
    relative_homogeneous: float

    def __str__(self) -> str:
        units = {"energy": "eV", "forces": "eV/Å"}
        lines = []
        for field in fields(self):
            unit = next((u for name, u in units.items() if field.name.startswith(name)), "eV/Å²")
            unit = "" if field.name.startswith("relative") else unit
            lines.append(f"{field.name:<25} {getattr(self, field.name):.4g} {unit}".rstrip())
        return "\n".join(lines)


class TrainingCell:
    """What the reference says of a training cell, and how well surrogates match it.

    Parameters
    ----------
    minimum : Atoms
        Cell with one defect, relaxed with the reference.
    crystal : Atoms
        Perfect crystal in the same cell.
    samples : sequence of Atoms
        The ball around the minimum, such as of `displaced_samples`; [Ortner2022] takes the largest
        error over all of it, these are what stands for it.
    reference : ASE calculator or factory, optional
        None takes energies and forces that all structures carry, and leaves force constants out.
    components : sequence of int
        Cartesian components that count: (0, 1) for a sheet that stays in its plane.
    cutoff : float, Å, optional
        Of the models: cells in which a defect meets its own image are then refused.

    Raises
    ------
    InvalidStructureError
        If the structures do not belong together, the cell is too narrow, or the reference's crystal
        or minimum is not stable.
    """

    def __init__(
        self,
        minimum: Atoms,
        crystal: Atoms,
        samples: Sequence[Atoms],
        *,
        reference: object | None = None,
        components: Sequence[int] = (0, 1, 2),
        cutoff: float | None = None,
    ):
        check_cells(minimum, crystal, "minimum")
        if not samples:
            raise InvalidInputError("samples: expected structures around the minimum, got none")
        for number, sample in enumerate(samples):
            _check_same_atoms(sample, minimum, f"sample {number}")
        if cutoff is not None:
            check_wide_enough(crystal, cutoff)
        self.components = sorted(set(components))
        reach = REACH * nearest_distance(crystal)
        self.norm = EnergyNorm(minimum, reach, components)
        self.crystal_norm = EnergyNorm(crystal, reach, components)
        self.reference = None if reference is None else resolve_calculator(reference)
        self.minimum, self.crystal = (
            evaluate(atoms, self.reference, name)
            for atoms, name in ((minimum, "minimum"), (crystal, "crystal"))
        )
        self.samples = [
            evaluate(sample, self.reference, f"sample {number}")
            for number, sample in enumerate(samples)
        ]

    def matching_conditions(self, surrogate: object) -> MatchingConditions:
        """Errors of a surrogate, [Ortner2022] (3.3) to (3.6).

        Parameters
        ----------
        surrogate : ASE calculator or factory

        Returns
        -------
        MatchingConditions
            Without a reference, force constants are NaN.

        Raises
        ------
        CalculatorError
        InvalidStructureError
            If the crystal is not stable with the surrogate.
        """
        surrogate = resolve_calculator(surrogate)
        crystal = evaluate(self.crystal, surrogate, "crystal")
        energies, forces = [], []
        for number, sample in enumerate(self.samples):
            own = evaluate(sample, surrogate, f"sample {number}")
            energies.append(formation_energy(own, crystal) - formation_energy(sample, self.crystal))
            forces.append(_forces(own) - _forces(sample))
        counted = np.array(forces)[:, :, self.components]
        constants = [float("nan")] * 4 if self.reference is None else self._constants(surrogate)
        return MatchingConditions(
            float(np.abs(energies).max()),
            _rms(energies),
            max(self.norm.dual(f) for f in forces),
            _rms(counted),
            *constants,
        )

    @property
    def stability(self) -> float:
        """Smallest ⟨δ²E(ū)v, v⟩ / ‖Dv‖² of the reference at the minimum, eV/Å².

        [Ortner2022] (6.10).

        A surrogate with ε^FC beyond it may have no minimum there.
        """
        return self._exact[0].stability

    def _constants(self, surrogate: Any) -> list[float]:
        """Errors of force constants in minimum and crystal, then both relative."""
        exact = self._exact
        own = _hessian(self.crystal, surrogate)
        _check_stable(self.crystal_norm.extremes(own)[0], "crystal: the surrogate's lattice")
        matrices = (_hessian(self.minimum, surrogate), own)
        norms = (self.norm, self.crystal_norm)
        errors = [
            norm.operator(matrix - known.hessian)
            for norm, matrix, known in zip(norms, matrices, exact, strict=True)
        ]
        relative = [error / known.norm for error, known in zip(errors, exact, strict=True)]
        return [*errors, *relative]

    @cached_property
    def _exact(self) -> list[_ForceConstants]:
        """Of minimum and crystal, by the reference; stable."""
        found = []
        for atoms, norm, name in (
            (self.minimum, self.norm, "minimum: the reference's structure"),
            (self.crystal, self.crystal_norm, "crystal: the reference's lattice"),
        ):
            hessian = _hessian(atoms, self.reference)
            lowest, highest = norm.extremes(hessian)
            _check_stable(lowest, name)
            found.append(_ForceConstants(hessian, lowest, highest))
        return found


class _ForceConstants(NamedTuple):
    """A stable Hessian, its stability constant and its norm, eV/Å²."""

    hessian: Any
    stability: float
    norm: float


def displaced_samples(
    minimum: Atoms,
    radius: float,
    count: int,
    rng: np.random.Generator | int = 0,
    *,
    components: Sequence[int] = (0, 1, 2),
) -> list[Atoms]:
    """Random samples of the ball around a minimum.

    [Ortner2022] 4.1.2: components uniform in ± radius.

    Parameters
    ----------
    minimum : Atoms
    radius : float, Å
    count : int
    rng : Generator or seed
    components : sequence of int
        Cartesian components that are displaced.

    Returns
    -------
    list of Atoms
    """
    check_positive("radius", radius)
    rng = np.random.default_rng(rng)
    axes = sorted(set(components))
    samples = []
    for _ in range(count):
        sample = starting_copy(minimum)
        sample.positions[:, axes] += rng.uniform(-radius, radius, (len(sample), len(axes)))
        samples.append(sample)
    return samples


def check_wide_enough(crystal: Atoms, cutoff: float) -> None:
    """Raise unless a cell is so wide that no atom feels one atom and its image at once.

    Parameters
    ----------
    crystal : Atoms
    cutoff : float, Å

    Raises
    ------
    InvalidStructureError
        If it is narrower than twice the cutoff along a periodic direction.
    """
    check_positive("cutoff", cutoff)
    width = float(widths(crystal).min(initial=np.inf))
    if width < 2 * cutoff:
        raise InvalidStructureError(
            f"crystal: the cell is {width:.2f} Å wide, less than twice the cutoff of {cutoff:.2f} "
            "Å, so that a defect meets its own image; train in a larger cell"
        )


def evaluate(atoms: Atoms, calculator: Any, name: str) -> Atoms:
    """Copy with energy and forces: of the calculator, or with None those that it carries."""
    if calculator is None:
        if atoms.calc is None:
            raise InvalidInputError(
                f"{name}: carries no energy of the reference; relax or evaluate it with that"
            )
        return with_results(atoms)
    found = with_results(starting_copy(atoms), calculator)
    if not (np.isfinite(found.get_potential_energy()) and np.all(np.isfinite(_forces(found)))):
        raise CalculatorError(f"calculator: energy or forces of the {name} are not finite")
    return found


def _forces(atoms: Atoms) -> Array:
    forces: Array = atoms.get_forces(apply_constraint=False)
    return forces


def formation_energy(defect: Atoms, crystal: Atoms) -> float:
    """Against the perfect crystal of as many atoms, eV."""
    share = len(defect) / len(crystal)
    return float(defect.get_potential_energy() - share * crystal.get_potential_energy())


def _hessian(atoms: Atoms, calculator: Any) -> Any:
    return compute_hessian(starting_copy(atoms), calculator, sparse=len(atoms) > SPARSE)


def _rms(values: ArrayLike) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _check_stable(lowest: float, name: str) -> None:
    if lowest <= 0:
        raise InvalidStructureError(
            f"{name} is unstable: ⟨δ²E v, v⟩ = {lowest:.3g} eV/Å² ‖Dv‖² for some v; relax the "
            "structure, or take the lattice constant of this potential"
        )


def check_cells(defect: Atoms, crystal: Atoms, name: str) -> None:
    """Raise InvalidStructureError unless a defect and a crystal share cell and species."""
    if not np.array_equal(defect.pbc, crystal.pbc) or not np.allclose(
        defect.cell.array, crystal.cell.array, atol=1e-5
    ):
        raise InvalidStructureError(
            f"{name}: its cell {np.round(defect.cell.cellpar(), 3).tolist()} is not that of the "
            f"crystal, {np.round(crystal.cell.cellpar(), 3).tolist()}; both need the same supercell"
        )
    if set(defect.symbols) != set(crystal.symbols) or len(set(crystal.symbols)) > 1:
        raise InvalidStructureError(
            f"{name}: {defect.symbols} in {crystal.symbols}: energies of formation against the "
            "crystal need one and the same species"
        )


def _check_same_atoms(sample: Atoms, minimum: Atoms, name: str) -> None:
    if not np.array_equal(sample.numbers, minimum.numbers):
        raise InvalidStructureError(
            f"{name}: its atoms are not those of the minimum, in the same order "
            f"({sample.symbols} and {minimum.symbols})"
        )
    if not np.allclose(sample.cell.array, minimum.cell.array, atol=1e-5):
        raise InvalidStructureError(f"{name}: its cell is not that of the minimum")
