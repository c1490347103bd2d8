"""The quadratic part of a site model (EQML)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ase_vibent.arrays import Array
from ase_vibent.model.parts import ModelPart


@dataclass(frozen=True)
class Curvature(ModelPart):
    """W = Σ_r κ_r u_r u_rᵀ of the term xᵀ W x, [Lapointe2022] (16)-(18), per kind of site.

    Attributes
    ----------
    factors : ndarray, shape (n_kinds, rank, n_features)
        u_r.
    curvatures : ndarray, shape (n_kinds, rank), k_B or eV
        κ_r.
    """

    factors: Array
    curvatures: Array

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """See `ModelPart`."""
        n_kinds, rank, n_features = np.shape(self.factors)
        return {"factors": (n_kinds, rank, n_features), "curvatures": (n_kinds, rank)}

    def fits(self, n_kinds: int, n_features: int) -> bool:
        """See `ModelPart`."""
        return self.factors.shape[::2] == (n_kinds, n_features)
