"""Calculators that tell atoms of one species apart, by arrays of any name."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list
from ase.units import kB

from ase_vibent import HessianEntropyCalculator, HessianOptions, PhonopyEntropyCalculator
from ase_vibent.crystal.bulk import InfiniteCrystal, bulk_site_entropies

NEAREST = 2.5
PLAIN = HessianOptions(symmetry=False)


class MarkedSprings(Calculator):
    """Springs between nearest neighbours, stiffer by what an array says of both ends."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - ASE's

    def __init__(self, name):
        super().__init__()
        self.name_of_marks, self.calls = name, 0

    def stiffness(self, atoms):
        marks = atoms.arrays.get(self.name_of_marks, np.zeros(len(atoms)))
        return 1.0 + marks.reshape(len(atoms), -1).sum(axis=1)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        i, j, d, D = neighbor_list("ijdD", atoms, 1.2 * NEAREST)
        stiffness = self.stiffness(atoms)
        k = stiffness[i] * stiffness[j]
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, i, (k * (d - NEAREST) / d)[:, None] * D)
        self.results = {"energy": 0.25 * np.sum(k * (d - NEAREST) ** 2), "forces": forces}


class NumberedSprings(MarkedSprings):
    """The same by an atom's place in the list."""

    def stiffness(self, atoms):
        return 1.0 + np.arange(len(atoms)) % 2


def crystal_with(name, values, *, repeats=2):
    crystal = bulk("Cu", "fcc", a=NEAREST * np.sqrt(2), cubic=True) * repeats
    if name is not None:
        crystal.set_array(name, values(np.arange(len(crystal))))
    return crystal


CASES = [
    ("initial_charges", lambda i: 0.3 * (i % 2)),
    ("initial_magmoms", lambda i: 0.3 * (i % 4 == 0)),
    ("tags", lambda i: i % 2),
    ("type", lambda i: 1 + i // 2),
    ("my_array", lambda i: 0.1 * i),
    ("spins", lambda i: 0.3 * np.outer(i % 2, [1.0, 0, 0])),
]


@pytest.mark.parametrize(("name", "values"), CASES)
def test_symmetry_gives_what_all_displacements_give(name, values):
    crystal, springs = crystal_with(name, values, repeats=1), MarkedSprings(name)
    plain = bulk_site_entropies(crystal, springs, width=7.0, tolerance=1e-3, options=PLAIN)
    quick = bulk_site_entropies(crystal, springs, width=7.0, tolerance=1e-3)
    # The marks change entropies by more than 0.01 k_B.
    assert np.ptp(plain) > 0.01
    np.testing.assert_allclose(quick, plain, atol=1e-3)
    entropies = [
        calculator.get_property("entropies", crystal) / kB
        for calculator in (
            PhonopyEntropyCalculator(springs, mesh="gamma"),
            PhonopyEntropyCalculator(springs, mesh="gamma", symmetry=False),
            HessianEntropyCalculator(springs, mesh="gamma"),
            HessianEntropyCalculator(springs, mesh="gamma", symmetry=False),
        )
    ]
    for others in entropies[1:]:
        # Truncation of finite differences differs by the directions of displacements.
        np.testing.assert_allclose(others, entropies[0], atol=1e-4)


def test_symmetry_that_is_there_is_used():
    for name, values in ((None, None), ("tags", lambda i: 0 * i + 3), ("id", lambda i: i + 1)):
        springs = MarkedSprings("tags")
        PhonopyEntropyCalculator(springs).get_property("entropy", crystal_with(name, values))
        assert springs.calls <= 2


def test_without_symmetry_atoms_may_differ_by_their_place():
    crystal, springs = crystal_with(None, None, repeats=1), NumberedSprings("")
    marked = crystal_with("tags", lambda i: i % 2, repeats=1)
    expected = PhonopyEntropyCalculator(MarkedSprings("tags"), mesh=(2, 2, 2))
    found = PhonopyEntropyCalculator(springs, mesh=(2, 2, 2), symmetry=False)
    assert found.get_property("entropy", crystal) == pytest.approx(
        expected.get_property("entropy", marked), abs=1e-5 * kB
    )


def test_results_of_other_marks_are_stale():
    crystal = crystal_with("my_array", lambda i: 0.3 * (i % 2), repeats=1)
    crystal.calc = HessianEntropyCalculator(MarkedSprings("my_array"), mesh="gamma")
    before = crystal.calc.get_property("entropy", crystal)
    crystal.arrays["my_array"] *= 0
    crystal.calc.wrapped.reset()  # ASE's own calculators do not look at arrays
    after = crystal.calc.get_property("entropy", crystal)
    fresh = HessianEntropyCalculator(MarkedSprings("my_array"), mesh="gamma")
    assert after == fresh.get_property("entropy", crystal) != before


@pytest.mark.parametrize("masses", [[1.0, 2.0, 1.0, 2.0], [1.0, 1.0, 1.0, 2.0]])
def test_quantum_value_of_mixed_isotopes(masses):
    """Against the Brillouin zone of the mixed cell, on an equally fine mesh."""
    crystal = crystal_with(None, None, repeats=1)
    crystal.set_masses(masses)
    infinite = InfiniteCrystal(crystal, MarkedSprings(""), width=7.0)
    found = infinite.vibrations([100.0, 300.0], quantum=True)
    exact = PhonopyEntropyCalculator(
        MarkedSprings(""), supercell=(2, 2, 2), mesh=(10, 10, 10), quantum=True
    )
    for t, entropy, free_energy in zip(
        found.temperatures, found.entropies, found.free_energies, strict=True
    ):
        exact.temperature = t
        # The classical share of the mesh is off by 1e-3 of a mode.
        assert entropy == pytest.approx(exact.get_property("entropy", crystal), abs=5e-3 * kB)
        assert free_energy == pytest.approx(
            exact.get_property("free_energy", crystal), abs=5e-3 * kB * t
        )
