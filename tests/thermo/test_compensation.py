"""The compensation law: known lines are found, whatever the noise about them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_vibent.errors import InvalidInputError
from ase_vibent.thermo import compensation_law


def events(slope: float, intercept: float, noise: float, count: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    barriers = rng.gamma(4.0, 0.5, count)
    logarithms = slope * barriers + intercept + noise * rng.normal(size=count)
    return barriers, 1e12 * np.exp(logarithms)


@settings(max_examples=20, deadline=None)
@given(slope=st.floats(0.3, 5), intercept=st.floats(-3, 3))
def test_an_exact_law(slope, intercept):
    law = compensation_law(*events(slope, intercept, 0.0, 200), bins=10)
    assert law.slope == pytest.approx(slope, rel=1e-9)
    assert law.intercept == pytest.approx(intercept, abs=1e-8)
    assert law.correlation == pytest.approx(1)
    # ln ν_i / ln ν_j is then the ratio of the barriers above ΔE_0 for every pair.
    assert law.kappas().max() < 1e-6


def test_noise_is_measured():
    slope, noise, count = 1.5, 0.6, 20000
    barriers, frequencies = events(slope, 1.0, noise, count)
    law = compensation_law(barriers, frequencies)
    spread = slope * barriers.std()
    assert law.slope == pytest.approx(slope, abs=5 * noise / barriers.std() / count**0.5)
    assert law.correlation == pytest.approx(spread / np.hypot(spread, noise), abs=0.01)
    assert law.counts.sum() == count
    crowded = law.counts > 500
    # Within a bin the law itself adds (slope · width)²/12.
    width = np.diff(law.edges)[0]
    expected = noise**2 + (slope * width) ** 2 / 12
    assert law.variances[crowded] == pytest.approx(expected, rel=0.25)
    assert law.residuals.std() == pytest.approx(noise, rel=0.03)
    assert law.lognormality > 1e-3
    assert law.marginal_slope == pytest.approx(slope, abs=0.3)
    growing = np.random.default_rng(1).normal(size=count) * barriers
    assert law.constancy > 1e-3
    assert compensation_law(barriers, frequencies * np.exp(growing)).constancy < 1e-6
    assert np.isnan(compensation_law(barriers[:50], frequencies[:50], bins=25).constancy)
    skewed = compensation_law(barriers, frequencies * np.exp(barriers**2))
    assert skewed.lognormality < 1e-6


def test_kappa_by_hand():
    barriers = np.linspace(0.5, 2.0, 12)
    logarithms = 1 + barriers + 0.1 * (-1.0) ** np.arange(12)
    law = compensation_law(barriers, 1e12 * np.exp(logarithms), bins=3)
    zero = -law.intercept / law.slope
    found = law.kappas()
    for i in range(12):
        for j in range(12):
            ratio = (barriers[i] - zero) / (barriers[j] - zero)
            difference = abs(logarithms[i] - ratio * logarithms[j])
            assert found[i, j] == pytest.approx(difference / abs(logarithms[i] + logarithms[j]))
    assert law.kappas(law.slope * barriers + law.intercept).max() < 1e-10
    with pytest.raises(InvalidInputError, match="expected shape"):
        law.kappas([1.0])


@pytest.mark.parametrize(
    ("barriers", "frequencies"),
    [
        (np.ones(5), np.ones(5)),
        (np.arange(20.0), np.ones(19)),
        (np.ones(20), np.ones(20)),
        (np.arange(20.0), -np.ones(20)),
        (np.full(20, np.nan), np.ones(20)),
        (np.arange(20.0), np.full(20, np.inf)),
    ],
)
def test_what_is_no_set_of_events(barriers, frequencies):
    with pytest.raises(InvalidInputError, match="barriers"):
        compensation_law(barriers, frequencies)
