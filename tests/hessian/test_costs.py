"""What force calls will take is said in time, and only where it is long; the clock is a test's."""

from __future__ import annotations

import logging

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from ase_vibent import HessianEntropyCalculator
from ase_vibent.hessian import HessianOptions, compute_hessian
from ase_vibent.hessian.costs import duration
from ase_vibent.potentials import energy_and_forces
from ase_vibent.structures import vacancies


@pytest.fixture
def slow(monkeypatch):
    """Function (times, s) -> EMT whose calls take these times, the last one from there on."""
    now = [0.0]
    for module in ("hessian.costs", "potentials.pace"):
        monkeypatch.setattr(f"ase_vibent.{module}.perf_counter", lambda: now[0])
    monkeypatch.setattr("ase_vibent.hessian.costs._SAID", {})

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


BEGIN, HINT = "ase_vibent: Hessian: ", "; --cache (cache=) keeps finished ones"


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
    assert said()[:1] == ([f"{BEGIN}18 force calls on 3 atoms, {text}{HINT}"] if text else [])


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


def watched(calculator, deeds):
    """Does something before calls of certain numbers."""
    calculate = calculator.calculate

    def calculate_and_do(*args, **kwargs):
        deeds.get(calculator.calls, lambda: None)()
        calculate(*args, **kwargs)

    calculator.calculate = calculate_and_do
    return calculator


def differences(calculator, atoms=None, **options):
    own = HessianOptions(symmetry=False, **options)
    return compute_hessian(vacancy() if atoms is None else atoms, calculator, options=own)


def test_costs_are_said_before_the_first_call_once_the_pace_is_known(slow, said):
    """In proportion to the atoms, of the size that is nearest."""
    calculator = slow(9, 2)
    differences(calculator)
    assert said() == []
    before = []
    calculator = watched(calculator, {18: lambda: before.extend(said())})
    crystal = bulk("Cu", cubic=True) * 2
    del crystal[0]
    differences(calculator, crystal)
    text = "186 force calls on 31 atoms, about 64 min"
    assert before == [f"{BEGIN}{text}{HINT}"]


def test_the_energy_of_a_structure_tells_the_pace(slow, said):
    """As those of a defect and its crystal do; results that are remembered tell nothing."""
    calculator = slow(9, 5)
    for atoms in (bulk("Cu", cubic=True), vacancy()):
        atoms.calc = calculator
        for _ in range(2):
            energy_and_forces(atoms, "a test")
    before = []
    differences(watched(calculator, {2: lambda: before.extend(said())}))
    assert before == [f"{BEGIN}18 force calls on 3 atoms, about 90 s{HINT}"]


def test_another_calculator_has_another_pace(slow, said):
    fast = slow(0.001)
    differences(fast)
    differences(slow(9, 5))
    assert said() == [f"{BEGIN}18 force calls on 3 atoms, about 90 s{HINT}"]


def test_how_far_a_long_structure_is(slow, said):
    """A tenth of its time at least lies between two words."""
    differences(slow(3600))
    assert [text.removeprefix(BEGIN) for text in said()[1:4]] == [
        "2 of 18 done, about 16 h left",
        "4 of 18 done, about 14 h left",
        "6 of 18 done, about 12 h left",
    ]
    assert len(said()) == 9


def test_a_long_run_is_a_few_words(slow, said):
    """Structures of many sizes, of a minute to half an hour each."""
    calculator = slow(5)
    for n in (1, 2, 3, 2, 3, 4, 1, 2, 4):
        atoms = bulk("Cu", cubic=True) * (n, 1, 1)
        atoms.rattle(0.01, seed=n)
        differences(calculator, atoms)
    sizes = [int(text.split(" on ")[1].split()[0]) for text in said()]
    assert sizes == [4, 8]


def test_what_is_left_of_a_run_that_was_cut_short(slow, said, tmp_path):
    def cut_short():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        differences(watched(slow(1), {14: cut_short}), cache=tmp_path)
    differences(slow(45), cache=tmp_path)
    assert said() == [f"{BEGIN}18 force calls on 3 atoms, about 4 min"]  # 4 missing, 1 compared


def test_calculators_that_take_no_weak_reference(said, slow):
    class Slotted(type(slow(1))):
        __hash__ = None

    differences(Slotted(70))
    assert len(said()) == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(60, "60 s"), (119.6, "120 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
