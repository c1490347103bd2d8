"""Models of torch-sim as calculators: alone and in batches, without torch-sim and with it."""

from __future__ import annotations

import itertools
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.stress import voigt_6_to_full_3x3_stress

from ase_vibent import HessianEntropyCalculator
from ase_vibent.errors import CalculatorError, InvalidInputError
from ase_vibent.hessian.batches import forces_batch
from ase_vibent.potentials import CalculatorSpec, TorchSimCalculator, resolve_calculator


class ModelInterface:
    """As much of torch-sim's as the calculator uses; the forces are EMT's, of float32 if asked."""

    device, dtype = "cpu", "torch.float64"
    compute_forces = compute_stress = settable = True

    def __init__(self, **attributes):
        self.asked = []
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name, value):
        if name == "compute_stress" and not self.settable:
            raise NotImplementedError("no setter")
        object.__setattr__(self, name, value)

    def __call__(self, state):
        self.asked.append(len(state.structures))
        found = {
            "energy": np.array([EMT().get_property("energy", a) for a in state.structures]),
            "forces": np.concatenate([EMT().get_property("forces", a) for a in state.structures]),
        }
        if self.compute_stress:
            stresses = [EMT().get_property("stress", a) for a in state.structures]
            found["stress"] = np.array([voigt_6_to_full_3x3_stress(s) for s in stresses])
        return found


ModelInterface.__module__ = "torch_sim.models.interface"


class Model(ModelInterface):
    """What users have derives from the interface."""


@pytest.fixture(autouse=True)
def package(monkeypatch):
    """torch-sim, as far as it is needed; of a version that knows periodicity as one word."""
    io = ModuleType("torch_sim.io")
    io.atoms_to_state = lambda structures, device, dtype: SimpleNamespace(
        structures=structures, pbc=all(structures[0].pbc)
    )
    monkeypatch.setitem(sys.modules, "torch_sim", ModuleType("torch_sim"))
    monkeypatch.setitem(sys.modules, "torch_sim.io", io)


def copper(n: int = 1) -> Atoms:
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True) * (n, 1, 1)
    atoms.rattle(0.05, seed=n)
    return atoms


def test_values_are_the_models():
    calculator = TorchSimCalculator(Model(compute_stress=False))
    for atoms in (copper(), copper(2), copper()):
        for name in ("energy", "free_energy", "forces", "stress"):
            expected = EMT().get_property(name, atoms)
            np.testing.assert_allclose(calculator.get_property(name, atoms), expected, atol=1e-12)


@pytest.mark.parametrize("stress", [False, True])
@pytest.mark.parametrize("most", [1, 3])
def test_batches(stress, most):
    model = Model()
    structures = [copper(n) for n in (1, 2, 1)][:most]
    found = forces_batch(TorchSimCalculator(model)).responses(structures, stress)
    assert model.asked == [most]
    for (forces, own), atoms in zip(found, structures, strict=True):
        np.testing.assert_allclose(forces, EMT().get_property("forces", atoms), atol=1e-12)
        if stress:
            expected = voigt_6_to_full_3x3_stress(EMT().get_property("stress", atoms))
            np.testing.assert_allclose(own, expected, atol=1e-12)


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: lambda: m, TorchSimCalculator])
def test_a_model_serves_as_calculator(wrap):
    """It is callable, but no factory; and its displacements go in batches."""
    model, atoms = Model(), copper()
    exact = HessianEntropyCalculator(wrap(model), mesh="gamma", unstable="any")
    expected = HessianEntropyCalculator(EMT(), mesh="gamma", unstable="any")
    for name in ("entropy", "entropy_strain"):
        value = exact.get_property(name, atoms)
        np.testing.assert_allclose(value, expected.get_property(name, atoms), rtol=1e-6, atol=1e-12)
    assert max(model.asked) > 10


def test_a_model_by_name(monkeypatch):
    module = ModuleType("my_models")
    module.copper = lambda dtype: Model(dtype=dtype)
    monkeypatch.setitem(sys.modules, "my_models", module)
    made = CalculatorSpec("my_models:copper(dtype='torch.float32')")()
    assert isinstance(made, TorchSimCalculator)
    assert made.parameters == {"model": "Model", "dtype": "torch.float32"}


def test_stress_that_a_model_cannot_give():
    model = Model(compute_stress=False, settable=False)
    calculator = resolve_calculator(model)
    assert "stress" not in calculator.implemented_properties
    assert not forces_batch(calculator).has_stress
    exact = HessianEntropyCalculator(model, mesh="gamma", unstable="any")
    exact.get_property("entropy", copper())
    with pytest.raises(CalculatorError, match="TorchSimCalculator offers no stress"):
        exact.get_property("entropy_strain", copper())


@pytest.mark.parametrize("pbc", [(1, 1, 0), (0, 0, 1)])
def test_periodicity_that_is_lost_is_refused(pbc):
    atoms = fcc111("Cu", (1, 1, 3), vacuum=6.0)
    atoms.pbc = pbc
    with pytest.raises(CalculatorError, match=r"periodic along (xy|z) for one .* along none"):
        forces_batch(TorchSimCalculator(Model())).responses([atoms], False)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (3, "expected one of torch-sim, a ModelInterface, got int"),
        (EMT(), "got EMT"),
        (Model, "got type"),
        (Model(compute_forces=False), "told to compute no forces; .* compute_forces=True"),
    ],
)
def test_what_is_no_model(model, said):
    with pytest.raises(InvalidInputError, match=rf"^model: .*{said}"):
        TorchSimCalculator(model)


def test_a_model_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_sim.io", None)
    exact = HessianEntropyCalculator(Model(), mesh="gamma", unstable="any")
    with pytest.raises(
        CalculatorError, match=r"TorchSimCalculator failed to give forces: .*torch_sim"
    ):
        exact.get_property("entropy", copper())


def test_the_package_itself(monkeypatch):
    monkeypatch.undo()
    models = pytest.importorskip("torch_sim.models.lennard_jones", reason="needs torch-sim")
    import torch

    model = models.LennardJonesModel(
        3.4, 0.0104, dtype=torch.float64, compute_stress=True, cutoff=6.5
    )
    calculator = resolve_calculator(model)
    structures = [bulk("Ar", "fcc", a=5.3, cubic=True) * (n, 1, 1) for n in (1, 2, 1)]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=seed)
    batch = forces_batch(calculator)
    for chosen in itertools.chain([structures], zip(structures, strict=True)):
        for (forces, stress), atoms in zip(batch.responses(chosen, True), chosen, strict=True):
            expected = calculator.get_property("forces", atoms.copy())
            np.testing.assert_allclose(forces, expected, atol=1e-12)
            own = voigt_6_to_full_3x3_stress(calculator.get_property("stress", atoms.copy()))
            np.testing.assert_allclose(stress, own, atol=1e-12)
