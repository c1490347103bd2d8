"""Converged vibrational entropy of a perfect crystal, from a q-mesh through phonopy."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import ArrayLike, NDArray

from ase_vibent.arrays import Array
from ase_vibent.crystal.phonons import (
    build_phonons,
    mesh_hessians,
    prepared_crystal,
    supercell_hessian_at,
)
from ase_vibent.crystal.stored import sites_in, stored_phonons
from ase_vibent.errors import InvalidInputError, UnstableStructureError
from ase_vibent.harmonic.entropy import (
    T0,
    mass_entropy,
    quantum,
    quantum_correction,
    reduced_entropy,
)
from ase_vibent.harmonic.expansion import density_nodes
from ase_vibent.harmonic.floored import stiffened
from ase_vibent.harmonic.mesh import half_shifted_mesh
from ase_vibent.harmonic.modes import check_masses, dynamical_matrix, signed_frequencies
from ase_vibent.harmonic.thermodynamics import Vibrations, check_temperatures
from ase_vibent.hessian import HessianOptions
from ase_vibent.hessian.stored import StoredHessian
from ase_vibent.hessian.symmetry import phonopy_cell, phonopy_failures, tells_symmetry
from ase_vibent.potentials import resolve_calculator
from ase_vibent.structures.cells import strain_derivatives, strained

#: Points along every direction where quantum statistics are put beside classical ones, for a
#: primitive cell; fewer for larger ones.
CORRECTION_MESH = 8
#: Points along every direction times the distance of lattice planes, Å, for densities of states:
#: acoustic modes down to 0.02 of the largest ω are among them.
DENSITY_WIDTH = 72.0
#: Width of the supercell for force constants, Å.
WIDTH = 15.0
#: Where its atoms are many.
ADVICE = (
    "; --bulk-width (bulk_width) sets how wide that cell is, twice the range of the interaction is "
    "enough"
)


def bulk_site_entropies(
    crystal: Atoms,
    calculator: object,
    *,
    width: float = WIDTH,
    tolerance: float = 1e-5,
    floor: float = 0.0,
    options: HessianOptions = HessianOptions(),
) -> Array:
    """Reduced site entropies of the infinite crystal, in the mass-free decomposition.

    The thermodynamic limit: force constants of a supercell (phonopy's displacements, so
    symmetry saves calls), summed over half-shifted q-meshes that never meet Γ. What a
    mesh of n³ points misses around Γ shrinks as n⁻³ and is extrapolated away.

    Parameters
    ----------
    crystal : Atoms
        Perfect crystal, periodic along three directions: a primitive cell or any supercell.
    calculator : ASE calculator or factory, or StoredHessian
        The latter of a supercell of this crystal, with the non-analytic correction where it tells
        Born charges; width and options then play no part.
    width : float, Å
        The supercell for the force constants is at least this wide in every direction;
        about twice the range of the interaction suffices.
    tolerance : float, k_B per atom
        Convergence in the q-mesh.
    floor : float, eV/Å²
        By which the Hessian is `stiffened`.
    options : HessianOptions
        Of the force constants; see `build_phonons`.

    Returns
    -------
    ndarray, shape (N,), dimensionless (units of k_B)
        s_i = -Σ ln(ħω/(k_B T0)), three modes per atom, masses included.

    Raises
    ------
    InvalidStructureError
        If it is not periodic along three directions, or otherwise unusable.
    UnstableStructureError
        If the crystal has imaginary phonons.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from ase_vibent import bulk_site_entropies
    >>> bulk_site_entropies(bulk("Cu"), EMT(), width=8.0).round(2)
    array([0.75])
    """
    found = InfiniteCrystal(
        crystal, calculator, width=width, tolerance=tolerance, floor=floor, options=options
    )
    return found.site_entropies


class InfiniteCrystal:
    """Vibrations of a crystal's atoms in the thermodynamic limit; see `bulk_site_entropies`.

    Parameters
    ----------
    crystal : Atoms
    calculator : ASE calculator or factory, or StoredHessian
    width, tolerance, floor, options
        As of `bulk_site_entropies`.
    """

    def __init__(
        self,
        crystal: Atoms,
        calculator: object,
        *,
        width: float = WIDTH,
        tolerance: float = 1e-5,
        floor: float = 0.0,
        options: HessianOptions = HessianOptions(),
    ):
        self.crystal = prepared_crystal(crystal)
        self._masses = check_masses(self.crystal)
        self._tolerance, self._floor = tolerance, floor
        everyone = np.arange(len(self.crystal))
        if isinstance(calculator, StoredHessian):
            self._phonons = stored_phonons(calculator)
            self._primitive, self._sites = sites_in(self.crystal, self._phonons)
            return
        self._primitive, self._sites = (
            primitive_cell(self.crystal) if options.symmetry else (self.crystal, everyone)
        )
        self._phonons = _wide_phonons(
            self._primitive, resolve_calculator(calculator), width, options
        )

    @cached_property
    def site_entropies(self) -> Array:
        """Reduced site entropies, mass-free decomposition, masses included, shape (N,), k_B."""
        mass_free = _converged(self._phonons, self._tolerance, self._floor)[self._sites]
        return mass_free + mass_entropy(self._masses)

    @cached_property
    def densities(self) -> Array:
        """Density of states of every atom by `density_nodes`, shape (N, 2, N_NODES).

        λ in eV/Å²/amu, then weights that sum to three.
        """
        inverse = [
            np.mean(1 / self._masses[self._sites == site]) for site in range(len(self._primitive))
        ]
        roots = np.repeat(np.sqrt(inverse), 3)
        height = 1 / self._primitive.cell.reciprocal().lengths().max()
        n_mesh = 2 * max(2, int(np.ceil(DENSITY_WIDTH / height / 2)))
        eigenvalues, weights = [], []
        for points, matrices in mesh_hessians(self._phonons, n_mesh):
            values, vectors = np.linalg.eigh(roots[:, None] * matrices * roots)
            _require_stability(points, values)
            eigenvalues.append(values.ravel())
            weights.append(_site_weights(vectors).transpose(1, 0, 2).reshape(len(inverse), -1))
        all_values, all_weights = np.concatenate(eigenvalues), np.hstack(weights)
        nodes = [density_nodes(all_values, own * 2 / n_mesh**3) for own in all_weights]
        return np.array(nodes)[self._sites]

    def vibrations(self, temperatures: ArrayLike, *, quantum: bool = False) -> Vibrations:
        """Entropy and free energy of all atoms of the cell, three modes each.

        Parameters
        ----------
        temperatures : float or array_like, shape (n,), K
        quantum : bool
            Quantum statistics with zero-point energy instead of classical ones. Their difference
            has no singularity at Γ, and a mesh of 8³ points of a primitive cell suffices for it.

        Returns
        -------
        Vibrations
        """
        chosen = check_temperatures(temperatures, zero=quantum)
        n_modes, cold = 3 * len(self.crystal), chosen == 0
        total, errors = float(self.site_entropies.sum()), [n_modes / 3 * self._tolerance, 0, 0]
        found = Vibrations.classical(total, n_modes, np.where(cold, T0, chosen), errors)
        if not quantum:
            return found
        # At 0 K there is nothing to correct; what is added is all.
        found = replace(found, temperatures=chosen)
        found.entropies[cold] = found.free_energies[cold] = 0.0
        return found + self._quantum_correction(chosen)

    def _quantum_correction(self, temperatures: Array) -> Vibrations:
        cell, sites, copies = self._smallest_cell()
        heights = [1 / atoms.cell.reciprocal().lengths() for atoms in (self._primitive, cell)]
        numbers = np.ceil(CORRECTION_MESH * heights[0].mean() / heights[1] - 1e-9).astype(int)
        points, multiplicities = half_shifted_mesh(np.maximum(numbers, 2).tolist())
        sums = np.zeros((len(temperatures), 2))
        for q, weight in zip(points, multiplicities / multiplicities.sum(), strict=True):
            hessian = supercell_hessian_at(self._phonons, cell, sites, q)
            eigenvalues = np.linalg.eigvalsh(dynamical_matrix(hessian, cell.get_masses()))
            for row, t in zip(sums, temperatures, strict=True):
                change = (quantum_correction if t else quantum)(eigenvalues, t)
                row += weight * np.array([change.entropy.sum(), change.free_energy.sum()])
        entropies, free_energies = sums.T
        return Vibrations(temperatures, entropies, free_energies, np.zeros(3)) * copies

    def _smallest_cell(self) -> tuple[Atoms, NDArray[np.intp], float]:
        """Cell that repeats masses too, primitive site of its atoms, its number in the crystal."""
        of_sites = [self._masses[self._sites == site] for site in range(len(self._primitive))]
        if any(np.ptp(masses) > 0 for masses in of_sites):  # isotopes are mixed
            return self.crystal, self._sites, 1.0
        primitive = self._primitive.copy()
        primitive.set_masses([masses[0] for masses in of_sites])
        return primitive, np.arange(len(primitive)), len(self.crystal) / len(primitive)


def _converged(phonons: Any, tolerance: float, floor: float) -> Array:
    """Mass-free reduced entropy of every primitive site in the limit of fine meshes."""
    n_mesh, coarse, previous = 4, _mesh_average(phonons, 4, floor), None
    while True:
        fine = _mesh_average(phonons, 2 * n_mesh, floor)
        extrapolated = fine + (fine - coarse) / 7
        if previous is not None and np.abs(extrapolated - previous).max() < tolerance:
            break
        if n_mesh >= 32:
            raise InvalidInputError(
                f"tolerance: the q-mesh did not converge to {tolerance} k_B; raise it"
            )
        n_mesh, coarse, previous = 2 * n_mesh, fine, extrapolated
    return extrapolated


def bulk_strain_derivative(
    crystal: Atoms,
    calculator: object,
    *,
    strain: float = 2e-3,
    width: float = WIDTH,
    tolerance: float = 1e-5,
    floor: float = 0.0,
    options: HessianOptions = HessianOptions(),
) -> Array:
    """Derivative of the crystal's converged reduced entropy with respect to strain.

    Parameters
    ----------
    crystal : Atoms
    calculator : ASE calculator or factory
    strain : float
        Of the central differences; atoms follow it affinely.
    width, tolerance, floor, options
        As of `bulk_site_entropies`.

    Returns
    -------
    ndarray, shape (3, 3), dimensionless (units of k_B), for the whole cell
    """
    crystal = prepared_crystal(crystal)

    def total(deformation: Array) -> float:
        sites = bulk_site_entropies(
            strained(crystal, deformation),
            calculator,
            width=width,
            tolerance=tolerance,
            floor=floor,
            options=options,
        )
        return float(sites.sum())

    return np.asarray(voigt_6_to_full_3x3_stress(strain_derivatives(total, strain)))


@phonopy_failures()
def primitive_cell(crystal: Atoms) -> tuple[Atoms, NDArray[np.intp]]:
    """Primitive cell in the crystal's own orientation, and the site of every atom in it.

    Parameters
    ----------
    crystal : Atoms

    Returns
    -------
    primitive : Atoms
        The crystal itself where it cannot be told which atoms are alike.
    sites : ndarray of int, shape (N,)
    """
    from phonopy.structure.cells import get_primitive, guess_primitive_matrix

    if not tells_symmetry(crystal):
        return crystal.copy(), np.arange(len(crystal))
    cell = phonopy_cell(crystal)
    found = get_primitive(cell, guess_primitive_matrix(cell))
    primitive = crystal[found.p2s_map]
    primitive.set_cell(found.cell)
    primitive.positions = found.positions
    return primitive, np.array([found.p2p_map[image] for image in found.s2p_map])


def _wide_phonons(
    primitive: Atoms, calculator: object, width: float, options: HessianOptions
) -> Any:
    """Phonopy object with force constants of a wide supercell; all masses are 1 amu."""
    heights = 1 / primitive.cell.reciprocal().lengths()
    repeats = np.maximum(1, np.ceil(width / heights - 1e-6)).astype(int)
    return build_phonons(primitive, calculator, repeats, options, ADVICE)


def _mesh_average(phonons: Any, n_mesh: int, floor: float) -> Array:
    """Mass-free reduced entropy of every primitive site, averaged over a mesh of an even number."""
    sites = np.zeros(len(phonons.primitive))
    for points, matrices in mesh_hessians(phonons, n_mesh):
        eigenvalues, vectors = np.linalg.eigh(matrices)
        _require_stability(points, eigenvalues)
        entropies = reduced_entropy(stiffened(eigenvalues, floor))
        sites += np.einsum("qiv,qv->i", _site_weights(vectors), entropies)
    return sites * 2 / n_mesh**3


def _require_stability(points: Array, eigenvalues: Array) -> None:
    """Raise UnstableStructureError for imaginary phonons, eigenvalues ascending at every point."""
    lowest = int(eigenvalues[:, 0].argmin())
    if eigenvalues[lowest, 0] <= 0:
        frequencies = signed_frequencies(eigenvalues[lowest])
        raise UnstableStructureError(
            f"crystal: imaginary phonon at q = {np.round(points[lowest], 4).tolist()} "
            f"(ħω = {1e3 * frequencies[0]:.4g} meV); it is not a stable crystal",
            frequencies,
            int(np.sum(eigenvalues[lowest] < 0)),
        )


def _site_weights(vectors: NDArray[np.complex128]) -> Array:
    """Shares of atoms in modes, shape (n_q, N, 3N), of eigenvectors, shape (n_q, 3N, 3N)."""
    n_points, size, _ = vectors.shape
    shares: Array = np.square(np.abs(vectors)).reshape(n_points, size // 3, 3, -1).sum(axis=2)
    return shares
