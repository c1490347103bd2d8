"""Plane waves of a primitive cell are the modes of its supercells."""

import numpy as np
import pytest
from ase.build import bulk, fcc111, make_supercell
from ase.calculators.emt import EMT
from ase.spacegroup import crystal
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_vibent.harmonic.bloch import translations
from ase_vibent.harmonic.mesh_system import MeshSystem
from ase_vibent.harmonic.modes import solve_modes
from ase_vibent.harmonic.rigid_motions import RigidComplement
from ase_vibent.hessian.compute import compute_hessian

NI3AL = crystal(
    ["Al", "Ni"], [(0, 0, 0), (0, 0.5, 0.5)], spacegroup=221, cellpar=[3.6] * 3 + [90] * 3
)
COPPER = bulk("Cu", cubic=True) * (2, 2, 2)


def heavy(numbers):
    atoms = COPPER.copy()
    masses = atoms.get_masses()
    masses[numbers] *= 1.1
    atoms.set_masses(masses)
    return atoms


CASES = {
    "fcc": (COPPER, 32),
    "primitive": (bulk("Cu") * (3, 2, 2), 12),
    "narrow": (bulk("Cu", cubic=True) * (2, 1, 1), 8),
    "compound": (NI3AL * (2, 1, 1), 2),
    "slab": (fcc111("Cu", (3, 2, 3), vacuum=10, periodic=False), 6),
    "isotopes, ordered": (heavy(slice(None, None, 4)), 8),
    "oblique": (make_supercell(bulk("Cu"), [[2, 1, 0], [0, 2, 1], [-1, 0, 2]]), 7),
}


@pytest.mark.filterwarnings("ignore::ase_vibent.errors.NarrowCellWarning")
@pytest.mark.parametrize("case", CASES)
def test_modes_are_those_of_the_whole_matrix(case):
    atoms, n_translations = CASES[case]
    hessian = compute_hessian(atoms, EMT())
    system = MeshSystem(atoms, hessian, [3 if p else 1 for p in atoms.pbc], unstable="any")
    found = system._translations
    assert len(found.images) == n_translations
    for number, modes in enumerate(system.modes):
        matrix = system._matrix(number, True)
        whole = solve_modes(matrix, RigidComplement(np.empty((len(matrix), 0))), unstable="any")
        scale = whole.eigenvalues[-1]
        # Of a slab in plain differences, and of images on borders, translations hold to 1e-9.
        np.testing.assert_allclose(modes.eigenvalues, whole.eigenvalues, atol=1e-9 * scale)
        own = modes.eigenvectors
        np.testing.assert_allclose(own.conj().T @ own, np.eye(len(matrix)), atol=1e-12)
        np.testing.assert_allclose(
            (own * modes.eigenvalues) @ own.conj().T, matrix, atol=1e-8 * scale
        )


def test_what_is_no_lattice_has_none():
    vacancy = COPPER.copy()
    del vacancy[3]
    rattled = COPPER.copy()
    rattled.rattle(1e-3, seed=0)
    kinds = np.ones(32, dtype=int)
    odd = kinds.copy()
    odd[5] = 2
    assert translations(vacancy, kinds[:-1]) is None
    assert translations(rattled, kinds) is None
    assert translations(COPPER, odd) is None
    assert len(translations(COPPER, kinds).images) == 32


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from([3e-7, 1.5e-6, 5e-6, 2e-5]),
    st.floats(-1, 1),
    st.booleans(),
)
def test_nearly_symmetric_cells_have_all_translations_or_none(seed, noise, shift, one):
    """Positions of files are rounded, atoms lie on borders of the cell."""
    atoms = COPPER.copy()
    rng = np.random.default_rng(seed)
    moves = rng.normal(scale=noise, size=(1 if one else 32, 3))
    atoms.positions[: len(moves)] += moves
    atoms.positions += shift
    found = translations(atoms, np.ones(32, dtype=int))
    if found is not None:
        assert 32 % len(found.images) == 0
        assert len(found.characters) == len(found.images)
        matrix = rng.normal(size=(96, 96))
        assert found.modes(matrix + matrix.T, np.array([0.5, 0.25, 0.0])) is None
    elif not one and noise < 1e-6:
        pytest.fail("noise far below the precision of positions hides no lattice")


def test_oblique_cells_of_many_primitive_ones():
    """Cyclic along every vector: as many waves as translations, not their third power."""
    atoms = make_supercell(bulk("Cu"), [[6, 1, 0], [0, 7, 1], [1, 0, 8]])
    found = translations(atoms, np.ones(len(atoms), dtype=int))
    assert found.characters.shape == (337, 337)
    waves = np.exp(2j * np.pi / 337 * found.characters)
    np.testing.assert_allclose(waves @ waves.conj().T / 337, np.eye(337), atol=1e-10)


def test_a_matrix_without_the_translations_is_left_to_others():
    """Positions may be those of a lattice where forces are not: then there is no such answer."""
    found = translations(COPPER, np.ones(32, dtype=int))
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(96, 96))
    assert found.modes(matrix + matrix.T, np.array([0.25, 0.25, 0.25])) is None
