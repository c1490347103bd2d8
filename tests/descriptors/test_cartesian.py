"""Cartesian polynomials: the same functions as sums of monomials of unit vectors."""

from itertools import combinations_with_replacement, product

import numpy as np
import pytest
from ase import Atoms
from scipy.spatial.transform import Rotation

from ase_vibent.descriptors import ACE, CartesianPolynomials
from ase_vibent.descriptors.density.radial import transformed_distance

CARTESIAN = CartesianPolynomials(["Si"], cutoff=4.0, order=2, degree=4)


def environment(seed):
    """A silicon atom and five neighbours in shells of their own, so that none touch."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(5, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    radii = rng.permutation(np.linspace(1.5, 3.7, 5)) + rng.uniform(-0.1, 0.1, 5)
    return Atoms("Si6", positions=[[0, 0, 0], *directions * radii[:, None]])


def monomial_features(descriptor, atoms):
    """Σ_j R_n x^a y^b z^c / r^(a+b+c) of the first atom, and products of two of them."""
    vectors = atoms.positions[1:]
    r = np.linalg.norm(vectors, axis=1)
    basis = descriptor.radial
    x = transformed_distance(r, basis.r0, basis.power)
    radial = [basis.recursion[0, 0] * (x - basis.x_cut) ** 2, np.zeros_like(r)]
    for a, b, c in basis.recursion[1:]:
        radial.insert(0, (a * x + b) * radial[0] + c * radial[1])
    radial = radial[-2::-1]
    sums = []
    for n, powers in product(range(1, len(radial) + 1), product(range(4), repeat=3)):
        if n + sum(powers) <= descriptor.degree:
            monomial = np.prod((vectors / r[:, None]) ** powers, axis=1)
            sums.append((n + sum(powers), radial[n - 1] @ monomial))
    pairs = [
        value * other
        for (degree, value), (others, other) in combinations_with_replacement(sums, 2)
        if degree + others <= descriptor.degree
    ]
    return np.array([value for _, value in sums] + pairs)


@pytest.mark.parametrize("of_features", [True, False])
def test_both_span_the_same_functions(of_features):
    count = 3 * CARTESIAN.n_features
    environments = [environment(seed) for seed in range(count)]
    ours = np.array([CARTESIAN.compute(atoms)[0] for atoms in environments])
    monomials = np.array([monomial_features(CARTESIAN, atoms) for atoms in environments])
    basis, wanted = (ours, monomials) if of_features else (monomials, ours)
    fitted = basis @ np.linalg.lstsq(basis, wanted, rcond=1e-12)[0]
    np.testing.assert_allclose(fitted, wanted, atol=1e-9 * np.abs(wanted).max())
    assert np.linalg.matrix_rank(ours / np.linalg.norm(ours, axis=0)) == CARTESIAN.n_features


def test_rotations_map_the_space_to_itself_and_ace_is_its_invariant_part():
    environments = [environment(seed) for seed in range(3 * CARTESIAN.n_features)]
    ours = np.array([CARTESIAN.compute(atoms)[0] for atoms in environments])
    turn = Rotation.from_rotvec([0.5, 0.2, -1.4]).as_matrix()
    for atoms in environments:
        atoms.positions = atoms.positions @ turn
    turned = np.array([CARTESIAN.compute(atoms)[0] for atoms in environments])
    ace = ACE(["Si"], cutoff=4.0, order=2, degree=4, l_weight=1.0)
    invariants = np.array([ace.compute(atoms)[0] for atoms in environments])
    assert np.abs(turned - ours).max() > 0.1 * np.abs(ours).max()
    for wanted in (turned, invariants):
        fitted = ours @ np.linalg.lstsq(ours, wanted, rcond=1e-12)[0]
        np.testing.assert_allclose(fitted, wanted, atol=1e-9 * np.abs(wanted).max())
