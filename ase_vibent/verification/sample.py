"""Some sites of a structure that stand for all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from ase_vibent.arrays import Array, IntArray

#: Uncertainties below this share of the largest are no ground for an order.
UNFELT = 1e-3


def ranked_sites(atoms: Atoms, uncertainties: Array, n_first: int) -> IntArray:
    """Sites by how uncertain their values are.

    A model with a cutoff has none beyond it, but errors that decay with the distance from
    what is uncertain: sites without one are ranked by their distance to the first ones.

    Parameters
    ----------
    atoms : Atoms
    uncertainties : ndarray, shape (N,)
    n_first : int
        How many sites are the first ones.

    Returns
    -------
    ndarray of int64, shape (N,)
    """
    order = np.argsort(-uncertainties, kind="stable")
    first, rest = order[:n_first], order[n_first:]
    unfelt = uncertainties[rest] < UNFELT * uncertainties.max()
    far = rest[unfelt]
    if not len(first) or not len(far):
        return order
    distances = np.full(len(far), np.inf)
    for site in first:
        distances = np.minimum(distances, atoms.get_distances(site, far, mic=True))
    by_distance = far[np.argsort(distances, kind="stable")]
    return np.concatenate([first, rest[~unfelt], by_distance])


@dataclass(frozen=True)
class SiteSample:
    """Stratified sample of the sites of a structure (Cochran, Sampling Techniques, chapter 5).

    Sites are ranked, the first taken as they are, the others divided into strata of geometrically
    growing size, with at least two sites drawn from each: near a defect ranks differ much, far
    from it there are many sites and all alike.

    Attributes
    ----------
    sites : ndarray of int64, shape (n,)
    strata : ndarray of int64, shape (n,)
        Number of the stratum; 0 is that of the first ranks, and complete.
    sizes : ndarray of int64, shape (n_strata,)
        Number of sites that the structure has of each.
    """

    sites: IntArray
    strata: IntArray
    sizes: IntArray

    @classmethod
    def drawn(
        cls, ranked: IntArray, n_first: int, n_sites: int, random: np.random.Generator
    ) -> SiteSample:
        """Sample of sites.

        Parameters
        ----------
        ranked : ndarray of int64, shape (N,)
            All sites; their order counts only if some are taken as they are.
        n_first : int
            How many those are.
        n_sites : int
            All in all.
        random : Generator

        Returns
        -------
        SiteSample
        """
        n = len(ranked)
        n_drawn = min(n_sites, n) - n_first
        n_strata = max(1, n_drawn // 2) if n_first else 1
        draws = [len(part) for part in np.array_split(np.arange(n_drawn), n_strata)]
        bounds = np.rint(np.geomspace(max(n_first, 1), n, n_strata + 1)).astype(int)
        bounds[0] = n_first
        for k, draw in enumerate(draws):  # room for those that are drawn, here and further out
            bounds[k + 1] = min(max(bounds[k + 1], bounds[k] + draw), n - sum(draws[k + 1 :]))
        parts = [ranked[:n_first]]
        for k, draw in enumerate(draws):
            parts.append(random.permutation(ranked[bounds[k] : bounds[k + 1]])[:draw])
        return cls(
            np.concatenate(parts),
            np.repeat(np.arange(n_strata + 1), [len(part) for part in parts]),
            np.append(n_first, np.diff(bounds)),
        )

    @property
    def n_first(self) -> int:
        """Number of sites that were not drawn at random."""
        return int(self.sizes[0])

    @property
    def weights(self) -> Array:
        """How many sites each one stands for, shape (n,); 0 if a stratum has none."""
        counts = np.bincount(self.strata, minlength=len(self.sizes))
        if np.any((counts == 0) & (self.sizes > 0)):
            return np.zeros(len(self.sites))
        return np.asarray(self.sizes[self.strata] / counts[self.strata])

    def total(self, values: Array) -> tuple[float, float]:
        """Unbiased estimate of the sum over all sites, and its standard deviation.

        Parameters
        ----------
        values : ndarray, shape (n,)
            Of the sites of the sample.

        Returns
        -------
        total, std : float
            NaN if a stratum has no site; std also if one has a single site of several.
        """
        weights = self.weights
        if not weights.any():
            return np.nan, np.nan
        variance = 0.0
        for stratum, size in enumerate(self.sizes):
            own = values[self.strata == stratum]
            if 0 < len(own) < size:
                spread = own.var(ddof=1) if len(own) > 1 else np.nan
                variance += size**2 * spread / len(own) * (1 - len(own) / size)
        return float(weights @ values), float(np.sqrt(variance))
