"""What force calls will take is said in time, and only where it is long; the clock is a test's."""

from __future__ import annotations

import logging

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from ase_vibent import HessianEntropyCalculator
from ase_vibent.hessian import HessianOptions, compute_hessian
from ase_vibent.hessian.costs import duration
from ase_vibent.structures import vacancies


@pytest.fixture
def slow(monkeypatch):
    """Function (times, s) -> EMT whose calls take these times, the last one from there on."""
    now = [0.0]
    monkeypatch.setattr("ase_vibent.hessian.costs.perf_counter", lambda: now[0])
    monkeypatch.setattr("ase_vibent.hessian.costs._SAID", set())

    class Slow(EMT):
        def __init__(self, *times: float):
            super().__init__()
            self.times, self.calls = times, 0

        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            now[0] += self.times[min(self.calls, len(self.times) - 1)]
            self.calls += 1

    return Slow


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.WARNING, "ase_vibent")
    return lambda: [record.getMessage() for record in caplog.records]


def vacancy():
    return vacancies(bulk("Cu", cubic=True))[0]


@pytest.mark.parametrize(
    ("times", "text"),
    [
        ([100, 1], "about 30 min"),  # the first alone is long
        ([59, 10], "about 3 min"),  # the second says what the first is worth
        ([4, 40], "about 72 s"),
        ([3.3], None),
        ([3600], "about 18 h"),
    ],
)
def test_hessian_says_what_it_costs(slow, said, times, text):
    """18 calls for three atoms."""
    compute_hessian(vacancy(), slow(*times), options=HessianOptions(symmetry=False))
    expected = [f"ase_vibent: Hessian: 18 force calls on 3 atoms, {text}"]
    assert said() == (expected if text else [])


def test_number_is_that_of_the_calls(slow, said):
    """With symmetry, and of infinite crystals."""
    crystal = bulk("Cu", cubic=True)
    calculator = slow(100)
    compute_hessian(crystal, calculator)
    assert f"{calculator.calls} force calls on 4 atoms, about" in said()[-1]
    calculator = slow(100)
    exact = HessianEntropyCalculator(calculator, mesh="gamma", unstable="any", bulk_width=7.0)
    exact.bulk_vibrations(crystal, 300)
    assert f"{calculator.calls} force calls on 64 atoms, about" in said()[-1]
    assert "--bulk-width" in said()[-1]


def test_gradients_say_what_they_cost(slow, said):
    atoms = vacancy()
    calculator = slow(100)
    exact = HessianEntropyCalculator(calculator, mesh="gamma", unstable="any", symmetry=False)
    exact.get_property("entropy", atoms)
    before = calculator.calls
    atoms.calc = exact
    atoms.get_forces()
    assert f"entropy gradient: {calculator.calls - before} force calls on 3 atoms" in said()[-1]


def test_many_structures_of_a_size_are_one_word(slow, said):
    for seed in range(3):
        atoms = vacancy()
        atoms.rattle(0.01, seed=seed)
        compute_hessian(atoms, slow(70), options=HessianOptions(symmetry=False))
    assert len(said()) == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(60, "60 s"), (119.6, "120 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
