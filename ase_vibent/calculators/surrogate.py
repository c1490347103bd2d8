"""The surrogates as ASE calculators: vibrational entropies, and potential energies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import kB
from numpy.typing import ArrayLike

from ase_vibent.arrays import Array
from ase_vibent.calculators.base import EntropyCalculator, require_volume
from ase_vibent.calculators.surrogate_base import Policy, SiteModelCalculator
from ase_vibent.descriptors import SiteSums
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.harmonic.entropy import classical_entropy, mass_entropy, unstable_mass_entropy
from ase_vibent.harmonic.modes import check_masses
from ase_vibent.harmonic.thermodynamics import SiteThermodynamics, Vibrations, check_temperatures
from ase_vibent.model import Prediction, SiteModel
from ase_vibent.quantities import ENERGY, ENTROPY
from ase_vibent.structures.cells import has_volume
from ase_vibent.structures.validity import free_atoms


class SiteEntropyCalculator(SiteModelCalculator, EntropyCalculator):
    """Vibrational entropy and free energy of every atom from a trained site model.

    Linear in the number of atoms and strictly extensive: the values are thermodynamic
    limits with three modes per atom, S_i(T) = k_B [s_i + (3/2) ln m_i + 3 (1 + ln(T/T0))],
    so masses and isotopes are exact. Compare *differences* to the perfect crystal with
    Γ-point references.

    `energy` = `free_energy` = F_vib(T): put it beside a potential in ASE's SumCalculator
    for optimizers, NEB and cell filters on E + F_vib(T). (SumCalculator keeps results of
    its own and sees neither temperature nor masses change: set its `use_cache = False`.)

    Parameters
    ----------
    model : SiteModel or path
        A trained model or its coefficient file.
    temperature : float, K
        May be set later.
    quantum : bool
        Quantum statistics with zero-point energy instead of classical ones, for models trained on
        labels of "moments": each site's density of states by the two-point Gauss quadrature of its
        moments. Made for k_B T above a tenth of the largest ħω; below it, only acoustic modes are
        excited, which two points do not resolve. Masses are then free per species, see
        `MomentModel`. Unstable modes, which `HessianEntropyCalculator` leaves out, count as
        parabolic barriers.
    extrapolation : {"warn", "raise", "ignore"}
        What to do where an atom's extrapolation grade exceeds `EXTRAPOLATION_LIMIT`. "warn"
        looks once in a while, whenever atoms have moved so far that neighbours
        are found anew; "raise" looks at every evaluation. A model without a training domain
        cannot tell.

    Raises
    ------
    InvalidInputError
        If a parameter is out of range, or the model predicts something else.
    ModelFileError
        If the file is none of ours.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase_vibent import SiteEntropyCalculator
    >>> atoms = bulk("Si", a=5.431, cubic=True) * 3
    >>> atoms.calc = SiteEntropyCalculator.from_pretrained("si-sw", temperature=600)
    >>> print(f"{atoms.get_potential_energy() / len(atoms):.3f} eV per atom")
    -0.033 eV per atom
    >>> atoms.calc.get_property("entropies", atoms).shape
    (216,)
    """

    implemented_properties = [  # noqa: RUF012 - the name and the type are ASE's
        *EntropyCalculator.implemented_properties,
        *ENTROPY.deviations,
        "extrapolation_grades",
    ]
    default_parameters: dict[str, Any] = {  # noqa: RUF012 - the name is ASE's
        "temperature": 300.0,
        "model": None,
        "quantum": False,
        "extrapolation": "warn",
    }
    target = ENTROPY

    def __init__(
        self,
        model: SiteModel | str | os.PathLike[str],
        *,
        temperature: float = 300.0,
        quantum: bool = False,
        extrapolation: Policy = "warn",
    ):
        super().__init__(
            model, temperature=temperature, quantum=quantum, extrapolation=extrapolation
        )

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Change parameters; another model needs another calculator."""
        if kwargs.get("quantum"):
            self.model.require_moments()
        return super().set(**kwargs)

    def vibrations(
        self,
        atoms: Atoms,
        temperatures: ArrayLike,
        *,
        n_unstable: int = 0,
        tangent: Array | None = None,
    ) -> Vibrations:
        """See `EntropyCalculator.vibrations`.

        A site model does not see modes: it predicts the sum over as many as its training data
        of such structures had. On a path, these are to be labels of the path (`label_path`).
        """
        if len(free_atoms(atoms)) < len(atoms):
            raise InvalidStructureError(
                "atoms: a site model lets all atoms vibrate, and some are under FixAtoms; remove "
                "the constraint, or take HessianEntropyCalculator"
            )
        if tangent is not None and self.parameters["quantum"]:
            raise InvalidInputError(
                "quantum: moments cannot leave out the motion along a path; use quantum=False"
            )
        n_unstable += tangent is not None
        chosen = check_temperatures(temperatures)
        masses = check_masses(atoms)
        sites = self._predict(atoms, gradient=False).values
        reduced = sites.sum() + mass_entropy(masses).sum()
        reduced += unstable_mass_entropy(masses, n_unstable)
        found = Vibrations.classical(float(reduced), 3 * len(atoms) - n_unstable, chosen)
        if not self.parameters["quantum"]:
            return found
        sums = [[part.values.sum() for part in self._correction(atoms, t)] for t in chosen]
        return found + Vibrations(chosen, *np.array(sums).T)

    def predicted_std(self, atoms: Atoms, other: Atoms | None = None) -> float:
        """See `EntropyCalculator.predicted_std`."""
        if self.model.posterior is None:
            return float("nan")
        if other is None:
            return kB * self.model.uncertainty(atoms)[0]
        return kB * self.model.difference_std(atoms, other)

    def _correction(self, atoms: Atoms, temperature: float, *, gradient: bool = False) -> Any:
        return self.model.quantum_correction(
            atoms, temperature, gradient=gradient, lists=self._neighbours
        )

    def _evaluate(self, atoms: Atoms, *, gradient: bool, strain: bool) -> SiteThermodynamics:
        """See `EntropyCalculator._evaluate`."""
        temperature = self.temperature
        sums = self._predict(atoms, gradient=gradient, wanted=self._wanted)
        classical = classical_sites(sums, check_masses(atoms), temperature)
        if not self.parameters["quantum"]:
            return classical
        return add_correction(classical, *self._correction(atoms, temperature, gradient=gradient))


def classical_sites(
    sums: SiteSums | Prediction, masses: Array, temperature: float
) -> SiteThermodynamics:
    """Site entropies and free energies of what a model of entropies predicts.

    Parameters
    ----------
    sums : SiteSums or Prediction, dimensionless
    masses : ndarray, shape (N,), amu
    temperature : float, K

    Returns
    -------
    SiteThermodynamics
    """
    reduced = sums.values + mass_entropy(masses)
    entropies = classical_entropy(reduced, np.full(len(masses), 3.0), temperature)
    free_energies = temperature * (3 * kB - entropies)
    derivatives: list[Any] = [None] * 4
    if sums.gradient is not None and sums.strain is not None:
        slope, strain_slope = kB * sums.gradient, kB * sums.strain
        derivatives = [slope, -temperature * slope, strain_slope, -temperature * strain_slope]
    return SiteThermodynamics(entropies, free_energies, *derivatives)


def add_correction(
    values: SiteThermodynamics, entropy: SiteSums, free_energy: SiteSums
) -> SiteThermodynamics:
    """Values and derivatives plus a correction of them, see `SiteModel.quantum_correction`.

    Parameters
    ----------
    values : SiteThermodynamics
    entropy : SiteSums, eV/K
    free_energy : SiteSums, eV

    Returns
    -------
    SiteThermodynamics
    """

    def plus(value: Array | None, correction: Array | None) -> Array | None:
        return None if value is None or correction is None else value + correction

    return SiteThermodynamics(
        values.entropies + entropy.values,
        values.free_energies + free_energy.values,
        plus(values.entropy_gradient, entropy.gradient),
        plus(values.free_energy_gradient, free_energy.gradient),
        plus(values.entropy_strain, entropy.strain),
        plus(values.free_energy_strain, free_energy.strain),
    )


class SiteEnergyCalculator(SiteModelCalculator):
    """Potential energy of every atom from a trained site model: a linear ACE potential.

    [Ortner2022] (4.1).

    Trained by `train(..., target="energy")`. Beside `SiteEntropyCalculator` in ASE's SumCalculator
    it makes E + F_vib(T) from two fitted models.

    Parameters
    ----------
    model : SiteModel or path
        A trained model or its coefficient file.
    extrapolation : {"warn", "raise", "ignore"}
        What to do where atoms are unlike those of the training set, see `SiteEntropyCalculator`.

    Raises
    ------
    InvalidInputError
        If a parameter is out of range, or the model predicts something else.
    ModelFileError
        If the file is none of ours.
    """

    implemented_properties = [  # noqa: RUF012 - the name and the type are ASE's
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
        *ENERGY.deviations,
        "extrapolation_grades",
    ]
    default_parameters: dict[str, Any] = {  # noqa: RUF012 - the name is ASE's
        "model": None,
        "extrapolation": "warn",
    }
    target = ENERGY

    def __init__(
        self, model: SiteModel | str | os.PathLike[str], *, extrapolation: Policy = "warn"
    ):
        super().__init__(model, extrapolation=extrapolation)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill `results`; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        if "stress" in properties:
            require_volume(self.atoms)
        gradient = not {"forces", "stress"}.isdisjoint(properties)
        known = "forces" in self.results or ("energy" in self.results and not gradient)
        if known and self._wanted.issubset(self.results):
            return
        sums = self._predict(self.atoms, gradient=gradient, wanted=self._wanted)
        energy = float(sums.values.sum())
        self.results.update(energy=energy, free_energy=energy, energies=sums.values)
        if sums.gradient is not None and sums.strain is not None:
            self.results["forces"] = -sums.gradient
            if has_volume(self.atoms):
                stress = sums.strain / self.atoms.get_volume()
                self.results["stress"] = full_3x3_to_voigt_6_stress(stress)
