"""Phonopy as an entropy calculator: Γ sums, q-meshes, and phonopy's traps avoided."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, make_supercell
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixBondLength, FixSymmetry
from ase.optimize import BFGS
from ase.units import kB

from ase_vibent import HessianEntropyCalculator, PhonopyEntropyCalculator, bulk_site_entropies
from ase_vibent.crystal.phonons import build_phonons, hessian_at, hessians_at
from ase_vibent.errors import (
    CalculatorError,
    InvalidInputError,
    InvalidStructureError,
    NarrowCellWarning,
    UnstableStructureError,
)
from ase_vibent.harmonic.entropy import T0, classical_entropy
from ase_vibent.potentials import stillinger_weber_silicon, tersoff_silicon_carbide

phonopy = pytest.importorskip("phonopy")
from phonopy.structure.atoms import PhonopyAtoms  # noqa: E402

PRIMITIVE = bulk("Si", "diamond", a=5.431)
# Of narrow cells, both share blocks among images alike.
narrow_cells = pytest.mark.filterwarnings("ignore::ase_vibent.errors.NarrowCellWarning")


def lennard_jones():
    """With an analytic Hessian, and second derivatives that vanish at the cutoff."""
    pair = pytest.importorskip("matscipy.calculators.pair_potential")
    return pair.PairPotential({(18, 18): pair.LennardJonesQuadratic(0.0104, 3.4, 6.5)})


class CountingEMT(EMT):
    """Counts force calls and remembers the moments it was given."""

    def __init__(self):
        super().__init__()
        self.calls = 0
        self.moments = None

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        self.calls += 1
        self.moments = atoms.get_initial_magnetic_moments()
        super().calculate(atoms, list(properties), system_changes)


def entropies(calculator, atoms):
    """Site entropies in k_B."""
    return calculator.get_property("entropies", atoms) / kB


@pytest.fixture(scope="module")
def copper_cells():
    """Perfect copper of 32 atoms, and the relaxed vacancy in it."""
    crystal = bulk("Cu", "fcc", a=3.5898, cubic=True) * 2
    vacancy = crystal.copy()
    del vacancy[0]
    vacancy.calc = EMT()
    assert BFGS(vacancy, logfile=None).run(fmax=1e-6)
    vacancy.calc = None
    return crystal, vacancy


def plain_phonopy(atoms, primitive_matrix):
    """Phonopy's Γ sum as it comes: default settings but for the primitive cell."""
    cell = PhonopyAtoms(
        numbers=atoms.numbers,
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(),
    )
    phonons = phonopy.Phonopy(cell, np.eye(3, dtype=int), primitive_matrix)
    phonons.generate_displacements(distance=0.01)
    phonons.forces = [
        EMT().get_property("forces", Atoms(d.symbols, d.positions, cell=d.cell, pbc=True))
        for d in phonons.supercells_with_displacements
    ]
    phonons.produce_force_constants()
    phonons.run_mesh([1, 1, 1])
    phonons.run_thermal_properties(temperatures=[300.0])
    return phonons


def formation(values, n):
    """Formation entropy of one vacancy in a crystal of n atoms."""
    return values[1] - (n - 1) / n * values[0]


@pytest.mark.filterwarnings("ignore::UserWarning")  # newer versions see these traps coming
def test_perfect_supercell_is_not_collapsed(copper_cells):
    crystal, _ = copper_cells
    assert len(plain_phonopy(crystal, "auto").primitive) == 1  # the trap
    calculator = PhonopyEntropyCalculator(EMT(), mesh="gamma")
    values = entropies(calculator, crystal)
    # All sites are equivalent, and one displacement stands for them all.
    np.testing.assert_allclose(values, np.full(32, values[0]), atol=1e-9)
    assert calculator.get_frequencies().shape == (1, 96)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_formation_entropy_of_a_vacancy(copper_cells):
    """Phonopy's own sums take in, or drop, translations according to the sign of noise."""
    options = {"quantum": True, "displacement": 1e-3, "mesh": "gamma"}
    values, exact = (
        [make(EMT(), **options).get_property("entropy", a) / kB for a in copper_cells]
        for make in (PhonopyEntropyCalculator, HessianEntropyCalculator)
    )
    # Central differences along different directions: 50 (displacement / Å)² (measured).
    assert formation(values, 32) == pytest.approx(formation(exact, 32), abs=2e-4)
    assert 1 < formation(values, 32) < 4
    plain = [plain_phonopy(a, "P").thermal_properties for a in copper_cells]
    in_kb = [p.thermal_properties[2][0] * units.J / units.mol / kB for p in plain]
    assert abs(formation(in_kb, 32) - formation(values, 32)) > 10


@pytest.mark.parametrize("quantum", [False, True])
@pytest.mark.parametrize("vacancy", [False, True])
def test_gamma_sum_of_an_analytic_hessian(silicon, sw, vacancy, quantum):
    if vacancy:
        del silicon[5]
    silicon.set_masses(np.linspace(20, 40, len(silicon)))
    options = {"temperature": 450.0, "quantum": quantum, "mesh": "gamma"}
    ours = PhonopyEntropyCalculator(sw, **options)
    exact = HessianEntropyCalculator(stillinger_weber_silicon(), **options)
    np.testing.assert_allclose(entropies(ours, silicon), entropies(exact, silicon), atol=1e-8)
    np.testing.assert_allclose(
        ours.get_property("energies", silicon), exact.get_property("energies", silicon), atol=1e-9
    )
    frequencies = ours.get_frequencies()
    np.testing.assert_array_equal(frequencies[0, :3], 0)
    np.testing.assert_allclose(frequencies[0, 3:], exact.get_frequencies(silicon), atol=1e-10)


@pytest.mark.parametrize("index", [0, 1])
def test_gamma_sum_of_displacements(copper_cells, index):
    """Symmetry chooses other directions than x, y, z: truncation 2 (displacement / Å)²."""
    atoms = copper_cells[index]
    options = {"displacement": 1e-3, "mesh": "gamma"}
    ours = entropies(PhonopyEntropyCalculator(EMT(), **options), atoms)
    exact = entropies(HessianEntropyCalculator(EMT(), **options), atoms)
    np.testing.assert_allclose(ours, exact, atol=1e-5)


@pytest.mark.parametrize("quantum", [False, True])
@pytest.mark.parametrize("vacancy", [False, True], ids=["crystal", "vacancy"])
def test_meshes_are_those_of_the_exact_calculator(sw, vacancy, quantum):
    """By default, too; the interaction with the vacancy, 3.9 Å, is shorter than half the cell."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * 2
    if vacancy:
        del atoms[5]
        atoms.rattle(0.03, seed=1)
    atoms.set_masses(np.linspace(20, 40, len(atoms)))
    options = {"temperature": 450.0, "quantum": quantum}
    ours = PhonopyEntropyCalculator(sw, **options)
    exact = HessianEntropyCalculator(stillinger_weber_silicon(), **options)
    np.testing.assert_allclose(entropies(ours, atoms), entropies(exact, atoms), atol=1e-8)
    np.testing.assert_allclose(
        ours.get_property("energies", atoms), exact.get_property("energies", atoms), atol=1e-9
    )
    np.testing.assert_allclose(ours.get_frequencies(), exact.get_frequencies(), atol=1e-10)
    np.testing.assert_array_equal(ours.get_qpoints(), exact.get_qpoints())
    np.testing.assert_allclose(ours.get_weights(), exact.get_weights())


def test_ties_are_those_of_the_exact_calculator(copper_cells):
    """Copper's interaction reaches the border, where both share force constants alike."""
    options = {"displacement": 1e-3}
    ours = entropies(PhonopyEntropyCalculator(EMT(), **options), copper_cells[0])
    exact = entropies(HessianEntropyCalculator(EMT(), **options), copper_cells[0])
    # Symmetry chooses one direction for both: hardly any truncation differs.
    np.testing.assert_allclose(ours, exact, atol=1e-8)


@narrow_cells
@pytest.mark.parametrize("repeats", [(3, 3, 3), (3, 1, 3)])
def test_force_constants_of_a_supercell(repeats):
    """Its Γ, or one point of its zone, is as many of the crystal's as there are cells."""
    large = PRIMITIVE * repeats
    for mesh, of_large in (("gamma", "gamma"), (repeats, (1, 1, 1))):
        exact = entropies(
            HessianEntropyCalculator(stillinger_weber_silicon(), mesh=of_large), large
        )
        small = PhonopyEntropyCalculator(stillinger_weber_silicon(), supercell=repeats, mesh=mesh)
        values = entropies(small, PRIMITIVE)
        np.testing.assert_allclose(values, np.full(2, exact.mean()), atol=1e-8)
        whole = PhonopyEntropyCalculator(stillinger_weber_silicon(), mesh=of_large)
        np.testing.assert_allclose(entropies(whole, large), exact, atol=1e-8)
        copies = np.rint(small.get_weights() * np.prod(repeats)).astype(int)
        every = np.repeat(small.get_frequencies(), copies, axis=0)
        np.testing.assert_allclose(
            np.sort(every.ravel()), np.sort(whole.get_frequencies()[0]), atol=1e-10
        )


def test_supercell_matrix_is_that_of_ase():
    matrix = np.array([[2, 1, 0], [0, 2, 0], [-1, 0, 3]])
    ours = PhonopyEntropyCalculator(stillinger_weber_silicon(), supercell=matrix, mesh="gamma")
    exact = HessianEntropyCalculator(stillinger_weber_silicon(), mesh="gamma")
    expected = entropies(exact, make_supercell(PRIMITIVE, matrix)).mean()
    np.testing.assert_allclose(entropies(ours, PRIMITIVE), np.full(2, expected), atol=1e-8)
    assert ours.get_qpoints().shape == (12, 3)


@pytest.mark.parametrize(
    ("mesh", "n_modes"),
    [("auto", 6), ((4, 4, 4), 6), ((2, 1, 1), 6), ((3, 3, 3), 6), ("gamma", 6 - 3 / 8)],
)
def test_number_of_modes_per_cell(mesh, n_modes):
    """Classical entropies rise by k_B n_modes ln 2 from T to 2 T."""
    calculator = PhonopyEntropyCalculator(
        stillinger_weber_silicon(), supercell=(2, 2, 2), mesh=mesh
    )
    low = calculator.get_property("entropy", PRIMITIVE)
    calculator.temperature = 600.0
    high = calculator.get_property("entropy", PRIMITIVE)
    assert high - low == pytest.approx(kB * n_modes * np.log(2), rel=1e-10)
    weights = calculator.get_weights()
    assert weights.sum() == pytest.approx(1)
    assert calculator.get_frequencies().shape == (len(weights), 6)
    assert calculator.get_qpoints().shape == (len(weights), 3)


def test_mesh_converges_to_the_bulk_value():
    argon = bulk("Ar", "fcc", a=5.3)
    site = bulk_site_entropies(argon, lennard_jones(), width=10.0)
    expected = classical_entropy(site, 3, 300.0) / kB
    calculator = PhonopyEntropyCalculator(lennard_jones(), supercell=(4, 4, 4))
    errors = []
    for n in (8, 16):
        calculator.set(mesh=(n, n, n))
        errors.append(float(entropies(calculator, argon)[0] - expected[0]))
    # What is missed around Γ is -0.08 / n³ (measured).
    assert abs(errors[1]) < 3e-5
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.1)


@narrow_cells
def test_compound():
    """The total is the converged one; the split is that of the physical modes."""
    carbide = bulk("SiC", "zincblende", a=4.32)
    site = bulk_site_entropies(carbide, tersoff_silicon_carbide(), width=8.0)
    calculator = PhonopyEntropyCalculator(
        tersoff_silicon_carbide(), supercell=(3, 3, 3), mesh=(12, 12, 12)
    )
    values = entropies(calculator, carbide)
    expected = classical_entropy(site, 3, 300.0).sum() / kB
    assert values.sum() == pytest.approx(expected, abs=2e-4)
    assert values[0] - values[1] > 0.5  # silicon is the heavier
    conventional = bulk("SiC", "zincblende", a=4.32, cubic=True)[[0, 2, 1, 3, 4, 6, 5, 7]]
    calculator = PhonopyEntropyCalculator(tersoff_silicon_carbide())
    exact = HessianEntropyCalculator(tersoff_silicon_carbide())
    np.testing.assert_allclose(
        entropies(calculator, conventional), entropies(exact, conventional), atol=1e-8
    )


@pytest.mark.parametrize("repeats", [(2, 2, 2), (3, 2, 1)])
def test_many_points_at_once(repeats):
    """Images at equal distance, in even cells, share their force constants."""
    carbide = bulk("SiC", "zincblende", a=4.32)
    phonons = build_phonons(carbide, tersoff_silicon_carbide(), np.array(repeats))
    points = np.random.default_rng(0).uniform(-1, 1, (5, 3))
    expected = [hessian_at(phonons, q) for q in points]
    np.testing.assert_allclose(hessians_at(phonons, points), expected, atol=1e-12)


def test_isotope_adds_its_mass_alone(sw):
    """All masses scale: (3/2) ln 2 per atom; on a mesh one isotope adds the same to the sum."""
    calculator = PhonopyEntropyCalculator(sw, supercell=(2, 2, 2), mesh=(4, 4, 4))
    atoms = PRIMITIVE.copy()
    masses = atoms.get_masses()
    before = entropies(calculator, atoms)
    atoms.set_masses(2 * masses)
    doubled = entropies(calculator, atoms)
    np.testing.assert_allclose(doubled - before, 1.5 * np.log(2), atol=1e-9)
    atoms.set_masses(masses * [1, 2])
    isotope = entropies(calculator, atoms)
    assert isotope.sum() - before.sum() == pytest.approx(1.5 * np.log(2), abs=1e-9)


@pytest.mark.filterwarnings("ignore:Half-grid shift")
@pytest.mark.parametrize("mesh", [[3, 3, 3], [4, 4, 4]])
@pytest.mark.parametrize("temperature", [100.0, 300.0, 2000.0])
def test_phonopy_has_the_same_thermodynamics(mesh, temperature):
    """Its constants are of 1986: 1e-5. Both meshes are half-shifted."""
    calculator = PhonopyEntropyCalculator(
        stillinger_weber_silicon(),
        supercell=(2, 2, 2),
        mesh=mesh,
        quantum=True,
        temperature=temperature,
    )
    free_energy = calculator.get_property("free_energy", PRIMITIVE)
    entropy = calculator.get_property("entropy", PRIMITIVE)
    cell = PhonopyAtoms(
        numbers=PRIMITIVE.numbers,
        cell=PRIMITIVE.cell.array,
        scaled_positions=PRIMITIVE.get_scaled_positions(),
        masses=PRIMITIVE.get_masses(),
    )
    phonons = phonopy.Phonopy(cell, 2 * np.eye(3, dtype=int), "P")
    phonons.generate_displacements(distance=1e-3, is_plusminus=True)
    phonons.forces = [
        stillinger_weber_silicon().get_property(
            "forces", Atoms(d.symbols, d.positions, cell=d.cell, pbc=True)
        )
        for d in phonons.supercells_with_displacements
    ]
    phonons.produce_force_constants()
    phonons.run_mesh(mesh, shift=[0.5, 0.5, 0.5], is_gamma_center=True)
    # THz; above the noise of the translations, below all else.
    phonons.run_thermal_properties(temperatures=[temperature], cutoff_frequency=0.1)
    _, free_energies, entropies, _ = phonons.thermal_properties.thermal_properties
    assert free_energy == pytest.approx(free_energies[0] * units.kJ / units.mol, rel=1e-5)
    assert entropy == pytest.approx(entropies[0] * units.J / units.mol, rel=1e-5)


@pytest.mark.parametrize("mesh", ["gamma", (4, 4, 4), (3, 3, 3)])
def test_imaginary_modes_are_counted(mesh):
    """Argon stretched about to the inflection of its potential: some modes are unstable."""
    argon = bulk("Ar", "fcc", a=6.05)
    options = {"supercell": (4, 4, 4), "mesh": mesh}
    calculator = PhonopyEntropyCalculator(lennard_jones(), **options)
    with pytest.raises(UnstableStructureError, match="expected 0 unstable modes, found") as caught:
        calculator.get_property("entropy", argon)
    n_points = 64 if mesh == "gamma" else np.prod(mesh)
    n_modes = 3 * n_points - (3 if mesh == "gamma" else 0)
    error = caught.value
    assert error.frequencies.shape == (n_modes,)
    assert 0 < error.n_unstable == (error.frequencies < 0).sum() < n_modes
    calculator.set(unstable="any")
    entropy = calculator.get_property("entropy", argon) / kB
    assert calculator.get_number_of_unstable_modes() == error.n_unstable
    negative = (calculator.get_frequencies() < 0).sum(axis=1)
    assert n_points * calculator.get_weights() @ negative == pytest.approx(error.n_unstable)
    kept = error.frequencies[error.frequencies > 0]
    expected = (1 - np.log(kept / (kB * T0))).sum() / n_points
    assert entropy == pytest.approx(expected, abs=1e-9)


def test_promised_number_of_unstable_modes(sw, silicon):
    """At Γ a saddle is allowed, and agrees with the exact calculator."""
    silicon.rattle(0.3, seed=2)
    options = {"mesh": "gamma"}
    exact = HessianEntropyCalculator(stillinger_weber_silicon(), unstable="any", **options)
    expected = entropies(exact, silicon)
    n_unstable = int((exact.get_frequencies() < 0).sum())
    assert n_unstable > 0
    calculator = PhonopyEntropyCalculator(sw, unstable=n_unstable, **options)
    np.testing.assert_allclose(entropies(calculator, silicon), expected, atol=1e-8)
    calculator.set(unstable=n_unstable + 1)
    with pytest.raises(UnstableStructureError, match=f"found {n_unstable}"):
        calculator.get_property("energy", silicon)


@pytest.mark.parametrize("mesh", ["gamma", (1, 1, 1), (1, 2, 1)])
def test_atom_out_of_reach(sw, mesh):
    atoms = bulk("Si", "diamond", a=5.431, cubic=True)
    atoms.set_cell(atoms.cell.array + np.diag([20, 0, 0]))
    atoms += Atoms("Si", [[16, 1, 1]])
    calculator = PhonopyEntropyCalculator(sw, mesh=mesh, unstable="any")
    with pytest.raises(UnstableStructureError, match="out of reach"):
        calculator.get_property("energy", atoms)


def test_zero_kelvin_has_zero_point_energy():
    argon = bulk("Ar", "fcc", a=5.3, cubic=True)
    calculator = PhonopyEntropyCalculator(
        lennard_jones(), supercell=(2, 2, 2), quantum=True, temperature=0
    )
    expected = calculator.get_weights(argon) @ calculator.get_frequencies(argon).sum(axis=1) / 2
    assert calculator.get_property("free_energy", argon) == pytest.approx(expected, rel=1e-12)
    assert calculator.get_property("entropy", argon) == 0
    bulk_values = calculator.bulk_vibrations(argon, [0, 0.1])
    assert bulk_values.free_energies == pytest.approx(2 * [expected], rel=1e-9)
    exact = HessianEntropyCalculator(lennard_jones(), quantum=True)
    infinite = exact.bulk_vibrations(argon, [0.0, 1.0])
    assert infinite.entropies[0] == 0
    assert infinite.free_energies[0] == pytest.approx(infinite.free_energies[1], rel=1e-4)
    assert infinite.free_energies[0] == pytest.approx(expected, rel=1e-2)  # another mesh


def test_single_atom_at_gamma_has_no_modes():
    calculator = PhonopyEntropyCalculator(lennard_jones(), mesh="gamma")
    argon = bulk("Ar", "fcc", a=5.3)
    with pytest.warns(NarrowCellWarning, match="one atom.*repeat the cell"):
        assert calculator.get_property("entropy", argon) == 0
    np.testing.assert_array_equal(calculator.get_frequencies(), np.zeros((1, 3)))
    calculator.set(unstable=1)
    with pytest.raises(UnstableStructureError, match="found 0"):
        calculator.get_property("entropy", argon)


def test_left_handed_cell(sw):
    """The mesh and the supercell stay with the vectors that they were given for."""
    atoms = PRIMITIVE * (2, 1, 1)
    right = PhonopyEntropyCalculator(sw, supercell=(1, 2, 2), mesh=(1, 3, 2))
    expected = entropies(right, atoms)
    atoms.set_cell(atoms.cell.array[[1, 0, 2]])
    left = PhonopyEntropyCalculator(sw, supercell=(2, 1, 2), mesh=(3, 1, 2))
    np.testing.assert_allclose(entropies(left, atoms), expected, atol=1e-8)


def test_turned_lattice(sw):
    calculator = PhonopyEntropyCalculator(sw, supercell=(2, 2, 3), mesh=(3, 3, 2))
    expected = entropies(calculator, PRIMITIVE)
    turned = PRIMITIVE.copy()
    turned.rotate(33, (1, 2, 3), rotate_cell=True)
    turned.translate([0.3, 0.2, -9.0])
    np.testing.assert_allclose(entropies(calculator, turned), expected, atol=1e-8)


@pytest.mark.parametrize(
    "change",
    [
        lambda atoms: atoms.rattle(0.01, seed=1),
        lambda atoms: atoms.set_cell(1.01 * atoms.cell.array, scale_atoms=True),
        lambda atoms: atoms.set_masses(1.1 * atoms.get_masses()),
        lambda atoms: atoms.set_atomic_numbers([47, 29, 29, 29]),
        lambda atoms: atoms.calc.set(mesh=(2, 2, 2)),
        lambda atoms: atoms.calc.set(supercell=(2, 1, 1)),
        lambda atoms: atoms.calc.set(displacement=0.02),
        lambda atoms: atoms.calc.set(quantum=True),
        lambda atoms: setattr(atoms.calc, "temperature", 77.0),
    ],
    ids=[
        *("positions", "cell", "masses", "species"),
        *("mesh", "supercell", "displacement", "quantum", "temperature"),
    ],
)
def test_results_follow_every_change(change):
    atoms = bulk("Cu", "fcc", a=3.59, cubic=True)
    # Displaced, so narrow a cell is stable at Γ only.
    atoms.calc = PhonopyEntropyCalculator(EMT(), mesh="gamma")
    before = atoms.get_potential_energy()
    change(atoms)
    after = atoms.get_potential_energy()
    fresh = PhonopyEntropyCalculator(EMT(), **atoms.calc.parameters)
    assert abs(after - before) > 1e-8
    assert after == pytest.approx(fresh.get_property("energy", atoms), abs=1e-12)


def test_force_constants_are_kept():
    """Temperature, statistics, mesh and masses leave them as they are."""
    atoms = bulk("Cu", "fcc", a=3.59, cubic=True)
    emt = CountingEMT()
    atoms.calc = PhonopyEntropyCalculator(emt)
    atoms.get_potential_energy()
    calls = emt.calls
    assert calls == 2  # one atom, one direction, back and forth
    atoms.calc.set(temperature=500.0, quantum=True, mesh=(3, 3, 3), unstable="any")
    atoms.get_potential_energy()
    atoms.set_masses([60.0, 61.0, 62.0, 63.0])
    atoms.get_potential_energy()
    atoms.calc.set(mesh="gamma")
    atoms.get_potential_energy()
    assert emt.calls == calls
    atoms.positions[0, 0] += 0.01
    atoms.get_potential_energy()
    assert emt.calls > calls


def test_displacements_without_symmetry():
    atoms, emt = bulk("Cu", "fcc", a=3.59, cubic=True), CountingEMT()
    calculator = PhonopyEntropyCalculator(emt)
    values = entropies(calculator, atoms)
    calculator.set(symmetry=False)
    # Other directions: only truncation may differ.
    np.testing.assert_allclose(entropies(calculator, atoms), values, atol=1e-3)
    assert emt.calls == 2 + 6 * 4


def test_magnetic_moments_are_kept_and_break_symmetry():
    atoms = bulk("Cu", "fcc", a=3.59, cubic=True)
    moments = [1.0, 1.0, -1.0, 2.0]
    atoms.set_initial_magnetic_moments(moments)
    emt = CountingEMT()
    values = entropies(PhonopyEntropyCalculator(emt), atoms)
    np.testing.assert_array_equal(emt.moments, moments)
    assert emt.calls > 2
    # EMT knows no magnetism; only truncation may differ.
    plain = bulk("Cu", "fcc", a=3.59, cubic=True)
    np.testing.assert_allclose(values, entropies(PhonopyEntropyCalculator(EMT()), plain), atol=1e-3)


def test_input_is_left_alone(sw):
    silicon = bulk("Si", "diamond", a=5.431, cubic=True)
    silicon.positions -= 7.0  # outside of the cell
    silicon.set_constraint(FixSymmetry(silicon))
    silicon.calc = other = EMT()
    before = silicon.copy()
    calculator = PhonopyEntropyCalculator(sw, supercell=(2, 1, 1), mesh=(2, 2, 2))
    calculator.get_property("energy", silicon)
    assert silicon == before
    assert silicon.calc is other
    assert len(silicon.constraints) == 1


@pytest.mark.parametrize(("mesh", "n_modes"), [("auto", 48), ("gamma", 45)])
def test_ase_contract(silicon, mesh, n_modes):
    options = {"temperature": 500.0, "mesh": mesh}
    silicon.calc = PhonopyEntropyCalculator(stillinger_weber_silicon, **options)
    energy = silicon.get_potential_energy()
    assert energy == silicon.get_potential_energy(force_consistent=True)
    assert silicon.get_potential_energies().sum() == pytest.approx(energy)
    entropy = silicon.calc.get_property("entropy", silicon)
    assert silicon.calc.get_property("entropies", silicon).sum() == pytest.approx(entropy)
    # Equipartition: U = n k_B T.
    assert energy == pytest.approx(n_modes * kB * 500 - 500 * entropy)
    for method in (silicon.get_forces, silicon.get_stress):
        with pytest.raises(PropertyNotImplementedError):
            method()


def test_fixed_atoms_are_refused(silicon, sw):
    calculator = PhonopyEntropyCalculator(sw)
    calculator.get_property("energy", silicon)
    silicon.set_constraint(FixAtoms([0]))
    with pytest.raises(InvalidStructureError, match=r"FixAtoms.*HessianEntropyCalculator"):
        calculator.get_property("energy", silicon)
    silicon.set_constraint(FixBondLength(0, 1))
    with pytest.raises(InvalidStructureError, match="FixBondLength"):
        calculator.get_property("energy", silicon)
    silicon.set_constraint()
    assert np.isfinite(calculator.get_property("energy", silicon))


def test_not_a_crystal(silicon, sw):
    silicon.pbc = [True, True, False]
    with pytest.raises(InvalidStructureError, match="periodic along three"):
        PhonopyEntropyCalculator(sw).get_property("energy", silicon)


def test_bad_mass_costs_no_force_call():
    atoms = bulk("Cu", "fcc", a=3.59)
    atoms.set_masses([0.0])
    emt = CountingEMT()
    with pytest.raises(InvalidStructureError, match="mass"):
        PhonopyEntropyCalculator(emt).get_property("energy", atoms)
    assert emt.calls == 0


class EnergyOnly(Calculator):
    implemented_properties = ["energy"]  # noqa: RUF012


def test_calculator_without_forces(silicon):
    with pytest.raises(CalculatorError, match="forces"):
        PhonopyEntropyCalculator(EnergyOnly()).get_property("energy", silicon)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.0),
        ("temperature", -5),
        ("temperature", np.nan),
        ("temperature", "hot"),
        ("supercell", (2, 2)),
        ("supercell", (2, 0, 2)),
        ("supercell", 2),
        ("supercell", (2.0, 2.0, 2.5)),
        ("supercell", [[1, 0, 0], [0, 1, 0], [1, 1, 0]]),
        ("supercell", [[1, 0, 0], [0, 1]]),
        ("supercell", -np.eye(3, dtype=int)),
        ("mesh", (4, 4)),
        ("mesh", (4, 4, 0)),
        ("mesh", 4),
        ("mesh", "dense"),
        ("mesh", (True, True, True)),
        ("mesh", None),
        ("unstable", -1),
        ("unstable", "all"),
        ("displacement", 0.0),
        ("displacement", np.inf),
        ("symmetry", "no"),
        ("decomposition", "mass-free"),
    ],
)
def test_bad_parameters(name, value):
    calculator = PhonopyEntropyCalculator(EMT())
    before = dict(calculator.parameters)
    with pytest.raises(InvalidInputError, match=name):
        calculator.set(**{name: value})
    assert dict(calculator.parameters) == before
    if name != "decomposition":
        with pytest.raises(InvalidInputError, match=name):
            PhonopyEntropyCalculator(EMT(), **{name: value})


def test_saddles_on_a_mesh_are_refused():
    with pytest.raises(InvalidInputError, match="unstable: expected 0 or 'any' with a mesh"):
        PhonopyEntropyCalculator(EMT(), unstable=1)
    calculator = PhonopyEntropyCalculator(EMT(), unstable=1, mesh="gamma")
    with pytest.raises(InvalidInputError, match="unstable: expected 0 or 'any' with a mesh"):
        calculator.set(mesh=(2, 2, 2))
    calculator.set(mesh=(2, 2, 2), unstable="any")


def test_nothing_calculated_yet():
    calculator = PhonopyEntropyCalculator(EMT())
    with pytest.raises(InvalidInputError, match="pass a structure"):
        calculator.get_frequencies()
