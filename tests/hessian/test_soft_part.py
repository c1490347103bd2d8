"""What soft modes add to entropies with a floor, by force calls, against exact entropies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from ase_vibent import HessianEntropyCalculator
from ase_vibent.errors import InvalidInputError, UnstableStructureError
from ase_vibent.harmonic.entropy import reduced_entropy
from ase_vibent.hessian import (
    HessianOptions,
    ValenceForceField,
    compute_hessian,
    soft_modes,
    soft_part,
)
from ase_vibent.hessian.soft_part import excess_entropy
from ase_vibent.stationary import relax

#: Below it are five modes of the vacancy's cell, eV/Å².
FLOOR = 2.5
OPTIONS = HessianOptions(displacement=1e-3)


@pytest.fixture(scope="module")
def vacancy(rattle) -> Atoms:
    """Copper around an empty site, 31 atoms at rest."""
    atoms = bulk("Cu", cubic=True) * 2
    del atoms[0]
    return relax(rattle(atoms, 0.1, 1), EMT(), fmax=1e-4)


@pytest.fixture(scope="module")
def force_field(vacancy, rattle) -> ValenceForceField:
    """Fitted to others than what is asked for."""
    return ValenceForceField.fit([bulk("Cu", cubic=True) * 2, rattle(vacancy, 0.1, 2)], EMT())


def entropy(atoms: Atoms, floor: float = 0.0) -> float:
    calculator = HessianEntropyCalculator(
        EMT(), decomposition="mass-free", floor=floor, displacement=1e-3
    )
    return calculator.harmonic_system(atoms).entropy


def test_all_modes_below_a_limit_are_found(vacancy, force_field):
    similar = force_field.hessian(vacancy)
    hessian = compute_hessian(vacancy, EMT(), options=OPTIONS)
    exact = np.linalg.eigvalsh(hessian)[3:]
    limit = exact[[4, 5]].mean()
    found = soft_modes(vacancy, EMT(), below=limit, similar=similar, tolerance=1e-3)
    assert found.eigenvalues == pytest.approx(exact[:5], rel=1e-3)
    none = soft_modes(vacancy, EMT(), below=0.9 * exact[0], similar=similar)
    assert none.eigenvalues.shape == (0,)
    assert none.patterns.shape == (0, len(vacancy), 3)
    assert none.force_calls > 0


def test_a_number_of_modes_or_a_limit(vacancy):
    for wrong in ({}, {"count": 2, "below": 1.0}):
        with pytest.raises(InvalidInputError, match="count, below: give one"):
            soft_modes(vacancy, EMT(), **wrong)
    with pytest.raises(InvalidInputError, match="similar: missing"):
        soft_modes(vacancy, EMT(), below=1.0)
    with pytest.raises(InvalidInputError, match="below: expected a number > 0"):
        soft_modes(vacancy, EMT(), below=0.0, similar=np.eye(93))


def test_floor_and_soft_part_make_the_whole_entropy(vacancy, force_field):
    found = soft_part(vacancy, EMT(), FLOOR, force_field)
    expected = entropy(vacancy) - entropy(vacancy, FLOOR)
    assert len(found.modes.eigenvalues) == 5
    assert found.total == pytest.approx(expected, abs=3 * found.error)
    assert found.error < 0.1 * expected
    # Γ alone is far from it: that is what the force field is for.
    assert abs(found.at_gamma - expected) > 5 * abs(found.total - expected)
    assert found.sites.shape == (len(vacancy),)


def test_unstable_modes_take_the_floor_away(vacancy, force_field):
    """At the saddle of the vacancy's jump, halfway between two sites."""
    saddle = bulk("Cu", cubic=True) * 2
    saddle.positions[1] = saddle.positions[:2].mean(axis=0)
    del saddle[0]
    saddle = relax(saddle, EMT(), fmax=1e-4)  # symmetry keeps it there
    with pytest.raises(UnstableStructureError, match="expected 0 unstable modes"):
        soft_part(saddle, EMT(), FLOOR, force_field)
    found = soft_part(saddle, EMT(), FLOOR, force_field, unstable=1)
    exact = HessianEntropyCalculator(
        EMT(), decomposition="mass-free", unstable=1, displacement=1e-3
    ).harmonic_system(saddle)
    floored = HessianEntropyCalculator(
        EMT(), decomposition="mass-free", floor=FLOOR, displacement=1e-3
    ).harmonic_system(saddle)
    # One mode fewer, whose mass the exact sum lacks: ½ ln m.
    mass = saddle.get_masses()[0]
    expected = exact.entropy - floored.entropy + 0.5 * np.log(mass)
    assert found.total == pytest.approx(expected, abs=3 * found.error)
    assert found.error < 0.1


@pytest.mark.filterwarnings("ignore::ase_vibent.errors.NarrowCellWarning")
def test_error_is_unknown_where_the_mesh_is_unstable(vacancy, force_field):
    """By a force field turned upside down, all of whose modes are."""
    turned = replace(force_field, coefficients=-0.2 * force_field.coefficients)
    found = soft_part(vacancy, EMT(), FLOOR, turned)
    assert np.isnan(found.error)
    assert np.isfinite(found.total)


def test_excess_is_what_a_mode_has_beyond_the_floor():
    soft, unstable, stiff = excess_entropy(np.array([0.25, -1.0, 30.0]), 1.0)
    assert soft == pytest.approx(np.log(4 * (1 + 0.25**4) ** 0.25) / 2)
    assert unstable == pytest.approx(-reduced_entropy(np.array(2**0.25)))
    assert 0 < stiff < 1e-6
