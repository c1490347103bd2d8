"""Stated errors of exact entropies against the errors themselves."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.cluster import Icosahedron
from ase.constraints import FixAtoms

from ase_vibent import HessianEntropyCalculator
from ase_vibent.harmonic.accuracy import entropy_errors
from ase_vibent.harmonic.mesh_system import MeshSystem
from ase_vibent.hessian import compute_hessian
from ase_vibent.stationary import relax
from ase_vibent.structures import vacancies


@pytest.fixture
def silicon_pair(sw) -> tuple[Atoms, Atoms]:
    crystal = bulk("Si", "diamond", a=5.431, cubic=True) * 2
    return relax(vacancies(crystal)[0], sw, fmax=1e-3), crystal


def test_the_error_of_the_mesh_covers_what_a_finer_one_changes(silicon_pair, sw):
    """Of the formation entropy, and by no more than some ten times."""
    hessians = [compute_hessian(atoms, sw) for atoms in silicon_pair]
    values, errors = {}, {}
    for mesh in ((2, 2, 2), (4, 4, 4)):
        systems = [MeshSystem(a, h, mesh) for a, h in zip(silicon_pair, hessians, strict=True)]
        values[mesh] = systems[0].entropy - systems[1].entropy
        found = [entropy_errors(a, own) for a, own in zip(silicon_pair, systems, strict=True)]
        errors[mesh] = np.array(found[0]) - np.array(found[1])
    actual = abs(values[2, 2, 2] - values[4, 4, 4])
    stated = abs(errors[2, 2, 2][0])
    assert 0.5 * actual < stated < 20 * max(actual, 1e-4)
    # Eight times the points, an eighth of the bound.
    assert abs(errors[4, 4, 4][0]) == pytest.approx(stated * 7 / 63, rel=0.2)
    # The potential is shorter than half the cell, and its Hessian is analytic.
    np.testing.assert_allclose(errors[2, 2, 2][1:], 0.0, atol=1e-6)


def test_narrow_cells_say_so():
    """EMT reaches 5.2 Å and more, half of this cell is 3.6 Å: an entry that wider cells lack."""
    parts = {}
    for width in (2, 3):
        crystal = bulk("Cu", "fcc", a=3.5898, cubic=True) * width
        atoms = vacancies(crystal)[0]
        found = []
        for structure in (atoms, crystal):
            exact = HessianEntropyCalculator(EMT(), unstable="any")
            found.append(entropy_errors(structure, exact.harmonic_system(structure)).images)
        parts[width] = abs(found[0] - found[1])
    assert parts[2] > 0.01 > 10 * parts[3]


def test_a_hessian_that_is_not_invariant_to_translation(silicon_pair, sw):
    """What balancing it changes is the error that a spring on every atom makes."""
    atoms, _ = silicon_pair
    hessian = compute_hessian(atoms, sw)
    spoiled = hessian + 1e-3 * np.eye(len(hessian))
    plain, wrong = (MeshSystem(atoms, h, (1, 1, 1)) for h in (hessian, spoiled))
    error = entropy_errors(atoms, wrong).hessian
    assert error == pytest.approx(plain.entropy - wrong.entropy, rel=1e-6)
    assert abs(error) > 1e-3


def test_what_is_unknown_is_not_zero(silicon_pair, sw):
    atoms, _ = silicon_pair
    at_gamma = HessianEntropyCalculator(sw, mesh="gamma").harmonic_system(atoms)
    assert np.isnan(entropy_errors(atoms, at_gamma)[:2]).all()
    lanczos = HessianEntropyCalculator(sw, engine="lanczos", mesh=(1, 1, 1))
    assert np.isnan(entropy_errors(atoms, lanczos.harmonic_system(atoms))).all()
    held = atoms.copy()
    held.set_constraint(FixAtoms([0, 1, 2]))
    found = entropy_errors(held, HessianEntropyCalculator(sw).harmonic_system(held))
    assert np.isnan(found.hessian)
    assert np.isfinite(found.mesh)


def test_a_cluster_has_no_mesh_to_be_wrong():
    atoms = relax(Icosahedron("Ar", 2, 3.8), LennardJones(sigma=2.4, rc=20.0), fmax=1e-4)
    exact = HessianEntropyCalculator(LennardJones(sigma=2.4, rc=20.0))
    found = entropy_errors(atoms, exact.harmonic_system(atoms))
    assert found.mesh == found.images == 0
    assert abs(found.hessian) < 0.01


def test_wide_cells_are_compared_with_gamma(sw):
    """One point is all that a cell of 25 Å has."""
    crystal = bulk("Si", "diamond", a=5.431, cubic=True) * (5, 1, 1)
    exact = HessianEntropyCalculator(sw, mesh=(1, 1, 1), unstable="any")
    found = []
    for atoms in (vacancies(crystal)[0], crystal):
        found.append(entropy_errors(atoms, exact.harmonic_system(atoms)).mesh)
    assert 0 < abs(found[0] - found[1]) < 1
