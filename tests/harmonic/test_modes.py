"""Modes and entropies of one Hessian: projection, sums, statistics, masses, policies."""

import pickle

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc100
from ase.calculators.lj import LennardJones
from ase.cluster import Icosahedron
from ase.constraints import FixAtoms
from ase.optimize import BFGS
from ase.thermochemistry import HarmonicThermo
from ase.units import kB
from ase.vibrations import VibrationsData
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_vibent.errors import InvalidInputError, InvalidStructureError, UnstableStructureError
from ase_vibent.harmonic.entropy import (
    T0,
    classical,
    classical_entropy,
    mass_entropy,
    quantum,
)
from ase_vibent.harmonic.system import HarmonicSystem
from ase_vibent.hessian import HessianOptions, compute_hessian
from ase_vibent.potentials import stillinger_weber_silicon, tersoff_silicon_carbide

#: ħω in eV of 1 eV/Å²/amu, from ASE's unit of time.
HBAR = units._hbar * units.J * units.second


def lennard_jones():
    """ε = 1 eV, σ = 1 Å; smooth, and of longer range than any cluster here is wide."""
    return LennardJones(rc=8.0, ro=7.0, smooth=True)


def relax(atoms):
    """Copy at a minimum (or saddle, by symmetry) of the Lennard-Jones energy."""
    copy = atoms.copy()
    copy.calc = lennard_jones()
    assert BFGS(copy, logfile=None).run(fmax=1e-9, steps=500)
    copy.calc = None
    return copy


def lj_system(atoms, **options):
    # 1e-4 Å: truncation near 1e-6 of the Hessian, rounding near 1e-11.
    hessian = compute_hessian(atoms, lennard_jones(), options=HessianOptions(displacement=1e-4))
    return HarmonicSystem(atoms, hessian, **options)


def rattled_carbide():
    """SiC off its sites; two species, and the analytic Hessian at that structure."""
    atoms = bulk("SiC", "zincblende", a=4.32, cubic=True)
    atoms.rattle(0.02, seed=3)
    return atoms, compute_hessian(atoms, tersoff_silicon_carbide())


def wire(axis):
    """Triangles on top of each other, turned by 60°, periodic along one axis."""
    angles = np.radians([0, 120, 240, 60, 180, 300])
    positions = np.zeros((6, 3))
    positions[:, (axis + 1) % 3] = 0.63 * np.cos(angles)
    positions[:, (axis + 2) % 3] = 0.63 * np.sin(angles)
    positions[3:, axis] = 0.9
    cell = np.diag([30.0, 30.0, 30.0])
    cell[axis, axis] = 1.8
    return Atoms("Ar6", positions + 15, cell=cell, pbc=np.arange(3) == axis)


def slab():
    return fcc100("Ar", (2, 2, 2), a=1.55, vacuum=8.0)


def dimer():
    return Atoms("Ar2", [[0, 0, 0], [0.65, 0.65, 0.65]])


def trimer():
    """Equally spaced on a line in no special direction."""
    return Atoms("Ar3", np.outer([-1.1, 0, 1.1], [0.48, 0.6, 0.64]))


@pytest.mark.parametrize(
    ("make", "rigid"),
    [
        pytest.param(lambda: bulk("Ar", "fcc", a=1.55, cubic=True) * (2, 1, 1), 3, id="cell"),
        pytest.param(slab, 3, id="slab"),
        pytest.param(lambda: wire(2), 4, id="wire along z"),
        pytest.param(lambda: wire(0), 4, id="wire along x"),
        pytest.param(lambda: Icosahedron("Ar", 2, latticeconstant=1.55), 6, id="cluster"),
        pytest.param(dimer, 5, id="dimer"),
        pytest.param(trimer, 5, id="linear"),
    ],
)
def test_rigid_modes_are_those_of_geometry(make, rigid):
    """At a stationary point rigid motions are null vectors: count them in the raw spectrum."""
    atoms = relax(make())
    atoms.set_masses(np.linspace(20, 60, len(atoms)))
    system = lj_system(atoms, unstable="any")
    scale = 1 / np.sqrt(np.repeat(atoms.get_masses(), 3))
    raw = np.linalg.eigvalsh(system.hessian * np.outer(scale, scale))
    # Null eigenvalues are at most forces / distance plus differencing error, 1e-6 of the top.
    null = np.abs(raw) < 1e-5 * raw.max()
    assert null.sum() == rigid
    assert len(system.frequencies) == 3 * len(atoms) - rigid
    expected = np.sign(raw[~null]) * HBAR * np.sqrt(np.abs(raw[~null]))
    np.testing.assert_allclose(system.frequencies, expected, rtol=1e-4)


@pytest.mark.parametrize("pbc", [False, True])
def test_single_atom_has_no_modes(pbc):
    atoms = Atoms("Ar", cell=[9, 9, 9], pbc=pbc)
    system = HarmonicSystem(atoms, np.zeros((3, 3)))
    assert (system.n_modes, system.entropy, len(system.frequencies)) == (0, 0.0, 0)


def test_single_atom_has_site_entropy_zero():
    system = HarmonicSystem(Atoms("Ar"), np.zeros((3, 3)))
    np.testing.assert_array_equal(system.site_entropies, [0.0])


def test_nothing_is_projected_with_fixed_atoms():
    atoms = relax(Icosahedron("Ar", 2, latticeconstant=1.55))
    fixed = [0, 4, 7]  # two would leave the rotation about their axis free
    atoms.set_constraint(FixAtoms(fixed))
    system = lj_system(atoms, free=np.delete(np.arange(13), fixed))
    assert system.n_modes == 30
    raw = np.linalg.eigvalsh(system.dynamical_matrix)
    np.testing.assert_allclose(system.frequencies, HBAR * np.sqrt(raw), rtol=1e-9)


def test_frequency_of_a_dimer_is_textbook():
    atoms = relax(dimer())
    atoms.set_masses([10.0, 30.0])
    stiffness = 72 / 2 ** (1 / 3)  # V'' at the minimum, ε/σ²; 1e-5: the smooth cutoff
    frequency = HBAR * np.sqrt(stiffness * (1 / 10 + 1 / 30))
    np.testing.assert_allclose(lj_system(atoms).frequencies, [frequency], rtol=1e-5)


def test_frequencies_agree_with_ase_vibrations():
    atoms = relax(Icosahedron("Ar", 2, latticeconstant=1.55))
    system = lj_system(atoms)
    data = VibrationsData.from_2d(atoms, system.hessian)
    # Same matrix, different constants and code: rounding only.
    np.testing.assert_allclose(system.frequencies, data.get_energies().real[6:], rtol=1e-8)


def test_cholesky_total_equals_sum_over_eigenvalues():
    atoms, hessian = rattled_carbide()
    system = HarmonicSystem(atoms, hessian)
    total, frequencies = system.entropy, HarmonicSystem(atoms, hessian).frequencies
    assert total == pytest.approx(-np.log(frequencies / (kB * T0)).sum(), abs=1e-10)
    explicit = (np.log(kB * 77 / frequencies) + 1).sum()
    core = classical_entropy(total, system.n_modes, 77.0)
    assert core / kB == pytest.approx(explicit, abs=1e-10)


def test_sites_sum_to_the_total_in_both_decompositions():
    atoms, hessian = rattled_carbide()
    system = HarmonicSystem(atoms, hessian)
    assert system.site_entropies.sum() == pytest.approx(system.entropy, abs=1e-10)
    assert system.site_modes.sum() == pytest.approx(system.n_modes, abs=1e-10)
    entropies, _ = system.site_thermodynamics(classical, T0)
    total = HarmonicSystem(atoms, hessian).entropy + system.n_modes
    assert entropies.sum() / kB == pytest.approx(total, abs=1e-10)
    mass_free = system.site_entropies + system.site_modes
    assert np.abs(entropies / kB - mass_free).max() > 0.01  # unequal masses: they do differ


def test_decompositions_agree_for_one_species(silicon, sw):
    silicon.rattle(0.03, seed=1)
    system = HarmonicSystem(silicon, compute_hessian(silicon, sw))
    entropies, _ = system.site_thermodynamics(classical, 500.0)
    mass_free = classical_entropy(system.site_entropies, system.site_modes, 500.0)
    # Equal but for rounding in two diagonalisations.
    np.testing.assert_allclose(entropies / kB, mass_free / kB, atol=1e-9)


def phonopy_at_gamma(atoms, hessian):
    """Phonopy fed with the same force constants, the supercell as its own primitive cell."""
    phonopy = pytest.importorskip("phonopy")
    from phonopy.structure.atoms import PhonopyAtoms

    cell = PhonopyAtoms(
        numbers=atoms.numbers,
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(),
        masses=atoms.get_masses(),
    )
    phonons = phonopy.Phonopy(cell, np.eye(3, dtype=int), "P")
    n = len(atoms)
    blocks = hessian.reshape(n, 3, n, 3).transpose(0, 2, 1, 3)
    phonons.force_constants = np.ascontiguousarray(blocks)
    phonons.run_mesh([1, 1, 1])
    return phonons


@pytest.mark.parametrize("vacancy", [False, True])
def test_phonopy_has_the_same_entropy(silicon, sw, vacancy):
    if vacancy:
        del silicon[5]
    hessian = compute_hessian(silicon, sw)
    phonons = phonopy_at_gamma(silicon, hessian)
    frequencies = phonons.mesh.frequencies[0]  # THz
    kept = np.sort(np.abs(frequencies))[3:]
    expected = -np.log(units._hplanck * 1e12 * kept * units.J / (kB * T0)).sum()
    difference = HarmonicSystem(silicon, hessian).entropy - expected
    # Per atom; constants of nature of different years move a frequency by 3e-7.
    assert abs(difference) / len(silicon) < 1e-6


@pytest.mark.parametrize("temperature", [50.0, 300.0, 2000.0])
def test_phonopy_has_the_same_quantum_thermodynamics(silicon, sw, temperature):
    hessian = compute_hessian(silicon, sw)
    phonons = phonopy_at_gamma(silicon, hessian)
    # Far above the rounding of the acoustic modes, far below all others (THz).
    phonons.run_thermal_properties(temperatures=[temperature], cutoff_frequency=0.1)
    _, their_energies, their_entropies, _ = phonons.thermal_properties.thermal_properties
    entropies, free_energies = HarmonicSystem(silicon, hessian).site_thermodynamics(
        quantum, temperature
    )
    # kJ/mol and J/K/mol per cell. phonopy's electron charge is of 1986, 3e-6 larger than
    # ASE's, and at low temperature entropies vary with the cube of such factors.
    free_energy = their_energies[0] * units.kJ / units.mol
    entropy = their_entropies[0] * units.J / units.mol
    assert free_energies.sum() == pytest.approx(free_energy, rel=1e-5)
    assert entropies.sum() == pytest.approx(entropy, rel=1e-5)


@pytest.mark.parametrize("temperature", [30.0, 300.0, 3000.0])
def test_ase_thermochemistry_agrees_on_a_cluster(temperature):
    system = lj_system(relax(Icosahedron("Ar", 2, latticeconstant=1.55)))
    assert len(system.frequencies) == 33
    thermo = HarmonicThermo(system.frequencies)
    entropies, free_energies = system.site_thermodynamics(quantum, temperature)
    # Same frequencies, so only rounding is left.
    expected = thermo.get_helmholtz_energy(temperature, verbose=False)
    assert free_energies.sum() == pytest.approx(expected, rel=1e-10)
    expected = thermo.get_entropy(temperature, verbose=False)
    assert entropies.sum() == pytest.approx(expected, rel=1e-10)


def test_quantum_becomes_classical_with_the_right_first_correction():
    """F_q - F_cl = k_B T x²/24 and S_q - S_cl = k_B x²/24, next term x⁴/2880 and x⁴/960."""
    eigenvalues = np.array([0.02, 0.3, 1.0])
    temperature = 10 * HBAR / kB  # x = sqrt(eigenvalue) / 10
    x = np.sqrt(eigenvalues) / 10
    a, b = quantum(eigenvalues, temperature), classical(eigenvalues, temperature)
    free_energy = (a.free_energy - b.free_energy) / (kB * temperature)
    np.testing.assert_allclose(free_energy, x**2 / 24, rtol=x.max() ** 2 / 100)
    np.testing.assert_allclose((a.entropy - b.entropy) / kB, x**2 / 24, rtol=x.max() ** 2 / 30)


def test_quantum_ground_state():
    eigenvalues = np.array([0.5, 2.0])
    values = quantum(eigenvalues, 0.5)
    np.testing.assert_allclose(values.free_energy, HBAR * np.sqrt(eigenvalues) / 2, rtol=1e-8)
    np.testing.assert_array_equal(values.entropy, 0)  # exp(-1000)


@pytest.mark.parametrize("statistics", [classical, quantum])
@pytest.mark.parametrize("temperature", [100.0, 900.0])
def test_entropy_is_minus_the_slope_of_the_free_energy(statistics, temperature):
    eigenvalues = np.array([0.02, 0.3, 2.0])
    step = 1e-3 * temperature
    above, below = (statistics(eigenvalues, temperature + s).free_energy for s in (step, -step))
    expected = statistics(eigenvalues, temperature).entropy
    # Truncation is (step/T)² / 6 of the third T derivative, of the order of S itself.
    np.testing.assert_allclose((below - above) / (2 * step), expected, rtol=1e-5, atol=1e-6 * kB)


@pytest.mark.parametrize(
    "change", [lambda m: m * 2.5, lambda m: np.r_[m[:4], 3 * m[4], m[5:]]], ids=["all", "isotope"]
)
def test_masses_come_out_exactly(change):
    """Σ (3/2) ln m_i - (3/2) ln(mean mass), because translations are exact null vectors."""
    atoms, hessian = rattled_carbide()
    other = atoms.copy()
    other.set_masses(change(atoms.get_masses()))
    entropies = [HarmonicSystem(a, hessian).entropy for a in (atoms, other)]
    masses = [a.get_masses() for a in (atoms, other)]
    expected = [mass_entropy(m).sum() - 1.5 * np.log(m.mean()) for m in masses]
    assert entropies[1] - entropies[0] == pytest.approx(expected[1] - expected[0], abs=1e-8)


def rhombus():
    """Planar LJ4: the transition state between two tetrahedra, held in its plane by symmetry."""
    return relax(Atoms("Ar4", [[0, 0.56, 0], [0, -0.56, 0], [0.97, 0, 0], [-0.97, 0, 0]]))


@pytest.mark.parametrize("unstable", [1, "any"])
def test_saddle_leaves_its_mode_out(unstable):
    system = lj_system(rhombus(), unstable=unstable)
    assert (system.frequencies < 0).sum() == system.n_unstable == 1
    assert system.n_modes == len(system.frequencies) - 1 == 5
    expected = -np.log(system.frequencies[1:] / (kB * T0)).sum()
    assert system.entropy == pytest.approx(expected, abs=1e-10)
    assert system.site_entropies.sum() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("unstable", [0, 2])
def test_wrong_number_of_unstable_modes(unstable):
    system = lj_system(rhombus(), unstable=unstable)
    with pytest.raises(UnstableStructureError, match=f"expected {unstable}.*found 1") as caught:
        _ = system.entropy
    error = pickle.loads(pickle.dumps(caught.value))
    assert error.n_unstable == 1
    assert str(error) == str(caught.value)
    np.testing.assert_array_equal(error.frequencies, caught.value.frequencies)
    np.testing.assert_allclose(error.frequencies, lj_system(rhombus(), unstable=1).frequencies)


def test_a_minimum_is_not_a_saddle(silicon, sw):
    system = HarmonicSystem(silicon, compute_hessian(silicon, sw), unstable=1)
    with pytest.raises(UnstableStructureError, match=r"expected 1.*found 0"):
        _ = system.entropy


@pytest.mark.parametrize("quantity", ["entropy", "frequencies", "site_entropies"])
def test_atom_out_of_reach(silicon, sw, quantity):
    silicon.set_cell(silicon.cell.array + np.diag([20, 0, 0]))
    adatom = silicon + Atoms("Si", [[silicon.cell[0, 0] - 8, 1, 1]])
    system = HarmonicSystem(adatom, compute_hessian(adatom, sw), unstable="any")
    with pytest.raises(UnstableStructureError, match="out of reach"):
        getattr(system, quantity)
    system = HarmonicSystem(adatom, compute_hessian(adatom, sw))
    with pytest.raises(UnstableStructureError):
        getattr(system, quantity)


@pytest.mark.parametrize("unstable", [-1, True, 0.5, "all", None])
def test_bad_policy(silicon, unstable):
    with pytest.raises(InvalidInputError, match="unstable"):
        HarmonicSystem(silicon, np.eye(48), unstable=unstable)


@pytest.mark.parametrize("shape", [(45, 45), (48, 45), (48,)])
def test_bad_shape(silicon, shape):
    with pytest.raises(InvalidInputError, match="hessian"):
        HarmonicSystem(silicon, np.ones(shape))


@pytest.mark.parametrize("mass", [0.0, -1.0, np.inf])
def test_bad_mass(silicon, mass):
    silicon.set_masses([mass] + [28.0] * 15)
    with pytest.raises(InvalidStructureError, match="mass"):
        HarmonicSystem(silicon, np.eye(48))


def off_minimum_cluster():
    atoms = Icosahedron("Ar", 2, latticeconstant=1.55)
    atoms.rattle(0.01, seed=4)
    atoms.set_masses(np.linspace(10, 70, 13))
    return atoms


@settings(max_examples=6, deadline=None)
@given(
    angle=st.floats(0, 360),
    axis=st.tuples(*[st.floats(0.1, 1)] * 3),
    shift=st.tuples(*[st.floats(-5, 5)] * 3),
)
def test_rotated_and_shifted_cluster(angle, axis, shift):
    """Also off the minimum, where rotations are no null vectors of the Hessian."""
    atoms = off_minimum_cluster()
    moved = atoms.copy()
    moved.rotate(angle, axis)
    moved.translate(shift)
    first, second = lj_system(atoms), lj_system(moved)
    # Differencing errors, 1e-6 of the Hessian, follow the axes and do not rotate along.
    np.testing.assert_allclose(first.site_entropies, second.site_entropies, atol=1e-5)
    assert first.entropy == pytest.approx(second.entropy, abs=1e-5)


@settings(max_examples=6, deadline=None)
@given(
    angle=st.floats(0, 360),
    axis=st.tuples(*[st.floats(0.1, 1)] * 3),
    order=st.permutations(range(15)),
)
def test_rotated_and_permuted_cell(angle, axis, order):
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (2, 1, 1)
    del atoms[5]
    atoms.rattle(0.02, seed=2)
    moved = atoms[list(order)]
    moved.rotate(angle, axis, rotate_cell=True)
    first, second = (
        HarmonicSystem(a, compute_hessian(a, stillinger_weber_silicon())) for a in (atoms, moved)
    )
    # Analytic Hessians: rounding, amplified by the softest mode.
    assert first.entropy == pytest.approx(second.entropy, abs=1e-9)
    np.testing.assert_allclose(first.site_entropies[list(order)], second.site_entropies, atol=1e-9)
