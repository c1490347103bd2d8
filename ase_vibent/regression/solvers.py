"""Least-squares solvers on the R factor of all rows, with posterior covariances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import qr, solve_triangular, svd
from scipy.optimize import minimize_scalar

from ase_vibent.arrays import Array
from ase_vibent.checks import check_choice
from ase_vibent.errors import InvalidInputError
from ase_vibent.quantities import SolverName
from ase_vibent.regression.r_factor import RFactor, upper_factor


@dataclass(frozen=True)
class Solution:
    """Coefficients, how they were found and how well they are known.

    Attributes
    ----------
    coefficients : ndarray, shape (n_columns,)
    details : dict
        What the report should say: regularisation strength, rank, effective parameters.
    covariance_factor : ndarray, shape (n_columns, k)
        L of the posterior covariance L Lᵀ of the coefficients; the noise is in it.
    noise : float
        Standard deviation of a row's value; NaN where as many parameters as rows are fitted.
    """

    coefficients: Array
    details: dict[str, Any]
    covariance_factor: Array
    noise: float


def ridge(r_factor: RFactor, *, strength: float | str = "evidence") -> Solution:
    """Ridge regression, with an automatic strength if wanted.

    Parameters
    ----------
    r_factor : RFactor
    strength : float, "evidence" or "gcv"
        A fixed penalty, the maximum of the marginal likelihood, or the minimum of
        generalised cross-validation.

    Returns
    -------
    Solution
        Covariance of the Gaussian prior whose mode is ridge regression.

    Raises
    ------
    InvalidInputError
        If the strength is none of these.
    """
    n_columns, n_rows = r_factor.n_columns, r_factor.n_rows
    left, singular, right = svd(r_factor.matrix[:n_columns], check_finite=False)
    components = left.T @ r_factor.values[:n_columns]
    outside = float(np.sum(r_factor.values[n_columns:] ** 2))
    singular[singular <= 1e-15 * singular.max(initial=0.0)] = 0.0
    squares = singular**2

    def residual(penalty: float) -> float:
        return outside + float(np.sum((components * _shrinkage(squares, penalty)) ** 2))

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
                f"strength: expected a number, 'evidence' or 'gcv' (with folds also 'cv' or "
                f"'auto'), got {strength!r}"
            )
        penalty, chosen_by = _minimise(criteria[strength], squares[0]), strength
    elif strength >= 0 and np.isfinite(strength):
        penalty, chosen_by = float(strength), "user"
    else:
        raise InvalidInputError(f"strength: expected a number ≥ 0, got {strength}")
    kept = 1 - _shrinkage(squares, penalty)
    filtered = np.divide(kept, singular, out=np.zeros_like(singular), where=singular > 0)
    freedom = float(np.sum(kept))
    noise = _noise(residual(penalty), n_rows - freedom)
    # Rows fewer than columns: along other directions the prior stands alone.
    precisions = np.append(squares, np.zeros(n_columns - len(squares))) + penalty
    known = precisions > 0
    deviations = np.zeros(n_columns)
    deviations[known] = noise / np.sqrt(precisions[known])
    return Solution(
        right[: len(squares)].T @ (filtered * components),
        {"strength": penalty, "chosen_by": chosen_by, "effective_parameters": freedom},
        right.T * deviations,
        noise,
    )


def ridge_path(r_factor: RFactor, strengths: Array) -> Array:
    """Coefficients of ridge regression at many strengths, from one decomposition.

    Parameters
    ----------
    r_factor : RFactor
    strengths : ndarray, shape (n,)
        Fixed penalties > 0.

    Returns
    -------
    ndarray, shape (n_columns, n)
    """
    left, singular, right = svd(r_factor.matrix, full_matrices=False, check_finite=False)
    components = left.T @ r_factor.values
    filters = singular[:, None] / (singular[:, None] ** 2 + strengths)
    return np.asarray(right.T @ (filters * components[:, None]))


def _shrinkage(squares: Array, penalty: float) -> Array:
    """Share of every component that ridge regression leaves in the residual."""
    total = squares + penalty
    return np.where(total > 0, penalty / np.where(total > 0, total, 1.0), 1.0)


def _noise(squared_residual: float, freedom: float) -> float:
    """Standard deviation from a residual of so many degrees of freedom."""
    return float(np.sqrt(squared_residual / freedom)) if freedom > 1e-9 else np.nan


def _minimise(criterion: Callable[[float], float], largest: float) -> float:
    """Penalty at the global minimum of a criterion: a grid in its logarithm, then Brent."""
    grid = np.log(largest) + np.linspace(np.log(1e-18), np.log(10), 60)
    scores = [criterion(g) for g in grid]
    best = int(np.argmin(scores))
    bounds = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    return float(np.exp(minimize_scalar(criterion, bounds=bounds, method="bounded").x))


def bayesian_ridge(r_factor: RFactor, **options: Any) -> Solution:
    """Bayesian ridge regression of scikit-learn, [Torabi2024] 4.2.1, as on all rows.

    Parameters
    ----------
    r_factor : RFactor
    **options
        Of `sklearn.linear_model.BayesianRidge`.

    Returns
    -------
    Solution
    """
    from sklearn.linear_model import BayesianRidge

    matrix, values = r_factor.matrix, r_factor.values
    # It counts rows where it adds α₁ to half of their number, and guesses the noise from their
    # values: both are told those of the stream.
    surplus = (r_factor.n_rows - len(values)) / 2
    told = {
        "alpha_init": 1 / (r_factor.variance + np.finfo(float).eps),
        **options,
        "alpha_1": options.get("alpha_1", 1e-6) + surplus,
    }
    fit = BayesianRidge(fit_intercept=False, **told).fit(matrix, values)
    precision, weight_precision = float(fit.alpha_), float(fit.lambda_)
    coefficients, factor = _posterior(
        matrix, values, precision, np.full(r_factor.n_columns, weight_precision)
    )
    details = {"noise_precision": precision, "weight_precision": weight_precision}
    return Solution(coefficients, details, factor, precision**-0.5)


def ard(
    r_factor: RFactor,
    *,
    max_iter: int = 300,
    tol: float = 1e-3,
    hyperprior: float = 1e-6,
    threshold_lambda: float = 1e4,
) -> Solution:
    """Automatic relevance determination, the iteration of scikit-learn's `ARDRegression`.

    Posteriors come from QR decompositions: scikit-learn squares the matrix, and its
    pseudoinverse then cuts off directions that only the prior determines.

    Parameters
    ----------
    r_factor : RFactor
    max_iter : int
    tol : float
        Sum of the changes of coefficients at which the iteration ends.
    hyperprior : float
        Shape and rate of the Gamma priors of all precisions.
    threshold_lambda : float
        Precision from which on a coefficient is zero: coefficients of scaled columns much
        below 10⁻² units of the values are lost, unless it is raised.

    Returns
    -------
    Solution
        Coefficients that are zero have no variance.
    """
    matrix, values = r_factor.matrix, r_factor.values
    precision = float(1 / (r_factor.variance + np.finfo(float).eps))
    weight_precisions = np.ones(r_factor.n_columns)
    coefficients = np.zeros(r_factor.n_columns)
    kept = np.ones(r_factor.n_columns, dtype=bool)
    for step in range(max_iter):
        before = coefficients.copy()
        found, factor = _posterior(matrix[:, kept], values, precision, weight_precisions[kept])
        coefficients[kept] = found
        determined = 1 - weight_precisions[kept] * np.sum(factor**2, axis=1)
        squared_residual = float(r_factor.squared_residual(coefficients))
        weight_precisions[kept] = (determined + 2 * hyperprior) / (found**2 + 2 * hyperprior)
        freedom = r_factor.n_rows - float(determined.sum())
        precision = (freedom + 2 * hyperprior) / (squared_residual + 2 * hyperprior)
        kept = weight_precisions < threshold_lambda
        coefficients[~kept] = 0
        if not kept.any() or (step and np.sum(np.abs(before - coefficients)) < tol):
            break
    root = np.zeros((r_factor.n_columns, int(kept.sum())))
    coefficients[kept], root[kept] = _posterior(
        matrix[:, kept], values, precision, weight_precisions[kept]
    )
    details = {"noise_precision": precision, "kept": int(kept.sum()), "iterations": step + 1}
    return Solution(coefficients, details, root, precision**-0.5)


def _posterior(
    matrix: Array, values: Array, precision: float, weight_precisions: Array
) -> tuple[Array, Array]:
    """Mean of coefficients, and L with L Lᵀ = (precision · XᵀX + diag(weight_precisions))⁻¹."""
    n_columns = len(weight_precisions)
    stack = np.zeros((len(values) + n_columns, n_columns + 1))
    stack[: len(values)] = np.sqrt(precision) * np.column_stack([matrix, values])
    np.fill_diagonal(stack[len(values) :], np.sqrt(weight_precisions))
    root = upper_factor([stack])[:n_columns]
    factor = np.asarray(solve_triangular(root[:, :-1], np.eye(n_columns)))
    return factor @ root[:, -1], factor


def rank_revealing_qr(r_factor: RFactor, *, tolerance: float = 1e-8) -> Solution:
    """Least squares of least norm in the leading directions of a pivoted QR, [Ortner2022] 4.1.2.

    What columns are divided by decides which of them share an answer that several could give: with
    a smoothness prior the smooth ones.

    Parameters
    ----------
    r_factor : RFactor
    tolerance : float
        Relative to the largest pivot.

    Returns
    -------
    Solution
        Least-squares covariance in the directions that are kept.
    """
    rotated, root, order = qr(r_factor.matrix, mode="economic", pivoting=True, check_finite=False)
    pivots = np.abs(np.diag(root))
    rank = int(np.sum(pivots > tolerance * pivots[0]))
    # Complete orthogonal decomposition: rows of the factor as combinations of `directions`.
    directions, lower = qr(root[:rank].T, mode="economic", check_finite=False)
    inverse = directions @ solve_triangular(lower, np.eye(rank), trans="T")
    factor = np.zeros((r_factor.n_columns, rank))
    factor[order] = inverse
    coefficients = factor @ (rotated[:, :rank].T @ r_factor.values)
    noise = _noise(float(r_factor.squared_residual(coefficients)), r_factor.n_rows - rank)
    return Solution(coefficients, {"rank": rank, "tolerance": tolerance}, noise * factor, noise)


SOLVERS: dict[SolverName, Callable[..., Solution]] = {
    "ridge": ridge,
    "bayesian-ridge": bayesian_ridge,
    "ard": ard,
    "rrqr": rank_revealing_qr,
}


def solve(
    r_factor: RFactor,
    solver: SolverName = "ridge",
    *,
    n_free: int = 0,
    scale: Array | None = None,
    **options: Any,
) -> Solution:
    """Fit all columns, the first of them without a penalty.

    Parameters
    ----------
    r_factor : RFactor
    solver : {"ridge", "bayesian-ridge", "ard", "rrqr"}
    n_free : int
        The first so many columns carry no penalty, and are linearly independent.
    scale : ndarray, shape (n_columns - n_free,), optional
        The other columns are divided by it before they are penalised; infinity leaves a
        column out.
    **options
        Of the solver.

    Returns
    -------
    Solution
        Of all columns as they came; those that were free have a flat prior.

    Raises
    ------
    InvalidInputError
        If there is no such solver.
    """
    check_choice("solver", solver, SOLVERS)
    inner = r_factor.eliminate(n_free)
    inverse = np.ones(inner.n_columns) if scale is None else 1 / scale
    found = SOLVERS[solver](inner.scale(inverse), **options)
    others = inverse * found.coefficients
    factor = inverse[:, None] * found.covariance_factor
    head = r_factor.factor[:n_free, :n_free]
    # An exact fit has no noise that is known: NaN, and so are all covariances.
    answer = solve_triangular(
        head, r_factor.factor[:n_free, n_free:-1] @ factor, check_finite=False
    )
    own = found.noise * solve_triangular(head, np.eye(n_free))
    return Solution(
        np.append(r_factor.first_coefficients(n_free, others), others),
        found.details,
        np.block([[own, -answer], [np.zeros((len(others), n_free)), factor]]),
        found.noise,
    )
