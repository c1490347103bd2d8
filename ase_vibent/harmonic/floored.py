"""Vibrations of which none is softer than a floor: what is smooth where modes turn soft.

Entropies are logarithms, and a mode that is about to turn unstable makes them diverge. With every
eigenvalue λ of the Hessian below a floor c counted as c, sums over modes have bounded slopes, and
the same number of modes everywhere. What soft modes have beyond that, ½ ln(c/λ) each, takes few
modes: see `ase_vibent.hessian.soft_part`.
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
from ase_vibent.harmonic.entropy import (
    Statistics,
    classical,
    mass_entropy,
    reduced_entropy,
)
from ase_vibent.harmonic.gradient import SpectralGradient, SupportsCurvature
from ase_vibent.harmonic.mesh_derivatives import weighted
from ase_vibent.harmonic.mesh_system import MeshSystem
from ase_vibent.harmonic.modes import Modes
from ase_vibent.harmonic.rigid_motions import RigidComplement
from ase_vibent.harmonic.step_error import StepError


class FlooredMeshSystem(MeshSystem):
    """`MeshSystem` whose Hessian has no eigenvalue below a floor: classical and mass-free.

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
        return floored_entropy(eigenvalues, self.floor) + float(mass_entropy(self.masses).sum())

    def _site_sums(self, function: Any, *, mass_weighted: bool = True) -> Array:
        """Of the Hessian, whatever is asked for."""
        raised = [
            Modes(np.maximum(modes.eigenvalues, self.floor), modes.eigenvectors, 0)
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
        """See `MeshSystem.gradient`; modes at the floor stay there."""
        if statistics is not classical:
            raise InvalidInputError("floor: it is for classical statistics")
        slopes: list[list[Any]] = [[], []]
        for modes in self.hessian_modes:
            above = modes.eigenvalues > self.floor
            values = statistics(modes.eigenvalues[above], temperature)
            vectors = modes.eigenvectors[:, above]
            slopes[0].append(weighted(vectors, values.entropy_slope))
            slopes[1].append(weighted(vectors, values.free_energy_slope))
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


def floored_entropy(eigenvalues: Array, floor: float) -> float:
    """Sum of `reduced_entropy` of modes no softer than a floor.

    Parameters
    ----------
    eigenvalues : ndarray, eV/Å²
        Of the Hessian, unstable ones among them.
    floor : float, eV/Å²

    Returns
    -------
    float, k_B
    """
    return float(reduced_entropy(np.maximum(eigenvalues, floor)).sum())
