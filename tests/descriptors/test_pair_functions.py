import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from ase_vibent.cli.shared.descriptors import descriptor_text
from ase_vibent.descriptors import (
    ACE,
    AFS,
    Joined,
    PairFunctions,
    Scattering,
    collapse,
    descriptor_from_dict,
    descriptor_from_text,
    rescaled,
    with_degree,
)
from ase_vibent.errors import InvalidInputError


def features(descriptor, distances):
    """Of an atom with a single neighbour."""
    return np.array(
        [descriptor.compute(Atoms("Si2", positions=[[0, 0, 0], [0, 0, r]]))[0] for r in distances]
    )


@given(spacing=st.floats(0.09, 0.6), inner=st.floats(0.5, 2.0), seed=st.integers(0, 1000))
@settings(max_examples=6, deadline=None)
def test_cubic_functions_are_b_splines(spacing, inner, seed):
    """Those of SciPy on even knots, the innermost one in place of all that end before it."""
    cutoff = 4.3
    pairs = PairFunctions(["Si"], cutoff=cutoff, spacing=spacing, inner=inner)
    count = round(cutoff / spacing)
    h = cutoff / count
    r = np.random.default_rng(seed).uniform(inner, cutoff - 1e-3, 5)
    element = BSpline.basis_element(np.arange(5), extrapolate=False)
    every = np.nan_to_num(element((cutoff - r)[:, None] / h - np.arange(count)))[:, ::-1]
    own = features(pairs, r)
    n = pairs.n_features
    np.testing.assert_allclose(own[:, 1:], every[:, 1 - n :], atol=1e-13)
    np.testing.assert_allclose(own[:, 0], every[:, : 1 - n].sum(axis=1), atol=1e-13)
    whole = r < cutoff - 3 * h
    np.testing.assert_allclose(own[whole].sum(axis=1), 1, atol=1e-13)


def test_pairs_closer_than_the_inner_distance_are_alike():
    pairs = PairFunctions(["Si"], cutoff=4.0, spacing=0.2, inner=2.0)
    close = features(pairs, [0.5, 1.2])
    np.testing.assert_allclose(close, [[1, *[0] * (pairs.n_features - 1)]] * 2, atol=1e-13)


def test_linear_functions_bend_at_knots_only():
    pairs = PairFunctions(["Si"], cutoff=4.0, spacing=0.25, degree=1, inner=1.0)
    weights = np.random.default_rng(0).normal(size=(1, pairs.n_features))
    cells = np.arange(1.5, 3.7, 0.25)[:, None] + [0.25 * x for x in (0.2, 0.4, 0.6, 0.8)]
    energies = features(pairs, cells.ravel()).reshape(*cells.shape, -1) @ weights[0]
    np.testing.assert_allclose(np.diff(energies, 2, axis=1), 0, atol=1e-13)
    slopes = np.diff(energies, axis=1)[:, 0] / 0.05
    assert np.abs(np.diff(slopes)).min() > 1e-3
    # The model's own gradient is that slope.
    atoms = Atoms("Si2", positions=[[0, 0, 0], [0, 0, cells[2, 1]]])
    gradient = pairs.linear_model(atoms, weights).gradient[1, 2]
    assert gradient == pytest.approx(2 * slopes[2], rel=1e-10)


def test_sums_of_pairs_of_any_atom_types(rattle):
    """Of sublattices, and of neighbours of other types than the sites."""
    atoms = rattle(bulk("SiC", "zincblende", a=4.36, cubic=True), 0.2, seed=0)
    rng = np.random.default_rng(1)
    for species, neighbours in ((["Si", "C"], ["*"]), (["*"], ["C", "Si"]), (["C", "Si"], None)):
        pairs = PairFunctions(species, cutoff=4.0, spacing=0.3, inner=1.5, neighbours=neighbours)
        weights = rng.normal(size=(len(species), pairs.n_features))
        kinds = [species.index(s) if s in species else 0 for s in atoms.symbols]
        expected = np.einsum("if,if->i", pairs.compute(atoms), weights[kinds])
        np.testing.assert_allclose(pairs.linear_model(atoms, weights).values, expected, rtol=1e-11)


@pytest.mark.parametrize(
    "wrong",
    [{"spacing": 0}, {"spacing": 1.5}, {"spacing": 1e-3}, {"degree": 4}, {"degree": 0},
     {"degree": 1.5}, {"inner": 4.9}, {"inner": -1}, {"cutoff": np.inf}],
)  # fmt: skip
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(InvalidInputError, match=next(iter(wrong))) as error:
        PairFunctions(["Si"], **wrong)
    with pytest.raises(InvalidInputError, match="inner: expected"):
        PairFunctions(["*"], cutoff=4.0)
    assert "expected" in str(error.value)


def test_joined_features_stand_side_by_side(rattle):
    atoms = rattle(bulk("SiC", "zincblende", a=4.36, cubic=True), 0.2, seed=0)
    parts = [
        PairFunctions(["Si", "C"], cutoff=4.5, spacing=0.3),
        AFS(["Si", "C"], cutoff=3.0, n_max=2, l_max=2),
        ACE(["Si", "C"], cutoff=3.5, order=2, degree=4),
    ]
    joined = parts[0] + (parts[1] + parts[2])
    assert isinstance(joined, Joined)
    assert joined.parts == tuple(parts)
    assert joined.cutoff == 4.5
    np.testing.assert_allclose(
        joined.compute(atoms), np.hstack([part.compute(atoms) for part in parts]), rtol=1e-13
    )
    assert joined.roughness(2).shape == (joined.n_features,)
    assert descriptor_from_dict(joined.to_dict()) == joined
    again = descriptor_from_text(descriptor_text(joined.to_dict()), species=("Si", "C"))
    assert again == joined
    assert collapse(joined, "nothing").species == ("*",)
    assert [part.cutoff for part in rescaled(joined, 1.2).parts] == [5.4, 3.6, 4.2]
    larger = with_degree(joined, lambda degree: degree + 1)
    assert larger.parts == (*parts[:2], ACE(["Si", "C"], cutoff=3.5, order=2, degree=5))
    for smaller in (parts[0], parts[1] + parts[2], joined):
        own = larger.features_within(smaller)
        np.testing.assert_allclose(
            np.sort(larger.compute(atoms)[:, own]), np.sort(smaller.compute(atoms)), atol=1e-9
        )
    assert larger.features_within(parts[2] + parts[0]) is None


def test_what_cannot_be_joined_is_refused():
    silicon = ACE(["Si"], order=1, degree=4)
    for parts, message in (
        ([], "got none"),
        ([silicon, Scattering(["Si"])], "got Scattering"),
        ([silicon, PairFunctions(["Ge"])], "same species, got Si and Ge"),
        ([silicon, PairFunctions(["Si"], neighbours=["*"])], "same neighbour species"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            Joined(parts)
    for data in ({"name": "Joined", "parts": ["ACE", 3]}, {"name": "Joined", "parts": 3}, "ACE", 3):
        with pytest.raises(InvalidInputError, match="descriptor"):
            descriptor_from_dict(data)
    for text in ("ACE() + ", "ACE() - AFS()", "ACE() + 3", "ACE() + SOAP()", "+ACE()"):
        with pytest.raises(InvalidInputError, match="descriptor: expected"):
            descriptor_from_text(text, species=["Si"])
