"""Converged vibrational entropy of a perfect crystal, from a q-mesh through phonopy."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent.errors import InvalidInputError, InvalidStructureError, UnstableStructureError
from ase_vibent.harmonic.entropy import mass_entropy, reduced_entropy
from ase_vibent.harmonic.modes import check_masses, signed_frequencies
from ase_vibent.hessian import (
    DisplacedForces,
    compute_hessian,
    has_analytic_hessian,
    resolve_calculator,
)
from ase_vibent.structures import check_structure

Array = NDArray[np.float64]


def bulk_site_entropies(
    crystal: Atoms,
    calculator: object,
    *,
    width: float = 15.0,
    tolerance: float = 1e-5,
    displacement: float = 0.01,
) -> Array:
    """Reduced site entropies of the infinite crystal, in the mass-free decomposition.

    The thermodynamic limit: force constants of a supercell (phonopy's displacements, so
    symmetry saves calls), summed over half-shifted q-meshes that never meet Γ. What a
    mesh of n³ points misses around Γ shrinks as n⁻³ and is extrapolated away.

    Parameters
    ----------
    crystal : Atoms
        Perfect crystal, periodic along three directions: a primitive cell or any supercell.
    calculator : ASE calculator or factory
    width : float, Å
        The supercell for the force constants is at least this wide in every direction;
        about twice the range of the interaction suffices.
    tolerance : float, k_B per atom
        Convergence in the q-mesh.
    displacement : float, Å
        Of the finite differences, where the calculator has no analytic Hessian.

    Returns
    -------
    ndarray, shape (N,), dimensionless (units of k_B)
        s_i = -Σ ln(ħω/(k_B T0)), three modes per atom, masses included.

    Raises
    ------
    UnstableStructureError
        If the crystal has imaginary phonons.
    """
    if not np.all(crystal.pbc):
        raise InvalidStructureError(
            f"crystal: expected periodicity along three directions, got pbc={crystal.pbc}; "
            "surfaces, wires and clusters have no bulk value"
        )
    masses = check_masses(crystal)
    crystal = _prepared(crystal)
    primitive, primitive_site = _primitive_cell(crystal)
    phonons = _phonons(primitive, resolve_calculator(calculator), width, displacement)
    n_mesh, coarse, previous = 4, _mesh_average(phonons, 4), None
    while True:
        fine = _mesh_average(phonons, 2 * n_mesh)
        extrapolated = fine + (fine - coarse) / 7
        if previous is not None and np.abs(extrapolated - previous).max() < tolerance:
            break
        if n_mesh >= 32:
            raise InvalidInputError(
                f"tolerance: the q-mesh did not converge to {tolerance} k_B; raise it"
            )
        n_mesh, coarse, previous = 2 * n_mesh, fine, extrapolated
    return extrapolated[primitive_site] + mass_entropy(masses)


def bulk_strain_derivative(
    crystal: Atoms, calculator: object, *, strain: float = 2e-3, **options: float
) -> Array:
    """Derivative of the crystal's converged reduced entropy with respect to strain.

    Parameters
    ----------
    crystal : Atoms
    calculator : ASE calculator or factory
    strain : float
        Of the central differences; atoms follow it affinely.
    **options
        Passed on to `bulk_site_entropies`.

    Returns
    -------
    ndarray, shape (3, 3), dimensionless (units of k_B), for the whole cell
    """
    derivative = np.zeros((3, 3))
    crystal = _prepared(crystal)
    for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        totals = []
        for amount in (strain, -strain):
            deformation = np.zeros((3, 3))
            deformation[a, b] += amount / 2
            deformation[b, a] += amount / 2
            strained = crystal.copy()
            strained.set_cell(crystal.cell.array @ (np.eye(3) + deformation), scale_atoms=True)
            totals.append(bulk_site_entropies(strained, calculator, **options).sum())
        derivative[a, b] = derivative[b, a] = (totals[0] - totals[1]) / (2 * strain)
    return derivative


def _prepared(crystal: Atoms) -> Atoms:
    """Copy without constraints, which would hold strains in place, in a right-handed cell."""
    check_structure(crystal)
    copy: Atoms = crystal.copy()
    copy.set_constraint()
    if copy.cell.handedness < 0:  # phonopy refuses it
        copy.set_cell(copy.cell.array[[1, 0, 2]])
    return copy


def _primitive_cell(crystal: Atoms) -> tuple[Atoms, NDArray[np.intp]]:
    """Primitive cell in the crystal's own orientation, and the site of every atom in it."""
    from phonopy.structure.cells import get_primitive, guess_primitive_matrix

    cell = _phonopy_cell(crystal)
    found = get_primitive(cell, guess_primitive_matrix(cell))
    primitive = crystal[found.p2s_map]
    primitive.set_cell(found.cell)
    primitive.positions = found.positions
    return primitive, np.array([found.p2p_map[image] for image in found.s2p_map])


def _phonopy_cell(atoms: Atoms) -> Any:
    from phonopy.structure.atoms import PhonopyAtoms

    moments = atoms.get_initial_magnetic_moments()
    return PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(),
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(),
        masses=np.ones(len(atoms)),
        magnetic_moments=moments if np.any(moments) else None,
    )


def _phonons(primitive: Atoms, calculator: object, width: float, displacement: float) -> Any:
    """Phonopy object with force constants of a wide supercell; all masses are 1 amu."""
    from phonopy import Phonopy

    heights = 1 / np.linalg.norm(np.linalg.inv(primitive.cell.array), axis=0)
    repeats = np.maximum(1, np.ceil(width / heights - 1e-6)).astype(int)
    with warnings.catch_warnings():
        # A supercell of fewer symmetries only costs displacements.
        warnings.filterwarnings("ignore", message="Warning: Point group symmetries")
        phonons = Phonopy(_phonopy_cell(primitive), np.diag(repeats), "P")
    origin = phonons.supercell.u2u_map
    images = primitive[[origin[s] for s in phonons.supercell.s2u_map]]
    images.set_cell(phonons.supercell.cell)
    images.positions = phonons.supercell.positions
    if has_analytic_hessian(calculator):
        hessian = compute_hessian(images, calculator).reshape(len(images), 3, len(images), 3)
        phonons.force_constants = np.ascontiguousarray(hessian.transpose(0, 2, 1, 3))
        return phonons
    phonons.generate_displacements(distance=displacement, is_plusminus=True)
    responses = DisplacedForces(images, calculator)
    rest = images.positions
    phonons.forces = np.array(
        [responses(cell.positions - rest).forces for cell in phonons.supercells_with_displacements]
    )
    phonons.produce_force_constants()
    phonons.symmetrize_force_constants()
    return phonons


def _mesh_average(phonons: Any, n_mesh: int) -> Array:
    """Mass-free reduced entropy of every primitive site, averaged over a half-shifted mesh."""
    grid = (np.arange(n_mesh) + 0.5) / n_mesh - 0.5
    # q and -q have the same modes: half of the mesh suffices.
    points = np.stack(np.meshgrid(grid[: n_mesh // 2], grid, grid, indexing="ij"), axis=-1)
    dynamical = phonons.dynamical_matrix
    sites = np.zeros(len(phonons.primitive))
    for q in points.reshape(-1, 3):
        dynamical.run(q)
        eigenvalues, vectors = np.linalg.eigh(dynamical.dynamical_matrix)
        if eigenvalues[0] <= 0:
            frequencies = signed_frequencies(eigenvalues)
            raise UnstableStructureError(
                f"crystal: imaginary phonon at q = {np.round(q, 4).tolist()} "
                f"(ħω = {1e3 * frequencies[0]:.4g} meV); it is not a stable crystal",
                frequencies,
                int(np.sum(eigenvalues < 0)),
            )
        weights = (np.abs(vectors) ** 2).reshape(len(sites), 3, -1).sum(axis=1)
        sites += weights @ reduced_entropy(eigenvalues)
    return sites / (n_mesh**3 / 2)
