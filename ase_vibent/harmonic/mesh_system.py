"""Vibrations of a periodic cell averaged over its own Brillouin zone.

A cell with a defect, repeated for ever, has vibrations at every q. Γ alone is one sample of them,
and the reason why entropies of small cells depend on their size. One Hessian of the cell serves
all q, see `Images`. Averages over a half-shifted mesh never meet the translations of Γ: every atom
has three modes, and entropies are extensive.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import block_array, bsr_array

from ase_vibent.arrays import Array, IntArray
from ase_vibent.checks import check_choice
from ase_vibent.errors import InvalidInputError, NarrowCellWarning, UnstableStructureError
from ase_vibent.harmonic.bloch import Translations, translations
from ase_vibent.harmonic.contour import ContourSolver
from ase_vibent.harmonic.entropy import (
    Statistics,
    mass_free_site_entropies,
    reduced_entropy,
    reduced_entropy_of_determinant,
)
from ase_vibent.harmonic.gradient import SpectralGradient, SupportsCurvature
from ase_vibent.harmonic.images import ComplexArray, Images, by_component
from ase_vibent.harmonic.lanczos import lanczos_site_entropies
from ase_vibent.harmonic.mesh import half_shifted_mesh, warn_of_one_atom
from ase_vibent.harmonic.mesh_derivatives import MeshDerivatives, weighted
from ase_vibent.harmonic.modes import (
    Modes,
    check_masses,
    checked_modes,
    dynamical_matrix,
    log_determinant,
    on_all_atoms,
    path_direction,
    solve_modes,
)
from ase_vibent.harmonic.moments import hessian_moments
from ase_vibent.harmonic.periodicity import free_standing
from ase_vibent.harmonic.rigid_motions import RigidComplement
from ase_vibent.harmonic.site_gradient import REDUCED_OFFSET, site_couplings
from ase_vibent.harmonic.spectrum import (
    SiteSpectrum,
    check_sites,
    check_unstable,
    symmetric_matrix,
)
from ase_vibent.harmonic.step_error import StepError
from ase_vibent.harmonic.system import (
    ENGINES,
    Engine,
    HarmonicSystem,
    require_dense,
    require_no_path,
    require_sums,
)

#: Shares of the Hessian told apart by guess from which on errors, and warnings, speak of it.
MENTIONED, WARNED = 0.01, 0.1


class MeshSystem:
    """Harmonic vibrations of the free atoms of a periodic cell, averaged over a mesh of q.

    Offers what `HarmonicSystem` offers. Entropies have three modes an atom and are extensive;
    gradients need as many force calls as at Γ.

    Parameters
    ----------
    atoms : Atoms
        Whole structure, fixed atoms included; periodic along one direction at least.
    hessian : ndarray or sparse array, shape (3n, 3n), eV/Å²
        Of the free atoms of the cell, in their order.
    mesh : three int
        See `half_shifted_mesh`.
    free : ndarray, shape (n,), optional
        Indices of the free atoms; all by default.
    unstable : int or "any"
        Expected number of unstable modes at every q: 0 at a minimum, 1 at a saddle, "any" for
        log⁺.
    engine, tolerance
        As of `HarmonicSystem`. Gradients need "dense".
    tangent : ndarray, shape (N, 3), optional
        Direction of a path through the structure: at every q, motion of all images along it is
        left out of the vibrations. There are no gradients then.
    step_error : StepError, optional
        Of a Hessian by finite differences.
    """

    def __init__(
        self,
        atoms: Atoms,
        hessian: Any,
        mesh: Sequence[int],
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
        self.mesh = tuple(mesh)
        self.points, multiplicities = half_shifted_mesh(self.mesh)
        self.weights = multiplicities / multiplicities.sum()
        self.unstable = check_unstable(unstable)
        self.masses = check_masses(atoms)[self.free]
        self._n_atoms, self.tolerance = len(atoms), tolerance
        check_choice("engine", engine, ENGINES)
        self.engine = engine
        if engine == "dense" and hasattr(hessian, "toarray"):
            hessian = hessian.toarray()
        self.hessian = symmetric_matrix(hessian, 3 * len(self.free))
        whole = free_standing(atoms)
        # Bare: constraints of all atoms cannot be cut to some.
        self._vibrating = vibrating = Atoms(
            positions=whole.positions[self.free], cell=whole.cell, pbc=whole.pbc
        )
        if engine == "dense":
            self.images = Images(vibrating)
        else:
            self._blocks = bsr_array(self.hessian, blocksize=(3, 3))
            self._blocks.sort_indices()
            partners = np.split(self._blocks.indices, self._blocks.indptr[1:-1])
            self.images = Images(vibrating, partners)
        self._warn_of_narrow_cells()
        #: Whether motion along a path is left out.
        self.on_path = tangent is not None
        self._column = np.empty((3 * len(self.free), 0))
        if tangent is not None:
            self._column = path_direction(tangent, len(atoms))[self.free].reshape(-1, 1)

    def hessian_at(self, number: int) -> Any:
        """Hessian H ∘ φ(q) of a point of the mesh, shape (3n, 3n), eV/Å².

        Real at q whose double is a reciprocal vector; sparse unless the engine is "dense".
        """
        phases = self.images.phases(self.points[number])
        if self.engine == "dense":
            return self.hessian * by_component(phases, len(self.free))
        blocks = self._blocks
        data = blocks.data * phases[:, None, None]
        return bsr_array((data, blocks.indices, blocks.indptr), shape=blocks.shape).tocsr()

    def _warn_of_narrow_cells(self) -> None:
        if self._n_atoms == 1:
            warn_of_one_atom()
        elif self.share_at_border > WARNED:
            warnings.warn(
                f"{self.share_at_border:.0%} of the Hessian between atoms lies at the border "
                "between periodic images, and is told apart by guess: the cell is narrower than "
                "the interaction; take a wider one, or mesh='gamma' for its own vibrations",
                NarrowCellWarning,
                stacklevel=3,
            )

    @cached_property
    def share_at_border(self) -> float:
        """Share of the Hessian that lies between images, and is told apart by guess.

        0 where the interaction is shorter than half the cell; see `Images.share_at_border`. 1 for a
        single atom, of whose interaction with its own images the Hessian tells nothing.
        """
        if self._n_atoms == 1:
            return 1.0
        if self.engine == "dense":
            n = len(self.free)
            norms = np.linalg.norm(self.hessian.reshape(n, 3, n, 3), axis=(1, 3))
            norms[np.diag_indices(n)] = 0
            return self.images.share_at_border(norms.ravel())
        rows = np.repeat(np.arange(len(self.free)), np.diff(self._blocks.indptr))
        norms = np.linalg.norm(self._blocks.data, axis=(1, 2))
        return self.images.share_at_border(np.where(rows == self._blocks.indices, 0, norms))

    # --- Modes --------------------------------------------------------------------------------

    @cached_property
    def modes(self) -> list[Modes]:
        """Modes of the dynamical matrix at every point of the mesh; engine "dense" only."""
        require_dense(self.engine)
        return [self._diagonalise(k, mass_weighted=True) for k in range(len(self.points))]

    @cached_property
    def hessian_modes(self) -> list[Modes]:
        """Modes of the Hessian itself at every point of the mesh; engine "dense" only."""
        if self._mass is not None:
            return [modes.scaled(self._mass) for modes in self.modes]
        require_dense(self.engine)
        return [self._diagonalise(k, mass_weighted=False) for k in range(len(self.points))]

    @property
    def _mass(self) -> float | None:
        """The mass of all atoms, if they have one."""
        return float(self.masses[0]) if np.all(self.masses == self.masses[0]) else None

    def _diagonalise(self, number: int, *, mass_weighted: bool) -> Modes:
        # Whether it is stable is not for the Hessian to say.
        unstable = self.unstable if mass_weighted else "any"
        matrix = self._matrix(number, mass_weighted)
        plane_waves = None
        if self._translations is not None:
            plane_waves = self._translations.modes(matrix, self.points[number])
        with self.at_point(number):
            if plane_waves is not None:
                return checked_modes(*plane_waves, unstable)
            complement = RigidComplement(self.left_out(mass_weighted))
            return solve_modes(matrix, complement, unstable=unstable)

    @cached_property
    def _translations(self) -> Translations | None:
        """Those that map the cell on itself, if nothing else forbids to use them."""
        if self.on_path:
            return None
        return translations(self._vibrating, np.unique(self.masses, return_inverse=True)[1])

    def _matrix(self, number: int, mass_weighted: bool) -> Any:
        matrix = self.hessian_at(number)
        return dynamical_matrix(matrix, self.masses) if mass_weighted else matrix

    def left_out(self, mass_weighted: bool) -> Array:
        """Motion that is no vibration, columns: along the path, shape (3n, 0 or 1)."""
        return self._column * (np.repeat(np.sqrt(self.masses), 3)[:, None] if mass_weighted else 1)

    @contextmanager
    def at_point(self, number: int) -> Iterator[None]:
        """Errors of stability say at which q."""
        try:
            yield
        except UnstableStructureError as error:
            q = np.round(self.points[number], 4).tolist()
            share = self.share_at_border
            wider = "a wider cell" + (", or mesh='gamma'," if self._n_atoms > 1 else "")
            raise UnstableStructureError(
                f"{error}; at q = {q} of the cell's mesh {self.mesh}"
                + (
                    f", where {share:.0%} of the Hessian lies at the border between images and had "
                    f"to be shared by guess: {wider} may be needed"
                    if share > MENTIONED
                    else ""
                ),
                error.frequencies,
                error.n_unstable,
            ) from error

    @cached_property
    def _spectra(self) -> list[SiteSpectrum]:
        if self.engine == "dense":
            return list(self.modes)
        return [self._site_spectrum(k, mass_weighted=True) for k in range(len(self.points))]

    @cached_property
    def _hessian_spectra(self) -> list[SiteSpectrum]:
        if self.engine == "dense":
            return list(self.hessian_modes)
        return [self._site_spectrum(k, mass_weighted=False) for k in range(len(self.points))]

    def _site_spectrum(
        self, number: int, *, mass_weighted: bool, sites: IntArray | None = None
    ) -> SiteSpectrum:
        """Local densities of states at a point without diagonalisation."""
        matrix, copies = real_form(self._matrix(number, mass_weighted))
        left_out = np.asarray(np.kron(np.eye(copies), self.left_out(mass_weighted)))
        unstable = 0 if self.unstable == 0 else "any"
        sites = np.arange(len(self.free)) if sites is None else sites
        found: Any
        with self.at_point(number):
            if self.engine == "contour":
                solver = ContourSolver(
                    matrix, motions=left_out, unstable=unstable, tolerance=self.tolerance
                )
                found = solver.spectrum(sites)
            else:
                found = lanczos_site_entropies(
                    matrix, sites, motions=left_out, unstable=unstable, tolerance=self.tolerance
                )
            count = found.n_unstable // copies
            if mass_weighted and self.unstable not in ("any", count):
                raise UnstableStructureError(
                    f"unstable: expected {self.unstable} unstable modes, found {count}; relax the "
                    f"structure, or pass unstable={count}",
                    np.empty(0),
                    count,
                )
        return replace(found, n_unstable=count)

    @property
    def error(self) -> float:
        """Largest estimated error of a site's reduced entropy beside that of the mesh, k_B.

        0 after diagonalisation.
        """
        if self.engine == "dense":
            return 0.0
        solved = [*self._spectra, *self.__dict__.get("_hessian_spectra", ())]
        return max(float(getattr(spectrum, "error", 0.0)) for spectrum in solved)

    # --- Totals -------------------------------------------------------------------------------

    @cached_property
    def _log_determinants(self) -> Array | None:
        """Of the dynamical matrix at every point; None if one is not positive definite."""
        solved = self.engine != "dense" or "modes" in self.__dict__
        if solved or self.unstable not in (0, "any"):
            return None
        complement, found = RigidComplement(self.left_out(True)), []
        for number in range(len(self.points)):
            logarithm = log_determinant(self._matrix(number, True), complement)
            if logarithm is None:
                return None
            found.append(logarithm)
        return np.array(found)

    @cached_property
    def n_unstable(self) -> float:
        """Number of unstable modes of the cell, averaged over the mesh."""
        if self._log_determinants is not None:
            return 0
        return float(self.weights @ [spectrum.n_unstable for spectrum in self._spectra])

    @property
    def n_modes(self) -> float:
        """Number of modes of the cell that enter the sums, averaged over the mesh."""
        return 3 * len(self.free) - self.on_path - self.n_unstable

    @cached_property
    def entropy(self) -> float:
        """Reduced entropy s = -Σ ln(ħω/(k_B T0)) of the cell, averaged over the mesh, k_B."""
        if self._log_determinants is not None:
            mean = float(self.weights @ self._log_determinants)
            return reduced_entropy_of_determinant(mean, self.n_modes)
        return float(self._site_sums(reduced_entropy).sum())

    @property
    def frequencies(self) -> Array:
        """ħω of every mode at every point, shape (n_q, n_modes), eV; imaginary as negative."""
        return np.array([modes.frequencies for modes in self.modes])

    # --- Sites --------------------------------------------------------------------------------

    def _site_sums(self, function: Any, *, mass_weighted: bool = True) -> Array:
        spectra = self._spectra
        if not mass_weighted:
            mass = self._mass
            if mass is None:
                spectra = self._hessian_spectra
            else:  # one solution serves both
                return self._site_sums(lambda eigenvalues: function(mass * eigenvalues))
        return self.average([at_q.site_sums(function) for at_q in spectra])

    def average(self, of_points: Sequence[Array]) -> Array:
        """Mean over the mesh of one array for every point."""
        return np.tensordot(self.weights, np.array(of_points), 1)

    @cached_property
    def site_entropies(self) -> Array:
        """Reduced site entropies in the mass-free decomposition, shape (N,), units of k_B.

        Zero on fixed atoms; they sum to `entropy`.
        """
        sites = self._site_sums(reduced_entropy, mass_weighted=False)
        return self._on_all_atoms(mass_free_site_entropies(sites, self.masses, self.entropy))

    def entropies_of(self, sites: ArrayLike) -> Array:
        """Reduced entropies of chosen sites without masses, see `HarmonicSystem.entropies_of`."""
        chosen = check_sites(sites, len(self.free))
        if self.engine == "dense":
            _ = self.n_unstable  # says whether the structure is as stable as promised
            return self._site_sums(reduced_entropy, mass_weighted=False)[chosen]
        spectra = [
            self._site_spectrum(k, mass_weighted=False, sites=chosen)
            for k in range(len(self.points))
        ]
        return self.average([spectrum.site_sums(reduced_entropy) for spectrum in spectra])

    @property
    def site_modes(self) -> Array:
        """Number of modes per atom, shape (N,), in the mass-free decomposition."""
        return self._on_all_atoms(self._site_sums(np.ones_like, mass_weighted=False))

    def physical_site_sums(self, function: Callable[[Any], Any]) -> Array:
        """Averages over the mesh of what `HarmonicSystem.physical_site_sums` offers."""
        return self._on_all_atoms(self._site_sums(function))

    def site_thermodynamics(
        self, statistics: Statistics, temperature: float
    ) -> tuple[Array, Array]:
        """Site entropies and free energies on the physical modes.

        See `HarmonicSystem.site_thermodynamics`.
        """
        require_sums(self.engine, statistics)
        entropies = self._site_sums(lambda x: statistics(x, temperature).entropy)
        energies = self._site_sums(lambda x: statistics(x, temperature).free_energy)
        return self._on_all_atoms(entropies), self._on_all_atoms(energies)

    def moments(self, species: NDArray[np.int64], n_species: int) -> Array:
        """Mass-free moments of every atom, see `hessian_moments`; zero on fixed atoms.

        Where the interaction is shorter than half the cell, no path closes through an image.
        """
        found = [
            hessian_moments(self.hessian_at(number), species[self.free], n_species)
            for number in range(len(self.points))
        ]
        return self._on_all_atoms(self.average(found))

    # --- Derivatives --------------------------------------------------------------------------

    @cached_property
    def derivatives(self) -> MeshDerivatives:
        """From derivatives in H ∘ φ(q) to those in positions; engine "dense", no path."""
        require_dense(self.engine)
        require_no_path(self.on_path)
        return MeshDerivatives(
            self.hessian, self.images, self.points, self.weights, self.free, self._n_atoms
        )

    def gradient(
        self,
        displaced_forces: SupportsCurvature,
        statistics: Statistics,
        temperature: float,
        *,
        displacement: float = 0.01,
    ) -> SpectralGradient:
        """Gradients of the entropy (eV/K) and of the free energy (eV), in this order.

        See `HarmonicSystem.gradient` for the parameters, `MeshDerivatives` for how.
        """
        derivatives = self.derivatives
        chosen = [statistics(modes.kept, temperature) for modes in self.modes]
        scale = np.repeat(1 / np.sqrt(self.masses), 3)[:, None]
        vectors = [scale * modes.eigenvectors[:, modes.stable] for modes in self.modes]
        return derivatives.of_sums(
            displaced_forces,
            [weighted(x, s.entropy_slope) for x, s in zip(vectors, chosen, strict=True)],
            [weighted(x, s.free_energy_slope) for x, s in zip(vectors, chosen, strict=True)],
            displacement=displacement,
        )

    def site_gradients(
        self,
        displaced_forces: SupportsCurvature,
        sites: ArrayLike | None = None,
        *,
        mass_weighted: bool = False,
        per_mode: float = 0.0,
        displacement: float = 0.01,
    ) -> Array:
        """Gradients of chosen sites' reduced entropies, see `HarmonicSystem.site_gradients`."""
        if self.engine != "dense":
            raise InvalidInputError(
                "mesh: without diagonalisation, gradients of sites are those at Γ; pass "
                "mesh='gamma', or engine='dense'"
            )
        derivatives = self.derivatives
        sites = check_sites(sites, len(self.free))
        scale = np.repeat(1 / np.sqrt(self.masses), 3) if mass_weighted else np.ones(1)
        _ = self.n_unstable  # says whether the structure is as stable as promised
        found: list[list[ComplexArray]] = [[] for _ in sites]
        for modes in self.modes if mass_weighted else self.hessian_modes:
            couplings = site_couplings(modes, sites, REDUCED_OFFSET + per_mode)
            vectors = scale[:, None] * modes.eigenvectors
            for own, (_, coupling) in zip(found, couplings, strict=True):
                own.append(vectors @ coupling @ vectors.conj().T)
        return derivatives.of_sites(displaced_forces, found, displacement=displacement)

    def _on_all_atoms(self, values: Array) -> Array:
        return on_all_atoms(values, self.free, self._n_atoms)


def real_form(matrix: Any) -> tuple[Any, int]:
    """Real matrix with the spectrum of a sparse one, and how often it has every eigenvalue.

    A Hermitian A + iB has that of ((A, -B), (B, A)), every eigenvalue twice, and its first half of
    rows the same local densities of states.
    """
    if not np.iscomplexobj(matrix):
        return matrix, 1
    return block_array([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]]), 2


#: Vibrations of a structure, at Γ or averaged over a mesh.
Vibrating = HarmonicSystem | MeshSystem
