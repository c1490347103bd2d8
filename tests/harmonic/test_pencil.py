"""The normalised decomposition by the pencil of two Hessians, against diagonalisation."""

import numpy as np
import pytest
from ase.build import bulk
from ase.constraints import FixAtoms
from ase.units import kB
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from ase_vibent import HessianEntropyCalculator
from ase_vibent.errors import InvalidInputError, UnstableStructureError
from ase_vibent.harmonic.bloch import translations
from ase_vibent.harmonic.normalised import NormalisedSystem, normalised_modes
from ase_vibent.harmonic.pencil import CrystalRoot, PencilSolver, half_log, root_quadrature
from ase_vibent.harmonic.rigid_motions import rigid_body_motions
from ase_vibent.harmonic.site_gradient import site_couplings
from ase_vibent.harmonic.system import HarmonicSystem
from ase_vibent.hessian import compute_hessian
from ase_vibent.potentials import stillinger_weber_silicon

too_narrow_to_mean_much = pytest.mark.filterwarnings("ignore::ase_vibent.errors.NarrowCellWarning")


def silicon():
    return bulk("Si", "diamond", a=5.431, cubic=True) * (2, 1, 1)


def motions(atoms):
    return rigid_body_motions(atoms, mass_weighted=False)


def root_of(crystal, hessian, tolerance, *, with_translations=True):
    return CrystalRoot(
        hessian,
        motions(crystal),
        translations=translations(crystal, crystal.numbers) if with_translations else None,
        phases=np.ones(len(crystal), dtype=complex),
        tolerance=tolerance,
    )


@pytest.fixture(scope="module", params=[0.05, 0.6], ids=["stable", "unstable modes"])
def beside(request, rattle):
    """Sparse Hessians of a crystal and of its rattled copy, and the diagonalised answer."""
    crystal = silicon()
    atoms = rattle(crystal, request.param, seed=3)
    potential = stillinger_weber_silicon()
    hessians = [compute_hessian(a, potential, sparse=True) for a in (crystal, atoms)]
    systems = [
        HarmonicSystem(a, h, unstable="any")
        for a, h in zip((crystal, atoms), hessians, strict=True)
    ]
    assert (systems[1].n_unstable > 0) == (request.param > 0.1)
    return crystal, *hessians, NormalisedSystem(systems[1], systems[0]), systems


@settings(deadline=None, max_examples=20)
@given(st.floats(0.5, 8.0), st.floats(-12, -2))
def test_square_root(decades, exponent):
    shifts, weights = root_quadrature(1.0, 10.0**decades, 10.0**exponent)
    places = np.geomspace(1.0, 10.0**decades, 333)  # not those that chose the nodes
    found = np.sqrt(places) * (weights / (places[:, None] + shifts)).sum(axis=1)
    np.testing.assert_allclose(found, 1, atol=1.05 * 10.0**exponent)


def test_columns_of_the_root(beside):
    """By translation as without, and their Gram matrix is the Hessian."""
    crystal, hessian, *_ = beside
    sites = np.arange(len(crystal))
    whole = root_of(crystal, hessian, 1e-9)(sites)
    one_by_one = root_of(crystal, hessian, 1e-9, with_translations=False)(sites)
    np.testing.assert_allclose(whole, one_by_one, atol=1e-9)
    np.testing.assert_allclose(whole.T @ whole, hessian.toarray(), atol=1e-9)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9])
def test_sites_are_those_of_the_dense_matrix(beside, tolerance):
    crystal, hessian, other, exact, _ = beside
    root = root_of(crystal, hessian, tolerance)
    solver = PencilSolver(other, root, unstable="any", tolerance=tolerance)
    spectrum = solver.spectrum()
    error = np.abs(spectrum.site_sums(half_log) - exact.site_entropies).max()
    assert error <= spectrum.error <= tolerance
    some = solver.spectrum([7, 2]).site_sums(half_log)
    np.testing.assert_allclose(some, exact.site_entropies[[7, 2]], atol=tolerance)


def test_six_nodes_at_any_size(rattle):
    """Eigenvalues stay around 1, where the softest mode of a wider crystal is softer."""
    counts = []
    for length in (2, 4, 8):
        crystal = bulk("Si", "diamond", a=5.431) * (1, 1, length)
        potential = stillinger_weber_silicon()
        hessians = [
            compute_hessian(a, potential, sparse=True)
            for a in (crystal, rattle(crystal, 0.02, seed=1))
        ]
        root = root_of(crystal, hessians[0], 1e-6)
        spectrum = PencilSolver(hessians[1], root, unstable=0, tolerance=1e-6).spectrum([0])
        counts.append(len(spectrum.contour.nodes))
    assert max(counts) <= 7, counts


def test_derivative_is_that_of_the_modes(beside):
    """Daleckii-Krein on the eigenvectors of F H F, taken to the Hessian by F."""
    crystal, hessian, other, _, (reference, system) = beside
    root = root_of(crystal, hessian, 1e-7)
    solver = PencilSolver(other, root, unstable="any", tolerance=1e-7)
    modes = normalised_modes(system.hessian, reference.hessian_modes, n_unstable=system.n_unstable)
    for site, factors in zip([0, 7], solver.derivative_factors([0, 7]), strict=True):
        ((_, coupling),) = site_couplings(modes.modes, [site], offset=0.0)
        expected = modes.directions @ coupling @ modes.directions.T
        found = factors.vectors * factors.weights @ factors.vectors.T
        np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(expected).max())


def test_broken_sum_rules_are_projected_out(beside):
    """Differences of forces miss them slightly: the dense answer knows no translations either."""
    crystal, hessian, other, _, (reference, _) = beside
    noise = np.random.default_rng(0).normal(scale=1e-4, size=hessian.shape)
    noisy = csr_array(other.toarray() + noise + noise.T)
    system = HarmonicSystem(crystal, noisy, unstable="any")
    exact = NormalisedSystem(system, reference).site_entropies
    root = root_of(crystal, hessian, 1e-6)
    spectrum = PencilSolver(noisy, root, unstable="any", tolerance=1e-6).spectrum()
    np.testing.assert_allclose(spectrum.site_sums(half_log), exact, atol=1e-6)


def held():
    """No translations are left, nor mapped on each other."""
    crystal = silicon()
    crystal.set_constraint(FixAtoms([3]))
    return crystal


@too_narrow_to_mean_much
@pytest.mark.parametrize("mesh", ["gamma", (1, 2, 1)])
@pytest.mark.parametrize("case", [silicon, held])
def test_engine(case, mesh, rattle):
    crystal = case()
    atoms = rattle(crystal, 0.05, seed=2)
    dense, contour = (
        HessianEntropyCalculator(
            stillinger_weber_silicon(),
            crystal=crystal,
            decomposition="normalised",
            engine=engine,
            mesh=mesh,
        )
        for engine in ("dense", "contour")
    )
    difference = contour.get_property("entropies", atoms) - dense.get_property("entropies", atoms)
    assert dense.site_error == 0
    assert np.abs(difference).max() / kB <= contour.site_error <= 2e-6


def test_gradients_by_force_calls(rattle):
    crystal = silicon()
    atoms = rattle(crystal, 0.1, seed=4)
    dense, contour = (
        HessianEntropyCalculator(
            stillinger_weber_silicon(),
            crystal=crystal,
            decomposition="normalised",
            engine=engine,
            mesh="gamma",
            tolerance=1e-9,
            displacement=0.002,
        ).get_site_entropy_gradients(atoms, [1, 6])
        for engine in ("dense", "contour")
    )
    np.testing.assert_allclose(contour, dense, atol=2e-5 * np.abs(dense).max())


def test_refusals(beside):
    crystal, hessian, other, _, _ = beside
    with pytest.raises(InvalidInputError, match="crystal: has unstable modes"):
        root_of(crystal, -hessian, 1e-6)(np.array([0]))
    with pytest.raises(InvalidInputError, match="shape"):
        PencilSolver(other[:3, :3], root_of(crystal, hessian, 1e-6), unstable=0, tolerance=1e-6)
    coarse = PencilSolver(other, root_of(crystal, hessian, 1e-2), unstable="any", tolerance=1e-6)
    with pytest.raises(InvalidInputError, match="square root leaves"):
        coarse.spectrum([0])


@too_narrow_to_mean_much
def test_refusals_of_the_calculator(rattle):
    strongly = rattle(silicon(), 1.2, seed=2)
    for mesh in ("gamma", (1, 1, 2)):
        exact = HessianEntropyCalculator(
            stillinger_weber_silicon(),
            crystal=silicon(),
            decomposition="normalised",
            engine="contour",
            mesh=mesh,
        )
        with pytest.raises(UnstableStructureError, match="expected 0 unstable modes"):
            exact.get_property("entropies", strongly)
    with pytest.raises(InvalidInputError, match="those at Γ"):
        exact.get_site_entropy_gradients(rattle(silicon(), 0.05, seed=1), [0])
