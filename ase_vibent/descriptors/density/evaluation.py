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
    bases: Sequence[DensityBasis],
    atoms: Atoms,
    near: NeighbourList,
    weights: Array,
    *,
    gradient: bool,
    forms: Sequence[QuadraticForm] = (),
) -> SiteSums:
    """See `LocalDescriptor.linear_model`."""
    points = near.points(atoms).ravel()
    weights = np.asarray(weights, dtype=float)
    expected = bases[0].n_species, sum(basis.n_features for basis in bases)
    if weights.shape != expected:
        raise InvalidInputError(f"weights: expected shape {expected}, got {weights.shape}")
    models = [
        basis.linear_model(weights[:, own])
        for basis, own in zip(bases, _columns(bases), strict=True)
    ]
    # Forms of the features that the kernel makes in any case cost no second pass.
    along = forms if models[0].tables is bases[0].tables and len(bases) == 1 else ()
    # As many for the kernel as there can be: it is compiled once for all.
    padded = (*along, *[QuadraticForm.none()] * (MOST_FORMS - len(along)))

    def work(chunk: Chunk) -> ChunkSums:
        parts = [
            chunk_sums(chunk, near.centre_types, points, *model, gradient, padded)
            for model in models
        ]
        values, pulls, strain, closest, of_forms, totals = parts[0]
        for other in parts[1:]:
            values += other[0]
            pulls += other[1]
            strain += other[2]
        found = list(zip(of_forms, totals, strict=True))[: len(along)]
        if len(found) < len(forms):
            found = _chunk_forms(bases, near, points, chunk, forms)
        return ChunkSums(values, pulls, strain, closest, found)

    return _site_sums(near, points, in_threads(work, near.chunks), gradient)


def readout_sums(
    bases: Sequence[DensityBasis],
    atoms: Atoms,
    near: NeighbourList,
    readout: Readout,
    *,
    gradient: bool,
    forms: Sequence[QuadraticForm] = (),
) -> SiteSums:
    """See `LocalDescriptor.site_model`."""
    points, columns = near.points(atoms).ravel(), _columns(bases)

    def work(chunk: Chunk) -> ChunkSums:
        sums = _nothing(chunk, forms, gradient)
        closest, done = np.inf, 0
        for batch in chunk.batches(BATCH):
            densities, features, shortest = _batch_features(bases, near, points, batch)
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
            _add_forms(near, batch, features, forms, sums.forms, own)
            for basis, density, part in zip(bases, densities, columns, strict=True):
                if gradient:
                    slopes = np.ascontiguousarray(weights[:, part], dtype=float)
                    slopes = slopes_of(basis.products, batch.blocks, density, slopes)
                    add_pair_forces(batch, points, basis.tables, slopes, sums.gradient, sums.strain)
        return sums._replace(closest=closest)

    return _site_sums(near, points, in_threads(work, near.chunks), gradient)


def _columns(bases: Sequence[DensityBasis]) -> list[slice]:
    """Where the features of every basis stand."""
    edges = np.cumsum([0, *(basis.n_features for basis in bases)]).tolist()
    return [slice(*edge) for edge in pairwise(edges)]


def _batch_features(
    bases: Sequence[DensityBasis], near: NeighbourList, points: Array, batch: Chunk
) -> tuple[list[Array], Array, float]:
    """Densities by basis, features, and shortest distance of a batch."""
    densities, features, shortest = [], [], np.inf
    for basis in bases:
        density, shortest = batch_densities(batch, points, basis.tables)
        if shortest < COINCIDENT:
            near.check_distances(points, shortest)
        densities.append(density)
        features.append(features_of(basis.products, batch.blocks, density))
    together = features[0] if len(bases) == 1 else np.concatenate(features, axis=1)
    return densities, together, shortest


def _add_forms(
    near: NeighbourList,
    batch: Chunk,
    features: Array,
    forms: Sequence[QuadraticForm],
    found: Sequence[tuple[Array, Array]],
    own: slice,
) -> None:
    """Forms of a batch, which is a part of a chunk's atoms."""
    kinds = near.centre_types[batch.centres[batch.blocks[:-1]]]
    for form, (of_form, totals) in zip(forms, found, strict=True):
        of_form[own] = form_values(form, kinds, batch.blocks, features, totals)


def _chunk_forms(
    bases: Sequence[DensityBasis],
    near: NeighbourList,
    points: Array,
    chunk: Chunk,
    forms: Sequence[QuadraticForm],
) -> list[tuple[Array, Array]]:
    """Forms of a chunk, batch by batch."""
    found, done = _nothing(chunk, forms, gradient=False).forms, 0
    for batch in chunk.batches(BATCH):
        _, features, _ = _batch_features(bases, near, points, batch)
        own = slice(done, done + len(batch.centres))
        _add_forms(near, batch, features, forms, found, own)
        done = own.stop
    return found


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


def features(bases: Sequence[DensityBasis], atoms: Atoms, near: NeighbourList) -> Array:
    """See `LocalDescriptor.compute`."""
    points = near.points(atoms).ravel()
    values = np.empty((len(atoms), sum(basis.n_features for basis in bases)))

    def work(chunk: Chunk) -> float:
        closest = np.inf
        for batch in chunk.batches(BATCH):
            _, own, shortest = _batch_features(bases, near, points, batch)
            values[near.owners[batch.centres]] = rows_of(batch.blocks, own)
            closest = min(closest, shortest)
        return closest

    near.check_distances(points, min(in_threads(work, near.chunks)))
    return values


def summed_features(
    bases: Sequence[DensityBasis], atoms: Atoms, near: NeighbourList
) -> SummedFeatures:
    """See `LocalDescriptor.compute_with_gradients`."""
    centres = np.empty(len(atoms), dtype=np.int64)
    centres[near.owners] = near.centre_types
    slopes = _feature_gradients(bases, atoms, near, centres, bases[0].n_species)
    strain = slopes[:, len(atoms) :]
    return SummedFeatures(
        features(bases, atoms, near),
        slopes[:, : len(atoms)],
        (strain + strain.transpose(0, 2, 1, 3)) / 2,
    )


def site_gradients(bases: Sequence[DensityBasis], atoms: Atoms, near: NeighbourList) -> Array:
    """See `LocalDescriptor.compute_site_gradients`."""
    n_atoms = len(atoms)
    return _feature_gradients(bases, atoms, near, np.arange(n_atoms), n_atoms)[:, :n_atoms]


def _feature_gradients(
    bases: Sequence[DensityBasis],
    atoms: Atoms,
    near: NeighbourList,
    groups: IntArray,
    n_groups: int,
) -> Array:
    """Gradients and, in three more rows, strain derivatives of features summed over groups.

    Every thread has features of its own, so that no two write to one place.
    """
    points, columns = near.points(atoms).ravel(), _columns(bases)
    result = np.zeros((n_groups, len(atoms) + 3, 3, columns[-1].stop))

    def work(part: tuple[DensityBasis, int, tuple[int, int]]) -> float:
        basis, first, bounds = part
        closest = np.inf
        pattern = jacobian_pattern(basis.products, len(basis.channels), *bounds)
        pattern = pattern._replace(first=first + bounds[0], last=first + bounds[1])
        for chunk in near.chunks:
            shortest = feature_gradients(
                chunk, near.owners, points, basis.tables, basis.products, basis.kernel_channels,
                pattern, groups, result,
            )  # fmt: skip
            closest = min(closest, shortest)
        return closest

    parts = [
        (basis, own.start, bounds)
        for basis, own in zip(bases, columns, strict=True)
        for bounds in _shares(basis)
    ]
    near.check_distances(points, min(in_threads(work, parts)))
    return result


def _shares(basis: DensityBasis) -> list[tuple[int, int]]:
    """Ranges of features of about equal cost, as many as threads."""
    # Features with more products take longer.
    cost = np.cumsum(1 + np.bincount(basis.products.feature_of))
    shares = np.linspace(0, cost[-1], get_num_threads() + 1)
    bounds = np.unique(np.searchsorted(np.append(0, cost), shares)).tolist()
    return list(pairwise(bounds))
