"""Gradients of site entropies: how one site's entropy changes as any atom moves.

The derivative of s_ℓ = Σ_ν |e_νℓ|² f(λ_ν) in the matrix is Σ_νμ f[λ_ν, λ_μ] (e_νℓ·e_μℓ) e_ν e_μᵀ
with divided differences f[·,·] (Daleckii and Krein; [Torabi2024] (C.8), [Torabi2026] (44)-(46)).
Few of its eigenvalues matter, so that some tens of force calls give the gradient of a site with
respect to all positions, whatever the calculator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from ase_vibent.arrays import Array
from ase_vibent.harmonic.entropy import reduced_entropy
from ase_vibent.harmonic.gradient import SupportsCurvature, spectral_gradient
from ase_vibent.harmonic.modes import Modes
from ase_vibent.harmonic.spectrum import DerivativeFactors

#: Reduced entropy of a mode with an eigenvalue of 1 eV/Å²/amu.
REDUCED_OFFSET = float(reduced_entropy(np.ones(1))[0])


def divided_differences(modes: Modes, offset: float = REDUCED_OFFSET) -> Array:
    """First divided differences of offset - ½ ln λ, which is 0 on unstable modes.

    Parameters
    ----------
    modes : Modes
    offset : float
        By default that of the reduced entropy. It matters where sites exchange modes: with
        unstable ones, and with the rotations of a cluster.

    Returns
    -------
    ndarray, shape (n_modes, n_modes), k_B per unit of the eigenvalues
    """
    values, kept = modes.eigenvalues, modes.kept
    differences = np.zeros((len(values), len(values)))
    total = kept[:, None] + kept
    ratio = (kept[:, None] - kept) / total
    # (ln a - ln b)/(a - b) without cancellation.
    series = np.divide(np.arctanh(ratio), ratio, out=np.ones_like(ratio), where=ratio != 0)
    differences[modes.stable, modes.stable] = -series / total
    unstable = values[: modes.n_unstable]
    mixed = (offset - 0.5 * np.log(kept)) / (kept - unstable[:, None])
    differences[: modes.n_unstable, modes.stable] = mixed
    differences[modes.stable, : modes.n_unstable] = mixed.T
    return differences


def site_couplings(
    modes: Modes, sites: Iterable[int], offset: float = REDUCED_OFFSET
) -> Iterator[tuple[int, Array]]:
    """Derivatives of sites' reduced entropies, in the basis of the modes.

    Parameters
    ----------
    modes : Modes
    sites : iterable of int
    offset : float
        See `divided_differences`.

    Yields
    ------
    site : int
    coupling : ndarray, shape (n_modes, n_modes), k_B per unit of the eigenvalues
    """
    differences = divided_differences(modes, offset)
    for site in sites:
        on_site = modes.eigenvectors[3 * site : 3 * site + 3]
        yield site, differences * (on_site.conj().T @ on_site)


def site_gradients(
    displaced_forces: SupportsCurvature,
    factors: Sequence[DerivativeFactors],
    shape: Callable[[Array], Array],
    *,
    displacement: float = 0.01,
) -> Array:
    """Contract derivatives in the Hessian with the third derivatives of the energy.

    Parameters
    ----------
    displaced_forces : SupportsCurvature
        Of the structure.
    factors : sequence of DerivativeFactors
        One per site.
    shape : callable
        From vectors, shape (3n, k), to displacement patterns, shape (k, N, 3).
    displacement : float, Å
        Largest displacement of an atom.

    Returns
    -------
    ndarray, shape (n_sites, N, 3), k_B/Å
    """
    gradients = [
        spectral_gradient(
            displaced_forces, shape(f.vectors), f.weights[None, :], displacement=displacement
        ).positions[0]
        for f in factors
    ]
    return np.array(gradients)


def rotation_site_gradients(
    modes: Modes,
    sites: Iterable[int],
    matrix: Array,
    motions: Array,
    axes: Array,
    masses: Array,
    offset: float = REDUCED_OFFSET,
) -> Array:
    """What the turning of the projected rotations adds to the gradients of sites.

    As `rotation_gradient`; rotations also mix with the modes, which moves weight between
    sites even at a minimum.

    Parameters
    ----------
    modes : Modes
    sites : iterable of int
    matrix : ndarray, shape (3n, 3n)
        Hessian or dynamical matrix.
    motions : ndarray, shape (3n, 3 + n_axes)
        From `rigid_body_motions`.
    axes : ndarray, shape (n_axes, 3)
    masses : ndarray, shape (n,), amu
        Ones for the Hessian.
    offset : float
        See `divided_differences`.

    Returns
    -------
    ndarray, shape (n_sites, n, 3), k_B/Å
    """
    vectors = modes.eigenvectors
    inverse = np.linalg.pinv(motions)
    turning = inverse @ (matrix @ vectors)
    values = np.zeros(len(modes.eigenvalues))
    values[modes.stable] = offset - 0.5 * np.log(modes.kept)
    gradients = []
    for site, coupling in site_couplings(modes, sites, offset):
        rows = slice(3 * site, 3 * site + 3)
        amounts = turning @ coupling + (inverse[:, rows] @ vectors[rows]) * values
        patterns = (amounts[3:] @ vectors.T).reshape(len(axes), len(masses), 3)
        patterns *= np.sqrt(masses)[:, None]
        gradients.append(-2 * np.cross(patterns, axes[:, None, :]).sum(axis=0))
    return np.array(gradients).reshape(-1, len(masses), 3)
