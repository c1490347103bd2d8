"""Exact harmonic entropies as ASE calculators: the judge of the surrogate, and its labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError, all_changes
from ase.units import kB
from numpy.typing import NDArray

from ase_vibent.base import EntropyCalculator, SiteThermodynamics, has_volume
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.entropy import Statistics, classical, classical_entropy, quantum
from ase_vibent.harmonic.system import HarmonicSystem, check_unstable
from ase_vibent.hessian import (
    DisplacedForces,
    check_displacement,
    compute_hessian,
    free_atoms,
    resolve_calculator,
)

Array = NDArray[np.float64]


class HessianEntropyCalculator(EntropyCalculator):
    """Exact entropy, free energy and forces of the harmonic crystal, N³ in cost.

    Absolute totals of periodic cells are Γ-point sums, which lack the three translations
    and are not extensive: compare *differences* to the perfect crystal of the same cell
    with the surrogate's.

    Parameters
    ----------
    calculator : ASE calculator or factory () -> ASE calculator
        Needs forces; an analytic Hessian (matscipy's `get_hessian`, a property `hessian`)
        is used where there is one. Entropy gradients take two force calls per mode.
    temperature : float, K
    unstable : int or "any"
        Expected number of unstable modes; any other number raises
        `UnstableStructureError`. 0 for a minimum, 1 for a saddle, "any" for log⁺.
    quantum : bool
        Quantum statistics with zero-point energy instead of classical ones.
    decomposition : {"mass-weighted", "mass-free"}
        Site entropies on the eigenvectors of the dynamical matrix (physical local density
        of states), or on those of the Hessian (what the surrogate is trained on). With
        one species they agree.
    displacement : float, Å
        Of all finite differences.
    """

    _method = "auto"
    default_parameters: dict[str, Any] = {  # noqa: RUF012 - the name is ASE's
        "temperature": 300.0,
        "unstable": 0,
        "quantum": False,
        "decomposition": "mass-weighted",
        "displacement": 0.01,
    }

    def __init__(
        self,
        calculator: object,
        *,
        temperature: float = 300.0,
        unstable: int | str = 0,
        quantum: bool = False,
        decomposition: str = "mass-weighted",
        displacement: float = 0.01,
    ):
        self.wrapped: Any = resolve_calculator(calculator)
        self._system: HarmonicSystem | None = None
        super().__init__(
            temperature=temperature,
            unstable=unstable,
            quantum=quantum,
            decomposition=decomposition,
            displacement=displacement,
        )

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill `results`; called by ASE. The Hessian is kept while the structure is."""
        if system_changes:
            self._system = None
        # Constraints that cannot be honoured are refused before ASE keeps the structure.
        free_atoms(self.atoms if atoms is None else atoms)
        super().calculate(atoms, properties, system_changes)

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Change parameters, as in ASE; the Hessian is kept where it stays the same."""
        wanted = {**self.parameters, **kwargs}
        check_unstable(wanted["unstable"])
        check_displacement(wanted["displacement"])
        if wanted["decomposition"] not in ("mass-weighted", "mass-free"):
            raise InvalidInputError(
                "decomposition: expected 'mass-weighted' or 'mass-free', got "
                f"{wanted['decomposition']!r}"
            )
        if wanted["quantum"] and wanted["decomposition"] == "mass-free":
            raise InvalidInputError(
                "decomposition: quantum entropies do not separate from the masses; "
                "use 'mass-weighted'"
            )
        changed = super().set(**kwargs)
        if {"displacement", "unstable"}.intersection(changed):
            self._system = None
        return changed

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Changes since the last calculation, fixed atoms included."""
        changes = super().check_state(atoms, tol)
        if not changes and not np.array_equal(free_atoms(self.atoms), free_atoms(atoms)):
            changes.append("constraints")
        return changes

    def harmonic_system(self, atoms: Atoms) -> HarmonicSystem:
        """Hessian of a structure and what follows from it exactly.

        Parameters
        ----------
        atoms : Atoms

        Returns
        -------
        HarmonicSystem
        """
        hessian = compute_hessian(
            atoms,
            self.wrapped,
            method=self._method,
            displacement=self.parameters["displacement"],
        )
        return HarmonicSystem(
            atoms, hessian, free=free_atoms(atoms), unstable=self.parameters["unstable"]
        )

    def get_frequencies(self, atoms: Atoms | None = None) -> Array:
        """Energies ħω of all modes but the rigid ones.

        Parameters
        ----------
        atoms : Atoms, optional
            By default those of the last calculation.

        Returns
        -------
        ndarray, shape (n_modes,), eV
            Ascending; imaginary ones as negative numbers.
        """
        self._ensure_calculated(atoms)
        assert self._system is not None
        return self._system.frequencies

    def _evaluate(self, atoms: Atoms, *, gradient: bool, strain: bool) -> SiteThermodynamics:
        """See `EntropyCalculator._evaluate`."""
        if strain and not has_volume(atoms):
            raise PropertyNotImplementedError(
                "entropy_strain: the reference takes it from stresses, and the structure has "
                "no volume"
            )
        if self._system is None:
            self._system = self.harmonic_system(atoms)
        entropies, free_energies = self._site_values(self._system)
        if not gradient:
            return SiteThermodynamics(entropies, free_energies)
        derivative = self._system.gradient(
            DisplacedForces(atoms, self.wrapped, virial=strain),
            self._statistics,
            self.temperature,
            displacement=self.parameters["displacement"],
        )
        strains = (None, None) if derivative.strain is None else derivative.strain
        return SiteThermodynamics(entropies, free_energies, *derivative.positions, *strains)

    @property
    def _statistics(self) -> Statistics:
        return quantum if self.parameters["quantum"] else classical

    def _site_values(self, system: HarmonicSystem) -> tuple[Array, Array]:
        temperature = self.temperature
        if self.parameters["decomposition"] == "mass-weighted":
            return system.site_thermodynamics(self._statistics, temperature)
        entropies = classical_entropy(system.site_entropies, system.site_modes, temperature)
        # Equipartition: U = n k_B T, and F = U - T S.
        return entropies, temperature * (kB * system.site_modes - entropies)


class FiniteDifferenceEntropyCalculator(HessianEntropyCalculator):
    """`HessianEntropyCalculator` with the Hessian from central finite differences of forces.

    Takes the same parameters, and ignores an analytic Hessian.
    """

    _method = "finite-differences"
