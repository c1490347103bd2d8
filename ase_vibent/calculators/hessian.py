"""Exact harmonic entropies as ASE calculators: the judge of the surrogate, and its labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError, all_changes
from ase.units import kB
from numpy.typing import ArrayLike

from ase_vibent.arrays import Array
from ase_vibent.calculators.base import EntropyCalculator
from ase_vibent.calculators.hessian_parameters import DEFAULTS, OF_RESULTS, check_parameters
from ase_vibent.crystal.bulk import InfiniteCrystal
from ase_vibent.crystal.perfect_crystal import PerfectCrystal
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.accuracy import entropy_errors
from ase_vibent.harmonic.entropy import T0, Statistics, classical, classical_entropy, quantum
from ase_vibent.harmonic.floored import FlooredMeshSystem
from ase_vibent.harmonic.gradient import SpectralGradient
from ase_vibent.harmonic.mesh import choose_mesh, warn_of_one_atom
from ase_vibent.harmonic.mesh_system import MeshSystem, Vibrating
from ase_vibent.harmonic.normalised import NormalisedSystem
from ase_vibent.harmonic.periodicity import free_standing
from ase_vibent.harmonic.spectrum import check_sites
from ase_vibent.harmonic.system import HarmonicSystem
from ase_vibent.harmonic.thermodynamics import SiteThermodynamics, Vibrations, check_temperature
from ase_vibent.hessian import DisplacedForces, HessianOptions, HessianSource
from ase_vibent.structures.cells import has_volume
from ase_vibent.structures.symmetry import same_marks
from ase_vibent.structures.validity import free_atoms

#: Atoms up to which "auto" diagonalises.
DENSE_LIMIT = 4000


class HessianEntropyCalculator(EntropyCalculator):
    """Exact entropy, free energy and forces of the harmonic crystal.

    Of a periodic cell all values are those of the cell repeated for ever, averages over a mesh of
    its own Brillouin zone; they are extensive. Γ alone (`mesh="gamma"`) lacks the three
    translations: there, only differences to the perfect crystal of the same cell mean something.

    Parameters
    ----------
    calculator : ASE calculator or factory () -> ASE calculator, optional
        Needs forces; an analytic Hessian (matscipy's `get_hessian`, a property `hessian`)
        is used where there is one. Entropy gradients take two force calls per mode.
    hessian : callable (atoms) -> matrix, matrix, StoredHessian or path, optional
        Takes the place of the calculator's, in eV/Å²: sparse, or shape (3N, 3N), (3N, N, 3) or
        phonopy's (N, N, 3, 3). A matrix belongs to the first structure that is calculated, and
        serves no other. Or a file of phonopy's and others', what `read_hessian` gives, or a list of
        these, which know their structures. Without a calculator there are no gradients.
    crystal : Atoms, optional
        Perfect crystal, for the normalised decomposition (same sites) and the ball engine (any
        cell).
    temperature : float, K
    unstable : int or "any"
        Expected number of unstable modes; any other number raises
        `UnstableStructureError`. 0 for a minimum, 1 for a saddle, "any" for log⁺.
    quantum : bool
        Quantum statistics with zero-point energy instead of classical ones.
    decomposition : {"mass-weighted", "mass-free", "normalised"}
        Site entropies on the eigenvectors of the dynamical matrix (physical local density
        of states), on those of the Hessian (what the surrogate is trained on; with one species
        they agree), or as the crystal's plus the difference normalised by its Hessian, [Torabi2024]
        (2.22).
    engine : {"auto", "dense", "lanczos", "contour", "ball"}
        "dense" diagonalises, N³; "lanczos" and "contour" give site entropies of sparse Hessians to
        a tolerance, N². "ball" is linear in N: a ball around every site, beside the same in the
        crystal, which need no mesh. Gradients need "dense". "auto" diagonalises up to 4000 atoms,
        then takes "lanczos". The normalised decomposition is for "dense" and "contour".
    tolerance : float, k_B
        Largest error of a site with "lanczos" and "contour".
    radius : float, Å
    steps : int
        Of the balls and their Lanczos recursions.
    mesh : "auto", "gamma" or three int
        Half-shifted mesh of the cell's Brillouin zone, which costs no force call: formation
        entropies of small cells are then those of large ones, but for what images do to the
        relaxation. "auto" goes by the cell's width, one point from 25 Å on. "gamma" are the
        vibrations of the cell alone; so are clusters'.
    floor : float, eV/Å²
        Eigenvalue of the Hessian as which softer modes count, unstable ones among them, see
        `stiffened`: entropies that are smooth where modes turn soft, to train models that leave
        soft modes to `SoftPart`. Needs the mass-free decomposition, and a mesh. 0 for what is.
    bulk_width : float, Å
        Of the supercell behind values of infinite crystals: twice the range of the interaction.
    displacement : float, Å, or "auto"
        Of all finite differences.
    interaction_range : float, Å, optional
    symmetry : bool
    cache : path, optional
    cache_threshold : float, s
    method : {"auto", "analytic", "finite-differences"}
        How Hessians are made; see `HessianOptions`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from ase_vibent import HessianEntropyCalculator
    >>> atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    >>> atoms.calc = HessianEntropyCalculator(EMT(), temperature=600)
    >>> print(f"{atoms.get_potential_energy():.3f} eV")
    -4.686 eV
    """

    sees_modes = True
    default_parameters: dict[str, Any] = DEFAULTS

    def __init__(
        self,
        calculator: object = None,
        *,
        hessian: Any = None,
        crystal: Atoms | None = None,
        **parameters: Any,
    ):
        self._source = HessianSource(calculator, hessian)
        self._crystal = None if crystal is None else PerfectCrystal(crystal, self._hessian_of)
        self._system: Vibrating | None = None
        self._infinite: InfiniteCrystal | None = None
        super().__init__(**{**self.default_parameters, **parameters})

    @property
    def wrapped(self) -> Any:
        """The calculator whose forces and Hessians are taken, or None."""
        return self._source.calculator

    @property
    def hessian_options(self) -> HessianOptions:
        """How Hessians are made, those of infinite crystals too."""
        return HessianOptions.among(self.parameters)

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
        check_parameters(wanted, has_crystal=self._crystal is not None)
        if kwargs.get("cache") is not None:
            kwargs["cache"] = os.fspath(kwargs["cache"])
        changed = super().set(**kwargs)
        if set(changed) - OF_RESULTS:
            self._system = self._infinite = None
            if self._crystal is not None:
                self._crystal = PerfectCrystal(self._crystal.atoms, self._hessian_of)
        return changed

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Changes since the last calculation, fixed atoms included."""
        changes = super().check_state(atoms, tol)
        if not changes and not np.array_equal(free_atoms(self.atoms), free_atoms(atoms)):
            changes.append("constraints")
        return changes

    def harmonic_system(
        self,
        atoms: Atoms,
        *,
        gradient: bool = False,
        unstable: int | str | None = None,
        tangent: Array | None = None,
    ) -> Vibrating:
        """Hessian of a structure and what follows from it exactly.

        Parameters
        ----------
        atoms : Atoms
        gradient : bool
            Whether gradients will be asked for, which "auto" then provides for.
        unstable : int or "any", optional
            Expected number of unstable modes, instead of the calculator's.
        tangent : ndarray, shape (N, 3), optional
            Direction of a path, left out of the vibrations; see `HarmonicSystem`.

        Returns
        -------
        HarmonicSystem or MeshSystem
            The latter with a mesh.
        """
        floor = self.parameters["floor"]
        engine = self._engine_for(atoms, gradient=gradient)
        step_error = None
        if engine == "dense":
            hessian, step_error = self._source.checked(atoms, self.hessian_options)
        else:
            hessian = self._hessian_of(atoms, True)
        options: dict[str, Any] = {
            "free": free_atoms(atoms),
            "unstable": self.parameters["unstable"] if unstable is None else unstable,
            "tangent": tangent,
            "engine": engine,
            "tolerance": self.parameters["tolerance"],
            "step_error": step_error,
        }
        mesh = choose_mesh(atoms, self.parameters["mesh"])
        if floor:
            if mesh is None or tangent is not None:
                raise InvalidInputError(
                    "floor: it is for averages over the mesh of a periodic cell, all modes "
                    "counted; set pbc, pass mesh='auto' and no tangent, or leave out the floor"
                )
            return FlooredMeshSystem(
                atoms, hessian, mesh, floor=floor, free=options["free"], step_error=step_error
            )
        if mesh is None:
            if len(atoms) == 1 and np.any(atoms.pbc):
                warn_of_one_atom()
            return HarmonicSystem(atoms, hessian, **options)
        return MeshSystem(atoms, hessian, mesh, **options)

    def vibrations(
        self,
        atoms: Atoms,
        temperatures: ArrayLike,
        *,
        n_unstable: int = 0,
        tangent: Array | None = None,
    ) -> Vibrations:
        """See `EntropyCalculator.vibrations`."""
        if self._engine_for(atoms, gradient=False) == "ball":
            return super().vibrations(atoms, temperatures, n_unstable=n_unstable, tangent=tangent)
        chosen = self._check_temperatures(temperatures)
        system = self.harmonic_system(atoms, unstable=n_unstable, tangent=tangent)
        return self.vibrations_of(system, atoms, chosen)

    def vibrations_of(self, system: Vibrating, atoms: Atoms, temperatures: ArrayLike) -> Vibrations:
        """Entropy and free energy of a system that is solved already, see `vibrations`.

        Parameters
        ----------
        system : HarmonicSystem or MeshSystem
            From `harmonic_system`.
        atoms : Atoms
            Whose system it is.
        temperatures : float or array_like, shape (n,), K

        Returns
        -------
        Vibrations
        """
        chosen = self._check_temperatures(temperatures)
        errors = entropy_errors(atoms, system)
        if self._source.stored is not None and (stored := self._source.stored.find(atoms)):
            errors = errors._replace(images=errors.images + stored.images_error)
        if not self.parameters["quantum"]:
            return Vibrations.classical(system.entropy, system.n_modes, chosen, errors)
        sums = [np.sum(system.site_thermodynamics(quantum, t), axis=1) for t in chosen]
        entropies, free_energies = np.array(sums).T
        return Vibrations(chosen, entropies, free_energies, kB * np.array(errors))

    def bulk_vibrations(self, crystal: Atoms, temperatures: ArrayLike) -> Vibrations:
        """See `EntropyCalculator.bulk_vibrations`; from a q-mesh through phonopy."""
        source = self.bulk_source(crystal)
        known = self._infinite
        if (
            known is None
            or known.crystal != crystal
            or np.any(known.crystal.get_masses() != crystal.get_masses())
            or not same_marks(known.crystal, crystal)
        ):
            known = self._infinite = InfiniteCrystal(
                crystal,
                source,
                width=self.parameters["bulk_width"],
                floor=self.parameters["floor"],
                options=self.hessian_options,
            )
        return known.vibrations(temperatures, quantum=self.parameters["quantum"])

    def brings_hessian(self, atoms: Atoms) -> bool:
        """Whether a structure's Hessian is stored, rather than made by the calculator.

        Parameters
        ----------
        atoms : Atoms
        """
        return self._source.stored is not None and self._source.stored.find(atoms) is not None

    def bulk_source(self, crystal: Atoms) -> Any:
        """What gives converged values of a crystal: its stored Hessian, or the calculator.

        Born charges of a stored one play no part: cells with defects have no non-analytic
        correction, and in formation entropies all must be treated alike.

        Parameters
        ----------
        crystal : Atoms

        Returns
        -------
        StoredHessian, or ASE calculator

        Raises
        ------
        InvalidInputError
            If there is neither.
        """
        stored = None if self._source.stored is None else self._source.stored.find(crystal)
        if stored is not None:
            return replace(stored.reordered(crystal), polarity=None)
        if self.wrapped is None:
            raise InvalidInputError(
                "calculator: the infinite crystal needs force constants of wide supercells; pass a "
                "calculator beside the Hessian, or the crystal's Hessian as read_hessian gives it"
            )
        return self.wrapped

    def _engine_for(self, atoms: Atoms, *, gradient: bool) -> Any:
        engine = self.parameters["engine"]
        if engine != "auto":
            return engine
        normalised = self.parameters["decomposition"] == "normalised"
        dense = gradient or normalised or self.parameters["floor"] > 0
        return "dense" if dense or len(free_atoms(atoms)) <= DENSE_LIMIT else "lanczos"

    def _hessian_of(self, atoms: Atoms, sparse: bool) -> Any:
        """Hessian of the free atoms, from wherever this calculator takes it."""
        return self._source(atoms, self.hessian_options, sparse=sparse)

    @property
    def site_error(self) -> float:
        """Largest estimated error of a reduced site entropy in the last calculation, k_B.

        0 after diagonalisation. Balls state none: compare with a larger radius.
        """
        if self._system is None:
            return float("nan")
        if self.parameters["decomposition"] != "normalised":
            return self._system.error
        assert self._crystal is not None
        return self._crystal.site_error(self._system, self.atoms)

    def get_frequencies(self, atoms: Atoms | None = None) -> Array:
        """Energies ħω of all modes but the rigid ones.

        Parameters
        ----------
        atoms : Atoms, optional
            By default those of the last calculation.

        Returns
        -------
        ndarray, shape (n_modes,), or on a mesh (n_q, n_modes), eV
            Ascending; imaginary ones as negative numbers.
        """
        return self._calculated_system(atoms).frequencies

    def get_qpoints(self, atoms: Atoms | None = None) -> Array:
        """Points of `get_frequencies`, in units of the reciprocal cell vectors, (n_q, 3).

        One of each pair (q, -q), which have the same modes; Γ alone without a mesh.
        """
        system = self._calculated_system(atoms)
        return system.points if isinstance(system, MeshSystem) else np.zeros((1, 3))

    def get_weights(self, atoms: Atoms | None = None) -> Array:
        """Weights of the points of `get_frequencies`, shape (n_q,); they sum to 1."""
        system = self._calculated_system(atoms)
        return system.weights if isinstance(system, MeshSystem) else np.ones(1)

    def _calculated_system(self, atoms: Atoms | None) -> Vibrating:
        self._ensure_calculated(atoms)
        if self._system is None:
            raise InvalidInputError("engine: 'ball' knows no single modes; use engine='dense'")
        return self._system

    def get_site_entropy_gradients(
        self, atoms: Atoms | None = None, sites: ArrayLike | None = None
    ) -> Array:
        """Gradients of classical site entropies with respect to all positions.

        [Torabi2024] (C.8), [Torabi2026] (44)-(46), in the calculator's decomposition. Some tens of
        force calls per site; all engines but "ball", of structures that can turn "dense" only.

        Parameters
        ----------
        atoms : Atoms, optional
            By default those of the last calculation.
        sites : array_like of int, shape (n_sites,), optional
            Numbers among the free atoms; all by default.

        Returns
        -------
        ndarray, shape (n_sites, N, 3), eV/K/Å
        """
        system = self._calculated_system(atoms)
        return kB * self.reduced_site_gradients(
            system,
            self.atoms,
            sites,
            mass_weighted=self.parameters["decomposition"] == "mass-weighted",
            per_mode=1 + np.log(check_temperature(self.temperature) / T0),
        )

    def reduced_site_gradients(
        self,
        system: Vibrating,
        atoms: Atoms,
        sites: ArrayLike | None = None,
        *,
        mass_weighted: bool = False,
        per_mode: float = 0.0,
    ) -> Array:
        """Gradients of reduced site entropies of a system that this calculator made.

        Parameters
        ----------
        system : HarmonicSystem
        atoms : Atoms
        sites : array_like of int, shape (n_sites,), optional
            Numbers among the free atoms; all by default.
        mass_weighted : bool
            Of the physical decomposition; otherwise of that of `reduced_site_entropies`.
        per_mode : float, k_B
            Added to the reduced entropy of every mode: 1 + ln(T/T0) at a temperature T.

        Returns
        -------
        ndarray, shape (n_sites, N, 3), k_B/Å
        """
        displaced_forces = self.displaced_forces(atoms)
        options = {"displacement": self.step(system)}
        if mass_weighted or self.parameters["decomposition"] != "normalised":
            return system.site_gradients(
                displaced_forces, sites, mass_weighted=mass_weighted, per_mode=per_mode, **options
            )
        assert self._crystal is not None
        chosen = check_sites(sites, len(system.free))
        normalised = self._crystal.normalise(system, atoms)
        gradients = normalised.site_gradients(displaced_forces, chosen, **options)
        return gradients.reshape(-1, len(atoms), 3)

    def reduced_site_entropies(self, system: Vibrating, atoms: Atoms) -> tuple[Array, Array]:
        """Site entropies that the surrogate learns: mass-free, or normalised where that is set.

        Parameters
        ----------
        system : HarmonicSystem
            Of the atoms, from `harmonic_system`.
        atoms : Atoms

        Returns
        -------
        entropies : ndarray, shape (N,), units of k_B
        modes : ndarray, shape (N,)
            Number of modes per site.
        """
        if self.parameters["decomposition"] != "normalised":
            return system.site_entropies, system.site_modes
        assert self._crystal is not None
        reduced, modes = self._crystal.site_entropies(system, atoms)
        reduced = reduced.copy()
        reduced[system.free] += self._crystal.normalise(system, atoms).site_entropies
        return reduced, modes

    def step(self, system: Vibrating) -> float:
        """Displacement of the differences that a system's gradients are taken by, Å."""
        error = system.step_error
        return self.hessian_options.step if error is None else error.step

    def displaced_forces(self, atoms: Atoms, *, strain: bool = False) -> DisplacedForces:
        """Forces, and virials where strain derivatives are wanted, of displaced copies.

        Raises
        ------
        PropertyNotImplementedError
            If there is a Hessian only, and no calculator; or no volume, where strain is wanted.
        """
        if strain and not has_volume(free_standing(atoms)):
            raise PropertyNotImplementedError(
                "entropy_strain: the reference takes it from stresses, and the structure has "
                "no volume"
            )
        if self.wrapped is None:
            raise PropertyNotImplementedError(
                "forces: entropy gradients need force calls; pass a calculator beside the Hessian"
            )
        return DisplacedForces(atoms, self.wrapped, virial=strain, options=self.hessian_options)

    def _evaluate(self, atoms: Atoms, *, gradient: bool, strain: bool) -> SiteThermodynamics:
        """See `EntropyCalculator._evaluate`."""
        engine = self._engine_for(atoms, gradient=gradient)
        if gradient and engine != "dense":
            raise PropertyNotImplementedError(
                f"forces: engine {engine!r} gives no gradients of totals; use 'dense' or 'auto'"
            )
        displaced_forces = self.displaced_forces(atoms, strain=strain) if gradient else None
        if engine == "ball":
            return SiteThermodynamics(*self._ball_values(atoms))
        if self._system is None or self._system.engine != engine:
            self._system = self.harmonic_system(atoms, gradient=gradient)
        entropies, free_energies = self._site_values(self._system, atoms)
        if displaced_forces is None:
            return SiteThermodynamics(entropies, free_energies)
        derivative = self._gradient(self._system, atoms, displaced_forces)
        strains = (None, None) if derivative.strain is None else derivative.strain
        return SiteThermodynamics(entropies, free_energies, *derivative.positions, *strains)

    def _gradient(
        self, system: Vibrating, atoms: Atoms, displaced_forces: DisplacedForces
    ) -> SpectralGradient:
        displacement = self.step(system)
        # While no mode is unstable, all decompositions have the same total.
        if self.parameters["decomposition"] != "normalised" or system.n_unstable == 0:
            return system.gradient(
                displaced_forces, self._statistics, self.temperature, displacement=displacement
            )
        assert self._crystal is not None
        normalised = self._crystal.normalise(system, atoms)
        assert isinstance(normalised, NormalisedSystem)
        return normalised.gradient(displaced_forces, self.temperature, displacement=displacement)

    @property
    def _statistics(self) -> Statistics:
        return quantum if self.parameters["quantum"] else classical

    def _site_values(self, system: Vibrating, atoms: Atoms) -> tuple[Array, Array]:
        if self.parameters["decomposition"] == "mass-weighted":
            return system.site_thermodynamics(self._statistics, self.temperature)
        return self._classical_values(*self.reduced_site_entropies(system, atoms))

    def _ball_values(self, atoms: Atoms) -> tuple[Array, Array]:
        if len(free_atoms(atoms)) < len(atoms):
            raise InvalidInputError("engine: the ball engine is for structures without FixAtoms")
        if self.wrapped is None:
            raise InvalidInputError(
                "calculator: the ball engine needs one for the crystal's converged value"
            )
        assert self._crystal is not None
        reduced = self._crystal.ball_site_entropies(
            atoms,
            self._hessian_of(atoms, True),
            self.wrapped,
            radius=self.parameters["radius"],
            steps=self.parameters["steps"],
            bulk_width=self.parameters["bulk_width"],
            options=self.hessian_options,
        )
        return self._classical_values(reduced, np.full(len(atoms), 3.0))

    def _classical_values(self, reduced: Array, modes: Array) -> tuple[Array, Array]:
        entropies = classical_entropy(reduced, modes, self.temperature)
        # Equipartition: U = n k_B T, and F = U - T S.
        return entropies, self.temperature * (kB * modes - entropies)


class FiniteDifferenceEntropyCalculator(HessianEntropyCalculator):
    """`HessianEntropyCalculator` with the Hessian from central finite differences of forces.

    Takes the same parameters, and ignores an analytic Hessian, also in infinite crystals.
    """

    default_parameters: dict[str, Any] = {  # noqa: RUF012 - the name is ASE's
        **DEFAULTS,
        "method": "finite-differences",
    }
