"""One set of checks that every descriptor must pass."""

import re

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ase_vibent import ACE, AFS, Bispectrum
from ase_vibent.descriptors import (
    CartesianPolynomials,
    PairFunctions,
    Quadratic,
    Scattering,
    descriptor_from_dict,
)
from ase_vibent.descriptors.quadratic_form import QuadraticForm
from ase_vibent.errors import InvalidInputError, InvalidStructureError, UnknownSpeciesError

DESCRIPTORS = {
    "ace-1": ACE(["Si", "C"], cutoff=4.0, order=1, degree=8),
    "ace-2": ACE(["Si", "C"], cutoff=4.0, order=2, degree=7),
    "ace-3": ACE(["Si", "C"], cutoff=4.0, order=3, degree=6),
    "ace-4": ACE(["Si", "C"], cutoff=4.0, order=4, degree=6),
    "afs": AFS(["Si", "C"], cutoff=4.0, n_max=3, l_max=4),
    "bispectrum": Bispectrum(["Si", "C"], cutoff=4.0, j_max=1.5),
    "cartesian": CartesianPolynomials(["Si", "C"], cutoff=4.0, order=2, degree=4),
    "pairs": PairFunctions(["Si", "C"], cutoff=4.0, spacing=0.3, degree=3),
    "joined": PairFunctions(["Si", "C"], cutoff=4.0, spacing=0.25, degree=1)
    + ACE(["Si", "C"], cutoff=3.1, order=3, degree=5),
}


@pytest.fixture(params=DESCRIPTORS.values(), ids=DESCRIPTORS.keys())
def descriptor(request):
    return request.param


@pytest.fixture
def carbide(rattle):
    return rattle(bulk("SiC", "zincblende", a=4.36, cubic=True), 0.3, seed=0)


@pytest.fixture
def environments(rattle):
    """Structures with corner cases of periodicity."""
    carbide = rattle(bulk("SiC", "zincblende", a=4.36, cubic=True), 0.3, seed=1)
    slab = carbide.copy()
    slab.pbc = (True, True, False)
    wire = carbide.copy()
    wire.pbc = (False, False, True)
    cluster = carbide.copy()
    cluster.pbc = False
    cluster.set_cell(np.zeros((3, 3)))
    own_images = rattle(bulk("SiC", "zincblende", a=4.36), 0.2, seed=2)
    sheared = carbide.copy()
    shear = np.array([[0, 0.9, 0], [0, 0, 0], [0.4, 0, 0.7]])
    sheared.set_cell(sheared.cell.array + shear, scale_atoms=True)
    outside = carbide.copy()
    outside.positions += np.array([13.0, -7.0, 2.0])
    lonely = Atoms("SiCSi", positions=[[0, 0, 0], [1.9, 0, 0], [30, 0, 0]])
    return {
        "cell": carbide,
        "slab": slab,
        "wire": wire,
        "cluster": cluster,
        "own images": own_images,
        "sheared": sheared,
        "outside the cell": outside,
        "an atom without neighbours": lonely,
    }


@pytest.mark.parametrize(
    "name",
    [
        "cell",
        "slab",
        "wire",
        "cluster",
        "own images",
        "sheared",
        "outside the cell",
        "an atom without neighbours",
    ],
)
def test_gradients_and_linear_model_against_finite_differences(descriptor, environments, name):
    atoms = environments[name]
    rng = np.random.default_rng(3)
    n_features, none = descriptor.n_features, np.zeros((2, 0))
    weights = rng.normal(size=(2, n_features))
    summed = descriptor.compute_with_gradients(atoms)
    model = descriptor.linear_model(atoms, weights)
    species = np.array([0 if s == "Si" else 1 for s in atoms.get_chemical_symbols()])
    values = np.einsum("if,if->i", descriptor.compute(atoms), weights[species])
    scale = np.abs(values).max()
    # Three routes to the same numbers, different orders of summation.
    np.testing.assert_allclose(model.values, values, atol=1e-10 * scale)
    np.testing.assert_allclose(summed.values, descriptor.compute(atoms), atol=1e-10 * scale)
    gradient = np.einsum("znaf,zf->na", summed.gradient, weights)
    strain = np.einsum("zabf,zf->ab", summed.strain, weights)
    np.testing.assert_allclose(model.gradient, gradient, atol=1e-10 * scale)
    np.testing.assert_allclose(model.strain, strain, atol=1e-9 * scale)
    # A function of the features that happens to be the linear one takes another way.
    other = descriptor.site_model(atoms, Quadratic(weights, np.zeros((2, 0, n_features)), none))
    np.testing.assert_allclose(other.values, values, atol=1e-10 * scale)
    np.testing.assert_allclose(other.gradient, gradient, atol=1e-10 * scale)
    np.testing.assert_allclose(other.strain, strain, atol=1e-9 * scale)
    by_site = descriptor.compute_site_gradients(atoms)
    for z in range(2):
        np.testing.assert_allclose(
            by_site[species == z].sum(axis=0), summed.gradient[z], atol=1e-10 * scale
        )

    def total(displacement=0.0, deformation=0.0):
        copy = atoms.copy()
        copy.positions += displacement
        deform = np.eye(3) + deformation
        copy.set_cell(copy.cell.array @ deform)
        copy.positions = copy.positions @ deform
        return descriptor.linear_model(copy, weights, gradient=False).values.sum()

    step = 1e-5
    for atom, axis in ((0, 0), (1, 1), (len(atoms) - 1, 2)):
        shift = np.zeros((len(atoms), 3))
        shift[atom, axis] = step
        numeric = (total(shift) - total(-shift)) / (2 * step)
        assert model.gradient[atom, axis] == pytest.approx(numeric, rel=1e-6, abs=1e-6 * scale)
    for a, b in ((0, 0), (1, 2)):
        deformation = np.zeros((3, 3))
        deformation[a, b] += step / 2
        deformation[b, a] += step / 2
        numeric = (total(deformation=deformation) - total(deformation=-deformation)) / (2 * step)
        assert model.strain[a, b] == pytest.approx(numeric, rel=1e-6, abs=1e-6 * scale)


@given(seed=st.integers(0, 10**6), angle=st.floats(-3, 3), mirror=st.booleans())
@settings(max_examples=8, deadline=None)
def test_rotation_reflection_translation_permutation(seed, angle, mirror, rattle):
    rng = np.random.default_rng(seed)
    atoms = rattle(bulk("SiC", "zincblende", a=4.36, cubic=True), 0.4, seed=seed)
    axis = rng.normal(size=3)
    turn = Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix()
    turn = -turn if mirror else turn
    order = rng.permutation(len(atoms))
    shifted = atoms.copy()
    shifted.positions += rng.normal(size=3)
    turned = shifted.copy()
    turned.set_cell(atoms.cell.array @ turn)
    turned.positions = shifted.positions @ turn
    for descriptor in DESCRIPTORS.values():
        moved = shifted if isinstance(descriptor, CartesianPolynomials) else turned
        features = descriptor.compute(atoms)
        np.testing.assert_allclose(
            descriptor.compute(moved[order]), features[order], atol=1e-10 * np.abs(features).max()
        )


def test_supercell_repeats_the_features(descriptor, carbide):
    features = descriptor.compute(carbide)
    double = descriptor.compute(carbide * (1, 2, 1))
    np.testing.assert_allclose(
        double, np.tile(features, (2, 1)), atol=1e-10 * np.abs(features).max()
    )


def test_features_vanish_smoothly_at_the_cutoff(descriptor):
    def features(distance):
        atoms = Atoms("SiCC", positions=[[0, 0, 0], [1.9, 0, 0], [0, distance, 0]])
        return descriptor.compute(atoms)[0]

    inside, outside = features(descriptor.cutoff - 1e-4), features(descriptor.cutoff + 1e-4)
    # The envelope is quadratic: at 1e-4 Å below the cutoff it has fallen by about 1e-8.
    np.testing.assert_allclose(inside, outside, atol=1e-5 * np.abs(outside).max())
    assert np.abs(features(3.0) - outside).max() > 1e-3 * np.abs(outside).max()


def test_input_is_left_unmodified(descriptor, carbide):
    before = carbide.copy()
    descriptor.compute_with_gradients(carbide)
    descriptor.linear_model(carbide, np.ones((2, descriptor.n_features)))
    assert carbide == before


def test_result_does_not_depend_on_the_number_of_threads(descriptor, carbide, monkeypatch):
    from ase_vibent.compiled import threads as threads_module
    from ase_vibent.descriptors.density import evaluation
    from ase_vibent.neighbours import lists

    monkeypatch.setattr(lists, "SMALLEST_CHUNK", 3)
    atoms = carbide * (2, 1, 1)
    weights = np.random.default_rng(4).normal(size=(2, descriptor.n_features))
    results = []
    for threads in (1, 2, 5, 64):
        for module in (evaluation, threads_module):
            monkeypatch.setattr(module, "get_num_threads", lambda threads=threads: threads)
        model = descriptor.linear_model(atoms, weights, forms=forms_of(descriptor))
        summed = descriptor.compute_with_gradients(atoms)
        of_forms = [array for form in model.forms for array in form]
        results.append((model.values, model.gradient, summed.gradient, *of_forms))
    for result in results[1:]:
        # To the last bit: the pieces and the order of their sums are always the same.
        for found, expected in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(found, expected)


def forms_of(descriptor):
    """A squared distance, and a distance along other directions than a few."""
    rng, shape = np.random.default_rng(8), (2, descriptor.n_features)
    centre, spread = rng.normal(size=shape), 1 + rng.random(shape)
    rows = rng.normal(size=(2, 11, shape[1]))
    few = min(9, shape[1])
    basis = [np.linalg.qr(rng.normal(size=(shape[1], few)))[0].T for _ in range(2)]
    return [
        QuadraticForm.of(centre, spread, np.array(basis), complement=True),
        QuadraticForm.of(centre, np.ones(shape), np.triu(rows), rng.normal(size=(2, 11))),
    ]


@pytest.mark.parametrize("gradient", [True, False])
def test_quadratic_forms_are_evaluated_beside_the_values(descriptor, environments, gradient):
    forms = forms_of(descriptor)
    rng = np.random.default_rng(4)
    weights = rng.normal(size=(2, descriptor.n_features))
    bent = Quadratic(weights, rng.normal(size=(2, 3, descriptor.n_features)), np.ones((2, 3)))
    for name, atoms in environments.items():
        features = descriptor.compute(atoms)
        kinds = np.array([descriptor.species.index(symbol) for symbol in atoms.symbols])
        for model in (
            lambda **wanted: descriptor.linear_model(atoms, weights, **wanted),  # noqa: B023
            lambda **wanted: descriptor.site_model(atoms, bent, **wanted),  # noqa: B023
        ):
            plain = model(gradient=gradient)
            found = model(gradient=gradient, forms=forms)
            np.testing.assert_array_equal(found.values, plain.values)
            if gradient:
                np.testing.assert_array_equal(found.gradient, plain.gradient)
            for form, (values, sums) in zip(forms, found.forms, strict=True):
                y = (features - form.centre[kinds]) * form.inverse_spread[kinds]
                size = np.square(y).sum(axis=1).max()
                expected = form(features, kinds)
                np.testing.assert_allclose(values, expected, rtol=1e-11, atol=1e-12 * size)
                of_kinds = [y[kinds == z].sum(axis=0) for z in range(2)]
                np.testing.assert_allclose(sums, of_kinds, atol=1e-11 * np.sqrt(size), err_msg=name)


def test_an_upper_bound_is_enough_below_a_limit(descriptor, carbide):
    atoms = carbide * (2, 2, 1)
    form, weights = forms_of(descriptor)[0], np.zeros((2, descriptor.n_features))

    def values(enough):
        wanted = [form._replace(enough=enough)]
        return descriptor.linear_model(atoms, weights, gradient=False, forms=wanted).forms[0].values

    exact = values(-np.inf)
    stops = 0
    for enough in np.quantile(exact, [0.0, 0.3, 0.9, 1.0]) * 1.5:
        bound = values(float(enough))
        np.testing.assert_array_equal(bound[exact > enough], exact[exact > enough])
        assert np.all(bound >= exact)
        assert np.all(bound[exact <= enough] <= enough)
        stops += np.sum(bound > exact)
    assert stops > 0 or descriptor.n_features < 9


def test_dictionary_round_trip(descriptor, carbide):
    again = descriptor_from_dict(descriptor.to_dict())
    np.testing.assert_array_equal(again.compute(carbide), descriptor.compute(carbide))
    with pytest.raises(InvalidInputError, match="descriptor"):
        descriptor_from_dict({"name": "SOAP"})
    with pytest.raises(InvalidInputError, match="colour"):
        descriptor_from_dict({**descriptor.to_dict(), "colour": 3})


def test_bad_structures_get_one_clear_sentence(descriptor):
    two = Atoms("Si2", positions=[[0, 0, 0], [0, 0, 2.0]])
    with pytest.raises(UnknownSpeciesError, match="Ge"):
        descriptor.compute(Atoms("SiGe", positions=two.positions))
    with pytest.raises(InvalidStructureError, match="no atom has a neighbour"):
        descriptor.compute(Atoms("Si2", positions=[[0, 0, 0], [0, 0, 50.0]]))
    twins = Atoms("Si3", positions=[[0, 0, 0], [0, 0, 2.0], [0, 0, 2.0]])
    weights = np.ones((2, descriptor.n_features))
    for call in (
        descriptor.compute,
        descriptor.compute_with_gradients,
        descriptor.compute_site_gradients,
        lambda atoms: descriptor.linear_model(atoms, weights),
        lambda atoms: descriptor.site_model(atoms, lambda features, _: 1 / 0),
    ):
        with pytest.raises(InvalidStructureError, match="one spot"):
            call(twins)
    with pytest.raises(InvalidStructureError, match="NaN"):
        descriptor.compute(Atoms("Si2", positions=[[0, 0, 0], [0, 0, np.nan]]))
    with pytest.raises(InvalidStructureError, match="cell vectors"):
        descriptor.compute(Atoms("Si2", positions=two.positions, pbc=True))
    with pytest.raises(InvalidStructureError, match="empty"):
        descriptor.compute(Atoms())


def test_site_gradients_against_finite_differences(descriptor, carbide):
    """Which site changes when atom 2 moves along y, not only their sum."""
    found = descriptor.compute_site_gradients(carbide)[:, 2, 1]
    step = 1e-4
    moved = []
    for sign in (1, -1):
        copy = carbide.copy()
        copy.positions[2, 1] += sign * step
        moved.append(descriptor.compute(copy))
    expected = (moved[0] - moved[1]) / (2 * step)
    np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(expected).max())


def test_quadratic_model_against_finite_differences(descriptor, carbide):
    rng = np.random.default_rng(6)
    n = descriptor.n_features
    scale = np.abs(descriptor.compute(carbide)).max(axis=0)
    scale = np.maximum(scale, 1e-3 * scale.max())  # some hardly occur
    matrices = rng.normal(size=(2, n, n)) / np.outer(scale, scale)
    readout = Quadratic.from_matrices(rng.normal(size=(2, n)) / scale, matrices)
    features = descriptor.compute(carbide)
    species = np.array([0 if s == "Si" else 1 for s in carbide.get_chemical_symbols()])
    found = descriptor.site_model(carbide, readout)
    expected = np.einsum("if,if->i", features, readout.weights[species])
    expected += np.einsum("if,ifg,ig->i", features, matrices[species], features)
    size = np.abs(expected).max()
    np.testing.assert_allclose(found.values, expected, atol=1e-9 * size)
    step = 1e-5
    for atom, axis in ((0, 0), (3, 2)):
        moved = []
        for sign in (1, -1):
            copy = carbide.copy()
            copy.positions[atom, axis] += sign * step
            moved.append(descriptor.site_model(copy, readout, gradient=False).values.sum())
        numeric = (moved[0] - moved[1]) / (2 * step)
        assert found.gradient[atom, axis] == pytest.approx(numeric, rel=1e-5, abs=1e-6 * size)


def test_low_rank_keeps_the_largest_curvatures():
    matrix = np.diag([0.5, -3.0, 2.0, 0.1])[None]
    model = Quadratic.from_matrices(np.zeros((1, 4)), matrix, rank=2)
    np.testing.assert_allclose(model.curvatures, [[-3.0, 2.0]])
    values, slopes = model(np.ones((1, 4)), np.zeros(1, dtype=int))
    np.testing.assert_allclose(values, [-1.0])
    np.testing.assert_allclose(slopes, [[0.0, -6.0, 4.0, 0.0]], atol=1e-14)
    with pytest.raises(InvalidInputError, match="factors"):
        Quadratic(np.zeros((1, 4)), np.zeros((1, 2, 3)), np.zeros((1, 2)))


def test_atoms_may_have_any_number_of_neighbours(descriptor):
    """From none to 300, past every boundary of the kernels' blocks: sums of site values."""
    rng = np.random.default_rng(7)
    weights = rng.normal(size=(2, descriptor.n_features))
    for count in (1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 300):
        # A dense cluster around an atom: its value from features computed atom by atom.
        directions = rng.normal(size=(count, 3))
        directions /= np.linalg.norm(directions, axis=1)[:, None]
        shell = directions * rng.uniform(1.0, 3.9, size=(count, 1))
        atoms = Atoms("Si" + "C" * count, positions=[[0, 0, 0], *shell])
        if np.min(atoms.get_all_distances() + 9 * np.eye(count + 1)) < 0.3:
            continue
        model = descriptor.linear_model(atoms, weights)
        features = descriptor.compute(atoms)
        species = np.array([0] + [1] * count)
        expected = np.einsum("if,if->i", features, weights[species])
        np.testing.assert_allclose(model.values, expected, atol=1e-10 * np.abs(expected).max())
        np.testing.assert_allclose(
            model.gradient.sum(axis=0), 0, atol=1e-9 * np.abs(model.gradient).max()
        )


def test_weights_and_readouts_of_wrong_shape_are_refused(descriptor, carbide):
    n = descriptor.n_features
    for wrong in (np.ones((1, n)), np.ones((3, n)), np.ones((2, n + 1)), np.ones(n)):
        with pytest.raises(InvalidInputError, match="weights"):
            descriptor.linear_model(carbide, wrong)
    for readout, message in (
        (lambda features, _: (1.0, np.ones_like(features)), "values"),
        (lambda features, _: (features.sum(axis=1), np.ones((1, 3))), "slopes"),
        (Quadratic(np.ones((1, n)), np.zeros((1, 0, n)), np.zeros((1, 0))), "weights"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            descriptor.site_model(carbide, readout)
    with pytest.raises(InvalidInputError, match="weights"):
        Quadratic([1.0, 2.0], [[1.0]], [1.0])


def test_channels_that_the_kernels_could_not_find_are_refused(carbide):
    wrong = AFS(["Si", "C"], cutoff=4.0, n_max=2, l_max=2)
    wrong.__dict__["_tables"] = AFS(["Si", "C"], n_max=3, l_max=2)._tables
    with pytest.raises(InvalidInputError, match="channels"):
        wrong.compute(carbide)


@pytest.mark.parametrize("make", [ACE, PairFunctions, Scattering])
@pytest.mark.parametrize("species", [["Si"], ["C", "O", "Cu"], ["O", "Si", "Cu"]])
def test_default_lengths_are_printed_in_few_digits(make, species):
    assert not re.search(r"\d\.\d{10}", repr(make(species)))
