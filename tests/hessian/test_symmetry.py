"""Hessians from the displacements that differ by symmetry are those of all displacements."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.spacegroup import crystal
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_vibent.hessian.compute import compute_hessian
from ase_vibent.hessian.displaced import DisplacedForces
from ase_vibent.hessian.options import HessianOptions
from ase_vibent.hessian.symmetry import SymmetricDifferences
from ase_vibent.structures.operations import SymmetryOperations

STEP = 1e-3
OPTIONS = HessianOptions(method="finite-differences", displacement=STEP)
ALL = HessianOptions(method="finite-differences", displacement=STEP, symmetry=False)
COPPER = bulk("Cu", cubic=True) * (2, 2, 2)


def vacancy():
    atoms = COPPER.copy()
    del atoms[3]
    return atoms


def sheared():
    atoms = COPPER.copy()
    strain = np.array([[1.01, 0.02, 0], [0, 1, 0.03], [0, 0, 1]])
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    return atoms


def left_handed():
    atoms = COPPER.copy()
    atoms.set_cell(atoms.cell.array[[1, 0, 2]])
    return atoms


CASES = {
    "fcc": (COPPER, 2),
    "hcp": (bulk("Mg") * (3, 3, 2), 4),
    "compound": (
        crystal(
            ["Al", "Ni"], [(0, 0, 0), (0, 0.5, 0.5)], spacegroup=221, cellpar=[3.6] * 3 + [90] * 3
        )
        * (2, 2, 2),
        6,
    ),
    "vacancy": (vacancy(), 18),
    "sheared": (sheared(), 6),
    "left-handed": (left_handed(), 2),
}


@pytest.mark.parametrize("case", CASES)
def test_equals_all_displacements(case):
    atoms, n_calls = CASES[case]
    calculator = (
        LennardJones(sigma=2.8, epsilon=0.2, rc=4.6, smooth=True) if case == "hcp" else EMT()
    )
    found = SymmetricDifferences(atoms, DisplacedForces(atoms, calculator), OPTIONS)
    assert found.n_calls == n_calls
    matrix = found.hessian()
    plain = compute_hessian(atoms, calculator, options=ALL)
    # Third-order terms of other directions: step² times fourth derivatives of some 100 eV/Å⁴.
    np.testing.assert_allclose(matrix, plain, atol=1e-5 * np.abs(plain).max())
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-6 * np.abs(plain).max())


def test_translations_alone():
    """Atoms of one place in their unit cells: displaced along three axes, both ways."""
    cell = bulk("Cu", cubic=True)
    atoms, places = cell * (2, 1, 1), np.arange(8) % 4
    forces = DisplacedForces(atoms, EMT())
    found = SymmetricDifferences(atoms, forces, ALL, places)
    assert found.n_calls == 6 * len(cell)
    plain = compute_hessian(atoms, EMT(), options=ALL)
    np.testing.assert_allclose(found.hessian(), plain, atol=1e-9 * np.abs(plain).max())


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 3), st.integers(1, 2), st.booleans(), st.sampled_from(["Cu", "Si", "Mg"]))
def test_operations_keep_distances(first, second, cubic, symbol):
    """Every operation permutes atoms of a kind, and turns vectors between them."""
    atoms = bulk(symbol, cubic=cubic and symbol != "Mg") * (first, second, 1)
    operations = SymmetryOperations(atoms)
    rng = np.random.default_rng(0)
    for number in rng.integers(len(operations), size=5):
        images, turn = operations.permutation(number), operations.rotation(number)
        assert sorted(images) == list(range(len(atoms)))
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-10)
        moved = (atoms.positions - atoms.positions[0]) @ turn.T
        away = atoms.cell.scaled_positions(
            atoms.positions[images] - atoms.positions[images[0]] - moved
        )
        np.testing.assert_allclose(away, np.rint(away), atol=1e-6)
    orbits = operations.orbits()
    assert sorted(atom for orbit in orbits for atom in orbit.operation_to) == list(
        range(len(atoms))
    )
