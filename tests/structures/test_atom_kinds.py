"""Which atoms symmetry may take for each other: those that no array tells apart."""

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given
from hypothesis import strategies as st

from ase_vibent.structures import divacancies, label_sublattices, vacancies
from ase_vibent.structures.symmetry import (
    atom_kinds,
    defect_multiplicity,
    has_directions,
    inequivalent_atoms,
    n_primitive_cells,
)

CRYSTAL = bulk("Cu", cubic=True) * 2
#: Layers along z, one up and one down: L1_0.
LAYERS = np.rint(CRYSTAL.positions[:, 2] / 1.805).astype(int) % 2


def marked(name, values):
    atoms = CRYSTAL.copy()
    atoms.set_array(name, np.asarray(values))
    return atoms


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("initial_charges", 0.15 * (-1.0) ** LAYERS),
        ("initial_magmoms", 2.0 * LAYERS + 1),
        ("tags", LAYERS),
        ("type", LAYERS + 1),
        ("mmcharges", 1e-21 * LAYERS),
        ("masses", 63.0 + 2 * LAYERS),
        ("spin_up", LAYERS == 1),
        ("castep_labels", np.array(["a", "b"])[LAYERS]),
        ("anything", np.array([None, "b"], dtype=object)[LAYERS]),
        ("undefined", np.where(LAYERS, np.nan, 1.0)),
    ],
)
def test_any_array_tells_atoms_apart(name, values):
    crystal = marked(name, values)
    assert len(vacancies(crystal)) == len(inequivalent_atoms(crystal)) == 2
    assert n_primitive_cells(crystal) == 16
    assert [defect_multiplicity(defect, crystal) for defect in vacancies(crystal)] == [1, 1]
    assert len(np.unique(label_sublattices(crystal, crystal).arrays["sublattices"])) == 2
    # Along z, in either layer, across: four, four and eight of the twelve neighbours, shared.
    multiplicities = [defect_multiplicity(pair, crystal) for pair in divacancies(crystal)]
    assert sorted(multiplicities) == [2, 2, 8]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("initial_charges", np.full(32, 0.15)),
        ("initial_charges", 0.15 + 1e-17 * np.arange(32)),
        ("tags", np.zeros(32, dtype=int)),
        ("momenta", np.random.default_rng(0).normal(size=(32, 3))),
        ("id", np.arange(32)),
        ("vibent_entropies", np.random.default_rng(0).normal(size=32)),
        ("spacegroup_kinds", np.arange(32)),
    ],
)
def test_what_makes_no_difference_costs_no_symmetry(name, values):
    crystal = marked(name, values)
    assert len(vacancies(crystal)) == 1
    assert n_primitive_cells(crystal) == 32
    assert defect_multiplicity(divacancies(crystal)[0], crystal) == 6


def test_vectors_of_atoms_are_not_turned():
    """All alike: translations leave them as they are, rotations do not."""
    crystal = marked("dipoles", np.tile([0.0, 0.0, 1.0], (32, 1)))
    assert has_directions(crystal)
    assert n_primitive_cells(crystal) == 32
    assert len(vacancies(crystal)) == 1
    # Of twelve neighbours, two are one pair.
    assert len(divacancies(crystal)) == 6
    assert defect_multiplicity(divacancies(crystal)[0], crystal) == 1
    assert not has_directions(marked("dipoles", np.zeros((32, 3))))


@given(st.lists(st.integers(0, 3), min_size=32, max_size=32), st.permutations(range(32)))
def test_kinds_follow_the_atoms(marks, order):
    crystal = marked("marks", marks)
    kinds = atom_kinds(crystal)
    assert np.array_equal(atom_kinds(crystal[order]), kinds[order])
    same = np.equal.outer(marks, marks)
    assert np.array_equal(np.equal.outer(kinds, kinds), same)
