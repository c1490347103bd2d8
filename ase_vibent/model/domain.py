"""Which environments a model was trained on: the extrapolation grade of an atom."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ase_vibent.arrays import Array, IntArray
from ase_vibent.descriptors.quadratic_form import QuadraticForm
from ase_vibent.model.parts import ModelPart

#: Principal directions that are told apart.
DIRECTIONS = 48
#: A feature varies at least by this part of its size, and of the feature that varies most.
LEAST_SPREAD = 1e-4
#: Least standard deviation of standardised features along other directions.
LEAST_REST = 1e-3


@dataclass(frozen=True)
class TrainingDomain(ModelPart):
    """Gaussian of the training environments' features, by probabilistic principal components.

    The grade of an atom is its Mahalanobis distance in units of the largest one of the training
    set: 1 is the edge of what is known. Along the leading directions the variance is
    that of the training set, along all others their mean variance (Tipping and Bishop 1999).

    Attributes
    ----------
    centre, spread : ndarrays of float32, shape (n_kinds, n_features)
        Mean of every feature, and its standard deviation.
    directions : ndarray of float32, shape (n_kinds, k, n_features)
        Principal directions of the standardised features, orthonormal.
    deviations : ndarray, shape (n_kinds, k)
        Standard deviations along them.
    rest : ndarray, shape (n_kinds,)
        Standard deviation along any other direction.
    limit : ndarray, shape (n_kinds,)
        Largest distance in the training set.
    """

    positive: ClassVar[tuple[str, ...]] = ("spread", "deviations", "rest", "limit")

    centre: NDArray[np.float32]
    spread: NDArray[np.float32]
    directions: NDArray[np.float32]
    deviations: Array
    rest: Array
    limit: Array

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """See `ModelPart`."""
        n_kinds, k, n_features = np.shape(self.directions)
        return {
            "centre": (n_kinds, n_features),
            "spread": (n_kinds, n_features),
            "directions": (n_kinds, k, n_features),
            "deviations": (n_kinds, k),
            "rest": (n_kinds,),
            "limit": (n_kinds,),
        }

    def fits(self, n_kinds: int, n_features: int) -> bool:
        """See `ModelPart`."""
        return self.directions.shape[::2] == (n_kinds, n_features)

    def grades(self, features: Array, kinds: IntArray) -> Array:
        """Extrapolation grade of every atom.

        Parameters
        ----------
        features : ndarray, shape (N, n_features)
        kinds : ndarray of int64, shape (N,)

        Returns
        -------
        ndarray, shape (N,)
        """
        return np.asarray(np.sqrt(self.squared_grade(features, kinds)))

    @cached_property
    def squared_grade(self) -> QuadraticForm:
        """Square of the grade as a function of the features.

        |x|²/rest² less what is too much of it along the principal directions, in which training
        environments vary by more.
        """
        rest = self.rest[:, None]
        factors = np.empty(self.directions.shape)
        for z, directions in enumerate(self.directions):
            # Orthonormal to the last digit, which single precision is not.
            basis, triangle = np.linalg.qr(directions.T.astype(float))
            factors[z] = (basis * np.sign(np.diag(triangle))).T
        too_much = 1 - np.square(rest / self.deviations)
        factors *= np.sqrt(np.maximum(too_much, 0))[:, :, None]
        scale = self.spread * (self.rest * self.limit)[:, None]
        return QuadraticForm.of(self.centre, scale, factors, complement=True)

    @classmethod
    def of_environments(
        cls, environments: Callable[[], Iterable[tuple[Array, IntArray]]], origin: Array
    ) -> TrainingDomain:
        """Domain of a training set, in two passes and bounded memory.

        Parameters
        ----------
        environments : callable () -> iterable of (features, kinds)
            Of structure after structure, as `grades` takes them.
        origin : ndarray, shape (n_kinds, n_features)
            Typical features, so that nothing is lost in differences.

        Returns
        -------
        TrainingDomain
        """
        n_kinds, n_features = origin.shape
        counts, sums = np.zeros(n_kinds), np.zeros_like(origin)
        squares = np.zeros((n_kinds, n_features, n_features))
        for features, kinds in environments():
            for z in np.unique(kinds):
                moved = features[kinds == z] - origin[z]
                counts[z] += len(moved)
                sums[z] += moved.sum(axis=0)
                squares[z] += moved.T @ moved
        k = min(DIRECTIONS, n_features)
        parts = [
            _principal(s / max(n, 1), q / max(n, 1), o, k)
            for n, s, q, o in zip(counts, sums, squares, origin, strict=True)
        ]
        centre, spread, directions, deviations, rest = map(np.array, zip(*parts, strict=True))
        unscaled = cls(centre, spread, directions, deviations, rest, np.ones(n_kinds))
        limit = np.zeros(n_kinds)
        for features, kinds in environments():
            np.maximum.at(limit, kinds, unscaled.grades(features, kinds))
        # One environment alone lies at no distance from itself.
        return replace(unscaled, limit=np.maximum(limit, np.sqrt(k)))


def _principal(
    mean: Array, square: Array, origin: Array, k: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], Array, float]:
    """Centre, spread, directions, deviations and rest of one kind of site."""
    covariance = square - np.outer(mean, mean)
    spread = np.sqrt(np.maximum(np.diag(covariance), 0))
    least = LEAST_SPREAD * np.maximum(np.abs(mean + origin), spread.max(initial=0))
    spread = np.maximum(np.maximum(spread, least), np.finfo(np.float32).tiny)
    values, vectors = np.linalg.eigh(covariance / np.outer(spread, spread))
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    rest = max(float(np.sqrt(values[k:].mean())) if k < len(values) else 0.0, LEAST_REST)
    deviations = np.maximum(np.sqrt(values[:k]), rest)
    return (
        (mean + origin).astype(np.float32),
        spread.astype(np.float32),
        vectors[:, :k].T.astype(np.float32),
        deviations,
        rest,
    )
