"""Bispectrum against matrix exponentials and couplings by ladder operators."""

import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list
from scipy.linalg import expm, null_space

from ase_vibent import Bispectrum
from ase_vibent.errors import InvalidInputError


def spin(j):
    """Matrices of J_x, J_y, J_z, m = j … -j."""
    m = np.arange(j, -j - 1, -1)
    up = np.diag(np.sqrt(j * (j + 1) - m[1:] * (m[1:] + 1)), 1)
    return np.array([(up + up.T) / 2, (up - up.T) / 2j, np.diag(m)])


def coupled_states(j1, j):
    """States of total spin j of two spins j1, columns m = j … -j: lowered from the highest."""
    one = np.eye(int(2 * j1) + 1)
    x, y, z = (np.kron(s, one) + np.kron(one, s) for s in spin(j1))
    top = null_space(np.vstack([x + 1j * y, z - j * np.eye(len(z))]))
    states = [top[:, 0]]
    for _ in range(int(2 * j)):
        lowered = (x - 1j * y) @ states[-1]
        states.append(lowered / np.linalg.norm(lowered))
    return np.array(states).T


def expected_features(bispectrum, vectors):
    """Components of one atom from the vectors to its neighbours."""
    r = np.linalg.norm(vectors, axis=1)
    envelope = (1 + np.cos(np.pi * r / bispectrum.cutoff)) / 2
    angles = 2 * bispectrum.rfac0 * np.pi / bispectrum.cutoff * vectors

    def density(j):
        total = np.eye(int(2 * j) + 1, dtype=complex)
        for weight, angle in zip(envelope, angles, strict=True):
            total += weight * expm(-1j * np.einsum("a,amn->mn", angle, spin(j)))
        return total

    densities = {j: density(j) for j in np.arange(2 * bispectrum.j_max + 1) / 2}
    values = []
    for j1, j in bispectrum.components:
        states, own = coupled_states(j1, j), densities[j1]
        coupled = states.conj().T @ np.kron(own, own) @ states
        value = np.vdot(densities[j], coupled)
        assert abs(value.imag) < 1e-10 * abs(value)
        values.append(value.real - (2 * j + 1))
    return values


@pytest.mark.parametrize(
    ("bispectrum", "count"),
    [
        (Bispectrum(["C", "Si"], cutoff=3.3, j_max=2.5), 30),
        (Bispectrum(["*"], cutoff=3.3), 26),
        (Bispectrum(["*"], cutoff=3.3, j_max=4), 35),
    ],
    ids=["two species", "P2", "P3"],
)
def test_components_by_ladder_operators(bispectrum, count, rattle):
    atoms = rattle(bulk("SiC", "zincblende", a=4.36, cubic=True), 0.2, seed=0)
    features = bispectrum.compute(atoms)[3]
    assert features.shape == (count,)
    i, j, vectors = neighbor_list("ijD", atoms, bispectrum.cutoff)
    parts = np.split(features, len(bispectrum.species))
    for symbol, found in zip(bispectrum.species, parts, strict=True):
        own = (i == 3) & ((symbol == "*") | (np.array(atoms.get_chemical_symbols())[j] == symbol))
        expected = expected_features(bispectrum, vectors[own])
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_all_neighbours_may_be_of_one_density(rattle):
    atoms = rattle(bulk("SiC", "zincblende", a=4.36, cubic=True), 0.2, seed=0)
    merged = Bispectrum(["Si", "C"], cutoff=3.3, j_max=1.5, neighbours=["*"])
    renamed = atoms.copy()
    renamed.symbols[:] = "Si"
    alone = Bispectrum(["Si"], cutoff=3.3, j_max=1.5)
    np.testing.assert_allclose(merged.compute(atoms), alone.compute(renamed), rtol=1e-10)


@pytest.mark.parametrize(
    "wrong",
    [{"cutoff": -1.0}, {"j_max": 0}, {"j_max": 1.3}, {"rfac0": 1.1}, {"species": []}],
)
def test_bad_hyperparameters_are_named(wrong):
    with pytest.raises(InvalidInputError, match=next(iter(wrong))):
        Bispectrum(**{"species": ["Si"], **wrong})
