"""Error bars and the extrapolation grade: what they are made of, and what they promise."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import kB

from ase_vibent import ACE, SiteEnergyCalculator, SiteEntropyCalculator, SiteModel, pretrained
from ase_vibent.calculators.surrogate_base import EXTRAPOLATION_LIMIT
from ase_vibent.errors import ExtrapolationError, ExtrapolationWarning, InvalidInputError
from ase_vibent.model import Posterior, TrainingDomain


@pytest.fixture
def interstitial(silicon):
    atoms = silicon.copy()
    atoms.append("Si")
    atoms.positions[-1] = atoms.positions[0] + np.full(3, 5.431 / 2)
    return atoms


def a_posterior(noise=0.3, scale=2.0, exponent=0.2, typical=0.7) -> Posterior:
    """Of two kinds of site with three features each."""
    rng = np.random.default_rng(0)
    factor, constants = rng.normal(size=(2, 3, 9)), rng.normal(size=(2, 9))
    calibration = map(np.array, (noise, scale, exponent, typical))
    return Posterior(factor.astype(np.float32), constants, *calibration)


def test_standard_deviations_are_those_of_the_covariance():
    """Against Σ itself, whole and block by block."""
    model = a_posterior()
    features, kinds = np.random.default_rng(1).normal(size=(5, 3)), np.array([0, 1, 1, 0, 1])
    rows = np.zeros((5, 8))
    for i, z in enumerate(kinds):
        rows[i, 3 * z : 3 * z + 3], rows[i, 6 + z] = features[i], 1
    whole = np.vstack([model.factor.reshape(6, 9), model.constants])
    covariance = rows @ whole @ whole.T @ rows.T
    coherence = np.sqrt(covariance.sum()) / np.trace(covariance)
    expected = np.sqrt(4 * (coherence / 0.7) ** 0.4 * covariance.sum() + 0.3**2)
    total, sites = model.std(features, kinds)
    assert total == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(sites, 2 * np.sqrt(np.diag(covariance)), rtol=1e-6)


@pytest.mark.parametrize("exponent", [-0.3, 0.0, 0.3])
def test_standard_deviation_of_large_systems(exponent):
    """Equal parts add up, parts that are known add nothing, whatever the exponent."""
    model = a_posterior(noise=0.0, exponent=exponent)
    model.constants[:] = 0
    features, kinds = np.random.default_rng(1).normal(size=(5, 3)), np.array([0, 1, 1, 0, 1])
    total, _ = model.std(features, kinds)
    assert model.std(np.tile(features, (7, 1)), np.tile(kinds, 7))[0] == pytest.approx(7 * total)
    known = np.vstack([features, np.zeros((500, 3))])
    assert model.std(known, np.append(kinds, np.zeros(500, int)))[0] == pytest.approx(total)
    assert model.std(np.zeros((5, 3)), kinds)[0] == 0
    # Towards the crystal it goes to zero.
    tiny = [model.std(step * features, kinds)[0] / total for step in (1e-3, 1e-6)]
    assert 0 < tiny[1] < 0.02 * tiny[0] < 1e-3


def test_grade_is_the_distance_from_the_training_set():
    """Full rank: Mahalanobis' distance itself, 1 for the farthest training environment."""
    rng = np.random.default_rng(2)
    mixing = rng.normal(size=(4, 4))
    clouds = [rng.normal(size=(200, 4)) @ mixing + 7 for _ in range(3)]
    kinds = np.zeros(200, dtype=int)
    domain = TrainingDomain.of_environments(
        lambda: ((cloud, kinds) for cloud in clouds), np.full((1, 4), 6.0)
    )
    points = np.vstack(clouds)
    inverse = np.linalg.inv(np.cov(points.T, bias=True))
    moved = points - points.mean(axis=0)
    distances = np.sqrt(np.einsum("ia,ab,ib->i", moved, inverse, moved))
    grades = domain.grades(points, np.zeros(600, dtype=int))
    np.testing.assert_allclose(grades, distances / distances.max(), rtol=1e-4)
    assert grades.max() == pytest.approx(1)


MODELS = {
    "si-sw": bulk("Si", "diamond", a=5.431, cubic=True),
    "cdte-sw": bulk("CdTe", "zincblende", a=6.5, cubic=True),
}


def far_and_near(crystal, rattle) -> Atoms:
    """Cells of a hundred atoms and more, calm but for one atom."""
    atoms = rattle(crystal * (3, 2, 2), 0.05, seed=3)
    atoms.positions[5] += 0.6
    return atoms


@pytest.mark.parametrize("name", MODELS)
def test_errors_are_those_of_the_features(name, rattle):
    """One pass against the definitions, on all features at once."""
    model = SiteModel.load(pretrained.path(name))
    atoms = far_and_near(MODELS[name], rattle)
    found = model.predict(atoms, uncertainty=True, grades_above=0.0)
    plain = model.evaluate(atoms)
    np.testing.assert_array_equal(found.values, plain.values)
    np.testing.assert_array_equal(found.gradient, plain.gradient)
    features = model.descriptor.compute(atoms)
    kinds = np.array([list(model.species).index(symbol) for symbol in atoms.symbols])
    total, sites = model.posterior.std(features - model.shift[kinds], kinds)
    grown = model.finite_size.site_stds(plain.values - model.constants[kinds])
    np.testing.assert_allclose(found.site_stds, np.hypot(sites, grown), rtol=1e-9)
    assert found.std == pytest.approx(np.hypot(total, grown.sum()), rel=1e-9)
    domain = model.domain
    standard = (features - domain.centre[kinds]) / domain.spread[kinds]
    along = np.einsum("if,ikf->ik", standard, domain.directions[kinds])
    across = standard - np.einsum("ik,ikf->if", along, domain.directions[kinds])
    squares = np.square(along / domain.deviations[kinds]).sum(axis=1)
    squares += np.square(across).sum(axis=1) / domain.rest[kinds] ** 2
    # Directions are kept in single precision.
    np.testing.assert_allclose(found.grades, np.sqrt(squares) / domain.limit[kinds], rtol=1e-6)
    bounds = model.predict(atoms, gradient=False, grades_above=EXTRAPOLATION_LIMIT).grades
    far = found.grades > EXTRAPOLATION_LIMIT
    assert far.any()
    assert not far.all()
    np.testing.assert_array_equal(bounds[far], found.grades[far])
    assert np.all(bounds[~far] <= EXTRAPOLATION_LIMIT)
    assert np.all(bounds[~far] >= found.grades[~far] * (1 - 1e-12))


def test_all_comes_from_one_pass(silicon_model, silicon, rattle, monkeypatch):
    atoms, wanted = rattle(silicon, 0.1, seed=9), ["forces", "entropies_std", "entropy_std"]
    passes = []
    for method in ("linear_model", "site_model", "compute"):
        original = getattr(ACE, method)

        def counted(*arguments, original=original, **options):
            passes.append(original.__name__)
            return original(*arguments, **options)

        monkeypatch.setattr(ACE, method, counted)
    calculator = SiteEntropyCalculator(silicon_model)
    calculator.calculate(atoms, [*wanted, "extrapolation_grades"])
    assert passes == ["linear_model"]
    assert {*wanted, "extrapolation_grades", "entropies", "energy"} <= set(calculator.results)
    calculator.calculate(atoms, ["entropies_std"], [])
    assert passes == ["linear_model"] * 2  # asked for again by name: values are not
    assert calculator.get_property("extrapolation_grades", atoms).shape == (16,)
    assert len(passes) == 2


def test_potentials_tell_what_is_asked_after_forces(silicon_model, silicon, rattle):
    atoms = rattle(silicon, 0.1, seed=9)
    calculator = SiteEnergyCalculator(replace(silicon_model, target="energy"))
    calculator.get_property("forces", atoms)
    calculator.calculate(atoms, ["forces", "energies_std", "extrapolation_grades"], [])
    total, sites = silicon_model.uncertainty(atoms)
    assert calculator.results["energy_std"] == pytest.approx(total, rel=1e-11)
    np.testing.assert_allclose(calculator.results["energies_std"], sites, rtol=1e-11)
    assert calculator.results["extrapolation_grades"].shape == (16,)


def test_calculator_offers_uncertainties(silicon_model, silicon, rattle):
    atoms = rattle(silicon, 0.1, seed=9)
    calculator = SiteEntropyCalculator(silicon_model)
    total = calculator.get_property("entropy_std", atoms)
    sites = calculator.get_property("entropies_std", atoms)
    expected_total, expected_sites = silicon_model.uncertainty(atoms)
    assert total == pytest.approx(kB * expected_total)
    np.testing.assert_allclose(sites, kB * expected_sites)
    # Nothing is known less well than an atom where none was in training.
    assert np.all(sites > 0)
    grades = calculator.get_property("extrapolation_grades", atoms)
    assert grades.shape == (len(atoms),)
    assert 0 < grades.max() < EXTRAPOLATION_LIMIT


def test_uncertainties_do_not_evaluate_once_more(silicon_model, silicon, monkeypatch, rattle):
    atoms = rattle(silicon, 0.1, seed=9)
    calculator = SiteEntropyCalculator(silicon_model)
    forces = calculator.get_property("forces", atoms)
    evaluations = []
    monkeypatch.setattr(calculator, "_evaluate", lambda *_, **__: evaluations.append(1))
    calculator.get_property("entropies_std", atoms)
    calculator.get_property("extrapolation_grades", atoms)
    assert not evaluations
    assert calculator.get_property("forces", atoms) == pytest.approx(forces)
    monkeypatch.undo()
    moved = rattle(atoms, 0.1, seed=10)
    total = calculator.get_property("entropy_std", moved)
    assert total == pytest.approx(kB * silicon_model.uncertainty(moved)[0])
    assert "energy" in calculator.results


def test_crystal_is_known_best(silicon_model, silicon, rattle):
    """The crystal's constant is exact and its features are the origin: no uncertainty but noise."""
    total, sites = silicon_model.uncertainty(silicon)
    posterior = silicon_model.posterior
    assert total == pytest.approx(float(posterior.noise), rel=1e-3)
    assert np.all(sites < 1e-3 * silicon_model.uncertainty(rattle(silicon, 0.1, 9))[1].min())


def test_policy_on_extrapolation(silicon_model, interstitial, recwarn):
    warner = SiteEntropyCalculator(silicon_model)
    with pytest.warns(ExtrapolationWarning, match="atom 16"):
        warner.get_property("entropy", interstitial)
    assert warner.get_property("extrapolation_grades", interstitial).argmax() == 16
    raiser = SiteEntropyCalculator(silicon_model, extrapolation="raise")
    with pytest.raises(ExtrapolationError) as caught:
        raiser.get_property("entropy", interstitial)
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.grades.argmax() == 16
    recwarn.clear()
    silent = SiteEntropyCalculator(silicon_model, extrapolation="ignore")
    silent.get_property("entropy", interstitial)
    assert not [w for w in recwarn if issubclass(w.category, ExtrapolationWarning)]
    with pytest.raises(InvalidInputError, match="extrapolation"):
        SiteEntropyCalculator(silicon_model, extrapolation="shout")


def test_familiar_structures_cause_no_warning(silicon_model, silicon, recwarn, rattle):
    calculator = SiteEntropyCalculator(silicon_model)
    for seed in range(5):
        calculator.get_property("forces", rattle(silicon, 0.1, seed=20 + seed))
    assert not [w for w in recwarn if issubclass(w.category, ExtrapolationWarning)]


def test_parts_survive_the_file(tmp_path, silicon_model, silicon, rattle):
    silicon_model.save(tmp_path / "si.vibent")
    loaded = SiteModel.load(tmp_path / "si.vibent")
    atoms = rattle(silicon, 0.1, seed=3)
    assert loaded.uncertainty(atoms)[0] == silicon_model.uncertainty(atoms)[0]
    np.testing.assert_array_equal(
        loaded.extrapolation_grades(atoms), silicon_model.extrapolation_grades(atoms)
    )


def test_models_without_parts_say_so(silicon_model):
    bare = SiteModel(
        silicon_model.descriptor,
        silicon_model.constants,
        silicon_model.weights,
        silicon_model.shift,
        silicon_model.scale,
    )
    calculator = SiteEntropyCalculator(bare)
    atoms = bulk("Si", "diamond", a=5.431)
    with pytest.raises(InvalidInputError, match="posterior"):
        calculator.get_property("entropy_std", atoms)
    with pytest.raises(InvalidInputError, match="trained on"):
        calculator.get_property("extrapolation_grades", atoms)


def test_environments_beyond_all_numbers_are_far_away():
    """Polynomials of atoms nearly on one spot overflow; that is no reason to be silent."""

    model = SiteEntropyCalculator.from_pretrained("fe-am04", extrapolation="raise")
    near = Atoms("Fe2", positions=[[0, 0, 0], [0.31, 0, 0]])
    with pytest.raises(ExtrapolationError), np.errstate(all="ignore"):
        model.get_property("energy", near)
    with np.errstate(all="ignore"):
        assert np.all(np.isinf(model.model.extrapolation_grades(near)))
        total, sites = model.model.uncertainty(near)
        assert total == np.inf
        assert np.all(sites == np.inf)
        apart = Atoms("Fe2", positions=[[0, 0, 0], [2.4, 0, 0]])
        assert model.model.combination_std([(1.0, near), (-1.0, apart)]) == np.inf
