"""What a fit leaves uncertain: the posterior covariance of the coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ase_vibent.arrays import Array, IntArray
from ase_vibent.descriptors.quadratic_form import FormValues, QuadraticForm
from ase_vibent.model.parts import ModelPart


@dataclass(frozen=True)
class Posterior(ModelPart):
    """Covariance Σ = L Lᵀ of the linear coefficients, calibrated on totals that were left out.

    The variance of a total is noise² + (scale · (c/typical)^exponent · s)², where s is the
    posterior standard deviation of the sum of all sites, and c = s / Σ_i s_i² of the variances s_i²
    of the sites. Σ takes all rows for equally noisy. Real errors grow with the distance from
    what was trained on, which the ratio c tells apart: in rattled crystals s and s_i² shrink
    alike, while cells about one minimum share the s_i² of its defect. Of m equal parts
    of a structure the standard deviation is m-fold, of sites that are known it is none,
    whatever the exponent.

    Attributes
    ----------
    factor : ndarray of float32, shape (n_kinds, n_features, rank), k_B
        L in the rows of the weights.
    constants : ndarray of float32, shape (n_kinds, rank), k_B
        L in the rows of the constants; zero where these are known.
    noise : ndarray, shape (), k_B
        Of a total entropy.
    scale : ndarray, shape ()
    exponent : ndarray, shape ()
    typical : ndarray, shape (), 1/k_B
        Median of c in configurations that were left out of the fit.
    """

    positive: ClassVar[tuple[str, ...]] = ("typical",)
    not_negative: ClassVar[tuple[str, ...]] = ("noise", "scale")

    factor: NDArray[np.float32]
    constants: NDArray[np.float32]
    noise: Array
    scale: Array
    exponent: Array
    typical: Array

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """See `ModelPart`."""
        n_kinds, n_features, rank = np.shape(self.factor)
        return {
            "factor": (n_kinds, n_features, rank),
            "constants": (n_kinds, rank),
            "noise": (),
            "scale": (),
            "exponent": (),
            "typical": (),
        }

    def fits(self, n_kinds: int, n_features: int) -> bool:
        """See `ModelPart`."""
        return self.factor.shape[:2] == (n_kinds, n_features)

    def std(self, centred: Array, kinds: IntArray) -> tuple[float, Array]:
        """Standard deviations of a structure's total, and of its sites.

        Parameters
        ----------
        centred : ndarray, shape (N, n_features)
        kinds : ndarray of int64, shape (N,)

        Returns
        -------
        total : float, k_B
        sites : ndarray, shape (N,), k_B
            Scale times the posterior standard deviation; only totals are calibrated.
        """
        roots = self._roots(centred, kinds)
        return self._std(roots.sum(axis=0), np.square(roots).sum(axis=1))

    def variance(self, shift: Array) -> QuadraticForm:
        """Posterior variance of a site as a function of its features.

        Parameters
        ----------
        shift : ndarray, shape (n_kinds, n_features)
            What features are centred by.

        Returns
        -------
        QuadraticForm
        """
        n_kinds, n_features, rank = self.factor.shape
        triangles = np.zeros((n_kinds, min(rank, n_features + 1), n_features + 1))
        for z in range(n_kinds):
            rows = np.vstack([self.factor[z], self.constants[z]]).astype(float)
            triangles[z] = np.linalg.qr(rows.T, mode="r")
        return QuadraticForm.of(shift, np.ones_like(shift), triangles[..., :-1], triangles[..., -1])

    def std_of_variances(self, variances: FormValues, counts: IntArray) -> tuple[float, Array]:
        """As `std`, from the values of `variance`.

        Parameters
        ----------
        variances : FormValues
        counts : ndarray of int64, shape (n_kinds,)
            Atoms of every kind.

        Returns
        -------
        total : float, k_B
        sites : ndarray, shape (N,), k_B
        """
        return self._std(self.root_of_sum(variances.sums, counts), variances.values)

    def root_of_sum(self, sums: Array, counts: IntArray) -> Array:
        """Vector whose square is the posterior variance of a sum of sites, shape (rank,), k_B.

        Parameters
        ----------
        sums : ndarray, shape (n_kinds, n_features)
            Of centred features over the atoms of a kind.
        counts : ndarray of int64, shape (n_kinds,)
            Atoms of every kind.
        """
        return np.asarray(np.einsum("zf,zfr->r", sums, self.factor) + counts @ self.constants)

    def difference_std(self, centred: Array, other: Array, kinds: IntArray) -> float:
        """Standard deviation of the difference of two structures' totals.

        What both have in common cancels.

        Parameters
        ----------
        centred, other : ndarrays, shape (N, n_features)
        kinds : ndarray of int64, shape (N,)

        Returns
        -------
        float, k_B
        """
        roots = self._roots(centred, kinds) - self._roots(other, kinds)
        spread = self._spread(roots.sum(axis=0), np.square(roots).sum())
        return float(np.hypot(spread, np.sqrt(2) * self.noise))

    def combination_std(self, terms: Sequence[tuple[float, Array, IntArray]]) -> float:
        """Standard deviation of a sum of totals that belong together, as of defect and crystal.

        Parameters
        ----------
        terms : sequence of (float, ndarray, ndarray)
            Factor, and `sums` and `counts` of `root_of_sum` of every structure.

        Returns
        -------
        float, k_B
        """
        root = sum(
            (factor * self.root_of_sum(sums, counts) for factor, sums, counts in terms),
            np.zeros(self.factor.shape[2]),
        )
        return float(np.hypot(self.scale * _length(root), np.sqrt(2) * self.noise))

    def _roots(self, centred: Array, kinds: IntArray) -> Array:
        """Vectors whose products are the covariances of the sites, shape (N, rank), k_B."""
        roots = np.empty((len(centred), self.factor.shape[2]))
        for z in range(len(self.factor)):
            own = kinds == z
            roots[own] = centred[own] @ self.factor[z] + self.constants[z]
        return roots

    def _std(self, root: Array, variances: Array) -> tuple[float, Array]:
        """Results of `std` from the root of the total's variance, and the sites' variances."""
        total = np.hypot(self._spread(root, variances.sum()), self.noise)
        return float(total), self.scale * np.sqrt(variances)

    def _spread(self, root: Array, site_variances: float) -> float:
        """Stretched standard deviation of the sum over sites, k_B."""
        spread = _length(root)
        if np.isinf(spread):
            return spread
        return self.stretch(spread, float(np.sqrt(site_variances))) * spread

    def stretch(self, spread: float, site_spreads: float) -> float:
        """What the posterior standard deviation of a total is multiplied by.

        Parameters
        ----------
        spread : float, k_B
            Posterior standard deviation of the total.
        site_spreads : float, k_B
            Root of the sum of the posterior variances of all sites.

        Returns
        -------
        float
        """
        if not spread * site_spreads > 0:  # nothing is uncertain
            return float(self.scale)
        coherence = spread / site_spreads**2
        return float(self.scale * (coherence / self.typical) ** self.exponent)


def _length(root: Array) -> float:
    """Of a vector; infinite where features beyond all numbers gave inf - inf."""
    length = float(np.linalg.norm(root))
    return np.inf if np.isnan(length) else length
