"""Lattice models: derivatives, engines, an independent scalar formula, branches."""

import numpy as np
import pytest
from ase import Atoms
from ase.units import kB

from ase_vibent import HessianEntropyCalculator
from ase_vibent.analysis import (
    LatticeModel,
    cscl_lattice,
    diatomic_chain,
    pair_lattice,
    two_sublattice_square,
)
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.harmonic.modes import HBAR_OMEGA
from ase_vibent.hessian import has_analytic_hessian

MODELS = {
    "chain": lambda: pair_lattice(12, 1, delta=0.5, impurities=0.3),
    "square": lambda: pair_lattice(5, 2, delta=0.1, impurities=0.3),
    "diatomic": lambda: diatomic_chain(7, gap=1.0),
    "centred": lambda: two_sublattice_square(4, gap=2.0),
    "cscl": lambda: cscl_lattice(3, gap=3.0),
}


def displace(model, amplitude=0.1, seed=1):
    return model.displace(np.random.default_rng(seed).normal(0, amplitude, len(model.sites)))


def scalar_site_entropies(n, delta, u):
    """-½ [log H]_ℓℓ of [Torabi2024] (3.5) in one dimension, without this package."""
    hessian = np.zeros((n, n))
    for i in range(n):
        for j in ((i + 1) % n, (i - 1) % n):
            d = abs(u[i] - u[j])
            curvature = 2 + 6 * delta * d + 12 * d**2
            hessian[[i, j], [i, j]] += curvature
            hessian[[i, j], [j, i]] -= curvature
    values, vectors = np.linalg.eigh(hessian)
    return -0.5 * vectors[:, 1:] ** 2 @ np.log(values[1:])


@pytest.mark.parametrize("name", MODELS)
def test_derivatives_are_those_of_the_energy(name):
    """Central differences: errors of step² × the derivative after next, and of rounding/step."""
    model = MODELS[name]()
    atoms = displace(model)
    atoms.positions += np.random.default_rng(2).normal(0, 0.1, atoms.positions.shape)
    pattern = np.random.default_rng(3).normal(size=atoms.positions.shape)
    step = 1e-5

    def at(t):
        moved = atoms.copy()
        moved.positions += t * pattern
        return (
            model.get_property("energy", moved),
            model.get_property("forces", moved),
            model.get_hessian(moved),
        )

    (e1, f1, h1), (_, f0, h0), (e2, f2, h2) = at(step), at(0), at(-step)
    assert (e1 - e2) / (2 * step) == pytest.approx(-np.sum(f0 * pattern), rel=1e-7)
    expected = -(h0 @ pattern.ravel()).reshape(-1, 3)
    np.testing.assert_allclose((f1 - f2) / (2 * step), expected, atol=1e-7)
    third = -((h1 - h2) @ pattern.ravel()).reshape(-1, 3) / (2 * step)
    np.testing.assert_allclose(model.get_force_curvature(atoms, pattern), third, atol=1e-7)
    np.testing.assert_allclose(f0.sum(axis=0), 0, atol=1e-12)


def test_sites_may_be_in_any_image():
    model = MODELS["square"]()
    atoms = displace(model)
    moved = atoms.copy()
    moved.positions[[3, 7]] += [[5.0, -5.0, 0], [0, 0, 10.0]]
    moved.calc = model
    np.testing.assert_allclose(moved.get_forces(), atoms.get_forces(), atol=1e-12)


@pytest.mark.parametrize("delta", [0.0, 0.1, 0.5])
def test_one_component_is_the_scalar_model(delta):
    """Site entropies, and their exact derivatives by differences of the scalar formula."""
    n, site, step = 11, 4, 1e-5
    model = pair_lattice(n, 1, delta=delta)
    u = np.random.default_rng(0).normal(0, 0.2, n)
    rest = scalar_site_entropies(n, delta, np.zeros(n))
    exact = HessianEntropyCalculator(model, mesh="gamma")
    atoms = model.displace(u)
    system, perfect = exact.harmonic_system(atoms), exact.harmonic_system(model.sites)
    found = system.entropies_of(range(n)) - perfect.entropies_of(range(n))
    np.testing.assert_allclose(found, scalar_site_entropies(n, delta, u) - rest, atol=1e-11)
    gradient = exact.reduced_site_gradients(system, atoms, [site])[0]
    slopes = [
        scalar_site_entropies(n, delta, u + move)[site]
        - scalar_site_entropies(n, delta, u - move)[site]
        for move in step * np.eye(n)
    ]
    # Factors of less than 1e-7 of all are left out.
    np.testing.assert_allclose(gradient[:, 2], np.array(slopes) / (2 * step), atol=1e-7)
    np.testing.assert_allclose(gradient[:, :2], 0, atol=1e-12)


@pytest.mark.parametrize("name", ["chain", "square", "diatomic", "cscl"])
def test_engines_agree(name):
    """Exact third derivatives: only the tolerances are left. Lanczos states 1e-9."""
    model = MODELS[name]()
    atoms = displace(model)
    assert has_analytic_hessian(model)
    values, gradients = {}, {}
    for engine in ("dense", "contour", "lanczos"):
        exact = HessianEntropyCalculator(model, engine=engine, tolerance=1e-10, mesh="gamma")
        system = exact.harmonic_system(atoms)
        values[engine] = system.entropies_of([0, 5])
        gradients[engine] = exact.reduced_site_gradients(system, atoms, [0, 5])
        np.testing.assert_allclose(system.site_entropies.sum(), system.entropy, atol=1e-8)
        # Only what moves sites against each other counts.
        np.testing.assert_allclose(gradients[engine].sum(axis=1), 0, atol=1e-12)
    for engine in ("contour", "lanczos"):
        np.testing.assert_allclose(values[engine], values["dense"], atol=1e-9)
        np.testing.assert_allclose(gradients[engine], gradients["dense"], atol=1e-7)


def test_kinks_do_not_matter_to_exact_derivatives():
    """The total's gradient, where |D|³ has |D| below the step of force differences everywhere."""
    model = pair_lattice(8, 1, delta=0.5)
    u = np.random.default_rng(5).normal(0, 1e-3, 8)
    exact = HessianEntropyCalculator(model, displacement=0.01)
    gradient = exact.get_property("entropy_gradient", model.displace(u)) / kB
    step = 1e-7
    slopes = [
        exact.get_property("entropy", model.displace(u + move))
        - exact.get_property("entropy", model.displace(u - move))
        for move in step * np.eye(8)
    ]
    np.testing.assert_allclose(gradient[:, 2], np.array(slopes) / kB / (2 * step), atol=1e-6)


@pytest.mark.parametrize(
    ("factory", "n", "highest"),
    [(diatomic_chain, 8, 4.0), (two_sublattice_square, 4, 8.0), (cscl_lattice, 4, 16.0)],
)
def test_the_gap_is_that_of_the_branches(factory, n, highest):
    """With an even number of cells, the edge of the zone is among the modes of the cell."""
    for gap in (0.0, 1.0, highest):
        model = factory(n, gap=gap)
        at_gamma = HessianEntropyCalculator(model, mesh="gamma")
        frequencies = at_gamma.get_frequencies(model.sites)
        eigenvalues = (frequencies / HBAR_OMEGA) ** 2
        acoustic = (len(eigenvalues) + 3) // 2 - 3
        assert eigenvalues[acoustic - 1] == pytest.approx(highest, rel=1e-10)
        assert eigenvalues[acoustic] - eigenvalues[acoustic - 1] == pytest.approx(gap, abs=1e-9)


def test_without_the_springs_of_the_gap_it_is_a_bravais_lattice():
    """Chain of 2n sites, spring constant 2: its site entropies are all the same."""
    model = diatomic_chain(6, gap=0.0)
    sites = HessianEntropyCalculator(model).harmonic_system(model.sites).entropies_of(range(12))
    np.testing.assert_allclose(sites, sites[0], atol=1e-12)


def test_impurities_change_their_share_of_bonds():
    pure, impure = pair_lattice(30, 2), pair_lattice(30, 2, impurities=0.2, seed=4)
    springs = [-m.get_hessian(m.sites).tocoo().data for m in (pure, impure)]
    changed = np.mean(np.abs(springs[1][springs[1] > 0] - 4) > 1e-9)
    assert changed == pytest.approx(0.2, abs=0.02)  # 5400 numbers of 1800 bonds: σ = 0.009


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: pair_lattice(2, 1), "n:"),
        (lambda: pair_lattice(5, 4), "dimension:"),
        (lambda: pair_lattice(5, 1, impurities=1.5), "impurities:"),
        (lambda: diatomic_chain(5, gap=5.0), "gap:"),
        (lambda: LatticeModel(Atoms("H2", cell=[4, 4, 4], pbc=True), [[0, 2]], 1.0), "bonds:"),
        (lambda: LatticeModel(pair_lattice(4, 1).sites, np.zeros((0, 2), int), 1.0), "bonds:"),
        (lambda: LatticeModel(pair_lattice(4, 1).sites, [[0.0, 1.5]], 1.0), "bonds:"),
        (lambda: LatticeModel(Atoms("H2", cell=[4, 4, 4], pbc=True), [[0, 1]], [1, 2]), "number"),
    ],
)
def test_wrong_parameters(make, match):
    with pytest.raises(InvalidInputError, match=match):
        make()


def test_other_sites_are_refused():
    model = pair_lattice(4, 1)
    with pytest.raises(InvalidStructureError, match="4 sites"):
        model.get_property("forces", model.sites[:3])
