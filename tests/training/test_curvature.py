"""EQML: the quadratic step of a fit, and the errors of both steps."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from ase_vibent.errors import InvalidInputError
from ase_vibent.model import Curvature
from ase_vibent.quantities import DEFAULT_WEIGHTS
from ase_vibent.training.calibration import posterior
from ase_vibent.training.curvature import _products, _products_with_gradients, fit_curvature
from ase_vibent.training.features import FrameFeatures
from ase_vibent.training.left_out import calibration_frames, left_out
from ase_vibent.training.rows import gather_rows
from ase_vibent.training.targets import FrameTargets, ReferenceCrystals
from ase_vibent.training.training_set import TrainingSet


def test_quadratic_part_explains_more(quadratic_models):
    linear, quadratic = (m.header["errors"]["train"] for m in quadratic_models)
    for kind in ("total", "gradient"):
        assert quadratic[kind]["rmse"] < 0.9 * linear[kind]["rmse"]


def test_known_quadratic_form_is_found_again(quadratic_models, silicon_frames):
    """Labels made of a linear model and a quadratic form of its directions: recovered exactly."""
    linear, _ = quadratic_models
    domain = linear.domain
    basis = domain.directions[0, :3] / domain.spread[0] / domain.deviations[0, :3, None]
    mixing = np.random.default_rng(0).normal(size=(3, 3))
    curvature = Curvature((mixing @ basis)[None], np.array([[0.3, -0.2, 0.1]]))
    truth = replace(linear, curvature=curvature)
    targets = []
    for atoms in silicon_frames:
        sums = truth.evaluate(atoms)
        targets.append(FrameTargets(sums.values.sum(), sums.gradient, sums.strain, sums.values))
    kinds = ("total", "gradient", "strain", "sites")
    weights = dict.fromkeys(kinds, 1.0)
    data = TrainingSet(silicon_frames, ReferenceCrystals(silicon_frames), targets, kinds)
    found, _ = fit_curvature(linear, data, weights, directions=3)
    again = replace(linear, curvature=found)
    scale = np.abs(
        truth.evaluate(silicon_frames[1]).values - linear.evaluate(silicon_frames[1]).values
    ).max()
    for atoms in silicon_frames:
        np.testing.assert_allclose(
            again.evaluate(atoms).values, truth.evaluate(atoms).values, atol=1e-5 * scale
        )
    low, _ = fit_curvature(linear, data, weights, directions=3, rank=1)
    assert low.curvatures.shape == (1, 1)
    with pytest.raises(InvalidInputError, match="rank"):
        fit_curvature(linear, data, weights, rank=0)


def two_steps(data, like):
    """Both steps of a fit: the model, the linear fit, changes on leaving out."""
    rows = gather_rows(FrameFeatures(like.descriptor), data)
    fit = rows.problem.fit(rows.merge(DEFAULT_WEIGHTS), "ridge", {})
    linear = replace(fit.model(), domain=like.domain)
    curvature, changes = fit_curvature(linear, data, DEFAULT_WEIGHTS, directions=4)
    return replace(linear, curvature=curvature), fit, changes


def test_intervals_are_those_of_both_steps(quadratic_models, silicon_model, silicon_frames, rattle):
    """Labels of a richer model: errors of fits that leave frames out, then coverage."""
    linear, _ = quadratic_models
    random = np.random.default_rng(0)
    crystal = silicon_frames[0]
    cells = [rattle(crystal, a, seed) for seed, a in enumerate(random.uniform(0.05, 0.3, 130))]
    targets = []
    for atoms in [crystal, *cells]:
        sums = silicon_model.evaluate(atoms)
        targets.append(FrameTargets(sums.values.sum(), sums.gradient))
    for atoms in cells:
        atoms.info = {}
    references = ReferenceCrystals([crystal])
    data = TrainingSet([crystal, *cells[:40]], references, targets[:41], ("total", "gradient"))
    model, fit, changes = two_steps(data, linear)
    totals = [model.evaluate(atoms).values.sum() for atoms in data.frames]
    left = left_out(fit, data, DEFAULT_WEIGHTS, totals, changes=changes)
    numbers = calibration_frames(data)
    errors = []
    for number in numbers[:8]:
        kept = [k for k in range(41) if k != number]
        others = replace(
            data, frames=[data.frames[k] for k in kept], targets=[targets[k] for k in kept]
        )
        again, _, _ = two_steps(others, linear)
        predicted = again.evaluate(data.frames[number]).values.sum()
        errors.append(predicted - targets[number].total)
    # These fits choose their penalties anew, and their second step sees another first one.
    assert np.linalg.norm(left.errors[:8] - errors) < 0.3 * np.linalg.norm(errors)
    model = replace(model, posterior=posterior(fit, DEFAULT_WEIGHTS, left))
    unseen = list(zip(cells[40:], targets[41:], strict=True))
    errors = np.array([model.evaluate(a).values.sum() - t.total for a, t in unseen])
    # Twice what scatters standard deviations of 40 and of 90 errors: √(1/80 + 1/180) = 0.13.
    assert np.std(left.errors) == pytest.approx(np.std(errors), rel=0.27)
    scores = np.abs(errors / [model.uncertainty(atoms)[0] for atoms, _ in unseen])
    for coverage in (0.5, 0.8, 0.95):
        inside = np.mean(scores < norm.ppf((1 + coverage) / 2))
        # Two standard errors at one half, of 90 cells and of a scale from 40.
        assert inside == pytest.approx(coverage, abs=0.15)


def test_products_are_the_same_with_and_without_derivatives(silicon_model, silicon_frames):
    basis = np.random.default_rng(0).normal(size=(1, 3, silicon_model.descriptor.n_features))
    pairs = [(0, 0), (0, 2), (1, 2)]
    atoms = silicon_frames[2]
    features = silicon_model.descriptor.compute(atoms)
    plain = _products(silicon_model, basis, pairs, atoms, features)
    for own, other in zip(
        plain, _products_with_gradients(silicon_model, basis, pairs, atoms), strict=True
    ):
        scale = np.abs(other["sites"]).max()
        np.testing.assert_allclose(own["sites"], other["sites"], rtol=0, atol=1e-10 * scale)
        assert own["total"] == pytest.approx(other["total"], abs=1e-9 * scale)
