"""Sublattice labels, and models that resolve or collapse them."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.mixing import SumCalculator

from ase_vibent import ACE, SiteEntropyCalculator, train
from ase_vibent.descriptors import collapse
from ase_vibent.errors import InvalidInputError, InvalidStructureError, UnknownSpeciesError
from ase_vibent.structures import label_sublattices
from ase_vibent.structures.atom_types import SUBLATTICES, species_indices

CARBIDE = bulk("SiC", "zincblende", a=4.36, cubic=True)


def labels_of(atoms):
    return atoms.arrays[SUBLATTICES]


def test_orbits_and_sites_of_a_crystal():
    silicon = bulk("Si", "diamond", a=5.431, cubic=True)
    assert set(labels_of(label_sublattices(silicon, silicon))) == {0}
    by_site = label_sublattices(silicon, silicon, by="site")
    # Every neighbour of an atom of one sublattice is on the other.
    near = by_site.get_all_distances(mic=True) < 2.5
    np.fill_diagonal(near, False)
    labels = labels_of(by_site)
    assert set(labels) == {0, 1}
    assert all(labels[i] != labels[j] for i, j in np.argwhere(near))
    assert set(labels_of(label_sublattices(CARBIDE, CARBIDE))) == {0, 1}


def test_defective_rattled_and_shifted_cells_keep_the_crystals_labels(rattle):
    crystal = label_sublattices(CARBIDE, CARBIDE)
    perfect = crystal * (2, 2, 2)
    expected = labels_of(perfect)
    order = np.random.default_rng(0).permutation(len(perfect) - 1)
    atoms = rattle(perfect, 0.3, seed=1)
    del atoms.arrays[SUBLATTICES]
    atoms.set_cell(atoms.cell * 1.02, scale_atoms=True)
    atoms.positions += [0.4, 0.2, 0.1]
    del atoms[3]
    atoms = atoms[order]
    found = labels_of(label_sublattices(atoms, crystal))
    np.testing.assert_array_equal(found, np.delete(expected, 3)[order])


def test_interstitials_and_antisites():
    atoms = CARBIDE * (2, 2, 2)
    atoms += Atoms("C", positions=[atoms.positions[0] + [0.9, 0.9, -0.4]])
    swapped = int(np.flatnonzero(atoms.numbers == 14)[5])
    atoms.numbers[swapped] = 6
    near = label_sublattices(atoms, CARBIDE)
    own = label_sublattices(atoms, CARBIDE, interstitials="own")
    assert labels_of(near)[-1] == labels_of(near)[0]
    assert labels_of(own)[-1] == 2
    # An antisite atom is of its site's sublattice.
    assert labels_of(near)[swapped] == labels_of(near)[0] != labels_of(near)[1 + 2 * (swapped // 2)]
    np.testing.assert_array_equal(labels_of(near)[:-1], labels_of(own)[:-1])
    with pytest.raises(InvalidInputError, match="interstitials"):
        label_sublattices(atoms, CARBIDE, interstitials="none")


def test_kinds_of_sites():
    atoms = label_sublattices(CARBIDE, CARBIDE)
    by_kind = species_indices(atoms, ["C:1", "Si:0"])
    np.testing.assert_array_equal(by_kind, species_indices(atoms, ["C", "Si"]))
    np.testing.assert_array_equal(species_indices(atoms, ["*"]), 0)
    # The first that fits counts.
    np.testing.assert_array_equal(species_indices(atoms, ["Si", "*"]), atoms.numbers == 6)
    with pytest.raises(UnknownSpeciesError, match="C:1 not among"):
        species_indices(atoms, ["Si:0", "C:0"])
    del atoms.arrays[SUBLATTICES]
    with pytest.raises(InvalidStructureError, match="label_sublattices"):
        species_indices(atoms, ["Si:0", "C:1"])
    for wrong in (["Si", "Si"], ["Xx"], ["Si:a"], []):
        with pytest.raises(InvalidInputError, match="species"):
            ACE(wrong)
    with pytest.raises(InvalidInputError, match="r0"):
        ACE(["*"])


def test_neighbours_are_told_apart_as_asked(rattle):
    """Silicon by site: with one channel for both sublattices the features are the plain ones."""
    cell = bulk("Si", "diamond", a=5.431, cubic=True)
    atoms = label_sublattices(rattle(cell, 0.2, seed=2), cell, by="site")
    size = {"cutoff": 4.0, "order": 2, "degree": 6}
    plain = ACE(["Si"], **size).compute(atoms)
    merged = ACE(["Si:0", "Si:1"], neighbours=["Si"], **size)
    np.testing.assert_array_equal(merged.compute(atoms), plain)
    resolved = ACE(["Si:0", "Si:1"], **size)
    assert resolved.n_features > merged.n_features
    again = collapse(resolved, "species")
    assert again == ACE(["Si"], **size)
    np.testing.assert_array_equal(again.compute(atoms), plain)
    anything = collapse(ACE(["Si", "C"], **size), "nothing")
    assert anything.species == ("*",)
    assert anything.n_features == plain.shape[1]
    # Sums over sites by kind are those of the labels.
    weights = np.array([[1.0], [0.0]]) * np.ones(merged.n_features)
    values = merged.linear_model(atoms, weights).values
    np.testing.assert_array_equal(values != 0, labels_of(atoms) == 0)


def test_model_by_sublattice(silicon_frames, sw, silicon):
    labelled = [label_sublattices(atoms, silicon, by="site") for atoms in silicon_frames]
    descriptor = ACE(["Si:0", "Si:1"], cutoff=4.2, order=2, degree=6)
    model = train(labelled, descriptor)
    collapsed_model = train(labelled, descriptor, resolve="species")
    assert collapsed_model.species == ("Si",)
    crystal = labelled[0]
    values = model.evaluate(crystal).values
    np.testing.assert_allclose(values, values[0], atol=1e-9)
    calculator = SiteEntropyCalculator(model, extrapolation="ignore")
    atoms = labelled[1].copy()
    before = calculator.get_property("entropies", atoms)
    atoms.arrays[SUBLATTICES] = 1 - labels_of(atoms)
    after = calculator.get_property("entropies", atoms)
    assert np.abs(after - before).max() > 0  # labels count, and a change of them is seen
    # They are carried along by copies and survive beside another calculator.
    atoms.calc = SumCalculator([sw, calculator])
    moved = atoms.copy()
    moved.calc = atoms.calc
    assert moved.get_potential_energy() == atoms.get_potential_energy()
    with pytest.raises(InvalidStructureError, match="label_sublattices"):
        calculator.get_property("entropy", silicon)
    # Labelling the same atoms is all it takes.
    again = label_sublattices(silicon, silicon, by="site")
    assert calculator.get_property("entropy", again) == pytest.approx(
        SiteEntropyCalculator(model).get_property("entropy", again)
    )
