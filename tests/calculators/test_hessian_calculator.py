"""The reference calculators: derivatives against finite differences, and ASE's contract."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms, FixBondLength
from ase.thermochemistry import HarmonicThermo
from ase.units import kB

from ase_vibent import HessianEntropyCalculator, SiteEntropyCalculator
from ase_vibent.calculators.hessian import FiniteDifferenceEntropyCalculator
from ase_vibent.errors import (
    InvalidInputError,
    InvalidStructureError,
    NarrowCellWarning,
    UnstableStructureError,
)
from ase_vibent.hessian import HessianOptions
from ase_vibent.potentials import stillinger_weber_silicon


def lennard_jones():
    return LennardJones(rc=8.0, ro=7.0, smooth=True)


def silicon_vacancy():
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (2, 1, 1)
    del atoms[5]
    atoms.rattle(0.03, seed=1)
    return atoms


def unequal_silicon(amplitude=0.16, seed=7):
    """Strongly rattled: one mode is unstable at every q (asserted below), and masses differ."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True)
    atoms.rattle(amplitude, seed=seed)
    atoms.set_masses(np.linspace(10, 60, 8))
    return atoms


def torn_silicon():
    """One mode is unstable at some q of the mesh (2, 2, 2), two at others (asserted below)."""
    return unequal_silicon(0.2, seed=4)


def cluster():
    """Off its minimum, so that its rotations are no null vectors of the Hessian."""
    atoms = Atoms("Ar6", 0.8 * np.r_[np.eye(3), -np.eye(3)])
    atoms.rattle(0.02, seed=0)
    atoms.set_masses(np.linspace(10, 80, 6))
    return atoms


def wire():
    angles = np.radians([0, 120, 240, 60, 180, 300])
    positions = np.c_[0.63 * np.cos(angles), 0.63 * np.sin(angles), [0, 0, 0, 0.9, 0.9, 0.9]]
    atoms = Atoms("Ar6", positions, cell=[30, 30, 1.8], pbc=[False, False, True])
    atoms.rattle(0.01, seed=2)
    atoms.set_masses(np.linspace(10, 60, 6))
    return atoms


def far_off(make):
    """So far off a minimum that the turning rotations make up to 3 % of the gradient."""
    atoms = make()
    atoms.rattle(0.1, seed=11 if make is cluster else 10)
    return atoms


def stretched_line():
    """Collinear and off its minimum; the line is no Cartesian axis."""
    atoms = Atoms("Ar2", [[0, 0, 0], [0.69, 0.62, 0.66]])
    atoms.set_masses([10, 50])
    return atoms


def copper():
    atoms = bulk("Cu", "fcc", a=3.59, cubic=True)
    atoms.rattle(0.05, seed=3)
    return atoms


def copper_slab():
    atoms = fcc111("Cu", (1, 2, 3), a=3.59, orthogonal=True, vacuum=5.0)
    atoms.rattle(0.02, seed=3)
    return atoms


def held():
    """The same cluster with three of its atoms fixed."""
    atoms = cluster()
    atoms.set_constraint(FixAtoms([1, 4, 5]))
    return atoms


GAMMA = {"mesh": "gamma"}
CASES = {
    "vacancy": (silicon_vacancy, stillinger_weber_silicon, {}),
    "vacancy quantum": (silicon_vacancy, stillinger_weber_silicon, {"quantum": True}),
    "vacancy at Γ": (silicon_vacancy, stillinger_weber_silicon, GAMMA),
    "vacancy quantum at Γ": (silicon_vacancy, stillinger_weber_silicon, GAMMA | {"quantum": True}),
    "one unstable": (unequal_silicon, stillinger_weber_silicon, {"unstable": 1}),
    "one unstable at Γ": (unequal_silicon, stillinger_weber_silicon, GAMMA | {"unstable": 1}),
    "any": (torn_silicon, stillinger_weber_silicon, {"unstable": "any", "mesh": (2, 2, 2)}),
    "any at Γ": (torn_silicon, stillinger_weber_silicon, GAMMA | {"unstable": "any"}),
    "copper": (copper, EMT, {}),
    "copper at Γ": (copper, EMT, GAMMA),
    "slab": (copper_slab, EMT, {"quantum": True}),
    "slab at Γ": (copper_slab, EMT, GAMMA | {"quantum": True}),
    "cluster": (cluster, lennard_jones, {}),
    "cluster quantum": (cluster, lennard_jones, {"quantum": True}),
    "wire": (wire, lennard_jones, GAMMA),
    "wire on a mesh": (wire, lennard_jones, {"mesh": (1, 1, 2), "unstable": "any"}),
    "cluster far off": (lambda: far_off(cluster), lennard_jones, {"unstable": "any"}),
    "wire far off": (lambda: far_off(wire), lennard_jones, GAMMA | {"unstable": "any"}),
    "line": (stretched_line, lennard_jones, {}),
    "fixed atoms": (held, lennard_jones, {}),
}
WITH_STRESS = [
    *("vacancy", "vacancy quantum", "vacancy at Γ", "one unstable", "one unstable at Γ"),
    *("copper", "copper at Γ", "slab", "slab at Γ"),
]
# The smallest cells are too narrow for their meshes to mean much; derivatives are right all the
# same, those of the shares of images among them.
too_narrow_to_mean_much = pytest.mark.filterwarnings("ignore::ase_vibent.errors.NarrowCellWarning")


def prepared(case, **options):
    make, calculator, defaults = CASES[case]
    # Short displacements: near soft modes the logarithm bends within 0.03 Å.
    settings = {"displacement": 5e-4, "temperature": 400.0} | defaults | options
    atoms = make()
    atoms.calc = HessianEntropyCalculator(calculator(), **settings)
    return atoms


def central_difference(atoms, change, step):
    """Slopes of free energy and entropy along a change of a structure."""
    values = []
    for amount in (step, -step):
        copy = atoms.copy()
        copy.set_constraint()  # FixAtoms would block the change
        change(copy, amount)
        copy.set_constraint(atoms.constraints)
        copy.calc = atoms.calc
        values.append([copy.get_potential_energy(), copy.calc.get_property("entropy", copy)])
    return (np.array(values[0]) - values[1]) / (2 * step)


@pytest.mark.parametrize(
    ("case", "expected"),
    [("one unstable", {1}), ("one unstable at Γ", {1}), ("any", {1, 2}), ("any at Γ", {1})],
)
def test_cases_with_unstable_modes(case, expected):
    atoms = prepared(case)
    numbers = (np.atleast_2d(atoms.calc.get_frequencies(atoms)) < 0).sum(axis=1)
    assert set(numbers) == expected


@too_narrow_to_mean_much
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_forces_and_entropy_gradient(case, seed):
    """Along random directions of the atoms that may move.

    3e-4: both sides difference third derivatives of the energy, with truncation (5e-4 Å)²
    over the square of the distance, 0.03 Å or more, at which soft modes change.
    """
    atoms = prepared(case)
    direction = np.random.default_rng(seed).normal(size=(len(atoms), 3))
    if case == "line":
        direction = np.outer([seed, 1.0], atoms.positions[1])  # stay on it
    elif atoms.constraints:
        direction[atoms.constraints[0].index] = 0
    direction /= np.linalg.norm(direction)
    forces = atoms.get_forces(apply_constraint=False)
    gradient = atoms.calc.get_property("entropy_gradient", atoms)

    def shift(copy, amount):
        copy.positions += amount * direction

    slopes = central_difference(atoms, shift, 5e-4)
    scale = 3e-4 * np.array([np.linalg.norm(forces), np.linalg.norm(gradient)])
    assert np.abs(slopes[0] + (forces * direction).sum()) < scale[0]
    assert np.abs(slopes[1] - (gradient * direction).sum()) < scale[1]


@too_narrow_to_mean_much
@pytest.mark.parametrize("case", WITH_STRESS)
@pytest.mark.parametrize("component", [(0, 0), (2, 2), (0, 1)])
def test_stress_and_entropy_strain(case, component):
    """1e-3 because of third derivatives as above; strains of 1e-4 move atoms by 1e-3 Å at most."""
    atoms = prepared(case)
    a, b = component

    def strain(copy, amount):
        deformation = np.eye(3)
        deformation[a, b] += amount / 2
        deformation[b, a] += amount / 2
        copy.set_cell(copy.cell.array @ deformation, scale_atoms=True)

    slopes = central_difference(atoms, strain, 1e-4)
    virial = atoms.get_volume() * atoms.get_stress(voigt=False)
    slope = atoms.calc.get_property("entropy_strain", atoms)
    assert slopes[0] == pytest.approx(virial[a, b], abs=1e-3 * np.abs(virial).max())
    assert slopes[1] == pytest.approx(slope[a, b], abs=1e-3 * np.abs(slope).max())


@pytest.mark.parametrize("case", ["vacancy", "vacancy at Γ", "cluster", "wire"])
def test_rigid_motion_costs_nothing(case):
    """No net force; no torque on a cluster, or about the axis of a wire."""
    atoms = prepared(case)
    forces = atoms.get_forces()
    scale = np.abs(forces).max()
    assert np.abs(forces.sum(axis=0)).max() < 1e-6 * scale
    torque = np.cross(atoms.positions, forces).sum(axis=0)
    free_axes = {"cluster": [0, 1, 2], "wire": [2]}.get(case, [])
    # Central differences are not rotation invariant beyond (5e-4 Å / 0.03 Å)².
    assert np.all(np.abs(torque[free_axes]) < 1e-3 * scale)


@pytest.mark.parametrize("quantum", [False, True])
@pytest.mark.parametrize("case", ["vacancy", "vacancy at Γ"])
def test_entropy_is_minus_the_slope_of_the_free_energy(case, quantum):
    atoms = prepared(case, quantum=quantum, temperature=300.0)
    entropy = atoms.calc.get_property("entropy", atoms)
    energies = []
    for temperature in (301.0, 299.0):
        atoms.calc.temperature = temperature
        energies.append(atoms.get_potential_energy())
    assert (energies[1] - energies[0]) / 2 == pytest.approx(entropy, rel=1e-5)  # (1/300)² / 6


@pytest.mark.parametrize("decomposition", ["mass-weighted", "mass-free"])
@pytest.mark.parametrize(("case", "lacking"), [("cluster", 6), ("vacancy", 0), ("vacancy at Γ", 3)])
def test_classical_free_energy_is_equipartition_minus_ts(case, lacking, decomposition):
    atoms = prepared(case, decomposition=decomposition)
    n_modes = 3 * len(atoms) - lacking
    entropy = atoms.calc.get_property("entropy", atoms)
    expected = n_modes * kB * 400 - 400 * entropy
    assert atoms.get_potential_energy() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("case", "n_points"), [("vacancy quantum", 16), ("cluster quantum", 1)])
def test_frequencies_feed_ase_thermochemistry(case, n_points):
    """On a mesh, one harmonic oscillator after the other at every point, averaged by weights."""
    atoms = prepared(case)
    frequencies, points = atoms.calc.get_frequencies(atoms), atoms.calc.get_qpoints()
    weights = atoms.calc.get_weights()
    assert weights.sum() == pytest.approx(1)
    assert points.shape == (n_points, 3)
    assert (case == "cluster quantum") == (np.abs(points).max() == 0)
    free_energies = [
        HarmonicThermo(at_q).get_helmholtz_energy(400.0, verbose=False)
        for at_q in np.atleast_2d(frequencies)
    ]
    expected = weights @ free_energies
    assert atoms.get_potential_energy() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("decomposition", ["mass-weighted", "mass-free"])
@pytest.mark.parametrize("case", ["cluster", "one unstable", "one unstable at Γ"])
def test_results_belong_together(case, decomposition):
    atoms = prepared(case, decomposition=decomposition)
    energy = atoms.get_potential_energy()
    assert type(energy) is float
    assert type(atoms.calc.get_property("entropy", atoms)) is float
    assert atoms.get_potential_energy(force_consistent=True) == energy
    assert atoms.get_potential_energies().sum() == pytest.approx(energy, abs=1e-12)
    entropies = atoms.calc.get_property("entropies", atoms)
    assert entropies.shape == (len(atoms),)
    total = atoms.calc.get_property("entropy", atoms)
    assert entropies.sum() / kB == pytest.approx(total / kB, abs=1e-10)


def test_fixed_atoms_have_no_entropy():
    atoms = prepared("fixed atoms")
    for name in ("entropies", "energies"):
        values = atoms.calc.get_property(name, atoms)
        np.testing.assert_array_equal(values[[1, 4, 5]], 0)
        assert np.all(values[[0, 2, 3]] != 0)
    assert len(atoms.calc.get_frequencies(atoms)) == 9


@pytest.mark.parametrize("case", ["cluster", "wire", "fixed atoms"])
def test_no_stress_without_a_volume(case):
    atoms = prepared(case)
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()
    atoms.get_potential_energy()  # and the calculator is none the worse


def test_structure_is_left_alone():
    atoms = prepared("fixed atoms")
    atoms.info["note"] = "mine"
    before = atoms.copy()
    atoms.get_forces()
    assert atoms == before
    np.testing.assert_array_equal(atoms.positions, before.positions)
    assert set(atoms.arrays) == set(before.arrays)
    assert atoms.info == before.info
    assert atoms.constraints[0].todict() == before.constraints[0].todict()


def stretch(atoms, calc):
    atoms.set_cell(atoms.cell * 1.01)


def swap(atoms, calc):
    masses = atoms.get_masses()
    masses[2] = 77.0
    atoms.set_masses(masses)


def fix(atoms, calc):
    atoms.set_constraint(FixAtoms([0]))


CHANGES = {
    "positions": lambda atoms, calc: atoms.positions.__iadd__(np.eye(15, 3) * 0.02),
    "cell": stretch,
    "masses": swap,
    "pbc": lambda atoms, calc: atoms.set_pbc([True, True, False]),
    "length": lambda atoms, calc: atoms.__delitem__(0),
    "temperature": lambda atoms, calc: setattr(calc, "temperature", 700.0),
    "set": lambda atoms, calc: calc.set(temperature=700.0),
    "decomposition": lambda atoms, calc: calc.set(decomposition="mass-free"),
    "mesh": lambda atoms, calc: calc.set(mesh=(1, 1, 2)),
    "no mesh": lambda atoms, calc: calc.set(mesh="gamma"),
    "quantum": lambda atoms, calc: calc.set(quantum=True),
    "constraint": fix,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_nothing_is_stale(change):
    atoms = silicon_vacancy()
    atoms.set_masses(np.linspace(20, 40, 15))
    atoms.calc = HessianEntropyCalculator(stillinger_weber_silicon(), unstable="any")
    first = atoms.get_potential_energies(), atoms.get_forces()
    change(atoms, atoms.calc)
    second = atoms.get_potential_energies(), atoms.get_forces(apply_constraint=False)
    fresh = HessianEntropyCalculator(stillinger_weber_silicon())
    fresh.set(**atoms.calc.parameters)
    expected = fresh.get_property("energies", atoms), fresh.get_property("forces", atoms)
    assert len(second[0]) != 15 or np.abs(second[0] - first[0]).max() > 1e-6
    # The wrapped calculator's neighbour list may be summed in another order.
    np.testing.assert_allclose(second[0], expected[0], atol=1e-10)
    np.testing.assert_allclose(second[1], expected[1], atol=1e-6)


@pytest.mark.parametrize(("mesh", "n_modes"), [("auto", 24), ("gamma", 21)])
def test_change_of_policy_is_not_stale(mesh, n_modes):
    atoms = prepared("one unstable", unstable="any", mesh=mesh)
    energy = atoms.get_potential_energy()
    atoms.calc.set(unstable=0)
    with pytest.raises(UnstableStructureError) as caught:
        atoms.get_potential_energy()
    assert caught.value.n_unstable == 1
    assert len(caught.value.frequencies) == n_modes
    atoms.calc.set(unstable=1)
    assert atoms.get_potential_energy() == energy


class Counting(LennardJones):
    calls = 0

    def calculate(self, *arguments, **keywords):
        super().calculate(*arguments, **keywords)
        self.calls += 1


def test_hessian_is_not_computed_twice():
    atoms = cluster()
    counter = Counting(rc=8.0, ro=7.0, smooth=True)
    atoms.calc = HessianEntropyCalculator(counter)
    atoms.get_potential_energy()
    # Six for every atom, two that judge the step.
    assert counter.calls == 6 * 6 + 2
    atoms.calc.temperature = 900.0
    atoms.get_potential_energy()
    atoms.calc.get_frequencies(atoms)
    assert counter.calls == 6 * 6 + 2
    atoms.get_forces()
    # Two displacements along each of 12 modes, and the structure itself.
    assert counter.calls == 6 * 6 + 2 + 2 * 12 + 1


def test_finite_difference_calculator_ignores_the_analytic_hessian(sw):
    atoms = silicon_vacancy()
    exact = HessianEntropyCalculator(sw).get_property("entropy", atoms) / kB
    errors = []
    for h in (0.02, 0.01):
        calc = FiniteDifferenceEntropyCalculator(sw, displacement=h)
        errors.append(calc.get_property("entropy", atoms) / kB - exact)
    assert 1e-6 < abs(errors[1]) < 0.01
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)  # second order


def test_options_of_hessians_follow_the_parameters(tmp_path):
    calc = HessianEntropyCalculator(EMT(), symmetry=False, cache=tmp_path)
    assert calc.hessian_options == HessianOptions(symmetry=False, cache=str(tmp_path))
    calc.set(displacement=0.02, cache=None)
    assert calc.hessian_options == HessianOptions(0.02, symmetry=False)
    assert FiniteDifferenceEntropyCalculator(EMT()).hessian_options == HessianOptions(
        method="finite-differences"
    )


def test_symmetry_is_asked_for_again():
    """Its own parameter, as the displacement: what was known of the structure is dropped."""

    class Counting(EMT):
        calls = 0

        def calculate(self, *args, **kwargs):
            self.calls += 1
            super().calculate(*args, **kwargs)

    emt, crystal = Counting(), bulk("Cu", "fcc", a=3.59, cubic=True)
    calc = HessianEntropyCalculator(emt, mesh="gamma")  # of a mesh, the cell is too narrow
    entropy = calc.get_property("entropy", crystal)
    assert emt.calls == 2 + 2
    calc.set(symmetry=False)
    # Other directions: truncation differs.
    assert calc.get_property("entropy", crystal) == pytest.approx(entropy, rel=1e-3)
    assert emt.calls == 2 + 2 + 6 * 4 + 2


@pytest.mark.parametrize(
    "temperature", [0, -1.0, np.nan, np.inf, None, "hot", True, False, np.True_]
)
def test_bad_temperature(temperature):
    with pytest.raises(InvalidInputError, match="temperature"):
        HessianEntropyCalculator(EMT(), temperature=temperature)
    calc = HessianEntropyCalculator(EMT())
    with pytest.raises(InvalidInputError, match="temperature"):
        calc.temperature = temperature
    assert calc.temperature == 300.0


@too_narrow_to_mean_much
@pytest.mark.parametrize("mesh", ["auto", "gamma"])
def test_zero_kelvin(mesh):
    """F = Σ ħω/2 and S = 0, with derivatives; only quantum statistics reach it."""
    atoms = copper()
    atoms.calc = calc = HessianEntropyCalculator(
        EMT(), temperature=0, quantum=True, mesh=mesh, displacement=5e-4
    )
    energies = np.atleast_2d(calc.get_frequencies(atoms)).sum(axis=1) / 2
    zero_point = calc.get_weights(atoms) @ energies
    assert calc.get_property("free_energy", atoms) == pytest.approx(zero_point, rel=1e-12)
    assert calc.get_property("entropy", atoms) == 0
    assert not calc.get_property("entropy_gradient", atoms).any()
    pattern = np.random.default_rng(0).normal(size=(4, 3))
    slope = central_difference(atoms, lambda a, x: a.translate(x * pattern), 1e-3)[0]
    assert -np.sum(calc.get_property("forces", atoms) * pattern) == pytest.approx(slope, rel=1e-3)
    cold = calc.vibrations(atoms, [0, 1e-300, 0.01, 1.0])
    assert cold.free_energies == pytest.approx(4 * [zero_point], rel=1e-10)
    assert cold.entropies == pytest.approx(4 * [0], abs=1e-20)
    with pytest.raises(InvalidInputError, match="0 K is for quantum=True"):
        calc.set(quantum=False)
    with pytest.raises(InvalidInputError, match="expected a number in K ≥ 0"):
        calc.vibrations(atoms, [-1])
    with pytest.raises(InvalidInputError, match="expected a number in K > 0"):
        calc.get_site_entropy_gradients(atoms)
    surrogate = SiteEntropyCalculator.from_pretrained("cu-emt", temperature=0, quantum=True)
    assert surrogate.get_property("entropy", atoms) == 0
    with pytest.raises(InvalidInputError, match="0 K is for quantum=True"):
        surrogate.set(quantum=False)


def test_one_atom_at_gamma_is_no_crystal():
    calc = HessianEntropyCalculator(EMT(), mesh="gamma")
    with pytest.warns(NarrowCellWarning, match="one atom.*repeat the cell"):
        assert calc.get_property("entropy", bulk("Cu")) == 0
    assert np.isnan(calc.vibrations(Atoms("Cu"), 300.0).errors).sum() == 0
    with pytest.warns(NarrowCellWarning, match="one atom"):
        assert np.isnan(calc.vibrations(bulk("Cu"), 300.0).errors).all()


BAD_OPTIONS = [
    {"decomposition": "other"},
    {"decomposition": "mass-free", "quantum": True},
    {"unstable": -1},
    {"displacement": 0.0},
    {"displacement": -0.01},
    {"symmetry": "no"},
    {"cache": 3},
    {"method": "guess"},
    {"mesh": "fine"},
    {"mesh": (2, 2)},
    {"mesh": (2, 0, 2)},
    {"mesh": None},
]


@pytest.mark.parametrize("options", BAD_OPTIONS, ids=str)
def test_bad_options(options):
    with pytest.raises(InvalidInputError):
        HessianEntropyCalculator(EMT(), **options)


@pytest.mark.parametrize("options", BAD_OPTIONS, ids=str)
def test_bad_options_set_later(options):
    calc = HessianEntropyCalculator(EMT())
    before = dict(calc.parameters)
    with pytest.raises(InvalidInputError):
        calc.set(**options)
    assert dict(calc.parameters) == before


@pytest.mark.parametrize("constraint", [FixBondLength(0, 1), FixAtoms(range(6))])
def test_refused_constraint_and_its_removal(constraint):
    """The calculator works again as soon as the constraint is gone."""
    expected = prepared("cluster").get_potential_energy()
    atoms = prepared("cluster")
    atoms.set_constraint(constraint)
    with pytest.raises(InvalidStructureError):
        atoms.get_potential_energy()
    atoms.set_constraint()
    assert atoms.get_potential_energy() == expected
