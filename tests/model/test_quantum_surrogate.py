"""The surrogate's quantum corrections, from moments of local densities of states."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import kB

from ase_vibent import SiteEntropyCalculator, SiteModel, dataset
from ase_vibent.cli import main
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.harmonic.entropy import quantum_correction
from ase_vibent.harmonic.modes import HBAR_OMEGA
from ase_vibent.training.moments import labelled_correction

LATTICE_SI = 5.431


def correction(model: SiteModel, atoms: Atoms, temperature: float, name: str) -> np.ndarray:
    """A property with quantum statistics minus the same with classical ones."""
    return np.subtract(
        *(
            SiteEntropyCalculator(
                model, temperature=temperature, quantum=q, extrapolation="ignore"
            ).get_property(name, atoms)
            for q in (True, False)
        )
    )


def test_held_out_corrections(moment_model, moment_frames, sw_sum):
    """Goals: 2 % at 100 K, 0.5 % at 300 K, of a bulk and of a vacancy cell."""
    for atoms in moment_frames[-2:]:
        for temperature, goal in ((100, 0.02), (300, 0.005)):
            for name in ("free_energy", "entropy"):
                exact = sw_sum(
                    lambda x, t=temperature, n=name: getattr(quantum_correction(x, t), n), atoms
                )
                value = correction(moment_model, atoms, temperature, name)
                assert value == pytest.approx(exact, rel=goal)
    errors = moment_model.header["errors"]["test"]["quantum"]
    assert errors["n"] == sum(map(len, moment_frames[-2:]))
    assert errors["rmse"] < 0.005 * abs(labelled_correction(moment_frames[-1], 300).mean()) / (
        kB * 300
    )


def test_derivatives_of_quantum_values(moment_model, moment_frames):
    atoms = moment_frames[-1].copy()
    calculator = SiteEntropyCalculator(
        moment_model, temperature=120, quantum=True, extrapolation="ignore"
    )

    def central(change, names, step=1e-4):
        values = []
        for amount in (step, -step):
            copy = atoms.copy()
            change(copy, amount)
            values.append([calculator.get_property(name, copy) for name in names])
        return (np.array(values[0]) - values[1]) / (2 * step)

    def move(copy, amount):
        copy.positions[3] += amount * np.array([0.6, 0.0, 0.8])

    def stretch(copy, amount):
        strain = np.eye(3)
        strain[0, 0] += amount
        copy.set_cell(copy.cell.array @ strain, scale_atoms=True)

    names = ("free_energy", "entropy")
    along, stretched = central(move, names), central(stretch, names)
    force = calculator.get_property("forces", atoms)[3] @ [0.6, 0.0, 0.8]
    pull = calculator.get_property("entropy_gradient", atoms)[3] @ [0.6, 0.0, 0.8]
    # Third derivatives: (step / bond length)² = 2e-9, times how much larger the others are.
    assert force == pytest.approx(-along[0], rel=5e-6)
    assert pull == pytest.approx(along[1], rel=5e-6)
    volume = atoms.get_volume()
    stress = calculator.get_property("stress", atoms)[0]
    assert stress * volume == pytest.approx(stretched[0], rel=2e-5)
    slope = calculator.get_property("entropy_strain", atoms)[0, 0]
    assert slope == pytest.approx(stretched[1], rel=2e-5)


def test_thermodynamic_identities(moment_model, moment_frames):
    """S = -∂F/∂T, also site by site; sums of sites; twice the cell, twice the value."""
    atoms = moment_frames[-1]
    calculator = SiteEntropyCalculator(moment_model, quantum=True, extrapolation="ignore")
    energies = []
    for temperature in (199.9, 200.1):
        calculator.temperature = temperature
        energies.append(calculator.get_property("energies", atoms))
    calculator.temperature = 200
    entropies = calculator.get_property("entropies", atoms)
    np.testing.assert_allclose(entropies, (energies[0] - energies[1]) / 0.2, rtol=1e-7)
    total = calculator.get_property("free_energy", atoms)
    assert calculator.get_property("energies", atoms).sum() == pytest.approx(total, rel=1e-13)
    assert calculator.get_property("free_energy", atoms * (1, 1, 2)) == pytest.approx(2 * total)


def test_limits_of_temperature(moment_model, moment_frames, sw_sum):
    """Classical when it is hot, with a difference ∝ 1/T; the zero-point energy when it is cold."""
    atoms = moment_frames[-1]
    hot = [correction(moment_model, atoms, t, "free_energy") for t in (5e3, 1e4)]
    assert hot[0] == pytest.approx(2 * hot[1], rel=1e-3)
    cold = SiteEntropyCalculator(moment_model, temperature=10, quantum=True, extrapolation="ignore")
    zero_point = HBAR_OMEGA * sw_sum(np.sqrt, atoms) / 2
    # Two points per site see √λ near zero, the acoustic modes, no better than to per cents.
    assert cold.get_property("free_energy", atoms) == pytest.approx(zero_point, rel=0.02)


def test_masses_are_free(moment_model, moment_frames, sw_sum):
    """A heavier isotope throughout is exact; a mixture enters through its mean."""
    plain, heavy, mixed = (moment_frames[-1].copy() for _ in range(3))
    heavy.set_masses(2 * plain.get_masses())
    value = correction(moment_model, heavy, 200, "free_energy")
    # ω²/T² is what counts: twice the mass is sqrt(2) times the temperature.
    warm = correction(moment_model, plain, 200 * 2**0.5, "free_energy") / 2**0.5
    assert value == pytest.approx(warm, rel=1e-12)
    # Spread of 3.3 %, a thousandth in second order; the mean alone moves it by 7 %.
    mixed.set_masses(np.random.default_rng(3).choice([29.0, 31.0], len(mixed)))
    exact, before = (
        sw_sum(lambda x: quantum_correction(x, 200).free_energy, atoms) for atoms in (mixed, plain)
    )
    change = exact - before
    predicted = correction(moment_model, mixed, 200, "free_energy")
    learned = predicted - correction(moment_model, plain, 200, "free_energy")
    assert learned == pytest.approx(change, rel=0.02)
    mixed.set_masses(np.where(np.arange(len(mixed)) % 2, 10.0, 30.0))
    with pytest.raises(InvalidStructureError, match="masses from 10 to 30"):
        correction(moment_model, mixed, 200, "free_energy")


def test_moments_travel_with_the_model(moment_model, moment_frames, tmp_path, capsys):
    path = tmp_path / "model.vibent"
    moment_model.save(path)
    values = [
        correction(m, moment_frames[-1], 100, "free_energy")
        for m in (moment_model, SiteModel.load(path))
    ]
    assert values[0] == values[1]
    structure = tmp_path / "structure.xyz"
    dataset.write_labels(structure, moment_frames[-1:])
    command = ["predict", str(path), str(structure), "-T", "100", "--json"]
    printed = []
    for statistics in ([], ["--quantum"]):
        assert main([*command, *statistics]) == 0
        printed.append(json.loads(capsys.readouterr().out)[0]["free_energy_eV"])
    assert printed[1] - printed[0] == pytest.approx(values[0], rel=1e-12)
    calculator = SiteEntropyCalculator(moment_model, temperature=100, extrapolation="ignore")
    before = calculator.get_property("free_energy", moment_frames[-1])
    calculator.set(quantum=True)
    assert calculator.get_property("free_energy", moment_frames[-1]) == before + values[0]


def test_a_model_without_moments_says_what_to_do(moment_model):
    classical_one = replace(moment_model, moments=None)
    calculator = SiteEntropyCalculator(classical_one)
    says = pytest.raises(InvalidInputError, match=r"quantum: .*labels=\['moments'.*train again")
    with says:
        SiteEntropyCalculator(classical_one, quantum=True)
    with says:
        calculator.set(quantum=True)
    assert not calculator.parameters["quantum"]


def test_environments_unlike_any_are_refused(moment_model):
    crowd = bulk("Si", "diamond", a=0.75 * LATTICE_SI, cubic=True) * (2, 2, 1)
    crowd.rattle(0.2, seed=0)
    calculator = SiteEntropyCalculator(moment_model, quantum=True, extrapolation="ignore")
    with pytest.raises(InvalidStructureError, match="training data"):
        calculator.get_property("energy", crowd)
