"""Structures on saddles go down to minima, judged by energies known from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms

from ase_vibent import HessianEntropyCalculator
from ase_vibent.errors import InvalidInputError, RelaxationError, UnstableStructureError
from ase_vibent.stationary import relax, relax_to_minimum

#: Nearest distance of a Lennard-Jones pair.
R = 2 ** (1 / 6)
LINE = np.outer(np.arange(4), [0, 0, R])
SQUARE = R * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
ANGLES = np.arange(6) * np.pi / 3
HEXAGON = R * np.vstack([np.zeros(3), np.stack([np.cos(ANGLES), np.sin(ANGLES), 0 * ANGLES], 1)])


def lennard_jones() -> LennardJones:
    return LennardJones(rc=50.0)


def centred_copper() -> Atoms:
    """Body-centred, with all six points N in its zone."""
    return bulk("Cu", "bcc", a=2.87) * (2, 2, 2)


@pytest.mark.parametrize(
    ("positions", "energies"),
    [
        (LINE[:3], [-3.0]),  # triangle
        (LINE, [-6.0]),  # tetrahedron
        (SQUARE, [-6.0]),
        # The four minima of seven atoms, from Tsai and Jordan, J. Phys. Chem. 97, 11227 (1993).
        (HEXAGON, [-16.505384, -15.935043, -15.593211, -15.533060]),
    ],
)
def test_clusters_on_symmetric_saddles_become_minima(positions, energies):
    start = Atoms(f"Ar{len(positions)}", positions=positions)
    held = relax(start, lennard_jones)
    found = relax_to_minimum(start, lennard_jones, fmax=1e-4)
    energy = found.atoms.get_potential_energy()
    assert np.abs(np.array(energies) - energy).min() < 1e-5
    assert found.energy_gained == pytest.approx(held.get_potential_energy() - energy, abs=1e-4)
    assert found.rounds >= 1
    assert found.unstable_before >= 1
    assert 0.1 < found.largest_displacement < 2
    # An independent judge: it raises unless all modes are stable.
    HessianEntropyCalculator(lennard_jones).get_potential_energy(found.atoms)


@pytest.mark.parametrize("relax_cell", [False, True])
def test_unstable_crystal(relax_cell):
    start = centred_copper()
    found = relax_to_minimum(start, EMT, relax_cell=relax_cell)
    assert found.unstable_before == 6  # one transverse mode at every N
    assert found.energy_gained > 0.01
    assert np.array_equal(found.atoms.cell, start.cell) != relax_cell
    HessianEntropyCalculator(EMT, mesh="gamma").get_potential_energy(found.atoms)


@pytest.mark.parametrize("fixed", [[], [0, 5]])
def test_minimum_stays_as_it_is(fixed):
    start = bulk("Cu", "fcc", a=3.5898) * (2, 2, 2)
    start.set_constraint(FixAtoms(fixed))
    start.info = {"rounds": 3, "mine": 1}
    found = relax_to_minimum(start, EMT)
    assert np.array_equal(found.atoms.positions, start.positions)
    assert (found.rounds, found.unstable_before) == (0, 0)
    assert found.energy_gained == 0
    assert found.largest_displacement < 1e-12
    assert found.atoms.info == {"mine": 1}


def test_fixed_atoms_stay_on_the_way_down():
    start = centred_copper()
    start.set_constraint(FixAtoms([0]))
    found = relax_to_minimum(start, EMT)
    assert found.rounds > 0
    assert np.array_equal(found.atoms.positions[0], start.positions[0])


def test_what_is_not_cured_says_what_is_left():
    start = centred_copper()
    with pytest.raises(
        UnstableStructureError, match=r"left after 1 rounds.*smaller fmax"
    ) as caught:
        relax_to_minimum(start, EMT, fmax=9, rounds=1)  # any force will do
    assert caught.value.n_unstable == np.sum(caught.value.frequencies < 0) > 0
    with pytest.raises(RelaxationError):
        relax_to_minimum(Atoms("Ar4", positions=LINE), lennard_jones, steps=5)
    with pytest.raises(InvalidInputError, match="rounds"):
        relax_to_minimum(start, EMT, rounds=0)
