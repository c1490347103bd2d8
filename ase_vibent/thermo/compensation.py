"""The compensation law of Meyer and Neldel: attempt frequencies that grow with barriers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidInputError

#: ν_0 of [Lapointe2022], Hz.
THZ = 1e12
#: Fewest events in a bin whose variance counts, and in one that a test of its constancy looks at.
FEWEST, FEWEST_TESTED = 3, 20


@dataclass(frozen=True)
class CompensationLaw:
    """ln(ν*/ν_0) against ΔE over many events, [Lapointe2022] (28)-(36); ν_0 is 1 THz.

    Attributes
    ----------
    barriers : ndarray, shape (n,), eV
    logarithms : ndarray, shape (n,)
        ln(ν*/ν_0).
    slope, intercept : float, 1/eV and 1
        Direct regression, γ and ln(ν_γ/ν_0) of (28).
    correlation : float
        r of (31).
    edges : ndarray, shape (n_bins + 1,), eV
    counts : ndarray of int, shape (n_bins,)
    means, variances : ndarrays, shape (n_bins,)
        Of the logarithms in a bin; NaN in bins with less than one and three events.
    marginal_slope, marginal_intercept : float
        Regression of the means, γ* and ln(ν*_γ/ν_0) of (29).
    """

    barriers: Array = field(repr=False)
    logarithms: Array = field(repr=False)
    slope: float
    intercept: float
    correlation: float
    edges: Array = field(repr=False)
    counts: NDArray[np.int64] = field(repr=False)
    means: Array = field(repr=False)
    variances: Array = field(repr=False)
    marginal_slope: float
    marginal_intercept: float

    @property
    def centres(self) -> Array:
        """Middles of the bins, shape (n_bins,), eV."""
        return (self.edges[:-1] + self.edges[1:]) / 2

    @property
    def residuals(self) -> Array:
        """Logarithms less the direct regression, shape (n,)."""
        return self.logarithms - self.slope * self.barriers - self.intercept

    @property
    def mean_variance(self) -> float:
        """Mean of the marginal variance over bins."""
        return float(np.nanmean(self.variances))

    @property
    def variance_spread(self) -> float:
        """Standard deviation of the marginal variance over bins: small if the noise is one."""
        return float(np.nanstd(self.variances))

    @property
    def lognormality(self) -> float:
        """p-value that residuals are normal, so that frequencies are lognormal about the law.

        The test of D'Agostino and Pearson on skewness and kurtosis.
        """
        from scipy.stats import normaltest

        return float(normaltest(self.residuals).pvalue)

    @property
    def constancy(self) -> float:
        """p-value that the marginal variance is the same in all bins of twenty events at least.

        The test of Brown and Forsythe, which needs no normal noise; NaN with fewer than two such
        bins. Small: the noise changes with the barrier.
        """
        from scipy.stats import levene

        place = _bins_of(self.barriers, self.edges)
        full = np.flatnonzero(self.counts >= FEWEST_TESTED)
        if len(full) < 2:
            return float("nan")
        return float(levene(*(self.logarithms[place == k] for k in full)).pvalue)

    def kappas(self, logarithms: ArrayLike | None = None) -> Array:
        """κ_ij, [Lapointe2022] (34): how far the law is from exact, in descriptor space.

        The paper gives their mean, which has no limit over many events: denominators cross zero.
        The median has.

        Parameters
        ----------
        logarithms : array_like, shape (n,), optional
            w_1 · (D_m ⊕ D_s), ln(ν*/ν_0) as a linear surrogate predicts it; by default the law's
            own.

        Returns
        -------
        ndarray, shape (n, n)
        """
        predicted = self.logarithms if logarithms is None else np.asarray(logarithms, float)
        if predicted.shape != self.barriers.shape:
            raise InvalidInputError(
                f"logarithms: expected shape {self.barriers.shape}, got {predicted.shape}"
            )
        # ΔE_0, at which the direct law has ν* = ν_0.
        heights = self.barriers + self.intercept / self.slope
        own = predicted[:, None]
        missed: Array = np.abs(own - heights[:, None] / heights * predicted)
        return missed / np.abs(own + predicted)


def _bins_of(barriers: Array, edges: Array) -> NDArray[np.intp]:
    """Bin of every barrier, shape (n,); the last one holds its upper edge."""
    return np.clip(np.searchsorted(edges, barriers, side="right") - 1, 0, len(edges) - 2)


def compensation_law(
    barriers: ArrayLike, attempt_frequencies: ArrayLike, *, bins: int = 50
) -> CompensationLaw:
    """Direct and marginal correlation of attempt frequencies with barriers, [Lapointe2022] V.

    Parameters
    ----------
    barriers : array_like, shape (n,), eV
    attempt_frequencies : array_like, shape (n,), Hz
    bins : int
        Of equal width, over all barriers.

    Returns
    -------
    CompensationLaw

    Raises
    ------
    InvalidInputError
        If there are fewer than ten events, shapes differ, or a number is not finite and positive.
    """
    from scipy.stats import linregress

    energies, frequencies = (np.asarray(a, dtype=float) for a in (barriers, attempt_frequencies))
    if energies.ndim != 1 or energies.shape != frequencies.shape or len(energies) < 10:
        raise InvalidInputError(
            "barriers, attempt_frequencies: expected one of each for at least ten events, got "
            f"shapes {energies.shape} and {frequencies.shape}"
        )
    if bins < 2:
        raise InvalidInputError(f"bins: expected two at least, got {bins!r}")
    finite = np.all(np.isfinite(energies)) and np.all(np.isfinite(frequencies))
    if not (finite and np.all(frequencies > 0) and np.ptp(energies) > 0):
        raise InvalidInputError(
            "barriers, attempt_frequencies: expected finite barriers that differ, and positive "
            "frequencies"
        )
    logarithms = np.log(frequencies / THZ)
    direct = linregress(energies, logarithms)
    edges = np.linspace(energies.min(), energies.max(), bins + 1)
    place = _bins_of(energies, edges)
    groups = [logarithms[place == k] for k in range(bins)]
    counts = np.array([len(group) for group in groups])
    means = np.array([group.mean() if len(group) else np.nan for group in groups])
    variances = np.array([g.var(ddof=1) if len(g) >= FEWEST else np.nan for g in groups])
    filled = counts >= FEWEST if np.sum(counts >= FEWEST) > 1 else counts > 0
    marginal = linregress(((edges[:-1] + edges[1:]) / 2)[filled], means[filled])
    return CompensationLaw(
        barriers=energies,
        logarithms=logarithms,
        slope=float(direct.slope),
        intercept=float(direct.intercept),
        correlation=float(direct.rvalue),
        edges=edges,
        counts=counts,
        means=means,
        variances=variances,
        marginal_slope=float(marginal.slope),
        marginal_intercept=float(marginal.intercept),
    )
