"""The surrogate's quantum statistics, from a crystal's densities of states and moments."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.units import kB

from ase_vibent import SiteEntropyCalculator, SiteModel, dataset
from ase_vibent.cli import main
from ase_vibent.crystal.bulk import InfiniteCrystal
from ase_vibent.descriptors import SiteSums
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.harmonic.entropy import mass_entropy, quantum, quantum_correction
from ase_vibent.harmonic.modes import HBAR_OMEGA
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.training.moments import moment_targets


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


def test_held_out_entropies(moment_model, moment_frames, sw_sum):
    """Goal: 0.002 k_B per atom, of exact classical entropies and learned moments.

    Beyond the crystal in its cell: both are sums over one mesh.
    """
    moments, descriptor = moment_model.moments, moment_model.descriptor

    def entropies(atoms, temperature):
        modes = atoms.arrays[dataset.SITE_MODES]
        reduced = atoms.arrays[dataset.SITES] / kB - modes - mass_entropy(atoms.get_masses())
        sites = SiteSums(reduced, None, None)
        found = moments.evaluate(descriptor, atoms, sites, temperature, gradient=False)
        return np.array(
            [found.entropies.sum(), sw_sum(lambda x: quantum(x, temperature).entropy, atoms)]
        )

    for temperature in (25, 50, 100, 300):
        crystal = entropies(moment_frames[0], temperature) / len(moment_frames[0])
        for atoms in moment_frames[-2:]:
            learned, exact = entropies(atoms, temperature) - len(atoms) * crystal
            assert abs(learned - exact) < 0.002 * kB * len(atoms)
    errors = moment_model.header["errors"]["test"]["quantum"]
    assert errors["n"] == sum(map(len, moment_frames[-2:]))
    labels = moment_targets(moment_frames[-1], ["Si"])
    moments, descriptor = moment_model.moments, moment_model.descriptor
    shares = moments.free_energies(descriptor, moment_frames[-1], 300, labels) / (kB * 300)
    assert errors["rmse"] < 0.005 * abs(shares.mean())


def test_the_crystal_is_exact(moment_model, moment_frames):
    """At all temperatures that a mesh resolves, and at 0 K, with its zero-point energy."""
    crystal = moment_frames[0].copy()
    infinite = InfiniteCrystal(crystal, stillinger_weber_silicon(), width=9.0)
    calculator = SiteEntropyCalculator(moment_model, quantum=True, extrapolation="ignore")
    temperatures = [0.0, 60.0, 100.0, 300.0, 1000.0]
    learned = calculator.vibrations(crystal, temperatures)
    exact = infinite.vibrations(temperatures, quantum=True)
    # The mesh of the exact ones is coarser, and the moments are learned in a cell that is narrow.
    np.testing.assert_allclose(
        learned.entropies, exact.entropies, rtol=0, atol=1e-3 * kB * len(crystal)
    )
    np.testing.assert_allclose(learned.free_energies, exact.free_energies, atol=1e-5 * len(crystal))
    assert learned.entropies[0] == 0


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
    # The mesh of the narrow cell is off by 1e-3 for the crystal already.
    assert cold.get_property("free_energy", atoms) == pytest.approx(zero_point, rel=2e-3)
    colder = SiteEntropyCalculator(
        moment_model, temperature=0, quantum=True, extrapolation="ignore"
    )
    assert colder.get_property("entropy", atoms) == 0
    assert np.all(colder.get_property("entropy_gradient", atoms) == 0)
    # S falls off as T³.
    assert cold.get_property("entropy", atoms) < 1e-3 * kB * len(atoms)
    energy, force = (cold.get_property(name, atoms) for name in ("free_energy", "forces"))
    assert energy == pytest.approx(colder.get_property("free_energy", atoms), rel=1e-5)
    np.testing.assert_allclose(force, colder.get_property("forces", atoms), atol=1e-5)


def test_error_bars(moment_model, moment_frames):
    """Classical ones as far as entropies are classical, and what the last two moments add."""
    crystal, atoms = moment_frames[0], moment_frames[-1]
    calculators = [
        SiteEntropyCalculator(moment_model, temperature=100, quantum=q, extrapolation="ignore")
        for q in (True, False)
    ]
    moments, descriptor = moment_model.moments, moment_model.descriptor

    def truncation(structure):
        own = moment_model.evaluate(structure, gradient=False)
        return moments.truncation(descriptor, structure, own, 100)

    # The crystal is exact, but for what moments are off in a cell that is narrow.
    assert np.abs(truncation(crystal)).max() < 1e-3 * kB
    missing, slope = truncation(atoms), moments.entropy_slope(atoms, 100)
    assert 0 < slope < kB
    std, classical = (c.get_property("entropy_std", atoms) for c in calculators)
    off = np.linalg.norm(missing.sum(axis=1))
    assert std == pytest.approx(np.hypot(slope / kB * classical, off), rel=1e-12)
    assert calculators[0].predicted_std(atoms, [50, 100]) >= std * (1 - 1e-9)
    assert calculators[0].predicted_std(atoms, 100) == pytest.approx(std, rel=1e-9)
    sites = calculators[0].get_property("entropies_std", atoms)
    assert np.all(sites >= np.abs(missing).max(axis=0))
    # In a difference the shares of what both have cancel.
    alone = calculators[0].combination_std([(1.0, atoms), (-1.0, atoms)], 100)
    common = moment_model.combination_std([(1.0, atoms), (-1.0, atoms)])
    assert alone == pytest.approx(slope * common, rel=1e-6)


def test_a_mode_left_out(moment_model, moment_frames):
    """Hot, it is a mean classical oscillator's less: the sum over modes is what a model learned."""
    atoms = moment_frames[-1]
    for t, tolerance in ((3e3, 1e-3), (3e4, 1e-5)):
        values = []
        for q in (True, False):
            calculator = SiteEntropyCalculator(moment_model, quantum=q, extrapolation="ignore")
            whole, fewer = (calculator.vibrations(atoms, t, n_unstable=n) for n in (0, 1))
            values.append((whole - fewer).entropies[0])
        assert values[0] == pytest.approx(values[1], abs=tolerance * kB)


def test_masses_are_free(moment_model, moment_frames, sw_sum):
    """A heavier isotope throughout is exact; a mixture enters through its mean."""
    plain, heavy, mixed = (moment_frames[-1].copy() for _ in range(3))
    heavy.set_masses(2 * plain.get_masses())
    value = correction(moment_model, heavy, 200, "free_energy")
    # ω²/T² is what counts: twice the mass is sqrt(2) times the temperature.
    warm = correction(moment_model, plain, 200 * 2**0.5, "free_energy") / 2**0.5
    assert value == pytest.approx(warm, rel=1e-9)
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
    after = calculator.get_property("free_energy", moment_frames[-1])
    assert after == pytest.approx(before + values[0], rel=1e-13)


def test_a_model_without_moments_says_what_to_do(moment_model):
    classical_one = replace(moment_model, moments=None)
    calculator = SiteEntropyCalculator(classical_one)
    says = pytest.raises(InvalidInputError, match=r"quantum: .*labels=\['moments'.*train again")
    with says:
        SiteEntropyCalculator(classical_one, quantum=True)
    with says:
        calculator.set(quantum=True)
    assert not calculator.parameters["quantum"]
