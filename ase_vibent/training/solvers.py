"""Least-squares solvers for centred, column-scaled design matrices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, solve_triangular, svd
from scipy.optimize import minimize_scalar

from ase_vibent.errors import InvalidInputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Solution:
    """Coefficients and how they were found.

    Attributes
    ----------
    coefficients : ndarray, shape (n_columns,)
    details : dict
        What the report should say: regularisation strength, rank, effective parameters.
    """

    coefficients: Array
    details: dict[str, Any]


def ridge(
    matrix: Array,
    values: Array,
    *,
    strength: float | str = "evidence",
    n_rows: int | None = None,
) -> Solution:
    """Ridge regression with an automatic strength.

    Parameters
    ----------
    matrix : ndarray, shape (n_rows, n_columns)
    values : ndarray, shape (n_rows,)
    strength : float, "evidence" or "gcv"
        A fixed penalty, the maximum of the marginal likelihood, or the minimum of
        generalised cross-validation.
    n_rows : int, optional
        Number of rows of the problem, where matrix and values are its triangle.

    Returns
    -------
    Solution
    """
    # The triangle of a QR carries everything but the constant part of the residual.
    rotated, triangle = qr(matrix, mode="economic", check_finite=False)
    projected = rotated.T @ values
    outside = max(float(values @ values - projected @ projected), 0.0)
    left, singular, right = svd(triangle, full_matrices=False, check_finite=False)
    components, squares = left.T @ projected, singular**2
    n_rows = len(values) if n_rows is None else n_rows

    def residual(penalty: float) -> float:
        return outside + float(np.sum((components * penalty / (squares + penalty)) ** 2))

    def gcv(log_penalty: float) -> float:
        penalty = np.exp(log_penalty)
        freedom = n_rows - np.sum(squares / (squares + penalty))
        return float(np.log(max(residual(penalty), 1e-300)) - 2 * np.log(max(freedom, 1e-12)))

    def negative_evidence(log_penalty: float) -> float:
        penalty = np.exp(log_penalty)
        energy = outside + float(np.sum(components**2 * penalty / (squares + penalty)))
        return n_rows * np.log(max(energy, 1e-300) / n_rows) + float(
            np.sum(np.log1p(squares / penalty))
        )

    if isinstance(strength, str):
        criteria: dict[str, Callable[[float], float]] = {
            "evidence": negative_evidence,
            "gcv": gcv,
        }
        if strength not in criteria:
            raise InvalidInputError(
                f"strength: expected a number, 'evidence' or 'gcv', got {strength!r}"
            )
        penalty = _minimise(criteria[strength], squares[0])
    elif strength >= 0 and np.isfinite(strength):
        penalty = float(strength)
    else:
        raise InvalidInputError(f"strength: expected a number ≥ 0, got {strength}")
    filtered = np.divide(
        singular, squares + penalty, out=np.zeros_like(singular), where=squares + penalty > 0
    )
    freedom = float(np.sum(singular * filtered))
    return Solution(
        right.T @ (filtered * components),
        {"strength": penalty, "effective_parameters": freedom},
    )


def _minimise(criterion: Callable[[float], float], largest: float) -> float:
    """Penalty at the global minimum of a criterion: a grid in its logarithm, then Brent."""
    grid = np.log(largest) + np.linspace(np.log(1e-18), np.log(10), 60)
    scores = [criterion(g) for g in grid]
    best = int(np.argmin(scores))
    bounds = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    return float(np.exp(minimize_scalar(criterion, bounds=bounds, method="bounded").x))


def bayesian_ridge(matrix: Array, values: Array, *, max_iter: int = 1000) -> Solution:
    """Bayesian ridge regression of scikit-learn, P0 4.2.1.

    Parameters
    ----------
    matrix : ndarray, shape (n_rows, n_columns)
    values : ndarray, shape (n_rows,)
    max_iter : int

    Returns
    -------
    Solution
    """
    from sklearn.linear_model import BayesianRidge

    fit = BayesianRidge(fit_intercept=False, max_iter=max_iter).fit(matrix, values)
    return Solution(
        np.asarray(fit.coef_),
        {"noise_precision": float(fit.alpha_), "weight_precision": float(fit.lambda_)},
    )


def rank_revealing_qr(matrix: Array, values: Array, *, tolerance: float = 1e-8) -> Solution:
    """Pivoted QR that sets dependent columns to zero, P4 4.1.2.

    Parameters
    ----------
    matrix : ndarray, shape (n_rows, n_columns)
    values : ndarray, shape (n_rows,)
    tolerance : float
        Relative to the largest pivot.

    Returns
    -------
    Solution
    """
    rotated, triangle, order = qr(matrix, mode="economic", pivoting=True, check_finite=False)
    pivots = np.abs(np.diag(triangle))
    rank = int(np.sum(pivots > tolerance * pivots[0]))
    coefficients = np.zeros(matrix.shape[1])
    coefficients[order[:rank]] = solve_triangular(
        triangle[:rank, :rank], rotated[:, :rank].T @ values
    )
    return Solution(coefficients, {"rank": rank, "tolerance": tolerance})


SOLVERS: dict[str, Callable[..., Solution]] = {
    "ridge": ridge,
    "bayesian-ridge": bayesian_ridge,
    "rrqr": rank_revealing_qr,
}
