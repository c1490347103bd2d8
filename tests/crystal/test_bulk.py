"""Converged values of perfect crystals: Lennard-Jones argon, and silicon carbide."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms, FixSymmetry
from ase.units import kB

from ase_vibent import (
    HessianEntropyCalculator,
    PhonopyEntropyCalculator,
    attach_labels,
    dataset,
)
from ase_vibent.calculators.hessian import FiniteDifferenceEntropyCalculator
from ase_vibent.crystal.bulk import bulk_site_entropies, bulk_strain_derivative
from ase_vibent.errors import CalculatorError, InvalidStructureError, UnstableStructureError
from ase_vibent.harmonic.entropy import T0
from ase_vibent.harmonic.system import HarmonicSystem
from ase_vibent.hessian import HessianOptions, compute_hessian
from ase_vibent.potentials import tersoff_silicon_carbide

LATTICE = 5.3
#: The interaction reaches 6.5 Å; periodic images add up right even in smaller cells.
WIDTH = 10.0


def lennard_jones():
    """With an analytic Hessian, and second derivatives that vanish at the cutoff."""
    pair = pytest.importorskip("matscipy.calculators.pair_potential")
    return pair.PairPotential({(18, 18): pair.LennardJonesQuadratic(0.0104, 3.4, 6.5)})


CUBIC = bulk("Ar", "fcc", a=LATTICE, cubic=True)


class ForcesOnly(Calculator):
    """Hides the analytic Hessian."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.wrapped = lennard_jones()

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        for name in self.implemented_properties:
            self.results[name] = self.wrapped.get_property(name, atoms)


@pytest.fixture
def argon():
    return bulk("Ar", "fcc", a=LATTICE)


@pytest.fixture(scope="module")
def converged():
    """s of one atom."""
    return bulk_site_entropies(bulk("Ar", "fcc", a=LATTICE), lennard_jones(), width=WIDTH)[0]


@pytest.mark.parametrize(
    "crystal",
    [
        bulk("Ar", "fcc", a=LATTICE) * (2, 2, 1),
        CUBIC,
        Atoms("Ar4", CUBIC.positions, cell=CUBIC.cell.array[[1, 0, 2]], pbc=True),
    ],
    ids=["2x2x1", "cubic", "left-handed"],
)
def test_value_does_not_depend_on_the_cell(crystal, converged):
    values = bulk_site_entropies(crystal, lennard_jones(), width=WIDTH)
    np.testing.assert_allclose(values, np.full(4, converged), atol=1e-6)


def test_isotope_adds_its_mass_alone(converged):
    """Per atom (3/2) ln m, exact in the infinite crystal; also in a turned, shifted cell."""
    crystal = bulk("Ar", "fcc", a=LATTICE, cubic=True)
    crystal.rotate(33, (1, 2, 3), rotate_cell=True)
    crystal.translate([0.3, 0.2, -9.0])
    masses = crystal.get_masses()
    heavy = masses * [1, 1, 3, 1]
    crystal.set_masses(heavy)
    values = bulk_site_entropies(crystal, lennard_jones(), width=WIDTH)
    # A turned mesh meets the same points; matscipy's sums round differently.
    np.testing.assert_allclose(values, converged + 1.5 * np.log(heavy / masses), atol=1e-6)


def test_finite_difference_route(argon, converged):
    """Truncation of force constants is (0.01 / 0.5)² of them at most, shared by all modes."""
    options = HessianOptions(displacement=0.005)
    value = bulk_site_entropies(argon, ForcesOnly(), width=WIDTH, options=options)[0]
    assert value == pytest.approx(converged, abs=1e-4)
    assert value != converged


def test_method_is_followed(argon, converged):
    """What hides its Hessian and what is asked not to use it are displaced alike."""
    values = [
        bulk_site_entropies(
            argon, make(), width=WIDTH, options=HessianOptions(method="finite-differences")
        )[0]
        for make in (ForcesOnly, lennard_jones)
    ]
    assert values[0] == pytest.approx(values[1], abs=1e-12)
    assert values[0] != converged
    with pytest.raises(CalculatorError, match="offers no analytic Hessian"):
        bulk_site_entropies(argon, ForcesOnly(), options=HessianOptions(method="analytic"))


def test_calculators_mean_their_method(argon):
    """In values and labels of infinite crystals too."""
    calculators = [
        FiniteDifferenceEntropyCalculator(lennard_jones(), mesh="gamma"),
        HessianEntropyCalculator(ForcesOnly(), mesh="gamma"),
    ]
    values = [calc.bulk_vibrations(argon, 300).entropies[0] for calc in calculators]
    labelled = attach_labels(argon * (2, 2, 2), calculators[0], name="crystal", labels=[])
    values.append(labelled.arrays[dataset.BULK][0])
    assert values == pytest.approx([values[0]] * 3, rel=1e-12)
    analytic = HessianEntropyCalculator(lennard_jones()).bulk_vibrations(argon, 300).entropies[0]
    assert 1e-7 < abs(values[0] - analytic) / kB < 1e-2


@pytest.mark.parametrize(
    ("crystal", "make", "repeat"),
    [
        (bulk("Ar", "fcc", a=LATTICE), lennard_jones, 5),
        (bulk("SiC", "zincblende", a=4.32), tersoff_silicon_carbide, 3),
    ],
    ids=["argon", "carbide"],
)
def test_dense_phonopy_mesh(crystal, make, repeat):
    """Force constants by phonopy's own route, true masses, and its own, denser mesh."""
    phonopy = pytest.importorskip("phonopy")
    from phonopy.structure.atoms import PhonopyAtoms

    cell = PhonopyAtoms(
        numbers=crystal.numbers,
        cell=crystal.cell.array,
        scaled_positions=crystal.get_scaled_positions(),
        masses=crystal.get_masses(),
    )
    phonons = phonopy.Phonopy(cell, repeat * np.eye(3, dtype=int), "P")
    phonons.generate_displacements(distance=0.002, is_plusminus=True)
    forces = []
    for displaced in phonons.supercells_with_displacements:
        atoms = Atoms(displaced.symbols, displaced.positions, cell=displaced.cell, pbc=True)
        forces.append(make().get_property("forces", atoms))
    phonons.forces = forces
    phonons.produce_force_constants()
    # Half-shifted, so that Γ is not met: what is missed around it is 0.5 / 32³ = 2e-5.
    phonons.run_mesh([32, 32, 32], shift=[0.5, 0.5, 0.5], is_gamma_center=True)
    weights = phonons.mesh.weights / phonons.mesh.weights.sum()
    energies = units._hplanck * 1e12 * phonons.mesh.frequencies * units.J
    expected = -(weights @ np.log(energies / (kB * T0))).sum()
    total = bulk_site_entropies(crystal, make(), width=WIDTH).sum()
    assert total == pytest.approx(expected, abs=1e-4)


def test_gamma_sums_approach_the_bulk_value(argon, converged):
    """N s - s(Γ sum of N atoms) = ln N + const + O(N^(-2/3)), from the three translations.

    Each lacks ln(1/q) with q ~ N^(-1/3). Three sizes determine factor, constant and first
    correction; the next, N^(-4/3), moves the factor by a few per cent. An error of 1e-4
    in the bulk value moves it by 5 %.
    """
    sizes = np.array([5, 6, 8])
    missing = []
    for n in sizes:
        atoms = argon * (n, n, n)
        system = HarmonicSystem(atoms, compute_hessian(atoms, lennard_jones()))
        missing.append(len(atoms) * converged - system.entropy)
    per_atom = np.array(missing) / sizes**3
    assert np.all(per_atom > 0)
    assert np.all(np.diff(per_atom) < 0)
    design = np.c_[np.log(sizes**3), np.ones(3), sizes**-2.0]
    factor = np.linalg.solve(design, missing)[0]
    assert factor == pytest.approx(1, abs=0.1)


def test_compound():
    crystal = bulk("SiC", "zincblende", a=4.32, cubic=True)
    values = bulk_site_entropies(crystal, tersoff_silicon_carbide(), width=8.0)
    silicon, carbon = (values[crystal.symbols == s] for s in ("Si", "C"))
    np.testing.assert_allclose(silicon, silicon[0], atol=1e-10)
    np.testing.assert_allclose(carbon, carbon[0], atol=1e-10)
    assert silicon[0] - carbon[0] > 0.5  # the heavier atom; the masses alone give 1.27


def test_strain_derivative(argon):
    """Cubic: isotropic, without shear, and a third of the slope under dilation."""
    options = {"width": WIDTH, "tolerance": 1e-3}
    derivative = bulk_strain_derivative(argon, lennard_jones(), **options)
    values = []
    for factor in (1.001, 0.999):
        scaled = bulk("Ar", "fcc", a=factor * LATTICE)
        values.append(bulk_site_entropies(scaled, lennard_jones(), **options)[0])
    slope = (values[0] - values[1]) / 0.002
    # Both truncate at (2e-3)² of a third derivative about a hundred times larger.
    np.testing.assert_allclose(derivative, np.eye(3) * slope / 3, atol=1e-3 * slope)


def test_structure_is_left_alone(argon):
    before = argon.copy()
    argon.calc = calculator = lennard_jones()
    bulk_site_entropies(argon, lennard_jones(), width=WIDTH)
    assert argon == before
    assert argon.calc is calculator


@pytest.mark.parametrize("pbc", [False, [True, True, False], [False, False, True]])
def test_not_a_crystal(argon, pbc):
    argon.pbc = pbc
    with pytest.raises(InvalidStructureError, match="pbc"):
        bulk_site_entropies(argon, lennard_jones())


def test_unstable_crystal():
    """Stretched beyond the inflection of the potential; the error carries the phonons."""
    with pytest.raises(UnstableStructureError, match="imaginary") as caught:
        bulk_site_entropies(bulk("Ar", "fcc", a=6.6), lennard_jones(), width=WIDTH)
    assert caught.value.n_unstable == (caught.value.frequencies < 0).sum() > 0


@pytest.mark.parametrize("constraint", [lambda a: FixAtoms([0]), FixSymmetry])
def test_constraints_play_no_part(constraint, converged):
    """They are usual leftovers of a relaxation; the infinite crystal has none."""
    crystal = bulk("Ar", "fcc", a=LATTICE, cubic=True)
    crystal.set_constraint(constraint(crystal))
    values = bulk_site_entropies(crystal, lennard_jones(), width=WIDTH)
    np.testing.assert_allclose(values, np.full(4, converged), atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "message"),
    [("coincident", "phonopy makes nothing of it"), ("thin", "closer than 0.1 Å")],
)
def test_cells_that_are_no_crystals(kind, message):
    crystal = bulk("Ar", "fcc", a=5.3, cubic=True)
    if kind == "coincident":
        crystal.positions[1] = crystal.positions[0]
    else:
        crystal.set_cell([1e-7, 3, 3])
    for calculation in (
        lambda: bulk_site_entropies(crystal, LennardJones(), width=6.0),
        lambda: PhonopyEntropyCalculator(LennardJones()).get_property("entropy", crystal),
    ):
        with pytest.raises(InvalidStructureError, match=message):
            calculation()


@pytest.mark.parametrize("number", [0, 118])
def test_dummies_and_elements_that_phonopy_does_not_know(number):
    """It is told kinds of atoms, not elements."""
    crystal = CUBIC.copy()
    expected = bulk_site_entropies(crystal, any_argon(18), width=WIDTH)
    crystal.set_masses(CUBIC.get_masses())
    crystal.numbers[:] = number
    found = bulk_site_entropies(crystal, any_argon(number), width=WIDTH)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def any_argon(number: int):
    pair = pytest.importorskip("matscipy.calculators.pair_potential")
    potential = pair.LennardJonesQuadratic(0.0104, 3.4, 6.5)
    return pair.PairPotential({(number, number): potential})
