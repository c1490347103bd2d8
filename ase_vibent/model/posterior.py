"""What a fit leaves uncertain: the posterior covariance of the coefficients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ase_vibent.model.parts import ModelPart

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Posterior(ModelPart):
    """Covariance Σ = L Lᵀ of the linear coefficients, and the noise of a total.

    The variance of a total is scale² · xᵀ Σ x + noise², where x are the centred features,
    summed over the sites of each kind. Noise and scale are those of configurations that were left
    out of fits (see `calibrated`), so that intervals cover what they promise.

    Attributes
    ----------
    factor : ndarray of float32, shape (n_kinds, n_features, rank), k_B
        L in the rows of the weights.
    constants : ndarray of float32, shape (n_kinds, rank), k_B
        L in the rows of the constants; zero where these are known.
    noise : ndarray, shape (), k_B
        Of a total entropy.
    scale : ndarray, shape ()
    """

    factor: NDArray[np.float32]
    constants: NDArray[np.float32]
    noise: Array
    scale: Array

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """See `ModelPart`."""
        n_kinds, n_features, rank = np.shape(self.factor)
        return {
            "factor": (n_kinds, n_features, rank),
            "constants": (n_kinds, rank),
            "noise": (),
            "scale": (),
        }

    def fits(self, n_kinds: int, n_features: int) -> bool:
        """See `ModelPart`."""
        return self.factor.shape[:2] == (n_kinds, n_features)

    def total_std(self, centred: Array, kinds: Indices) -> float:
        """Standard deviation of a structure's total.

        Parameters
        ----------
        centred : ndarray, shape (N, n_features)
        kinds : ndarray of int64, shape (N,)

        Returns
        -------
        float, k_B
        """
        spread = np.zeros(self.factor.shape[2])
        for z in range(len(self.factor)):
            own = kinds == z
            spread += centred[own].sum(axis=0) @ self.factor[z] + own.sum() * self.constants[z]
        return float(np.sqrt(self.scale**2 * (spread @ spread) + self.noise**2))

    def site_std(self, centred: Array, kinds: Indices) -> Array:
        """Standard deviation of every site value, without the noise of totals.

        Parameters
        ----------
        centred : ndarray, shape (N, n_features)
        kinds : ndarray of int64, shape (N,)

        Returns
        -------
        ndarray, shape (N,), k_B
        """
        result = np.empty(len(centred))
        for z in range(len(self.factor)):
            own = kinds == z
            spread = centred[own] @ self.factor[z] + self.constants[z]
            result[own] = np.linalg.norm(spread, axis=1)
        return self.scale * result
