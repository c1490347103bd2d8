"""What every entropy calculator shares: units, temperature, and when results are stale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import (
    Calculator,
    PropertyNotImplementedError,
    all_changes,
    compare_atoms,
)
from ase.outputs import Properties, all_outputs
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import ArrayLike

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.thermodynamics import (
    SiteThermodynamics,
    Vibrations,
    check_temperature,
    check_temperatures,
)
from ase_vibent.structures.cells import has_volume
from ase_vibent.structures.symmetry import same_marks

#: Properties that need derivatives, and hence a dearer calculation.
GRADIENT_PROPERTIES = frozenset({"forces", "stress", "entropy_gradient", "entropy_strain"})


def require_volume(atoms: Atoms) -> None:
    """Raise PropertyNotImplementedError unless a stress is defined."""
    if not has_volume(atoms):
        raise PropertyNotImplementedError(
            "stress: the structure has no volume; it needs a cell that is periodic in "
            "at least two directions"
        )


class StrictCalculator(Calculator):
    """ASE calculator that knows its parameters by name, and keeps no result of another state."""

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Change parameters, as in ASE; results are discarded if one really changes."""
        unknown = sorted(set(kwargs) - set(self.default_parameters))
        if unknown:
            raise InvalidInputError(
                f"{unknown[0]}: no parameter of {type(self).__name__}; "
                f"it has {', '.join(self.default_parameters)}"
            )
        changed: dict[str, Any] = super().set(**kwargs)
        if changed:
            self.results: dict[str, Any] = {}
        return changed

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: list[str] = all_changes,
    ) -> None:
        """Prepare `atoms` and `results`; called by ASE, or directly."""
        if system_changes:
            self.results = {}
        super().calculate(atoms, list(properties), system_changes)


class EntropyCalculator(StrictCalculator):
    """Base class of the calculators whose energy is the vibrational free energy.

    `energy` and `free_energy` are both F_vib(T) in eV: ASE's NEB reads the one, its
    optimizers the other. `energies` are its site contributions, `forces` and `stress` its
    derivatives. `entropy` (eV/K), `entropies` (eV/K per atom), `entropy_gradient` (eV/K/Å)
    and `entropy_strain` (eV/K, 3 × 3, derivative with respect to strain) are our own.

    Parameters
    ----------
    temperature : float, K
        May be set later; results follow. 0 K is for quantum statistics.
    """

    implemented_properties = [  # noqa: RUF012 - the name and the type are ASE's
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
        "entropy",
        "entropies",
        "entropy_gradient",
        "entropy_strain",
    ]
    default_parameters: dict[str, Any] = {"temperature": 300.0}  # noqa: RUF012
    #: Whether `vibrations` counts unstable modes: of whoever takes forces of a calculator.
    sees_modes = False

    def __init__(self, *, temperature: float = 300.0, **parameters: Any):
        super().__init__(temperature=temperature, **parameters)

    @property
    def temperature(self) -> float:
        """Temperature in K."""
        return float(self.parameters["temperature"])

    @temperature.setter
    def temperature(self, value: float) -> None:
        self.set(temperature=value)

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """See `StrictCalculator.set`."""
        wanted = {**self.parameters, **kwargs}
        zero = bool(wanted.get("quantum"))
        kwargs["temperature"] = check_temperature(wanted["temperature"], zero=zero)
        return super().set(**kwargs)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Changes since the last calculation; ASE's own check sees neither masses nor arrays."""
        changes: list[str] = compare_atoms(self.atoms, atoms, tol=tol)
        if self.atoms is None or len(self.atoms) != len(atoms):
            return changes
        if np.any(self.atoms.get_masses() != atoms.get_masses()):
            changes.append("masses")
        if self.sees_modes and not same_marks(self.atoms, atoms):
            changes.append("arrays")
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill `results`; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        wanted = GRADIENT_PROPERTIES.intersection(properties)
        strain = bool(wanted & {"stress", "entropy_strain"})
        if "stress" in wanted:
            require_volume(self.atoms)
        values = self._evaluate(self.atoms, gradient=bool(wanted), strain=strain)
        self.results.update(_as_results(values, self.atoms))

    def vibrations(
        self,
        atoms: Atoms,
        temperatures: ArrayLike,
        *,
        n_unstable: int = 0,
        tangent: Array | None = None,
    ) -> Vibrations:
        """Entropy and free energy of a structure at several temperatures.

        Parameters
        ----------
        atoms : Atoms
        temperatures : float or array_like, shape (n,), K
        n_unstable : int
            Number of unstable modes that it should have, and that are left out: 0 at a minimum, 1
            at a saddle.
        tangent : ndarray, shape (N, 3), optional
            Direction of a path, along which motion is left out too.

        Returns
        -------
        Vibrations

        Raises
        ------
        UnstableStructureError
            If a calculator that knows its modes finds another number.
        """
        if n_unstable or tangent is not None:
            raise InvalidInputError(
                f"calculator: {type(self).__name__} cannot leave out modes here; take "
                "HessianEntropyCalculator with engine='dense', or a site model"
            )
        chosen = self._check_temperatures(temperatures)
        rows = self.properties_at(chosen, ("entropy", "energy"), atoms)
        return Vibrations(chosen, *np.array(rows).T)

    def properties_at(
        self, temperatures: Array, names: Sequence[str], atoms: Atoms
    ) -> list[list[Any]]:
        """Properties of a structure at several temperatures; the calculator keeps its own.

        Parameters
        ----------
        temperatures : ndarray, shape (n,), K
        names : sequence of str
        atoms : Atoms

        Returns
        -------
        list of list
            One for each temperature, in the order of the names.
        """
        before, rows = self.temperature, []
        try:
            for temperature in temperatures:
                self.temperature = temperature
                rows.append([self.get_property(name, atoms) for name in names])
        finally:
            self.temperature = before
        return rows

    def check_extrapolation(self, structures: Mapping[str, Atoms]) -> None:
        """Follow the policy on extrapolation, structure by structure; nothing where it is exact.

        Parameters
        ----------
        structures : mapping of str to Atoms
            By the names that a message should use.
        """

    def predicted_std(
        self, atoms: Atoms, temperatures: ArrayLike, other: Atoms | None = None
    ) -> float:
        """Standard deviation of an entropy's difference to the perfect crystal, or to another.

        Parameters
        ----------
        atoms : Atoms
        temperatures : float or array_like, shape (n,), K
            The largest deviation of all is returned.
        other : Atoms, optional
            The same atoms elsewhere, as at a saddle.

        Returns
        -------
        float, eV/K
            NaN where a model does not know, and of exact calculators: what they give carries
            estimates of its own, `Vibrations.errors`.
        """
        return float("nan")

    def bulk_vibrations(self, crystal: Atoms, temperatures: ArrayLike) -> Vibrations:
        """Entropy and free energy that a crystal's atoms have in the infinite crystal.

        Parameters
        ----------
        crystal : Atoms
        temperatures : float or array_like, shape (n,), K

        Returns
        -------
        Vibrations
            Of all atoms of the cell, three modes each.
        """
        return self.vibrations(crystal, temperatures)

    def _check_temperatures(self, temperatures: ArrayLike) -> Array:
        """Temperatures as an array, positive or, where they may be, zero."""
        return check_temperatures(temperatures, zero=bool(self.parameters.get("quantum")))

    def _ensure_calculated(self, atoms: Atoms | None) -> None:
        """Calculate a structure, by default that of the last calculation."""
        structure = self.atoms if atoms is None else atoms
        if structure is None:
            raise InvalidInputError("atoms: nothing calculated yet; pass a structure")
        self.get_property("energy", structure)

    def export_properties(self) -> Properties:
        """Results under ASE's own names; `Properties` refuses any other."""
        return Properties({k: v for k, v in self.results.items() if k in all_outputs})

    def _evaluate(self, atoms: Atoms, *, gradient: bool, strain: bool) -> SiteThermodynamics:
        """Site entropies and free energies at the calculator's temperature.

        Parameters
        ----------
        atoms : Atoms
        gradient : bool
            Whether derivatives with respect to positions are wanted.
        strain : bool
            Whether derivatives with respect to strain are wanted.

        Returns
        -------
        SiteThermodynamics
        """
        raise NotImplementedError


def _as_results(values: SiteThermodynamics, atoms: Atoms) -> dict[str, Any]:
    free_energy = float(values.free_energies.sum())
    results: dict[str, Any] = {
        "energy": free_energy,
        "free_energy": free_energy,
        "energies": values.free_energies,
        "entropy": float(values.entropies.sum()),
        "entropies": values.entropies,
    }
    if values.free_energy_gradient is not None:
        results["forces"] = -values.free_energy_gradient
        results["entropy_gradient"] = values.entropy_gradient
    if values.free_energy_strain is not None:
        results["entropy_strain"] = values.entropy_strain
        if has_volume(atoms):
            stress = values.free_energy_strain / atoms.get_volume()
            results["stress"] = full_3x3_to_voigt_6_stress(stress)
    return results
