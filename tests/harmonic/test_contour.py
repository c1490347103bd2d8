"""Contour integrals: the scalar quadrature, then matrices against diagonalisation."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, diags_array

from ase_vibent.errors import InvalidInputError, UnstableStructureError
from ase_vibent.harmonic import contour as contour_module
from ase_vibent.harmonic.contour import ContourSolver, contour, converged_contour
from ase_vibent.harmonic.entropy import quantum, reduced_entropy
from ase_vibent.harmonic.rigid_motions import rigid_body_motions
from ase_vibent.harmonic.site_gradient import site_couplings
from ase_vibent.harmonic.spectrum import SHIFT, SMALL, lowest_modes
from ase_vibent.harmonic.system import HarmonicSystem
from ase_vibent.hessian import compute_hessian
from ase_vibent.potentials import stillinger_weber_silicon


@pytest.fixture(scope="module")
def vacancy(rattle):
    """Rattled vacancy with one light atom, and its sparse Hessian."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (2, 2, 1)
    del atoms[0]
    masses = atoms.get_masses()
    masses[4] = 10.0
    atoms.set_masses(masses)
    atoms = rattle(atoms, 0.1, seed=4)
    return atoms, compute_hessian(atoms, stillinger_weber_silicon(), sparse=True)


@pytest.fixture(scope="module")
def unstable(rattle):
    """So strongly rattled that three modes are unstable."""
    atoms = rattle(bulk("Si", "diamond", a=5.431, cubic=True), 0.8, seed=3)
    hessian = compute_hessian(atoms, stillinger_weber_silicon(), sparse=True)
    assert HarmonicSystem(atoms, hessian, unstable="any").n_unstable == 3
    return atoms, hessian


def motions(atoms, *, mass_weighted=False):
    return rigid_body_motions(atoms, mass_weighted=mass_weighted)


@settings(deadline=None, max_examples=30)
@given(st.floats(1.2, 8.0), st.integers(6, 16))
def test_error_falls_exponentially(decades, n_nodes):
    """Hale, Higham and Trefethen's rate, exp(-2π² N/(ln(M/m) + 6)), up to a small factor."""
    largest = 10.0**decades
    places = np.geomspace(1.0, largest, 300)
    error = np.abs(contour(1.0, largest, n_nodes)(np.log, places) - np.log(places)).max()
    bound = np.exp(-2 * np.pi**2 * n_nodes / (np.log(largest) + 6))
    assert error < 50 * np.log(largest) * bound + 1e-11


def test_other_functions_and_what_lies_outside():
    """Poles on the cut halve the rate, no more."""
    inside, outside = np.geomspace(0.1, 10.0, 50), np.array([-20.0, -3.0, -1.0, -0.1, -0.01, 0.0])
    np.testing.assert_allclose(contour(0.1, 10.0, 20)(np.sqrt, inside), np.sqrt(inside), atol=1e-11)
    np.testing.assert_allclose(contour(0.1, 10.0, 60)(np.log, outside), 0, atol=1e-11)


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-9])
def test_sites_are_those_of_the_dense_matrix(vacancy, sparse, tolerance):
    atoms, hessian = vacancy
    matrix = hessian if sparse else hessian.toarray()
    solver = ContourSolver(matrix, motions=motions(atoms), tolerance=tolerance)
    exact = HarmonicSystem(atoms, hessian).hessian_modes
    spectrum = solver.spectrum()
    error = np.abs(spectrum.site_sums(reduced_entropy) - exact.site_sums(reduced_entropy)).max()
    assert error <= spectrum.error <= tolerance
    weights = spectrum.site_sums(np.ones_like)
    np.testing.assert_allclose(weights, exact.site_weights.sum(axis=1), atol=tolerance)


def test_chosen_sites(vacancy):
    atoms, hessian = vacancy
    solver = ContourSolver(hessian, motions=motions(atoms))
    everywhere = solver.spectrum().site_sums(reduced_entropy)
    some = solver.spectrum([7, 2]).site_sums(reduced_entropy)
    np.testing.assert_allclose(some, everywhere[[7, 2]], atol=1e-12)
    assert solver.spectrum([]).site_sums(reduced_entropy).shape == (0,)


def test_system_with_masses(vacancy):
    atoms, hessian = vacancy
    exact = HarmonicSystem(atoms, hessian)
    system = HarmonicSystem(atoms, hessian, engine="contour", tolerance=1e-9)
    assert system.entropy == pytest.approx(exact.entropy, abs=1e-7)
    np.testing.assert_allclose(system.site_entropies, exact.site_entropies, atol=1e-8)
    assert (system.n_modes, system.n_unstable) == (exact.n_modes, 0)


def test_unstable_modes_are_left_out(unstable):
    """log⁺ by itself: negative eigenvalues lie outside the contour."""
    atoms, hessian = unstable
    exact = HarmonicSystem(atoms, hessian, unstable="any")
    system = HarmonicSystem(atoms, hessian, unstable="any", engine="contour", tolerance=1e-9)
    assert system.n_unstable == exact.n_unstable
    np.testing.assert_allclose(system.site_entropies, exact.site_entropies, atol=1e-8)
    with pytest.raises(UnstableStructureError, match="expected 0 unstable modes"):
        ContourSolver(hessian, motions=motions(atoms))


@pytest.mark.parametrize("periodic", [[0, 0, 0], [0, 0, 1]])
def test_rotations_off_a_minimum(periodic, rattle):
    """There they are no eigenvectors: projected out of the matrix, not of the sites alone."""
    atoms = bulk("Cu", "fcc", a=3.59, cubic=True) * (2, 2, 2)
    atoms.set_cell([20, 20, atoms.cell[2, 2]])
    atoms.set_pbc(periodic)
    atoms = rattle(atoms, 0.3, seed=1)
    hessian = compute_hessian(atoms, EMT())
    exact, system = (
        HarmonicSystem(atoms, hessian, unstable="any", engine=engine, tolerance=1e-9)
        for engine in ("dense", "contour")
    )
    np.testing.assert_allclose(system.site_entropies, exact.site_entropies, atol=1e-8)


def spectrum_of(eigenvalues):
    """Matrix of a spectrum, in a random basis."""
    size = len(eigenvalues)
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))[0]
    return basis * eigenvalues @ basis.T


@pytest.mark.parametrize("copies", [2, 3, 5])
@pytest.mark.parametrize("size", [90, 300])
def test_degenerate_unstable_modes_are_all_found(copies, size):
    """A Krylov space holds one copy of them, and what rounding adds."""
    eigenvalues = np.append(np.full(copies, -4.0), np.linspace(0.05, 17, size - copies))
    matrix, none = spectrum_of(eigenvalues), np.empty((size, 0))
    for unstable in range(copies):
        with pytest.raises(UnstableStructureError, match=f"expected {unstable} unstable modes"):
            lowest_modes(lambda x: matrix @ x, none, 20.0, unstable=unstable)
    for unstable in (copies, "any"):
        lowest = lowest_modes(lambda x: matrix @ x, none, 20.0, unstable=unstable)
        np.testing.assert_allclose(lowest.negative, np.full(copies, -4.0), rtol=1e-6)
        assert lowest.smallest == pytest.approx(0.05, rel=1e-5)


@pytest.mark.parametrize("engine", ["dense", "lanczos", "contour"])
def test_nothing_is_left_beside_the_unstable_mode(engine):
    """A stretched dimer, whose only vibration is unstable."""
    dimer = Atoms("Ar2", [[0, 0, 0], [0, 0, 1.3]])
    hessian = compute_hessian(dimer, LennardJones(rc=10), sparse=True)
    system = HarmonicSystem(dimer, hessian, unstable=1, engine=engine)
    assert (system.n_modes, system.n_unstable) == (0, 1)
    assert system.entropy == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("engine", ["dense", "lanczos", "contour"])
@pytest.mark.parametrize("unstable", [0, "any"])
def test_no_forces_at_all(engine, unstable):
    hessian = csr_array((96, 96))
    crystal = bulk("Cu", "fcc", a=3.59, cubic=True) * (2, 2, 2)
    system = HarmonicSystem(crystal, hessian, unstable=unstable, engine=engine)
    with pytest.raises(UnstableStructureError, match="restoring force"):
        assert system.entropy


@pytest.mark.parametrize("case", ["vacancy", "unstable"])
def test_derivative_is_that_of_the_modes(case, request, monkeypatch):
    """Daleckii-Krein on eigenvectors, and the contour: one symmetric matrix, site by site."""
    monkeypatch.setattr(contour_module, "BATCH", 1)
    atoms, hessian = request.getfixturevalue(case)
    modes = HarmonicSystem(atoms, hessian, unstable="any").hessian_modes
    solver = ContourSolver(hessian, motions=motions(atoms), unstable="any", tolerance=1e-10)
    for site, factors in zip([0, 7], solver.derivative_factors([0, 7]), strict=True):
        ((_, coupling),) = site_couplings(modes, [site])
        exact = modes.eigenvectors @ coupling @ modes.eigenvectors.T
        found = factors.vectors * factors.weights @ factors.vectors.T
        np.testing.assert_allclose(found, exact, atol=1e-6 * np.abs(exact).max())
        assert len(factors.weights) < len(hessian.toarray())


def test_quantum_statistics_are_refused(vacancy):
    atoms, hessian = vacancy
    system = HarmonicSystem(atoms, hessian, engine="contour")
    with pytest.raises(InvalidInputError, match="classical"):
        system.site_thermodynamics(quantum, 300.0)


def test_bad_arguments(vacancy):
    atoms, hessian = vacancy
    with pytest.raises(InvalidInputError, match="tolerance"):
        ContourSolver(hessian, motions=motions(atoms), tolerance=0)
    with pytest.raises(InvalidInputError, match="shape"):
        ContourSolver(hessian, motions=motions(atoms)[:-3])
    with pytest.raises(InvalidInputError, match="sites"):
        ContourSolver(hessian, motions=motions(atoms)).spectrum([99])
    with pytest.raises(InvalidInputError, match="NaN"):
        ContourSolver(csr_array(hessian * np.nan), motions=motions(atoms))
    with pytest.raises(InvalidInputError, match="10 nodes leave an error"):
        converged_contour(1e-9, 1.0, np.empty(0), 1e-12, max_nodes=10)


@pytest.mark.parametrize("lowest", [-SHIFT, 0.0])
def test_singular_inverses_fall_back_on_products(lowest):
    """An eigenvalue at exactly the shift, and a Hessian without an entry, have no factors."""
    values = np.full(SMALL + 1, 0.0 if lowest == 0 else 1.0)
    values[0] = lowest
    matrix = csr_array(diags_array(values))
    empty = np.empty((len(values), 0))
    largest = float(values.max())

    def search():
        return lowest_modes(lambda columns: matrix @ columns, empty, largest, matrix=matrix)

    if lowest == 0:
        with pytest.raises((UnstableStructureError, InvalidInputError)):
            search()
    else:
        np.testing.assert_allclose(search().negative, [lowest], rtol=1e-6)
