"""Formation of defects: counted atoms, converged reservoirs, and what is refused."""

from __future__ import annotations

import json

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.units import kB

from ase_vibent import (
    HessianEntropyCalculator,
    PhonopyEntropyCalculator,
    SiteEntropyCalculator,
    SiteModel,
    bulk_site_entropies,
)
from ase_vibent.calculators.base import EntropyCalculator
from ase_vibent.cli import main
from ase_vibent.errors import InvalidInputError, InvalidStructureError, UnstableStructureError
from ase_vibent.harmonic.thermodynamics import Vibrations
from ase_vibent.stationary import relax
from ase_vibent.structures import divacancies, dumbbells, interstitials, vacancies
from ase_vibent.structures.symmetry import defect_multiplicity
from ase_vibent.thermo import (
    DefectFormation,
    Extrapolation,
    Reservoir,
    defect_formation,
    size_convergence,
)
from ase_vibent.thermo.elasticity import elastic_dipole, known_constants
from ase_vibent.thermo.reservoirs import Surroundings

TEMPERATURES = np.array([300.0, 900.0])


@pytest.fixture(scope="module")
def crystal() -> Atoms:
    """Perfect copper at EMT's lattice constant, 32 atoms."""
    return bulk("Cu", "fcc", a=3.5898, cubic=True) * 2


@pytest.fixture(scope="module")
def vacancy(crystal: Atoms) -> Atoms:
    return relax(vacancies(crystal)[0], EMT(), fmax=1e-4)


@pytest.fixture(scope="module")
def exact() -> HessianEntropyCalculator:
    return HessianEntropyCalculator(EMT())


@pytest.fixture(scope="module")
def formation(crystal, vacancy, exact) -> DefectFormation:
    return defect_formation(vacancy, crystal, exact, TEMPERATURES)


def test_a_vacancy_is_the_missing_atom_in_the_infinite_crystal(formation, crystal, vacancy, exact):
    totals = [exact.harmonic_system(atoms).entropy for atoms in (vacancy, crystal)]
    bulk_value = bulk_site_entropies(crystal, EMT())[0]
    expected = kB * (totals[0] - totals[1] + bulk_value)
    # Classically as many modes on both sides, so that nothing depends on the temperature.
    np.testing.assert_allclose(formation.entropies, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(formation.degeneracy_factors, np.exp(expected / kB), rtol=1e-10)
    energies = [atoms_energy(atoms) for atoms in (vacancy, crystal)]
    assert formation.energy == pytest.approx(energies[0] - energies[1] * 31 / 32, abs=1e-9)
    np.testing.assert_allclose(
        formation.free_energies, formation.energy - TEMPERATURES * formation.entropies, atol=1e-12
    )
    assert formation.excess == {"Cu": -1}
    assert 0 < formation.entropy_std < 0.2 * kB


def atoms_energy(atoms: Atoms) -> float:
    copy = atoms.copy()
    copy.calc = EMT()
    return float(copy.get_potential_energy())


def test_small_cells_are_as_good_as_large_ones(sw):
    """By default, to what is left of images: Γ of 63 atoms is 0.2 k_B off."""
    found = {}
    for n, mesh in ((2, "gamma"), (2, "auto"), (3, "auto")):
        crystal = bulk("Si", "diamond", a=5.431, cubic=True) * n
        vacancy = crystal[1:]  # the potential's is at rest like this
        exact = HessianEntropyCalculator(sw, mesh=mesh)
        found[n, mesh] = defect_formation(vacancy, crystal, exact).entropies[0] / kB
    assert found[2, "auto"] == pytest.approx(found[3, "auto"], abs=3e-3)
    assert abs(found[2, "gamma"] - found[3, "auto"]) > 0.1


def test_phonopy_gives_the_same_formation_entropy(crystal, vacancy):
    found, exact = (
        defect_formation(vacancy, crystal, make(EMT(), mesh="gamma"), TEMPERATURES)
        for make in (PhonopyEntropyCalculator, HessianEntropyCalculator)
    )
    assert found.entropies / kB == pytest.approx(exact.entropies / kB, abs=1e-6)
    # Meshes in both cells are extensive by themselves.
    meshes = PhonopyEntropyCalculator(EMT(), mesh=(2, 2, 2))
    found = defect_formation(vacancy, crystal, meshes, 300.0)
    whole = [meshes.get_property("entropy", atoms) for atoms in (vacancy, crystal)]
    assert found.entropies[0] == pytest.approx(whole[0] - whole[1] * 31 / 32, abs=1e-12)


def test_quantum_formation_is_classical_when_hot(formation, crystal, vacancy):
    hot = np.array([100.0, 5000.0])
    quantum = HessianEntropyCalculator(EMT(), quantum=True)
    found = defect_formation(vacancy, crystal, quantum, hot)
    classical = formation.entropies[0]
    # Corrections fall with T^-2: (ħω/k_B T)²/24 of some modes.
    assert abs(found.entropies[1] - classical) / kB < 1e-3
    assert abs(found.entropies[0] - classical) / kB > 1e-2
    # F = E - T S also for what is left over of zero-point motion: dF/dT = -S.
    step = 0.5
    around = defect_formation(vacancy, crystal, quantum, [200 - step, 200.0, 200 + step])
    slope = np.diff(around.vibrations.free_energies[[0, 2]])[0] / (2 * step)
    assert -slope == pytest.approx(around.entropies[1], rel=1e-4)


def test_concentrations(formation, crystal):
    assert formation.multiplicity == 1
    expected = np.exp(formation.entropies[0] / kB) * np.exp(-formation.energy / (kB * TEMPERATURES))
    np.testing.assert_allclose(formation.concentrations, expected, rtol=1e-10)
    per_cm3 = 1e24 * 32 / crystal.get_volume()
    np.testing.assert_allclose(formation.densities, expected * per_cm3, rtol=1e-10)


def test_nothing_takes_nothing(crystal, exact):
    found = defect_formation(crystal, crystal, exact)
    assert found.energy == 0
    assert found.entropies == pytest.approx(0, abs=1e-15)
    assert found.excess == {}


def test_symmetry_counts_defects(crystal):
    assert defect_multiplicity(vacancies(crystal)[0], crystal) == 1
    assert defect_multiplicity(divacancies(crystal)[0], crystal) == 6
    octahedral, tetrahedral = (defect_multiplicity(a, crystal) for a in interstitials(crystal)[:2])
    assert sorted([octahedral, tetrahedral]) == [1, 2]
    split = dumbbells(crystal, directions=[(1, 0, 0)])[0]
    assert defect_multiplicity(split, crystal) == 3
    flat = bulk("Cu", "fcc", a=3.5898, cubic=True) * (2, 2, 1)
    with pytest.raises(InvalidStructureError, match="less symmetric than its crystal"):
        defect_multiplicity(vacancies(flat)[0], flat)


def test_symmetry_is_not_looked_for_in_very_large_cells(crystal):
    large = crystal * 4
    with pytest.raises(InvalidStructureError, match="of 2047 atoms; pass multiplicity="):
        defect_multiplicity(large[1:], large)


def test_a_model_predicts_what_it_was_trained_on(silicon, silicon_model: SiteModel, sw):
    defect = relax(vacancies(silicon)[0], sw, fmax=1e-4)
    calculator = SiteEntropyCalculator(silicon_model, extrapolation="ignore")
    found = defect_formation(defect, silicon, calculator, potential=sw, multiplicity=1)
    sums = [silicon_model.evaluate(a, gradient=False).values.sum() for a in (defect, silicon)]
    # Masses and modes of the missing atom cancel with the reservoir's.
    assert found.entropies[0] / kB == pytest.approx(sums[0] - sums[1] * 15 / 16, abs=1e-9)
    assert found.energy > 1
    assert 0 < found.entropy_std / kB < 10
    heavier = defect.copy(), silicon.copy()
    for atoms in heavier:
        atoms.set_masses(2 * atoms.get_masses())
    other = defect_formation(*heavier, calculator, potential=sw, multiplicity=1)
    assert other.entropies == pytest.approx(found.entropies, rel=1e-9)
    held = defect.copy()
    held.set_constraint(FixAtoms([3]))
    with pytest.raises(InvalidStructureError, match="lets all atoms vibrate"):
        calculator.vibrations(held, 300.0)
    with pytest.raises(InvalidInputError, match="gives vibrational free energies"):
        defect_formation(defect, silicon, calculator, potential=calculator)
    with pytest.raises(InvalidInputError, match="needs a formation energy"):
        defect_formation(defect, silicon, calculator, multiplicity=1).concentrations  # noqa: B018


ROOM = np.array([300.0])


class StubCalculator(EntropyCalculator):
    """Crystals without entropy."""

    def bulk_vibrations(self, crystal, temperatures):
        return Vibrations.classical(0.0, 3.0 * len(crystal), temperatures)


@pytest.fixture(scope="module")
def alloy() -> Atoms:
    """Ordered Cu3Au under EMT, 32 atoms."""
    cell = bulk("Cu", "fcc", a=3.73, cubic=True)
    cell.numbers[0] = 79
    return relax(cell, EMT(), fmax=1e-3, relax_cell=True) * 2


def test_chemical_potentials_of_compounds(alloy, exact):
    gold = int(np.flatnonzero(alloy.numbers == 79)[0])
    defect = alloy.copy()
    del defect[gold]
    defect = relax(defect, EMT(), fmax=1e-3)
    with pytest.raises(InvalidInputError, match=r"missing for (Cu|Au)"):
        defect_formation(defect, alloy, exact)
    energy = atoms_energy(alloy) / 8  # of one Cu3Au
    by_copper = defect_formation(defect, alloy, exact, chemical_potentials={"Cu": -0.01})
    removed = atoms_energy(defect) - atoms_energy(alloy) + (energy + 3 * 0.01)
    assert by_copper.energy == pytest.approx(removed, abs=1e-8)
    by_gold = defect_formation(defect, alloy, exact, chemical_potentials={"Au": energy + 3 * 0.01})
    assert by_gold.energy == pytest.approx(by_copper.energy, abs=1e-8)
    # A number is a static energy: every species vibrates as the crystal's atoms do on average.
    assert by_copper.entropies == pytest.approx(by_gold.entropies, rel=1e-8)
    hot = defect_formation(defect, alloy, exact, 900.0, chemical_potentials={"Cu": -0.01})
    assert hot.entropies == pytest.approx(by_copper.entropies, rel=1e-8)
    copper = exact.bulk_vibrations(bulk("Cu", a=3.5898), 300.0)
    shared = Reservoir(-0.01, copper)
    found = defect_formation(defect, alloy, exact, chemical_potentials={"Cu": shared})
    average = exact.bulk_vibrations(alloy, 300.0).entropies[0] / 32
    # The missing gold atom has what three copper atoms leave of a formula unit.
    assert found.entropies[0] - by_copper.entropies[0] == pytest.approx(
        3 * (average - copper.entropies[0]), rel=1e-8
    )
    with pytest.raises(InvalidInputError, match="cannot be added"):
        defect_formation(defect, alloy, exact, 900.0, chemical_potentials={"Cu": shared})
    with pytest.raises(InvalidInputError, match="add up to"):
        defect_formation(defect, alloy, exact, chemical_potentials={"Cu": 0.0, "Au": 0.2})


def test_chemical_potentials_of_an_element_are_those_of_its_crystal(crystal, vacancy, exact):
    per_atom = atoms_energy(crystal) / 32
    found = defect_formation(vacancy, crystal, exact, chemical_potentials={"Cu": per_atom})
    assert found.energy == pytest.approx(defect_formation(vacancy, crystal, exact).energy)
    with pytest.raises(InvalidInputError, match="add up to"):
        defect_formation(vacancy, crystal, exact, chemical_potentials={"Cu": per_atom - 1})


def test_stoichiometric_defects_need_no_chemical_potentials(alloy, exact):
    gold = int(np.flatnonzero(alloy.numbers == 79)[0])
    copper = int(np.argsort(alloy.get_distances(gold, range(32), mic=True))[1])
    defect = alloy.copy()
    defect.numbers[[gold, copper]] = defect.numbers[[copper, gold]]
    found = defect_formation(relax(defect, EMT(), fmax=1e-3), alloy, exact)
    assert found.excess == {}
    assert found.energy > 0


@pytest.mark.parametrize(
    ("formula", "given", "excess", "missing"),
    [
        ("MgO", (), {"O": -1}, "O, or Mg;"),
        ("MgO", (), {"Mg": -1}, "Mg, or O;"),
        ("MgO", (), {"Mg": -1, "O": 1}, "O, or Mg;"),
        ("MgO", (), {"Ca": 1}, "Ca;"),
        ("MgO", (), {"Ca": 1, "Mg": -1}, "Ca and Mg, or Ca and O;"),
        ("MgO", ("O",), {"Ca": 1, "Mg": -1}, "Ca;"),
        ("SrTiO3", (), {"O": -1}, "O, or Sr and Ti;"),
        ("SrTiO3", ("Ti",), {"O": -1}, "O, or Sr;"),
        ("SrTiO3", ("Ti",), {"O": -1, "Sr": 1}, "O, or Sr;"),
    ],
)
def test_sets_of_chemical_potentials_that_would_do(formula, given, excess, missing):
    potentials = dict.fromkeys(given, 0.0)
    surroundings = Surroundings(Atoms(formula), -9.0, StubCalculator(), ROOM, potentials)
    with pytest.raises(InvalidInputError) as caught:
        surroundings.of(excess)
    assert f"missing for {missing}" in str(caught.value)
    for choice in missing.rstrip(";").split(", or "):
        more = potentials | dict.fromkeys(choice.split(" and "), 0.0)
        Surroundings(Atoms(formula), -9.0, StubCalculator(), ROOM, more).of(excess)


def test_potentials_of_what_is_exchanged_suffice():
    known = {"O": -1.0}
    surroundings = Surroundings(Atoms("SrTiO3"), -9.0, StubCalculator(), ROOM, known)
    assert surroundings.of({"O": -2}).energy == 2.0


def test_impurities_come_from_somewhere(crystal, exact):
    defect = crystal.copy()
    defect.numbers[0] = 28
    defect = relax(defect, EMT(), fmax=1e-3)
    with pytest.raises(InvalidInputError, match="missing for Ni"):
        defect_formation(defect, crystal, exact)
    found = defect_formation(defect, crystal, exact, chemical_potentials={"Ni": 0.0})
    assert found.excess == {"Cu": -1, "Ni": 1}


@pytest.fixture(scope="module")
def relaxed_cell() -> tuple[Atoms, Atoms]:
    """A vacancy in a cell without stress, and its crystal."""
    flat = bulk("Cu", "fcc", a=3.5898, cubic=True)
    whole = relax(flat, EMT(), fmax=1e-4, relax_cell=True) * 2
    return relax(vacancies(whole)[0], EMT(), fmax=1e-3, relax_cell=True), whole


def test_constant_pressure_is_another_condition(relaxed_cell, exact, formation):
    defect, whole = relaxed_cell
    found = defect_formation(defect, whole, exact, TEMPERATURES)
    assert (formation.condition, found.condition) == ("constant volume", "constant pressure")
    # The smaller cell of a relaxed vacancy has the lower entropy and, a little, the lower energy.
    assert found.entropies[0] < formation.entropies[0] - 0.1 * kB
    assert found.energy < formation.energy
    # A tenth of the way to the relaxed cell is neither.
    between = vacancies(whole)[0]
    between.set_cell(0.9 * whole.cell.array + 0.1 * defect.cell.array, scale_atoms=True)
    with pytest.raises(InvalidStructureError, match="neither constant volume"):
        defect_formation(relax(between, EMT(), fmax=1e-3), whole, exact)
    assert formation.with_energy(1.3, "constant volume").energy == 1.3
    with pytest.raises(InvalidInputError, match="does not go with an entropy at constant volume"):
        formation.with_energy(1.3, "constant pressure")
    with pytest.raises(InvalidInputError, match="expected 'constant volume'"):
        formation.with_energy(1.3, "zero pressure")


def test_what_does_not_belong_together(crystal, vacancy, exact):
    small = bulk("Cu", "fcc", a=3.5898, cubic=True)
    with pytest.raises(InvalidStructureError, match="is not that of the crystal"):
        defect_formation(vacancy, small, exact)
    squeezed = vacancy.copy()
    squeezed.set_cell(0.99 * vacancy.cell.array, scale_atoms=True)
    with pytest.raises(InvalidStructureError, match="neither constant volume"):
        defect_formation(squeezed, crystal, exact, fmax=10)
    with pytest.raises(InvalidStructureError, match="defect: not at rest, atom"):
        defect_formation(vacancies(crystal)[0], crystal, exact)
    partly = vacancy.copy()
    partly.set_constraint(FixAtoms([3]))
    with pytest.raises(InvalidStructureError, match="1 of its atoms are fixed, 0 of the crystal"):
        defect_formation(partly, crystal, exact)
    saddle = bulk("Cu", "bcc", a=2.87, cubic=True) * 2
    with pytest.raises(UnstableStructureError):
        defect_formation(saddle, saddle, exact, multiplicity=1)


def test_extrapolation_finds_a_limit():
    sizes = [256, 32, 108]
    found = Extrapolation.of(sizes, [2.0 + 3.0 / n for n in sizes])
    assert found.limit == pytest.approx(2.0, abs=1e-12)
    assert found.slope == pytest.approx(3.0)
    assert found.error < 1e-10
    assert found.n_atoms.tolist() == [32, 108, 256]
    assert Extrapolation.of([100, 200], [1.0, 2.0]).error == pytest.approx(1.0)
    with pytest.raises(InvalidInputError, match="two sizes"):
        Extrapolation.of([32, 32], [1.0, 1.0])


def test_sizes_of_one_defect(crystal, formation, exact):
    small = bulk("Cu", "fcc", a=3.5898, cubic=True)
    defect = relax(vacancies(small)[0], EMT(), fmax=1e-4)
    at_gamma = HessianEntropyCalculator(EMT(), mesh="gamma")  # too narrow for a mesh
    tiny = defect_formation(defect, small, at_gamma, TEMPERATURES)
    limit = size_convergence([formation, tiny])
    assert limit.values[1] == formation.entropies[0]
    energies = size_convergence([tiny, formation], "energy")
    assert energies.limit == pytest.approx((32 * formation.energy - 4 * tiny.energy) / 28)
    other = defect_formation(crystal, crystal, exact, TEMPERATURES)
    with pytest.raises(InvalidInputError, match="expected one defect"):
        size_convergence([formation, other])
    with pytest.raises(InvalidInputError, match="expected 'entropy' or 'energy'"):
        size_convergence([formation, tiny], "free_energy")


def test_a_row_is_shown_as_soon_as_it_is_known(
    tmp_path, monkeypatch, vibent, crystal, vacancy, formation
):
    ase.io.write(tmp_path / "crystal.xyz", crystal)
    ase.io.write(tmp_path / "defects.traj", [vacancy, vacancy])
    found = iter([formation])

    def next_or_interrupt(*_arguments):
        try:
            return next(found)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("ase_vibent.cli.formation._formation_of", next_or_interrupt)
    words = ("--reference", tmp_path / "crystal.xyz", "--calculator", "emt")
    done = vibent("formation", tmp_path / "defects.traj", *words)
    assert (done.code, done.err) == (1, "vibent formation: interrupted\n")
    titles, row = done.out.splitlines()
    assert titles.startswith("structure")
    assert row.startswith("defects.traj frame 0 ")
    assert f"{formation.energy:.4f}" in row


def test_command(tmp_path, monkeypatch, capsys, crystal, vacancy, formation, at_pressure):
    monkeypatch.chdir(tmp_path)
    ase.io.write("vacancy.xyz", vacancy)
    ase.io.write("unrelaxed.xyz", vacancies(crystal)[0])
    ase.io.write("cell.cif", bulk("Cu", "fcc", a=3.5898, cubic=True))
    words = ["formation", "--reference", "cell.cif", "-T", "300", "900", "--calculator", "emt"]
    assert main([*words, "vacancy.xyz", "--json", "--plot", "figure.png"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["defects"]
    assert found["formation_energy_eV"] == pytest.approx(formation.energy, abs=1e-5)
    # Files hold positions to 1e-8 Å.
    assert found["formation_entropies_eV_per_K"] == pytest.approx(formation.entropies, abs=1e-8)
    assert found["concentrations"] == pytest.approx(formation.concentrations, rel=1e-3)
    assert (tmp_path / "figure.png").stat().st_size > 1000
    assert main([*words, "unrelaxed.xyz", "--relax", "--condition", "pressure", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["defects"]
    assert found["condition"] == "constant pressure"
    assert found["formation_energy_eV"] == pytest.approx(at_pressure.energy, abs=1e-4)
    assert found["formation_entropies_eV_per_K"] == pytest.approx(at_pressure.entropies, abs=1e-6)
    # What fails is named, and the rest is done.
    quickly = ("--mesh", "gamma", "--bulk-width", "8")
    assert main([*words, "unrelaxed.xyz", "vacancy.xyz", *quickly]) == 1
    printed = capsys.readouterr()
    assert "unrelaxed.xyz frame 0: defect: not at rest" in printed.err
    assert "vacancy.xyz frame 0" in printed.out
    assert main([*words, "vacancy.xyz", "--energy", "1.2", "--energy-at", "pressure"]) == 1
    assert "does not go with an entropy" in capsys.readouterr().err
    assert main([*words, "vacancy.xyz", "vacancy.xyz", "--energy", "1.2"]) == 1
    assert "is that of one defect" in capsys.readouterr().err
    assert main(["formation", "vacancy.xyz", "--reference", "cell.cif", "--relax"]) == 1
    assert "give a model, or a calculator" in capsys.readouterr().err
    assert main(["formation", "vacancy.xyz", "--reference", "cell.cif"]) == 1
    assert "give a model, or a calculator" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words, "vacancy.xyz", "--chemical-potential", "Cu:1"])


# --- from one condition to the other ---------------------------------------------------


@pytest.fixture(scope="module")
def at_pressure(crystal, vacancy, exact) -> DefectFormation:
    """The vacancy of the crystal's cell, taken to constant pressure."""
    return defect_formation(vacancy, crystal, exact, TEMPERATURES, condition="constant pressure")


def test_elasticity_takes_a_formation_to_the_other_condition(
    formation, at_pressure, relaxed_cell, exact
):
    assert at_pressure.condition == "constant pressure"
    before = at_pressure.other_condition
    assert (before.condition, before.energy) == (formation.condition, formation.energy)
    np.testing.assert_array_equal(before.entropies, formation.entropies)
    # One defect alone has one energy at both conditions.
    assert at_pressure.energy + at_pressure.image_energy == pytest.approx(
        before.energy + before.image_energy, abs=1e-9
    )
    back = defect_formation(*relaxed_cell, exact, TEMPERATURES, condition="constant volume")
    relaxed = back.other_condition
    assert abs(relaxed.entropies[0] - formation.entropies[0]) > 0.5 * kB
    # What is left of that is of the order 1/N, as what images do.
    for found, expected, entropy in ((at_pressure, relaxed, 0.02), (back, formation, 0.1)):
        assert found.condition == expected.condition
        np.testing.assert_allclose(found.entropies, expected.entropies, rtol=0, atol=entropy * kB)
        assert found.energy == pytest.approx(expected.energy, abs=3e-4)


def test_entropies_of_both_conditions_differ_by_expansion(at_pressure, crystal, vacancy):
    """By the relaxation volume times ∂s/∂V of the crystal, where all is isotropic."""
    constants = known_constants(crystal, EMT())
    compressibility = 3 / (constants[0, 0, 0, 0] + 2 * constants[0, 0, 1, 1])
    swelling = np.trace(elastic_dipole(vacancy, crystal, EMT(), constants)) / 3 * compressibility
    assert swelling < 0
    edge, step = 3.5898, 1e-3
    ends = [
        bulk_site_entropies(bulk("Cu", a=edge * (1 + sign * step)), EMT())[0] for sign in (1, -1)
    ]
    slope = 4 * (ends[0] - ends[1]) / (6 * step * edge**3)  # of one atom, k_B/Å³
    gained = (at_pressure.entropies - at_pressure.other_condition.entropies) / kB
    assert gained == pytest.approx(slope * swelling, abs=1e-3)


class WithoutStress(EMT):
    """Of energies and forces alone."""

    implemented_properties = ("energy", "forces")


def test_conditions_that_cannot_be_are_named(crystal, vacancy, exact):
    with pytest.raises(InvalidInputError, match=r"condition: expected .* got 'pressure'"):
        defect_formation(vacancy, crystal, exact, condition="pressure")
    with pytest.raises(InvalidInputError, match=r"condition: .* gives stresses"):
        defect_formation(
            vacancy, crystal, exact, potential=WithoutStress(), condition="constant pressure"
        )
