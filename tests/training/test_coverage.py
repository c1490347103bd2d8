"""Whether stated errors hold: coverage, its own uncertainty, and the sentence about it."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_vibent import ACE, train
from ase_vibent.errors import InvalidInputError, LabelError
from ase_vibent.figures import calibration_plot
from ase_vibent.training.coverage import FEWEST, StatedErrors, check_calibration, defect_kind
from ase_vibent.training.report import evaluate_frames


def drawn(n, factor=1.0, seed=0, scores=None):
    """Errors that are normal, stated too small by a factor."""
    rng = np.random.default_rng(seed)
    stds = np.exp(rng.normal(size=n))
    scores = rng.normal(size=n) if scores is None else scores
    return StatedErrors(factor * stds * scores, stds, ("crystal",) * n, np.full(n, 64))


def test_right_errors_are_trusted_and_wrong_ones_are_not():
    assert "to be trusted: 2000" in drawn(2000).verdict()
    for factor, word in ((0.5, "large"), (2.0, "small")):
        verdict = drawn(2000, factor).verdict()
        assert f"not to be trusted: too {word}, multiply them by" in verdict
        found, low, high = drawn(2000, factor).factor()
        assert low < factor < high
        # 2000 cells tell a factor to 1 / √(2 · 2000) · 1.4, the efficiency of a quantile, or so.
        assert found == pytest.approx(factor, rel=0.08)
    # A triangle of |errors| of which 68 % are within one standard deviation, but all within 2.3.
    scores = 2.29 * (1 - np.sqrt(1 - (np.arange(2000) + 0.5) / 2000))
    assert "right in size but not in shape" in drawn(2000, scores=scores).verdict()
    # Right together, wrong apart.
    together = StatedErrors(
        np.append(drawn(200, 0.3).errors, drawn(200, 1.9).errors),
        np.append(drawn(200).stds, drawn(200).stds),
        ("stiff",) * 200 + ("soft",) * 200,
        np.full(400, 64),
    )
    stiff, soft = sorted(together.remarks(), reverse=True)[:2]
    assert stiff.startswith("stiff: stated errors are not to be trusted: too large")
    assert soft.startswith("soft: stated errors are not to be trusted: too small")
    assert drawn(200).remarks() == []
    assert "too few" in drawn(FEWEST - 1).verdict()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 300), st.floats(0.1, 10), st.integers(0, 2**32 - 1))
def test_ranges_hold_what_they_are_about(n, factor, seed):
    calibration = drawn(n, factor, seed)
    for level in (0.01, 0.5, 0.8, 0.95, 0.99):
        share, low, high = calibration.coverage(level)
        assert 0 <= low <= share <= high <= 1
    found, low, high = calibration.factor()
    assert 0 <= low <= found <= high
    # Multiplied by the factor, 68 % are inside.
    mended = StatedErrors(calibration.errors, found * calibration.stds, calibration.kinds, None)
    assert np.mean(mended.scores <= 1 + 1e-12) == pytest.approx(0.683, abs=1 / n)


def test_the_true_factor_is_in_its_range_as_often_as_stated():
    """95 % of samples of 20 cells at least, since order statistics are discrete."""
    held = [low <= 1 <= high for _, low, high in (drawn(20, seed=k).factor() for k in range(1000))]
    # Three standard deviations of 1000 trials.
    assert np.mean(held) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 1000)


def test_calibration_is_that_of_held_out_cells(silicon_frames, tmp_path):
    """Same errors and standard deviations as elsewhere; perfect crystals do not count."""
    fitted, held = silicon_frames[:7], [silicon_frames[0], *silicon_frames[7:]]
    model = train(fitted, ACE(["Si"], cutoff=4.2, order=2, degree=6))
    found = check_calibration(model, held)
    comparison = evaluate_frames(model, held)["total"]
    np.testing.assert_allclose(found.errors, (comparison.predicted - comparison.exact)[1:])
    np.testing.assert_allclose(found.stds, [model.uncertainty(atoms)[0] for atoms in held[1:]])
    assert set(found.sizes) == {len(silicon_frames[0])}
    groups = found.metrics()["groups"]
    kinds = [name for name in groups if name in found.kinds]
    assert sum(groups[name]["n"] for name in kinds) == groups["all"]["n"] == len(held) - 1
    calibration_plot(found, tmp_path / "calibration.svg")
    assert "coverage that the model states" in (tmp_path / "calibration.svg").read_text(
        encoding="utf-8"
    )
    with pytest.raises(LabelError, match="perfect crystals"):
        check_calibration(model, held[:1])
    with pytest.raises(InvalidInputError, match="posterior"):
        check_calibration(replace(model, posterior=None), held)


def test_kinds_are_named_by_info_or_composition():
    crystal = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    vacancy = crystal[1:]
    antisite = crystal.copy()
    antisite.symbols[0] = "Cl"
    assert defect_kind(crystal, crystal) == "crystal"
    assert defect_kind(vacancy, crystal) == "-1 Na"
    assert defect_kind(antisite, crystal) == "+1 Cl, -1 Na"
    assert defect_kind(vacancy, None) == "no crystal"
    vacancy.info["defect"] = "vacancy"
    assert defect_kind(vacancy, crystal) == "vacancy"
    assert defect_kind(vacancy, crystal, "point") == "-1 Na"
