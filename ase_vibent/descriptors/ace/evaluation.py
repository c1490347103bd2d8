"""Drives the compiled kernels: tables, threads and work arrays."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import get_num_threads
from numpy.typing import NDArray

from ase_vibent.descriptors.ace import kernels
from ase_vibent.descriptors.interface import SiteSums, SummedFeatures
from ase_vibent.descriptors.neighbours import Neighbourhood

if TYPE_CHECKING:
    from ase_vibent.descriptors.ace.basis import ACE

Array = NDArray[np.float64]


def _basis_arrays(ace: ACE) -> tuple[Array, Array, Array, NDArray[np.int64]]:
    radial = ace.radial
    scalars = np.array([radial.r0, radial.power, radial.x_cut])
    return scalars, radial.recursion, ace.prefactors, ace.channels


def site_sums(
    ace: ACE, neighbourhood: Neighbourhood, weights: Array, *, gradient: bool
) -> SiteSums:
    """See `ACE.linear_model`."""
    products = ace.products
    n_atoms = len(neighbourhood.species)
    product_weights = np.zeros((len(ace.species), len(products.left)))
    for z, row in enumerate(weights):
        contributions = products.coefficients * row[products.feature_of]
        np.add.at(product_weights[z], products.product_of, contributions)
    values = np.empty(n_atoms)
    pairs = np.empty((len(neighbourhood.neighbours) if gradient else 0, 3))
    centres = np.argsort(neighbourhood.species, kind="stable")

    def work(blocks: NDArray[np.int64]) -> None:
        kernels.linear_model_blocks(
            blocks, centres, neighbourhood.species, neighbourhood.offsets,
            neighbourhood.vectors, *_basis_arrays(ace), products.left, products.right,
            products.n_inner, product_weights, gradient, values, pairs,
        )  # fmt: skip

    _in_threads(work, _block_chunks(neighbourhood.species[centres], get_num_threads()))
    if not gradient:
        return SiteSums(values, None, None)
    total_gradient, strain = np.zeros((n_atoms, 3)), np.zeros((3, 3))
    kernels.gather_pairs(
        neighbourhood.offsets, neighbourhood.neighbours, neighbourhood.vectors, pairs,
        total_gradient, strain,
    )  # fmt: skip
    return SiteSums(values, total_gradient, (strain + strain.T) / 2)


def features(ace: ACE, neighbourhood: Neighbourhood) -> Array:
    """See `ACE.compute`."""
    return _features(ace, neighbourhood, None, 0).values


def summed_features(ace: ACE, neighbourhood: Neighbourhood) -> SummedFeatures:
    """See `ACE.compute_with_gradients`."""
    return _features(ace, neighbourhood, neighbourhood.species, len(ace.species))


def site_gradients(ace: ACE, neighbourhood: Neighbourhood) -> Array:
    """See `ACE.compute_site_gradients`."""
    n_atoms = len(neighbourhood.species)
    return _features(ace, neighbourhood, np.arange(n_atoms), n_atoms).gradient


def _features(
    ace: ACE, neighbourhood: Neighbourhood, groups: NDArray[np.int64] | None, n_groups: int
) -> SummedFeatures:
    """Features, and derivatives of their sums over groups of centres, if there are groups."""
    products, n_atoms = ace.products, len(neighbourhood.species)
    members = _product_members(products.left, products.right, ace.order)
    values = np.zeros((n_atoms, ace.n_features))
    gradient = groups is not None
    chunks = np.array_split(np.arange(n_atoms), get_num_threads())

    def work(atoms: NDArray[np.int64]) -> tuple[Array, Array]:
        own_gradient = np.zeros((n_groups, n_atoms, 3, ace.n_features))
        own_strain = np.zeros((n_groups, 3, 3, ace.n_features))
        kernels.all_features(
            atoms, np.zeros(n_atoms, dtype=np.int64) if groups is None else groups,
            neighbourhood.offsets, neighbourhood.neighbours, neighbourhood.vectors,
            *_basis_arrays(ace), members, products.feature_of, products.product_of,
            products.coefficients, gradient, values, own_gradient, own_strain,
        )  # fmt: skip
        return own_gradient, own_strain

    parts = _in_threads(work, [chunk for chunk in chunks if len(chunk)])
    total, strain = parts[0]
    for other, other_strain in parts[1:]:
        total += other
        strain += other_strain
    return SummedFeatures(values, total, (strain + strain.transpose(0, 2, 1, 3)) / 2)


def _product_members(
    left: NDArray[np.int64], right: NDArray[np.int64], order: int
) -> NDArray[np.int64]:
    """Channels of every product, shape (n_products, order), padded with -1."""
    members = np.full((len(left), order), -1)
    remaining = np.arange(len(left))
    for column in range(order):
        alive = remaining >= 0
        members[alive, column] = right[remaining[alive]]
        remaining = np.where(alive, left[remaining], -1)
    return members


def _block_chunks(sorted_species: NDArray[np.int64], n_chunks: int) -> list[NDArray[np.int64]]:
    """Ends of blocks of one species and at most LANES atoms, in about equal chunks."""
    edges = [0]
    for count in np.bincount(sorted_species):
        edges += [edges[-1] + k for k in range(kernels.LANES, count, kernels.LANES)]
        if count:
            edges.append(edges[-1] + (count - 1) % kernels.LANES + 1)
    pieces = np.array_split(np.arange(len(edges) - 1), n_chunks)
    return [np.array(edges[p[0] : p[-1] + 2]) for p in pieces if len(p)]


def _in_threads(work: Any, chunks: list[NDArray[np.int64]]) -> list[Any]:
    if len(chunks) == 1:
        return [work(chunks[0])]
    with ThreadPoolExecutor(len(chunks)) as pool:
        return list(pool.map(work, chunks))
