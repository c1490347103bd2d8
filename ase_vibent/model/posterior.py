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

    The standard deviation of a total is `scale` · sqrt(xᵀ Σ x + noise²), where x are the
    centred features, summed over the sites of each kind. `scale` makes intervals cover what
    they promise on configurations that were held out (see `calibrated_scale`).

    Attributes
    ----------
    factor : ndarray of float32, shape (n_kinds, n_features, rank), k_B
        L.
    noise : ndarray, shape (), k_B
        Of a total entropy.
    scale : ndarray, shape ()
    """

    factor: NDArray[np.float32]
    noise: Array
    scale: Array

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """See `ModelPart`."""
        n_kinds, n_features, rank = np.shape(self.factor)
        return {"factor": (n_kinds, n_features, rank), "noise": (), "scale": ()}

    def fits(self, n_kinds: int, n_features: int) -> bool:
        """See `ModelPart`."""
        return self.factor.shape[:2] == (n_kinds, n_features)

    def total_std(self, sums: Array) -> float:
        """Standard deviation of a structure's total.

        Parameters
        ----------
        sums : ndarray, shape (n_kinds, n_features)
            Centred features, summed over the sites of each kind.

        Returns
        -------
        float, k_B
        """
        spread = np.einsum("zf,zfr->r", sums, self.factor)
        return float(self.scale * np.sqrt(spread @ spread + self.noise**2))

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
            result[own] = np.linalg.norm(centred[own] @ self.factor[z], axis=1)
        return self.scale * result
