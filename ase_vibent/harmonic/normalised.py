"""The spatial decomposition that is normalised by the perfect crystal.

S_ℓ = -½ Tr [log⁺(F H F)]_ℓℓ with F = H_hom^(-½) on the complement of rigid-body motion:
[Torabi2024] (2.9)-(2.12), (2.22), [Torabi2026] (21)-(23). It needs a crystal with the same sites;
the sites sum to the difference of the entropies while no mode is unstable.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.modes import Modes, check_hessian
from ase_vibent.harmonic.site_gradient import site_couplings
from ase_vibent.harmonic.spectrum import DerivativeFactors, truncate


@dataclass(frozen=True)
class NormalisedModes:
    """Spectrum of F H F.

    Attributes
    ----------
    modes : Modes
        Dimensionless eigenvalues κ and orthonormal eigenvectors v.
    directions : ndarray, shape (3n, n_modes), Å/eV^½
        F v, along which the Hessian's derivative enters that of κ.
    """

    modes: Modes
    directions: Array

    @property
    def site_entropies(self) -> Array:
        """S_ℓ, shape (n,), units of k_B: what the site has more than the crystal's."""
        return self.modes.site_sums(lambda eigenvalues: -0.5 * np.log(eigenvalues))

    @property
    def slopes(self) -> Array:
        """Derivative of the sum of S_ℓ in every kept κ, shape (n_kept,)."""
        return -0.5 / self.modes.kept

    def derivative_factors(self, sites: Iterable[int]) -> list[DerivativeFactors]:
        """Factors of the derivatives of chosen S_ℓ in the Hessian, [Torabi2024] (C.8)."""
        couplings = site_couplings(self.modes, sites, offset=0.0)
        return [truncate(coupling, self.directions) for _, coupling in couplings]


def normalised_modes(hessian: Array, crystal_modes: Modes, *, n_unstable: int) -> NormalisedModes:
    """Diagonalise a Hessian normalised by that of the perfect crystal.

    Parameters
    ----------
    hessian : ndarray, shape (3n, 3n), eV/Å²
    crystal_modes : Modes
        Of the crystal's Hessian, rigid-body motions left out; all stable.
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
    hessian = check_hessian(hessian)
    vectors = crystal_modes.eigenvectors
    if len(vectors) != len(hessian):
        raise InvalidInputError(
            f"crystal: the normalised decomposition needs the same sites, got {len(vectors) // 3} "
            f"for {len(hessian) // 3} atoms; a vacancy has no such decomposition"
        )
    if crystal_modes.n_unstable:
        raise InvalidInputError("crystal: has unstable modes; it is no reference")
    scaled = vectors / np.sqrt(crystal_modes.eigenvalues)
    eigenvalues, columns = np.linalg.eigh(scaled.T @ hessian @ scaled)
    modes = Modes(eigenvalues, vectors @ columns, n_unstable)
    return NormalisedModes(modes, scaled @ columns)
