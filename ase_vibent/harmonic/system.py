"""One harmonic system: a Hessian, its atoms, and everything exact that follows from them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from ase_vibent.arrays import Array, IntArray
from ase_vibent.checks import check_choice
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.contour import ContourSolver
from ase_vibent.harmonic.entropy import (
    Statistics,
    classical,
    mass_free_site_entropies,
    reduced_entropy,
    reduced_entropy_of_determinant,
)
from ase_vibent.harmonic.gradient import (
    SpectralGradient,
    SupportsCurvature,
    rotation_gradient,
    spectral_gradient,
)
from ase_vibent.harmonic.krylov import krylov_derivative_factors
from ase_vibent.harmonic.lanczos import lanczos_site_entropies
from ase_vibent.harmonic.modes import (
    Modes,
    check_masses,
    displacement_patterns,
    dynamical_matrix,
    log_determinant,
    on_all_atoms,
    path_direction,
    solve_modes,
)
from ase_vibent.harmonic.moments import hessian_moments
from ase_vibent.harmonic.periodicity import free_standing, warn_of_coupling
from ase_vibent.harmonic.rigid_motions import RigidComplement, body_axes, body_motions, require_hold
from ase_vibent.harmonic.site_gradient import (
    REDUCED_OFFSET,
    rotation_site_gradients,
    site_couplings,
    site_gradients,
)
from ase_vibent.harmonic.spectrum import (
    SiteSpectrum,
    check_sites,
    check_unstable,
    symmetric_matrix,
    truncate,
)
from ase_vibent.harmonic.step_error import StepError

#: How the sums over modes are made; see `HarmonicSystem`.
Engine = Literal["dense", "lanczos", "contour"]
ENGINES: tuple[Engine, ...] = get_args(Engine)


class HarmonicSystem:
    """Harmonic vibrations of the free atoms of a structure.

    Quantities are computed when first asked for. With the dense engine a total entropy costs a
    Cholesky factorisation, sites and gradients a diagonalisation.

    Parameters
    ----------
    atoms : Atoms
        Whole structure, fixed atoms included.
    hessian : ndarray or sparse array, shape (3n, 3n), eV/Å²
        Of the free atoms, in their order.
    free : ndarray, shape (n,), optional
        Indices of the free atoms; all by default. With fixed atoms nothing is rigid: they must
        not let a cluster or wire turn.
    unstable : int or "any"
        Expected number of unstable modes: 0 at a minimum, 1 at a saddle, "any" for the
        log⁺ of [Torabi2024] (2.10).
    engine : {"dense", "lanczos", "contour"}
        Diagonalisation; Lanczos recursions from every site; contour integration with (sparse)
        factorisations. Only the first gives frequencies and gradients of totals.
    tolerance : float, k_B
        Largest error of a site's reduced entropy, without diagonalisation.
    tangent : ndarray, shape (N, 3), optional
        Direction of a path through the structure: motion along it is left out of the vibrations,
        like that of the rigid body. There are no gradients then.
    step_error : StepError, optional
        Of a Hessian by finite differences.
    """

    def __init__(
        self,
        atoms: Atoms,
        hessian: Any,
        *,
        free: NDArray[np.intp] | None = None,
        unstable: int | str = 0,
        engine: Engine = "dense",
        tolerance: float = 1e-6,
        tangent: Array | None = None,
        step_error: StepError | None = None,
    ):
        #: How far finite differences are off, where it is known.
        self.step_error = step_error
        self.free = np.arange(len(atoms)) if free is None else free
        check_choice("engine", engine, ENGINES)
        if hessian.shape[0] != 3 * len(self.free):
            raise InvalidInputError(
                f"hessian: expected {3 * len(self.free)} rows for {len(self.free)} free atoms, "
                f"got {hessian.shape[0]}"
            )
        self.unstable = check_unstable(unstable)
        self.masses = check_masses(atoms)[self.free]
        self._n_atoms = len(atoms)
        held = len(self.free) < len(atoms)
        if held:
            require_hold(atoms, self.free)
        empty = np.empty((3 * len(self.free), 0))
        whole = free_standing(atoms)
        self._axes = np.empty((0, 3)) if held else body_axes(whole)
        self._motions = empty if held else body_motions(whole, mass_weighted=True)
        self._plain_motions = empty if held else body_motions(whole, mass_weighted=False)
        #: Whether motion along a path is left out.
        self.on_path = tangent is not None
        if tangent is not None:
            column = path_direction(tangent, len(atoms))[self.free].reshape(-1, 1)
            roots = np.repeat(np.sqrt(self.masses), 3)[:, None]
            self._motions = np.hstack([self._motions, roots * column])
            self._plain_motions = np.hstack([self._plain_motions, column])
        # Without a mode there is nothing to iterate on.
        self.engine = engine if self._complement.rank < len(empty) else "dense"
        if self.engine == "dense" and hasattr(hessian, "toarray"):
            hessian = hessian.toarray()
        self.hessian = symmetric_matrix(hessian, 3 * len(self.free))
        if whole is not atoms and len(self._axes):
            warn_of_coupling(self.hessian, whole.positions, self._axes)
        self.tolerance = tolerance

    @cached_property
    def _complement(self) -> RigidComplement:
        return RigidComplement(self._motions)

    @cached_property
    def dynamical_matrix(self) -> Any:
        """Mass-weighted Hessian, shape (3n, 3n), eV/Å²/amu."""
        return dynamical_matrix(self.hessian, self.masses)

    @cached_property
    def spectrum(self) -> SiteSpectrum:
        """Local densities of states of the dynamical matrix: the physical vibrations."""
        if self.engine == "dense":
            return solve_modes(self.dynamical_matrix, self._complement, unstable=self.unstable)
        return self._site_spectrum(mass_weighted=True)

    @cached_property
    def hessian_spectrum(self) -> SiteSpectrum:
        """Local densities of states of the Hessian itself: the mass-free decomposition."""
        if self.engine == "dense":
            complement = RigidComplement(self._plain_motions)
            # Whether the structure is stable is for the dynamical matrix to say.
            return solve_modes(self.hessian, complement, unstable="any")
        return self._site_spectrum(mass_weighted=False)

    def left_out(self, mass_weighted: bool) -> Array:
        """Motions that are no vibrations, columns, shape (3n, k); not orthonormalised."""
        return self._motions if mass_weighted else self._plain_motions

    def _site_spectrum(
        self, *, mass_weighted: bool, sites: NDArray[np.int64] | None = None
    ) -> SiteSpectrum:
        if self.engine == "contour":
            return self._contour_solver(mass_weighted).spectrum(sites)
        matrix, motions = self._matrix_and_motions(mass_weighted)
        return lanczos_site_entropies(
            matrix,
            np.arange(len(self.free)) if sites is None else sites,
            motions=motions,
            unstable=self._unstable_in(mass_weighted),
            tolerance=self.tolerance,
        )

    def _contour_solver(self, mass_weighted: bool) -> ContourSolver:
        matrix, motions = self._matrix_and_motions(mass_weighted)
        return ContourSolver(
            matrix,
            motions=motions,
            unstable=self._unstable_in(mass_weighted),
            tolerance=self.tolerance,
        )

    def _matrix_and_motions(self, mass_weighted: bool) -> tuple[Any, Array]:
        if mass_weighted:
            return self.dynamical_matrix, self._motions
        return self.hessian, self._plain_motions

    def _unstable_in(self, mass_weighted: bool) -> int | str:
        """Off a minimum, rotations can make the numbers differ between the two matrices."""
        return self.unstable if mass_weighted or not len(self._axes) else "any"

    @property
    def modes(self) -> Modes:
        """Modes of the dynamical matrix; engine "dense" only."""
        return self._diagonalise(self.spectrum)

    @property
    def hessian_modes(self) -> Modes:
        """Modes of the Hessian itself; engine "dense" only."""
        return self._diagonalise(self.hessian_spectrum)

    def _diagonalise(self, spectrum: SiteSpectrum) -> Modes:
        require_dense(self.engine)
        assert isinstance(spectrum, Modes)
        return spectrum

    @property
    def error(self) -> float:
        """Largest estimated error of a site's reduced entropy, k_B; 0 after diagonalisation."""
        if self.engine == "dense":
            return 0.0
        solved = [self.spectrum, self.__dict__.get("hessian_spectrum")]
        return max(float(getattr(spectrum, "error", 0.0)) for spectrum in solved)

    @property
    def frequencies(self) -> Array:
        """ħω of every mode but the rigid ones, shape (n_modes,), eV; imaginary as negative."""
        if self.engine != "dense" or "spectrum" in self.__dict__:
            return self.modes.frequencies
        return solve_modes(
            self.dynamical_matrix, self._complement, unstable=self.unstable, vectors=False
        ).frequencies

    @cached_property
    def n_unstable(self) -> int:
        """Number of unstable modes."""
        return 0 if self._log_determinant is not None else self.spectrum.n_unstable

    @property
    def n_modes(self) -> int:
        """Number of modes that enter the sums: neither rigid nor unstable."""
        return 3 * len(self.free) - self._complement.rank - self.n_unstable

    @cached_property
    def _log_determinant(self) -> float | None:
        solved = self.engine != "dense" or "spectrum" in self.__dict__
        if solved or self.unstable not in (0, "any"):
            return None
        return log_determinant(self.dynamical_matrix, self._complement)

    @cached_property
    def entropy(self) -> float:
        """Reduced entropy s = -Σ ln(ħω/(k_B T0)) over the kept modes, units of k_B."""
        if self._log_determinant is not None:
            return reduced_entropy_of_determinant(self._log_determinant, self.n_modes)
        return float(self.spectrum.site_sums(reduced_entropy).sum())

    @cached_property
    def site_entropies(self) -> Array:
        """Reduced site entropies in the mass-free decomposition, shape (N,), units of k_B.

        Zero on fixed atoms; they sum to `entropy`.
        """
        sites = self.hessian_spectrum.site_sums(reduced_entropy)
        return self._on_all_atoms(mass_free_site_entropies(sites, self.masses, self.entropy))

    def entropies_of(self, sites: ArrayLike) -> Array:
        """Reduced entropies of chosen sites in the mass-free decomposition, without masses.

        Engines "lanczos" and "contour" evaluate these sites only.

        Parameters
        ----------
        sites : array_like of int, shape (n_sites,)
            Numbers of free atoms, in their order.

        Returns
        -------
        ndarray, shape (n_sites,), units of k_B
            At masses of 1 amu.
        """
        chosen = check_sites(sites, len(self.free))
        if self.engine == "dense":
            self._check_stability()
            return self.hessian_spectrum.site_sums(reduced_entropy)[chosen]
        return self._site_spectrum(mass_weighted=False, sites=chosen).site_sums(reduced_entropy)

    @property
    def site_modes(self) -> Array:
        """Number of modes per atom, shape (N,), in the mass-free decomposition."""
        return self._on_all_atoms(self.hessian_spectrum.site_sums(np.ones_like))

    def physical_site_sums(self, function: Callable[[Any], Any]) -> Array:
        """Σ_ν |e_νi|² f(λ_ν) over the stable modes of the dynamical matrix, shape (N, …).

        Zero on fixed atoms. f takes eigenvalues, eV/Å²/amu, and may have several values of each.
        """
        return self._on_all_atoms(self.spectrum.site_sums(function))

    def site_thermodynamics(
        self, statistics: Statistics, temperature: float
    ) -> tuple[Array, Array]:
        """Site entropies and free energies on the physical modes.

        [Torabi2024] (B.15), [Lapointe2020] (11): weights |e_νi|² of the dynamical matrix'
        eigenvectors.

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
        require_sums(self.engine, statistics)
        entropies = self.spectrum.site_sums(lambda x: statistics(x, temperature).entropy)
        free_energies = self.spectrum.site_sums(lambda x: statistics(x, temperature).free_energy)
        return self._on_all_atoms(entropies), self._on_all_atoms(free_energies)

    def moments(self, species: IntArray, n_species: int) -> Array:
        """Mass-free moments of every atom, see `hessian_moments`; zero on fixed atoms.

        Parameters
        ----------
        species : ndarray of int, shape (N,)
        n_species : int

        Returns
        -------
        ndarray, shape (N, n_columns), (eV/Å²)^k
        """
        return self._on_all_atoms(hessian_moments(self.hessian, species[self.free], n_species))

    def gradient(
        self,
        displaced_forces: SupportsCurvature,
        statistics: Statistics,
        temperature: float,
        *,
        displacement: float = 0.01,
    ) -> SpectralGradient:
        """Gradients of the entropy (eV/K) and of the free energy (eV), in this order.

        Parameters
        ----------
        displaced_forces : SupportsCurvature
            Of the structure; with virials where the strain derivative is wanted.
        statistics : callable
            `classical` or `quantum`.
        temperature : float, K
        displacement : float, Å
            Largest displacement of an atom in the finite differences.

        Returns
        -------
        SpectralGradient
        """
        require_no_path(self.on_path)
        values = statistics(self.modes.kept, temperature)
        slopes = np.array([values.entropy_slope, values.free_energy_slope])
        eigenvectors = self.modes.eigenvectors[:, self.modes.stable]
        vectors = self.patterns(eigenvectors, self.masses)
        result = spectral_gradient(displaced_forces, vectors, slopes, displacement=displacement)
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

    def site_gradients(
        self,
        displaced_forces: SupportsCurvature,
        sites: ArrayLike | None = None,
        *,
        mass_weighted: bool = False,
        per_mode: float = 0.0,
        displacement: float = 0.01,
    ) -> Array:
        """Gradients of chosen sites' reduced entropies with respect to all positions.

        [Torabi2024] (C.8), [Torabi2026] (44)-(46). Some tens of force calls per site.

        Parameters
        ----------
        displaced_forces : SupportsCurvature
            Of the structure.
        sites : array_like of int, shape (n_sites,), optional
            Numbers of free atoms, in their order; all by default.
        mass_weighted : bool
            Of the physical decomposition instead of the mass-free one.
        per_mode : float, k_B
            Added to the reduced entropy of every mode: 1 + ln(T/T0) at a temperature T.
        displacement : float, Å

        Returns
        -------
        ndarray, shape (n_sites, N, 3), k_B/Å

        Raises
        ------
        InvalidInputError
            If the structure can turn, and the engine is not "dense".
        """
        require_no_path(self.on_path)
        sites = check_sites(sites, len(self.free))
        masses = self.masses if mass_weighted else np.ones(len(self.free))
        offset = REDUCED_OFFSET + per_mode
        if self.engine == "dense":
            self._check_stability()
            modes = self.modes if mass_weighted else self.hessian_modes
            couplings = [c for _, c in site_couplings(modes, sites, offset)]
            factors = [truncate(c, modes.eigenvectors) for c in couplings]
        elif len(self._axes):
            raise InvalidInputError(
                f"engine: {self.engine!r} gives no site gradients of a structure that can turn; "
                "use 'dense'"
            )
        elif self.engine == "contour":
            factors = self._contour_solver(mass_weighted).derivative_factors(sites, per_mode)
        else:
            matrix, motions = self._matrix_and_motions(mass_weighted)
            factors = krylov_derivative_factors(
                matrix,
                sites,
                motions=motions,
                unstable=self._unstable_in(mass_weighted),
                tolerance=min(self.tolerance, 1e-6),
                offset=offset,
            )
        result = site_gradients(
            displaced_forces,
            factors,
            lambda vectors: self.patterns(vectors, masses),
            displacement=displacement,
        ).reshape(-1, self._n_atoms, 3)
        if len(self._axes):
            result[:, self.free] += rotation_site_gradients(
                modes, sites, *self._matrix_and_motions(mass_weighted), self._axes, masses, offset
            )
        return result

    def patterns(self, vectors: Array, masses: Array | None = None) -> Array:
        """Displacement patterns of all atoms from columns over the free ones.

        Parameters
        ----------
        vectors : ndarray, shape (3n, k)
        masses : ndarray, shape (n,), amu, optional
            Where the columns are mass-weighted.

        Returns
        -------
        ndarray, shape (k, N, 3)
        """
        scale = 1.0 if masses is None else np.repeat(np.sqrt(masses), 3)[:, None]
        return displacement_patterns(vectors / scale, self.free, self._n_atoms)

    def _check_stability(self) -> None:
        """Raise unless there are as many unstable modes as expected."""
        _ = self.n_unstable

    def _on_all_atoms(self, values: Array) -> Array:
        return on_all_atoms(values, self.free, self._n_atoms)


def require_dense(engine: Engine) -> None:
    """Raise InvalidInputError unless the engine diagonalises."""
    if engine != "dense":
        raise InvalidInputError(f"engine: {engine!r} knows no single modes; use engine='dense'")


def require_no_path(on_path: bool) -> None:
    """Raise InvalidInputError if motion along a path is left out, where gradients are wanted."""
    if on_path:
        raise InvalidInputError(
            "tangent: no gradients of vibrations orthogonal to a path, whose direction would "
            "change too; take differences of values"
        )


def require_sums(engine: Engine, statistics: Statistics) -> None:
    """Raise InvalidInputError unless the engine is for these statistics."""
    if engine == "contour" and statistics is not classical:
        # Bose statistics are singular all along the cut that the contour skirts.
        raise InvalidInputError(
            "engine: 'contour' is for classical statistics; use 'dense' or 'lanczos'"
        )
