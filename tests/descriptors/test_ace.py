"""ACE: building blocks against SciPy, completeness, and independence of the basis."""

import numpy as np
import pytest
from ase import Atoms
from scipy.special import sph_harm_y

from ase_vibent import ACE
from ase_vibent.compiled.jit import compiled
from ase_vibent.compiled.simd import LANES
from ase_vibent.descriptors.density import expansion, feature_kernel
from ase_vibent.descriptors.density.coupling import invariants, real_3j, wigner_3j
from ase_vibent.descriptors.density.work_arrays import work_arrays
from ase_vibent.errors import InvalidInputError

L_MAX = 7


#: A basis whose channels reach L_MAX; only its tables are used.
BASIS = ACE(["Si"], cutoff=5.0, order=2, degree=2 + 2 * L_MAX, l_weight=1.0, inner=1.9, r0=2.35)


@compiled
def expand_vectors(vectors, tables, own, gradients, radial, slopes):
    """Harmonics and radial functions of up to LANES vectors through the kernels."""
    work = work_arrays(tables, 1, len(vectors))
    pack = np.int64(0)
    for k in range(LANES):
        j = min(k, len(vectors) - 1)
        for axis in range(3):
            work.vectors[axis, k] = vectors[j, axis]
        work.vectors[3, k] = np.sum(vectors[j] ** 2)
    work.columns[0, 1] = LANES
    expansion.radial_functions(pack, tables, work)
    expansion.spherical_harmonics(pack, tables, work)
    expansion.radial_slopes(pack, tables, work)
    feature_kernel.harmonics_with_gradients(pack, tables, work, own, gradients)
    for row in range(own.shape[0]):
        for k in range(LANES):
            own[row, k] = work.harmonics[0, row, k]
    for n in range(len(radial)):
        for k in range(LANES):
            radial[n, k] = work.packs[0, 0, tables.radial_row + n, k]
            slopes[n, k] = work.slopes[n, k]


def expanded(vectors):
    """Y_lm, their gradients, R_n and dR_n/dr of vectors, shape (n, 3), from the kernels."""
    tables = BASIS.basis.tables
    n_max, n_harmonics = len(tables.recursion), BASIS.basis.n_harmonics
    parts = []
    for start in range(0, len(vectors), LANES):
        some = np.ascontiguousarray(vectors[start : start + LANES])
        own, gradients = np.empty((n_harmonics, LANES)), np.empty((n_harmonics, 3, LANES))
        radial, slopes = np.empty((n_max, LANES)), np.empty((n_max, LANES))
        expand_vectors(some, tables, own, gradients, radial, slopes)
        parts.append([x[..., : len(some)] for x in (own, gradients, radial, slopes)])
    own, gradients, radial, slopes = (np.concatenate(p, axis=-1) for p in zip(*parts, strict=True))
    # The kernels keep harmonics by descending l.
    rows = [n_harmonics - (l + 1) ** 2 + l + m for l in range(L_MAX + 1) for m in range(-l, l + 1)]
    return own[rows], gradients[rows].transpose(1, 0, 2), radial, slopes


def harmonics(vectors):
    """Y_lm and gradients of vectors, shape (n, 3)."""
    return expanded(vectors)[:2]


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    poles_and_axes = np.array([[0, 0, 1.3], [0, 0, -0.7], [2.0, 0, 0], [0, -1.1, 0]])
    return np.concatenate([rng.normal(size=(20, 3)), poles_and_axes])


def test_harmonics_agree_with_scipy(vectors):
    value, _ = harmonics(vectors)
    theta = np.arccos(vectors[:, 2] / np.linalg.norm(vectors, axis=1))
    phi = np.arctan2(vectors[:, 1], vectors[:, 0])
    for l in range(L_MAX + 1):
        for m in range(-l, l + 1):
            y = sph_harm_y(l, abs(m), theta, phi)
            part = y.real if m >= 0 else y.imag
            scale = 1.0 if m == 0 else np.sqrt(2) * (-1) ** m
            expected = np.sqrt(4 * np.pi) * scale * part
            np.testing.assert_allclose(value[l * l + l + m], expected, atol=1e-12)


def test_harmonic_gradients_against_finite_differences(vectors):
    _, gradient = harmonics(vectors)
    step = 1e-6
    for axis in range(3):
        shift = step * np.eye(3)[axis]
        numeric = (harmonics(vectors + shift)[0] - harmonics(vectors - shift)[0]) / (2 * step)
        # Central differences at 1e-6: truncation 1e-11, rounding 1e-9.
        np.testing.assert_allclose(gradient[axis], numeric, atol=2e-8)


def test_radial_functions_are_orthonormal_smooth_and_differentiable():
    x_cut, n_max = BASIS.radial.x_cut, len(BASIS.radial.recursion)

    def evaluate(r):
        return expanded(np.outer(r, [0.6, 0.0, 0.8]))[2:]

    nodes, weights = np.polynomial.legendre.leggauss(80)
    x_in = ((1 + 2.35) / (1 + 1.9)) ** 2
    x = 0.5 * (x_in + x_cut) + 0.5 * (x_in - x_cut) * nodes
    value, _ = evaluate((1 + 2.35) / np.sqrt(x) - 1)
    np.testing.assert_allclose((value * weights / 2) @ value.T, np.eye(n_max), atol=1e-10)

    r = np.linspace(1.9, 4.99, 40)
    numeric = (evaluate(r + 1e-6)[0] - evaluate(r - 1e-6)[0]) / 2e-6
    slopes = evaluate(r)[1]
    np.testing.assert_allclose(slopes, numeric, atol=1e-8 * np.abs(slopes).max())
    at_cutoff = evaluate(np.array([5.0]))
    np.testing.assert_allclose(np.concatenate(at_cutoff), 0, atol=1e-11)


def test_wigner_3j_sums():
    """Orthogonality of 3j symbols: Σ_m1m2 (2 j3 + 1) (3j)² = 1 for every m3."""
    for j1, j2, j3 in ((1, 1, 2), (2, 3, 4), (5, 4, 3), (6, 6, 7)):
        for m3 in range(-j3, j3 + 1):
            total = sum(
                wigner_3j(j1, j2, j3, m1, -m1 - m3, m3) ** 2
                for m1 in range(-j1, j1 + 1)
                if abs(m1 + m3) <= j2
            )
            assert (2 * j3 + 1) * total == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("degrees", [(2, 2), (1, 2, 3), (2, 2, 2, 2), (1, 1, 2, 2), (3, 2, 1, 2)])
def test_invariants_are_rotation_invariant(degrees):
    """Products of harmonics of different vectors, contracted, do not see a rotation."""
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(len(degrees), 3))
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    tensors = invariants(degrees)
    assert len(tensors) > 0

    def contract(points):
        y = harmonics(points)[0]
        result = tensors
        for k, l in enumerate(degrees):
            result = np.tensordot(result, y[l * l : (l + 1) ** 2, k], axes=(1, 0))
        return result

    np.testing.assert_allclose(contract(vectors @ rotation), contract(vectors), atol=1e-10)


@pytest.mark.parametrize("degrees", [(1, 1, 1, 1), (2, 2, 2, 2), (1, 2, 2, 3), (2, 1, 1, 1, 1)])
def test_number_of_invariants_is_the_multiplicity_of_the_trivial_representation(degrees):
    """Counted independently: average of the product of SO(3) characters over the group."""
    angles, weights = np.polynomial.legendre.leggauss(200)
    angles = np.pi / 2 * (angles + 1)
    characters = [
        sum(np.cos(m * angles) for m in range(-l, l + 1)) if l else np.ones_like(angles)
        for l in degrees
    ]
    measure = (1 - np.cos(angles)) / np.pi * (np.pi / 2) * weights
    count = measure @ np.prod(characters, axis=0)
    expected = 0 if sum(degrees) % 2 else round(count)
    assert abs(count - round(count)) < 1e-8
    assert len(invariants(degrees)) == expected


def test_even_couplings_are_gaunt_products(vectors):
    """Σ C Y_l1 Y_l2 is a multiple of Y_l3 where l1 + l2 + l3 is even, and else vanishes."""
    value, _ = harmonics(vectors)
    for l1, l2, l3 in ((2, 2, 2), (1, 2, 3), (1, 1, 1), (2, 2, 3)):
        first, second, third = (value[l * l : (l + 1) ** 2] for l in (l1, l2, l3))
        coupled = np.einsum("abc,ak,bk->ck", real_3j(l1, l2, l3), first, second)
        factor = np.sum(coupled * third) / np.sum(third * third)
        np.testing.assert_allclose(coupled, factor * third, atol=1e-12)
        assert (abs(factor) > 0.1) == ((l1 + l2 + l3) % 2 == 0)


def random_environment(rng, species, n_neighbours=25):
    """A central atom and neighbours between 1.8 and 4.9 Å."""
    positions = [np.zeros(3)]
    while len(positions) <= n_neighbours:
        direction = rng.normal(size=3)
        position = direction * rng.uniform(1.8, 4.9) / np.linalg.norm(direction)
        if np.linalg.norm(position - positions, axis=1).min() > 0.5:
            positions.append(position)
    return Atoms([species[0], *rng.choice(species, n_neighbours)], positions=positions)


@pytest.mark.parametrize(
    ("species", "order", "degree"),
    [(["Si"], 1, 12), (["Si"], 2, 12), (["Si"], 3, 11), (["Si"], 4, 9), (["Cd", "Te"], 3, 7)],
)
def test_no_function_depends_linearly_on_others(species, order, degree):
    ace = ACE(species, cutoff=5.0, order=order, degree=degree, r0=2.4)
    rng = np.random.default_rng(2)
    features = np.array(
        [ace.compute(random_environment(rng, species))[0] for _ in range(2 * ace.n_features)]
    )
    features /= features.std(axis=0)
    singular = np.linalg.svd(features, compute_uv=False)
    # A dependent function would leave 1e-16; smooth radial functions alone leave 1e-7.
    assert singular[-1] > 1e-10 * singular[0]


def test_total_degree_selects_the_documented_functions():
    """668 functions of 3507 distinct products of 166 channels: counted by hand elsewhere."""
    ace = ACE(["Si"], cutoff=5.0, order=3, degree=16, l_weight=1.5)
    n, l = ace.channels[:, 1], np.floor(np.sqrt(ace.channels[:, 2]))
    assert np.all(n + 1.5 * l <= 16)
    assert ace.n_features == 668
    assert len(ace.channels) == 166
    assert len(np.unique(ace.products.product_of)) == 3507


@pytest.mark.parametrize(
    "wrong",
    [
        {"species": []},
        {"species": ["Si", "Si"]},
        {"species": ["Xx1"]},
        {"cutoff": -1.0},
        {"cutoff": float("nan")},
        {"order": 0},
        {"order": 2.5},
        {"degree": 1},
        {"l_weight": 0},
        {"r0": 9.0, "cutoff": 5.0},
    ],
)
def test_bad_hyperparameters_are_named(wrong):
    with pytest.raises(InvalidInputError, match=next(iter(wrong)).replace("r0", "cutoff")):
        ACE(**{"species": ["Si"], **wrong})


def test_roughness_grows_with_the_degrees_of_factors():
    """Σ (n^p + l^p): every neighbour function, and every pair n ≤ n' of one l, by hand."""
    single = [n**3 for n in range(1, 6)]
    pairs = [
        n**3 + m**3 + 2 * l**3
        for l in range(3)
        for m in range(1, 5)
        for n in range(1, m + 1)
        if n + m + 3 * l <= 5
    ]
    descriptor = ACE(["Si"], cutoff=4.0, order=2, degree=5, l_weight=1.5)
    np.testing.assert_allclose(np.sort(descriptor.roughness(3)), sorted(single + pairs))
    alone = ACE(["Si"], cutoff=4.0, order=1, degree=5)
    np.testing.assert_allclose(alone.roughness(3), single)
    with pytest.raises(InvalidInputError, match="smoothness"):
        descriptor.roughness(0)
