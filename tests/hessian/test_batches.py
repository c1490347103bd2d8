"""Displaced structures computed at once: same results, fewer calls, nothing lost."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.stress import voigt_6_to_full_3x3_stress

from ase_vibent import HessianEntropyCalculator, bulk_site_entropies
from ase_vibent.errors import CalculatorError, InvalidInputError
from ase_vibent.hessian import (
    DisplacedForces,
    HessianOptions,
    batches,
    compute_hessian,
    measured_interaction_range,
    repeated_hessian,
)
from ase_vibent.hessian.batches import BATCH_ATOMS, forces_batch
from ase_vibent.structures import vacancies

COPPER = bulk("Cu", "fcc", a=3.5898, cubic=True)
REACH = 8.0  # Å, of EMT's forces along a chain


class Single(EMT):
    """Counts its calculations."""

    singles = 0

    def calculate(self, *arguments, **keywords):
        self.singles += 1
        super().calculate(*arguments, **keywords)


class Batching(Single):
    """Gives forces of many structures, and counts them, batch by batch."""

    def __init__(self, spoil=lambda forces: forces):
        super().__init__()
        self.batches, self.spoil = [], spoil

    def get_forces_batch(self, structures):
        self.batches.append([len(atoms) for atoms in structures])
        return self.spoil([EMT().get_property("forces", atoms) for atoms in structures])


class BatchingStresses(Batching):
    """Of shape (3, 3) and (6,), in turns."""

    def get_forces_and_stresses_batch(self, structures):
        self.batches.append([len(atoms) for atoms in structures])
        shapes = itertools.cycle((voigt_6_to_full_3x3_stress, np.array))
        return self.spoil(
            [
                (EMT().get_property("forces", atoms), shape(EMT().get_property("stress", atoms)))
                for atoms, shape in zip(structures, shapes, strict=False)
            ]
        )


def rattled(repeats=(2, 1, 1)):
    atoms = vacancies(COPPER * repeats)[0]
    atoms.rattle(0.05, seed=3)
    return atoms


def chain():
    """Long enough that atoms share calls."""
    positions = 2.5 * np.arange(28)[:, None] * np.eye(3)[0]
    return Atoms("Cu28", positions, cell=[70, 20, 20], pbc=True)


def differences(atoms, calculator, *, sparse=False, **options):
    found = compute_hessian(atoms, calculator, options=HessianOptions(**options), sparse=sparse)
    return found.toarray() if sparse else found


def fixed(atoms):
    atoms.set_constraint(FixAtoms([0, 2]))
    return atoms


def check_batches(batching, single):
    """As many structures as single calls, in as few batches as may be."""
    assert batching.singles == 0
    assert sum(map(len, batching.batches)) == single.singles
    assert all(sum(sizes) <= BATCH_ATOMS for sizes in batching.batches)


@pytest.mark.parametrize(
    ("atoms", "options"),
    [
        (rattled(), {}),
        (fixed(rattled()), {}),
        (rattled(), {"displacement": 0.03}),
        (COPPER * 2, {}),
        (COPPER * (2, 1, 1), {"symmetry": False}),
        (rattled(), {"sparse": True}),
        (chain(), {"sparse": True, "interaction_range": REACH}),
        (Atoms("Cu3", [[0, 0, 0], [2.3, 0, 0], [0.3, 2.4, 0]]), {}),
    ],
    ids=["plain", "fixed", "step", "symmetric", "crystal", "sparse", "grouped", "molecule"],
)
def test_hessians(atoms, options):
    batching, single = Batching(), Single()
    expected = differences(atoms, single, **options)
    np.testing.assert_allclose(differences(atoms, batching, **options), expected, atol=1e-10)
    check_batches(batching, single)
    assert len(batching.batches) < single.singles
    if "interaction_range" in options:
        assert single.singles < 3 * len(atoms)


def test_gradients():
    atoms = rattled()
    batching, single = Batching(), Single()
    values = []
    for potential in (batching, single):
        atoms.calc = HessianEntropyCalculator(potential, mesh="gamma", unstable="any")
        values.append(atoms.calc.get_property("entropy_gradient", atoms))
    scale = np.abs(values[1]).max()
    np.testing.assert_allclose(values[0], values[1], atol=1e-9 * scale)
    check_batches(batching, single)


def test_strain_derivatives():
    atoms = rattled()
    batching, single = BatchingStresses(), Single()
    values = []
    for potential in (batching, single):
        exact = HessianEntropyCalculator(potential, mesh="gamma", unstable="any")
        atoms.calc = exact
        values.append(np.append(exact.get_property("entropy_strain", atoms), atoms.get_forces()))
    scale = np.abs(values[1]).max()
    np.testing.assert_allclose(values[0], values[1], atol=1e-9 * scale)
    assert batching.singles == 0
    assert len(batching.batches) < 10


@pytest.mark.parametrize("offers", [True, False])
def test_strain_derivatives_that_take_single_calls(offers):
    """Where batches carry no stress, or the calculator has none."""
    atoms = rattled()
    batching = Batching() if offers else BatchingStresses()
    if not offers:
        batching.implemented_properties = ["energy", "forces"]
    forces = DisplacedForces(atoms, batching, virial=True)
    shift = 0.01 * np.eye(len(atoms), 3)
    if offers:
        expected = DisplacedForces(atoms, Single(), virial=True)(shift)
        np.testing.assert_allclose(forces(shift).virial, expected.virial, atol=1e-12)
    else:
        with pytest.raises(CalculatorError, match="offers no stress, which"):
            forces(shift)
    assert batching.batches == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda pairs: pairs[1:], "batch of 2 structures, and gave those of 1"),
        (lambda pairs: [(f, s[:2]) for f, s in pairs], "expected \\(6,\\), as ASE has it, or"),
        (lambda pairs: [(f, 0.0) for f, s in pairs], r"a stress of shape \(\)"),
        (lambda pairs: [(f, s * np.nan) for f, s in pairs], "NaN or no stress"),
        (lambda pairs: [(f, None) for f, s in pairs], "NaN or no stress"),
        (lambda pairs: [f for f, s in pairs], "failed to give forces: ValueError"),
        (lambda pairs: [(f[1:], s) for f, s in pairs], "forces of shape"),
    ],
    ids=["few", "short", "number", "nan", "missing", "forces alone", "short forces"],
)
def test_unusable_batches_of_stresses(spoil, said):
    atoms = rattled()
    shifts = np.zeros((2, len(atoms), 3))
    with pytest.raises(CalculatorError, match=said) as caught:
        list(DisplacedForces(atoms, BatchingStresses(spoil), virial=True).responses(shifts))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("device", "most"), [("cpu", 128), ("cuda:0", 2000)])
def test_size_of_batches_by_device(device, most):
    batching = Batching()
    batching.device = device
    assert forces_batch(batching).most_atoms == most


@pytest.mark.parametrize(
    "compute",
    [
        lambda calculator: bulk_site_entropies(COPPER, calculator, width=6.0),
        lambda calculator: repeated_hessian(COPPER, (2, 2, 1), calculator).toarray(),
        lambda calculator: measured_interaction_range(COPPER * (5, 5, 5), calculator),
    ],
    ids=["bulk value", "repeated crystal", "range"],
)
def test_other_displacements(compute):
    batching, single = Batching(), Single()
    np.testing.assert_allclose(compute(batching), compute(single), atol=1e-10)
    check_batches(batching, single)


@pytest.mark.parametrize("most", [1, 7, 20, 56, 10**9])
def test_order_whatever_the_size_of_batches(most):
    atoms, batching = rattled(), Batching()
    batching.batch_atoms = most
    shifts = np.random.default_rng(0).uniform(-0.1, 0.1, (9, len(atoms), 3))
    found = [one.forces for one in DisplacedForces(atoms, batching).responses(iter(shifts))]
    single = DisplacedForces(atoms, Single())
    np.testing.assert_allclose(found, [single(shift).forces for shift in shifts], atol=1e-12)
    assert max(map(sum, batching.batches)) <= max(most, len(atoms))


def test_cache_asks_for_what_is_missing(tmp_path):
    atoms = rattled()
    expected = differences(atoms, Batching(), cache=tmp_path)
    for path in sorted(tmp_path.iterdir())[::6]:
        path.unlink()
    for count in (8, 1):  # seven missing, and one for comparison
        batching = Batching()
        found = differences(atoms, batching, cache=tmp_path)
        np.testing.assert_allclose(found, expected, atol=1e-10)
        assert batching.batches == [[len(atoms)] * count]


def test_what_a_batch_gave_before_a_fault_is_kept(tmp_path):
    atoms = rattled()
    faulty = Batching(lambda forces: [*forces[:5], np.full_like(forces[5], np.nan), *forces[6:]])
    with pytest.raises(CalculatorError, match="NaN or no forces"):
        differences(atoms, faulty, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 5
    batching = Batching()
    found = differences(atoms, batching, cache=tmp_path)
    np.testing.assert_allclose(found, differences(atoms, Single()), atol=1e-10)
    assert sum(map(len, batching.batches)) == 42 - 5 + 1


def refuse(forces):
    raise RuntimeError("out of memory")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda forces: forces[:-1], "batch of 42 structures, and gave those of 41"),
        (lambda forces: [*forces, forces[0]], "batch of 42 structures, and gave those of 43"),
        (lambda forces: [], "and gave those of 0"),
        (lambda forces: None, "failed to give forces: TypeError"),
        (lambda forces: [f[1:] for f in forces], r"forces of shape \(6, 3\) for 7 atoms"),
        (lambda forces: [f.T for f in forces], r"forces of shape \(3, 7\) for 7 atoms"),
        (lambda forces: [f.ravel() for f in forces], r"forces of shape \(21,\) for 7 atoms"),
        (lambda forces: [None for f in forces], "NaN or no forces"),
        (lambda forces: [f + np.nan for f in forces], "NaN or no forces"),
        (lambda forces: [f + np.inf for f in forces], "NaN or no forces"),
        (lambda forces: [f + 1j for f in forces], "complex numbers for forces"),
        (lambda forces: ["forces" for f in forces], "failed to give forces: TypeError"),
        (refuse, "failed to give forces: RuntimeError: out of memory"),
    ],
    ids=[
        *("few", "many", "none", "nothing", "short", "transposed", "flat"),
        *("missing", "nan", "infinite", "complex", "text", "error"),
    ],
)
def test_unusable_batches(spoil, said):
    with pytest.raises(CalculatorError, match=said) as caught:
        differences(rattled(), Batching(spoil))
    assert str(caught.value).startswith("calculator: Batching")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("most", [0, -1, 2.5, None, "many", True])
def test_batches_of_no_size(most):
    batching = Batching()
    batching.batch_atoms = most
    with pytest.raises(InvalidInputError, match="batch_atoms: expected"):
        differences(rattled(), batching)


@pytest.mark.parametrize("error", [ImportError, AttributeError])
def test_known_class_of_an_unknown_version(monkeypatch, error):
    """One by one, as if it were not known."""

    def adapter(calculator):
        raise error("moved elsewhere")

    monkeypatch.setitem(batches.ADAPTERS, (__name__, "Single"), adapter)
    assert forces_batch(Single()) is None


@pytest.mark.parametrize("module", ["mace.calculators.mace", "elsewhere"])
def test_calculators_of_no_known_class(module):
    """Neither others, nor those that derive from a known one or are called alike."""
    derived = type("MyCalculator", (Calculator,), {"__module__": module})
    assert forces_batch(derived()) is None
    alike = type("MACECalculator", (Calculator,), {"__module__": "elsewhere"})
    assert forces_batch(alike()) is None
    assert forces_batch(EMT()) is None


def chgnet():
    dynamics = pytest.importorskip("chgnet.model.dynamics", reason="needs the extra chgnet")
    return dynamics.CHGNetCalculator(use_device="cpu")


def sevennet():
    calculator = pytest.importorskip("sevenn.calculator", reason="needs the extra sevenn")
    return calculator.SevenNetCalculator("7net-0", device="cpu")


def mace():
    """A committee of two small models, which learnt nothing."""
    calculators = pytest.importorskip("mace.calculators", reason="needs mace-torch")
    import torch
    from e3nn.o3 import Irreps
    from mace import modules

    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    torch.manual_seed(0)
    models = [
        modules.MACE(
            r_max=4.0,
            num_bessel=4,
            num_polynomial_cutoff=5,
            max_ell=2,
            interaction_cls=block,
            interaction_cls_first=block,
            num_interactions=2,
            num_elements=2,
            hidden_irreps=Irreps("4x0e + 4x1o"),
            MLP_irreps=Irreps("4x0e"),
            gate=torch.nn.functional.silu,
            atomic_energies=np.zeros(2),
            avg_num_neighbors=8,
            atomic_numbers=[8, 14],
            correlation=2,
        )
        for _ in range(2)
    ]
    return calculators.MACECalculator(
        models=models, device="cpu", energy_units_to_eV=2.0, length_units_to_A=0.5
    )


def full_stress(value):
    return voigt_6_to_full_3x3_stress(value) if np.shape(value) == (6,) else value


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [chgnet, sevennet, mace])
def test_machine_learned_potentials(make):
    """Batches of other sizes, and single calls between them; to single precision."""
    calculator = make()
    structures = [bulk("Si", a=5.45, cubic=True) * (n, 1, 1) for n in (1, 2, 1)]
    del structures[1][3]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.05, seed=seed)
    batch = forces_batch(calculator)
    for chosen, stress in itertools.product((structures, structures[:1]), (False, True)):
        found = batch.responses(chosen, stress)
        assert len(found) == len(chosen)
        for values, atoms in zip(found, chosen, strict=True):
            names = ("forces", "stress") if stress else ("forces",)
            for name, value in zip(names, values, strict=False):
                expected = full_stress(calculator.get_property(name, atoms))
                scale = np.abs(expected).max()
                np.testing.assert_allclose(full_stress(value), expected, atol=1e-5 * scale)
