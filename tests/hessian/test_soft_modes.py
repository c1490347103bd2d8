"""Softest modes by products of forces, against diagonalised Hessians."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.cluster import Icosahedron
from ase.constraints import FixAtoms

from ase_vibent.errors import InvalidInputError, UnstableStructureError
from ase_vibent.harmonic.modes import lowest_eigenvalues
from ase_vibent.hessian import HessianOptions, compute_hessian, soft_modes
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.structures.validity import free_atoms

#: Of all differences here, Å: their error is its square, some 1e-6.
STEP = 1e-3


class Counting(EMT):
    """Counts its force calls."""

    calls = 0

    def calculate(self, *arguments, **keywords):
        """Count, and calculate."""
        self.calls += 1
        super().calculate(*arguments, **keywords)


def exact(atoms: Atoms, calculator, count: int) -> np.ndarray:
    """Lowest eigenvalues of the Hessian beside rigid motions, eV/Å²."""
    hessian = compute_hessian(atoms, calculator, options=HessianOptions(displacement=STEP))
    return lowest_eigenvalues(atoms, hessian, free_atoms(atoms), count)


@pytest.fixture(scope="module")
def vacancy(rattle) -> Atoms:
    """Copper around an empty site, 15 atoms, off their sites: no mode is like another."""
    atoms = bulk("Cu", cubic=True) * (2, 2, 1)
    del atoms[0]
    return rattle(atoms, 0.1, 1)


@pytest.fixture(scope="module")
def structures(vacancy, rattle) -> list[tuple[Atoms, int]]:
    """Periodic, held, free to turn, compounds, linear; and how many modes to look for."""
    held = vacancy.copy()
    held.set_constraint(FixAtoms([3, 7]))
    cluster = rattle(Icosahedron("Cu", 2), 0.1, 2)
    alloy = rattle(bulk("CuAu", "rocksalt", a=5.4, cubic=True), 0.05, 3)
    return [(vacancy, 3), (held, 3), (cluster, 3), (alloy, 2), (molecule("CO"), 1)]


def test_the_softest_modes_are_those_of_the_hessian(structures):
    for atoms, count in structures:
        known = exact(atoms, EMT(), count)
        found = soft_modes(
            atoms,
            EMT(),
            count - int(np.sum(known < 0)),
            unstable=int(np.sum(known < 0)),
            tolerance=1e-5,
            max_force_calls=400,
            displacement=STEP,
        )
        # Differences of both are off by 1e-5 eV/Å².
        np.testing.assert_allclose(found.eigenvalues, known, rtol=1e-4, atol=2e-5)
        np.testing.assert_allclose(np.linalg.norm(found.patterns, axis=(1, 2)), 1, rtol=1e-10)
        held = np.setdiff1d(np.arange(len(atoms)), free_atoms(atoms))
        assert np.all(found.patterns[:, held] == 0)


def test_every_force_call_is_counted_and_few_are_enough(vacancy):
    calculator = Counting()
    found = soft_modes(vacancy, calculator, 2, tolerance=0.05)
    # Those behind the differences, fewer than the 6 N of a Hessian.
    assert calculator.calls == found.force_calls <= 60 < 6 * len(vacancy)
    np.testing.assert_allclose(found.eigenvalues, exact(vacancy, EMT(), 2), rtol=0.05)


def test_what_calls_do_not_suffice_for_is_returned_with_its_error(vacancy):
    known = exact(vacancy, EMT(), 3)
    found = soft_modes(vacancy, EMT(), 3, tolerance=1e-9, max_force_calls=18, displacement=STEP)
    assert found.force_calls == 18
    assert found.log_errors.max() > 1e-4
    # From above (Cauchy), and not farther than a few times what is stated.
    assert np.all(found.eigenvalues > known * (1 - 1e-5))
    assert np.all(found.eigenvalues - known < 3 * found.errors.max())


def test_a_similar_hessian_spares_calls(vacancy, rattle):
    similar = compute_hessian(rattle(vacancy, 0.04, 5), EMT())
    own, helped = (
        soft_modes(vacancy, EMT(), 3, tolerance=1e-3, max_force_calls=200, similar=matrix)
        for matrix in (None, similar)
    )
    np.testing.assert_allclose(own.eigenvalues, helped.eigenvalues, rtol=2e-3)
    assert helped.force_calls < 0.8 * own.force_calls


def test_degenerate_modes_of_symmetric_structures_are_all_found():
    atoms = bulk("Si", cubic=True)
    calculator = stillinger_weber_silicon()
    found = soft_modes(atoms, calculator, 4, tolerance=1e-3, max_force_calls=200)
    np.testing.assert_allclose(found.eigenvalues, exact(atoms, calculator, 4), rtol=2e-3)


def test_unstable_modes_come_first_and_are_counted(rattle):
    atoms, calculator = rattle(bulk("Si", cubic=True), 1.2, 0), stillinger_weber_silicon()
    values, patterns = np.linalg.eigh(compute_hessian(atoms, calculator))
    n_unstable = int(np.sum(values < -1e-6))
    assert n_unstable > 0
    options = {"tolerance": 1e-4, "max_force_calls": 200, "displacement": STEP}
    start = patterns[:, :n_unstable].T.reshape(-1, len(atoms), 3)
    found = soft_modes(atoms, calculator, 2, unstable=n_unstable, start=start, **options)
    expected = exact(atoms, calculator, n_unstable + 2)
    np.testing.assert_allclose(found.eigenvalues, expected, rtol=2e-3)
    assert found.n_unstable == n_unstable
    with pytest.raises(UnstableStructureError, match="expected 0 unstable modes"):
        soft_modes(atoms, calculator, n_unstable + 2, **options)


def test_gradients_of_soft_modes_are_those_of_differences(rattle):
    """∂ ln λ/∂u = eᵀ (∂H/∂u) e / λ, by differences of forces along e."""
    calculator = stillinger_weber_silicon()
    atoms = rattle(bulk("Si", cubic=True), 0.3, 4)
    found = soft_modes(atoms, calculator, 1, tolerance=1e-8, max_force_calls=400, displacement=STEP)
    slopes = 1 / found.eigenvalues
    gradient = found.gradient(atoms, calculator, slopes, virial=True)
    along = np.random.default_rng(0).normal(size=atoms.positions.shape)
    strain = np.diag([0.7, -0.3, 1.0])
    slope_of = []
    for move in (
        lambda moved, t: moved.set_positions(moved.positions + t * along),
        lambda moved, t: moved.set_cell(moved.cell @ (np.eye(3) + t * strain), scale_atoms=True),
    ):
        logarithms = []
        for sign in (1, -1):
            moved = atoms.copy()
            move(moved, sign * STEP)
            logarithms.append(np.log(exact(moved, calculator, 1)[0]))
        slope_of.append((logarithms[0] - logarithms[1]) / (2 * STEP))
    assert np.vdot(gradient.positions[0], along) == pytest.approx(slope_of[0], rel=2e-3)
    assert np.vdot(gradient.strain[0], strain) == pytest.approx(slope_of[1], rel=2e-3)


def test_what_cannot_be_asked_for(vacancy):
    with pytest.raises(InvalidInputError, match="count: expected a number of modes, at most 42"):
        soft_modes(vacancy, EMT(), 43)
    with pytest.raises(InvalidInputError, match="max_force_calls: expected enough for 3 modes"):
        soft_modes(vacancy, EMT(), 3, max_force_calls=5)
    with pytest.raises(InvalidInputError, match="similar: expected a Hessian of 15 free atoms"):
        soft_modes(vacancy, EMT(), 3, similar=np.eye(3))
    with pytest.raises(InvalidInputError, match="tolerance"):
        soft_modes(vacancy, EMT(), 3, tolerance=-1)
