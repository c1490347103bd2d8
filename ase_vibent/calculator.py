"""The surrogate as an ASE calculator."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_changes
from ase.units import kB
from numpy.typing import ArrayLike, NDArray

from ase_vibent import pretrained
from ase_vibent.base import EntropyCalculator, SiteThermodynamics, Vibrations, check_temperatures
from ase_vibent.descriptors import SiteSums
from ase_vibent.descriptors.kinds import resolves_sublattices
from ase_vibent.descriptors.neighbours import NeighbourLists
from ase_vibent.errors import (
    ExtrapolationError,
    ExtrapolationWarning,
    InvalidInputError,
    InvalidStructureError,
)
from ase_vibent.harmonic.entropy import classical_entropy, mass_entropy, unstable_mass_entropy
from ase_vibent.harmonic.modes import check_masses
from ase_vibent.hessian import free_atoms
from ase_vibent.model import SiteModel
from ase_vibent.structures.sublattices import SUBLATTICES

Array = NDArray[np.float64]

#: Properties that only the surrogate has: standard deviations in eV/K, grades of atoms.
UNCERTAINTIES = ("entropy_std", "entropies_std", "extrapolation_grades")
#: What to do about atoms that are unlike those of the training set.
POLICIES = ("warn", "raise", "ignore")
#: Extrapolation grade from which an environment counts as unlike those of the training set: some
#: 1 % of cells of kinds that were in training exceed it, all of unseen defects
#: (benchmarks/uncertainty.py).
EXTRAPOLATION_LIMIT = 2.0


class SiteEntropyCalculator(EntropyCalculator):
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
        labels of moments (`attach_labels(..., moments=True)`): each site's density of states by
        the two-point Gauss quadrature of its moments. Made for k_B T above a tenth of the
        largest ħω; below it, only acoustic modes are excited, which two points do not resolve.
        Masses are then free per species, see `MomentModel`. Unstable modes, which
        `HessianEntropyCalculator` leaves out, count as parabolic barriers.
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
    """

    implemented_properties = [  # noqa: RUF012 - the name and the type are ASE's
        *EntropyCalculator.implemented_properties,
        *UNCERTAINTIES,
    ]
    default_parameters: dict[str, Any] = {  # noqa: RUF012 - the name is ASE's
        "temperature": 300.0,
        "model": None,
        "quantum": False,
        "extrapolation": "warn",
    }

    def __init__(
        self,
        model: SiteModel | str | os.PathLike[str],
        *,
        temperature: float = 300.0,
        quantum: bool = False,
        extrapolation: str = "warn",
    ):
        # Trajectories and databases keep parameters: a path they can hold, an object not.
        source = "in memory"
        if not isinstance(model, SiteModel):
            source, model = os.fspath(model), SiteModel.load(model)
        if model.target != "entropy":
            raise InvalidInputError(
                f"model: expected one that predicts 'entropy', got {model.target!r}"
            )
        self.model = model
        self._neighbours = NeighbourLists()
        super().__init__(
            temperature=temperature, model=source, quantum=quantum, extrapolation=extrapolation
        )

    @classmethod
    def from_pretrained(cls, name: str, **options: Any) -> Self:
        """Calculator of a model that comes with the package.

        Parameters
        ----------
        name : str
            One of `ase_vibent.pretrained.names()`; 'vibent models' says what each is for.
        **options
            Parameters of the calculator.

        Returns
        -------
        SiteEntropyCalculator

        Raises
        ------
        InvalidInputError
            If there is no model of that name, which lists those there are.
        """
        return cls(pretrained.path(name), **options)

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Change parameters; another model needs another calculator."""
        if kwargs.get("extrapolation", "warn") not in POLICIES:
            raise InvalidInputError(
                f"extrapolation: expected one of {', '.join(POLICIES)}, "
                f"got {kwargs['extrapolation']!r}"
            )
        if kwargs.get("quantum"):
            self.model.require_moments()
        if "model" in kwargs and self.parameters.get("model") is not None:
            raise InvalidInputError(
                "model: it cannot be exchanged; make a new SiteEntropyCalculator"
            )
        return super().set(**kwargs)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Changes since the last calculation; sublattice labels count where the model uses them."""
        changes = super().check_state(atoms, tol)
        if (
            self.atoms is not None
            and resolves_sublattices(self.model.species)
            # A calculation that failed for want of labels leaves atoms without any.
            and not np.array_equal(
                self.atoms.arrays.get(SUBLATTICES, ()), atoms.arrays.get(SUBLATTICES, ())
            )
        ):
            changes.append(SUBLATTICES)
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill `results`; called by ASE. Uncertainties only where they are asked for."""
        if system_changes or "energy" not in self.results or set(properties) - set(UNCERTAINTIES):
            super().calculate(atoms, properties, system_changes)
        if {"entropy_std", "entropies_std"}.intersection(properties):
            total, sites = self.model.uncertainty(self.atoms)
            self.results.update(entropy_std=kB * total, entropies_std=kB * sites)
        if "extrapolation_grades" in properties:
            grades = self.model.extrapolation_grades(self.atoms, lists=self._neighbours)
            self.results["extrapolation_grades"] = grades

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
        sites = self.model.evaluate(atoms, gradient=False, lists=self._neighbours).values
        self._check_extrapolation(atoms)
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

    def _check_extrapolation(self, atoms: Atoms) -> None:
        """Follow the policy; called after an evaluation, which has found the neighbours."""
        policy, near = self.parameters["extrapolation"], self._neighbours.latest
        if policy == "ignore" or self.model.domain is None or near is None:
            return
        if near.familiar and policy == "warn":
            return
        near.familiar = True
        self._follow_policy({"atoms": atoms})

    def require_familiar(self, structures: Mapping[str, Atoms]) -> None:
        """See `EntropyCalculator.require_familiar`."""
        if self.parameters["extrapolation"] != "ignore" and self.model.domain is not None:
            self._follow_policy(structures)

    def _follow_policy(self, structures: Mapping[str, Atoms]) -> None:
        grades = {
            name: self.model.extrapolation_grades(atoms, lists=self._neighbours)
            for name, atoms in structures.items()
        }
        far = {name: own for name, own in grades.items() if own.max() > EXTRAPOLATION_LIMIT}
        if not far:
            return
        complaints = [
            f"{name}: {np.sum(own > EXTRAPOLATION_LIMIT)} of {len(own)} atoms have environments "
            f"unlike those of the training set, the farthest is atom {own.argmax()} with an "
            f"extrapolation grade of {own.max():.3g}"
            for name, own in far.items()
        ]
        message = (
            f"{'; '.join(complaints)} (limit {EXTRAPOLATION_LIMIT}); check the structure, verify "
            "the prediction (vibent verify), or train on structures of this kind"
        )
        if self.parameters["extrapolation"] == "raise":
            raise ExtrapolationError(message, max(far.values(), key=np.max))
        warnings.warn(message, ExtrapolationWarning, stacklevel=2)

    def _evaluate(self, atoms: Atoms, *, gradient: bool, strain: bool) -> SiteThermodynamics:
        """See `EntropyCalculator._evaluate`."""
        temperature = self.temperature
        sums = self.model.evaluate(atoms, gradient=gradient, lists=self._neighbours)
        self._check_extrapolation(atoms)
        reduced = sums.values + mass_entropy(check_masses(atoms))
        entropies = classical_entropy(reduced, np.full(len(atoms), 3.0), temperature)
        free_energies = temperature * (3 * kB - entropies)
        derivatives: list[Any] = [None] * 4
        if sums.gradient is not None and sums.strain is not None:
            slope, strain_slope = kB * sums.gradient, kB * sums.strain
            derivatives = [slope, -temperature * slope, strain_slope, -temperature * strain_slope]
        classical = SiteThermodynamics(entropies, free_energies, *derivatives)
        if not self.parameters["quantum"]:
            return classical
        return _corrected(classical, *self._correction(atoms, temperature, gradient=gradient))


def _corrected(
    values: SiteThermodynamics, entropy: SiteSums, free_energy: SiteSums
) -> SiteThermodynamics:
    """Values and derivatives plus a correction of them."""

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
