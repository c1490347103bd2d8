"""Vibrations of which none is softer than a floor: what is smooth where modes turn soft.

Entropies are logarithms, and a mode that is about to turn unstable makes them diverge. With
⁴√(λ⁴ + c⁴) in place of every eigenvalue λ of the Hessian, sums over modes are smooth, of bounded
slopes, and of the same number of modes everywhere: hence local, as sums over neighbourhoods must
be. Minima are learned better than with bare floors, and than with unstable modes at the floor
(benchmarks/soft_defects.py --learned). What soft modes have beyond that takes few modes, as the
difference falls like (c/λ)⁴: see `ase_vibent.hessian.soft_part`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.entropy import Statistics, classical, mass_entropy, reduced_entropy
from ase_vibent.harmonic.gradient import SpectralGradient, SupportsCurvature
from ase_vibent.harmonic.mesh_derivatives import weighted
from ase_vibent.harmonic.mesh_system import MeshSystem
from ase_vibent.harmonic.modes import Modes
from ase_vibent.harmonic.rigid_motions import RigidComplement
from ase_vibent.harmonic.step_error import StepError


class FlooredMeshSystem(MeshSystem):
    """`MeshSystem` whose Hessian is `stiffened`: classical and mass-free.

    All modes count, unstable ones among them.

    Parameters
    ----------
    atoms, hessian, mesh, free, step_error
        As of `MeshSystem`.
    floor : float, eV/Å²
    """

    def __init__(
        self,
        atoms: Atoms,
        hessian: Any,
        mesh: Sequence[int],
        *,
        floor: float,
        free: NDArray[np.intp] | None = None,
        step_error: StepError | None = None,
    ):
        super().__init__(atoms, hessian, mesh, free=free, unstable="any", step_error=step_error)
        self.floor = floor

    @property
    def n_unstable(self) -> float:
        """None is left out."""
        return 0.0

    @cached_property
    def entropy(self) -> float:
        """Reduced entropy of the cell, masses included, averaged over the mesh, k_B."""
        return float((self._site_sums(reduced_entropy) + mass_entropy(self.masses)).sum())

    def entropy_of(self, hessian: Array, motions: Array) -> float:
        """The same of another Hessian, real, some motions left out."""
        eigenvalues = np.linalg.eigvalsh(RigidComplement(motions).restrict(hessian))
        reduced = reduced_entropy(stiffened(eigenvalues, self.floor))
        return float(reduced.sum() + mass_entropy(self.masses).sum())

    def _site_sums(self, function: Any, *, mass_weighted: bool = True) -> Array:
        """Of the Hessian, whatever is asked for."""
        raised = [
            Modes(stiffened(modes.eigenvalues, self.floor), modes.eigenvectors, 0)
            for modes in self.hessian_modes
        ]
        return self.average([modes.site_sums(function) for modes in raised])

    def gradient(
        self,
        displaced_forces: SupportsCurvature,
        statistics: Statistics,
        temperature: float,
        *,
        displacement: float = 0.01,
    ) -> SpectralGradient:
        """See `MeshSystem.gradient`."""
        if statistics is not classical:
            raise InvalidInputError("floor: it is for classical statistics")
        slopes: list[list[Any]] = [[], []]
        for modes in self.hessian_modes:
            raised = stiffened(modes.eigenvalues, self.floor)
            inner = (modes.eigenvalues / raised) ** 3  # derivative in the eigenvalue
            values = statistics(raised, temperature)
            slopes[0].append(weighted(modes.eigenvectors, inner * values.entropy_slope))
            slopes[1].append(weighted(modes.eigenvectors, inner * values.free_energy_slope))
        return self.derivatives.of_sums(displaced_forces, *slopes, displacement=displacement)

    def site_gradients(
        self,
        displaced_forces: SupportsCurvature,
        sites: ArrayLike | None = None,
        *,
        mass_weighted: bool = False,
        per_mode: float = 0.0,
        displacement: float = 0.01,
    ) -> Array:
        """Not offered."""
        raise InvalidInputError("floor: gradients of sites are without one; leave out floor=")


def stiffened(eigenvalues: Array, floor: float) -> Array:
    """Eigenvalues of the Hessian, none of them below a floor: ⁴√(λ⁴ + c⁴).

    Parameters
    ----------
    eigenvalues : ndarray of any shape, eV/Å²
        Unstable ones among them.
    floor : float, eV/Å²
        0 leaves stable ones as they are.

    Returns
    -------
    ndarray of the same shape, eV/Å²
    """
    return np.asarray((eigenvalues**4 + floor**4) ** 0.25)
