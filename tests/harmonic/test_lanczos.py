"""Lanczos site entropies: against diagonalisation, convergence, balls, cost, errors."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.cluster import Icosahedron
from ase.optimize import BFGS
from scipy.sparse import block_diag, bsr_array, csr_array, diags_array, eye_array, kron
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from ase_vibent.compiled import threads as threads_module
from ase_vibent.errors import InvalidInputError, UnstableStructureError
from ase_vibent.harmonic import ball
from ase_vibent.harmonic.ball import ball_site_differences, ball_site_entropies
from ase_vibent.harmonic.entropy import reduced_entropy
from ase_vibent.harmonic.lanczos import estimated_errors, lanczos_site_entropies
from ase_vibent.harmonic.rigid_motions import rigid_body_motions
from ase_vibent.harmonic.system import HarmonicSystem
from ase_vibent.hessian import DisplacedForces, HessianOptions, compute_hessian
from ase_vibent.potentials import stillinger_weber_silicon, tersoff_silicon_carbide

LATTICE_SI = 5.431


def sparse_hessian(atoms, calculator=None):
    calculator = calculator or stillinger_weber_silicon()
    calculator.get_potential_energy(atoms)  # get_hessian trips over a structure it has not seen
    return calculator.get_hessian(atoms, format="sparse")


def crystal(n):
    return bulk("Si", "diamond", a=LATTICE_SI, cubic=True) * (n, n, n)


def vacancy(n):
    """Relaxed vacancy, rattled a little: no symmetry left."""
    atoms = crystal(n)
    del atoms[0]
    atoms.calc = stillinger_weber_silicon()
    assert BFGS(atoms, logfile=None).run(fmax=1e-3, steps=200)
    atoms.rattle(0.01, seed=3)
    atoms.calc = None
    return atoms


@pytest.fixture(scope="module")
def vacancy64():
    atoms = vacancy(2)
    return atoms, sparse_hessian(atoms)


@pytest.fixture(scope="module")
def cells216():
    """Crystal and vacancy with their Hessians."""
    return [(atoms, sparse_hessian(atoms)) for atoms in (crystal(3), vacancy(3))]


def motions(atoms):
    return rigid_body_motions(atoms, mass_weighted=False)


def exact_sites(atoms, hessian):
    modes = HarmonicSystem(atoms, hessian.toarray()).hessian_modes
    return modes.site_sums(reduced_entropy)


def solve(atoms, hessian, sites, **options):
    return lanczos_site_entropies(hessian, sites, motions=motions(atoms), **options)


def check_against_dense(atoms, hessian):
    """Sites to 1e-8, the total to 1e-6, both k_B; asked for is 1e-9 per site."""
    result = solve(atoms, hessian, range(len(atoms)), tolerance=1e-9)
    exact = exact_sites(atoms, hessian)
    np.testing.assert_allclose(result.values, exact, rtol=0, atol=1e-8)
    assert result.values.sum() == pytest.approx(exact.sum(), abs=1e-6)
    assert np.all(result.errors <= 1e-9)
    # Gauss quadrature of a function with positive even derivatives.
    assert np.all(result.values <= exact + 1e-11)
    modes = HarmonicSystem(atoms, hessian.toarray()).site_modes
    np.testing.assert_allclose(result.modes, modes, atol=1e-12)


def test_crystal_is_that_of_the_dense_matrix():
    """Symmetry exhausts the Krylov spaces early: breakdown must do no harm."""
    check_against_dense(crystal(2), sparse_hessian(crystal(2)))


def test_vacancy_is_that_of_the_dense_matrix(vacancy64):
    check_against_dense(*vacancy64)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Icosahedron("Ar", 2, latticeconstant=1.55), id="cluster"),
        pytest.param(lambda: Atoms("Ar2", [[0, 0, 0], [0, 0.6, 0.8]]), id="line"),
    ],
)
def test_rotations_are_deflated(make):
    """Fewer dimensions than steps, and rotations that are no null vectors (off the minimum)."""
    atoms = make()
    atoms.calc = LennardJones(rc=8.0, ro=7.0, smooth=True)
    assert BFGS(atoms, logfile=None).run(fmax=1e-3, steps=500)
    options = HessianOptions(displacement=1e-4)
    hessian = csr_array(compute_hessian(atoms, atoms.calc, options=options))
    check_against_dense(atoms, hessian)


def test_masses_belong_to_the_dynamical_matrix(vacancy64):
    atoms, hessian = vacancy64[0].copy(), vacancy64[1]
    atoms.set_masses(np.linspace(20, 60, len(atoms)))
    scale = diags_array(np.repeat(atoms.get_masses(), 3) ** -0.5)
    result = lanczos_site_entropies(
        scale @ hessian @ scale,
        range(len(atoms)),
        motions=rigid_body_motions(atoms, mass_weighted=True),
        tolerance=1e-9,
    )
    modes = HarmonicSystem(atoms, hessian.toarray()).modes
    exact = modes.site_sums(reduced_entropy)
    np.testing.assert_allclose(result.values, exact, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    "form",
    [
        csr_array,
        lambda h: h.toarray(),
        lambda h: csr_array(h).__matmul__,
        aslinearoperator,
        lambda h: LinearOperator(h.shape, matvec=lambda x: h @ x, dtype=float),
    ],
    ids=["csr", "dense", "callable", "operator", "matvec only"],
)
def test_every_form_of_the_matrix(vacancy64, form):
    atoms, hessian = vacancy64
    expected = solve(atoms, hessian, [0, 7]).values
    # Sums in another order.
    np.testing.assert_allclose(solve(atoms, form(hessian), [0, 7]).values, expected, atol=1e-11)


def test_force_differences_are_enough(vacancy64):
    """No matrix at all: two force calls per product."""
    atoms, hessian = vacancy64
    evaluate = DisplacedForces(atoms, stillinger_weber_silicon())
    step = 1e-3

    def multiply(columns):
        shifts = step * columns.T.reshape(-1, len(atoms), 3)
        differences = [evaluate(-s).forces - evaluate(s).forces for s in shifts]
        return np.reshape(differences, columns.T.shape).T / (2 * step)

    # Not quite linear: truncation of 1e-6 of the matrix, and as much in the logarithm.
    result = solve(atoms, multiply, [5], tolerance=1e-4)
    np.testing.assert_allclose(result.values, exact_sites(atoms, hessian)[5], atol=1e-4)
    sparse = solve(atoms, hessian, [5], tolerance=1e-4)
    assert result.steps == sparse.steps
    np.testing.assert_allclose(result.values, sparse.values, atol=1e-5)


def test_convergence_is_exponential_and_the_estimate_a_bound(vacancy64):
    """Measured: a factor of 2e4 per ten steps, estimates 120 to 290 errors high (one stride)."""
    atoms, hessian = vacancy64
    exact = exact_sites(atoms, hessian)
    errors = {}
    for tolerance in 10.0 ** -np.arange(1, 10):
        result = solve(atoms, hessian, range(16), tolerance=tolerance)
        true = exact[:16] - result.values
        assert np.all(true <= result.errors)
        assert np.all(result.errors <= 1000 * np.maximum(true, 1e-12))
        errors[result.steps[0]] = true.max()
    pairs = [(errors[k], errors[k + 10]) for k in errors if k + 10 in errors]
    assert len(pairs) >= 2
    assert all(later < former / 1000 for former, later in pairs)


def chain(n):
    """Ring of atoms coupled to their neighbours: soft modes with the weight of one dimension."""
    ring = 2 * np.eye(n) - np.roll(np.eye(n), 1, axis=0) - np.roll(np.eye(n), -1, axis=0)
    return kron(csr_array(ring), eye_array(3)), np.tile(np.eye(3), (n, 1))


@pytest.mark.parametrize("tolerance", [0.1, 0.03])
def test_estimate_bounds_algebraic_convergence(tolerance):
    matrix, translations = chain(400)
    result = lanczos_site_entropies(matrix, [0], motions=translations, tolerance=tolerance)
    eigenvalues = np.repeat(2 - 2 * np.cos(2 * np.pi * np.arange(1, 400) / 400), 3)
    true = reduced_entropy(eigenvalues).sum() / 400 - result.values[0]
    assert result.steps[0] < 195  # not exhausted
    assert 0 < true <= result.errors[0] <= 10 * true


def test_estimate_of_a_geometric_series():
    values = 1 - np.array([[0.9, 0.1]]) ** np.array([[0], [1], [2]])
    slow, fast = estimated_errors(*values)
    # Errors left are 0.9² and 0.1².
    assert slow == pytest.approx(1.9 * 0.9)
    assert fast == pytest.approx(1.1 * 0.1)
    assert estimated_errors(np.zeros(1), np.ones(1), 2 * np.ones(1)) == np.inf


def test_every_step_multiplies_once(vacancy64):
    atoms, hessian = vacancy64
    widths = []

    def multiply(columns):
        widths.append(columns.shape[1])
        return hessian @ columns

    result = solve(atoms, multiply, range(20), tolerance=1e-4)
    steps = [result.steps[0], result.steps[-1]]  # batches of 16 and 4 sites
    assert widths == steps[0] * [48] + steps[1] * [12]
    assert max(steps) <= 25


def test_too_few_steps(vacancy64):
    atoms, hessian = vacancy64
    with pytest.raises(InvalidInputError, match=r"max_steps: after 15 steps.*site 3"):
        solve(atoms, hessian, [3], max_steps=15)
    with pytest.raises(InvalidInputError, match="max_steps"):
        solve(atoms, hessian, [3], max_steps=4)


def test_unstable_structure(vacancy64):
    """One atom is pushed off its site: its neighbours feel it as well."""
    atoms, hessian = vacancy64
    push = np.zeros(3 * len(atoms))
    push[30:33] = 40.0  # eV/Å², more than bonds hold
    pushed = csr_array(hessian) - diags_array(push)
    neighbour = np.argsort(atoms.get_distances(10, range(len(atoms)), mic=True))[1]
    for site in (10, neighbour):
        with pytest.raises(UnstableStructureError, match="feels") as caught:
            solve(atoms, pushed, [site])
        assert caught.value.n_unstable >= 1
        assert caught.value.frequencies.min() < 0
        with pytest.raises(UnstableStructureError, match="feels"):
            ball_site_entropies(atoms, pushed, [site], radius=6.0, steps=20)


def test_atom_out_of_reach(vacancy64):
    atoms, hessian = vacancy64
    loose = atoms + Atoms("Si", [[0.0, 0.0, 0.0]])
    with pytest.raises(UnstableStructureError, match="feels"):
        solve(loose, block_diag([hessian, np.zeros((3, 3))]), [len(atoms)])


def test_single_atom_has_no_modes():
    result = solve(Atoms("Ar"), np.zeros((3, 3)), [0])
    assert (result.values[0], result.modes[0]) == (0, pytest.approx(0, abs=1e-15))


def test_no_sites(vacancy64):
    atoms, hessian = vacancy64
    assert solve(atoms, hessian, []).values.shape == (0,)
    assert ball_site_entropies(atoms, hessian, [], radius=5.0, steps=5).shape == (0,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sites": [63]}, "sites"),
        ({"sites": [-1]}, "sites"),
        ({"sites": [0.5]}, "sites"),
        ({"motions": np.zeros((188, 3))}, "motions"),
        ({"motions": np.zeros((192, 0))}, "hessian"),
        ({"matrix": np.eye(192)}, "hessian"),
        ({"matrix": csr_array(np.full((189, 189), np.nan))}, "NaN"),
        ({"matrix": lambda x: x[1:]}, "products"),
        ({"matrix": lambda x: np.nan * x}, "products"),
        ({"tolerance": 0.0}, "tolerance"),
    ],
)
def test_bad_arguments(vacancy64, changes, message):
    atoms, hessian = vacancy64
    arguments = {"matrix": hessian, "sites": [0], "motions": motions(atoms)} | changes
    with pytest.raises(InvalidInputError, match=message):
        lanczos_site_entropies(arguments.pop("matrix"), arguments.pop("sites"), **arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"radius": 0.0}, "radius"),
        ({"radius": float("nan")}, "radius"),
        ({"steps": 0}, "steps"),
        ({"sites": [99]}, "sites"),
        ({"hessian": np.eye(9)}, "hessian"),
    ],
)
def test_bad_balls(vacancy64, changes, message):
    atoms, hessian = vacancy64
    arguments = {"hessian": hessian, "sites": [0], "radius": 5.0, "steps": 10} | changes
    with pytest.raises(InvalidInputError, match=message):
        ball_site_entropies(atoms, **arguments)


def skewed():
    atoms = bulk("Si", "diamond", a=LATTICE_SI) * (4, 4, 4)
    atoms.set_cell(atoms.cell.array @ [[1, 0, 0], [0.02, 1, 0], [0, 0.03, 1]], scale_atoms=True)
    # The same lattice, by very long vectors: rounding alone would miss the nearest image.
    atoms.set_cell([[1, 0, 0], [2, 1, 0], [-1, 2, 1]] @ atoms.cell.array)
    return atoms


def slab():
    atoms = bulk("Si", "diamond", a=LATTICE_SI, cubic=True) * (3, 3, 2)
    atoms.cell[2] += [9.0, 5.0, 40.0]
    atoms.pbc = (True, True, False)
    return atoms


@pytest.mark.parametrize("make", [skewed, slab])
@pytest.mark.parametrize("radius", [5.0, 7.0])
def test_ball_is_a_block_of_the_hessian(make, radius):
    atoms = make()
    atoms.rattle(0.02, seed=1)
    hessian = sparse_hessian(atoms)
    sites = [1, 50, 77]
    found = ball_site_entropies(atoms, hessian, sites, radius=radius, steps=45)
    for site, value in zip(sites, found, strict=True):
        ball = np.flatnonzero(atoms.get_distances(site, range(len(atoms)), mic=True) <= radius)
        rows = (3 * ball[:, None] + np.arange(3)).ravel()
        own = 3 * np.searchsorted(ball, site) + np.arange(3)
        eigenvalues, vectors = np.linalg.eigh(hessian.toarray()[np.ix_(rows, rows)])
        exact = (vectors[own] ** 2).sum(axis=0) @ reduced_entropy(eigenvalues)
        assert value == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("form", [csr_array, bsr_array, lambda h: h.toarray()])
def test_ball_of_everything_is_the_whole_matrix(vacancy64, form):
    """Held by springs, so that nothing is rigid: a free one would be singular in the ball."""
    atoms, hessian = vacancy64
    held = csr_array(hessian + eye_array(hessian.shape[0]))
    balls = ball_site_entropies(atoms, form(held), range(20), radius=50.0, steps=40)
    none = np.empty((held.shape[0], 0))
    whole = lanczos_site_entropies(held, range(20), motions=none, tolerance=1e-10)
    np.testing.assert_allclose(balls, whole.values, rtol=0, atol=1e-9)


def test_ball_does_not_depend_on_the_size_of_the_system(cells216):
    small, hessian = cells216[0]
    large = crystal(4)
    first, second = (
        ball_site_entropies(a, h, [40], radius=6.0, steps=20)
        for a, h in ((small, hessian), (large, sparse_hessian(large)))
    )
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-10)


def test_threads_change_nothing(vacancy64, monkeypatch):
    atoms, hessian = vacancy64
    results = []
    for threads in (1, 2, 5):
        for module in (ball, threads_module):
            monkeypatch.setattr(module, "get_num_threads", lambda n=threads: n)
        sites = range(len(atoms))
        results.append(ball_site_entropies(atoms, hessian, sites, radius=5.0, steps=15))
    monkeypatch.setattr(ball, "BALLS", 7)
    results.append(ball_site_entropies(atoms, hessian, sites, radius=5.0, steps=15))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_vacancy_formation_entropy_from_balls(cells216):
    """R = 7.9 Å is below half the width of 16.3 Å; measured: 0.005 k_B, sites 7e-4."""
    (perfect, perfect_hessian), (atoms, hessian) = cells216
    bulk_value = exact_sites(perfect, perfect_hessian).mean()
    exact = exact_sites(atoms, hessian)
    found = ball_site_differences(
        atoms,
        hessian,
        range(len(atoms)),
        perfect,
        perfect_hessian,
        radius=7.9,
        steps=20,
        bulk_value={"Si": bulk_value},
        crystal_sites=[0],
    )
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-3)
    formation = (exact - bulk_value).sum()
    assert formation > 3
    assert (found - bulk_value).sum() == pytest.approx(formation, abs=0.02)


def test_differences_species_by_species():
    """The crystal itself has its bulk values, exactly; sites in no order."""
    atoms = bulk("SiC", "zincblende", a=4.32, cubic=True) * (2, 2, 2)
    hessian = sparse_hessian(atoms, tersoff_silicon_carbide())
    sites = [3, 0, 10, 33]
    values = {"Si": -1.0, "C": 2.5}

    def differences(**changes):
        options = {"radius": 4.1, "steps": 12, "bulk_value": values} | changes
        return ball_site_differences(atoms, hessian, sites, atoms, hessian, **options)

    expected = [values[z] for z in np.array(atoms.get_chemical_symbols())[sites]]
    assert len(set(expected)) == 2
    np.testing.assert_allclose(differences(), expected, rtol=0, atol=1e-11)
    for lacking in ({"bulk_value": {"Si": 0.0}}, {"crystal_sites": [0]}):
        with pytest.raises(InvalidInputError, match="lack C"):
            differences(**lacking)
