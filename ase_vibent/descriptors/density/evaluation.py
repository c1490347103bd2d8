"""Drives the compiled kernels: chunks of atoms, threads, and sums over chunks."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from ase import Atoms
from numba import get_num_threads

from ase_vibent.arrays import Array, IntArray
from ase_vibent.compiled.threads import in_threads
from ase_vibent.descriptors.density.basis import DensityBasis
from ase_vibent.descriptors.density.feature_kernel import feature_gradients, jacobian_pattern
from ase_vibent.descriptors.density.polynomials import features_of, slopes_of
from ase_vibent.descriptors.density.site_kernel import (
    chunk_densities,
    chunk_pair_forces,
    chunk_sums,
)
from ase_vibent.descriptors.interface import Readout, SiteSums, SummedFeatures
from ase_vibent.errors import InvalidInputError
from ase_vibent.neighbours.lists import COINCIDENT, Chunk, NeighbourList

#: What `chunk_sums` returns: values, gradient on points, strain, shortest distance.
ChunkSums = tuple[Array, Array, Array, float]


def linear_sums(
    basis: DensityBasis, atoms: Atoms, near: NeighbourList, weights: Array, *, gradient: bool
) -> SiteSums:
    """See `DensityDescriptor.linear_model`."""
    products, points = basis.products, near.points(atoms)
    weights = np.asarray(weights, dtype=float)
    expected = basis.n_species, basis.n_features
    if weights.shape != expected:
        raise InvalidInputError(f"weights: expected shape {expected}, got {weights.shape}")
    of_products = np.array([products.weights(row) for row in weights])

    def work(chunk: Chunk) -> ChunkSums:
        return chunk_sums(
            chunk, near.centre_types, points.ravel(), basis.tables, products, of_products, gradient
        )

    return _site_sums(near, points, in_threads(work, near.chunks), gradient)


def readout_sums(
    basis: DensityBasis, atoms: Atoms, near: NeighbourList, readout: Readout, *, gradient: bool
) -> SiteSums:
    """See `DensityDescriptor.site_model`."""
    products, points = basis.products, near.points(atoms)

    def work(chunk: Chunk) -> ChunkSums:
        densities, closest = chunk_densities(chunk, points.ravel(), basis.tables)
        features = features_of(products, chunk.blocks, densities)
        if closest < COINCIDENT:
            near.check_distances(points, closest)
        values, weights = map(np.asarray, readout(features, near.centre_types[chunk.centres]))
        for name, got, shape in (
            ("values", values, features.shape[:1]),
            ("slopes", weights, features.shape),
        ):
            if got.shape != shape:
                raise InvalidInputError(
                    f"readout: expected {name} of shape {shape}, got {got.shape}"
                )
        if not gradient:
            return values, np.empty((0, 4)), np.empty((6, 0)), closest
        slopes = slopes_of(products, chunk.blocks, densities, np.ascontiguousarray(weights, float))
        return values, *chunk_pair_forces(chunk, points.ravel(), basis.tables, slopes), closest

    return _site_sums(near, points, in_threads(work, near.chunks), gradient)


def _site_sums(
    near: NeighbourList,
    points: Array,
    parts: Iterable[ChunkSums],
    gradient: bool,
) -> SiteSums:
    """Values, gradient and strain derivative from those of the chunks, in their order.

    Values of atoms that are no centres are NaN.
    """
    values = np.full(len(near.atoms), np.nan)
    on_points = np.zeros((len(points) if gradient else 0, 4))
    voigt, closest = np.zeros(6), np.inf
    for chunk, (own, pair_forces, strain, shortest) in zip(near.chunks, parts, strict=True):
        values[near.owners[chunk.centres]] = own
        closest = min(closest, shortest)
        if gradient:
            on_points[chunk.first : chunk.last] += pair_forces
            voigt += strain.sum(axis=1)
    near.check_distances(points, closest)
    if not gradient:
        return SiteSums(values, None, None)
    xx, yy, zz, yz, xz, xy = voigt * [1, 1, 1, 0.5, 0.5, 0.5]
    symmetric = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return SiteSums(values, near.fold(on_points), symmetric)


def features(basis: DensityBasis, atoms: Atoms, near: NeighbourList) -> Array:
    """See `DensityDescriptor.compute`."""
    points = near.points(atoms)

    def work(chunk: Chunk) -> tuple[Array, float]:
        densities, closest = chunk_densities(chunk, points.ravel(), basis.tables)
        return features_of(basis.products, chunk.blocks, densities), closest

    values, closest = np.empty((len(atoms), basis.n_features)), np.inf
    for chunk, (own, shortest) in zip(near.chunks, in_threads(work, near.chunks), strict=True):
        values[near.owners[chunk.centres]] = own
        closest = min(closest, shortest)
    near.check_distances(points, closest)
    return values


def summed_features(basis: DensityBasis, atoms: Atoms, near: NeighbourList) -> SummedFeatures:
    """See `DensityDescriptor.compute_with_gradients`."""
    centres = np.empty(len(atoms), dtype=np.int64)
    centres[near.owners] = near.centre_types
    slopes = _feature_gradients(basis, atoms, near, centres, basis.n_species)
    strain = slopes[:, len(atoms) :]
    return SummedFeatures(
        features(basis, atoms, near),
        slopes[:, : len(atoms)],
        (strain + strain.transpose(0, 2, 1, 3)) / 2,
    )


def site_gradients(basis: DensityBasis, atoms: Atoms, near: NeighbourList) -> Array:
    """See `DensityDescriptor.compute_site_gradients`."""
    n_atoms = len(atoms)
    return _feature_gradients(basis, atoms, near, np.arange(n_atoms), n_atoms)[:, :n_atoms]


def _feature_gradients(
    basis: DensityBasis, atoms: Atoms, near: NeighbourList, groups: IntArray, n_groups: int
) -> Array:
    """Gradients and, in three more rows, strain derivatives of features summed over groups.

    Every thread has features of its own, so that no two write to one place.
    """
    points, products = near.points(atoms), basis.products
    result = np.zeros((n_groups, len(atoms) + 3, 3, basis.n_features))

    def work(part: tuple[int, int]) -> float:
        closest = np.inf
        pattern = jacobian_pattern(products, len(basis.channels), *part)
        for chunk in near.chunks:
            shortest = feature_gradients(
                chunk, near.owners, points.ravel(), basis.tables, products, basis.kernel_channels,
                pattern, groups, result,
            )  # fmt: skip
            closest = min(closest, shortest)
        return closest

    # Parts of about equal cost: features with more products take longer.
    cost = np.cumsum(1 + np.bincount(products.feature_of))
    shares = np.linspace(0, cost[-1], get_num_threads() + 1)
    bounds = np.unique(np.searchsorted(np.append(0, cost), shares)).tolist()
    near.check_distances(points, min(in_threads(work, list(pairwise(bounds)))))
    return result
