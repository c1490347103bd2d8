"""Moments of local densities of states, and the surrogate's quantum corrections from them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import kB
from scipy.sparse import csr_array

from ase_vibent import (
    ACE,
    HessianEntropyCalculator,
    SiteEntropyCalculator,
    SiteModel,
    attach_labels,
    dataset,
    train,
)
from ase_vibent.cli import main
from ase_vibent.errors import (
    InvalidInputError,
    InvalidStructureError,
    LabelError,
    TrainingError,
)
from ase_vibent.harmonic.entropy import classical, quantum, quantum_correction
from ase_vibent.harmonic.modes import HBAR_OMEGA, dynamical_matrix
from ase_vibent.harmonic.moments import (
    LocalQuadrature,
    hessian_moments,
    mass_factors,
    thermodynamics_of_moments,
)
from ase_vibent.hessian import compute_hessian
from ase_vibent.labelling.run import LabelTask
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.training.features import FrameFeatures
from ase_vibent.training.moments import fit_moments, labelled_correction, moment_targets

LATTICE_SI = 5.431

FIELDS = ("entropy", "free_energy", "entropy_slope", "free_energy_slope")
SMALL = ACE(["Si"], cutoff=4.2, order=3, degree=8)


def eigenvalues_of(atoms: Atoms) -> np.ndarray:
    """All but the three translations, eV/Å²/amu."""
    matrix = compute_hessian(atoms, stillinger_weber_silicon())
    return np.linalg.eigvalsh(dynamical_matrix(matrix, atoms.get_masses()))[3:]


@pytest.fixture(scope="module")
def frames(rattle) -> list[Atoms]:
    """Crystal, rattled bulk and vacancy cells of silicon, with labels of moments."""
    crystal = bulk("Si", "diamond", a=LATTICE_SI, cubic=True) * (2, 2, 1)
    vacancy = crystal.copy()
    del vacancy[5]
    exact = HessianEntropyCalculator(stillinger_weber_silicon(), unstable="any")
    cells = [crystal, *(rattle((crystal, vacancy)[seed % 2], 0.1, seed) for seed in range(8))]
    return [attach_labels(atoms, exact, labels=["sites", "moments"]) for atoms in cells]


@pytest.fixture(scope="module")
def model(frames) -> SiteModel:
    """Trained on all but the last bulk and the last vacancy cell."""
    return train(frames[:-2], SMALL, quantities=["sites"], test=frames[-2:])


# --- Statistics -----------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [30.0, 300.0, 3000.0])
def test_correction_is_quantum_minus_classical(temperature):
    eigenvalues = np.geomspace(0.01, 10, 40)
    difference = quantum_correction(eigenvalues, temperature)
    parts = [statistics(eigenvalues, temperature) for statistics in (quantum, classical)]
    for name in FIELDS:
        one, other = (getattr(part, name) for part in parts)
        scale = np.abs(one) + np.abs(other)  # what cancels in the difference
        assert np.all(np.abs(getattr(difference, name) - (one - other)) < 1e-14 * scale)


def test_correction_is_smooth_through_zero_and_for_unstable_modes():
    """Its slopes are those of its values, entropies the slopes in temperature, on both sides."""
    eigenvalues = np.array([-20.0, -2.0, -0.3, -1e-4, 0.0, 1e-4, 0.3, 2.0])
    step, temperature = 1e-4, 600.0
    at = quantum_correction(eigenvalues, temperature)
    up, down = (quantum_correction(eigenvalues + s, temperature) for s in (step, -step))
    warm, cold = (quantum_correction(eigenvalues, temperature + s) for s in (0.1, -0.1))
    for name in ("entropy", "free_energy"):
        slope = (getattr(up, name) - getattr(down, name)) / (2 * step)
        np.testing.assert_allclose(getattr(at, f"{name}_slope"), slope, rtol=1e-6)
    cooling = (cold.free_energy - warm.free_energy) / 0.2
    np.testing.assert_allclose(at.entropy, cooling, rtol=1e-6, atol=1e-15)
    assert at.free_energy[4] == at.entropy[4] == 0
    # Series x²/24 of the parabolic barrier and the well, Wigner (1932).
    assert at.free_energy_slope[4] == pytest.approx(HBAR_OMEGA**2 / (24 * kB * temperature))


def test_there_is_no_correction_beyond_the_crossover():
    crossover = (2 * np.pi * kB * 100 / HBAR_OMEGA) ** 2
    assert np.isfinite(quantum_correction(np.array([-0.999 * crossover]), 100).free_energy)
    with pytest.raises(InvalidInputError, match="crossover"):
        quantum_correction(np.array([-1.001 * crossover]), 100)


# --- Moments --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [np.asarray, csr_array])
def test_moments_of_any_masses_come_from_mass_free_ones(form):
    """[D^k]_ii of three species, with masses that the mass-free moments never saw."""
    rng = np.random.default_rng(1)
    species, masses = rng.integers(0, 3, 9), np.array([3.0, 28.0, 60.0])
    root = rng.normal(size=(27, 27))
    hessian = root @ root.T
    dynamical = dynamical_matrix(hessian, masses[species])
    powers = [np.linalg.matrix_power(dynamical, k) for k in (1, 2, 3)]
    expected = np.array([np.diag(p).reshape(-1, 3).sum(axis=1) for p in powers]).T
    factors = mass_factors(1 / masses, 1 / masses)[species]
    moments = np.einsum("ikc,ic->ik", factors, hessian_moments(form(hessian), species, 3))
    np.testing.assert_allclose(moments, expected, rtol=1e-12)


def test_moments_are_local():
    """The same in a larger cell, to the last digit: no other label is free of size effects."""
    calculator = stillinger_weber_silicon()
    values = []
    for repeats in ((2, 2, 2), (2, 2, 3)):
        cell = bulk("Si", "diamond", a=LATTICE_SI, cubic=True) * repeats
        hessian = compute_hessian(cell, calculator, sparse=True)
        moments = hessian_moments(hessian, np.zeros(len(cell), dtype=int), 1)
        np.testing.assert_allclose(moments, np.tile(moments[0], (len(cell), 1)), rtol=1e-10)
        values.append(moments[0])
    np.testing.assert_allclose(values[0], values[1], rtol=1e-10)


def test_quadrature_has_the_moments_and_its_slopes_are_derivatives():
    rng = np.random.default_rng(2)
    points, weights = rng.uniform(0, 4, (6, 5)), rng.dirichlet(np.ones(5), 6) * 3
    moments = np.array([(weights * points**k).sum(axis=1) for k in (1, 2, 3)]).T
    rule = LocalQuadrature.from_moments(moments)
    again = np.array([(rule.weights * rule.nodes**k).sum(axis=1) for k in range(4)]).T
    np.testing.assert_allclose(again, np.column_stack([np.full(6, 3.0), moments]), rtol=1e-12)
    at = thermodynamics_of_moments(moments, quantum_correction, 150)
    for k in range(3):
        step = 1e-5 * np.eye(3)[k]
        up, down = (
            thermodynamics_of_moments(moments + s, quantum_correction, 150) for s in (step, -step)
        )
        for name in ("entropy", "free_energy"):
            slope = (getattr(up, name) - getattr(down, name)) / 2e-5
            exact = getattr(at, f"{name}_slopes")[:, k]
            np.testing.assert_allclose(exact, slope, rtol=1e-6, atol=1e-7 * np.abs(exact).max())


@pytest.mark.parametrize("moments", [(3.0, 2.9, 3.0), (3.0, 3.0, 3.0), (np.nan, 1, 1)])
def test_moments_of_no_density_are_refused(moments):
    with pytest.raises(InvalidStructureError, match="moments"):
        thermodynamics_of_moments(np.array([moments]), quantum_correction, 300)


def test_exact_moments_give_the_correction(frames):
    """Per site, summed: 0.2 % at 100 K and 2e-4 at 200 K, for the bulk as for the vacancy."""
    for atoms in frames[:3]:
        eigenvalues = eigenvalues_of(atoms)
        for temperature, tolerance in ((100, 2e-3), (200, 2e-4), (300, 2e-5)):
            exact = quantum_correction(eigenvalues, temperature).free_energy.sum()
            total = labelled_correction(atoms, temperature).sum()
            assert total == pytest.approx(exact, rel=tolerance)


# --- Labels ---------------------------------------------------------------------------------


def test_labels_know_no_masses_and_are_kept(frames, tmp_path):
    atoms = frames[1].copy()
    del atoms.arrays[dataset.MOMENTS]
    atoms.set_masses(np.linspace(1, 50, len(atoms)))
    exact = HessianEntropyCalculator(stillinger_weber_silicon(), unstable="any")
    heavy = attach_labels(atoms, exact, labels=["moments"])
    label = frames[1].arrays[dataset.MOMENTS]
    np.testing.assert_allclose(heavy.arrays[dataset.MOMENTS], label, rtol=1e-12)
    path = tmp_path / "labels.xyz"
    dataset.write_labels(path, frames[1:2])
    np.testing.assert_array_equal(dataset.read_labels(path)[0].arrays[dataset.MOMENTS], label)
    task = LabelTask(frames[1], labels=["moments"])
    assert task.missing_label(heavy) is None
    assert task.missing_label(atoms) == dataset.MOMENTS


def test_targets_of_frames_that_lack_a_species():
    """Columns are those of all species; no path goes through one that is not there."""
    atoms = Atoms("CSi", positions=np.eye(3)[:2])
    atoms.set_array(dataset.MOMENTS, np.arange(12.0).reshape(2, 6))
    targets = moment_targets(atoms, ["C", "Ge", "Si"])
    # (), C, Ge, Si, C-C, C-Ge, C-Si, Ge-Ge, Ge-Si, Si-Si
    assert targets[0].tolist() == [0, 1, 0, 2, 3, 0, 4, 0, 0, 5]
    atoms.arrays[dataset.MOMENTS] = np.zeros((2, 3))
    with pytest.raises(LabelError, match=r"vibent_moments: expected shape \(2, 6\)"):
        moment_targets(atoms, ["C", "Si"])


def test_kinds_without_labels_of_moments_are_refused(frames):
    mixed = Atoms("SiGe", positions=[[0, 0, 0], [2.4, 0, 0]])
    both = ACE(["Si", "Ge"], cutoff=4.2, order=2, degree=4)
    shift = np.zeros((2, both.n_features))
    with pytest.raises(TrainingError, match="Ge"):
        fit_moments(FrameFeatures(both), [*frames[:2], mixed], shift)
    assert fit_moments(FrameFeatures(both), [mixed], shift) is None  # neither has labels


# --- The surrogate --------------------------------------------------------------------------


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


def test_held_out_corrections(model, frames):
    """Goals: 2 % at 100 K, 0.5 % at 300 K, of a bulk and of a vacancy cell."""
    for atoms in frames[-2:]:
        eigenvalues = eigenvalues_of(atoms)
        for temperature, goal in ((100, 0.02), (300, 0.005)):
            exact = quantum_correction(eigenvalues, temperature)
            for name in ("free_energy", "entropy"):
                value = correction(model, atoms, temperature, name)
                assert value == pytest.approx(getattr(exact, name).sum(), rel=goal)
    errors = model.header["errors"]["test"]["quantum"]
    assert errors["n"] == sum(map(len, frames[-2:]))
    assert errors["rmse"] < 0.005 * abs(labelled_correction(frames[-1], 300).mean()) / (kB * 300)


def test_derivatives_of_quantum_values(model, frames):
    atoms = frames[-1].copy()
    calculator = SiteEntropyCalculator(model, temperature=120, quantum=True, extrapolation="ignore")

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


def test_thermodynamic_identities(model, frames):
    """S = -∂F/∂T, also site by site; sums of sites; twice the cell, twice the value."""
    atoms = frames[-1]
    calculator = SiteEntropyCalculator(model, quantum=True, extrapolation="ignore")
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


def test_limits_of_temperature(model, frames):
    """Classical when it is hot, with a difference ∝ 1/T; the zero-point energy when it is cold."""
    atoms = frames[-1]
    hot = [correction(model, atoms, t, "free_energy") for t in (5e3, 1e4)]
    assert hot[0] == pytest.approx(2 * hot[1], rel=1e-3)
    eigenvalues = eigenvalues_of(atoms)
    cold = SiteEntropyCalculator(model, temperature=10, quantum=True, extrapolation="ignore")
    zero_point = HBAR_OMEGA * np.sqrt(eigenvalues).sum() / 2
    # Two points per site see √λ near zero, the acoustic modes, no better than to per cents.
    assert cold.get_property("free_energy", atoms) == pytest.approx(zero_point, rel=0.02)


def test_masses_are_free(model, frames):
    """A heavier isotope throughout is exact; a mixture enters through its mean."""
    plain, heavy, mixed = (frames[-1].copy() for _ in range(3))
    heavy.set_masses(2 * plain.get_masses())
    value = correction(model, heavy, 200, "free_energy")
    # ω²/T² is what counts: twice the mass is sqrt(2) times the temperature.
    warm = correction(model, plain, 200 * 2**0.5, "free_energy") / 2**0.5
    assert value == pytest.approx(warm, rel=1e-12)
    # Spread of 3.3 %, a thousandth in second order; the mean alone moves it by 7 %.
    mixed.set_masses(np.random.default_rng(3).choice([29.0, 31.0], len(mixed)))
    exact = quantum_correction(eigenvalues_of(mixed), 200).free_energy.sum()
    change = exact - quantum_correction(eigenvalues_of(plain), 200).free_energy.sum()
    predicted = correction(model, mixed, 200, "free_energy")
    learned = predicted - correction(model, plain, 200, "free_energy")
    assert learned == pytest.approx(change, rel=0.02)
    mixed.set_masses(np.where(np.arange(len(mixed)) % 2, 10.0, 30.0))
    with pytest.raises(InvalidStructureError, match="masses from 10 to 30"):
        correction(model, mixed, 200, "free_energy")


def test_moments_travel_with_the_model(model, frames, tmp_path, capsys):
    path = tmp_path / "model.vibent"
    model.save(path)
    values = [correction(m, frames[-1], 100, "free_energy") for m in (model, SiteModel.load(path))]
    assert values[0] == values[1]
    structure = tmp_path / "structure.xyz"
    dataset.write_labels(structure, frames[-1:])
    command = ["predict", str(path), str(structure), "-T", "100", "--json"]
    printed = []
    for statistics in ([], ["--quantum"]):
        assert main([*command, *statistics]) == 0
        printed.append(json.loads(capsys.readouterr().out)[0]["free_energy_eV"])
    assert printed[1] - printed[0] == pytest.approx(values[0], rel=1e-12)
    calculator = SiteEntropyCalculator(model, temperature=100, extrapolation="ignore")
    before = calculator.get_property("free_energy", frames[-1])
    calculator.set(quantum=True)
    assert calculator.get_property("free_energy", frames[-1]) == before + values[0]


def test_a_model_without_moments_says_what_to_do(model):
    classical_one = replace(model, moments=None)
    calculator = SiteEntropyCalculator(classical_one)
    says = pytest.raises(InvalidInputError, match=r"quantum: .*labels=\['moments'.*train again")
    with says:
        SiteEntropyCalculator(classical_one, quantum=True)
    with says:
        calculator.set(quantum=True)
    assert not calculator.parameters["quantum"]


def test_environments_unlike_any_are_refused(model):
    crowd = bulk("Si", "diamond", a=0.75 * LATTICE_SI, cubic=True) * (2, 2, 1)
    crowd.rattle(0.2, seed=0)
    calculator = SiteEntropyCalculator(model, quantum=True, extrapolation="ignore")
    with pytest.raises(InvalidStructureError, match="training data"):
        calculator.get_property("energy", crowd)
