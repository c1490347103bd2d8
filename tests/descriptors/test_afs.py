"""Angular Fourier series against the double sum over neighbours."""

import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list

from ase_vibent import AFS
from ase_vibent.descriptors.afs import jacobi_functions, orthogonal_factor
from ase_vibent.descriptors.density.radial import tabulated_basis
from ase_vibent.errors import InvalidInputError


@pytest.mark.parametrize(
    "afs",
    [AFS(["Si", "C"], cutoff=4.0, n_max=3, l_max=4), AFS(["Si", "C"], cutoff=4.5), AFS(["*"])],
    ids=["small", "as published", "any species"],
)
def test_double_sum_over_neighbours(afs, rattle):
    atoms = rattle(bulk("SiC", "zincblende", a=4.36, cubic=True), 0.3, seed=0)
    symbols = np.array(atoms.get_chemical_symbols())
    features, rotation = afs.compute(atoms), orthogonal_factor(afs.n_max)

    def radial(r):
        own = rotation @ jacobi_functions(afs.n_max, 1 - r / afs.cutoff)
        return own / np.sqrt(afs.cutoff) * (1 + np.cos(np.pi * r / afs.cutoff)) / 2

    i, j, r, vectors = neighbor_list("ijdD", atoms, afs.cutoff)
    for centre in range(len(atoms)):
        kinds = [(i == centre) & (symbols[j] == z if z != "*" else True) for z in afs.species]
        expected = []
        for x, one in enumerate(kinds):
            for other in kinds[x:]:
                directions = [vectors[k] / r[k, None] for k in (one, other)]
                theta = np.arccos(np.clip(directions[0] @ directions[1].T, -1, 1))
                for g, h in zip(radial(r[one]), radial(r[other]), strict=True):
                    expected += [g @ np.cos(l * theta) @ h for l in range(afs.l_max + 1)]
        # arccos of parallel vectors costs half of the digits, the table stays below 1e-10.
        np.testing.assert_allclose(
            features[centre], expected, rtol=1e-6, atol=1e-9 * np.abs(expected).max()
        )


def overlaps(n_max):
    a = np.arange(n_max)
    return np.sqrt(np.outer(2 * a + 5, 2 * a + 5)) / (5 + a[:, None] + a)


def test_functions_are_those_of_bartok():
    """Few functions: the square root of the overlaps is good to nine digits in doubles."""
    t = np.linspace(0, 1, 50)
    values, vectors = np.linalg.eigh(overlaps(4))
    powers = np.array([np.sqrt(2 * a + 5) * t ** (a + 2) for a in range(4)])
    expected = vectors / np.sqrt(values) @ vectors.T @ powers
    np.testing.assert_allclose(orthogonal_factor(4) @ jacobi_functions(4, t), expected, atol=1e-8)


def test_twenty_functions_are_orthonormal_and_symmetric():
    """∫ g g = 1, and ∫ φ g is S^(1/2): symmetric, positive, and S when squared."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    t, weights = (nodes + 1) / 2, weights / 2
    g = orthogonal_factor(20) @ jacobi_functions(20, t)
    np.testing.assert_allclose(g * weights @ g.T, np.eye(20), atol=1e-12)
    powers = np.array([np.sqrt(2 * a + 5) * t ** (a + 2) for a in range(20)])
    root = powers * weights @ g.T
    np.testing.assert_allclose(root, root.T, atol=1e-13)
    np.testing.assert_allclose(root @ root, overlaps(20), atol=1e-12)
    assert np.linalg.eigvalsh(root)[0] > -1e-13


def test_tables_refuse_functions_that_vary_too_fast():
    with pytest.raises(InvalidInputError, match="too fast"):
        tabulated_basis(lambda r: np.sin(300 * r)[None] * (5 - r) ** 2, cutoff=5.0)


@pytest.mark.parametrize(
    "wrong",
    [{"cutoff": 0.0}, {"n_max": 0}, {"n_max": 2.5}, {"l_max": -1}, {"species": ["Xx1"]},
     {"neighbours": []}],
)  # fmt: skip
def test_bad_hyperparameters_are_named(wrong):
    with pytest.raises(InvalidInputError, match=next(iter(wrong))):
        AFS(**{"species": ["Si"], **wrong})
