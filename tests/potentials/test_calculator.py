"""The user's calculator: its results, and one style in which every room tells its failures."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from ase_vibent.analysis.matching import evaluate
from ase_vibent.errors import CalculatorError, InvalidInputError
from ase_vibent.hessian import compute_hessian
from ase_vibent.potentials import energy_and_forces, with_results
from ase_vibent.stationary import relax
from ase_vibent.stationary.checks import is_free_of_stress, stationary_energy
from ase_vibent.structures import unique


def copper() -> Atoms:
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True)
    atoms.rattle(0.03, seed=0)
    return atoms


class Failing(Calculator):
    """Knows what it should do, and cannot."""

    implemented_properties = ("energy", "forces", "stress")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        raise RuntimeError("out of memory")


class Ours(Failing):
    """Has a reason of its own, in words that need no more."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        raise InvalidInputError("radius: too small")


class EnergyOnly(Calculator):
    implemented_properties = ("energy",)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0}


def with_calculator(calculator: Calculator) -> Atoms:
    atoms = copper()
    atoms.calc = calculator
    return atoms


ROOMS = {
    "Hessian": lambda c: compute_hessian(copper(), c),
    "relaxation": lambda c: relax(copper(), c),
    "cell": lambda c: relax(copper(), c, relax_cell=True),
    "at rest": lambda c: stationary_energy(copper(), c, "minimum"),
    "matching": lambda c: evaluate(copper(), c, "minimum"),
    "results": lambda c: with_results(copper(), c),
}


@pytest.mark.parametrize(
    "use",
    [
        *ROOMS.values(),
        lambda c: is_free_of_stress(with_calculator(c)),
        lambda c: unique([with_calculator(c)]),
    ],
    ids=[*ROOMS, "stress", "unique"],
)
def test_failures_are_told_alike(use):
    message = "^calculator: Failing failed to give [a-z ]+: RuntimeError: out of memory$"
    with pytest.raises(CalculatorError, match=message):
        use(Failing())
    with pytest.raises(InvalidInputError, match=r"^radius: too small$"):
        use(Ours())


@pytest.mark.parametrize("use", ROOMS.values(), ids=ROOMS)
def test_what_a_calculator_lacks_is_named(use):
    message = r"^calculator: EnergyOnly offers no forces( and stress)?, which .+ needs$"
    with pytest.raises(CalculatorError, match=message):
        use(EnergyOnly())


def test_no_stress_is_no_failure():
    assert not is_free_of_stress(with_calculator(EnergyOnly()))


def test_results_stay_with_the_copy():
    """Forces on fixed atoms too; the atoms keep their own calculator, and the copy none."""
    atoms = copper()
    atoms.set_constraint(FixAtoms([0]))
    found = with_results(atoms, EMT)
    atoms.calc = EMT()
    assert found.get_potential_energy() == atoms.get_potential_energy()
    forces = atoms.get_forces(apply_constraint=False)
    assert np.abs(forces[0]).max() > 0.1
    np.testing.assert_array_equal(found.get_forces(apply_constraint=False), forces)
    again = with_results(atoms)
    assert again.calc is not atoms.calc
    np.testing.assert_array_equal(again.get_forces(), found.get_forces())


def test_the_reason_of_a_calculator_is_kept():
    """EMT knows no iron."""
    with pytest.raises(CalculatorError, match=r"EMT offers no energy, .*No EMT-potential for Fe"):
        energy_and_forces(Atoms("Fe2", [[0, 0, 0], [2, 0, 0]], calculator=EMT()), "a test")


@pytest.mark.parametrize("name", ["energy", "forces"])
def test_energies_and_forces_that_are_none(name):
    atoms = Atoms("Cu2", [[0, 0, 0], [2, 0, 0]])
    results = {"energy": 0.0, "forces": np.zeros((2, 3))}
    results[name] = results[name] + np.nan
    atoms.calc = SinglePointCalculator(atoms, **results)
    with pytest.raises(CalculatorError, match=f"NaN or no {name}"):
        energy_and_forces(atoms, "a test")


def test_a_calculator_that_exits_has_failed():
    class Leaving(EMT):
        def calculate(self, *args, **options):
            sys.exit(3)

    atoms = Atoms("Cu2", [[0, 0, 0], [2, 0, 0]], calculator=Leaving())
    with pytest.raises(CalculatorError, match=r"Leaving failed to give energy.*SystemExit: 3"):
        energy_and_forces(atoms, "a test")
