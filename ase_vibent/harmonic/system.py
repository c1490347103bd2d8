"""One harmonic system: a Hessian, its atoms, and everything exact that follows from them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.entropy import (
    Statistics,
    mass_free_site_entropies,
    reduced_entropy,
    reduced_entropy_of_determinant,
    site_sums,
)
from ase_vibent.harmonic.gradient import (
    ForceResponse,
    SpectralGradient,
    rotation_gradient,
    spectral_gradient,
)
from ase_vibent.harmonic.modes import (
    Modes,
    RigidComplement,
    check_hessian,
    check_masses,
    dynamical_matrix,
    log_determinant,
    rigid_body_motions,
    rotation_axes,
    solve_modes,
)

Array = NDArray[np.float64]


class HarmonicSystem:
    """Harmonic vibrations of the free atoms of a structure.

    Quantities are computed when first asked for: a total entropy costs a Cholesky
    factorisation, sites and gradients a diagonalisation.

    Parameters
    ----------
    atoms : Atoms
        Whole structure, fixed atoms included.
    hessian : ndarray, shape (3n, 3n), eV/Å²
        Of the free atoms, in their order.
    free : ndarray, shape (n,), optional
        Indices of the free atoms; all by default. With fixed atoms nothing is rigid.
    unstable : int or "any"
        Expected number of unstable modes: 0 at a minimum, 1 at a saddle, "any" for the
        log⁺ of P0 (2.10).
    """

    def __init__(
        self,
        atoms: Atoms,
        hessian: Array,
        *,
        free: NDArray[np.intp] | None = None,
        unstable: int | str = 0,
    ):
        self.free = np.arange(len(atoms)) if free is None else free
        self.hessian = check_hessian(hessian)
        if len(self.hessian) != 3 * len(self.free):
            raise InvalidInputError(
                f"hessian: expected {3 * len(self.free)} rows for {len(self.free)} free atoms, "
                f"got {len(self.hessian)}"
            )
        self.unstable = check_unstable(unstable)
        self.masses = check_masses(atoms)[self.free]
        self._n_atoms = len(atoms)
        held = len(self.free) < len(atoms)
        empty = np.empty((len(self.hessian), 0))
        self._axes = np.empty((0, 3)) if held else rotation_axes(atoms)
        self._motions = empty if held else rigid_body_motions(atoms, mass_weighted=True)
        self._plain_motions = empty if held else rigid_body_motions(atoms, mass_weighted=False)

    @cached_property
    def _complement(self) -> RigidComplement:
        return RigidComplement(self._motions)

    @cached_property
    def dynamical_matrix(self) -> Array:
        """Mass-weighted Hessian, shape (3n, 3n), eV/Å²/amu."""
        return dynamical_matrix(self.hessian, self.masses)

    @cached_property
    def modes(self) -> Modes:
        """Modes of the dynamical matrix: the physical vibrations."""
        return solve_modes(self.dynamical_matrix, self._complement, unstable=self.unstable)

    @cached_property
    def hessian_modes(self) -> Modes:
        """Modes of the Hessian itself: the mass-free decomposition."""
        complement = RigidComplement(self._plain_motions)
        # Whether the structure is stable is for the dynamical matrix to say.
        return solve_modes(self.hessian, complement, unstable="any")

    @property
    def frequencies(self) -> Array:
        """ħω of every mode but the rigid ones, shape (n_modes,), eV; imaginary as negative."""
        if "modes" in self.__dict__:
            return self.modes.frequencies
        return solve_modes(
            self.dynamical_matrix, self._complement, unstable=self.unstable, vectors=False
        ).frequencies

    @cached_property
    def n_unstable(self) -> int:
        """Number of unstable modes."""
        return 0 if self._log_determinant is not None else self.modes.n_unstable

    @property
    def n_modes(self) -> int:
        """Number of modes that enter the sums: neither rigid nor unstable."""
        return len(self.hessian) - self._complement.rank - self.n_unstable

    @cached_property
    def _log_determinant(self) -> float | None:
        if self.unstable not in (0, "any") or "modes" in self.__dict__:
            return None
        return log_determinant(self.dynamical_matrix, self._complement)

    @cached_property
    def entropy(self) -> float:
        """Reduced entropy s = -Σ ln(ħω/(k_B T0)) over the kept modes, units of k_B."""
        if self._log_determinant is not None:
            return reduced_entropy_of_determinant(self._log_determinant, self.n_modes)
        return float(reduced_entropy(self._kept).sum())

    @property
    def _kept(self) -> Array:
        return self.modes.eigenvalues[self.modes.stable]

    @cached_property
    def site_entropies(self) -> Array:
        """Reduced site entropies in the mass-free decomposition, shape (N,), units of k_B.

        Zero on fixed atoms; they sum to `entropy`.
        """
        sites = mass_free_site_entropies(self.hessian_modes, self.masses, self.entropy)
        return self._on_all_atoms(sites)

    @property
    def site_modes(self) -> Array:
        """Number of modes per atom, shape (N,), in the mass-free decomposition."""
        return self._on_all_atoms(self.hessian_modes.site_weights.sum(axis=1))

    def site_thermodynamics(
        self, statistics: Statistics, temperature: float
    ) -> tuple[Array, Array]:
        """Site entropies and free energies on the physical modes.

        P0 (B.15), P2 (11): weights |e_νi|² of the dynamical matrix' eigenvectors.

        Parameters
        ----------
        statistics : callable
            `classical` or `quantum`.
        temperature : float, K

        Returns
        -------
        entropies : ndarray, shape (N,), eV/K
        free_energies : ndarray, shape (N,), eV
        """
        values = statistics(self._kept, temperature)
        entropies = site_sums(self.modes, values.entropy)
        free_energies = site_sums(self.modes, values.free_energy)
        return self._on_all_atoms(entropies), self._on_all_atoms(free_energies)

    def gradient(
        self,
        evaluate: Callable[[Array], ForceResponse],
        statistics: Statistics,
        temperature: float,
        *,
        displacement: float = 0.01,
    ) -> SpectralGradient:
        """Gradients of the entropy (eV/K) and of the free energy (eV), in this order.

        Parameters
        ----------
        evaluate : callable
            From a displacement, shape (N, 3), Å, to forces and (where the strain
            derivative is wanted) virial of all atoms.
        statistics : callable
            `classical` or `quantum`.
        temperature : float, K
        displacement : float, Å
            Largest displacement of an atom in the finite differences.

        Returns
        -------
        SpectralGradient
        """
        values = statistics(self._kept, temperature)
        slopes = np.array([values.entropy_slope, values.free_energy_slope])
        eigenvectors = self.modes.eigenvectors[:, self.modes.stable]
        vectors = np.zeros((eigenvectors.shape[1], self._n_atoms, 3))
        patterns = eigenvectors.T.reshape(len(vectors), len(self.free), 3)
        vectors[:, self.free] = patterns / np.sqrt(self.masses)[:, None]
        result = spectral_gradient(evaluate, vectors, slopes, displacement=displacement)
        if len(self._axes):
            result.positions[:, self.free] += rotation_gradient(
                self.dynamical_matrix,
                eigenvectors,
                slopes,
                self._motions,
                self._axes,
                self.masses,
            )
        return result

    def _on_all_atoms(self, values: Array) -> Array:
        full = np.zeros(self._n_atoms)
        full[self.free] = values
        return full


def check_unstable(unstable: int | str) -> int | str:
    """Expected number of unstable modes, validated.

    Parameters
    ----------
    unstable : int or "any"

    Returns
    -------
    int or "any"

    Raises
    ------
    InvalidInputError
    """
    if unstable == "any":
        return unstable
    if isinstance(unstable, bool) or not isinstance(unstable, int | np.integer) or unstable < 0:
        raise InvalidInputError(
            f"unstable: expected a number of modes ≥ 0 or 'any', got {unstable!r}"
        )
    return int(unstable)
