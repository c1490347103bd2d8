"""Gradients of spectral sums from force and stress calls only.

For a sum Σ_ν f(λ_ν) over eigenvalues of the dynamical matrix, with x_ν = M^-½ e_ν,

    ∂/∂u Σ f = Σ_ν f'(λ_ν) x_νᵀ (∂H/∂u) x_ν = -Σ_ν f'(λ_ν) d²F(u + t x_ν)/dt²,

because the contraction of third derivatives of the energy is symmetric. Two force calls
per mode serve every f at once: entropy and free energy, classical or quantum.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ase_vibent.arrays import Array


@dataclass(frozen=True)
class ForcesAndVirial:
    """Forces, and where asked the virial V σ, of one displaced structure.

    Attributes
    ----------
    forces : ndarray, shape (N, 3), eV/Å
    virial : ndarray, shape (3, 3), eV, or None
        Volume times stress, the derivative of the energy with respect to strain.
    """

    forces: Array
    virial: Array | None


@dataclass(frozen=True)
class SpectralGradient:
    """Derivatives of several spectral sums at once.

    Attributes
    ----------
    positions : ndarray, shape (n_sums, N, 3), unit of the sum per Å
    strain : ndarray, shape (n_sums, 3, 3), unit of the sum, or None
    """

    positions: Array
    strain: Array | None


class SupportsCurvature(Protocol):
    """Forces of displaced copies of one structure, see `DisplacedForces`."""

    def expect(self, what: str, n_calls: int, advice: str = "") -> None:
        """Say what so many calls for something will take, once that can be told, if it is long.

        Parameters
        ----------
        what : str
        n_calls : int
        advice : str
            How there would be less to do, to be appended to a sentence.
        """

    def curvatures(self, patterns: Array, displacement: float) -> Iterable[ForcesAndVirial]:
        """Second derivatives d²/dt² of forces and virial at u + t x, of every pattern in order.

        Parameters
        ----------
        patterns : ndarray, shape (n_patterns, N, 3)
            All x.
        displacement : float, Å
            Largest displacement of an atom, where differences are taken.

        Returns
        -------
        iterable of ForcesAndVirial
            eV/Å and eV per square of the unit of t. The virial is that of a strain which the
            pattern does not follow.
        """


def spectral_gradient(
    displaced_forces: SupportsCurvature,
    vectors: Array,
    slopes: Array,
    *,
    displacement: float = 0.01,
) -> SpectralGradient:
    """Differentiate Σ_ν f(λ_ν) along positions and strain.

    Parameters
    ----------
    displaced_forces : SupportsCurvature
        Of the structure.
    vectors : ndarray, shape (n_modes, N, 3), amu^-½
        x_ν = M^-½ e_ν; zero on fixed atoms.
    slopes : ndarray, shape (n_sums, n_modes)
        f'(λ_ν) of each sum.
    displacement : float, Å
        Largest displacement of an atom.

    Returns
    -------
    SpectralGradient
        With strain where the responses hold virials. Atoms follow the strain affinely, the
        x_ν do not.
    """
    positions = np.zeros((len(slopes), *vectors.shape[1:]))
    strain: Array | None = np.zeros((len(slopes), 3, 3))
    displaced_forces.expect("entropy gradient", 2 * len(vectors) + 1)
    curvatures = displaced_forces.curvatures(vectors, displacement)
    for curvature, slope in zip(curvatures, slopes.T, strict=True):
        positions -= slope[:, None, None] * curvature.forces
        if curvature.virial is None:
            strain = None
        elif strain is not None:
            strain += slope[:, None, None] * curvature.virial
    if strain is not None:
        strain = (strain + strain.transpose(0, 2, 1)) / 2
    return SpectralGradient(positions, strain)


def rotation_gradient(
    dynamical_matrix: Array,
    eigenvectors: Array,
    slopes: Array,
    motions: Array,
    axes: Array,
    masses: Array,
) -> Array:
    """What the turning of the projected rotations adds to the gradient.

    Off a minimum the rotations are no null vectors of the Hessian, and their patterns
    move with the atoms. From eᵀT = 0 the derivative of the projector T (TᵀT)⁻¹ Tᵀ
    reduces to eᵀ (∂T/∂u) (TᵀT)⁻¹ Tᵀ D e. It vanishes at a minimum.

    Parameters
    ----------
    dynamical_matrix : ndarray, shape (3n, 3n), eV/Å²/amu
    eigenvectors : ndarray, shape (3n, n_modes)
    slopes : ndarray, shape (n_sums, n_modes)
    motions : ndarray, shape (3n, 3 + n_axes), amu^½
        Mass-weighted, from `rigid_body_motions`.
    axes : ndarray, shape (n_axes, 3)
    masses : ndarray, shape (n,), amu

    Returns
    -------
    ndarray, shape (n_sums, n, 3)
    """
    turning = np.linalg.pinv(motions) @ (dynamical_matrix @ eigenvectors)
    patterns = eigenvectors.T.reshape(eigenvectors.shape[1], len(masses), 3)
    patterns = patterns * np.sqrt(masses)[:, None]
    gradient = np.zeros((len(slopes), len(masses), 3))
    for axis, amount in zip(axes, turning[3:], strict=True):
        gradient -= 2 * np.einsum("sk,k,kni->sni", slopes, amount, np.cross(patterns, axis))
    return gradient
