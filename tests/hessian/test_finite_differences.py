"""Finite differences: fewer force calls by a stated range, and by symmetry."""

import re

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms, FixCom
from ase.neighborlist import neighbor_list
from ase.units import kB
from hypothesis import given, settings
from hypothesis import strategies as st
from matscipy.calculators.pair_potential import LennardJonesQuadratic, PairPotential
from scipy.sparse import csr_array

from ase_vibent import FiniteDifferenceEntropyCalculator, HessianEntropyCalculator
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.hessian import (
    DisplacedForces,
    HessianOptions,
    compute_hessian,
    measured_interaction_range,
)
from ase_vibent.hessian.finite_differences import FiniteDifferences
from ase_vibent.hessian.interactions import InteractionGraph
from ase_vibent.potentials import stillinger_weber_silicon, tersoff_silicon_carbide
from ase_vibent.stationary import relax
from ase_vibent.structures import vacancies


class Counted(Calculator):
    """Forces of another calculator, counted; it hides that one's analytic Hessian."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, inner, **parameters):
        super().__init__(**parameters)
        self.inner, self.calls = inner, 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        self.results = {name: self.inner.get_property(name, self.atoms) for name in properties}


class Network(Calculator):
    """Linear springs of random stiffness between all atoms closer than `reach`, Å."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, atoms, reach, seed=0):
        super().__init__()
        n, rng = len(atoms), np.random.default_rng(seed)
        near = np.eye(n, dtype=bool)
        near[neighbor_list("ij", atoms, reach)] = True
        stiffness = np.kron(near, np.ones((3, 3))) * rng.normal(size=(3 * n, 3 * n))
        blocks = (stiffness + stiffness.T).reshape(n, 3, n, 3)
        blocks = blocks + blocks.transpose(0, 3, 2, 1)
        atom = np.arange(n)
        blocks[atom, :, atom] -= blocks.sum(axis=2)  # translations are free
        self.stiffness, self.origin, self.calls = blocks.reshape(3 * n, 3 * n), atoms.positions, 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        u = (self.atoms.positions - self.origin).ravel()
        forces = -(self.stiffness @ u).reshape(-1, 3)
        self.results = {"energy": -forces.ravel() @ u / 2, "forces": forces}


def argon_potential():
    return PairPotential({(18, 18): LennardJonesQuadratic(0.0104, 3.4, 6.5)})


def argon(*repeats):
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * repeats
    atoms.rattle(0.1, seed=len(atoms))
    return atoms


def silicon(*repeats):
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * repeats
    del atoms[3]
    atoms.rattle(0.05, seed=8)
    return atoms


def copper_vacancy(*repeats):
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True) * repeats
    del atoms[0]
    return atoms


def silicon_wire():
    atoms = bulk("Si", "diamond", a=5.431) * (1, 1, 12)
    atoms.rattle(0.05, seed=8)
    return atoms


def copper_wire():
    atoms = bulk("Cu", "fcc", a=3.6, orthorhombic=True) * (1, 1, 14)
    atoms.rattle(0.05, seed=8)
    return atoms


def chain(n, spacing=3.0):
    return Atoms(
        f"H{n}", [[0, 0, spacing * i] for i in range(n)], cell=[9, 9, spacing * n], pbc=[0, 0, 1]
    )


def differences(atoms, calculator, *, sparse=False, **options):
    own = HessianOptions(method="finite-differences", **options)
    return compute_hessian(atoms, calculator, options=own, sparse=sparse)


# Colouring


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 25),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    lengths=st.tuples(*3 * [st.floats(2, 30)]),
    reach=st.floats(0.5, 8),
    fixed=st.sets(st.integers(0, 24)),
    seed=st.integers(0, 999),
)
def test_every_entry_of_a_network_is_found(n, pbc, lengths, reach, fixed, seed):
    """Cells narrower and wider than the springs; the Hessian is known, and exactly linear."""
    rng = np.random.default_rng(seed)
    atoms = Atoms(f"H{n}", cell=np.diag(lengths) + rng.uniform(0, 1, (3, 3)), pbc=pbc)
    atoms.set_scaled_positions(rng.uniform(0, 1, (n, 3)))
    free = np.setdiff1d(np.arange(n), list(fixed))
    if len(free) == 0:
        return
    calculator = Network(atoms, reach, seed)
    atoms.set_constraint(FixAtoms(np.setdiff1d(np.arange(n), free)))
    options = {"interaction_range": reach, "symmetry": False}  # random springs have none
    for sparse in (False, True):
        result = differences(atoms, calculator, sparse=sparse, **options)
        result = result.toarray() if sparse else result
        rows = (3 * free[:, None] + np.arange(3)).ravel()
        # Rounding: 1e-15 of positions up to 30 Å over 0.01 Å.
        np.testing.assert_allclose(result, calculator.stiffness[np.ix_(rows, rows)], atol=1e-10)


@pytest.mark.parametrize("pbc", [True, [False, True, True]])
@pytest.mark.parametrize(
    ("atoms", "potential", "reach"),
    [
        (argon(5, 2, 1), argon_potential, 6.5),
        # Three-body forces reach two cutoffs of 3.77 Å.
        (silicon_wire(), stillinger_weber_silicon, 7.6),
        (copper_wire(), EMT, 11.5),
    ],
    ids=["pairs", "three-body", "embedded"],
)
def test_range_changes_nothing_but_the_number_of_calls(atoms, potential, reach, pbc):
    atoms = atoms.copy()
    atoms.pbc = pbc
    plain, coloured = Counted(potential()), Counted(potential())
    expected = differences(atoms, plain, symmetry=False)
    result = differences(atoms, coloured, interaction_range=reach, symmetry=False)
    np.testing.assert_allclose(result, expected, atol=1e-9)
    assert plain.calls == 6 * len(atoms)
    assert coloured.calls < plain.calls


def test_calls_stop_growing_with_the_number_of_atoms():
    calls = []
    for n in (40, 80, 160):
        calculator = Counted(PairPotential({(1, 1): LennardJonesQuadratic(0.01, 2.7, 6.5)}))
        differences(chain(n), calculator, interaction_range=6.5, sparse=True)
        calls.append(calculator.calls)
    # Two neighbours on either side: five colours, and two calls that test the range.
    assert calls == [32, 32, 32]


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 60), reach=st.floats(0.5, 8), pbc=st.booleans(), seed=st.integers(0, 99))
def test_no_atom_feels_two_of_one_group(n, reach, pbc, seed):
    positions = np.random.default_rng(seed).uniform(0, 15, (n, 3))
    atoms = Atoms(f"H{n}", positions, cell=[15, 15, 15], pbc=pbc)
    graph = InteractionGraph.within(atoms, np.arange(n), reach)
    felt = np.eye(n, dtype=bool)
    felt[neighbor_list("ij", atoms, reach)] = True
    np.testing.assert_array_equal(np.sort(np.concatenate(graph.groups)), np.arange(n))
    for group in graph.groups:
        assert felt[group].sum(axis=0).max() == 1


@pytest.mark.parametrize(
    ("atoms", "calculator", "stated"),
    [
        (silicon(3, 2, 2), stillinger_weber_silicon(), 3.0),
        (copper_wire(), EMT(), 4.0),
        (argon(4, 4, 3), argon_potential(), 5.4),
        (molecule("CH3CH2OH"), LennardJones(sigma=1.0, rc=6.0), 1.6),
    ],
    ids=["silicon", "copper", "argon", "ethanol"],
)
@pytest.mark.parametrize("sparse", [True, False])
def test_too_short_a_range_is_caught_at_once(atoms, calculator, stated, sparse):
    calculator = Counted(calculator)
    with pytest.raises(
        InvalidInputError, match=r"interaction_range: forces change at [1-9]\."
    ) as caught:
        differences(atoms, calculator, interaction_range=stated, sparse=sparse)
    assert calculator.calls <= 6
    found = float(str(caught.value).split(" at ")[1].split()[0])
    assert found > stated


def tiled_chain():
    """Five colours, whose members' neighbourhoods fill the chain: no atom is out of reach."""
    return chain(20), 6.5, 9.5


def lonely_probe():
    """All three seem alone, and share one call, whose forces look right."""
    return Atoms("H3", [[0, 0, 0], [2, 0, 0], [50, 0, 0]]), 1.0, 2.5


@pytest.mark.parametrize("case", [tiled_chain, lonely_probe])
def test_too_short_a_range_is_caught_where_every_atom_is_in_reach(case):
    atoms, stated, reach = case()
    with pytest.raises(InvalidInputError, match="interaction_range: atoms that shared"):
        differences(atoms, Network(atoms, reach), interaction_range=stated)


def long_ranged():
    """Attraction up to 10.5 Å."""
    return PairPotential({(18, 18): LennardJonesQuadratic(0.0104, 3.4, 10.5)})


def test_what_a_range_leaves_out_is_in_the_error_and_cancels():
    """Of a crystal, whose Hessian comes by symmetry, and a vacancy, whose columns are coloured."""
    crystal = bulk("Ar", "fcc", a=5.2, cubic=True) * (6, 2, 2)
    vacancy = relax(vacancies(crystal)[0], long_ranged(), fmax=1e-3)
    whole = FiniteDifferenceEntropyCalculator(long_ranged(), mesh="gamma")
    ranged = FiniteDifferenceEntropyCalculator(long_ranged(), mesh="gamma", interaction_range=5.5)
    found = [ranged.harmonic_system(atoms) for atoms in (crystal, vacancy)]
    off = [
        system.entropy - whole.harmonic_system(atoms).entropy
        for system, atoms in zip(found, (crystal, vacancy), strict=True)
    ]
    assert min(off) > 0.2
    for system, error in zip(found, off, strict=True):
        # Six samples of a few soft modes.
        assert 0.4 < system.step_error.entropy / error < 2.5
    assert off[1] == pytest.approx(off[0], rel=0.1)
    # Where no error is stated, next to nothing is left out.
    with pytest.raises(
        InvalidInputError, match=r"by 0\.00\d+ eV/Å² \(0\.00\d of the largest change"
    ):
        differences(vacancy, long_ranged(), interaction_range=5.5, sparse=True)


def test_a_range_that_saves_nothing_is_said(caplog, monkeypatch):
    """Before the calls, with the size of the cells that gain."""
    monkeypatch.setattr("ase_vibent.hessian.costs.LONG", 0.0)
    monkeypatch.setattr("ase_vibent.hessian.costs._SAID", {})
    small, large = argon(2, 2, 2), argon(8, 2, 2)
    differences(small, argon_potential(), interaction_range=6.8)
    said = re.search(r"share next to no calls; from about (\d+) atoms on they do", caplog.text)
    assert len(small) < int(said.group(1)) < len(large)
    everyone, options = np.arange(len(large)), HessianOptions(interaction_range=6.8)
    forces = DisplacedForces(large, argon_potential())
    assert FiniteDifferences(large, forces, everyone, options).advice == ""


@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, "far"])
def test_bad_range(value):
    with pytest.raises(InvalidInputError, match="interaction_range: expected a number in Å"):
        differences(chain(3), EMT(), interaction_range=value)


def test_measured_range_is_the_cutoff():
    atoms = argon(4, 4, 4)
    measured = measured_interaction_range(atoms, argon_potential(), tolerance=1e-9)
    distances = atoms.get_distances(0, np.arange(1, len(atoms)), mic=True)
    # The cutoff moves with an atom by 0.01 Å.
    assert measured == pytest.approx(distances[distances < 6.5].max(), abs=0.02)
    looser = measured_interaction_range(atoms, argon_potential())
    assert 5 < looser <= measured
    differences(argon(4, 2, 2), argon_potential(), interaction_range=looser + 0.5)


class Noisy(Counted):
    """Forces of another calculator with noise."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        rng = np.random.default_rng(self.calls)
        self.results["forces"] = self.results["forces"] + 1e-5 * rng.normal(size=(len(atoms), 3))


def test_noise_is_no_interaction():
    """Of 1e-5 eV/Å in forces 1e-3 eV/Å² in force constants of displacements of 0.01 Å."""
    crystal = bulk("Ar", "fcc", a=5.3, cubic=True) * (4, 4, 4)
    measured = measured_interaction_range(crystal, Noisy(argon_potential()))
    nearest = crystal.get_distance(0, 1)
    assert measured == pytest.approx(nearest, abs=0.02)
    assert measured_interaction_range(crystal, argon_potential()) > nearest + 0.1
    with pytest.raises(
        InvalidStructureError, match=r"by 0\.00\d+ eV/Å², as far as a periodic cell"
    ):
        measured_interaction_range(crystal, Noisy(argon_potential()), tolerance=1e-4)


@pytest.mark.parametrize("value", [0, -1.0, np.nan, "small"])
def test_bad_tolerance(value):
    with pytest.raises(InvalidInputError, match="tolerance: expected a number in eV/Å²"):
        measured_interaction_range(argon(4, 4, 4), argon_potential(), tolerance=value)


def test_measured_range_needs_a_wide_cell():
    with pytest.raises(InvalidStructureError, match="larger cell"):
        measured_interaction_range(argon(2, 2, 2), argon_potential())
    cluster = molecule("CH3CH2OH")
    widest = cluster.get_all_distances().max()
    measured = measured_interaction_range(cluster, LennardJones(sigma=1.0, rc=20.0))
    assert 1 < measured <= widest


@pytest.mark.parametrize("fixed", [[], [1, 5]])
def test_sparse_without_a_range(fixed):
    atoms = silicon(1, 1, 1)
    atoms.set_constraint(FixAtoms(fixed))
    expected = differences(atoms, stillinger_weber_silicon(), symmetry=False)
    result = differences(atoms, stillinger_weber_silicon(), sparse=True)
    assert isinstance(result, csr_array)
    np.testing.assert_allclose(result.toarray(), expected, atol=1e-12)


# Symmetry


@pytest.mark.parametrize(
    ("atoms", "potential", "calls"),
    [
        (bulk("Cu", "fcc", a=3.6, cubic=True)[[2, 0, 3, 1]] * (1, 1, 2), EMT, 4),
        (bulk("Si", "diamond", a=5.431) * (2, 2, 2), stillinger_weber_silicon, 2),
        (bulk("SiC", "zincblende", a=4.32, cubic=True), tersoff_silicon_carbide, 4),
        (copper_vacancy(2, 2, 2), EMT, 18),
    ],
    ids=["fcc", "diamond", "compound", "vacancy"],
)
@pytest.mark.parametrize("left", [False, True])
def test_symmetry_saves_calls(atoms, potential, calls, left):
    atoms = atoms.copy()
    atoms.rotate(20, (1, 2, 3), rotate_cell=True)
    atoms.positions += 5.0
    if left:
        atoms.set_cell(atoms.cell.array[[1, 0, 2]])
    symmetric, plain = Counted(potential()), Counted(potential())
    atoms.set_constraint(FixCom())
    result = differences(atoms, symmetric, displacement=1e-3)
    expected = differences(atoms, plain, displacement=1e-3, symmetry=False)
    assert (symmetric.calls, plain.calls) == (calls, 6 * len(atoms))
    # Truncation along other directions: (1e-3 Å / 0.2 Å)² / 6, and both have it.
    np.testing.assert_allclose(result, expected, atol=2e-5 * np.abs(expected).max())


def copper():
    return bulk("Cu", "fcc", a=3.6, cubic=True)


def slab():
    return fcc111("Cu", (2, 2, 2), vacuum=6.0)


def held():
    atoms = copper()
    atoms.set_constraint(FixAtoms([0]))
    return atoms


def distorted():
    atoms = copper()
    atoms.rattle(0.05, seed=1)
    return atoms


def needle():
    """In a cell that spglib cannot reduce."""
    return Atoms("Cu2", [[0, 0, 0], [2, 0, 0]], cell=[[9, 0, 0], [0, 9, 0], [1e6, 0, 9]], pbc=True)


def skew():
    """In one that spglib does reduce, but in which it finds no space group."""
    return Atoms("Cu", cell=[[9, 0, 0], [3e3, 9, 0], [3e3, 3e3, 9]], pbc=True)


@pytest.mark.filterwarnings("error:symmetry")
@pytest.mark.parametrize("make", [slab, held, distorted, needle, skew])
def test_without_symmetry_all_is_as_ever(make):
    """Bit by bit: nothing of phonopy's went in. None of them is a fault to warn of."""
    atoms, calculator = make(), Counted(LennardJones(sigma=2.3, rc=5.0))
    result = differences(atoms, calculator)
    expected = differences(atoms, LennardJones(sigma=2.3, rc=5.0), symmetry=False)
    np.testing.assert_array_equal(result, expected)
    assert calculator.calls == 2 * len(result)


def test_magnetic_moments_break_symmetry():
    atoms, calculator = copper(), Counted(EMT())
    atoms.set_initial_magnetic_moments([1.0, 1.0, 2.0, 2.0])
    differences(atoms, calculator)
    assert 2 < calculator.calls < 24  # two kinds of atoms, and one axis apart


def test_symmetry_does_not_change_what_a_wide_displacement_is_off():
    """A defect has fewer symmetries than its crystal: both are off alike only along the same axes.

    Of the formation entropy, with displacements that are too wide on purpose.
    """
    crystal = bulk("Cu", "fcc", a=3.5898, cubic=True) * 2
    defect = relax(vacancies(crystal)[0], EMT(), fmax=1e-4)
    found = []
    for symmetry in (True, False):
        exact = HessianEntropyCalculator(EMT(), displacement=0.02, symmetry=symmetry, mesh="gamma")
        entropies = [exact.get_property("entropy", atoms) for atoms in (defect, crystal)]
        found.append((entropies[0] - entropies[1]) / kB)
    assert found[0] == pytest.approx(found[1], abs=2e-4)
