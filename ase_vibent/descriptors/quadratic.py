"""The quadratic site model (EQML) as a function of the features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ase_vibent.arrays import Array, IntArray
from ase_vibent.errors import InvalidInputError


@dataclass(frozen=True)
class Quadratic:
    """Site values w · x + xᵀ W x, x = D - shift, W of low rank.

    [Lapointe2022] (16)-(18); a `Readout`.

    W = Σ_r κ_r u_r u_rᵀ, so that an atom costs 2 · rank · n_features operations.

    Parameters
    ----------
    weights : ndarray, shape (n_species, n_features)
        w, per species of the centre.
    factors : ndarray, shape (n_species, rank, n_features)
        u_r.
    curvatures : ndarray, shape (n_species, rank)
        κ_r.
    shift : ndarray, shape (n_species, n_features), optional
        Subtracted from the features; zero by default.

    Raises
    ------
    InvalidInputError
        If the shapes do not fit together.
    """

    weights: Array
    factors: Array
    curvatures: Array
    shift: Array | None = None

    def __post_init__(self) -> None:
        for name in ("weights", "factors", "curvatures"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=float))
        if self.shift is None:
            object.__setattr__(self, "shift", np.zeros_like(self.weights))
        if self.weights.ndim != 2:
            raise InvalidInputError(
                f"weights: expected shape (n_species, n_features), got {self.weights.shape}"
            )
        n_species, n_features = self.weights.shape
        rank = self.curvatures.shape[-1] if self.curvatures.ndim else 0
        for name, expected in (
            ("factors", (n_species, rank, n_features)),
            ("curvatures", (n_species, rank)),
            ("shift", (n_species, n_features)),
        ):
            shape = np.shape(getattr(self, name))
            if shape != expected:
                raise InvalidInputError(f"{name}: expected shape {expected}, got {shape}")

    @classmethod
    def from_matrices(
        cls, weights: Array, matrices: Array, *, rank: int | None = None
    ) -> Quadratic:
        """Model from whole matrices W.

        Parameters
        ----------
        weights : ndarray, shape (n_species, n_features)
        matrices : ndarray, shape (n_species, n_features, n_features)
            Symmetric part counts.
        rank : int, optional
            Eigenvalues to keep, the largest by size; all by default.

        Returns
        -------
        Quadratic
        """
        symmetric = (matrices + matrices.transpose(0, 2, 1)) / 2
        curvatures, vectors = np.linalg.eigh(symmetric)
        order = np.argsort(-np.abs(curvatures), axis=1)[:, :rank]
        factors = np.take_along_axis(vectors, order[:, None, :], axis=2).transpose(0, 2, 1)
        return cls(weights, factors, np.take_along_axis(curvatures, order, axis=1))

    def __call__(self, features: Array, species: IntArray) -> tuple[Array, Array]:
        """See `Readout`."""
        if features.shape[1:] != self.weights.shape[1:] or species.max(initial=0) >= len(
            self.weights
        ):
            raise InvalidInputError(
                f"weights: of shape {self.weights.shape}, made for other species or features "
                f"than the descriptor's {species.max(initial=0) + 1} and {features.shape[1]}"
            )
        assert self.shift is not None
        values, slopes = np.empty(len(features)), np.empty_like(features)
        for z in range(len(self.weights)):
            own = species == z
            centred = features[own] - self.shift[z]
            projections = centred @ self.factors[z].T
            bent = projections * self.curvatures[z]
            values[own] = centred @ self.weights[z] + np.sum(bent * projections, axis=1)
            slopes[own] = self.weights[z] + 2 * bent @ self.factors[z]
        return values, slopes
