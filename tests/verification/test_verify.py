"""Predictions beside exact sites: balls against diagonalisation, and unbiased estimates."""

from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes

from ase_vibent import SiteModel, bulk_site_entropies, verify
from ase_vibent.errors import InvalidInputError, LabelError
from ase_vibent.harmonic.entropy import mass_entropy
from ase_vibent.hessian import HessianOptions, compute_hessian, repeated_hessian
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.training.report import evaluate_frames
from ase_vibent.verification.exact_sites import ExactSites, ball_radius
from ase_vibent.verification.sample import SiteSample, ranked_sites
from ase_vibent.verification.verify import Verification

LATTICE_SI = 5.431

#: Of Stillinger-Weber silicon: twice its cutoff.
RANGE = 7.6


class ForcesOnly(Calculator):
    """Stillinger-Weber silicon without its Hessian."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self._inner = stillinger_weber_silicon()
        self.sizes = []

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.sizes.append(len(atoms))
        names = self.implemented_properties
        self.results = {name: self._inner.get_property(name, atoms) for name in names}


@pytest.fixture(scope="module")
def bulk_value():
    return bulk_site_entropies(bulk("Si", "diamond", a=LATTICE_SI), stillinger_weber_silicon())[0]


@pytest.fixture(autouse=True)
def converged_once(monkeypatch, bulk_value):
    """Converged values are tested elsewhere; here they need not be found anew every time."""

    def of(crystal, *_, **__):
        return np.full(len(crystal), bulk_value)

    monkeypatch.setattr("ase_vibent.crystal.perfect_crystal.bulk_site_entropies", of)
    monkeypatch.setattr(
        "ase_vibent.labelling.labels.InfiniteCrystal",
        lambda crystal, *_, **__: SimpleNamespace(site_entropies=of(crystal)),
    )


@pytest.fixture
def primitive():
    return bulk("Si", "diamond", a=LATTICE_SI)


@pytest.fixture
def vacancy(rattle):
    cell = bulk("Si", "diamond", a=LATTICE_SI, cubic=True) * (3, 3, 3)
    return rattle(cell[1:], 0.02, seed=0)


def test_balls_agree_with_diagonalisation(vacancy, sw):
    """Within what a smaller ball changes; near the vacancy, where sites differ most."""
    exact = ExactSites(sw, bulk("Si", "diamond", a=LATTICE_SI, cubic=True))
    whole = exact.diagonalise(vacancy).values
    sites = np.array([0, 3, 50, 120])
    balls = exact.in_balls(vacancy, sites, 4.2)
    errors = np.abs(balls.values - whole[sites])
    assert np.ptp(whole[sites]) > 0.5
    assert errors.max() < 0.02
    assert errors.max() < 2 * np.abs(balls.truncation).max()


def test_forces_alone_near_the_sites_alone(primitive, rattle):
    """Displacing a ball in what surrounds it gives what the whole analytic Hessian gives."""
    atoms = rattle(primitive * (5, 5, 8), 0.02, seed=1)
    sites, calculator = np.array([5, 9]), ForcesOnly()
    expected = ExactSites(stillinger_weber_silicon()).in_balls(atoms, sites, 3.0)
    options = HessianOptions(interaction_range=RANGE, displacement=2e-3)
    exact = ExactSites(calculator, options=options)
    found = exact.in_balls(atoms, sites, 3.0)
    np.testing.assert_allclose(found.values, expected.values, atol=1e-5)
    np.testing.assert_allclose(found.truncation, expected.truncation, atol=1e-5)
    assert max(calculator.sizes) < len(atoms)
    assert "perfect crystal" in found.remarks[0]


def test_hessian_of_a_repeated_crystal(primitive):
    repeats = (5, 4, 3)
    expected = compute_hessian(primitive * repeats, stillinger_weber_silicon())
    calculator = ForcesOnly()
    options = HessianOptions(displacement=2e-3)
    found = repeated_hessian(primitive, repeats, calculator, options=options).toarray()
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
    assert len(calculator.sizes) == 12


def test_small_cells_are_diagonalised(silicon_model, silicon_frames, sw):
    """The errors are those of an evaluation on labels, the least certain site comes first."""
    crystal, atoms = silicon_frames[0], silicon_frames[2]
    found = verify(silicon_model, atoms, sw, crystal=crystal)
    comparison = evaluate_frames(silicon_model, [crystal, atoms])["sites"]
    errors = (comparison.predicted - comparison.exact)[len(crystal) :]
    np.testing.assert_allclose(found.errors, errors[found.sites], atol=1e-9)
    total, std = found.total_error()
    assert total == pytest.approx(errors.sum(), abs=1e-8)
    assert std == 0
    assert np.all(np.diff(found.std) <= 0)
    expected_total, expected = silicon_model.uncertainty(atoms)
    np.testing.assert_allclose(found.std, expected[found.sites])
    assert found.total_std == expected_total
    # The model was fitted to totals and their gradients.
    assert "split" in found.remarks[0]


def test_sites_of_a_large_cell(silicon_model, vacancy, sw, primitive):
    found = verify(silicon_model, vacancy, sw, crystal=primitive, n_sites=7, radius=4.2)
    std = silicon_model.uncertainty(vacancy)[1]
    assert found.sample.n_first == 4
    np.testing.assert_array_equal(found.sites[:4], np.argsort(-std)[:4])
    assert len(set(found.sites.tolist())) == 7
    predicted = silicon_model.evaluate(vacancy, gradient=False).values
    masses = mass_entropy(vacancy.get_masses()) + 3
    np.testing.assert_allclose(found.predicted, (predicted + masses)[found.sites])
    assert np.abs(found.errors).max() < 0.5
    assert found.summary()["all"]["n"] == len(vacancy)


def verification(errors: np.ndarray, sample: SiteSample) -> Verification:
    """Of a structure whose errors are known."""
    zeros = np.zeros(len(sample.sites))
    return Verification(
        sample, zeros, errors[sample.sites], zeros + 1, zeros, zeros, 1.0, "", "", ()
    )


@pytest.mark.parametrize(("n_first", "n_sites"), [(5, 13), (0, 10), (5, 44)])
def test_estimates_for_all_sites_are_unbiased(n_first, n_sites):
    """Over all samples: the true total error, mean square error, and spread of the estimate."""
    rng = np.random.default_rng(0)
    errors = rng.normal(0.1, 0.3, 45) + 3 / np.arange(1, 46)
    ranked = np.arange(45)
    samples = [SiteSample.drawn(ranked, n_first, n_sites, rng) for _ in range(1500)]
    assert all(len(set(s.sites.tolist())) == n_sites and s.sizes.sum() == 45 for s in samples)
    found = [verification(errors, sample) for sample in samples]
    totals, stds = np.array([v.total_error() for v in found]).T
    spread = totals.std()
    assert totals.mean() == pytest.approx(errors.sum(), abs=4 * spread / np.sqrt(len(found)))
    assert np.sqrt(np.mean(stds**2)) == pytest.approx(spread, rel=0.08)
    groups = [v.summary()["all"] for v in found]
    squares = np.array([group["rmse"] ** 2 for group in groups])
    tolerance = 4 * squares.std() / np.sqrt(len(found))
    assert squares.mean() == pytest.approx(np.mean(errors**2), abs=tolerance)
    covered = np.mean([group["within_2_std"] for group in groups])
    assert covered == pytest.approx(np.mean(np.abs(errors) <= 2), abs=0.01)


def test_sites_without_doubt_are_ranked_by_distance():
    row = Atoms("Si8", positions=np.arange(8)[:, None] * [2.0, 0, 0], cell=[16, 9, 9], pbc=True)
    uncertainties = np.array([1e-9, 2e-9, 0, 0, 1.0, 0.5, 0.2, 0])
    # From atom 4 by itself: 3 is next, then 2, then 1 and 7 as far, through the boundary 0.
    assert ranked_sites(row, uncertainties, 1).tolist() == [4, 5, 6, 3, 2, 1, 7, 0]
    assert ranked_sites(row, uncertainties, 0).tolist()[:3] == [4, 5, 6]
    # Of a rattled crystal no site is without.
    assert ranked_sites(row, np.arange(1.0, 9.0), 2).tolist() == [7, 6, 5, 4, 3, 2, 1, 0]


def test_uncertain_sites_alone_tell_nothing_about_all():
    sample = SiteSample.drawn(np.arange(10), 3, 3, np.random.default_rng(0))
    found = verification(np.ones(10), sample)
    assert np.isnan(found.total_error()).all()
    assert set(found.summary()) == {"uncertain"}


def test_radius_follows_the_cell(primitive):
    cubic = bulk("Si", "diamond", a=LATTICE_SI, cubic=True)
    assert ball_radius(cubic * (2, 2, 2)) is None
    assert ball_radius(cubic * (3, 8, 8)) is None
    assert ball_radius(cubic * (5, 5, 5)) == pytest.approx(5 * LATTICE_SI / 3)
    assert ball_radius(cubic * (6, 6, 6)) == 10
    assert ball_radius(primitive, 1.2) == 1.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_sites": 0}, "n_sites: expected an integer ≥ 1"),
        ({"radius": 3.0}, "radius: a ball of 3.0 Å would meet its own images"),
        ({"radius": -1.0}, "radius: expected a number > 0"),
    ],
)
def test_arguments_out_of_range(silicon_model, silicon, sw, options, message):
    with pytest.raises(InvalidInputError, match=message):
        verify(silicon_model, silicon, sw, **options)


def test_crystal_of_another_cell(silicon_model, silicon, sw):
    strained = bulk("Si", "diamond", a=1.01 * LATTICE_SI, cubic=True)
    with pytest.raises(LabelError, match="strain"):
        verify(silicon_model, silicon, sw, crystal=strained)


def test_models_without_uncertainty_are_sampled(silicon_model, silicon, sw, rattle):
    bare = SiteModel(
        silicon_model.descriptor,
        silicon_model.constants,
        silicon_model.weights,
        silicon_model.shift,
        silicon_model.scale,
    )
    atoms = rattle(silicon * (1, 2, 2), 0.05, seed=2)
    first, second = (verify(bare, atoms, sw, n_sites=3, radius=3.0, seed=seed) for seed in (0, 1))
    assert (first.sample.n_first, len(first.sites), first.ranking) == (0, 3, "nothing")
    assert set(first.sites.tolist()) != set(second.sites.tolist())
    assert np.isnan(first.summary()["random"]["within_2_std"])
    assert np.isfinite(first.total_error()).all()
