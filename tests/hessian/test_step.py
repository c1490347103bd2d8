"""How far finite differences are off, told by two more force calls."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.units import kB

from ase_vibent import FiniteDifferenceEntropyCalculator, HessianEntropyCalculator, attach_labels
from ase_vibent.errors import CalculatorError
from ase_vibent.harmonic.accuracy import entropy_errors
from ase_vibent.structures import vacancies

COPPER = bulk("Cu", "fcc", a=3.5898, cubic=True)


class Noisy(EMT):
    """Forces with noise that depends on the positions alone, eV/Å."""

    def __init__(self, noise: float, seed: int = 0):
        super().__init__()
        self.noise, self.seed = noise, seed

    def calculate(self, atoms=None, properties=("energy",), system_changes=("positions",)):
        super().calculate(atoms, properties, system_changes)
        seed = [self.seed, *np.frombuffer(self.atoms.positions.tobytes(), np.uint32)]
        shape = self.results["forces"].shape
        self.results["forces"] += self.noise * np.random.default_rng(seed).standard_normal(shape)


def error(atoms, calculator):
    """Of the reduced entropy, k_B: as estimated."""
    return calculator.harmonic_system(atoms).step_error.entropy


@pytest.mark.parametrize("step", [0.01, 0.03])
@pytest.mark.parametrize("fixed", [False, True])
def test_anharmonicity(sw, step, fixed, rattle):
    """The right sign and size, beside the analytic Hessian."""
    atoms = rattle(vacancies(bulk("Si", a=5.431, cubic=True) * (2, 1, 1))[0], 0.1, seed=1)
    if fixed:
        atoms.set_constraint(FixAtoms([0, 3, 4]))
    options = {"mesh": (1, 1, 1), "unstable": "any"}
    exact = HessianEntropyCalculator(sw, **options)
    calculator = FiniteDifferenceEntropyCalculator(sw, displacement=step, **options)
    true = calculator.harmonic_system(atoms).entropy - exact.harmonic_system(atoms).entropy
    assert abs(true) > 1e-4
    assert 0.3 < error(atoms, calculator) / true < 4


def test_noise():
    """At least what it makes of the entropy, in the mean: the test's own forces are noisy, too."""
    atoms = vacancies(COPPER * (2, 2, 1))[0]
    exact = FiniteDifferenceEntropyCalculator(EMT(), mesh="gamma").harmonic_system(atoms).entropy
    true, told = [], []
    for seed in range(5):
        noisy = Noisy(1e-4, seed)
        calculator = FiniteDifferenceEntropyCalculator(noisy, mesh="gamma", symmetry=False)
        system = calculator.harmonic_system(atoms)
        true.append(system.entropy - exact)
        told.append(system.step_error.entropy)
    ratio = np.sqrt(np.mean(np.square(told)) / np.mean(np.square(true)))
    assert 1 < ratio < 40


def test_it_is_in_labels():
    atoms = vacancies(COPPER * 2)[0]
    values = []
    for potential in (EMT(), Noisy(1e-4)):
        calculator = HessianEntropyCalculator(potential, unstable="any", symmetry=False)
        label = attach_labels(atoms, calculator, labels=["total"])
        errors = entropy_errors(atoms, calculator.harmonic_system(atoms))
        assert label.info["vibent_entropy_errors"][2] == pytest.approx(kB * errors.hessian)
        values.append(abs(errors.hessian))
    assert values[1] > 5 * values[0]


def test_a_longer_step_where_forces_are_noisy():
    """By 0.01 Å the noise is more than 1 % of the Hessian, by 0.04 Å less."""
    atoms, noisy = vacancies(COPPER * (2, 1, 1))[0], Noisy(4e-4)
    options = {"mesh": "gamma", "unstable": "any", "symmetry": False}
    with pytest.warns(UserWarning, match=r"forces of Noisy are .* % off .* k_B"):
        HessianEntropyCalculator(noisy, displacement=0.01, **options).harmonic_system(atoms)
    calculator = FiniteDifferenceEntropyCalculator(noisy, **options)
    system = calculator.harmonic_system(atoms)
    assert system.step_error.step > 0.01
    assert calculator.step(system) == system.step_error.step


@pytest.mark.parametrize("noise", [0.1, 1.0])
@pytest.mark.parametrize("displacement", ["auto", 0.01])
def test_noise_alone_is_refused(noise, displacement):
    calculator = FiniteDifferenceEntropyCalculator(
        Noisy(noise), displacement=displacement, mesh="gamma", unstable="any", symmetry=False
    )
    with pytest.raises(CalculatorError, match=r"too rough|symmetric matrix|translation of all"):
        calculator.harmonic_system(vacancies(COPPER * (2, 1, 1))[0])


def test_smooth_forces_keep_the_step():
    calculator = FiniteDifferenceEntropyCalculator(EMT(), mesh="gamma")
    found = calculator.harmonic_system(vacancies(COPPER * 2)[0]).step_error
    assert found.step == 0.01
    assert found.relative < 1e-3
