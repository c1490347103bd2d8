"""The Hessian: analytic, from finite differences, of part of the atoms, of odd calculators."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms, FixBondLength, FixCom
from matscipy.calculators.pair_potential import LennardJonesQuadratic, PairPotential
from scipy.sparse import bsr_matrix, coo_array, csr_array, csr_matrix
from scipy.sparse.linalg import aslinearoperator

from ase_vibent.errors import CalculatorError, InvalidInputError, InvalidStructureError
from ase_vibent.hessian import HessianOptions, compute_hessian, has_analytic_hessian
from ase_vibent.potentials import (
    energy_and_forces,
    stillinger_weber_silicon,
    tersoff_silicon_carbide,
)


def silicon_vacancy():
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (2, 1, 1)
    del atoms[3]
    atoms.rattle(0.05, seed=8)
    return atoms


def carbide():
    atoms = bulk("SiC", "zincblende", a=4.32, cubic=True)
    atoms.rattle(0.01, seed=8)  # more brings Si-Si pairs to the kink of Tersoff's cutoff
    return atoms


class Springs(Calculator):
    """E = ½ (u - u0)ᵀ K (u - u0) with a known K, and behaviour as a test wants it."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, atoms, seed=0):
        super().__init__()
        rng = np.random.default_rng(seed)
        factor = rng.normal(size=(len(atoms), 3, 3 * len(atoms)))
        factor = (factor - factor.mean(axis=0)).reshape(3 * len(atoms), -1)  # translations are free
        self.stiffness = factor @ factor.T
        self.origin = atoms.positions.copy()
        self.calls = 0
        self.moments = []

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        self.moments.append(self.atoms.get_initial_magnetic_moments())
        u = (self.atoms.positions - self.origin).ravel()
        forces = -(self.stiffness @ u).reshape(-1, 3)
        self.results = {"energy": 0.5 * u @ self.stiffness @ u, "forces": forces}


class SpringsWithHessian(Springs):
    shape = staticmethod(lambda matrix, n: matrix)

    def get_hessian(self, atoms):
        return self.shape(self.stiffness, len(atoms))


class SpringsWithProperty(Springs):
    implemented_properties = ["energy", "forces", "hessian"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results["hessian"] = self.stiffness.reshape(-1, len(self.atoms), 3)


@pytest.fixture
def trio():
    return Atoms("H3", [[0, 0, 0], [1, 0, 0.2], [0, 1.2, 0]])


@pytest.mark.parametrize(
    ("make", "calculator"),
    [(silicon_vacancy, stillinger_weber_silicon), (carbide, tersoff_silicon_carbide)],
)
def test_finite_differences_converge_to_the_analytic_hessian(make, calculator):
    """Central differences: the error is small, and a quarter at half the displacement."""
    atoms = make()
    exact = compute_hessian(atoms, calculator(), options=HessianOptions(method="analytic"))
    options = [HessianOptions(method="finite-differences", displacement=h) for h in (0.01, 0.005)]
    errors = [
        np.abs(compute_hessian(atoms, calculator(), options=own) - exact).max() for own in options
    ]
    # Fourth derivatives are about k / r0² with r0 the 0.2 Å to 0.5 Å width of the wells.
    assert errors[0] < 0.01**2 * np.abs(exact).max() / 0.2**2
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.1)


def test_hessian_is_exact_for_springs(trio):
    calculator = Springs(trio)
    trio.positions += 0.3
    result = compute_hessian(trio, calculator)
    # A quadratic energy has no truncation error; rounding is 1e-16 / 0.01 relative.
    np.testing.assert_allclose(result, calculator.stiffness, atol=1e-11)
    assert calculator.calls == 18


def test_row_order_and_sign():
    """One stiff bond along y: rows x1 y1 z1 x2 y2 z2."""
    atoms = Atoms("Ar2", [[0, 0, 0], [0, 2 ** (1 / 6), 0]])
    calculator = LennardJones(rc=10)
    result = compute_hessian(atoms, calculator, options=HessianOptions(displacement=1e-4))
    expected = np.zeros((6, 6))
    expected[np.ix_([1, 4], [1, 4])] = 72 / 2 ** (1 / 3) * np.array([[1, -1], [-1, 1]])
    np.testing.assert_allclose(result, expected, atol=1e-4)  # h² / σ² times about 1e4


SHAPES = {
    "2": lambda matrix, n: matrix,
    "3": lambda matrix, n: matrix.reshape(3 * n, n, 3),
    "4": lambda matrix, n: matrix.reshape(n, 3, n, 3),
    "phonopy": lambda matrix, n: matrix.reshape(n, 3, n, 3).transpose(0, 2, 1, 3),
    "csr": lambda matrix, n: csr_matrix(matrix),
    "coo": lambda matrix, n: coo_array(matrix),
    "bsr": lambda matrix, n: bsr_matrix(matrix, blocksize=(3, 3)),
}


def dense(matrix, sparse):
    """Array of a Hessian that must be sparse, or must not be."""
    assert isinstance(matrix, csr_array if sparse else np.ndarray)
    return matrix.toarray() if sparse else matrix


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("fixed", [[], [1]])
@pytest.mark.parametrize("sparse", [False, True])
def test_shapes_of_analytic_hessians(trio, shape, fixed, sparse):
    calculator = SpringsWithHessian(trio)
    calculator.shape = shape
    trio.set_constraint(FixAtoms(fixed))
    rows = np.delete(np.arange(9), [3, 4, 5] if fixed else [])
    expected = calculator.stiffness[np.ix_(rows, rows)]
    result = dense(compute_hessian(trio, calculator, sparse=sparse), sparse)
    np.testing.assert_allclose(result, expected, rtol=1e-14)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("call", [False, True])
@pytest.mark.parametrize("free_only", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_hessian_from_elsewhere(trio, shape, call, free_only, sparse):
    """A matrix or a function, of all atoms or of those that are free; symmetrised."""
    stiffness = Springs(trio).stiffness
    skew = 0.05 * np.triu(np.ones((9, 9)), 1)
    trio.set_constraint(FixAtoms([0]))
    rows = slice(3 if free_only else 0, None)
    given = shape((stiffness + skew - skew.T)[rows, rows], 2 if free_only else 3)
    hessian = (lambda atoms: given if atoms == trio else None) if call else given
    result = dense(compute_hessian(trio, hessian=hessian, sparse=sparse), sparse)
    np.testing.assert_allclose(result, stiffness[3:, 3:], rtol=1e-13, atol=1e-13)


@pytest.mark.filterwarnings("ignore:hessian. it is noisy")
@pytest.mark.parametrize("n_fixed", [0, 2])
@pytest.mark.parametrize("shape", ["4", "phonopy"])
@pytest.mark.parametrize("noise", [0.0, 1e-4, 1e-2])
@pytest.mark.parametrize("seed", range(5))
def test_four_axes_of_three_atoms(n_fixed, shape, noise, seed):
    """One shape, two meanings: symmetry, and where nothing is fixed translations, tell."""
    atoms = Atoms(f"H{3 + n_fixed}", np.random.default_rng(seed).uniform(0, 5, (3 + n_fixed, 3)))
    atoms.set_constraint(FixAtoms(list(range(n_fixed))))
    stiffness = Springs(atoms, seed).stiffness[3 * n_fixed :, 3 * n_fixed :]
    error = np.random.default_rng(seed).normal(size=(9, 9)) * noise * np.abs(stiffness).max()
    result = compute_hessian(atoms, hessian=SHAPES[shape](stiffness + error, 3))
    np.testing.assert_allclose(result, stiffness + (error + error.T) / 2, rtol=1e-12, atol=1e-12)


def test_two_readings_of_one_shape():
    atoms = Atoms("H3", np.eye(3))
    centred = np.eye(3) - 1 / 3
    either = np.einsum("ij,ab->iajb", centred, centred)
    either = either + either.transpose(0, 2, 1, 3)
    result = compute_hessian(atoms, hessian=either)
    np.testing.assert_allclose(result, either.reshape(9, 9), atol=1e-14)
    random = np.random.default_rng(0).normal(size=(3, 3, 3, 3))
    random = np.einsum("ijkl,pi,qj,rk,sl->pqrs", random, *4 * [centred])
    orders = [(0, 1, 2, 3), (1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0)]
    both = sum(random.transpose(order) for order in orders)
    with pytest.raises(InvalidInputError, match=r"may be \(N, N, 3, 3\) or \(N, 3, N, 3\)"):
        compute_hessian(atoms, hessian=both)


@pytest.mark.parametrize("n_prim", [1, 2, 4])
def test_compact_force_constants_are_named(n_prim):
    atoms = bulk("Ar", a=5.3, cubic=True) * (2, 1, 1)
    given = np.zeros((n_prim, 8, 3, 3))
    with pytest.raises(InvalidInputError, match=rf"\({n_prim}, 8, 3, 3\).*compact_fc_to_full_fc"):
        compute_hessian(atoms, hessian=given)


def test_hessian_from_elsewhere_spares_the_calculator(trio):
    calculator = Springs(trio)
    compute_hessian(trio, calculator, hessian=np.zeros((9, 9)))
    assert calculator.calls == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: (silicon_vacancy(), stillinger_weber_silicon()),
        lambda: (carbide(), tersoff_silicon_carbide()),
        lambda: (
            bulk("Ar", a=5.3, cubic=True),
            PairPotential({(18, 18): LennardJonesQuadratic(1, 3.4, 6.5)}),
        ),
    ],
    ids=["silicon", "carbide", "argon"],
)
@pytest.mark.parametrize("fixed", [[], [2]])
def test_sparse_analytic_hessians(make, fixed, monkeypatch):
    """Small cells: images of one pair fall onto one block. No dense matrix on the way."""
    atoms, calculator = make()
    atoms.set_constraint(FixAtoms(fixed))
    expected = compute_hessian(atoms, calculator)
    for kind in (bsr_matrix, csr_matrix, csr_array):
        monkeypatch.setattr(kind, "toarray", None)
    result = compute_hessian(atoms, calculator, sparse=True)
    monkeypatch.undo()
    np.testing.assert_allclose(dense(result, True), expected, atol=1e-12)
    assert abs(result - result.T).max() == 0


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        (np.eye(6), InvalidInputError, r"9 × 9 entries for 3 atoms.*\(6, 6\)"),
        (csr_array(np.eye(12)), InvalidInputError, r"9 × 9.*\(12, 12\)"),
        (np.zeros((3, 3, 9)), InvalidInputError, r"\(3, 3, 9\)"),
        (np.full((9, 9), np.nan), InvalidInputError, "NaN"),
        (csr_array(np.diag(9 * [np.inf])), InvalidInputError, "NaN or infinite"),
        (1j * np.eye(9), InvalidInputError, "real numbers"),
        ([[1, 2], [3]], InvalidInputError, "real numbers, got list"),
        ("hessian.npy", InvalidInputError, "real numbers, got str"),
        (aslinearoperator(np.eye(9)), InvalidInputError, "real numbers"),
        (lambda atoms: None, InvalidInputError, r"got shape \(\)"),
        (lambda atoms: np.eye(3), InvalidInputError, r"\(3, 3\)"),
        (lambda: np.eye(9), CalculatorError, "function failed: TypeError"),
    ],
)
@pytest.mark.parametrize("sparse", [False, True])
def test_unusable_hessian_from_elsewhere(given, error, text, sparse):
    atoms = Atoms("H3", np.eye(3))
    with pytest.raises(error, match=text):
        compute_hessian(atoms, hessian=given, sparse=sparse)


def test_neither_calculator_nor_hessian(trio):
    with pytest.raises(InvalidInputError, match="neither"):
        compute_hessian(trio)
    differences = HessianOptions(method="finite-differences")
    with pytest.raises(InvalidInputError, match="hessian: leave it out"):
        compute_hessian(trio, hessian=np.eye(9), options=differences)


def test_property_hessian(trio):
    calculator = SpringsWithProperty(trio)
    assert has_analytic_hessian(calculator)
    np.testing.assert_allclose(compute_hessian(trio, calculator), calculator.stiffness)
    assert calculator.calls == 1


def test_analytic_hessian_is_symmetrised(trio):
    calculator = SpringsWithHessian(trio)
    skew = 0.05 * np.triu(np.ones((9, 9)), 1)
    calculator.shape = lambda matrix, n: matrix + skew - skew.T
    np.testing.assert_allclose(compute_hessian(trio, calculator), calculator.stiffness)


def test_wrong_shape_of_analytic_hessian(trio):
    calculator = SpringsWithHessian(trio)
    calculator.shape = lambda matrix, n: matrix[:6, :6]
    with pytest.raises(CalculatorError, match=r"9 × 9.*\(6, 6\)"):
        compute_hessian(trio, calculator)


@pytest.mark.parametrize("analytic", [True, False])
def test_fixed_atoms_are_left_out(analytic):
    atoms = silicon_vacancy()
    options = HessianOptions(method="analytic" if analytic else "finite-differences")
    full = compute_hessian(atoms, stillinger_weber_silicon(), options=options)
    atoms.set_constraint(FixAtoms([0, 7]))
    free = compute_hessian(atoms, stillinger_weber_silicon(), options=options)
    rows = np.delete(np.arange(45), [0, 1, 2, 21, 22, 23])
    np.testing.assert_allclose(free, full[np.ix_(rows, rows)], atol=1e-10)


def test_displacements_under_a_constraint_are_not_blocked(trio):
    """FixAtoms makes Atoms.set_positions a no-op; the free rows must still be right."""
    calculator = Springs(trio)
    trio.set_constraint(FixAtoms([2]))
    expected = calculator.stiffness[:6, :6]
    np.testing.assert_allclose(compute_hessian(trio, calculator), expected, atol=1e-11)


def test_fixed_centre_of_mass_is_ignored(trio):
    calculator = Springs(trio)
    trio.set_constraint(FixCom())
    np.testing.assert_allclose(compute_hessian(trio, calculator), calculator.stiffness, atol=1e-11)


@pytest.mark.parametrize("make", [Springs, SpringsWithHessian])
def test_other_constraints_are_refused(trio, make):
    trio.set_constraint(FixBondLength(0, 1))
    with pytest.raises(InvalidStructureError, match="FixBondLength"):
        compute_hessian(trio, make(trio))


def test_all_atoms_fixed(trio):
    trio.set_constraint(FixAtoms([0, 1, 2]))
    with pytest.raises(InvalidStructureError, match="free"):
        compute_hessian(trio, Springs(trio))


def test_factories():
    atoms = bulk("Cu", "fcc", a=3.6) * (2, 1, 1)
    expected = compute_hessian(atoms, EMT())
    np.testing.assert_array_equal(compute_hessian(atoms, EMT), expected)  # the class
    np.testing.assert_array_equal(compute_hessian(atoms, lambda: EMT()), expected)


@pytest.mark.parametrize("calculator", [3, "emt"])
def test_not_a_calculator(trio, calculator):
    with pytest.raises(InvalidInputError, match="calculator"):
        compute_hessian(trio, calculator)


def test_magnetic_moments_are_kept(trio):
    trio.set_initial_magnetic_moments([2.0, 0.0, -1.0])
    calculator = Springs(trio)
    compute_hessian(trio, calculator)
    np.testing.assert_array_equal(calculator.moments, 18 * [[2.0, 0.0, -1.0]])


def test_matscipy_calculator_that_saw_another_structure():
    """Its get_hessian fails by itself after a change of the number of atoms."""
    shared = stillinger_weber_silicon()
    big = silicon_vacancy()
    small = bulk("Si", "diamond", a=5.431, cubic=True)
    for atoms in (big, small, big):
        expected = compute_hessian(atoms, stillinger_weber_silicon())
        np.testing.assert_allclose(compute_hessian(atoms, shared), expected, atol=1e-12)


def test_structure_is_left_alone(trio):
    trio.calc = Springs(trio)
    trio.set_constraint(FixAtoms([0]))
    trio.info["note"] = "mine"
    before, calculator = trio.copy(), trio.calc
    compute_hessian(trio, Springs(trio))
    compute_hessian(trio, SpringsWithHessian(trio))
    assert trio == before
    np.testing.assert_array_equal(trio.positions, before.positions)
    assert trio.calc is calculator
    assert calculator.calls == 0
    assert [c.todict() for c in trio.constraints] == [c.todict() for c in before.constraints]


class EnergyOnly(Springs):
    implemented_properties = ["energy"]  # noqa: RUF012


class FailsHalfWay(Springs):
    def calculate(self, *arguments, **keywords):
        super().calculate(*arguments, **keywords)
        if self.calls == 7:
            raise RuntimeError("SCF did not converge")


class ReturnsNaN(Springs):
    def calculate(self, *arguments, **keywords):
        super().calculate(*arguments, **keywords)
        self.results["forces"][0, 0] = np.nan


class ReturnsComplex(Springs):
    def calculate(self, *arguments, **keywords):
        super().calculate(*arguments, **keywords)
        self.results["forces"] = self.results["forces"] * (1 + 1e-3j)


class HessianNotImplemented(SpringsWithHessian):
    def get_hessian(self, atoms):
        raise PropertyNotImplementedError


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (EnergyOnly, "EnergyOnly offers no forces"),
        (FailsHalfWay, "FailsHalfWay failed.*SCF did not converge"),
        (ReturnsNaN, "ReturnsNaN returned NaN"),
        (ReturnsComplex, "ReturnsComplex returned complex numbers for forces"),
        (HessianNotImplemented, "HessianNotImplemented offers no Hessian"),
    ],
)
def test_broken_calculators(trio, make, text):
    with pytest.raises(CalculatorError, match=text):
        compute_hessian(trio, make(trio))


def test_nan_in_an_analytic_hessian(trio):
    """The calculator is at fault, so this is a CalculatorError like NaN forces."""
    calculator = SpringsWithHessian(trio)
    calculator.shape = lambda matrix, n: matrix * np.nan
    with pytest.raises(CalculatorError, match="NaN"):
        compute_hessian(trio, calculator)


@pytest.mark.parametrize("quantity", ["energy", "forces"])
def test_complex_results_of_structures_at_rest(quantity):
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    atoms.get_stress()
    atoms.calc.results[quantity] = atoms.calc.results[quantity] + 0j
    with pytest.raises(CalculatorError, match=f"complex numbers for {quantity}"):
        energy_and_forces(atoms, "a test")


class Tensor:
    """As PyTorch's with a history on another device, of single precision."""

    is_sparse = False

    def __init__(self, values, place="cuda", history=True):
        self.values, self.place, self.history = np.asarray(values), place, history

    def detach(self):
        return Tensor(self.values, self.place, history=False)

    def cpu(self):
        return Tensor(self.values, "cpu", self.history)

    def is_complex(self):
        return np.iscomplexobj(self.values)

    def double(self):
        return Tensor(self.values.astype(np.float64), self.place, self.history)

    def numpy(self):
        if self.history:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        if self.place != "cpu":
            raise TypeError("can't convert cuda:0 device type tensor to numpy.")
        return self.values

    def __array__(self, *args, **kwargs):
        return self.numpy()


class TensorSprings(Springs):
    """Gives its Hessian as a tensor."""

    def get_hessian(self, atoms):
        return Tensor(self.stiffness.astype(np.float32))


class TensorForces(Springs):
    """Gives its forces as one."""

    def get_property(self, *args, **kwargs):
        return Tensor(super().get_property(*args, **kwargs))


def test_hessians_and_forces_as_tensors(trio):
    exact = Springs(trio).stiffness
    given = [Tensor(exact), lambda atoms: Tensor(exact.reshape(3, 3, 3, 3).transpose(0, 2, 1, 3))]
    found = [compute_hessian(trio, hessian=one) for one in given]
    found.append(compute_hessian(trio, TensorForces(trio)))
    found.append(compute_hessian(trio, TensorSprings(trio)))
    single = np.finfo(np.float32).eps
    for hessian, error in zip(found, [1e-15, 1e-15, 1e-10, single], strict=True):
        assert hessian.dtype == np.float64
        np.testing.assert_allclose(hessian, exact, rtol=0, atol=error * np.abs(exact).max())
    with pytest.raises(InvalidInputError, match="real numbers"):
        compute_hessian(trio, hessian=Tensor(exact + 0j))
    broken = TensorSprings(trio)
    broken.stiffness *= np.nan
    with pytest.raises(CalculatorError, match="NaN"):
        compute_hessian(trio, broken)


def test_no_analytic_hessian(trio):
    assert not has_analytic_hessian(Springs(trio))
    with pytest.raises(CalculatorError, match="finite-differences"):
        compute_hessian(trio, Springs(trio), options=HessianOptions(method="analytic"))


@pytest.mark.parametrize("make", [Springs, SpringsWithHessian])
@pytest.mark.parametrize("part", ["positions", "cell"])
def test_nan_in_the_structure(trio, make, part):
    calculator = make(trio)
    if part == "positions":
        trio.positions[1, 2] = np.nan
    else:
        trio.cell[0, 0] = np.inf
    with pytest.raises(InvalidStructureError, match="NaN"):
        compute_hessian(trio, calculator)


@pytest.mark.parametrize("displacement", [0, -0.01, np.nan])
def test_bad_displacement(displacement):
    with pytest.raises(InvalidInputError, match="displacement"):
        HessianOptions(displacement=displacement)


@pytest.mark.parametrize(
    ("name", "value"),
    [("method", "guess"), ("symmetry", "no"), ("cache", 3), ("interaction_range", 0.0)],
)
def test_bad_options(name, value):
    with pytest.raises(InvalidInputError, match=f"{name}: expected"):
        HessianOptions(**{name: value})
