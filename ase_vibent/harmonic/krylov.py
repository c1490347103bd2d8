"""Derivatives of site entropies in a Krylov space: products with the matrix, nothing factorised.

With V_k the block Krylov basis of a site's three directions, the derivative of s_ℓ in the matrix A
is V_k L V_kᵀ with that of the small matrix V_kᵀ A V_k (Daleckii and Krein); it converges
exponentially in k. Kandolf, Koskela, Relton and Schweitzer, SIAM J. Matrix Anal. Appl. 42 (2021).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.modes import NOISE, Modes, require_stability
from ase_vibent.harmonic.rigid_motions import orthonormal_motions
from ase_vibent.harmonic.site_gradient import REDUCED_OFFSET, divided_differences
from ase_vibent.harmonic.spectrum import (
    DerivativeFactors,
    Product,
    check_sites,
    largest_eigenvalue,
    lowest_modes,
    product_with,
    truncate,
)

#: Steps between two looks at the convergence.
STRIDE = 10


def krylov_derivative_factors(
    matrix: Any,
    sites: ArrayLike,
    *,
    motions: Array,
    unstable: int | str = 0,
    tolerance: float = 1e-8,
    offset: float = REDUCED_OFFSET,
    max_steps: int = 500,
) -> list[DerivativeFactors]:
    """Factors of the derivatives of sites' reduced entropies in the matrix.

    Parameters
    ----------
    matrix : sparse matrix, ndarray, LinearOperator or callable, (3n, 3n), eV/Å² or eV/Å²/amu
    sites : array_like of int, shape (n_sites,)
    motions : ndarray, shape (3n, k)
        Rigid-body patterns that belong to the matrix.
    unstable : int or "any"
        Number of unstable modes that must be found. 0 is a promise, checked on the sites alone.
    tolerance : float
        Change of a derivative in the last steps, as a share of it.
    offset : float
        See `divided_differences`.
    max_steps : int

    Returns
    -------
    list of DerivativeFactors

    Raises
    ------
    InvalidInputError
        If `max_steps` do not suffice.
    UnstableStructureError
        If the number of unstable modes is another one.
    """
    multiply = product_with(matrix, len(motions))
    basis = orthonormal_motions(motions)
    if unstable != 0:
        largest = largest_eigenvalue(multiply, len(basis))
        lowest_modes(multiply, basis, largest, unstable=unstable)
    return [
        _factors(multiply, int(site), basis, unstable, tolerance, offset, max_steps)
        for site in check_sites(sites, len(basis) // 3)
    ]


def _factors(
    multiply: Product,
    site: int,
    basis: Array,
    unstable: int | str,
    tolerance: float,
    offset: float,
    max_steps: int,
) -> DerivativeFactors:
    start = np.zeros((len(basis), 3))
    start[3 * site : 3 * site + 3] = np.eye(3)
    block = new_directions(start, basis, scale=1.0)
    space, images = block, multiply(block)
    former = np.zeros((0, 0))
    for step in range(1, max_steps + 1):
        exhausted = block.shape[1] == 0
        if exhausted or step % STRIDE == 0:
            inner = _derivative(space.T @ images, space.T @ start, unstable, offset)
            change = inner.copy()
            change[: len(former), : len(former)] -= former
            if exhausted or np.linalg.norm(change) <= tolerance * np.linalg.norm(inner):
                return truncate(inner, space)
            former = inner
        image = images[:, -block.shape[1] :]
        block = new_directions(image, np.hstack([basis, space]), scale=np.abs(image).max())
        space, images = np.hstack([space, block]), np.hstack([images, multiply(block)])
    raise InvalidInputError(
        f"max_steps: the derivatives of site {site} have not converged to a share of "
        f"{tolerance:.1g} after {max_steps} steps; take a larger tolerance, or engine 'contour'"
    )


def _derivative(small: Array, on_site: Array, unstable: int | str, offset: float) -> Array:
    """Derivative of the site's entropy in the small matrix, in its own basis."""
    values, vectors = np.linalg.eigh((small + small.T) / 2)
    if unstable == 0:
        require_stability(values, 0)
    modes = Modes(values, vectors, int(np.sum(values < 0)))
    shares = vectors.T @ on_site
    coupling: Array = vectors @ (divided_differences(modes, offset) * (shares @ shares.T))
    return coupling @ vectors.T


def new_directions(columns: Array, known: Array, scale: float) -> Array:
    """Orthonormal basis of what columns add to an orthonormal basis; noise adds nothing.

    Parameters
    ----------
    columns : ndarray, shape (size, m)
    known : ndarray, shape (size, k)
        Orthonormal.
    scale : float
        Of which a share is noise.

    Returns
    -------
    ndarray, shape (size, n), n ≤ m
    """
    rest = columns
    for _ in range(2):  # the second time for what cancels almost completely
        rest = rest - known @ (known.T @ rest)
    vectors, lengths, _ = np.linalg.svd(rest, full_matrices=False)
    new = vectors[:, lengths > np.sqrt(NOISE) * scale]
    new = new - known @ (known.T @ new)
    return np.linalg.qr(new)[0]
