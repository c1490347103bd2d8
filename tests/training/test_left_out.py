"""Errors on what a fit leaves out, and error bars calibrated on them."""

import numpy as np
import pytest
from scipy.stats import norm

from ase_vibent import ACE
from ase_vibent.quantities import DEFAULT_WEIGHTS
from ase_vibent.regression.r_factor import RFactor
from ase_vibent.regression.solvers import ridge
from ase_vibent.training.calibration import calibrate
from ase_vibent.training.features import FrameFeatures
from ase_vibent.training.left_out import LeftOut, calibration_frames, left_out, without
from ase_vibent.training.rows import ALWAYS, gather_rows
from ase_vibent.training.training_set import TrainingSet


@pytest.mark.parametrize(
    ("noise", "scale", "exponent"),
    [(0.5, 1e-3, 0.0), (1e-3, 3.0, 0.3), (0.3, 1.5, 0.0), (0.05, 2.0, -0.2)],
)
def test_calibration_recovers_its_parameters(noise, scale, exponent):
    """Errors drawn from a known model; intervals then cover what they promise, kind by kind."""
    rng = np.random.default_rng(1)
    spreads = np.exp(rng.normal(-1.5, 1, 4000))
    kinds = rng.integers(2, size=4000)
    site_spreads = np.where(kinds, spreads**0.5, 10.0) * np.exp(rng.normal(0, 0.3, 4000))
    found = calibrate(LeftOut(np.zeros(4000), spreads, site_spreads))
    coherence = spreads / site_spreads**2 / found.typical
    true = np.hypot(noise, scale * coherence**exponent * spreads)
    errors = true * rng.normal(size=4000)
    found = calibrate(LeftOut(errors, spreads, site_spreads))
    deviations = np.hypot(found.noise, found.scale * coherence**found.exponent * spreads)
    # What only the smallest spreads could tell stays uncertain.
    assert np.quantile(np.abs(deviations / true - 1), 0.95) < 0.1
    for coverage in (0.5, 0.8, 0.95):
        inside = np.abs(errors) < norm.ppf((1 + coverage) / 2) * deviations
        for kind in (0, 1):
            assert inside[kinds == kind].mean() == pytest.approx(coverage, abs=0.03)


def test_few_errors_say_little_about_the_exponent():
    spreads = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    found = calibrate(LeftOut(0.5 * spreads, spreads, np.sqrt([0.5, 0.4, 0.3, 0.2, 0.1])))
    assert abs(found.exponent) < 0.1
    assert found.scale == pytest.approx(0.5 * np.sqrt(5 / 3), rel=0.1)


def test_rows_are_taken_out_exactly():
    """Values and covariance against a fit of the other rows with the same penalty."""
    rng = np.random.default_rng(3)
    matrix, values, queries = (
        rng.normal(size=(40, 12)),
        rng.normal(size=40),
        rng.normal(size=(3, 12)),
    )
    parts = [(matrix[:7], values[:7]), (matrix[7:], values[7:])]
    removed, rest = (RFactor.from_blocks([part]) for part in parts)
    whole, partial = (ridge(rows, strength=0.5) for rows in (RFactor.stack([removed, rest]), rest))
    changes, roots = without(whole, removed, queries)
    expected = queries @ (partial.coefficients - whole.coefficients)
    np.testing.assert_allclose(changes, expected, atol=1e-12)
    factor = queries @ partial.covariance_factor / partial.noise
    np.testing.assert_allclose(roots @ roots.T / whole.noise**2, factor @ factor.T, rtol=1e-10)
    # A column that only these rows determine, without a penalty.
    alone = np.zeros((7, 12))
    alone[:, 0] = 1
    rows = RFactor.from_blocks([(alone, values[:7])])
    others = matrix[7:].copy()
    others[:, 0] = 0
    whole = ridge(RFactor.stack([rows, RFactor.from_blocks([(others, values[7:])])]), strength=0.0)
    assert without(whole, rows, queries) is None


def test_left_out_errors_are_those_of_other_fits(silicon_frames):
    """Against fits of the other frames, whose columns are scaled a little differently."""
    data = TrainingSet.of(silicon_frames)
    descriptor = ACE(["Si"], cutoff=4.2, order=2, degree=6)
    numbers = calibration_frames(data)
    folds = [numbers.index(k) if k in numbers else ALWAYS for k in range(len(data.frames))]
    rows = gather_rows(FrameFeatures(descriptor), data, folds=folds)
    problem = rows.problem
    fit = problem.fit(rows.merge(DEFAULT_WEIGHTS), "ridge", {})
    totals = [fit.model().evaluate(atoms).values.sum() for atoms in data.frames]
    found = left_out(fit, data, DEFAULT_WEIGHTS, totals)
    assert len(found.errors) == len(numbers) == 8
    options = {"strength": fit.solution.details["strength"]}
    for total in rows.totals[1:]:
        others = rows.merge(DEFAULT_WEIGHTS, folds={*folds} - {total.fold})
        partial = problem.fit(others, "ridge", options).solution
        error = total.row @ partial.coefficients - total.value
        assert found.errors[total.fold] == pytest.approx(error, rel=0.02, abs=1e-4)
        spread = np.linalg.norm(total.row @ partial.covariance_factor) / partial.noise
        assert found.spreads[total.fold] / fit.solution.noise == pytest.approx(spread, rel=0.05)
