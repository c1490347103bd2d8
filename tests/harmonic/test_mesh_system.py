"""Vibrations averaged over the Brillouin zone of a cell: phonopy, differences, and symmetries."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, make_supercell
from ase.calculators.emt import EMT
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_vibent.crystal.phonons import build_phonons, hessians_at, prepared_crystal
from ase_vibent.errors import InvalidInputError, UnstableStructureError
from ase_vibent.harmonic.entropy import classical, mass_entropy, quantum, reduced_entropy
from ase_vibent.harmonic.images import Images
from ase_vibent.harmonic.mesh import choose_mesh, half_shifted_mesh
from ase_vibent.harmonic.mesh_derivatives import weighted
from ase_vibent.harmonic.mesh_system import MeshSystem
from ase_vibent.hessian import DisplacedForces, compute_hessian
from ase_vibent.potentials import stillinger_weber_silicon

# Some cells are narrower than the interaction on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::ase_vibent.errors.NarrowCellWarning")

SKEWED = [[1, 0, 0], [1, 2, 0], [0, 1, 3]]


@pytest.fixture
def vacancy() -> Atoms:
    """A rattled vacancy in a cell narrower than the interaction: images matter."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (2, 1, 1)
    del atoms[3]
    atoms.rattle(0.04, seed=1)
    return atoms


def system(atoms: Atoms, calculator, mesh=(2, 3, 2), **options) -> MeshSystem:
    return MeshSystem(atoms, compute_hessian(atoms, calculator), mesh, **options)


@pytest.mark.parametrize(
    ("crystal", "repeats", "calculator"),
    [
        (bulk("Si", "diamond", a=5.431), 2, stillinger_weber_silicon()),
        # Wider interactions than half the cell: blocks are shared among images.
        (bulk("Cu", "fcc", a=3.59), 3, EMT()),
        (bulk("Cu", "fcc", a=3.59, cubic=True), 2, EMT()),
    ],
    ids=["silicon", "primitive copper", "cubic copper"],
)
def test_crystals_agree_with_phonopy(crystal, repeats, calculator):
    """The same force constants on the corresponding mesh of the small cell, to 1e-10 k_B."""
    phonons = build_phonons(prepared_crystal(crystal), calculator, np.full(3, repeats))
    own = system(crystal * (repeats, repeats, repeats), calculator, (2, 2, 2))
    points, multiplicities = half_shifted_mesh((2 * repeats,) * 3)
    weights = multiplicities / multiplicities.sum()
    eigenvalues = np.linalg.eigvalsh(hessians_at(phonons, points))
    expected = weights @ reduced_entropy(eigenvalues).sum(axis=1) / len(crystal)
    expected += mass_entropy(crystal.get_masses())[0]
    assert own.entropy / len(own.masses) == pytest.approx(expected, abs=1e-10)
    np.testing.assert_allclose(own.site_entropies, own.entropy / len(own.masses), atol=1e-9)


def test_a_supercell_at_half_the_mesh_is_the_cell(sw):
    """Where the interaction, 3.9 Å with a vacancy, is shorter than half the cell."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (2, 2, 2)
    del atoms[0]
    cell = system(atoms, sw, (4, 2, 2))
    assert cell.share_at_border == 0
    double = system(atoms * (2, 1, 1), sw, (2, 2, 2))
    assert double.entropy == pytest.approx(2 * cell.entropy, abs=1e-8)


def test_cells_of_the_same_lattice_agree():
    """A skewed cell and its reduced form have the same images, whatever the vectors."""
    crystal = bulk("Cu", "fcc", a=3.59, cubic=True)
    skewed = make_supercell(crystal, SKEWED)
    reduced = skewed.copy()
    reduced.set_cell(np.array([[1, 0, 0], [0, 1, 0], [0, -1, 1]]) @ skewed.cell.array)
    moved = skewed.copy()
    moved.positions += moved.cell.array[1] * np.arange(len(moved))[:, None]  # unwrapped
    values = [system(a, EMT(), (2, 2, 2)).entropy for a in (skewed, moved)]
    assert values[1] == pytest.approx(values[0], abs=1e-8)
    # Another mesh of the same zone: equal up to what meshes differ by.
    assert system(reduced, EMT(), (2, 2, 2)).entropy == pytest.approx(values[0], abs=0.05)


def test_turned_swapped_and_left_handed_cells_agree(vacancy, sw):
    """The mesh stays with the vectors that it was given for; gradients turn with the atoms."""
    own = system(vacancy, sw, (1, 2, 3))
    gradient = own.gradient(DisplacedForces(vacancy, sw), classical, 300.0).positions[0]
    left = vacancy.copy()
    left.set_cell(vacancy.cell.array[[1, 0, 2]])
    turned = vacancy.copy()
    turned.rotate(33, (1, 2, 3), rotate_cell=True)
    turned.positions += [3.0, -11.0, 0.2]
    turn = np.linalg.solve(vacancy.cell.array, turned.cell.array)
    for atoms, mesh, matrix in ((left, (2, 1, 3), np.eye(3)), (turned, (1, 2, 3), turn)):
        other = system(atoms, sw, mesh)
        np.testing.assert_allclose(other.site_entropies, own.site_entropies, atol=1e-8)
        found = other.gradient(DisplacedForces(atoms, sw), classical, 300.0).positions[0]
        # Differences of forces along other patterns: 1e-3, as below.
        np.testing.assert_allclose(found, gradient @ matrix, atol=2e-3 * np.abs(gradient).max())


def test_a_single_atom_is_too_narrow_a_cell():
    """Nothing is known of its interaction with its images."""
    atom = bulk("Cu", "fcc", a=3.59)
    own = system(atom, EMT(), (2, 2, 2))
    assert own.share_at_border == 1
    with pytest.raises(UnstableStructureError, match="100% of the Hessian lies at the border"):
        _ = own.site_entropies


@pytest.mark.parametrize("statistics", [classical, quantum])
def test_gradient_against_differences(vacancy, sw, statistics):
    """Along a random direction, to 1e-3 by force calls, images at the border included."""
    own = system(vacancy, sw)
    assert own.share_at_border > 0.01
    gradient = own.gradient(DisplacedForces(vacancy, sw, virial=True), statistics, 200.0)
    rng = np.random.default_rng(0)
    moves = rng.normal(size=vacancy.positions.shape)
    strain = rng.normal(size=(3, 3)) / 10
    strain = strain + strain.T
    step = 1e-4
    for number, name in enumerate(("entropies", "free energies")):

        def difference(change, number=number):
            totals = [
                system(change(sign * step), sw).site_thermodynamics(statistics, 200.0)[number].sum()
                for sign in (1, -1)
            ]
            return (totals[0] - totals[1]) / (2 * step)

        def displace(amount):
            copy = vacancy.copy()
            copy.positions += amount * moves
            return copy

        def deform(amount):
            copy = vacancy.copy()
            copy.set_cell(vacancy.cell.array @ (np.eye(3) + amount * strain), scale_atoms=True)
            return copy

        found = np.sum(gradient.positions[number] * moves)
        assert found == pytest.approx(difference(displace), rel=2e-3), name
        found = np.sum(gradient.strain[number] * strain)
        assert found == pytest.approx(difference(deform), rel=2e-3), name
        drift = np.abs(gradient.positions[number].sum(axis=0)).max()
        assert drift < 1e-6 * np.abs(gradient.positions[number]).max()


def test_gradient_with_an_analytic_hessian(vacancy, sw):
    """-½ Tr[Ḡ ∂H/∂u] with ∂H/∂u from Hessians, and the images' part: to 1e-6."""
    own = system(vacancy, sw)
    scaling = np.repeat(1 / np.sqrt(own.masses), 3)[:, None]
    matrices = [
        weighted(scaling * modes.eigenvectors, -0.5 / modes.eigenvalues) for modes in own.modes
    ]
    in_hessian, in_weights = own.derivatives._averaged(matrices)
    moves = np.random.default_rng(2).normal(size=vacancy.positions.shape)
    hessians, entropies = [], []
    step = 2e-5
    for sign in (1, -1):
        copy = vacancy.copy()
        copy.positions += sign * step * moves
        hessians.append(compute_hessian(copy, sw))
        entropies.append(MeshSystem(copy, hessians[-1], own.mesh).entropy)
    of_images = np.zeros_like(moves)
    own.derivatives._add_image_terms(in_weights, of_images, None)
    found = np.sum(in_hessian * (hessians[0] - hessians[1])) / (2 * step) + np.sum(
        of_images * moves
    )
    assert found == pytest.approx((entropies[0] - entropies[1]) / (2 * step), rel=1e-6)


@pytest.mark.parametrize("mass_weighted", [False, True])
def test_site_gradients(vacancy, sw, mass_weighted):
    vacancy.set_masses(np.linspace(20, 40, len(vacancy)))
    sites = [0, 4]
    own = system(vacancy, sw, (2, 2, 2))
    gradients = own.site_gradients(DisplacedForces(vacancy, sw), sites, mass_weighted=mass_weighted)
    moves = np.random.default_rng(3).normal(size=vacancy.positions.shape)
    values, step = [], 1e-4
    for sign in (1, -1):
        copy = vacancy.copy()
        copy.positions += sign * step * moves
        other = system(copy, sw, (2, 2, 2))
        values.append(other._site_sums(reduced_entropy, mass_weighted=mass_weighted)[sites])
    expected = (values[0] - values[1]) / (2 * step)
    np.testing.assert_allclose(np.sum(gradients * moves, axis=(1, 2)), expected, atol=2e-3)


def test_sites_and_masses_add_up(vacancy, sw):
    own = system(vacancy, sw)
    assert own.site_entropies.sum() == pytest.approx(own.entropy, abs=1e-10)
    assert own.n_modes == 3 * len(vacancy) == pytest.approx(own.site_modes.sum())
    heavy = vacancy.copy()
    heavy.set_masses(np.linspace(10, 50, len(heavy)))
    shifted = system(heavy, sw)
    difference = mass_entropy(heavy.get_masses()) - mass_entropy(vacancy.get_masses())
    np.testing.assert_allclose(shifted.site_entropies - own.site_entropies, difference, atol=1e-10)
    entropies, _ = shifted.site_thermodynamics(classical, 300.0)
    assert entropies.sum() == pytest.approx(
        shifted.site_thermodynamics(classical, 300.0)[0].sum(), rel=1e-12
    )


def test_slabs_are_averaged_along_the_surface_alone():
    slab = fcc111("Cu", (2, 2, 3), a=3.59, vacuum=6.0)
    assert choose_mesh(slab) == (5, 5, 0)
    own = system(slab, EMT(), choose_mesh(slab, (2, 2, 7)))
    assert np.all(own.points[:, 2] == 0)
    wider = slab.copy()
    wider.center(vacuum=20.0, axis=2)
    assert system(wider, EMT(), (2, 2, 0)).entropy == pytest.approx(own.entropy, abs=1e-6)


def test_fixed_atoms_are_left_out(vacancy, sw):
    free = np.arange(5, len(vacancy))
    hessian = compute_hessian(vacancy, sw)
    rows = (3 * free[:, None] + np.arange(3)).ravel()
    own = MeshSystem(vacancy, hessian[np.ix_(rows, rows)], (2, 2, 2), free=free)
    assert np.all(own.site_entropies[:5] == 0)
    assert own.n_modes == 3 * len(free)


def test_motion_along_a_path_is_left_out(vacancy, sw):
    """By brute force: a very stiff spring along the tangent at every q takes its mode away."""
    tangent = np.random.default_rng(4).normal(size=vacancy.positions.shape)
    own = system(vacancy, sw, (2, 2, 2), tangent=tangent)
    assert own.n_modes == 3 * len(vacancy) - 1
    direction = (tangent * np.sqrt(vacancy.get_masses())[:, None]).ravel()
    direction /= np.linalg.norm(direction)
    total = 0.0
    for number, weight in enumerate(own.weights):
        matrix = own._matrix(number, True)
        stiff = matrix + 1e6 * np.outer(direction, direction)
        eigenvalues = np.linalg.eigvalsh(stiff)[:-1]
        total += weight * reduced_entropy(eigenvalues).sum()
    assert own.entropy == pytest.approx(total, abs=1e-3)
    with pytest.raises(InvalidInputError, match="tangent"):
        own.gradient(DisplacedForces(vacancy, sw), classical, 300.0)


def test_unstable_branches_are_named():
    chain = bulk("Cu", "fcc", a=3.59, cubic=True)
    hessian = compute_hessian(chain, EMT())
    with pytest.raises(UnstableStructureError, match=r"at q = \[.*of the cell's mesh"):
        _ = MeshSystem(chain, -hessian, (2, 2, 2)).entropy
    log_plus = MeshSystem(chain, -hessian, (2, 2, 2), unstable="any")
    assert log_plus.n_modes == pytest.approx(12 - log_plus.n_unstable)


def test_what_is_no_mesh(vacancy):
    cluster = vacancy.copy()
    cluster.pbc = False
    assert choose_mesh(cluster) is None
    assert choose_mesh(vacancy, "gamma") is None
    assert choose_mesh(vacancy) == (2, 4, 4)
    with pytest.raises(InvalidInputError, match="mesh: a cluster"):
        choose_mesh(cluster, (2, 2, 2))
    for wrong in ("fine", (2, 2), (0, 1, 1), (1.5, 1, 1), 3):
        with pytest.raises(InvalidInputError, match="mesh: expected"):
            choose_mesh(vacancy, wrong)


@given(numbers=st.tuples(*[st.integers(0, 5)] * 3))
def test_meshes_avoid_gamma_and_stand_for_both_signs(numbers):
    points, multiplicities = half_shifted_mesh(numbers)
    assert multiplicities.sum() == np.prod([max(n, 1) for n in numbers])
    weights = multiplicities / multiplicities.sum()
    if any(numbers):
        assert np.all(np.abs(points - np.rint(points)).max(axis=1) > 0)
        both = np.concatenate([points, -points])
        total = np.tile(weights / 2, 2) @ np.cos(2 * np.pi * both)
        expected = [1 if n == 0 else (-1 if n == 1 else 0) for n in numbers]
        np.testing.assert_allclose(total, expected, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    pbc=st.tuples(*[st.booleans()] * 3),
    q=st.tuples(*[st.floats(-1, 1)] * 3),
)
def test_weights_of_images(seed, pbc, q):
    """They sum to one with slopes that sum to zero, and phases are Hermitian, for any cell."""
    rng = np.random.default_rng(seed)
    cell = np.diag([3.0, 4.0, 5.0]) + rng.normal(size=(3, 3))
    if abs(np.linalg.det(cell)) < 10:
        cell = np.diag([3.0, 4.0, 5.0])
    atoms = Atoms("H4", cell=cell, pbc=pbc, scaled_positions=rng.uniform(-2, 2, (4, 3)))
    images = Images(atoms)
    phases = images.phases(np.array(q)).reshape(4, 4)
    np.testing.assert_allclose(phases, phases.conj().T, atol=1e-9)
    np.testing.assert_allclose(images.phases(np.zeros(3)), 1.0, atol=1e-12)
    shared = images.shared
    np.testing.assert_allclose(shared.weights.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(shared.slopes.sum(axis=1), 0.0, atol=1e-9)
    # Slopes and strains against differences.
    moved = atoms.copy()
    direction, step = rng.normal(size=(4, 3)), 1e-6
    values = []
    for sign in (1, -1):
        moved.positions = atoms.positions + sign * step * direction
        values.append(Images(moved).phases(np.array(q)).reshape(4, 4))
    difference = (values[0] - values[1]) / (2 * step)
    expected = np.zeros((4, 4), dtype=complex)
    first, second = shared.pairs.T
    waves = np.exp(2j * np.pi * (shared.shifts @ np.array(q)))
    along = np.einsum("pra,pa->pr", shared.slopes, direction[second] - direction[first])
    np.add.at(expected, (first, second), (along * waves).sum(axis=1))
    np.testing.assert_allclose(difference, expected, atol=1e-4)


def test_moments_are_those_of_a_wider_cell(sw):
    """In a cell so narrow that paths close through images at Γ, and no longer on a mesh."""
    crystal = bulk("Si", "diamond", a=5.431, cubic=True)
    moments = {}
    for repeats, mesh in (((2, 2, 2), (1, 2, 2)), ((3, 3, 3), (1, 1, 1))):
        own = system(crystal * repeats, sw, mesh)
        moments[repeats] = own.moments(np.zeros(len(own.masses), dtype=np.int64), 1)[0]
    np.testing.assert_allclose(moments[2, 2, 2], moments[3, 3, 3], rtol=1e-10)
