"""EQML: derivatives of the quadratic part, and its file."""

import numpy as np
import pytest

from ase_vibent import SiteModel


def test_value_gradient_and_strain(quadratic_models, silicon, rattle):
    _, model = quadratic_models
    atoms = rattle(silicon, 0.2, seed=11)
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


def test_crystal_stays_exact(quadratic_models, silicon_frames):
    for model in quadratic_models:
        values = model.evaluate(silicon_frames[0]).values
        np.testing.assert_allclose(values, model.constants[0], atol=1e-9)


def test_file_keeps_the_quadratic_part(quadratic_models, tmp_path, silicon, rattle):
    _, model = quadratic_models
    model.save(tmp_path / "eqml.vibent")
    loaded = SiteModel.load(tmp_path / "eqml.vibent")
    atoms = rattle(silicon, 0.1, seed=3)
    np.testing.assert_array_equal(loaded.evaluate(atoms).values, model.evaluate(atoms).values)


def test_quadratic_models_know_their_errors_too(quadratic_models, rattle, silicon):
    atoms = rattle(silicon, 0.1, seed=9)
    for model in quadratic_models:
        found = model.predict(atoms, uncertainty=True, grades_above=0.0)
        np.testing.assert_array_equal(found.values, model.evaluate(atoms).values)
        kinds = np.zeros(len(atoms), dtype=int)
        features = model.descriptor.compute(atoms)
        np.testing.assert_allclose(found.grades, model.domain.grades(features, kinds), rtol=1e-9)
        total, sites = model.posterior.std(features - model.shift, kinds)
        if model.finite_size is None:
            assert found.std == pytest.approx(total, rel=1e-9)
            np.testing.assert_allclose(found.site_stds, sites, rtol=1e-9)
