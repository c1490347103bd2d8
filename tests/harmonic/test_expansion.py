"""Expansions about crystals, on densities of states that are known in full."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from ase.units import kB
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_vibent.harmonic.entropy import quantum
from ase_vibent.harmonic.expansion import (
    N_MOMENTS,
    N_NODES,
    Densities,
    Expansion,
    density_nodes,
)
from ase_vibent.harmonic.modes import HBAR_OMEGA

QUANTITIES = ("entropy", "free_energy")
#: Spectrum of two kinds of sites: acoustic modes as Debye's, and an optical band on one kind.
OMEGA = np.linspace(0.002, 1.998, 999)
ACOUSTIC = np.where(OMEGA < 1.5, OMEGA**2, 0.0)
OPTICAL = np.exp(-(((OMEGA - 1.7) / 0.1) ** 2))
SHARES = np.array(
    [
        0.8 * ACOUSTIC / ACOUSTIC.sum() + 0.2 * OPTICAL / OPTICAL.sum(),
        0.4 * ACOUSTIC / ACOUSTIC.sum() + 0.6 * OPTICAL / OPTICAL.sum(),
    ]
)
WEIGHTS = 3 * SHARES / SHARES.sum(axis=1, keepdims=True)
MEAN = WEIGHTS.mean(axis=0)
#: k_B T = 1 where ħω = 1 in units of OMEGA.
UNIT = HBAR_OMEGA / kB


@cache
def densities() -> Densities:
    of_kinds = np.array([density_nodes(OMEGA**2, own) for own in WEIGHTS])
    return Densities(of_kinds[:, 0], of_kinds[:, 1], *density_nodes(OMEGA**2, MEAN))


def expanded(
    expansion: Expansion, eigenvalues: np.ndarray, counts: tuple[int, int] = (1, 1)
) -> float:
    """Value for modes at eigenvalues, with the weights of so many atoms of both kinds."""
    weights = np.array(counts) @ WEIGHTS
    moments = [weights @ eigenvalues**k for k in range(1, N_MOMENTS + 1)]
    logarithms = weights @ np.log(eigenvalues)
    return float(
        np.array(counts) @ expansion.atoms
        + expansion.logarithm * logarithms
        + expansion.moments @ moments
    )


def exact(quantity: str, eigenvalues: np.ndarray, temperature: float, counts=(1, 1)) -> float:
    return float(np.array(counts) @ WEIGHTS @ getattr(quantum(eigenvalues, temperature), quantity))


def test_nodes_have_the_moments_of_the_density():
    """Of ω up to order 2 n - 1, also of a density of few frequencies; half-integers of λ too."""
    nodes, weights = density_nodes(OMEGA**2, MEAN)
    orders = np.arange(2 * N_NODES)[:, None]
    np.testing.assert_allclose(
        (np.sqrt(nodes) ** orders) @ weights, (OMEGA**orders) @ MEAN, rtol=1e-11
    )
    assert np.all(np.diff(nodes) > 0)
    assert np.all(weights > 0)
    assert weights @ np.log(nodes) == pytest.approx(MEAN @ np.log(OMEGA**2), abs=1e-6)


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("temperature", [0.0, 0.02, 0.1, 0.3, 1.0, 30.0])
def test_the_crystals_are_exact(quantity, temperature):
    """At all temperatures, 0 K among them, in any proportion of kinds, and at any scale."""
    for scale in (1.0, 0.5, 1.3):
        found = Expansion.of_crystals(densities(), quantity, temperature * UNIT, scale=scale)
        for counts in ((1, 1), (3, 0), (0, 2)):
            value = expanded(found, scale * OMEGA**2, counts)
            expected = exact(quantity, scale * OMEGA**2, temperature * UNIT, counts)
            unit = kB if quantity == "entropy" else HBAR_OMEGA
            assert value == pytest.approx(expected, abs=1e-6 * unit)


@pytest.mark.parametrize("quantity", QUANTITIES)
@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(-0.25, 0.25), min_size=4, max_size=4), st.floats(0.05, 3))
def test_cubic_changes_of_the_spectrum_are_exact_to_first_order(quantity, cubic, temperature):
    """A tenth of the change, a hundredth of the error: Grüneisen parameters, one for each λ."""
    found = Expansion.of_crystals(densities(), quantity, temperature * UNIT)
    unit = kB if quantity == "entropy" else HBAR_OMEGA
    change = np.polynomial.polynomial.polyval(OMEGA**2 / 4, cubic)
    errors = []
    for size in (1e-2, 1e-3):
        strained = OMEGA**2 * (1 + size * change)
        errors.append(expanded(found, strained) - exact(quantity, strained, temperature * UNIT))
    # What the nodes are off is the same for all.
    nodes = expanded(found, OMEGA**2) - exact(quantity, OMEGA**2, temperature * UNIT)
    errors = [error - nodes for error in errors]
    assert abs(errors[1]) < 0.02 * abs(errors[0]) + 1e-9 * unit
    assert abs(errors[0]) < 2e-4 * unit


@pytest.mark.parametrize("temperature", [0.02, 0.1, 1.0])
def test_entropy_is_the_slope_of_the_free_energy(temperature):
    """Of every part of it, so that they are of one free energy, whatever the structure."""
    at = Expansion.of_crystals(densities(), "entropy", temperature * UNIT, scale=0.8)
    step = 1e-4 * temperature * UNIT
    warm, cold = (
        Expansion.of_crystals(densities(), "free_energy", temperature * UNIT + s, scale=0.8)
        for s in (step, -step)
    )
    for name in ("atoms", "mode", "logarithm", "moments"):
        slope = (getattr(cold, name) - getattr(warm, name)) / (2 * step)
        scale = np.abs(getattr(at, name)).max()
        np.testing.assert_allclose(getattr(at, name), slope, rtol=0, atol=1e-5 * scale)


def test_limits_of_temperature():
    """Hot, the classical entropy and no moments; at 0 K no entropy at all."""
    hot = Expansion.of_crystals(densities(), "entropy", 300 * UNIT)
    assert hot.logarithm == pytest.approx(-kB / 2, rel=1e-5)
    assert np.all(np.abs(hot.moments) < 1e-5 * kB)
    cold = Expansion.of_crystals(densities(), "entropy", 0.0)
    for name in ("atoms", "mode", "logarithm", "moments"):
        assert np.all(getattr(cold, name) == 0)


def test_fewer_moments_and_the_share_of_one_mode():
    """Without the last moment its factor is none; kinds like the mean have three mean modes."""
    fewer = Expansion.of_crystals(densities(), "entropy", 0.1 * UNIT, n_moments=2)
    assert fewer.moments[2] == 0 != fewer.moments[1]
    alike = density_nodes(OMEGA**2, MEAN)
    same = Densities(alike[0][None], alike[1][None], *alike)
    found = Expansion.of_crystals(same, "free_energy", 0.1 * UNIT)
    assert found.atoms[0] == pytest.approx(3 * found.mode, rel=1e-12)
    difference = found - Expansion.of_crystals(same, "free_energy", 0.2 * UNIT)
    assert (
        difference.logarithm
        == found.logarithm - Expansion.of_crystals(same, "free_energy", 0.2 * UNIT).logarithm
    )
