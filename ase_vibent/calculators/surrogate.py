"""The surrogates as ASE calculators: vibrational entropies, and potential energies."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import kB
from numpy.typing import ArrayLike

from ase_vibent.arrays import Array
from ase_vibent.calculators.base import EntropyCalculator, require_volume
from ase_vibent.calculators.soft_parts import SoftParts
from ase_vibent.calculators.surrogate_base import Policy, SiteModelCalculator
from ase_vibent.descriptors import SiteSums
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.harmonic.entropy import classical_entropy, mass_entropy, unstable_mass_entropy
from ase_vibent.harmonic.modes import check_masses
from ase_vibent.harmonic.thermodynamics import SiteThermodynamics, Vibrations
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
        Quantum statistics with zero-point energy instead of classical ones, from 0 K on, for models
        trained on labels of "moments": those of the perfect crystal, and what differs from it by
        moments of its density of states, see `Expansion`; `entropy_std` says how far these do.
        Masses are then free per species, see `MomentModel`. An unstable mode, which
        `HessianEntropyCalculator` leaves out, keeps its share of the moments: about Wigner's
        correction.
    extrapolation : {"warn", "raise", "ignore"}
        What to do where an atom's extrapolation grade exceeds `EXTRAPOLATION_LIMIT`. "warn"
        looks once in a while, whenever atoms have moved so far that neighbours
        are found anew; "raise" looks at every evaluation. A model without a training domain
        cannot tell.
    soft_modes_of : ASE calculator or factory, optional
        For models trained on labels with a floor, which leave soft modes out: gives the forces that
        find them, in some tens of calls for a defect in 200 atoms. Entropies are then those of
        structures at rest, averaged over a mesh of the cell as the exact ones are, and have no
        gradients. `soft_parts` counts the force calls.

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
        soft_modes_of: object = None,
    ):
        super().__init__(
            model, temperature=temperature, quantum=quantum, extrapolation=extrapolation
        )
        #: Soft modes of structures, where the model leaves them out.
        self.soft_parts = SoftParts(self.model, soft_modes_of)

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
        if tangent is not None and self.soft_parts:
            raise InvalidInputError(
                "tangent: soft modes are found at rest, and not on a path; take a model that "
                "leaves none out"
            )
        n_unstable += tangent is not None
        chosen = self._check_temperatures(temperatures)
        predicted = self._predict(atoms, gradient=False)
        if self.parameters["quantum"]:
            return self._quantum_vibrations(atoms, predicted, chosen, n_unstable)
        masses = check_masses(atoms)
        reduced = predicted.values.sum() + mass_entropy(masses).sum()
        reduced += unstable_mass_entropy(masses, n_unstable)
        if self.soft_parts:
            reduced += self.soft_parts.of(atoms, n_unstable).total
        return Vibrations.classical(float(reduced), 3 * len(atoms) - n_unstable, chosen)

    def bulk_vibrations(self, crystal: Atoms, temperatures: ArrayLike) -> Vibrations:
        """See `EntropyCalculator.bulk_vibrations`."""
        if self.soft_parts:  # a small cell's mesh has fewer long waves than the crystal
            return self.soft_parts.bulk_vibrations(crystal, self._check_temperatures(temperatures))
        return super().bulk_vibrations(crystal, temperatures)

    def _quantum_vibrations(
        self, atoms: Atoms, predicted: Prediction, temperatures: Array, n_unstable: int
    ) -> Vibrations:
        moments, sums = self.model.require_moments(), []
        for t in temperatures:
            sites = self._quantum_sites(atoms, predicted, t, gradient=False)
            totals = np.array([sites.entropies.sum(), sites.free_energies.sum()])
            sums.append(totals - moments.of_missing_modes(atoms, n_unstable, t))
        return Vibrations(temperatures, *np.array(sums).T)

    def predicted_std(
        self, atoms: Atoms, temperatures: ArrayLike, other: Atoms | None = None
    ) -> float:
        """See `EntropyCalculator.predicted_std`."""
        if self.model.posterior is None:
            return float("nan")
        if other is None:
            std, terms = self.model.uncertainty(atoms)[0], [(1.0, atoms)]
        else:
            std, terms = self.model.difference_std(atoms, other), [(1.0, atoms), (-1.0, other)]
        return self._std_of_sum(std, terms, temperatures)

    def combination_std(
        self, terms: Sequence[tuple[float, Atoms]], temperatures: ArrayLike
    ) -> float:
        """Standard deviation of a sum of entropies in which what is common cancels.

        Parameters
        ----------
        terms : sequence of (float, Atoms)
            Factors and structures.
        temperatures : float or array_like, shape (n,), K

        Returns
        -------
        float, eV/K
            The largest of all temperatures; NaN if the model does not know.
        """
        return self._std_of_sum(self.model.combination_std(terms), terms, temperatures)

    def _std_of_sum(
        self, std: float, terms: Sequence[tuple[float, Atoms]], temperatures: ArrayLike
    ) -> float:
        """With what quantum statistics make of a classical standard deviation, k_B; in eV/K."""
        if self.soft_parts:
            errors = [factor * self.soft_parts.error(atoms) for factor, atoms in terms]
            std = float(np.linalg.norm([std, *errors]))
        if not self.parameters["quantum"]:
            return kB * std
        sums = [
            (factor, atoms, self.model.evaluate(atoms, gradient=False)) for factor, atoms in terms
        ]
        moments, descriptor = self.model.require_moments(), self.model.descriptor
        found = []
        for t in self._check_temperatures(temperatures):
            off = sum(
                factor * moments.truncation(descriptor, atoms, own, t).sum(axis=1)
                for factor, atoms, own in sums
            )
            slope = moments.entropy_slope(terms[0][1], t)
            found.append(np.hypot(slope * std, np.linalg.norm(off)))
        return float(np.max(found))

    def _predict(self, atoms: Atoms, *, gradient: bool, wanted: Collection[str] = ()) -> Prediction:
        """See `SiteModelCalculator`; standard deviations are those of the statistics."""
        predicted = super()._predict(atoms, gradient=gradient, wanted=wanted)
        if self.soft_parts and predicted.std is not None and predicted.site_stds is not None:
            part = self.soft_parts.of(atoms)
            shares = np.abs(part.sites) / max(np.abs(part.sites).sum(), 1e-300)
            of_total, of_sites = self.target.deviations
            self.results[of_total] = kB * float(np.hypot(predicted.std, part.error))
            self.results[of_sites] = kB * np.hypot(predicted.site_stds, part.error * shares)
        if not self.parameters["quantum"]:
            return predicted
        if predicted.std is not None and predicted.site_stds is not None:
            moments = self.model.require_moments()
            off = moments.truncation(
                self.model.descriptor, atoms, predicted, self.temperature, self._neighbours
            )
            slope = moments.entropy_slope(atoms, self.temperature)
            of_total, of_sites = self.target.deviations
            of_all, of_each = np.linalg.norm(off.sum(axis=1)), np.linalg.norm(off, axis=0)
            self.results[of_total] = float(np.hypot(slope * predicted.std, of_all))
            self.results[of_sites] = np.hypot(slope * predicted.site_stds, of_each)
        return predicted

    def _quantum_sites(
        self, atoms: Atoms, predicted: Prediction, temperature: float, *, gradient: bool
    ) -> SiteThermodynamics:
        return self.model.quantum_sites(
            atoms, predicted, temperature, gradient=gradient, lists=self._neighbours
        )

    def _evaluate(self, atoms: Atoms, *, gradient: bool, strain: bool) -> SiteThermodynamics:
        """See `EntropyCalculator._evaluate`."""
        if self.soft_parts and (gradient or strain):
            raise PropertyNotImplementedError(
                "forces: soft modes that a model leaves out give no derivatives; take a model "
                "without a floor, or HessianEntropyCalculator"
            )
        predicted = self._predict(atoms, gradient=gradient, wanted=self._wanted)
        if self.soft_parts:
            soft = self.soft_parts.of(atoms).sites
            predicted = replace(predicted, values=predicted.values + soft)
        if self.parameters["quantum"]:
            return self._quantum_sites(atoms, predicted, self.temperature, gradient=gradient)
        return classical_sites(predicted, check_masses(atoms), self.temperature)


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
