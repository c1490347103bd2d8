"""Checks of arguments."""

import numpy as np
import pytest
from ase.calculators.emt import EMT

from ase_vibent import ACE, HessianEntropyCalculator
from ase_vibent.checks import check_positive
from ase_vibent.errors import InvalidInputError
from ase_vibent.hessian import HessianOptions

BAD = [0, -1.0, np.nan, np.inf, "1", None, 1j, np.ones(2)]


@pytest.mark.parametrize("value", [1, 1e-300, np.float32(0.5), np.int64(3)])
def test_positive_numbers(value):
    check_positive("width", value)
    assert HessianEntropyCalculator(EMT, tolerance=value).parameters["tolerance"] == value


@pytest.mark.parametrize("value", BAD)
def test_what_is_none_is_told_alike(value):
    """Wherever it is given, with the unit where there is one."""
    for name, unit, use in (
        ("width", "", lambda: check_positive("width", value)),
        ("displacement", " in Å", lambda: HessianOptions(displacement=value)),
        ("tolerance", " in k_B", lambda: HessianEntropyCalculator(EMT, tolerance=value)),
        ("smoothness", "", lambda: ACE(["Si"], cutoff=4.0).roughness(value)),
    ):
        with pytest.raises(InvalidInputError, match=f"^{name}: expected a number{unit} > 0, got "):
            use()
