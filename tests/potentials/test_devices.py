"""Whether a calculator works on a graphics processor is told by what it holds."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ase.calculators.emt import EMT
from ase.calculators.mixing import SumCalculator

from ase_vibent.potentials import accelerator


class device:  # noqa: N801 - PyTorch's name
    """As PyTorch's."""

    def __init__(self, name):
        self.name = name

    def __str__(self):
        return self.name


class Network:
    def __init__(self, where):
        self.where = where

    def parameters(self):
        yield SimpleNamespace(device=self.where)


class Awkward(EMT):
    @property
    def device(self):
        raise RuntimeError("not yet")


def with_attributes(**attributes):
    calculator = EMT()
    for name, value in attributes.items():
        setattr(calculator, name, value)
    return calculator


@pytest.mark.parametrize(
    ("calculator", "found"),
    [
        (with_attributes(device="cuda"), "cuda"),
        (with_attributes(device=device("cuda:1")), "cuda:1"),
        (with_attributes(_device=device("cuda:0")), "cuda:0"),
        (with_attributes(model=SimpleNamespace(device="mps")), "mps"),
        (with_attributes(predictor=SimpleNamespace(device=device("xpu:0"))), "xpu:0"),
        (with_attributes(potential=Network(device("cuda:0"))), "cuda:0"),
        (with_attributes(models=[Network("cpu"), Network("cuda:2")]), "cuda:2"),
        (SumCalculator([EMT(), with_attributes(device="cuda")]), "cuda"),
        (with_attributes(device="cpu", model=Network("cpu")), None),
        (with_attributes(title="cuda", note=["cuda"]), None),
        (SumCalculator([EMT(), EMT()]), None),
        (EMT(), None),
        (Awkward(), None),
        (object(), None),
    ],
)
def test_accelerators(calculator, found):
    assert accelerator(calculator) == found
