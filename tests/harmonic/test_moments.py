"""Quantum corrections, and moments of local densities of states that they follow from."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.units import kB
from scipy.sparse import csr_array

from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.entropy import classical, quantum, quantum_correction
from ase_vibent.harmonic.modes import HBAR_OMEGA, dynamical_matrix
from ase_vibent.harmonic.moments import hessian_moments, mass_factors
from ase_vibent.hessian import compute_hessian
from ase_vibent.potentials import stillinger_weber_silicon

LATTICE_SI = 5.431

FIELDS = ("entropy", "free_energy", "entropy_slope", "free_energy_slope")


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
