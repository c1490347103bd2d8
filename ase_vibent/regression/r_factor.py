"""Rows of a least-squares problem, reduced to the R factor of a QR decomposition as they come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.linalg import lapack, solve_triangular

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidInputError

#: Memory of rows that wait to be reduced, bytes; with many columns it is that of two R factors.
PENDING_BYTES = 32 * 2**20


class RFactor:
    """R of the QR decomposition of all rows [X, y]: it stands for them in any least-squares fit.

    Rows are never squared, as in normal equations, so that small singular values survive. The
    memory does not grow with their number: a tall-skinny QR reduces block after block.

    Parameters
    ----------
    n_columns : int
        Columns of X.
    """

    def __init__(self, n_columns: int):
        self.n_columns = n_columns
        #: Number of rows.
        self.n_rows = 0
        self._sums = np.zeros(n_columns + 1)
        self._factor = np.zeros((0, n_columns + 1))
        self._pending: list[Array] = []

    @classmethod
    def from_blocks(cls, blocks: Iterable[tuple[Array, Array]]) -> RFactor:
        """R factor of a stream.

        Parameters
        ----------
        blocks : iterable of (matrix, values)
            As of `add`; at least one.

        Returns
        -------
        RFactor
        """
        r_factor = None
        for matrix, values in blocks:
            r_factor = r_factor or cls(matrix.shape[1])
            r_factor.add(matrix, values)
        if r_factor is None:
            raise InvalidInputError("blocks: expected at least one block of rows, got none")
        return r_factor

    def add(self, matrix: Array, values: Array) -> None:
        """Add rows.

        Parameters
        ----------
        matrix : ndarray, shape (n, n_columns)
            May be memory-mapped: it is read piece by piece.
        values : ndarray, shape (n,)

        Raises
        ------
        InvalidInputError
            If the shapes do not fit, or a number is not finite.
        """
        if matrix.shape != (len(values), self.n_columns):
            raise InvalidInputError(
                f"matrix: expected shape ({len(values)}, {self.n_columns}) for as many values, "
                f"got {matrix.shape}"
            )
        piece = self._most_pending
        for start in range(0, len(values), piece):
            stop = min(start + piece, len(values))
            # In the order of columns, as LAPACK has them.
            rows = np.empty((stop - start, self.n_columns + 1), order="F")
            rows[:, :-1], rows[:, -1] = matrix[start:stop], values[start:stop]
            sums = rows.sum(axis=0)
            if not np.isfinite(sums).all():
                raise InvalidInputError(
                    f"matrix, values: expected finite rows, got NaN or infinity among rows "
                    f"{start} to {stop}"
                )
            self._append(rows, len(rows), sums)

    def merge(self, other: RFactor) -> None:
        """Add all rows of another R factor with the same columns."""
        if other.n_columns != self.n_columns:
            raise InvalidInputError(
                f"other: expected {self.n_columns} columns, got {other.n_columns}"
            )
        self._append(other.factor, other.n_rows, other._sums)

    @classmethod
    def stack(cls, r_factors: Iterable[RFactor]) -> RFactor:
        """All rows of several R factors, at least one; these stay as they are."""
        parts = list(r_factors)
        whole = cls(parts[0].n_columns)
        for part in parts:
            whole.merge(part)
        return whole

    @property
    def factor(self) -> Array:
        """R of [X, y], shape (min(n_rows, n_columns + 1), n_columns + 1) or fewer rows."""
        if self._pending:
            parts = [self._factor, *self._pending]
            self._pending = []
            self._factor = upper_factor(parts)
        return self._factor

    @property
    def matrix(self) -> Array:
        """X rotated, shape (len(factor), n_columns)."""
        return self.factor[:, :-1]

    @property
    def values(self) -> Array:
        """Y rotated, shape (len(factor),)."""
        return self.factor[:, -1]

    @property
    def variance(self) -> float:
        """Variance of all values about their mean."""
        values = self.values
        mean = self._sums[-1] / self.n_rows
        return max(float(values @ values) / self.n_rows - mean**2, 0.0)

    def column_rms(self) -> Array:
        """Root mean square of every column, shape (n_columns,)."""
        return np.linalg.norm(self.matrix, axis=0) / np.sqrt(self.n_rows)

    def squared_residual(self, coefficients: Array) -> Array:
        """Σ (X w - y)² over all rows.

        Parameters
        ----------
        coefficients : ndarray, shape (n_columns,) or (n_columns, n)
            Of one or several fits.

        Returns
        -------
        ndarray, shape () or (n,)
        """
        residual = self.matrix @ coefficients
        residual -= self.values if coefficients.ndim == 1 else self.values[:, None]
        return np.asarray(np.sum(residual**2, axis=0))

    def weight(self, weight: float) -> RFactor:
        """All rows times a weight."""
        return self._of(weight * self.factor, self.n_rows, weight * self._sums)

    def scale(self, factors: Array) -> RFactor:
        """Every column of X times its factor, shape (n_columns,)."""
        every = np.append(factors, 1.0)
        return self._of(self.factor * every, self.n_rows, self._sums * every)

    def columns(self, chosen: Any) -> RFactor:
        """The problem of some columns of X.

        Parameters
        ----------
        chosen : ndarray of int or bool, or slice
            Columns in their new order.

        Returns
        -------
        RFactor
        """
        kept = np.append(np.arange(self.n_columns)[chosen], self.n_columns)
        return self._of(upper_factor([self.factor[:, kept]]), self.n_rows, self._sums[kept])

    def eliminate(self, n_first: int) -> RFactor:
        """The problem that the first columns leave to the others, once fitted without penalty.

        The rows are projected on the complement of those columns, of n_first dimensions less,
        which counts as that many rows less.

        Parameters
        ----------
        n_first : int
            These columns are linearly independent.

        Returns
        -------
        RFactor
        """
        head, rest = self.factor[:n_first], self.factor[n_first:, n_first:]
        projection = solve_triangular(head[:, :n_first], head[:, n_first:])
        sums = self._sums[n_first:] - self._sums[:n_first] @ projection
        return self._of(rest, self.n_rows - n_first, sums)

    def first_coefficients(self, n_first: int, others: Array) -> Array:
        """Coefficients of the eliminated columns, from those of the others.

        Parameters
        ----------
        n_first : int
        others : ndarray, shape (n_columns - n_first,)

        Returns
        -------
        ndarray, shape (n_first,)
        """
        head = self.factor[:n_first]
        return solve_triangular(head[:, :n_first], head[:, -1] - head[:, n_first:-1] @ others)

    @property
    def _most_pending(self) -> int:
        width = self.n_columns + 1
        return max(2 * width, PENDING_BYTES // (8 * width))

    def _append(self, rows: Array, n_rows: int, sums: Array) -> None:
        self._pending.append(rows)
        self.n_rows += n_rows
        self._sums += sums
        if sum(map(len, self._pending)) >= self._most_pending:
            _ = self.factor

    @classmethod
    def _of(cls, factor: Array, n_rows: int, sums: Array) -> RFactor:
        r_factor = cls(factor.shape[1] - 1)
        r_factor.n_rows, r_factor._factor, r_factor._sums = n_rows, factor, sums
        return r_factor


def upper_factor(parts: list[Array]) -> Array:
    """R of the QR decomposition of the rows of all parts.

    Parameters
    ----------
    parts : list of ndarray, shape (n, n_columns)
        Emptied on the way, so that their memory can be used again.

    Returns
    -------
    ndarray, shape (min(n_rows, n_columns), n_columns)
    """
    n_rows, width = sum(map(len, parts)), parts[0].shape[1]
    stack = np.empty((n_rows, width), order="F")
    start = 0
    while parts:
        part = parts.pop(0)
        stack[start : start + len(part)] = part
        start += len(part)
    if not n_rows:
        return stack
    # scipy.linalg.qr would copy all rows once more.
    work = int(lapack.dgeqrf_lwork(n_rows, width)[0])
    stack = lapack.dgeqrf(stack, lwork=work, overwrite_a=True)[0]
    return np.triu(stack[:width])
