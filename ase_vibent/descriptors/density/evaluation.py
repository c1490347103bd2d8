"""Drives the compiled kernels: chunks of atoms, threads, and sums over chunks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from ase import Atoms
from numba import get_num_threads

from ase_vibent.arrays import Array, IntArray
from ase_vibent.compiled.simd import LANES, WIDTH
from ase_vibent.compiled.threads import in_threads
from ase_vibent.descriptors.density.basis import DensityBasis
from ase_vibent.descriptors.density.feature_kernel import feature_gradients, jacobian_pattern
from ase_vibent.descriptors.density.form_kernel import form_values
from ase_vibent.descriptors.density.polynomials import features_of, rows_of, slopes_of
from ase_vibent.descriptors.density.site_kernel import (
    add_pair_forces,
    batch_densities,
    chunk_sums,
)
from ase_vibent.descriptors.interface import Readout, SiteSums, SummedFeatures
from ase_vibent.descriptors.quadratic_form import MOST_FORMS, FormValues, QuadraticForm
from ase_vibent.errors import InvalidInputError
from ase_vibent.neighbours.lists import COINCIDENT, Chunk, NeighbourList

#: Blocks whose features are worked on together: few enough for a processor's cache.
BATCH = 32


class ChunkSums(NamedTuple):
    """What one chunk adds to a `SiteSums`.

    Attributes
    ----------
    values : ndarray, shape (n_centres,)
    gradient : ndarray, shape (n_points of the chunk, 4), or (0, 4)
    strain : ndarray, shape (6, LANES)
        See `scatter_pulls`.
    closest : float, Å
    forms : list of (values, sums)
        Of every form, see `form_values`.
    """

    values: Array
    gradient: Array
    strain: Array
    closest: float
    forms: list[tuple[Array, Array]]


def linear_sums(
    basis: DensityBasis,
    atoms: Atoms,
    near: NeighbourList,
    weights: Array,
    *,
    gradient: bool,
    forms: Sequence[QuadraticForm] = (),
) -> SiteSums:
    """See `DensityDescriptor.linear_model`."""
    products, points = basis.products, near.points(atoms).ravel()
    weights = np.asarray(weights, dtype=float)
    expected = basis.n_species, basis.n_features
    if weights.shape != expected:
        raise InvalidInputError(f"weights: expected shape {expected}, got {weights.shape}")
    of_products = np.array([products.weights(row) for row in weights])

    # As many for the kernel as there can be: it is compiled once for all.
    padded = (*forms, *[QuadraticForm.none()] * (MOST_FORMS - len(forms)))

    def work(chunk: Chunk) -> ChunkSums:
        values, pulls, strain, closest, of_forms, totals = chunk_sums(
            chunk, near.centre_types, points, basis.tables, products, of_products, gradient, padded
        )
        found = list(zip(of_forms, totals, strict=True))[: len(forms)]
        return ChunkSums(values, pulls, strain, closest, found)

    return _site_sums(near, points, in_threads(work, near.chunks), gradient)


def readout_sums(
    basis: DensityBasis,
    atoms: Atoms,
    near: NeighbourList,
    readout: Readout,
    *,
    gradient: bool,
    forms: Sequence[QuadraticForm] = (),
) -> SiteSums:
    """See `DensityDescriptor.site_model`."""
    products, points = basis.products, near.points(atoms).ravel()

    def work(chunk: Chunk) -> ChunkSums:
        sums = _nothing(chunk, forms, gradient)
        closest, done = np.inf, 0
        for batch in chunk.batches(BATCH):
            densities, shortest = batch_densities(batch, points, basis.tables)
            if shortest < COINCIDENT:
                near.check_distances(points, shortest)
            features = features_of(products, batch.blocks, densities)
            rows = rows_of(batch.blocks, features)
            values, weights = map(np.asarray, readout(rows, near.centre_types[batch.centres]))
            for name, got, shape in (
                ("values", values, rows.shape[:1]),
                ("slopes", weights, rows.shape),
            ):
                if got.shape != shape:
                    raise InvalidInputError(
                        f"readout: expected {name} of shape {shape}, got {got.shape}"
                    )
            own = slice(done, done + len(values))
            sums.values[own], closest, done = values, min(closest, shortest), own.stop
            kinds = near.centre_types[batch.centres[batch.blocks[:-1]]]
            for form, (of_form, totals) in zip(forms, sums.forms, strict=True):
                of_form[own] = form_values(form, kinds, batch.blocks, features, totals)
            if gradient:
                slopes = np.ascontiguousarray(weights, dtype=float)
                slopes = slopes_of(products, batch.blocks, densities, slopes)
                add_pair_forces(batch, points, basis.tables, slopes, sums.gradient, sums.strain)
        return sums._replace(closest=closest)

    return _site_sums(near, points, in_threads(work, near.chunks), gradient)


def _nothing(chunk: Chunk, forms: Sequence[QuadraticForm], gradient: bool) -> ChunkSums:
    """Sums of a chunk before its first batch."""
    n_centres = len(chunk.centres)
    return ChunkSums(
        np.empty(n_centres),
        np.zeros((chunk.last - chunk.first if gradient else 0, WIDTH)),
        np.zeros((6, LANES)),
        np.inf,
        [(np.empty(n_centres), np.zeros((*form.centre.shape, LANES))) for form in forms],
    )


def _site_sums(
    near: NeighbourList, points: Array, parts: Sequence[ChunkSums], gradient: bool
) -> SiteSums:
    """Values, gradient and strain derivative from those of the chunks, in their order.

    Values of atoms that are no centres are NaN.
    """
    on_points = np.zeros((len(points) // 4 if gradient else 0, 4))
    voigt = np.zeros(6)
    near.check_distances(points, min(part.closest for part in parts))
    atoms = np.concatenate([near.owners[chunk.centres] for chunk in near.chunks])

    def gather(values: Iterable[Array]) -> Array:
        result = np.full(len(near.atoms), np.nan)
        result[atoms] = np.concatenate(list(values))
        return result

    forms = tuple(
        FormValues(
            gather(values for values, _ in of_form), sum(totals for _, totals in of_form).sum(-1)
        )
        for of_form in zip(*(part.forms for part in parts), strict=True)
    )
    values = gather(part.values for part in parts)
    if not gradient:
        return SiteSums(values, None, None, forms)
    for chunk, part in zip(near.chunks, parts, strict=True):
        on_points[chunk.first : chunk.last] += part.gradient
        voigt += part.strain.sum(axis=1)
    xx, yy, zz, yz, xz, xy = voigt * [1, 1, 1, 0.5, 0.5, 0.5]
    symmetric = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return SiteSums(values, near.fold(on_points), symmetric, forms)


def features(basis: DensityBasis, atoms: Atoms, near: NeighbourList) -> Array:
    """See `DensityDescriptor.compute`."""
    points = near.points(atoms).ravel()
    values = np.empty((len(atoms), basis.n_features))

    def work(chunk: Chunk) -> float:
        closest = np.inf
        for batch in chunk.batches(BATCH):
            densities, shortest = batch_densities(batch, points, basis.tables)
            own = features_of(basis.products, batch.blocks, densities)
            values[near.owners[batch.centres]] = rows_of(batch.blocks, own)
            closest = min(closest, shortest)
        return closest

    near.check_distances(points, min(in_threads(work, near.chunks)))
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
    points, products = near.points(atoms).ravel(), basis.products
    result = np.zeros((n_groups, len(atoms) + 3, 3, basis.n_features))

    def work(part: tuple[int, int]) -> float:
        closest = np.inf
        pattern = jacobian_pattern(products, len(basis.channels), *part)
        for chunk in near.chunks:
            shortest = feature_gradients(
                chunk, near.owners, points, basis.tables, products, basis.kernel_channels,
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
