"""Solvers against scikit-learn and NumPy."""

import numpy as np
import pytest
from sklearn.linear_model import BayesianRidge, Ridge, RidgeCV

from ase_vibent.errors import InvalidInputError
from ase_vibent.training.solvers import bayesian_ridge, rank_revealing_qr, ridge


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(80, 20)) * np.logspace(0, -3, 20)
    values = matrix @ rng.normal(size=20) + 0.01 * rng.normal(size=80)
    return matrix, values


def test_fixed_ridge_equals_scikit_learn(problem):
    matrix, values = problem
    ours = ridge(matrix, values, strength=1e-4).coefficients
    theirs = Ridge(alpha=1e-4, fit_intercept=False, solver="svd").fit(matrix, values).coef_
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)


def test_gcv_minimises_what_scikit_learn_minimises(problem):
    """RidgeCV's leave-one-out error is rotation-dependent; GCV is its average: same decade."""
    matrix, values = problem
    ours = ridge(matrix, values, strength="gcv").details["strength"]
    grid = np.logspace(-8, 0, 81)
    theirs = RidgeCV(alphas=grid, fit_intercept=False).fit(matrix, values).alpha_
    assert abs(np.log10(ours / theirs)) < 1


def test_gcv_is_a_minimum_of_its_definition(problem):
    matrix, values = problem
    best = ridge(matrix, values, strength="gcv").details["strength"]

    def score(penalty):
        hat = matrix @ np.linalg.solve(matrix.T @ matrix + penalty * np.eye(20), matrix.T)
        residual = values - hat @ values
        return residual @ residual / (80 - np.trace(hat)) ** 2

    assert score(best) <= min(score(1.2 * best), score(best / 1.2))


def test_evidence_is_the_fixed_point_of_bayesian_ridge(problem):
    matrix, values = problem
    flat = {"alpha_1": 0, "alpha_2": 0, "lambda_1": 0, "lambda_2": 0}
    fit = BayesianRidge(fit_intercept=False, max_iter=10000, tol=1e-12, **flat)
    fit.fit(matrix, values)
    ours = ridge(matrix, values, strength="evidence")
    assert ours.details["strength"] == pytest.approx(fit.lambda_ / fit.alpha_, rel=1e-3)
    # Bayesian ridge itself, as we call it, differs by its weak priors only.
    np.testing.assert_allclose(bayesian_ridge(matrix, values).coefficients, fit.coef_, rtol=1e-2)


def test_more_columns_than_rows():
    rng = np.random.default_rng(1)
    matrix, values = rng.normal(size=(10, 30)), rng.normal(size=10)
    expected = np.linalg.pinv(matrix) @ values
    np.testing.assert_allclose(ridge(matrix, values, strength=0.0).coefficients, expected)


def test_rank_revealing_qr_drops_dependent_columns(problem):
    matrix, values = problem
    doubled = np.hstack([matrix[:, :5], matrix[:, :5] @ np.ones((5, 1))])
    solution = rank_revealing_qr(doubled, values)
    assert solution.details["rank"] == 5
    expected = np.linalg.lstsq(matrix[:, :5], values)[0]
    np.testing.assert_allclose(
        doubled @ solution.coefficients, matrix[:, :5] @ expected, atol=1e-10
    )
    whole = rank_revealing_qr(matrix, values).coefficients
    np.testing.assert_allclose(whole, np.linalg.lstsq(matrix, values)[0], rtol=1e-6)


def test_bad_strength_is_named(problem):
    for strength in ("magic", -1.0, float("nan")):
        with pytest.raises(InvalidInputError, match="strength"):
            ridge(*problem, strength=strength)
