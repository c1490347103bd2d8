"""The spatial decomposition that is normalised by the perfect crystal.

S_ℓ = -½ Tr [log⁺(F H F)]_ℓℓ with F = H_hom^(-½) on the complement of rigid-body motion:
[Torabi2024] (2.9)-(2.12), (2.22), [Torabi2026] (21)-(23). It needs a crystal with the same sites;
the sites sum to the difference of the entropies while no mode is unstable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.units import kB

from ase_vibent.arrays import Array, IntArray
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.gradient import SpectralGradient, SupportsCurvature, spectral_gradient
from ase_vibent.harmonic.mesh_derivatives import weighted
from ase_vibent.harmonic.mesh_system import MeshSystem, Vibrating
from ase_vibent.harmonic.modes import Modes
from ase_vibent.harmonic.site_gradient import site_couplings, site_gradients
from ase_vibent.harmonic.spectrum import truncate


@dataclass(frozen=True)
class NormalisedModes:
    """Spectrum of F H F.

    Attributes
    ----------
    modes : Modes
        Dimensionless eigenvalues κ and orthonormal eigenvectors v.
    directions : ndarray, shape (3n, n_modes), Å/eV^½
        F v, along which the Hessian's derivative enters that of κ; complex away from Γ.
    """

    modes: Modes
    directions: Any

    @property
    def site_entropies(self) -> Array:
        """S_ℓ, shape (n,), units of k_B: what the site has more than the crystal's."""
        return self.modes.site_sums(lambda eigenvalues: -0.5 * np.log(eigenvalues))

    @property
    def slopes(self) -> Array:
        """Derivative of the sum of S_ℓ in every kept κ, shape (n_kept,)."""
        return -0.5 / self.modes.kept


class NormalisedSystem:
    """A structure's vibrations beside those of the crystal: at Γ, or at every point of a mesh.

    Parameters
    ----------
    system, crystal : HarmonicSystem or MeshSystem
        Of the structure and of the crystal on its sites; both at Γ or on one mesh, engine "dense".

    Raises
    ------
    InvalidInputError
        If the crystal has another number of sites, or an unstable mode.
    UnstableStructureError
        If the number of unstable modes is not the one that the system was promised.
    """

    def __init__(self, system: Vibrating, crystal: Vibrating):
        self._system = system
        if isinstance(system, MeshSystem):
            assert isinstance(crystal, MeshSystem)
            self._points = [
                normalised_modes(system.hessian_at(k), whole, n_unstable=own.n_unstable)
                for k, (own, whole) in enumerate(
                    zip(system.modes, crystal.hessian_modes, strict=True)
                )
            ]
        else:
            assert not isinstance(crystal, MeshSystem)
            self._points = [
                normalised_modes(
                    system.hessian, crystal.hessian_modes, n_unstable=system.n_unstable
                )
            ]

    #: Error of a site, k_B: diagonalisation has none.
    error = 0.0

    @property
    def site_entropies(self) -> Array:
        """S_ℓ, shape (n,), units of k_B: what the site has more than the crystal's."""
        of_points = [point.site_entropies for point in self._points]
        if isinstance(self._system, MeshSystem):
            return self._system.average(of_points)
        return of_points[0]

    def gradient(
        self,
        displaced_forces: SupportsCurvature,
        temperature: float,
        *,
        displacement: float = 0.01,
    ) -> SpectralGradient:
        """Gradients of classical entropy (eV/K) and free energy (eV), in this order.

        Parameters
        ----------
        displaced_forces : SupportsCurvature
            Of the structure.
        temperature : float, K
        displacement : float, Å

        Returns
        -------
        SpectralGradient
        """
        per_sum = kB * np.array([[1.0], [-temperature]])
        columns = [point.directions[:, point.modes.stable] for point in self._points]
        slopes = [per_sum * point.slopes for point in self._points]
        if isinstance(self._system, MeshSystem):
            first, second = (
                [weighted(x, slope[row]) for x, slope in zip(columns, slopes, strict=True)]
                for row in (0, 1)
            )
            return self._system.derivatives.of_sums(
                displaced_forces, first, second, displacement=displacement
            )
        vectors = self._system.patterns(columns[0])
        return spectral_gradient(displaced_forces, vectors, slopes[0], displacement=displacement)

    def site_gradients(
        self,
        displaced_forces: SupportsCurvature,
        sites: IntArray,
        *,
        displacement: float = 0.01,
    ) -> Array:
        """Gradients of chosen S_ℓ, [Torabi2024] (C.8).

        Parameters
        ----------
        displaced_forces : SupportsCurvature
            Of the structure.
        sites : ndarray of int, shape (n_sites,)
        displacement : float, Å

        Returns
        -------
        ndarray, shape (n_sites, N, 3), k_B/Å
        """
        # At every point, couplings of all sites.
        couplings = [
            [coupling for _, coupling in site_couplings(point.modes, sites, offset=0.0)]
            for point in self._points
        ]
        if isinstance(self._system, MeshSystem):
            of_sites = [
                [
                    point.directions @ coupling @ point.directions.conj().T
                    for point, coupling in zip(self._points, own, strict=True)
                ]
                for own in zip(*couplings, strict=True)
            ]
            return self._system.derivatives.of_sites(
                displaced_forces, of_sites, displacement=displacement
            )
        directions = self._points[0].directions
        return site_gradients(
            displaced_forces,
            [truncate(coupling, directions) for coupling in couplings[0]],
            self._system.patterns,
            displacement=displacement,
        )


def normalised_modes(hessian: Any, crystal_modes: Modes, *, n_unstable: int) -> NormalisedModes:
    """Diagonalise a Hessian normalised by that of the perfect crystal.

    Parameters
    ----------
    hessian : ndarray, shape (3n, 3n), eV/Å²
        Symmetric, or Hermitian away from Γ.
    crystal_modes : Modes
        Of the crystal's Hessian, rigid-body motions left out at Γ; all stable.
    n_unstable : int
        Number of the Hessian's unstable modes, which normalising does not change (Sylvester).

    Returns
    -------
    NormalisedModes

    Raises
    ------
    InvalidInputError
        If the crystal has another number of sites, or an unstable mode.
    """
    vectors = crystal_modes.eigenvectors
    if len(vectors) != len(hessian):
        raise InvalidInputError(
            f"crystal: the normalised decomposition needs the same sites, got {len(vectors) // 3} "
            f"for {len(hessian) // 3} atoms; a vacancy has no such decomposition"
        )
    if crystal_modes.n_unstable:
        raise InvalidInputError("crystal: has unstable modes; it is no reference")
    scaled = vectors / np.sqrt(crystal_modes.eigenvalues)
    eigenvalues, columns = np.linalg.eigh(scaled.conj().T @ hessian @ scaled)
    modes = Modes(eigenvalues, vectors @ columns, n_unstable)
    return NormalisedModes(modes, scaled @ columns)
