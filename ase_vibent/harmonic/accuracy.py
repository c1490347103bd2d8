"""How far an exact entropy may be off: by its mesh, by narrow cells, by its Hessian.

Estimates with signs, so that what a defect and its crystal have in common cancels in their
difference, whose error is asked for. All of them are sums at the corner of the Brillouin zone,
where matrices are real.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ase import Atoms

from ase_vibent.arrays import Array
from ase_vibent.harmonic.entropy import reduced_entropy, reduced_entropy_of_determinant
from ase_vibent.harmonic.floored import FlooredMeshSystem
from ase_vibent.harmonic.images import by_component
from ase_vibent.harmonic.mesh_system import MeshSystem, Vibrating
from ase_vibent.harmonic.modes import dynamical_matrix, log_determinant
from ase_vibent.harmonic.periodicity import free_standing
from ase_vibent.harmonic.rigid_motions import RigidComplement, rigid_body_motions


class EntropyErrors(NamedTuple):
    """Estimated errors of a reduced entropy, k_B; NaN where there is no estimate.

    Attributes
    ----------
    mesh : float
        Of a mesh of n points: what one point gives otherwise, divided by n - 1, as errors fall like
        1/n or faster. A mesh of one is compared with Γ, which is worse: half the difference, in
        differences of structures only.
    images : float
        Of blocks of the Hessian at the border between periodic images, which are told apart by
        guess: half of what their phases matter.
    hessian : float
        Of the Hessian itself: what a moved crystal, which must feel no force, matters; with
        finite differences what `StepError` says, if that is more.
    """

    mesh: float
    images: float
    hessian: float


UNKNOWN = EntropyErrors(np.nan, np.nan, np.nan)


def entropy_errors(atoms: Atoms, system: Vibrating) -> EntropyErrors:
    """Estimated errors of the reduced entropy of a system.

    Parameters
    ----------
    atoms : Atoms
        Whose system it is.
    system : HarmonicSystem or MeshSystem

    Returns
    -------
    EntropyErrors
        Known with engine "dense"; at Γ of periodic structures those of mesh and images are not, nor
        is that of the Hessian where atoms are fixed, nor any of one atom in a cell: its Hessian
        tells nothing of how it feels its images.
    """
    if system.engine != "dense" or (len(atoms) == 1 and np.any(atoms.pbc)):
        return UNKNOWN
    found = _dense_errors(atoms, system)
    if system.step_error is None:
        return found
    # Where the Hessian comes from differences, of two estimates of its error the larger.
    known = [value for value in (found.hessian, system.step_error.entropy) if not np.isnan(value)]
    return found._replace(hessian=max(known, key=abs))


def _dense_errors(atoms: Atoms, system: Vibrating) -> EntropyErrors:
    """From the matrix alone."""
    balanced = without_net_forces(system.hessian) if len(system.free) == len(atoms) else None
    motions = system.left_out(mass_weighted=True)
    if not isinstance(system, MeshSystem):
        others = np.nan if np.any(free_standing(atoms).pbc) else 0.0
        if balanced is None:
            return EntropyErrors(others, others, np.nan)
        change = _entropy(balanced, system, motions) - system.entropy
        return EntropyErrors(others, others, change)
    corner = system.images.phases(np.array([0.5 if n else 0.0 for n in system.mesh]))
    unphased = corner.copy()
    unphased[system.images.shared.places] = 1.0
    n = len(system.free)
    phases = by_component(corner, n)
    plain = _entropy(system.hessian * phases, system, motions)
    without = _entropy(system.hessian * by_component(unphased, n), system, motions)
    change = np.nan if balanced is None else _entropy(balanced * phases, system, motions) - plain
    n_points = int(np.prod([number for number in system.mesh if number]))
    if n_points > 1:
        mesh = (plain - system.entropy) / (n_points - 1)
    else:
        weighted = not isinstance(system, FlooredMeshSystem)
        rigid = motions if balanced is None else rigid_body_motions(atoms, mass_weighted=weighted)
        mesh = (_entropy(system.hessian, system, np.hstack([rigid, motions])) - plain) / 2
    return EntropyErrors(float(mesh), (without - plain) / 2, float(change))


def _entropy(hessian: Array, system: Vibrating, motions: Array) -> float:
    """Reduced entropy of a real Hessian's modes that count, some motions left out."""
    if isinstance(system, FlooredMeshSystem):
        return system.entropy_of(hessian, motions)
    matrix, complement = dynamical_matrix(hessian, system.masses), RigidComplement(motions)
    logarithm = log_determinant(matrix, complement)
    if logarithm is not None:
        return reduced_entropy_of_determinant(logarithm, len(matrix) - complement.rank)
    eigenvalues: Array = np.linalg.eigvalsh(complement.restrict(matrix)).astype(float)
    return float(reduced_entropy(eigenvalues[eigenvalues > 0]).sum())


def without_net_forces(hessian: Array) -> Array:
    """Hessian whose blocks of an atom with itself are made to balance all others.

    Parameters
    ----------
    hessian : ndarray, shape (3n, 3n), eV/Å²

    Returns
    -------
    ndarray, shape (3n, 3n), eV/Å²
    """
    n = len(hessian) // 3
    blocks = hessian.reshape(n, 3, n, 3).copy()
    net = blocks.sum(axis=2)
    places = np.arange(n)
    blocks[places, :, places, :] -= (net + net.transpose(0, 2, 1)) / 2
    return blocks.reshape(hessian.shape)
