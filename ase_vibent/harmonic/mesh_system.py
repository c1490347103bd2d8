"""Vibrations of a periodic cell averaged over its own Brillouin zone.

A cell with a defect, repeated for ever, has vibrations at every q. Γ alone is one sample of them,
and the reason why entropies of small cells depend on their size. One Hessian of the cell serves
all q, see `Images`. Averages over a half-shifted mesh never meet the translations of Γ: every atom
has three modes, and entropies are extensive.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgError, cholesky, eigh

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidInputError, UnstableStructureError
from ase_vibent.harmonic.entropy import (
    Statistics,
    mass_free_site_entropies,
    reduced_entropy,
    reduced_entropy_of_determinant,
)
from ase_vibent.harmonic.gradient import SpectralGradient, SupportsCurvature, spectral_gradient
from ase_vibent.harmonic.images import ComplexArray, Images
from ase_vibent.harmonic.mesh import half_shifted_mesh
from ase_vibent.harmonic.modes import (
    NOISE,
    Modes,
    RigidComplement,
    check_masses,
    dynamical_matrix,
    path_direction,
    require_stability,
)
from ase_vibent.harmonic.moments import hessian_moments
from ase_vibent.harmonic.site_gradient import REDUCED_OFFSET, site_couplings, site_gradients
from ase_vibent.harmonic.spectrum import check_sites, check_unstable, symmetric_matrix, truncate
from ase_vibent.harmonic.system import HarmonicSystem


class MeshSystem:
    """Harmonic vibrations of the free atoms of a periodic cell, averaged over a mesh of q.

    Offers what `HarmonicSystem` offers with its dense engine. Entropies have three modes an atom
    and are extensive; gradients need as many force calls as at Γ.

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
    tangent : ndarray, shape (N, 3), optional
        Direction of a path through the structure: at every q, motion of all images along it is
        left out of the vibrations. There are no gradients then.
    """

    #: Sums over modes are by diagonalisation.
    engine = "dense"
    #: Largest estimated error of a site's reduced entropy beside that of the mesh, k_B.
    error = 0.0

    def __init__(
        self,
        atoms: Atoms,
        hessian: Any,
        mesh: Sequence[int],
        *,
        free: NDArray[np.intp] | None = None,
        unstable: int | str = 0,
        tangent: Array | None = None,
    ):
        self.free = np.arange(len(atoms)) if free is None else free
        self.mesh = tuple(mesh)
        self.points, self.weights = half_shifted_mesh(self.mesh)
        self.unstable = check_unstable(unstable)
        self.masses = check_masses(atoms)[self.free]
        self._n_atoms = len(atoms)
        if hasattr(hessian, "toarray"):
            hessian = hessian.toarray()
        self.hessian: Array = symmetric_matrix(hessian, 3 * len(self.free))
        self.images = Images(atoms[self.free])
        self._tangent = tangent
        #: Whether motion along a path is left out.
        self.on_path = tangent is not None
        if tangent is not None:
            self._column = path_direction(tangent, len(atoms))[self.free].reshape(-1, 1)

    def hessian_at(self, number: int) -> ComplexArray:
        """Hessian H ∘ φ(q) of a point of the mesh, shape (3n, 3n), eV/Å²."""
        return self.hessian * self._phases(number)

    def _phases(self, number: int) -> ComplexArray:
        phases = self.images.phases(self.points[number])
        return np.repeat(np.repeat(phases, 3, axis=0), 3, axis=1)

    # --- Modes --------------------------------------------------------------------------------

    @cached_property
    def modes(self) -> list[Modes]:
        """Modes of the dynamical matrix at every point of the mesh."""
        return [self._solve(k, mass_weighted=True) for k in range(len(self.points))]

    @cached_property
    def hessian_modes(self) -> list[Modes]:
        """Modes of the Hessian itself at every point of the mesh."""
        if np.all(self.masses == 1.0):
            return self.modes
        return [self._solve(k, mass_weighted=False) for k in range(len(self.points))]

    def _solve(self, number: int, *, mass_weighted: bool) -> Modes:
        complement = self._complement(mass_weighted)
        matrix = _restrict(self._matrix(number, mass_weighted), complement)
        eigenvalues, vectors = eigh(matrix, driver="evd", check_finite=False)
        # Whether the structure is stable is for the dynamical matrix to say.
        self._require_stability(eigenvalues, number, self.unstable if mass_weighted else "any")
        return Modes(eigenvalues, _expand(vectors, complement), int(np.sum(eigenvalues < 0)))

    def _matrix(self, number: int, mass_weighted: bool) -> ComplexArray:
        matrix = self.hessian_at(number)
        return dynamical_matrix(matrix, self.masses) if mass_weighted else matrix

    def _complement(self, mass_weighted: bool) -> RigidComplement:
        if self._tangent is None:
            return RigidComplement(np.empty((3 * len(self.free), 0)))
        roots = np.repeat(np.sqrt(self.masses), 3)[:, None] if mass_weighted else 1.0
        return RigidComplement(roots * self._column)

    def _require_stability(self, eigenvalues: Array, number: int, unstable: int | str) -> None:
        try:
            require_stability(eigenvalues, unstable)
        except UnstableStructureError as error:
            q = np.round(self.points[number], 4).tolist()
            share = self.images.share_at_border(self.hessian)
            raise UnstableStructureError(
                f"{error}; at q = {q} of the cell's mesh {self.mesh}"
                + (
                    f", where {share:.0%} of the Hessian lies at the border between images and had "
                    "to be shared by guess: a wider cell, or mesh='gamma', may be needed"
                    if share > 0.01
                    else ""
                ),
                error.frequencies,
                error.n_unstable,
            ) from error

    # --- Totals -------------------------------------------------------------------------------

    @cached_property
    def _log_determinants(self) -> Array | None:
        """Of the dynamical matrix at every point; None if one is not positive definite."""
        if "modes" in self.__dict__ or self.unstable not in (0, "any"):
            return None
        complement, found = self._complement(True), []
        for number in range(len(self.points)):
            matrix = _restrict(self._matrix(number, True), complement)
            try:
                factor = cholesky(matrix, check_finite=False)
            except LinAlgError:
                return None
            diagonal = np.diag(factor).real ** 2
            if np.any(diagonal <= NOISE * diagonal.max(initial=0.0)):
                return None
            found.append(np.sum(np.log(diagonal)))
        return np.array(found)

    @cached_property
    def n_unstable(self) -> float:
        """Number of unstable modes of the cell, averaged over the mesh."""
        if self._log_determinants is not None:
            return 0
        return float(self.weights @ [modes.n_unstable for modes in self.modes])

    @property
    def n_modes(self) -> float:
        """Number of modes of the cell that enter the sums, averaged over the mesh."""
        return 3 * len(self.free) - (self._tangent is not None) - self.n_unstable

    @cached_property
    def entropy(self) -> float:
        """Reduced entropy s = -Σ ln(ħω/(k_B T0)) of the cell, averaged over the mesh, k_B."""
        if self._log_determinants is not None:
            mean = float(self.weights @ self._log_determinants)
            return reduced_entropy_of_determinant(mean, self.n_modes)
        return float(self._site_sums(self.modes, reduced_entropy).sum())

    @property
    def frequencies(self) -> Array:
        """ħω of every mode at every point, shape (n_q, n_modes), eV; imaginary as negative."""
        return np.array([modes.frequencies for modes in self.modes])

    # --- Sites --------------------------------------------------------------------------------

    def _site_sums(self, modes: Sequence[Modes], function: Any) -> Array:
        sums = [at_q.site_sums(function) for at_q in modes]
        return np.asarray(self.weights @ np.array(sums))

    @cached_property
    def site_entropies(self) -> Array:
        """Reduced site entropies in the mass-free decomposition, shape (N,), units of k_B.

        Zero on fixed atoms; they sum to `entropy`.
        """
        sites = self._site_sums(self.hessian_modes, reduced_entropy)
        return self._on_all_atoms(mass_free_site_entropies(sites, self.masses, self.entropy))

    def entropies_of(self, sites: ArrayLike) -> Array:
        """Reduced entropies of chosen sites without masses, see `HarmonicSystem.entropies_of`."""
        chosen = check_sites(sites, len(self.free))
        _ = self.n_unstable  # says whether the structure is as stable as promised
        return self._site_sums(self.hessian_modes, reduced_entropy)[chosen]

    @property
    def site_modes(self) -> Array:
        """Number of modes per atom, shape (N,), in the mass-free decomposition."""
        return self._on_all_atoms(self._site_sums(self.hessian_modes, np.ones_like))

    def site_thermodynamics(
        self, statistics: Statistics, temperature: float
    ) -> tuple[Array, Array]:
        """Site entropies and free energies on the physical modes.

        See `HarmonicSystem.site_thermodynamics`.
        """
        entropies = self._site_sums(self.modes, lambda x: statistics(x, temperature).entropy)
        energies = self._site_sums(self.modes, lambda x: statistics(x, temperature).free_energy)
        return self._on_all_atoms(entropies), self._on_all_atoms(energies)

    def moments(self, species: NDArray[np.int64], n_species: int) -> Array:
        """Mass-free moments of every atom, see `hessian_moments`; zero on fixed atoms.

        Where the interaction is shorter than half the cell, no path closes through an image.
        """
        found = [
            weight * hessian_moments(self.hessian_at(number), species[self.free], n_species)
            for number, weight in enumerate(self.weights)
        ]
        moments = np.zeros((self._n_atoms, found[0].shape[1]))
        moments[self.free] = np.sum(found, axis=0)
        return moments

    # --- Derivatives --------------------------------------------------------------------------

    def gradient(
        self,
        displaced_forces: SupportsCurvature,
        statistics: Statistics,
        temperature: float,
        *,
        displacement: float = 0.01,
    ) -> SpectralGradient:
        """Gradients of the entropy (eV/K) and of the free energy (eV), in this order.

        Σ f(λ) changes by Tr[f'(D) ∂D] at every q, and ∂D(q) = ∂H ∘ φ(q): the average of
        Re[f'(D) ∘ φ*] is one real matrix of the cell's own size, whose eigenvectors take the place
        of modes. See `HarmonicSystem.gradient` for the parameters.
        """
        self._require_no_path()
        chosen = [statistics(modes.kept, temperature) for modes in self.modes]
        slopes = [
            [values.entropy_slope for values in chosen],
            [values.free_energy_slope for values in chosen],
        ]
        parts = [self._derivative(self._spectral_matrices(of_sum)) for of_sum in slopes]
        vectors, weights = _common_factors([matrix for matrix, _ in parts])
        result = spectral_gradient(
            displaced_forces, self.patterns(vectors), weights, displacement=displacement
        )
        for number, (_, coefficients) in enumerate(parts):
            self._add_image_terms(coefficients, result.positions[number], _at(result, number))
        return result

    def _spectral_matrices(self, slopes: Sequence[Array]) -> list[ComplexArray]:
        """f'(D) at every point, masses divided out: slopes in the Hessian H ∘ φ(q)."""
        scale = np.repeat(1 / np.sqrt(self.masses), 3)
        matrices = []
        for modes, slope in zip(self.modes, slopes, strict=True):
            vectors = scale[:, None] * modes.eigenvectors[:, modes.stable]
            matrices.append((vectors * slope) @ vectors.conj().T)
        return matrices

    def _derivative(self, matrices: Sequence[ComplexArray]) -> tuple[Array, Array]:
        """Derivative in the cell's Hessian, and in the weights of images.

        Parameters
        ----------
        matrices : sequence of ndarray, shape (3n, 3n)
            At every point, derivative in H ∘ φ(q).

        Returns
        -------
        in_hessian : ndarray, shape (3n, 3n)
            Real and symmetric.
        in_weights : ndarray, shape (n_pairs, n_images)
            Of the images that share a block.
        """
        shared, n = self.images.shared, len(self.free)
        in_hessian, in_weights = np.zeros(self.hessian.shape), np.zeros(shared.weights.shape)
        for number, (weight, matrix) in enumerate(zip(self.weights, matrices, strict=True)):
            in_hessian += weight * np.real(matrix * self._phases(number).conj())
            blocks = (matrix.conj() * self.hessian).reshape(n, 3, n, 3).sum(axis=(1, 3))
            of_pairs = blocks[shared.pairs[:, 0], shared.pairs[:, 1]]
            waves = np.exp(2j * np.pi * (shared.shifts @ self.points[number]))
            in_weights += weight * np.real(of_pairs[:, None] * waves)
        return (in_hessian + in_hessian.T) / 2, in_weights

    def _add_image_terms(self, in_weights: Array, gradient: Array, strain: Array | None) -> None:
        """Add what the weights of images contribute as atoms move, in place."""
        shared = self.images.shared
        on_vectors = np.einsum("pr,pra->pa", in_weights, shared.slopes)
        first, second = self.free[shared.pairs.T]
        np.add.at(gradient, second, on_vectors)
        np.subtract.at(gradient, first, on_vectors)
        if strain is not None:
            strain += np.einsum("pr,prab->ab", in_weights, shared.strains)

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
        self._require_no_path()
        sites = check_sites(np.arange(len(self.free)) if sites is None else sites, len(self.free))
        scale = np.repeat(1 / np.sqrt(self.masses), 3) if mass_weighted else 1.0
        _ = self.n_unstable  # says whether the structure is as stable as promised
        solved = self.modes if mass_weighted else self.hessian_modes
        found: list[list[ComplexArray]] = [[] for _ in sites]
        for modes in solved:
            couplings = site_couplings(modes, sites, REDUCED_OFFSET + per_mode)
            vectors = np.reshape(scale, (-1, 1)) * modes.eigenvectors
            for own, (_, coupling) in zip(found, couplings, strict=True):
                own.append(vectors @ coupling @ vectors.conj().T)
        derivatives = [self._derivative(matrices) for matrices in found]
        identity = np.eye(3 * len(self.free))
        gradients = site_gradients(
            displaced_forces,
            [truncate(matrix, identity) for matrix, _ in derivatives],
            self.patterns,
            displacement=displacement,
        ).reshape(-1, self._n_atoms, 3)
        for gradient, (_, in_weights) in zip(gradients, derivatives, strict=True):
            self._add_image_terms(in_weights, gradient, None)
        return gradients

    def patterns(self, vectors: Array) -> Array:
        """Displacement patterns of all atoms from columns over the free ones, (k, N, 3)."""
        patterns = np.zeros((vectors.shape[1], self._n_atoms, 3))
        patterns[:, self.free] = vectors.T.reshape(len(patterns), len(self.free), 3)
        return patterns

    def _require_no_path(self) -> None:
        if self._tangent is not None:
            raise InvalidInputError(
                "tangent: no gradients of vibrations orthogonal to a path, whose direction would "
                "change too; take differences of values"
            )

    def _on_all_atoms(self, values: Array) -> Array:
        full = np.zeros(self._n_atoms)
        full[self.free] = values
        return full


def _restrict(matrix: ComplexArray, complement: RigidComplement) -> ComplexArray:
    if complement.rank == 0:
        return matrix
    return complement.restrict(matrix.real) + 1j * complement.restrict(matrix.imag)


def _expand(vectors: ComplexArray, complement: RigidComplement) -> ComplexArray:
    if complement.rank == 0:
        return vectors
    real, imaginary = (np.asfortranarray(part) for part in (vectors.real, vectors.imag))
    return complement.expand(real) + 1j * complement.expand(imaginary)


def _common_factors(matrices: Sequence[Array]) -> tuple[Array, Array]:
    """Vectors x_k and weights w with Σ_k w_sk x_k x_kᵀ equal to every matrix s.

    Those of the last matrix serve all where it is positive definite; otherwise each has its own.
    """
    values, vectors = np.linalg.eigh(matrices[-1])
    if values.size and values[0] > NOISE * values[-1]:
        roots = vectors * np.sqrt(values)
        inverse = vectors / np.sqrt(values)
        others = [inverse.T @ matrix @ inverse for matrix in matrices[:-1]]
        diagonals = np.array([np.diag(other) for other in others])
        rest = [other - np.diag(np.diag(other)) for other in others]
        if all(
            np.abs(r).max() <= 1e-9 * np.abs(d).max() for r, d in zip(rest, diagonals, strict=True)
        ):
            return roots, np.vstack([diagonals, np.ones(len(values))])
        if len(others) == 1:
            weights, turned = np.linalg.eigh(others[0])
            return roots @ turned, np.vstack([weights, np.ones(len(values))])
    parts = [np.linalg.eigh(matrix) for matrix in matrices]
    weights = np.zeros((len(matrices), sum(len(v) for v, _ in parts)))
    start = 0
    for row, (own, _) in zip(weights, parts, strict=True):
        row[start : start + len(own)] = own
        start += len(own)
    return np.hstack([columns for _, columns in parts]), weights


def _at(result: SpectralGradient, number: int) -> Array | None:
    return None if result.strain is None else result.strain[number]


#: Vibrations of a structure, at Γ or averaged over a mesh.
Vibrating = HarmonicSystem | MeshSystem
