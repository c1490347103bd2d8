"""Harmonic entropy of a crystal through phonopy, as an ASE calculator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_changes
from numpy.typing import ArrayLike

from ase_vibent.arrays import Array, IntArray
from ase_vibent.calculators.base import EntropyCalculator
from ase_vibent.checks import check_positive
from ase_vibent.crystal.bulk import WIDTH, InfiniteCrystal
from ase_vibent.crystal.phonons import (
    Spectrum,
    build_phonons,
    commensurate_points,
    hessian_at,
    prepared_crystal,
    solve_spectrum,
    supercell_hessian_at,
)
from ase_vibent.crystal.stored import sites_in, stored_phonons
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.harmonic.entropy import classical, quantum
from ase_vibent.harmonic.mesh import (
    Mesh,
    check_mesh,
    choose_mesh,
    half_shifted_mesh,
    warn_of_one_atom,
)
from ase_vibent.harmonic.modes import check_masses, signed_frequencies
from ase_vibent.harmonic.spectrum import check_unstable
from ase_vibent.harmonic.thermodynamics import SiteThermodynamics, Vibrations
from ase_vibent.hessian import HessianOptions
from ase_vibent.hessian.options import STEP
from ase_vibent.hessian.readers import as_stored_hessians
from ase_vibent.potentials import resolve_calculator
from ase_vibent.structures.validity import free_atoms


class PhonopyEntropyCalculator(EntropyCalculator):
    """Harmonic entropy and free energy of a crystal, from force constants by phonopy.

    Symmetry saves force calls, which makes it the quick exact route to perfect crystals,
    and q-meshes take it to the infinite crystal. All values are those of the structure
    that is asked for: sums over its modes, averaged over q, and shared out to its atoms
    with weights |e|². There are no forces and no stress; phonopy has none to give.

    The structure is taken as it is, and never reduced to a primitive cell. It must be
    periodic along three directions. FixAtoms is refused, because phonopy moves every
    atom; FixCom and FixSymmetry, leftovers of relaxations, play no part.

    Parameters
    ----------
    calculator : ASE calculator or factory () -> ASE calculator, StoredHessian, or path
        Needs forces; an analytic Hessian (matscipy's `get_hessian`, a property `hessian`)
        is used where there is one. Or the Hessian of a supercell of the structure, or its file:
        with the non-analytic correction where Born charges are known; `supercell` plays no part.
    temperature : float, K
    supercell : three int, or 3 × 3 matrix of int
        Of the force constants; the rows of a matrix are its vectors in terms of the
        structure's, as in `ase.build.make_supercell`. By default the structure itself.
    mesh : "auto", "gamma" or three int
        Half-shifted mesh of the structure's own reciprocal cell, which avoids Γ: 3N modes. "auto"
        goes by the structure's width, as for `HessianEntropyCalculator`, which without a supercell
        has the same values. Away from the points that fit into `supercell`, force constants are
        interpolated: it should be twice as wide as the interaction is long. "gamma" is Γ of
        `supercell` alone.
    unstable : int or "any"
        Expected number of unstable modes: with a mesh 0 or "any", with "gamma" that of the
        supercell. Any other number raises `UnstableStructureError`; "any" leaves them out (log⁺).
    quantum : bool
        Quantum statistics with zero-point energy instead of classical ones.
    bulk_width : float, Å
        Of the supercell behind values of infinite crystals, beside "gamma".
    displacement : float, Å
        Of the finite differences, where the calculator has no analytic Hessian.
    symmetry : bool
        Displace only what differs by symmetry; see `HessianOptions`.
    """

    implemented_properties = [  # noqa: RUF012 - the name and the type are ASE's
        "energy",
        "free_energy",
        "energies",
        "entropy",
        "entropies",
    ]
    default_parameters: dict[str, Any] = {  # noqa: RUF012 - the name is ASE's
        "temperature": 300.0,
        "supercell": (1, 1, 1),
        "mesh": "auto",
        "unstable": 0,
        "quantum": False,
        "bulk_width": WIDTH,
        "displacement": STEP,
        "symmetry": HessianOptions.symmetry,
    }

    sees_modes = True

    def __init__(
        self,
        calculator: object,
        *,
        temperature: float = 300.0,
        supercell: Sequence[int] | Sequence[Sequence[int]] | IntArray = (1, 1, 1),
        mesh: Mesh = "auto",
        unstable: int | str = 0,
        quantum: bool = False,
        bulk_width: float = WIDTH,
        displacement: float = STEP,
        symmetry: bool = HessianOptions.symmetry,
    ):
        stored = as_stored_hessians(calculator)
        self._stored = None if stored is None else stored.hessians[0]
        self.wrapped: Any = None if stored is not None else resolve_calculator(calculator)
        self._phonons: Any = None
        self._spectrum: Spectrum | None = None
        super().__init__(
            temperature=temperature,
            supercell=supercell,
            mesh=mesh,
            unstable=unstable,
            quantum=quantum,
            bulk_width=bulk_width,
            displacement=displacement,
            symmetry=symmetry,
        )

    @property
    def hessian_options(self) -> HessianOptions:
        """How force constants are made."""
        return HessianOptions.among(self.parameters)

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Change parameters, as in ASE; force constants are kept where they stay the same."""
        if "supercell" in kwargs:
            kwargs["supercell"] = _check_supercell(kwargs["supercell"])
        if "mesh" in kwargs:
            kwargs["mesh"] = check_mesh(kwargs["mesh"])
        wanted = {**self.parameters, **kwargs}
        HessianOptions.among(wanted)
        check_unstable(wanted["unstable"])
        check_positive("bulk_width", wanted["bulk_width"], "Å")
        if wanted["mesh"] != "gamma" and wanted["unstable"] not in (0, "any"):
            raise InvalidInputError(
                f"unstable: expected 0 or 'any' with a mesh, got {wanted['unstable']!r}; "
                "modes are counted at Γ only, with mesh='gamma'"
            )
        changed = super().set(**kwargs)
        of_force_constants = {"supercell", "displacement", "symmetry"}
        if of_force_constants.intersection(changed):
            self._phonons = None
        if {*of_force_constants, "mesh"}.intersection(changed):
            self._spectrum = None
        return changed

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Changes since the last calculation, newly fixed atoms included."""
        changes = super().check_state(atoms, tol)
        if not changes and len(free_atoms(atoms)) < len(atoms):
            changes.append("constraints")
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill `results`; called by ASE. Force constants are kept while positions are."""
        if system_changes:
            self._spectrum = None
        if set(system_changes) - {"masses"}:
            self._phonons = None
        # What cannot be honoured is refused before ASE keeps the structure.
        structure = self.atoms if atoms is None else atoms
        if len(free_atoms(structure)) < len(structure):
            raise InvalidStructureError(
                "atoms: phonopy moves every atom, but some are under FixAtoms; remove the "
                "constraint, or use HessianEntropyCalculator"
            )
        super().calculate(atoms, properties, system_changes)

    def get_frequencies(self, atoms: Atoms | None = None) -> Array:
        """Energies ħω at every q-point, unstable modes included.

        Parameters
        ----------
        atoms : Atoms, optional
            By default those of the last calculation.

        Returns
        -------
        ndarray, shape (n_q, 3N), eV
            Ascending, imaginary ones as negative numbers. At Γ the three translations
            stand in front, as exact zeros.

        Raises
        ------
        UnstableStructureError
            If the number of unstable modes is not `unstable`.
        """
        return signed_frequencies(self._spectrum_of(atoms).eigenvalues)

    def get_qpoints(self, atoms: Atoms | None = None) -> Array:
        """Points of `get_frequencies`, in units of the reciprocal cell vectors, (n_q, 3).

        Of a mesh, one of each pair (q, -q); with "gamma", all points that fit into
        `supercell`: together they are its Γ.
        """
        return self._spectrum_of(atoms).points

    def get_weights(self, atoms: Atoms | None = None) -> Array:
        """Weights of the points of `get_frequencies`, shape (n_q,); they sum to 1."""
        return self._spectrum_of(atoms).weights

    def get_number_of_unstable_modes(self, atoms: Atoms | None = None) -> int:
        """Number of imaginary frequencies on the whole mesh, or at Γ of the supercell."""
        return self._spectrum_of(atoms).n_unstable

    def bulk_vibrations(self, crystal: Atoms, temperatures: ArrayLike) -> Vibrations:
        """See `EntropyCalculator.bulk_vibrations`; of the infinite crystal with "gamma", too."""
        if self.parameters["mesh"] != "gamma":
            return self.vibrations(crystal, temperatures)
        source = self.wrapped if self._stored is None else self._stored
        infinite = InfiniteCrystal(
            crystal, source, width=self.parameters["bulk_width"], options=self.hessian_options
        )
        return infinite.vibrations(temperatures, quantum=self.parameters["quantum"])

    def _spectrum_of(self, atoms: Atoms | None) -> Spectrum:
        self._ensure_calculated(atoms)
        assert self._spectrum is not None
        return self._spectrum

    def _evaluate(self, atoms: Atoms, *, gradient: bool, strain: bool) -> SiteThermodynamics:
        """See `EntropyCalculator._evaluate`; there are no derivatives."""
        if self._spectrum is None:
            self._spectrum = self._solve(prepared_crystal(atoms))
        self._spectrum.require_stability(self.parameters["unstable"])
        statistics = quantum if self.parameters["quantum"] else classical
        return SiteThermodynamics(*self._spectrum.site_thermodynamics(statistics, self.temperature))

    def _solve(self, crystal: Atoms) -> Spectrum:
        matrix, mesh = self.parameters["supercell"], choose_mesh(crystal, self.parameters["mesh"])
        # What is wrong with the masses should not cost force calls.
        check_masses(crystal)
        hessian_of: Callable[[Array], Any]
        if self._stored is not None:
            if self._phonons is None:
                self._phonons = stored_phonons(self._stored)
            hessian_of = partial(
                supercell_hessian_at, self._phonons, crystal, sites_in(crystal, self._phonons)[1]
            )
            repeats = self._stored.atoms.cell.array @ np.linalg.inv(crystal.cell.array)
            matrix = np.rint(repeats).astype(int)
            if mesh is None and np.abs(repeats - matrix).max() > 1e-4:
                raise InvalidStructureError(
                    f"atoms: the supercell of {self._stored.origin} is no repetition of their cell"
                )
        else:
            if self._phonons is None:
                self._phonons = build_phonons(
                    crystal, self.wrapped, np.array(matrix), self.hessian_options
                )
            hessian_of = partial(hessian_at, self._phonons)
            matrix = self._phonons.supercell_matrix.T
        if len(self._phonons.supercell) == 1:
            warn_of_one_atom()
        if mesh is None:
            points = commensurate_points(matrix.T)
            return solve_spectrum(hessian_of, crystal, points, np.ones(len(points), int))
        return solve_spectrum(hessian_of, crystal, *half_shifted_mesh(mesh))


def _check_supercell(supercell: Any) -> tuple:
    values = _integers(supercell)
    if values is not None and values.shape == (3,) and np.all(values >= 1):
        return tuple(values.tolist())
    if values is None or values.shape != (3, 3) or np.linalg.det(values) < 0.5:
        raise InvalidInputError(
            "supercell: expected three integers ≥ 1, or a 3 × 3 matrix of integers with a "
            f"positive determinant, got {supercell!r}"
        )
    return tuple(tuple(row) for row in values.tolist())


def _integers(value: Any) -> IntArray | None:
    """Array of a nested sequence of integers, None if it is anything else."""
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        return None
    return array.astype(np.int64) if np.issubdtype(array.dtype, np.integer) else None
