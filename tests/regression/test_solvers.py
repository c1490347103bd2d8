"""R factors and solvers against scikit-learn, NumPy and brute force on all rows."""

import numpy as np
import pytest
from sklearn.linear_model import ARDRegression, BayesianRidge, Ridge, RidgeCV

from ase_vibent.errors import InvalidInputError
from ase_vibent.regression import r_factor as r_factor_module
from ase_vibent.regression.r_factor import RFactor
from ase_vibent.regression.solvers import (
    SOLVERS,
    ard,
    bayesian_ridge,
    rank_revealing_qr,
    ridge,
    ridge_path,
    solve,
)


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(80, 20)) * np.logspace(0, -3, 20)
    values = 0.3 + matrix @ rng.normal(size=20) + 0.01 * rng.normal(size=80)
    return matrix, values


@pytest.fixture(params=["at once", "row by row"])
def rows(request, problem, monkeypatch):
    """R factor of the problem."""
    if request.param == "at once":
        return RFactor.from_blocks([problem])
    monkeypatch.setattr(r_factor_module, "PENDING_BYTES", 0)
    return RFactor.from_blocks((x[None], y[None]) for x, y in zip(*problem, strict=True))


@pytest.fixture
def few():
    """Fewer rows than columns."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(10, 30)), rng.normal(size=10)


def covariance(solution):
    return solution.covariance_factor @ solution.covariance_factor.T


def test_a_r_factor_keeps_every_inner_product(problem, rows):
    matrix, values = problem
    np.testing.assert_allclose(rows.matrix.T @ rows.matrix, matrix.T @ matrix, atol=1e-12)
    np.testing.assert_allclose(rows.matrix.T @ rows.values, matrix.T @ values, atol=1e-12)
    assert rows.factor.shape == (21, 21)
    assert rows.n_rows == 80
    assert rows.variance == pytest.approx(values.var(), rel=1e-12)
    np.testing.assert_allclose(rows.column_rms(), np.sqrt(np.mean(matrix**2, axis=0)))


def test_r_factors_are_rearranged_as_their_rows(problem, rows):
    """Columns, scales, weights and sums of R factors, against those of all rows."""
    matrix, values = problem
    chosen, factors = [7, 2, 11], np.array([1.0, 3.0, 0.5])
    other = RFactor.from_blocks([(matrix[:9], values[:9])])
    both = RFactor.stack([rows.weight(0.5), other]).columns(chosen).scale(factors)
    stack = np.vstack([0.5 * matrix, matrix[:9]])[:, chosen] * factors
    wanted = np.concatenate([0.5 * values, values[:9]])
    assert both.n_rows == 89
    assert both.variance == pytest.approx(wanted.var(), rel=1e-12)
    fits = np.random.default_rng(2).normal(size=(3, 4))
    residuals = np.sum((stack @ fits - wanted[:, None]) ** 2, axis=0)
    np.testing.assert_allclose(both.squared_residual(fits), residuals, rtol=1e-12)
    assert both.squared_residual(fits[:, 1]) == pytest.approx(residuals[1], rel=1e-12)


def test_eliminated_columns_are_projected_out(problem, rows):
    matrix, values = problem
    basis = np.linalg.qr(matrix[:, :3])[0]
    projector = np.eye(80) - basis @ basis.T
    left, right = projector @ matrix[:, 3:], projector @ values
    inner = rows.eliminate(3)
    np.testing.assert_allclose(inner.matrix.T @ inner.values, left.T @ right, atol=1e-12)
    np.testing.assert_allclose(inner.matrix.T @ inner.matrix, left.T @ left, atol=1e-12)
    assert inner.n_rows == 77
    expected = right @ right / 77 - (right.sum() / 77) ** 2
    assert inner.variance == pytest.approx(expected, rel=1e-10)


def test_small_singular_values_survive_blocks(monkeypatch):
    """Condition 1e10: normal equations lose all digits of the last coefficients."""
    monkeypatch.setattr(r_factor_module, "PENDING_BYTES", 0)
    rng = np.random.default_rng(3)
    left, right = (np.linalg.qr(rng.normal(size=s))[0] for s in ((3000, 12), (12, 12)))
    matrix = left * np.logspace(0, -10, 12) @ right.T
    truth = rng.normal(size=12)
    rows = RFactor.from_blocks([(matrix[k::5], (matrix @ truth)[k::5]) for k in range(5)])
    np.testing.assert_allclose(ridge(rows, strength=0.0).coefficients, truth, atol=1e-4)


def test_a_stream_may_lie_on_disk(problem, tmp_path, monkeypatch):
    monkeypatch.setattr(r_factor_module, "PENDING_BYTES", 0)
    matrix, values = problem
    np.save(tmp_path / "rows.npy", np.tile(matrix, (4, 1)))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    rows = RFactor.from_blocks([(mapped, np.tile(values, 4))])
    np.testing.assert_allclose(rows.matrix.T @ rows.matrix, 4 * matrix.T @ matrix, atol=1e-11)


def test_fixed_ridge_equals_scikit_learn(problem, rows):
    ours = ridge(rows, strength=1e-4).coefficients
    theirs = Ridge(alpha=1e-4, fit_intercept=False, solver="svd").fit(*problem).coef_
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)


def test_a_path_is_that_of_single_fits(problem, few):
    """More rows than columns, and fewer."""
    strengths = np.array([1e-9, 1e-4, 3.0])
    for data in (problem, few):
        rows = RFactor.from_blocks([data])
        single = [ridge(rows, strength=s).coefficients for s in strengths]
        np.testing.assert_allclose(ridge_path(rows, strengths).T, single, rtol=1e-9, atol=1e-14)


def test_gcv_minimises_what_scikit_learn_minimises(problem, rows):
    """RidgeCV's leave-one-out error is rotation-dependent; GCV is its average: same decade."""
    ours = ridge(rows, strength="gcv").details["strength"]
    grid = np.logspace(-8, 0, 81)
    theirs = RidgeCV(alphas=grid, fit_intercept=False).fit(*problem).alpha_
    assert abs(np.log10(ours / theirs)) < 1


@pytest.mark.parametrize("strength", ["gcv", "evidence"])
def test_strengths_are_optimal_by_brute_force(problem, rows, strength):
    """Criteria from their definitions on all rows: hat matrix and Gaussian likelihood."""
    matrix, values = problem

    def gcv(penalty):
        hat = matrix @ np.linalg.solve(matrix.T @ matrix + penalty * np.eye(20), matrix.T)
        residual = values - hat @ values
        return np.log(residual @ residual / (80 - np.trace(hat)) ** 2)

    def evidence(penalty):
        correlation = np.eye(80) + matrix @ matrix.T / penalty
        noise = values @ np.linalg.solve(correlation, values) / 80
        return 80 * np.log(noise) + np.linalg.slogdet(correlation)[1]

    score = {"gcv": gcv, "evidence": evidence}[strength]
    best = ridge(rows, strength=strength).details["strength"]
    scan = best * np.logspace(-4, 4, 401)
    found = scan[np.argmin([score(penalty) for penalty in scan])]
    assert best == pytest.approx(found, rel=0.03)


def test_covariance_of_ridge_is_that_of_its_gaussian_prior(problem, rows):
    matrix, values = problem
    solution = ridge(rows)
    penalty = solution.details["strength"]
    correlation = np.eye(80) + matrix @ matrix.T / penalty
    # At the maximum of the evidence the noise is the likeliest one.
    variance = values @ np.linalg.solve(correlation, values) / 80
    assert solution.noise**2 == pytest.approx(variance, rel=1e-3)
    expected = solution.noise**2 * np.linalg.inv(matrix.T @ matrix + penalty * np.eye(20))
    np.testing.assert_allclose(covariance(solution), expected, rtol=1e-8, atol=1e-16)


def test_evidence_is_the_fixed_point_of_bayesian_ridge(problem, rows):
    flat = {"alpha_1": 0, "alpha_2": 0, "lambda_1": 0, "lambda_2": 0}
    fit = BayesianRidge(fit_intercept=False, max_iter=10000, tol=1e-12, **flat).fit(*problem)
    assert ridge(rows).details["strength"] == pytest.approx(fit.lambda_ / fit.alpha_, rel=1e-3)


@pytest.mark.parametrize("shape", ["many", "few"])
def test_bayesian_ridge_equals_scikit_learn(problem, few, shape):
    data = problem if shape == "many" else few
    ours = bayesian_ridge(RFactor.from_blocks([data]))
    theirs = BayesianRidge(fit_intercept=False).fit(*data)
    np.testing.assert_allclose(ours.coefficients, theirs.coef_, rtol=1e-8)
    assert ours.details["noise_precision"] == pytest.approx(theirs.alpha_, rel=1e-8)
    assert ours.noise == pytest.approx(theirs.alpha_**-0.5, rel=1e-8)
    assert ours.details["weight_precision"] == pytest.approx(theirs.lambda_, rel=1e-8)
    scale = np.abs(theirs.sigma_).max()
    np.testing.assert_allclose(covariance(ours), theirs.sigma_, rtol=1e-8, atol=1e-10 * scale)


@pytest.mark.parametrize("shape", ["many", "few"])
def test_ard_equals_scikit_learn(problem, few, shape):
    data = problem if shape == "many" else few
    options = {"threshold_lambda": 100.0}
    ours = ard(RFactor.from_blocks([data]), **options)
    theirs = ARDRegression(fit_intercept=False, **options).fit(*data)
    kept = theirs.lambda_ < 100
    assert 0 < ours.details["kept"] == kept.sum() < len(kept)
    np.testing.assert_allclose(ours.coefficients, theirs.coef_, rtol=1e-8)
    assert ours.details["noise_precision"] == pytest.approx(theirs.alpha_, rel=1e-8)
    scale = np.abs(theirs.sigma_).max()
    found = covariance(ours)[np.ix_(kept, kept)]
    np.testing.assert_allclose(found, theirs.sigma_, rtol=1e-8, atol=1e-10 * scale)
    assert not covariance(ours)[~kept].any()


def test_more_columns_than_rows(few):
    expected = np.linalg.pinv(few[0]) @ few[1]
    rows = RFactor.from_blocks([few])
    np.testing.assert_allclose(ridge(rows, strength=0.0).coefficients, expected)
    # Along directions without a row, the prior stands alone.
    solution = ridge(rows, strength=2.0)
    expected = np.linalg.inv(few[0].T @ few[0] + 2 * np.eye(30)) * solution.noise**2
    np.testing.assert_allclose(covariance(solution), expected, rtol=1e-8, atol=1e-12)


def test_rank_revealing_qr_is_of_least_norm(problem):
    """Scaled, columns share an answer in proportion to their squared scales, as a prior has it."""
    matrix, values = problem
    twice = RFactor.from_blocks([(np.hstack([matrix[:, :1], matrix[:, :1]]), values)])
    solution = solve(twice, "rrqr", scale=np.array([1.0, 2.0]))
    assert solution.details["rank"] == 1
    one, other = solution.coefficients
    assert one / other == pytest.approx(4, rel=1e-10)
    assert one + other == pytest.approx(np.linalg.lstsq(matrix[:, :1], values)[0][0], rel=1e-10)


def test_rank_revealing_qr_drops_dependent_columns(problem):
    matrix, values = problem
    doubled = np.hstack([matrix[:, :5], matrix[:, :5] @ np.ones((5, 1))])
    solution = rank_revealing_qr(RFactor.from_blocks([(doubled, values)]))
    assert solution.details["rank"] == 5
    expected, residual = np.linalg.lstsq(matrix[:, :5], values)[:2]
    np.testing.assert_allclose(
        doubled @ solution.coefficients, matrix[:, :5] @ expected, atol=1e-10
    )
    assert solution.noise**2 == pytest.approx(residual[0] / 75, rel=1e-10)


def test_rank_revealing_qr_is_least_squares_at_full_rank(problem, rows):
    matrix, values = problem
    whole = rank_revealing_qr(rows)
    np.testing.assert_allclose(whole.coefficients, np.linalg.lstsq(matrix, values)[0], rtol=1e-8)
    expected = whole.noise**2 * np.linalg.inv(matrix.T @ matrix)
    np.testing.assert_allclose(covariance(whole), expected, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("solver", SOLVERS)
def test_free_columns_carry_no_penalty(problem, solver):
    """However large a constant is, it changes nothing but its own coefficient."""
    matrix, values = problem
    columns = np.hstack([np.ones((80, 1)), matrix])
    scale = np.sqrt(np.mean(matrix**2, axis=0))
    one, other = (
        solve(RFactor.from_blocks([(columns, values + c)]), solver, n_free=1, scale=scale)
        for c in (0.0, 1e4)
    )
    np.testing.assert_allclose(
        other.coefficients - one.coefficients, [1e4, *np.zeros(20)], atol=1e-6
    )
    np.testing.assert_allclose(covariance(other), covariance(one), rtol=1e-6, atol=1e-12)
    # Infinite scales leave columns out.
    scale[4] = np.inf
    rows = RFactor.from_blocks([(columns, values)])
    assert solve(rows, solver, n_free=1, scale=scale).coefficients[5] == 0


def test_covariance_of_free_columns_is_that_of_a_flat_prior(problem):
    matrix, values = problem
    columns = np.hstack([np.ones((80, 1)), matrix])
    rows = RFactor.from_blocks([(columns, values)])
    solution = solve(rows, n_free=1, scale=np.full(20, 2.0), strength=0.3)
    penalties = np.diag([0.0, *np.full(20, 0.3 * 4)])
    precision = columns.T @ columns + penalties
    np.testing.assert_allclose(
        solution.coefficients, np.linalg.solve(precision, columns.T @ values), rtol=1e-8
    )
    expected = solution.noise**2 * np.linalg.inv(precision)
    np.testing.assert_allclose(covariance(solution), expected, rtol=1e-8, atol=1e-12)


def test_bad_input_is_named(problem, rows):
    matrix, values = problem
    for strength in ("magic", -1.0, float("nan")):
        with pytest.raises(InvalidInputError, match="strength"):
            ridge(rows, strength=strength)
    with pytest.raises(InvalidInputError, match="solver"):
        solve(rows, "magic")
    with pytest.raises(InvalidInputError, match="at least one block"):
        RFactor.from_blocks([])
    with pytest.raises(InvalidInputError, match="expected shape"):
        rows.add(matrix, values[1:])
    with pytest.raises(InvalidInputError, match="expected 20 columns"):
        rows.merge(RFactor(3))
    matrix[5, 2] = np.nan
    with pytest.raises(InvalidInputError, match="finite"):
        rows.add(matrix, values)
