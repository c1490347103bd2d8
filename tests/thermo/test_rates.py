"""Rates: Vineyard's products of frequencies, and what is no minimum or no saddle."""

from __future__ import annotations

import json

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.units import _e, _hplanck, kB
from ase.vibrations import Vibrations

from ase_vibent import HessianEntropyCalculator, SiteEntropyCalculator, SiteModel, attach_labels
from ase_vibent.cli import main
from ase_vibent.errors import InvalidInputError, InvalidStructureError, UnstableStructureError
from ase_vibent.stationary import Saddle, path_saddle, relax
from ase_vibent.stationary.checks import require_unstable_modes
from ase_vibent.structures import rattle
from ase_vibent.thermo import attempt_frequency, transition_rate
from ase_vibent.training.trainer import train


@pytest.fixture(scope="module")
def crystal() -> Atoms:
    return bulk("Cu", "fcc", a=3.5898, cubic=True) * 2


@pytest.fixture(scope="module")
def event(crystal: Atoms) -> Saddle:
    """Jump of a vacancy to the next site, its saddle halfway by symmetry."""
    return path_saddle(*jump(crystal), EMT(), images=1, fmax=1e-4)


def jump(crystal: Atoms) -> list[Atoms]:
    """The vacancy before and after."""
    ends = []
    neighbour = int(np.argsort(crystal.get_distances(0, range(len(crystal)), mic=True))[1])
    for empty, mover in ((0, neighbour), (neighbour, 0)):
        atoms = crystal.copy()
        atoms.positions[[0, neighbour]] = crystal.positions[[empty, mover]]
        del atoms[0]
        ends.append(relax(atoms, EMT(), fmax=1e-4))
    return ends


@pytest.fixture(scope="module")
def exact() -> HessianEntropyCalculator:
    return HessianEntropyCalculator(EMT())


def frequencies(atoms: Atoms, folder: str) -> np.ndarray:
    """Of ASE's own finite differences, Hz; without the three softest, the translations."""
    copy = atoms.copy()
    copy.calc = EMT()
    vibrations = Vibrations(copy, name=folder, delta=0.01)
    vibrations.run()
    energies = vibrations.get_energies()
    stable = np.sort(energies.real[energies.imag < 1e-3])
    return stable[3:] * _e / _hplanck


def test_vineyards_ratio(event, tmp_path):
    """At Γ of the cell, by frequencies of ASE's."""
    exact = HessianEntropyCalculator(EMT(), mesh="gamma")
    minimum, saddle = (
        frequencies(atoms, str(tmp_path / name))
        for name, atoms in (("minimum", event.minimum_1), ("saddle", event.saddle))
    )
    assert len(minimum) == len(saddle) + 1 == 90
    expected = np.exp(np.log(minimum).sum() - np.log(saddle).sum())
    assert attempt_frequency(event.minimum_1, event.saddle, exact) == pytest.approx(
        expected, rel=1e-3
    )
    rate = transition_rate(event.minimum_1, event.saddle, exact, [300.0, 600.0])
    assert rate.barrier == pytest.approx(event.barrier_forward, abs=1e-6)
    np.testing.assert_allclose(rate.attempt_frequencies, rate.attempt_frequencies[0], rtol=1e-10)
    boltzmann = np.exp(-rate.barrier / (kB * rate.temperatures))
    np.testing.assert_allclose(rate.rates, rate.attempt_frequencies * boltzmann, rtol=1e-12)
    eyring = kB * rate.temperatures * _e / _hplanck
    factors = np.exp(-rate.free_energy_barriers / (kB * rate.temperatures))
    np.testing.assert_allclose(rate.rates, eyring * factors, rtol=1e-10)
    # At Γ nothing says how far that is from the infinite crystal.
    assert np.isnan(rate.log_std)
    assert np.isnan(rate.band()).all()


def test_vineyards_ratio_on_a_mesh(event, exact):
    """At every q the saddle has one frequency less; logarithms of the ratios are averaged."""
    assert len(exact.get_weights(event.minimum_1)) > 1
    weights, ratios = exact.get_weights(event.minimum_1), 0.0
    for atoms, unstable, sign in ((event.minimum_1, 0, 1), (event.saddle, 1, -1)):
        calculator = HessianEntropyCalculator(EMT(), unstable=unstable)
        energies = calculator.get_frequencies(atoms)
        assert np.all((energies < 0).sum(axis=1) == unstable)
        ratios += sign * np.log(energies[:, unstable:] * _e / _hplanck).sum(axis=1)
    assert np.ptp(ratios) > 0.1
    expected = np.exp(weights @ ratios)
    found = attempt_frequency(event.minimum_1, event.saddle, exact)
    assert found == pytest.approx(expected, rel=1e-9)
    rate = transition_rate(event.minimum_1, event.saddle, exact)
    lower, upper = rate.band()
    assert lower < rate.rates < upper
    at_gamma = HessianEntropyCalculator(EMT(), mesh="gamma")
    narrow = attempt_frequency(event.minimum_1, event.saddle, at_gamma)
    assert 0.5 < narrow / found < 2


def test_quantum_rates_are_classical_when_hot(event, exact):
    quantum = HessianEntropyCalculator(EMT(), quantum=True)
    hot, cold = 3000.0, 100.0
    rate = transition_rate(event.minimum_1, event.saddle, quantum, [hot, cold])
    classical = attempt_frequency(event.minimum_1, event.saddle, exact)
    logarithms = np.log(rate.attempt_frequencies / classical)
    # The mode that becomes unstable takes its (ħω/k_B T)²/24 with it.
    assert abs(logarithms[0]) < 1e-3
    assert abs(logarithms[1]) > 1e-2


def test_heavier_atoms_are_slower(event, exact):
    pair = event.minimum_1.copy(), event.saddle.copy()
    for atoms in pair:
        atoms.set_masses(4 * atoms.get_masses())
    assert attempt_frequency(*pair, exact) == pytest.approx(
        attempt_frequency(event.minimum_1, event.saddle, exact) / 2, rel=1e-6
    )


@pytest.fixture(scope="module")
def model(crystal: Atoms, event: Saddle) -> SiteModel:
    """Of some minima and saddles, both rattled a little."""
    labels = [
        attach_labels(crystal, HessianEntropyCalculator(EMT()), name="perfect", labels=["gradient"])
    ]
    for start, unstable in ((event.minimum_1, 0), (event.saddle, 1)):
        reference = HessianEntropyCalculator(EMT(), unstable=unstable)
        labels += [
            attach_labels(atoms, reference, reference="perfect", labels=["gradient"])
            for atoms in (start, *rattle(start, 0.02, 1, 0))
        ]
    return train(labels, {"cutoff": 4.5, "degree": 8})


def test_a_model_tells_rates(event, exact, model):
    calculator = SiteEntropyCalculator(model, extrapolation="ignore")
    rate = transition_rate(event.minimum_1, event.saddle, calculator, 600.0, potential=EMT())
    known = transition_rate(event.minimum_1, event.saddle, exact, 600.0)
    assert rate.barrier == pytest.approx(known.barrier, abs=1e-9)
    # The entropies are in the training data; a mode more or less would be a factor of 4.
    assert np.log(rate.rates / known.rates) == pytest.approx(0, abs=0.05)
    assert 0 < rate.log_std < 1
    lower, upper = rate.band(2)
    np.testing.assert_allclose(upper / lower, np.exp(4 * rate.log_std))
    # Energies and forces that structures carry serve as well.
    carried = transition_rate(event.minimum_1, event.saddle, calculator, 600.0)
    assert carried.rates == pytest.approx(rate.rates, rel=1e-6)
    pair = event.minimum_1.copy(), event.saddle.copy()
    for atoms in pair:
        atoms.set_masses(4 * atoms.get_masses())
    heavy = transition_rate(*pair, calculator, 600.0, potential=EMT(), check_modes=False)
    assert heavy.rates == pytest.approx(rate.rates / 2, rel=1e-6)


@pytest.mark.parametrize("surrogate", [False, True])
def test_what_is_no_minimum_and_no_saddle(event, exact, model, surrogate):
    calculator = SiteEntropyCalculator(model, extrapolation="ignore") if surrogate else exact
    minimum, saddle = event.minimum_1, event.saddle

    def rate(*pair: Atoms) -> None:
        transition_rate(*pair, calculator, potential=EMT())

    with pytest.raises(UnstableStructureError, match="minimum: it is none, 1 mode is unstable"):
        rate(saddle, saddle)
    with pytest.raises(UnstableStructureError, match="saddle: it is a minimum"):
        rate(minimum, minimum)
    with pytest.raises(InvalidStructureError, match="saddle: not at rest, atom"):
        rate(minimum, rattle(saddle, 0.1, 1, 0)[0])
    with pytest.raises(InvalidStructureError, match="expected the atoms of the first structure"):
        rate(minimum, saddle[:-1])
    squeezed = saddle.copy()
    squeezed.set_cell(0.99 * saddle.cell.array)
    with pytest.raises(InvalidStructureError, match="its cell differ"):
        rate(minimum, squeezed)
    heavy = saddle.copy()
    heavy.set_masses(1.02 * saddle.get_masses())
    with pytest.raises(InvalidStructureError, match="its masses differ"):
        rate(minimum, heavy)
    partly = saddle.copy()
    partly.set_constraint(FixAtoms([3]))
    with pytest.raises(InvalidStructureError, match="its fixed atoms differ"):
        rate(minimum, partly)


def test_two_unstable_modes(copper_jump):
    # Two saddles side by side.
    pair, double = (copper_jump[k].repeat((2, 1, 1)) for k in (0, 3))
    exact = HessianEntropyCalculator(EMT(), mesh="gamma")
    with pytest.raises(UnstableStructureError, match="not of first order, 2 modes") as caught:
        transition_rate(pair, double, exact)
    assert caught.value.n_unstable == 2
    with pytest.raises(UnstableStructureError) as caught:
        require_unstable_modes(double, EMT(), 1)
    assert caught.value.n_unstable == 2


def test_command(tmp_path, monkeypatch, capsys, event, exact, model):
    monkeypatch.chdir(tmp_path)
    ase.io.write("minimum.xyz", event.minimum_1)
    ase.io.write("saddle.xyz", event.saddle)
    model.save("cu.vibent")
    words = ["rate", "minimum.xyz", "saddle.xyz", "-T", "300", "600", "--calculator", "emt"]
    assert main([*words, "--json", "--plot", "rate.png"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = transition_rate(event.minimum_1, event.saddle, exact, [300.0, 600.0])
    assert found["rates_per_s"] == pytest.approx(expected.rates, rel=1e-4)
    assert (tmp_path / "rate.png").stat().st_size > 1000
    assert main([*words, "--mesh", "gamma", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    gamma = HessianEntropyCalculator(EMT(), mesh="gamma")
    other = transition_rate(event.minimum_1, event.saddle, gamma, [300.0, 600.0])
    assert found["rates_per_s"] == pytest.approx(other.rates, rel=1e-4)
    assert other.rates != pytest.approx(expected.rates, rel=1e-2)
    assert main([*words, "--model", "cu.vibent", "--unchecked"]) == 0
    assert "THz" in capsys.readouterr().out
    assert main(["rate", "saddle.xyz", "minimum.xyz", "--calculator", "emt"]) == 1
    assert "minimum: it is none" in capsys.readouterr().err


def test_a_calculator_that_sees_no_modes(event):
    balls = HessianEntropyCalculator(EMT(), engine="ball", crystal=event.saddle, radius=3.0)
    with pytest.raises(InvalidInputError, match="cannot leave out modes"):
        balls.vibrations(event.saddle, 300.0, n_unstable=1)


def test_dilute_limit(crystal, event, exact):
    """What the model says of saddle and minimum, each at rest in the larger cell."""
    model = SiteEntropyCalculator.from_pretrained("cu-emt-jump", extrapolation="ignore")
    larger = bulk("Cu", "fcc", a=3.5898, cubic=True) * (2, 2, 3)
    found = transition_rate(
        event.minimum_1, event.saddle, exact, surrogate=model, crystal=crystal, cell=larger
    )
    small = transition_rate(event.minimum_1, event.saddle, exact)
    assert found.small_cell.entropies == pytest.approx(small.entropies, rel=1e-12)
    of_model = transition_rate(event.minimum_1, event.saddle, model, potential=EMT())
    there = path_saddle(*jump(larger), EMT(), images=1, fmax=1e-4)
    in_larger = transition_rate(there.minimum_1, there.saddle, model, potential=EMT())
    assert found.barrier == pytest.approx(in_larger.barrier, abs=1e-5)
    change = (in_larger.entropies - of_model.entropies)[0] / kB
    assert (found.entropies - small.entropies)[0] / kB == pytest.approx(change, abs=2e-3)
    assert found.log_std > small.log_std


@pytest.mark.parametrize(
    ("left_out", "message"),
    [("crystal", "perfect crystal"), ("cell", "both"), ("surrogate", "both")],
)
def test_dilute_limit_needs_all_of_it(crystal, event, exact, left_out, message):
    model = SiteEntropyCalculator.from_pretrained("cu-emt-jump")
    given = {"surrogate": model, "crystal": crystal, "cell": crystal * 2, left_out: None}
    with pytest.raises(InvalidInputError, match=f"{left_out}: .*{message}"):
        transition_rate(event.minimum_1, event.saddle, exact, **given)
