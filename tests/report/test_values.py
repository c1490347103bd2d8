"""Site values of reports are the calculator's, and differences those to the crystal."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import kB

from ase_vibent import HessianEntropyCalculator, SiteEntropyCalculator, show
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.report.scene import Scene, SiteQuantity
from ase_vibent.report.site_values import site_values
from ase_vibent.structures import rattle

pytestmark = pytest.mark.filterwarnings("ignore::ase_vibent.errors.ExtrapolationWarning")


@pytest.fixture
def surrogate() -> SiteEntropyCalculator:
    return SiteEntropyCalculator.from_pretrained("si-sw", temperature=600)


@pytest.fixture
def vacancy(silicon, rattle) -> Atoms:
    atoms = rattle(silicon, 0.1, 0)
    del atoms[5]
    return atoms


def test_a_models_crystal_and_a_given_one_are_one(surrogate, silicon, vacancy):
    own = site_values(vacancy, surrogate)
    for crystal in (silicon, bulk("Si", "diamond", a=5.431, cubic=True)):
        beside = site_values(vacancy, surrogate, crystal)
        np.testing.assert_allclose(beside.differences, own.differences, rtol=0, atol=1e-9 * kB)
    np.testing.assert_array_equal(own.entropies, surrogate.get_property("entropies", vacancy))
    whole = surrogate.get_property("entropy", silicon)
    expected = surrogate.get_property("entropy", vacancy) - whole * len(vacancy) / len(silicon)
    assert own.differences.sum() == pytest.approx(expected, abs=1e-9 * kB)
    names = [quantity.name for quantity in own.quantities]
    assert names == [
        "difference to the crystal",
        "site entropy",
        "standard deviation",
        "extrapolation grade",
    ]


def test_sublattices_are_told_apart():
    """In a compound an atom is compared with its own site, a foreign one with its own species."""
    crystal = bulk("CuAu", "cesiumchloride", a=3.1) * (2, 2, 2)
    exact = HessianEntropyCalculator(EMT(), unstable="any", mesh="gamma", bulk_width=6.0)
    entropies = exact.get_property("entropies", crystal)
    moved = rattle(crystal, 0.02, 1)[0]
    moved = moved[np.random.default_rng(0).permutation(len(moved))]
    found = site_values(moved, exact, crystal)
    of_species = {z: entropies[crystal.numbers == z].mean() for z in set(crystal.numbers)}
    usual = np.array([of_species[z] for z in moved.numbers])
    np.testing.assert_allclose(found.differences, found.entropies - usual, atol=1e-9 * kB)
    assert found.entropies_std is None
    antisite = crystal.copy()
    antisite.numbers[0] = 47  # silver, of which the crystal has none
    unknown = site_values(antisite, exact, crystal)
    assert np.flatnonzero(np.isnan(unknown.differences)).tolist() == [0]


def test_quantum_values_have_no_crystal_of_their_own(silicon):
    quantum = SiteEntropyCalculator.from_pretrained("si-sw", quantum=True)
    assert site_values(silicon, quantum).differences is None
    beside = site_values(silicon, quantum, silicon)
    np.testing.assert_allclose(beside.differences, 0, atol=1e-9 * kB)


@pytest.mark.parametrize(
    ("atoms", "calculator", "error", "words"),
    [
        (Atoms(), None, InvalidStructureError, "empty"),
        (Atoms("Si", positions=[[np.nan, 0, 0]]), None, InvalidStructureError, "NaN"),
        (bulk("Si"), EMT(), InvalidInputError, "expected one of entropies.*EMT"),
        (bulk("Cu"), None, ValueError, "Cu"),
        (Atoms("Si"), None, InvalidStructureError, "no atom has a neighbour"),
    ],
)
def test_what_has_no_entropies_is_named(surrogate, atoms, calculator, error, words):
    with pytest.raises(error, match=words):
        show(atoms, surrogate if calculator is None else calculator)


def test_crystals_are_for_periodic_structures(surrogate, silicon):
    cluster = Atoms(silicon.symbols, silicon.positions)
    assert site_values(cluster, surrogate).differences.shape == (len(cluster),)
    with pytest.raises(InvalidStructureError, match="periodic along three directions"):
        site_values(cluster, surrogate, silicon)


def _scene(atoms: Atoms, values: np.ndarray, **options: int) -> Scene:
    return Scene("some", atoms, (SiteQuantity("difference", "k_B", values, True),), **options)


def test_of_many_atoms_those_that_stand_out_are_drawn(silicon):
    crystal = silicon * (4, 8, 8)
    values = np.zeros(len(crystal))
    values[[0, 300]] = -2.0, 1.0
    scene = _scene(crystal, values, most=100)
    assert len(scene.shown) == 100
    assert {0, 300} <= set(scene.shown)
    assert scene.order[0] == 0
    assert f"100 of {len(crystal)}" in scene.remark
    # Around atom 0, at the corner of the cell, the drawn atoms are close together.
    seeds = np.zeros(len(crystal))
    seeds[0] = 1.0
    few = _scene(crystal, seeds, most=101)
    assert np.all(crystal.get_distances(0, few.shown[few.shown > 0], mic=True) < crystal.cell[0, 0])
    np.testing.assert_allclose(few.places[0], crystal.positions[0], atol=1e-9)


@pytest.mark.parametrize("pbc", [True, (True, False, True), False])
def test_distances_are_those_of_nearest_images(vacancy, pbc):
    skewed = vacancy.copy()
    skewed.cell[1:] += np.array([[9.0, 0, 0], [-4.0, 3.0, 0]])
    skewed.pbc = pbc
    found = _scene(skewed, np.zeros(len(skewed))).distances(np.array([3]))
    expected = skewed.get_distances(3, range(len(skewed)), mic=True)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_places_are_images_and_all_are_drawn(vacancy):
    scene = _scene(vacancy, np.arange(len(vacancy)) - 3.0)
    steps = (scene.places - vacancy.positions) @ np.linalg.inv(vacancy.cell.array)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-9)
    assert scene.remark == ""
    assert scene.corners.shape == (8, 3)


@pytest.mark.parametrize("values", [[np.nan] * 15, [0.0] * 15, [1e-17] * 15])
def test_colours_of_nothing(vacancy, values):
    quantity = SiteQuantity("difference", "k_B", np.array(values), True, least=1e-4)
    assert quantity.limits == (-1e-4, 1e-4)
    assert np.all(quantity.strengths < 1e-9)
    assert _scene(vacancy, np.array(values)).data()["quantities"][0]["values"][0] in (
        None,
        values[0],
    )
