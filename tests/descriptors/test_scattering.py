"""Scattering coefficients against direct integrals, and their invariances."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from scipy.ndimage import convolve
from scipy.spatial.transform import Rotation
from scipy.special import gamma, sph_harm_y

from ase_vibent.descriptors import Scattering
from ase_vibent.errors import InvalidInputError, InvalidStructureError, UnknownSpeciesError

#: What cusps of the modulus leave at the default resolution.
GRID = 3e-3

SMALL = Scattering(["Si", "C"], scales=(0, 1), l_max=3, powers=(1, 2), width=0.6)


@pytest.fixture
def carbide(rattle):
    return rattle(bulk("SiC", "zincblende", a=4.36, cubic=True), 0.5, seed=0)


@pytest.fixture
def cluster(carbide):
    atoms = carbide.copy()
    atoms.pbc = False
    return atoms


def assert_same(first, second, tolerance=GRID):
    np.testing.assert_allclose(first, second, rtol=tolerance)


def test_paper_dimension_and_number_of_atoms(rattle):
    """[Lapointe2020]: nine scales with l up to 9; where nothing cancels, they count atoms."""
    scattering = Scattering(["Fe"])
    assert scattering.n_features == 90
    atoms = rattle(bulk("Fe", "bcc", a=2.8553, cubic=True) * 2, 0.1, seed=0)
    features = scattering.compute_total(atoms).reshape(9, 10)
    np.testing.assert_allclose(features[:, 0], 16 / np.sqrt(4 * np.pi), rtol=1e-10)
    # Wavelets far larger than the cell see no structure.
    np.testing.assert_array_equal(features[-1, 1:], 0)


def test_single_atom_against_the_exact_integral():
    """A Gaussian smooths a solid harmonic to a wider one: ∫ |u|^l exp(-u²/2) √((2l+1)/4π)."""
    scales = np.array([-0.5, 0, 1.25, 3])
    scattering = Scattering(["Si"], scales=scales, width=0.6)
    found = scattering.compute_total(Atoms("Si", positions=[[1, 2, 3]])).reshape(4, 10)
    l = np.arange(10)
    narrowing = 2**scales / np.hypot(2**scales, 1)
    radial = 4 * np.pi * 2 ** ((l + 1) / 2) * gamma((l + 3) / 2) / (2 * np.pi) ** 1.5
    expected = narrowing[:, None] ** l * np.sqrt((2 * l + 1) / (4 * np.pi)) * radial
    np.testing.assert_allclose(found, expected, rtol=2e-4)


def test_against_direct_convolution_in_real_space(carbide):
    """[Lapointe2020] (19)-(21) word by word: sums over images, no Fourier transform."""
    atoms = carbide[[0, 1, 4]]
    atoms.set_cell([[3.3, 0, 0], [0.5, 3.4, 0], [0, -0.4, 3.6]])
    width, j, l, n = 0.6, 0.5, 2, 11
    size = width * 2**j
    steps = np.arange(n) - n // 2
    fractions = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1) / n
    images = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)

    def periodic(function, origin):
        points = fractions @ atoms.cell.array - origin
        return sum(function(points + shift @ atoms.cell.array) for shift in images)

    def gaussian(r):
        return np.exp(-np.sum(r**2, axis=-1) / (2 * width**2)) / (2 * np.pi * width**2) ** 1.5

    def wavelet(r, m):
        length = np.linalg.norm(r, axis=-1)
        theta = np.arccos(np.clip(r[..., 2] / np.maximum(length, 1e-300), -1, 1))
        y = sph_harm_y(l, m, theta, np.arctan2(r[..., 1], r[..., 0]))
        return np.exp(-((length / size) ** 2) / 2) * (length / size) ** l * y / (2 * np.pi) ** 1.5

    density = sum(periodic(gaussian, a.position) for a in atoms if a.symbol == "Si")
    squares = 0
    for m in range(l + 1):
        kernel = periodic(lambda r, m=m: wavelet(r, m), 0)
        for part in (kernel.real, kernel.imag):
            field = convolve(density, part, mode="wrap") * atoms.get_volume() / n**3 / size**3
            squares = squares + (2 if m else 1) * field**2
    scattering = Scattering(["Si", "C"], scales=[j], l_max=l, powers=(1, 2), width=width)
    found = scattering.compute_total(atoms).reshape(2, l + 1, 2)[0, l]
    assert found[1] == pytest.approx(squares.mean() * atoms.get_volume(), rel=1e-6)
    assert found[0] == pytest.approx(np.sqrt(squares).mean() * atoms.get_volume(), rel=GRID)


def test_translation_and_permutation(carbide):
    features = SMALL.compute_total(carbide)
    shuffled = carbide[np.random.default_rng(1).permutation(len(carbide))]
    assert_same(SMALL.compute_total(shuffled), features, 1e-12)
    wrapped = carbide.copy()
    wrapped.positions += [0.3, -0.7, 9.1]
    wrapped.wrap()
    assert_same(SMALL.compute_total(wrapped), features)


def test_rotation_of_crystal_and_cluster(carbide, cluster):
    """The grid turns with a cell; it stays where it is when a cluster turns in its box."""
    turn = -Rotation.from_rotvec([0.4, -1.1, 0.6]).as_matrix()
    of_crystal, of_cluster = SMALL.compute_total(carbide), SMALL.compute_total(cluster)
    turned = carbide.copy()
    turned.set_cell(carbide.cell.array @ turn, scale_atoms=True)
    assert_same(SMALL.compute_total(turned), of_crystal, 1e-10)
    # A symmetry of the cell, but not of the atoms in it.
    turned = carbide.copy()
    turned.positions = -carbide.positions[:, [1, 2, 0]]
    assert_same(SMALL.compute_total(turned), of_crystal)
    for rotation in (turn, -turn):
        turned = cluster.copy()
        turned.positions = cluster.positions @ rotation
        assert_same(SMALL.compute_total(turned), of_cluster)


def test_any_cell_of_a_crystal_gives_the_same_per_atom(carbide):
    features = SMALL.compute_total(carbide)
    for matrix in (np.diag([1, 2, 1]), [[1, 1, 0], [0, 1, 0], [1, 0, 1]]):
        cell = make_supercell(carbide, matrix)
        assert_same(SMALL.compute_total(cell) / len(cell), features / len(carbide))


def test_empty_space_along_directions_without_period(carbide):
    slab, thick = carbide.copy(), carbide.copy()
    slab.pbc = (True, True, False)
    thick.cell[2] = [0, 0, 30]
    assert_same(SMALL.compute_total(slab), SMALL.compute_total(thick))
    slab.cell[2] = 0
    assert_same(SMALL.compute_total(slab), SMALL.compute_total(thick))


def test_convergence_with_the_grid(carbide):
    def features(resolution):
        parameters = {**SMALL.to_dict(), "resolution": resolution}
        del parameters["name"]
        return Scattering(**parameters).compute_total(carbide)

    fine = features(14)
    errors = [np.abs(features(k) / fine - 1).max() for k in (3, 5, 7, 9)]
    assert errors[0] > errors[1] > max(errors[2:])
    assert max(errors[2:]) < GRID


def test_dictionary_and_default_width():
    scattering = Scattering("Fe", scales=[1, 2])
    parameters = scattering.to_dict()
    assert parameters.pop("name") == "Scattering"
    assert Scattering(**parameters) == scattering
    # Two touching atoms: Gaussians of overlap exp(-d²/8σ²) = 0.1, d²/8σ² = ln 10.
    assert (2 * 1.32) ** 2 / (8 * scattering.width**2) == pytest.approx(np.log(10))


@pytest.mark.parametrize(
    "wrong",
    [
        {"species": []},
        {"species": ["Si", "Si"]},
        {"scales": []},
        {"scales": [np.nan]},
        {"l_max": -1},
        {"l_max": 2.5},
        {"powers": [0]},
        {"width": -1.0},
        {"width": None, "species": ["*"]},
        {"resolution": 0},
    ],
)
def test_bad_hyperparameters_are_named(wrong):
    with pytest.raises(InvalidInputError, match=next(iter(wrong))):
        Scattering(**{"species": ["Si"], **wrong})


def test_bad_structures_get_one_clear_sentence():
    with pytest.raises(UnknownSpeciesError, match="Ge"):
        SMALL.compute_total(Atoms("Ge"))
    with pytest.raises(InvalidStructureError, match="cell vectors"):
        SMALL.compute_total(Atoms("Si", pbc=True))
    with pytest.raises(InvalidStructureError, match="empty"):
        SMALL.compute_total(Atoms())
