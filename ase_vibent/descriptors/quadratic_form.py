"""Quadratic forms of an atom's features, packed for the compiled kernels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ase_vibent.arrays import Array, IntArray

#: Rows of factors that are worked on together.
ROWS = 8
#: Forms in one pass.
MOST_FORMS = 2


class QuadraticForm(NamedTuple):
    """q = |P y + b|² of the features D, y = (D - centre)/spread; or |y|² less that.

    One per kind of site. The second is the squared distance along all directions but those of P.

    Attributes
    ----------
    centre, inverse_spread : ndarrays, shape (n_kinds, n_features)
    rows : ndarray, shape (n_kinds, n_groups, n_features, ROWS)
        P in groups of rows, filled up with zeros.
    offsets : ndarray, shape (n_kinds, n_groups * ROWS)
        b.
    starts : ndarray of int64, shape (n_kinds, n_groups)
        Features before these have no part in a group.
    complement : bool
        Whether q = |y|² - |P y + b|².
    enough : float
        Of a complement: where q is below, an upper bound below serves as well.
    """

    centre: Array
    inverse_spread: Array
    rows: Array
    offsets: Array
    starts: IntArray
    complement: bool
    enough: float

    @classmethod
    def of(
        cls,
        centre: ArrayLike,
        spread: ArrayLike,
        factors: Array,
        offsets: Array | None = None,
        *,
        complement: bool = False,
    ) -> QuadraticForm:
        """Form from its factors.

        Parameters
        ----------
        centre, spread : ndarrays, shape (n_kinds, n_features)
        factors : ndarray, shape (n_kinds, n_rows, n_features)
            P. Fastest if triangular; of a complement, the rows that matter most come first.
        offsets : ndarray, shape (n_kinds, n_rows), optional
            b; zero by default.
        complement : bool
            See `QuadraticForm`.

        Returns
        -------
        QuadraticForm
        """
        n_kinds, n_rows, n_features = factors.shape
        n_groups = -(-n_rows // ROWS)
        filled = np.zeros((n_kinds, n_groups * ROWS, n_features))
        filled[:, :n_rows] = factors
        groups = filled.reshape(n_kinds, n_groups, ROWS, n_features)
        occur = np.any(groups != 0, axis=2)
        constants = np.zeros((n_kinds, n_groups * ROWS))
        if offsets is not None:
            constants[:, :n_rows] = offsets
        return cls(
            np.array(centre, dtype=float),
            1 / np.array(spread, dtype=float),
            np.ascontiguousarray(groups.transpose(0, 1, 3, 2)),
            constants,
            np.where(occur.any(axis=2), occur.argmax(axis=2), n_features).astype(np.int64),
            complement,
            -np.inf,
        )

    @classmethod
    def none(cls) -> QuadraticForm:
        """A form that kernels leave out."""
        nothing = np.empty((0, 0))
        return cls(
            nothing, nothing, np.empty((0, 0, 0, ROWS)), nothing, np.empty((0, 0), np.int64),
            False, -np.inf,
        )  # fmt: skip

    def __call__(self, features: Array, kinds: IntArray) -> Array:
        """Values of the form.

        Parameters
        ----------
        features : ndarray, shape (N, n_features)
        kinds : ndarray of int64, shape (N,)

        Returns
        -------
        ndarray, shape (N,)
        """
        values = np.empty(len(features))
        for z in np.unique(kinds):
            own = kinds == z
            y = (features[own] - self.centre[z]) * self.inverse_spread[z]
            factors = self.rows[z].transpose(0, 2, 1).reshape(-1, y.shape[1])
            squares = np.square(y @ factors.T + self.offsets[z]).sum(axis=1)
            values[own] = np.square(y).sum(axis=1) - squares if self.complement else squares
        # Features beyond all numbers give inf - inf, and are as far away.
        return np.where(np.isnan(values), np.inf, np.maximum(values, 0.0))


class FormValues(NamedTuple):
    """Values of a quadratic form, and what sums over sites need.

    Attributes
    ----------
    values : ndarray, shape (N,)
    sums : ndarray, shape (n_kinds, n_features)
        Sum of y over the atoms of a kind.
    """

    values: Array
    sums: Array
