"""EQML: the quadratic step, its derivatives, and its file."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import rattled
from scipy.stats import norm

from ase_vibent import ACE, SiteModel, train
from ase_vibent.errors import InvalidInputError
from ase_vibent.model import Curvature
from ase_vibent.training.automatic import DEFAULT_WEIGHTS
from ase_vibent.training.calibration import posterior
from ase_vibent.training.curvature import fit_curvature
from ase_vibent.training.left_out import left_out
from ase_vibent.training.problem import SiteProblem
from ase_vibent.training.rows import gather_rows
from ase_vibent.training.targets import ReferenceCrystals, Targets
from ase_vibent.training.training_set import TrainingSet

SMALL = ACE(["Si"], cutoff=4.2, order=2, degree=5)


@pytest.fixture(scope="module")
def models(silicon_frames):
    return (
        train(silicon_frames, SMALL),
        train(silicon_frames, SMALL, quadratic={"directions": 6}),
    )


def test_quadratic_part_explains_more(models):
    linear, quadratic = (m.header["errors"]["train"] for m in models)
    for kind in ("entropy", "gradient"):
        assert quadratic[kind]["rmse"] < 0.9 * linear[kind]["rmse"]


def test_value_gradient_and_strain(models, silicon):
    _, model = models
    atoms = rattled(silicon, 0.2, seed=11)
    sums = model.evaluate(atoms)
    by_site = model.site_gradients(atoms)
    np.testing.assert_allclose(by_site.sum(axis=0), sums.gradient, atol=1e-10)
    step = 1e-5
    moved = []
    for sign in (1, -1):
        copy = atoms.copy()
        copy.positions[3, 1] += sign * step
        moved.append(model.evaluate(copy, gradient=False).values)
    np.testing.assert_allclose(by_site[:, 3, 1], (moved[0] - moved[1]) / (2 * step), atol=1e-7)
    strained = []
    for sign in (1, -1):
        copy = atoms.copy()
        copy.set_cell(copy.cell @ (np.eye(3) + sign * step * np.diag([0, 0, 1])), scale_atoms=True)
        strained.append(model.evaluate(copy, gradient=False).values.sum())
    numeric = (strained[0] - strained[1]) / (2 * step)
    assert sums.strain[2, 2] == pytest.approx(numeric, rel=1e-6)


def test_crystal_stays_exact(models, silicon_frames):
    for model in models:
        values = model.evaluate(silicon_frames[0]).values
        np.testing.assert_allclose(values, model.constants[0], atol=1e-9)


def test_known_quadratic_form_is_found_again(models, silicon_frames):
    """Labels made of a linear model and a quadratic form of its directions: recovered exactly."""

    linear, _ = models
    domain = linear.domain
    basis = domain.directions[0, :3] / domain.spread[0] / domain.deviations[0, :3, None]
    mixing = np.random.default_rng(0).normal(size=(3, 3))
    curvature = Curvature((mixing @ basis)[None], np.array([[0.3, -0.2, 0.1]]))
    truth = replace(linear, curvature=curvature)
    targets = []
    for atoms in silicon_frames:
        sums = truth.evaluate(atoms)
        targets.append(Targets(sums.values.sum(), sums.gradient, sums.strain, sums.values, None))
    kinds = ("entropy", "gradient", "strain", "sites")
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


def test_file_keeps_the_quadratic_part(models, tmp_path, silicon):
    _, model = models
    model.save(tmp_path / "eqml.vibent")
    loaded = SiteModel.load(tmp_path / "eqml.vibent")
    atoms = rattled(silicon, 0.1, seed=3)
    np.testing.assert_array_equal(loaded.evaluate(atoms).values, model.evaluate(atoms).values)


def test_intervals_are_those_of_the_two_steps(models, silicon_model, silicon_frames):
    """Labels of a richer model: coverage, and what leaving a frame out changes."""
    linear, _ = models
    random = np.random.default_rng(0)
    crystal = silicon_frames[0]
    cells = [rattled(crystal, a, seed) for seed, a in enumerate(random.uniform(0.05, 0.3, 130))]
    every = []
    for atoms in [crystal, *cells]:
        sums = silicon_model.evaluate(atoms)
        every.append(Targets(sums.values.sum(), sums.gradient, None, None, None))
    for atoms in cells:
        atoms.info = {}
    kinds, references = ("entropy", "gradient"), ReferenceCrystals(silicon_frames[:1])
    data = TrainingSet([crystal, *cells[:40]], references, every[:41], kinds)
    problem = SiteProblem.of_frames(SMALL, data.frames, references)
    fit = problem.fit(gather_rows(problem, data).merged(DEFAULT_WEIGHTS), "ridge", {})
    model = replace(fit.model(), domain=linear.domain)
    curvature, changes = fit_curvature(model, data, DEFAULT_WEIGHTS, directions=4)
    model = replace(model, curvature=curvature)
    left = left_out(model, fit, data, DEFAULT_WEIGHTS, changes=changes)
    model = replace(model, posterior=posterior(fit, DEFAULT_WEIGHTS, left))
    unseen = list(zip(cells[40:], every[41:], strict=True))
    errors = np.array([model.evaluate(a).values.sum() - t.entropy for a, t in unseen])
    scores = np.abs(errors / [model.uncertainty(atoms)[0] for atoms, _ in unseen])
    for coverage in (0.5, 0.8, 0.95):
        inside = np.mean(scores < norm.ppf((1 + coverage) / 2))
        # Four standard errors of 90 cells are 0.21 at one half, and 40 set the scale.
        assert inside == pytest.approx(coverage, abs=0.2)
    number = max(changes, key=lambda k: abs(changes[k]))
    others = [k for k in range(41) if k != number]
    fewer = replace(
        data, frames=[data.frames[k] for k in others], targets=[every[k] for k in others]
    )
    again = replace(
        model,
        curvature=fit_curvature(
            replace(model, curvature=None), fewer, DEFAULT_WEIGHTS, directions=4
        )[0],
    )
    atoms = data.frames[number]
    change = again.evaluate(atoms).values.sum() - model.evaluate(atoms).values.sum()
    assert changes[number] == pytest.approx(change, rel=0.2)
