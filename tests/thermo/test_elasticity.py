"""Elastic interaction of a defect with its images."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.mixing import LinearCombinationCalculator
from ase.units import GPa, kB

from ase_vibent import SiteEntropyCalculator
from ase_vibent.stationary import relax
from ase_vibent.structures import dumbbells, vacancies
from ase_vibent.thermo import defect_formation
from ase_vibent.thermo.elastic_entropy import (
    _stiffness_changes,
    image_entropies,
    temperature_changes,
    usual_image_entropy,
)
from ase_vibent.thermo.elasticity import (
    elastic_constants,
    elastic_dipole,
    image_correction,
    image_energy,
    known_constants,
    relaxed_cell_correction,
)

#: At which a model's free energies are differentiated, K.
KELVIN = 50.0


def isotropic(lame: float, shear: float) -> np.ndarray:
    one = np.eye(3)
    return lame * np.einsum("ij,kl->ijkl", one, one) + shear * (
        np.einsum("ik,jl->ijkl", one, one) + np.einsum("il,jk->ijkl", one, one)
    )


@pytest.mark.parametrize("cell", [10 * np.eye(3), np.array([[8, 1, 2], [0, 9, 3.0], [0, 0, 11]])])
def test_centres_of_dilatation_do_not_interact_by_direction(cell):
    """f(k̂) = p²/C11 is the same in all directions: what is missing is k = 0 alone."""
    constants = isotropic(2.0, 1.0)
    expected = -(3.0**2) / 4.0 / (2 * np.linalg.det(cell))
    assert image_correction(3 * np.eye(3), constants, cell) == pytest.approx(expected, rel=1e-6)


def test_sums_do_not_depend_on_how_they_are_made():
    """Neither on the window in k, nor on which vectors span the lattice."""
    rng = np.random.default_rng(0)
    constants = elastic_constants(bulk("Cu", "fcc", a=3.5898), EMT())
    dipole = rng.normal(size=(3, 3))
    dipole += dipole.T
    cell = np.array([[8, 1, 2], [0, 9, 3.0], [0, 0, 11]])
    expected = image_correction(dipole, constants, cell)
    assert image_correction(dipole, constants, cell, smoothing=2.0) == pytest.approx(
        expected, rel=1e-6
    )
    other = cell.copy()
    other[1] += other[0]
    assert image_correction(dipole, constants, other) == pytest.approx(expected, rel=1e-5)
    # Elastic energies have no length of their own: they go with 1/volume.
    assert image_correction(dipole, constants, 2 * cell) == pytest.approx(expected / 8, rel=1e-6)


def test_constants_of_silicon(sw):
    """Of this potential: 151.4, 76.4 and 56.4 GPa, atoms relaxed (Cowley, PRL 60, 2379 (1988))."""
    found = elastic_constants(bulk("Si", "diamond", a=5.4310), sw) / GPa
    values = [found[0, 0, 0, 0], found[0, 0, 1, 1], found[1, 2, 1, 2]]
    np.testing.assert_allclose(values, [151.4, 76.4, 56.4], atol=0.2)


@pytest.fixture(scope="module")
def dumbbell() -> Atoms:
    """In 108 sites of copper, which keep their cell."""
    return relax(dumbbells(bulk("Cu", "fcc", a=3.5898, cubic=True) * 3)[0], EMT(), fmax=1e-3)


@pytest.fixture(scope="module")
def energies(dumbbell) -> dict[tuple[int, bool], tuple[float, float]]:
    """Formation energies of a dumbbell and their corrections, by width and whether cells relax."""
    unit, found = bulk("Cu", "fcc", a=3.5898, cubic=True), {}
    for width, relaxed in ((2, False), (3, False), (3, True)):
        crystal = unit * width
        calculator = EMT()
        start = dumbbells(crystal)[0] if width == 2 else dumbbell
        atoms = relax(start, calculator, fmax=1e-3, relax_cell=relaxed)
        crystal.calc = calculator
        bulk_energy = crystal.get_potential_energy() / len(crystal)
        energy = atoms.get_potential_energy() - len(atoms) * bulk_energy
        constants = known_constants(crystal, calculator)
        dipole = elastic_dipole(atoms, crystal, calculator, constants)
        correction = image_energy(dipole, constants, crystal, relaxed_cell=relaxed)
        found[width, relaxed] = energy, correction
    return found


def test_corrected_energies_of_small_cells_agree(energies):
    """The elastic part is most of what the size of the cell matters."""
    raw = energies[2, False][0] - energies[3, False][0]
    corrected = sum(energies[2, False]) - sum(energies[3, False])
    assert raw > 0.1
    assert abs(corrected) < 0.25 * raw


def test_both_conditions_have_one_limit(energies):
    """At constant volume images hold back, at zero stress the cell has given way to them."""
    constant_volume, relaxed = energies[3, False], energies[3, True]
    assert constant_volume[0] - relaxed[0] > 0.05
    assert constant_volume[1] < 0 < relaxed[1] - constant_volume[1]
    assert sum(relaxed) == pytest.approx(sum(constant_volume), abs=0.01)


def test_work_of_a_relaxed_cell():
    """½ P S P / V of an isotropic dipole is p²/(2 V · 9 B) · 9, B the bulk modulus."""
    constants, bulk_modulus = isotropic(2.0, 1.0), 2.0 + 2.0 / 3
    found = relaxed_cell_correction(3 * np.eye(3), constants, 100.0)
    assert found == pytest.approx(3.0**2 / (2 * 100 * bulk_modulus), rel=1e-9)


def test_it_is_said_beside_the_energy_and_unknown_where_nothing_gives_stresses(
    energies, dumbbell, model
):
    class Stressless(EMT):
        implemented_properties = ("energy", "forces")

    atoms, crystal = dumbbell, bulk("Cu", "fcc", a=3.5898, cubic=True) * 3
    found = defect_formation(atoms, crystal, model, potential=EMT())
    assert found.image_energy == pytest.approx(energies[3, False][1], abs=1e-3)
    cluster = Atoms("Ar4", positions=np.eye(4, 3))
    for pair, calculator in (
        ((atoms, crystal), Stressless()),
        ((atoms, crystal), None),
        ((cluster, cluster), LennardJones()),
    ):
        constants = known_constants(pair[1], calculator)
        dipole = elastic_dipole(*pair, calculator, constants)
        assert np.isnan(image_energy(dipole, constants, pair[1], relaxed_cell=False))


@pytest.fixture(scope="module")
def model():
    return SiteEntropyCalculator.from_pretrained("cu-emt", extrapolation="ignore")


@pytest.fixture(scope="module")
def changes(model):
    crystal = bulk("Cu", "fcc", a=3.5898, cubic=True) * 2
    found = {}
    for relaxed in (False, True):
        atoms = relax(vacancies(crystal)[0], EMT(), fmax=1e-5, relax_cell=relaxed)
        changes = temperature_changes(atoms, crystal, model, EMT(), np.array([300.0]))
        found[relaxed] = atoms, crystal, changes
    return found


def warm(model, kelvin):
    """Static energy and -T S; the rest of F depends on the temperature alone."""
    scale = np.sign(kelvin)
    vibrating = SiteEntropyCalculator(model.model, temperature=abs(kelvin), extrapolation="ignore")
    return LinearCombinationCalculator([EMT(), vibrating], [1, scale])


def test_entropies_are_the_derivative_of_the_energy(model, changes):
    """A model's free energy is a potential, too: its images must cost what is predicted."""
    atoms, crystal, found = changes[False]
    energies = []
    for kelvin in (KELVIN, -KELVIN):
        potential = warm(model, kelvin)
        constants = known_constants(crystal, potential)
        there = relax(atoms, potential, fmax=1e-4)
        dipole = elastic_dipole(there, crystal, potential, constants)
        energies.append(image_energy(dipole, constants, crystal, relaxed_cell=False))
    expected = -(energies[0] - energies[1]) / (2 * KELVIN)
    constants = known_constants(crystal, EMT())
    dipole = elastic_dipole(atoms, crystal, EMT(), constants)
    (value,) = image_entropies(dipole, constants, crystal, found, relaxed_cell=False)
    assert abs(value) > 0.01 * kB
    # Of third order in the temperature.
    assert value == pytest.approx(expected, rel=0.03)


def test_a_dipole_is_the_defects_not_its_cells(changes):
    """Whether the cell has given way to it or not."""
    fixed, given_way = (changes[relaxed][2] for relaxed in (False, True))
    np.testing.assert_allclose(given_way.constants, fixed.constants, rtol=1e-9)
    scale = np.abs(fixed.dipole).max()
    np.testing.assert_allclose(given_way.dipole, fixed.dipole, atol=0.1 * scale)


def test_it_is_said_where_it_was_asked_for(model, changes):
    atoms, crystal, found = changes[False]
    silent, asked = (
        defect_formation(atoms, crystal, model, potential=EMT(), image_entropy=wanted)
        for wanted in (False, True)
    )
    assert np.isnan(silent.image_entropies).all()
    constants = known_constants(crystal, EMT())
    dipole = elastic_dipole(atoms, crystal, EMT(), constants)
    expected = image_entropies(dipole, constants, crystal, found, relaxed_cell=False)
    np.testing.assert_allclose(asked.image_entropies, expected, rtol=1e-6)
    # What they hold back is in the error, estimated from the energy where it was not asked for.
    known = model.predicted_std(atoms, 300)
    of_energy = usual_image_entropy(silent.image_energy, dipole)
    assert 0.1 < of_energy / abs(expected[0]) < 10
    assert silent.entropy_std == pytest.approx(np.hypot(known, of_energy), rel=1e-9)
    assert asked.entropy_std == pytest.approx(np.hypot(known, abs(expected[0])), rel=1e-6)


class CountingBulk(SiteEntropyCalculator):
    """Counts the crystals that it is asked for."""

    n_calls = 0

    def bulk_vibrations(self, crystal, temperatures):
        self.n_calls += 1
        return super().bulk_vibrations(crystal, temperatures)


def test_strains_that_symmetry_makes_equal_are_done_once(model):
    """As all of them, one by one, of a crystal that is not cubic."""
    crystal = bulk("Cu", "fcc", a=3.5898) * (1, 1, 2)
    crystal.set_cell(crystal.cell.array @ np.diag([1.0, 1.0, 1.01]), scale_atoms=True)
    counts, found = [], []
    for symmetry in (True, False):
        calculator = CountingBulk(model.model, extrapolation="ignore")
        calculator.parameters["symmetry"] = symmetry
        found.append(_stiffness_changes(crystal, calculator, EMT(), np.array([300.0])))
        counts.append(calculator.n_calls)
    assert counts[0] < counts[1] == 43
    np.testing.assert_allclose(found[0], found[1], atol=1e-4 * np.abs(found[1]).max())
