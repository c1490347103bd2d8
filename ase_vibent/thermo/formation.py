"""Formation energies, entropies and free energies of defects, and how many there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import kB
from numpy.typing import ArrayLike

from ase_vibent.arrays import Array
from ase_vibent.calculators.base import EntropyCalculator
from ase_vibent.calculators.surrogate import SiteEntropyCalculator
from ase_vibent.checks import check_positive
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.harmonic.thermodynamics import Vibrations, check_temperatures
from ase_vibent.stationary.checks import (
    FMAX,
    is_free_of_stress,
    potential_behind,
    stationary_energy,
)
from ase_vibent.structures.symmetry import defect_multiplicity, n_primitive_cells
from ase_vibent.structures.validity import check_crystal, check_structure, free_atoms
from ase_vibent.thermo.dilute import change_in_larger_cell, check_dilute
from ase_vibent.thermo.elastic_entropy import (
    TemperatureChanges,
    image_entropies,
    relaxed_cell_vibrations,
    temperature_changes,
    usual_image_entropy,
)
from ase_vibent.thermo.elasticity import (
    elastic_dipole,
    image_energy,
    known_constants,
    relaxed_cell_correction,
)
from ase_vibent.thermo.reservoirs import Reservoir, Surroundings, excess_atoms

VOLUME, PRESSURE = "constant volume", "constant pressure"
#: Å: cells that differ by less are one.
SAME_CELL = 1e-5
#: cm³ in Å³.
CUBIC_CENTIMETRE = 1e24


@dataclass(frozen=True)
class DefectFormation:
    """What it takes to make one defect.

    Attributes
    ----------
    energy : float, eV
        NaN where no energies are known.
    vibrations : Vibrations
        Formation entropy and vibrational formation free energy against temperature.
    excess : dict of str to int
        Atoms that the defect has more than the crystal.
    condition : {"constant volume", "constant pressure"}
        Of energy and entropy alike.
    n_atoms : int
        Of the perfect cell.
    entropy_std : float, eV/K
        Of the entropy, as a model predicts it; of an exact one the estimated error, by mesh,
        sharing among images and finite differences. NaN where it is unknown. What images hold
        back of the relaxation is in it where the image energy is known: the image entropy itself,
        or its usual size.
    multiplicity : float
        Equivalent defects per primitive cell of the crystal; NaN where symmetry cannot tell.
    cell_volume : float, Å³
        Of that primitive cell.
    image_energy : float, eV
        What elasticity says that periodic images hold back, to be added to the energy of one defect
        alone; NaN where it is unknown.
    image_entropies : ndarray, shape (n,), eV/K
        The same of the formation entropy; NaN where it is unknown or was not asked for.
    small_cell : DefectFormation or None
        What this one was taken to the dilute limit from.
    other_condition : DefectFormation or None
        What this one was taken from by elasticity to the condition that was asked for.
    """

    energy: float
    vibrations: Vibrations = field(repr=False)
    excess: dict[str, int]
    condition: str
    n_atoms: int
    entropy_std: float
    multiplicity: float
    cell_volume: float
    image_energy: float = float("nan")
    image_entropies: Array = field(default_factory=lambda: np.array([np.nan]), repr=False)
    small_cell: DefectFormation | None = field(default=None, repr=False)
    other_condition: DefectFormation | None = field(default=None, repr=False)

    @property
    def temperatures(self) -> Array:
        """Shape (n,), K."""
        return self.vibrations.temperatures

    @property
    def entropies(self) -> Array:
        """Vibrational formation entropy, [Lapointe2020] (3), shape (n,), eV/K."""
        return self.vibrations.entropies

    @property
    def free_energies(self) -> Array:
        """Formation free energy E_f + F_vib,f, shape (n,), eV."""
        return self.energy + self.vibrations.free_energies

    @property
    def degeneracy_factors(self) -> Array:
        """exp(-F_vib,f/(k_B T)), shape (n,): what vibrations multiply concentrations by.

        Classically exp(S_f/k_B) at all temperatures. A tool that multiplies degeneracies of a
        defect, as doped does with `DefectEntry.degeneracy_factors`, takes it as one more.
        """
        return np.exp(-self.vibrations.free_energies / (kB * self.temperatures))

    @property
    def is_countable(self) -> bool:
        """Whether energy and multiplicity are known, and with them concentrations."""
        return not (np.isnan(self.energy) or np.isnan(self.multiplicity))

    @property
    def concentrations(self) -> Array:
        """Defects per primitive cell in equilibrium, dilute: g exp(-F_f/(k_B T)), shape (n,).

        Raises
        ------
        InvalidInputError
            If the formation energy or the multiplicity is unknown.
        """
        if np.isnan(self.multiplicity):
            raise InvalidInputError(
                "multiplicity: symmetry has not counted the defect's orientations: its supercell "
                "is less symmetric than the crystal, or very large; pass multiplicity="
            )
        if np.isnan(self.energy):
            raise InvalidInputError(
                "energy: a concentration needs a formation energy; pass a potential, or energy= "
                "and its condition="
            )
        return self.multiplicity * np.exp(-self.free_energies / (kB * self.temperatures))

    @property
    def densities(self) -> Array:
        """Defects per cm³ in equilibrium, shape (n,)."""
        return self.concentrations / self.cell_volume * CUBIC_CENTIMETRE

    def with_energy(self, energy: float, condition: str) -> DefectFormation:
        """The same with a formation energy from elsewhere, as from density-functional theory.

        Parameters
        ----------
        energy : float, eV
        condition : {"constant volume", "constant pressure"}

        Returns
        -------
        DefectFormation

        Raises
        ------
        InvalidInputError
            If the entropy belongs to the other condition: that is a mixture which is neither.
        """
        check_condition(condition)
        if condition != self.condition:
            raise InvalidInputError(
                f"condition: an energy at {condition} does not go with an entropy at "
                f"{self.condition}; take the defect's cell "
                + ("as the crystal's" if condition == VOLUME else "relaxed to zero stress")
            )
        return replace(self, energy=float(energy))


def defect_formation(
    defect: Atoms,
    crystal: Atoms,
    calculator: EntropyCalculator,
    temperatures: ArrayLike = 300.0,
    *,
    potential: object | None = None,
    chemical_potentials: Mapping[str, float | Reservoir] | None = None,
    multiplicity: float | None = None,
    surrogate: SiteEntropyCalculator | None = None,
    cell: Atoms | None = None,
    condition: str | None = None,
    image_entropy: bool = False,
    fmax: float = FMAX,
) -> DefectFormation:
    """Energy, entropy and free energy of formation of a defect, [Lapointe2020] (3), (15).

    S_f = S(defect) - S(crystal) - Σ n_z s_z, where n_z counts the atoms of species z that the
    defect has more, and s_z is what one has in the infinite crystal: the translations that both
    cells lack cancel. The energy likewise, from the same two structures.

    Parameters
    ----------
    defect : Atoms
        Relaxed, in the crystal's cell (constant volume) or in a cell relaxed to zero stress
        (constant pressure).
    crystal : Atoms
        Perfect crystal in the same supercell.
    calculator : EntropyCalculator
        Exact or surrogate.
    temperatures : float or array_like, shape (n,), K
    potential : ASE calculator or factory, optional
        For energies and forces. By default the one behind an exact calculator, or energies that
        both structures carry from calculations before; without any, energies are NaN.
    chemical_potentials : mapping of str to float (eV) or Reservoir, optional
        For compounds whose composition the defect changes, and for impurities. One of the
        crystal's species may be left out. A number is a static energy; vibrations are then those of
        an average atom of the crystal.
    multiplicity : float, optional
        Equivalent defects per primitive cell of the crystal, orientations included; by default
        symmetry counts them.
    surrogate : SiteEntropyCalculator, optional
        Takes an exact entropy from this cell to a larger one, in which the defect is relaxed by the
        potential: S_f + [S_f of the model, larger cell] - [S_f of the model, this cell].
    cell : Atoms, optional
        Perfect crystal in that larger supercell, as `crystal * 2`.
    condition : {"constant volume", "constant pressure"}, optional
        Elasticity takes a formation there from the other one, which the cells are in: the dipole
        strains the crystal, whose energy and entropy follow. By default it stays what it is.
    image_entropy : bool
        Whether elasticity is asked, too, for what periodic images do to the entropy; see
        `elastic_entropy.temperature_changes` for the cost.
    fmax : float, eV/Å
        Largest force that either structure may have. Symmetry is told to 0.02 Å only: with a
        larger force, give the multiplicity.

    Returns
    -------
    DefectFormation

    Raises
    ------
    InvalidStructureError
        If a structure is not at rest, or the two cells do not belong together.
    InvalidInputError
        If a chemical potential is missing, or a condition needs stresses that nothing gives.
    UnstableStructureError
        If a structure is no minimum.
    """
    check_condition(condition)
    check_crystal(crystal)
    check_structure(defect)
    chosen = check_temperatures(temperatures)
    behind = potential_behind(calculator, potential)
    check_dilute(surrogate, cell, calculator, behind)
    fixed = [len(atoms) - len(free_atoms(atoms)) for atoms in (defect, crystal)]
    if fixed[0] != fixed[1]:
        raise InvalidStructureError(
            f"defect: {fixed[0]} of its atoms are fixed, {fixed[1]} of the crystal's; fix the same "
            "atoms, or none"
        )
    energy, resting = stationary_energy(defect, behind, "defect", fmax)
    crystal_energy, resting_crystal = stationary_energy(crystal, behind, "crystal", fmax)
    given = _condition(resting, resting_crystal)
    excess = excess_atoms(defect, crystal)
    surroundings = Surroundings(crystal, crystal_energy, calculator, chosen, chemical_potentials)
    reservoir = surroundings.of(excess)
    if multiplicity is not None:
        check_positive("multiplicity", multiplicity)
    constants = known_constants(crystal, behind)
    if condition not in (None, given) and constants is None:
        raise InvalidInputError(
            f"condition: from {given} to {condition} elasticity needs a potential that gives "
            "stresses"
        )
    # The crystal, of which the reservoir may be made, first: calculators keep the last structure.
    whole = calculator.vibrations(crystal, chosen)
    formed = calculator.vibrations(defect, chosen) - whole - reservoir.vibrations
    found = DefectFormation(
        energy=energy - crystal_energy - reservoir.energy,
        vibrations=formed,
        excess=excess,
        condition=given,
        n_atoms=len(crystal),
        entropy_std=known_std(calculator.predicted_std(defect, chosen), formed),
        multiplicity=_multiplicity_or_nan(defect, crystal)
        if multiplicity is None
        else float(multiplicity),
        cell_volume=crystal.get_volume() / n_primitive_cells(crystal),
    )
    changes = None
    if image_entropy and constants is not None:
        changes = temperature_changes(defect, crystal, calculator, behind, chosen)
    elastic = _Elasticity(calculator, behind, constants, changes, condition or given)
    alone = elastic.of(found, defect, crystal)
    if surrogate is None or cell is None:
        return alone
    change = change_in_larger_cell(
        defect,
        crystal,
        cell,
        surrogate,
        behind,
        chosen,
        relax_cell=given == PRESSURE,
    )
    dilute = replace(
        found,
        energy=change.energy - reservoir.energy,
        vibrations=formed + change.vibrations,
        n_atoms=len(cell),
        entropy_std=float(np.hypot(found.entropy_std, change.entropy_std)),
        small_cell=alone,
    )
    return elastic.of(dilute, change.defect, cell)


@dataclass(frozen=True)
class _Elasticity:
    """What elasticity adds to formations of one defect in one crystal.

    Attributes
    ----------
    calculator : EntropyCalculator
    potential : ASE calculator, or None
    constants : ndarray, shape (3, 3, 3, 3), eV/Å³, or None
    changes : TemperatureChanges, or None
        None where image entropies are not asked for.
    condition : {"constant volume", "constant pressure"}
        Wanted.
    """

    calculator: EntropyCalculator
    potential: Any
    constants: Array | None
    changes: TemperatureChanges | None
    condition: str

    def of(self, found: DefectFormation, defect: Atoms, crystal: Atoms) -> DefectFormation:
        """At the wanted condition, with what periodic images hold back."""
        dipole = elastic_dipole(defect, crystal, self.potential, self.constants)
        given = self._with_images(found, dipole, crystal)
        if given.condition == self.condition or self.constants is None:
            return given
        moved = self._moved(found, dipole, self.constants, crystal)
        return replace(self._with_images(moved, dipole, crystal), other_condition=given)

    def _with_images(
        self, found: DefectFormation, dipole: Array, crystal: Atoms
    ) -> DefectFormation:
        relaxed_cell = found.condition == PRESSURE
        energy = image_energy(dipole, self.constants, crystal, relaxed_cell=relaxed_cell)
        entropies = found.image_entropies
        held_back = 0.0 if np.isnan(energy) else usual_image_entropy(energy, dipole)
        if self.constants is not None and self.changes is not None:
            entropies = image_entropies(
                dipole, self.constants, crystal, self.changes, relaxed_cell=relaxed_cell
            )
            held_back = float(np.abs(entropies).max())
        return replace(
            found,
            image_energy=energy,
            image_entropies=entropies,
            entropy_std=float(np.hypot(found.entropy_std, held_back)),
        )

    def _moved(
        self, found: DefectFormation, dipole: Array, constants: Array, crystal: Atoms
    ) -> DefectFormation:
        """From one condition to the other."""
        gained = relaxed_cell_vibrations(
            dipole, constants, crystal, self.calculator, self.potential, found.temperatures
        )
        lowered = relaxed_cell_correction(dipole, constants, crystal.get_volume())
        sign = 1.0 if self.condition == PRESSURE else -1.0
        return replace(
            found,
            energy=found.energy - sign * lowered,
            vibrations=found.vibrations + gained * sign,
            condition=self.condition,
        )


def check_condition(condition: str | None) -> None:
    """Raise InvalidInputError unless it is one of the two, or None."""
    if condition not in (VOLUME, PRESSURE, None):
        raise InvalidInputError(
            f"condition: expected {VOLUME!r} or {PRESSURE!r}, got {condition!r}"
        )


def known_std(predicted: float, vibrations: Vibrations) -> float:
    """A model's standard deviation; of exact entropies their own estimate, eV/K."""
    return vibrations.entropy_std if np.isnan(predicted) else predicted


def _multiplicity_or_nan(defect: Atoms, crystal: Atoms) -> float:
    try:
        return defect_multiplicity(defect, crystal)
    except InvalidStructureError:
        return float("nan")


def _condition(defect: Atoms, crystal: Atoms) -> str:
    """Whether two cells are at the same volume or both without stress."""
    if not np.array_equal(defect.pbc, crystal.pbc):
        raise InvalidStructureError(
            f"defect: periodic along {defect.pbc.tolist()}, the crystal {crystal.pbc.tolist()}; "
            "both need the same supercell"
        )
    difference = np.abs(defect.cell.array - crystal.cell.array).max()
    if difference < SAME_CELL:
        return VOLUME
    lengths = crystal.cell.lengths()
    if np.abs(defect.cell.lengths() / lengths - 1).max() > 0.1:
        raise InvalidStructureError(
            f"defect: its cell {np.round(defect.cell.cellpar(), 3).tolist()} is not that of the "
            f"crystal {np.round(crystal.cell.cellpar(), 3).tolist()}; repeat the crystal to the "
            "same supercell"
        )
    if is_free_of_stress(defect) and is_free_of_stress(crystal):
        return PRESSURE
    raise InvalidStructureError(
        f"defect: its cell differs from the crystal's by {difference:.2g} Å, and not both are "
        "known to be without stress: that is neither constant volume nor constant pressure; keep "
        "the crystal's cell, or relax both cells with the same potential"
    )
