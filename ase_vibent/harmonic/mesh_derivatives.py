"""Gradients of averages over a mesh, by force calls of the cell alone.

Σ f(λ) changes by Tr[f'(D) ∂D] at every q, and ∂D(q) = ∂H ∘ φ(q): the average of Re[f'(D) ∘ φ*] is
one real matrix of the cell's own size, whose eigenvectors take the place of modes. What the weights
of images contribute as atoms move is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ase_vibent.arrays import Array
from ase_vibent.harmonic.gradient import SpectralGradient, SupportsCurvature, spectral_gradient
from ase_vibent.harmonic.images import ComplexArray, Images, by_component, wave
from ase_vibent.harmonic.modes import NOISE, displacement_patterns
from ase_vibent.harmonic.site_gradient import site_gradients
from ase_vibent.harmonic.spectrum import truncate


@dataclass(frozen=True)
class MeshDerivatives:
    """From derivatives in H ∘ φ(q) at every point of a mesh to those in positions and strain.

    Attributes
    ----------
    hessian : ndarray, shape (3n, 3n), eV/Å²
        Of the free atoms.
    images : Images
    points : ndarray, shape (n_q, 3)
    weights : ndarray, shape (n_q,)
    free : ndarray of int, shape (n,)
    n_atoms : int
        Fixed ones included.
    """

    hessian: Array
    images: Images
    points: Array
    weights: Array
    free: NDArray[np.intp]
    n_atoms: int

    def of_sums(
        self,
        displaced_forces: SupportsCurvature,
        first: Sequence[ComplexArray],
        second: Sequence[ComplexArray],
        *,
        displacement: float = 0.01,
    ) -> SpectralGradient:
        """Gradients of two sums over modes.

        Parameters
        ----------
        displaced_forces : SupportsCurvature
            Of the structure.
        first, second : sequence of ndarray, shape (3n, 3n)
            Derivative of each sum in H ∘ φ(q), at every point.
        displacement : float, Å
            Largest displacement of an atom.

        Returns
        -------
        SpectralGradient
        """
        parts = [self._averaged(matrices) for matrices in (first, second)]
        vectors, weights = _common_factors(parts[0][0], parts[1][0])
        result = spectral_gradient(
            displaced_forces, self._patterns(vectors), weights, displacement=displacement
        )
        for number, (_, in_weights) in enumerate(parts):
            strain = None if result.strain is None else result.strain[number]
            self._add_image_terms(in_weights, result.positions[number], strain)
        return result

    def of_sites(
        self,
        displaced_forces: SupportsCurvature,
        sites: Sequence[Sequence[ComplexArray]],
        *,
        displacement: float = 0.01,
    ) -> Array:
        """Gradients of sites' entropies.

        Parameters
        ----------
        displaced_forces : SupportsCurvature
            Of the structure.
        sites : sequence of sequence of ndarray, shape (3n, 3n)
            Derivative of every site's entropy in H ∘ φ(q), at every point.
        displacement : float, Å

        Returns
        -------
        ndarray, shape (n_sites, N, 3), k_B/Å
        """
        parts = [self._averaged(matrices) for matrices in sites]
        identity = np.eye(3 * len(self.free))
        gradients = site_gradients(
            displaced_forces,
            [truncate(matrix, identity) for matrix, _ in parts],
            self._patterns,
            displacement=displacement,
        ).reshape(-1, self.n_atoms, 3)
        for gradient, (_, in_weights) in zip(gradients, parts, strict=True):
            self._add_image_terms(in_weights, gradient, None)
        return gradients

    @cached_property
    def _waves(self) -> list[tuple[Any, Any]]:
        """At every point φ(q) of all pairs, and exp(2πi q·R) of the images that share a block."""
        return [(self.images.phases(q), wave(q)(self.images.shared.shifts)) for q in self.points]

    def _averaged(self, matrices: Sequence[ComplexArray]) -> tuple[Array, Array]:
        """Derivative in the cell's Hessian, real and symmetric, and in the weights of images.

        Shapes (3n, 3n) and (n_pairs, n_images) of the images that share a block.
        """
        shared, n = self.images.shared, len(self.free)
        in_hessian, in_weights = np.zeros(self.hessian.shape), np.zeros(shared.weights.shape)
        for (phases, waves), weight, matrix in zip(
            self._waves, self.weights, matrices, strict=True
        ):
            in_hessian += weight * np.real(matrix * by_component(phases, n).conj())
            blocks = (matrix.conj() * self.hessian).reshape(n, 3, n, 3).sum(axis=(1, 3))
            of_pairs = blocks.ravel()[shared.places]
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

    def _patterns(self, vectors: Array) -> Array:
        return displacement_patterns(vectors, self.free, self.n_atoms)


def weighted(vectors: ComplexArray, weights: Array) -> ComplexArray:
    """Σ_k w_k x_k x_k† of columns x, shape (3n, 3n)."""
    return (vectors * weights) @ vectors.conj().T


def _common_factors(first: Array, last: Array) -> tuple[Array, Array]:
    """Vectors x_k and weights w with Σ_k w_sk x_k x_kᵀ equal to both matrices s.

    Each has its own, unless one is a multiple of the other, as in classical statistics, or the last
    is positive definite: then the same serve both.
    """
    values, vectors = np.linalg.eigh(last)
    ratio = np.vdot(first, last) / np.vdot(last, last)
    if np.linalg.norm(first - ratio * last) <= 1e-12 * np.linalg.norm(first):
        return vectors, np.vstack([ratio * values, values])
    if values[0] > NOISE * values[-1]:
        roots, inverse = vectors * np.sqrt(values), vectors / np.sqrt(values)
        weights, turned = np.linalg.eigh(inverse.T @ first @ inverse)
        return roots @ turned, np.vstack([weights, np.ones(len(values))])
    own, columns = np.linalg.eigh(first)
    weights = np.zeros((2, 2 * len(values)))
    weights[0, : len(values)], weights[1, len(values) :] = own, values
    return np.hstack([columns, vectors]), weights
