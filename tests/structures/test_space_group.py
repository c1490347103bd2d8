"""Space groups of defects by their surroundings: what spglib finds, and what is there."""

import numpy as np
import pytest
import spglib
from ase import Atom
from ase.build import bulk

from ase_vibent.structures.operations import SymmetryOperations
from ase_vibent.structures.space_group import group_by_surroundings
from ase_vibent.structures.symmetry import atom_kinds, symmetry_dataset

CRYSTALS = {
    "diamond": bulk("Si", cubic=True) * 2,
    "bcc": bulk("Fe", cubic=True) * 3,
    "hcp": bulk("Mg") * 3,
    "zincblende": bulk("CdTe", "zincblende", a=6.5, cubic=True) * 2,
    "primitive": bulk("Cu") * 4,
}


def breathe(atoms):
    """As relaxation around the first atom would, which keeps its symmetry."""
    vectors = atoms.get_distances(0, range(len(atoms)), mic=True, vector=True)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    atoms.positions += 0.1 * vectors * np.maximum(1 - lengths / 3, 0)


def vacancy(atoms):
    breathe(atoms)
    del atoms[0]


def divacancy(atoms):
    del atoms[[0, 1]]


def interstitial(atoms):
    atoms.append(Atom(atoms.symbols[0], atoms.positions[0] + [0.6, 0.9, 0.3]))


def dumbbell(atoms):
    atoms.append(Atom(atoms.symbols[0], atoms.positions[0] + [0.5, 0, 0]))
    atoms.positions[0] -= [0.5, 0, 0]


def substitution(atoms):
    atoms.symbols[3] = "Au"
    breathe(atoms)


def strain(atoms):
    vacancy(atoms)
    atoms.set_cell(atoms.cell * [1, 1, 1.01], scale_atoms=True)


def skew(atoms):
    """The same structure by other vectors of its cell."""
    vacancy(atoms)
    cell = atoms.cell.array
    cell[2] += cell[0] - 2 * cell[1]
    atoms.set_cell(cell)


def spin(atoms):
    vacancy(atoms)
    moments = np.zeros((len(atoms), 3))
    moments[4] = 1, 0, 0
    atoms.set_array("moments", moments)


CHANGES = [vacancy, divacancy, interstitial, dumbbell, substitution, strain, skew, spin]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", CRYSTALS)
def test_the_operations_of_spglib(name, change):
    atoms = CRYSTALS[name].copy()
    change(atoms)
    atoms.positions += [0.3, -8.1, 2.2]
    expected = symmetry_dataset(atoms, 1e-5)
    turned = change is not spin
    found = group_by_surroundings(atoms, atom_kinds(atoms), 1e-5, turned=turned)
    assert len(found.rotations) == len(expected.rotations)
    for rotation, shift in zip(found.rotations, found.translations, strict=True):
        own = np.all(expected.rotations == rotation, axis=(1, 2))
        distance = expected.translations[own] - shift
        assert np.linalg.norm(distance - np.round(distance), axis=1).min() < 1e-5
    np.testing.assert_array_equal(found.equivalent_atoms, expected.equivalent_atoms)


@pytest.mark.parametrize("name", CRYSTALS)
def test_translations_are_left_to_spglib(name):
    atoms = CRYSTALS[name]
    assert group_by_surroundings(atoms, atom_kinds(atoms), 1e-5) is None
    assert len(SymmetryOperations(atoms)) == len(symmetry_dataset(atoms, 1e-5).rotations)


@pytest.mark.parametrize("name", CRYSTALS)
def test_atoms_within_the_tolerance_keep_the_symmetry(name):
    """Where spglib, which lets one atom decide, may lose it."""
    atoms = CRYSTALS[name].copy()
    vacancy(atoms)
    symmetric = group_by_surroundings(atoms, atom_kinds(atoms), 1e-5)
    moves = np.random.default_rng(0).normal(size=(len(atoms), 3))
    atoms.positions += 0.004 * moves / np.linalg.norm(moves, axis=1, keepdims=True)
    for symprec, expected in ((0.02, len(symmetric.rotations)), (1e-3, 1)):
        found = group_by_surroundings(atoms, atom_kinds(atoms), symprec)
        assert len(found.rotations) == expected


def test_a_defect_without_spglibs_search(monkeypatch):
    """Of a structure of hundreds of atoms, spglib sees the lattice alone."""
    atoms, seen = bulk("Cu", cubic=True) * 4, []
    vacancy(atoms)
    ask = spglib.get_symmetry_dataset
    monkeypatch.setattr(
        spglib, "get_symmetry_dataset", lambda c, **o: (seen.append(len(c[1])), ask(c, **o))[1]
    )
    assert len(SymmetryOperations(atoms)) == 48
    assert seen == [1]
