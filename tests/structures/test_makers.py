"""Structure makers: counts that crystallography knows, geometry, seeds, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms
from ase.geometry import get_distances
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.structures import (
    antisites,
    apply_strain,
    clusters,
    damage,
    divacancies,
    dumbbells,
    interstitials,
    rattle,
    unique,
    vacancies,
    voids,
    wigner_seitz_defects,
)
from ase_vibent.structures.displacements import nearest_distance
from ase_vibent.structures.duplicates import interstitial_inertia
from ase_vibent.structures.wigner_seitz import defect_atoms

CRYSTALS = {
    "diamond": bulk("Si", "diamond", a=5.431, cubic=True) * (2, 2, 2),
    "fcc": bulk("Cu", "fcc", a=3.6, cubic=True) * (3, 3, 3),
    "bcc": bulk("Fe", "bcc", a=2.87, cubic=True) * (4, 4, 4),
    "hcp": bulk("Ti", "hcp", a=2.95, c=2.95 * np.sqrt(8 / 3)) * (4, 4, 3),
    "B2": bulk("NiAl", "cesiumchloride", a=2.88) * (3, 3, 3),
    "zincblende": bulk("SiC", "zincblende", a=4.36, cubic=True) * (2, 2, 2),
    "rocksalt": bulk("NaCl", "rocksalt", a=5.6, cubic=True) * (2, 2, 2),
}
SKEW = np.array([[3, 1, 0], [-1, 3, 1], [0, 1, 3]])


def triclinic(name: str) -> Atoms:
    """A skewed supercell, with all its lattice points on no special plane."""
    primitive = {"fcc": bulk("Cu", "fcc", a=3.6), "diamond": bulk("Si", "diamond", a=5.431)}[name]
    return make_supercell(primitive, SKEW)


def same_structures(one: list[Atoms], other: list[Atoms]) -> bool:
    return all(a == b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("name", "n_vacancies", "n_pairs", "n_second_pairs"),
    [
        *(("diamond", 1, 1, 1), ("fcc", 1, 1, 1), ("bcc", 1, 1, 1), ("B2", 2, 1, 2)),
        *(("zincblende", 2, 1, 2), ("rocksalt", 2, 1, 2)),
        ("hcp", 1, 2, 1),  # at the ideal c/a, neighbours in and out of the plane are as far
    ],
)
def test_inequivalent_vacancies(name, n_vacancies, n_pairs, n_second_pairs):
    crystal = CRYSTALS[name]
    singles, pairs = vacancies(crystal), divacancies(crystal)
    assert len(singles) == n_vacancies
    assert len(pairs) == n_pairs
    assert len(divacancies(crystal, shell=2)) == n_second_pairs
    assert {len(atoms) for atoms in singles} == {len(crystal) - 1}
    for atoms in singles + pairs:
        assert wigner_seitz_defects(atoms, crystal).n_vacancies == len(crystal) - len(atoms)


@pytest.mark.parametrize(
    ("name", "radii"),
    [
        ("fcc", [3.6 / 2, 3.6 * np.sqrt(3) / 4]),  # octahedral, tetrahedral
        ("bcc", [2.87 * np.sqrt(5) / 4, 2.87 / 2]),  # tetrahedral, octahedral
        ("diamond", [5.431 * np.sqrt(3) / 4, 5.431 * np.sqrt(11) / 8]),  # tetrahedral, hexagonal
        ("hcp", [2.95 / np.sqrt(2), 2.95 * np.sqrt(6) / 4]),  # octahedral, tetrahedral
        ("rocksalt", [5.6 * np.sqrt(3) / 4]),
    ],
)
def test_voids_are_those_of_the_textbook(name, radii):
    positions, found = voids(CRYSTALS[name])
    assert found == pytest.approx(radii, abs=1e-9)
    for position, radius in zip(positions, radii, strict=True):
        crystal = CRYSTALS[name]
        distances = get_distances(position, crystal.positions, cell=crystal.cell, pbc=True)[1]
        assert distances.min() == pytest.approx(radius, abs=1e-9)


def test_interstitials_and_antisites_of_compounds():
    zincblende, nickel_aluminide = CRYSTALS["zincblende"], CRYSTALS["B2"]
    assert len(antisites(zincblende)) == len(antisites(nickel_aluminide)) == 2
    # Tetrahedral sites among Si and among C, and the hexagonal one; two species for each.
    assert len(interstitials(zincblende)) == 6
    assert {a.get_chemical_formula() for a in interstitials(zincblende, ["C"])} == {"C33Si32"}
    # An Si-C pair along [111] has two ends; along [100] and [110] symmetry swaps them.
    counts = [len(dumbbells(zincblende, [d])) for d in ((1, 0, 0), (1, 1, 0), (1, 1, 1))]
    assert counts == [4, 4, 6]
    with pytest.raises(InvalidInputError, match="two species"):
        antisites(CRYSTALS["fcc"])


@pytest.mark.parametrize("repeats", [(2, 2, 2), (3, 2, 2), (4, 3, 2)])
def test_equivalence_is_that_of_the_cell_and_not_of_the_crystal(repeats):
    """Judge: distinct energies of all pairs, in a potential that reaches the images."""
    crystal = bulk("Cu", "fcc", a=3.6, cubic=True) * repeats

    def energy(atoms: Atoms) -> float:
        atoms = atoms.copy()
        atoms.calc = LennardJones(sigma=2.3, rc=10.0)
        return float(atoms.get_potential_energy())

    neighbours = np.flatnonzero(
        np.isclose(crystal.get_distances(0, range(len(crystal)), mic=True), 3.6 / np.sqrt(2))
    )
    everything = []
    for neighbour in neighbours:
        pair = crystal.copy()
        del pair[[0, int(neighbour)]]
        everything.append(energy(pair))
    distinct = np.unique(np.round(everything, 7))
    found = [energy(atoms) for atoms in divacancies(crystal)]
    assert np.sort(found) == pytest.approx(distinct, abs=1e-6)


def test_dumbbells_sit_on_their_site():
    crystal = CRYSTALS["bcc"]
    found = dumbbells(crystal)
    assert [a.info["defect"] for a in found] == [f"Fe-Fe dumbbell <{d}>" for d in (100, 110, 111)]
    for atoms, direction in zip(found, ([1, 0, 0], [1, 1, 0], [1, 1, 1]), strict=True):
        counted = wigner_seitz_defects(atoms, crystal)
        assert (counted.n_vacancies, counted.n_interstitials) == (0, 1)
        axis = atoms.positions[-2] - atoms.positions[-1]
        assert np.linalg.norm(axis) == pytest.approx(0.8 * 2.87 * np.sqrt(3) / 2, abs=1e-12)
        assert np.linalg.norm(np.cross(axis, direction)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("kind", ["vacancy", "interstitial", "antisite"])
@settings(max_examples=10, deadline=None)
@given(size=st.integers(1, 5), seed=st.integers(0, 2**32))
def test_clusters_are_connected_and_counted(kind, size, seed):
    crystal = CRYSTALS["B2"]
    (atoms,) = clusters(crystal, kind, size, 1, seed)
    assert same_structures([atoms], clusters(crystal, kind, size, 1, seed))
    counted = wigner_seitz_defects(atoms, crystal)
    numbers = (counted.n_vacancies, counted.n_interstitials, counted.n_antisites)
    assert (
        numbers
        == {
            "vacancy": (size, 0, 0),
            "interstitial": (0, size, 0),
            "antisite": (0, 0, size),
        }[kind]
    )
    changed = counted.occupation != 1
    if kind == "antisite":
        wrong = atoms.numbers != crystal.numbers[counted.site_of_atom]
        changed[counted.site_of_atom[wrong]] = True
    distances = crystal[changed].get_all_distances(mic=True)
    assert connected_components(distances < 1.2 * 2.88 * np.sqrt(3) / 2 + 1e-6)[0] == 1


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), amplitude=st.floats(1e-3, 4), fraction=st.floats(0.01, 1))
def test_damage_stays_within_its_bounds(seed, amplitude, fraction):
    crystal = CRYSTALS["B2"]
    (atoms,) = damage(crystal, fraction, amplitude, 1, seed)
    assert same_structures([atoms], damage(crystal, fraction, amplitude, 1, seed))
    moved = np.linalg.norm(atoms.positions - crystal.positions, axis=1)
    assert np.sum(moved > 0) == max(1, round(fraction * len(crystal)))
    assert moved.max() <= amplitude
    distances = atoms.get_all_distances(mic=True)[np.triu_indices(len(atoms), 1)]
    assert distances.min() >= 0.5 * 2.88 * np.sqrt(3) / 2 - 1e-9


def test_rattled_copies():
    crystal = CRYSTALS["diamond"]
    copies = rattle(crystal, 0.1, 200, 3)
    assert same_structures(copies, rattle(crystal, 0.1, 200, 3))
    components = np.array([atoms.positions - crystal.positions for atoms in copies])
    assert np.abs(components).max() <= 0.05
    # Variance of a uniform variable of width α, α = 0.1 U: 0.1² <U²>/12; 200 draws of α.
    assert components.var() == pytest.approx(0.01 / 36, rel=0.25)


@settings(deadline=None)
@given(strain=hnp.arrays(float, (3, 3), elements=st.floats(-0.2, 0.2)))
def test_strain_moves_the_atoms_with_the_cell(strain):
    atoms = rattle(triclinic("diamond"), 0.3, 1, 0)[0]
    deformed = apply_strain(atoms, strain)
    difference = deformed.cell.scaled_positions(deformed.positions) - atoms.cell.scaled_positions(
        atoms.positions
    )
    assert np.abs(difference).max() < 1e-12
    bond = atoms.positions[1] - atoms.positions[0]
    expected = bond + strain @ bond
    assert deformed.positions[1] - deformed.positions[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "vary",
    [
        lambda atoms: rattle(atoms, 0.1, 1)[0],
        lambda atoms: apply_strain(atoms, 0.01),
        lambda atoms: damage(atoms, 0.5, 1.0, 1)[0],
        lambda atoms: vacancies(atoms)[0],
    ],
)
def test_what_held_for_the_original_is_not_said_of_the_copy(vary):
    """A rattled saddle has any number of unstable modes, other barriers, other defects."""
    atoms = CRYSTALS["bcc"].copy()
    atoms.info = {"unstable": 1, "barrier_forward": 0.7, "n_vacancies": 2, "sample": "A"}
    found = vary(atoms).info
    assert found["sample"] == "A"
    assert {"unstable", "barrier_forward", "n_vacancies"}.isdisjoint(found)


def test_fixed_atoms_are_not_displaced():
    atoms = CRYSTALS["bcc"].copy()
    held = np.arange(0, len(atoms), 2)
    atoms.set_constraint(FixAtoms(held))
    for copy in (rattle(atoms, 0.1, 1)[0], damage(atoms, 1, 1.0, 1)[0]):
        moved = np.linalg.norm(copy.positions - atoms.positions, axis=1) > 0
        assert np.array_equal(np.flatnonzero(~moved), held)


def test_nearest_distance_of_atoms_on_one_spot():
    assert nearest_distance(Atoms("Cu2", positions=np.zeros((2, 3)))) == 0
    assert nearest_distance(Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 1e-9]])) < 1e-8
    assert nearest_distance(bulk("Fe", "bcc", a=2.87)) == pytest.approx(2.87 * np.sqrt(3) / 2)


def test_isotropic_strain_is_of_lengths():
    crystal = CRYSTALS["fcc"]
    assert apply_strain(crystal, 0.03).cell.lengths() == pytest.approx(1.03 * 10.8, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(["fcc", "diamond"]),
    shift=hnp.arrays(float, 3, elements=st.floats(-20, 20)),
    n_pairs=st.integers(0, 4),
    n_extra=st.integers(0, 2),
    strain=st.floats(-0.05, 0.05),
    seed=st.integers(0, 2**32),
)
def test_wigner_seitz_counts_frenkel_pairs(name, shift, n_pairs, n_extra, strain, seed):
    """In a triclinic cell, whatever the order of the atoms, their images and the drift."""
    rng = np.random.default_rng(seed)
    crystal = triclinic(name)
    gone = rng.choice(len(crystal), n_pairs, replace=False)
    kept = np.setdiff1d(np.arange(len(crystal)), gone)
    # Interstitials beside atoms that stay, off the border of the Wigner-Seitz cell.
    hosts = rng.choice(kept, n_pairs + n_extra, replace=False)
    offsets = rng.normal(size=(len(hosts), 3))
    offsets /= np.linalg.norm(offsets, axis=1)[:, None]
    atoms = crystal[kept]
    atoms += Atoms(crystal.numbers[hosts], crystal.positions[hosts] + 0.9 * offsets)
    atoms.positions += rng.uniform(-0.05, 0.05, atoms.positions.shape)
    atoms = apply_strain(atoms, strain)
    atoms.positions += shift
    atoms.positions += rng.integers(-2, 3, (len(atoms), 3)) @ atoms.cell.array
    atoms = atoms[rng.permutation(len(atoms))]
    counted = wigner_seitz_defects(atoms, crystal)
    assert (counted.n_vacancies, counted.n_interstitials) == (n_pairs, n_pairs + n_extra)
    assert counted.occupation.sum() == len(atoms)
    assert len(counted.interstitial_atoms) == 2 * (n_pairs + n_extra)


def test_heavy_damage_is_counted_about_the_sites():
    """Judge: nearest sites by a periodic k-d tree. Without order no drift must be made up."""
    crystal = CRYSTALS["fcc"]
    (atoms,) = damage(crystal, 1.0, 3.0, 1, 5)
    counted = wigner_seitz_defects(atoms, crystal)
    box = crystal.cell.lengths()
    sites = KDTree(crystal.positions % box, boxsize=box).query(atoms.positions % box)[1]
    assert np.array_equal(counted.occupation, np.bincount(sites, minlength=len(crystal)))


@pytest.mark.parametrize("name", CRYSTALS)
def test_perfect_crystals_have_no_defects(name):
    """Atoms on the border of the cell, some of them on either side of it."""
    crystal = rattle(CRYSTALS[name], 1e-8, 1, 0)[0]
    crystal.wrap()
    counted = wigner_seitz_defects(crystal, CRYSTALS[name])
    assert (counted.n_vacancies, counted.n_interstitials, counted.n_antisites) == (0, 0, 0)


def test_defect_atoms_surround_the_defect():
    crystal = CRYSTALS["diamond"]
    assert len(defect_atoms(vacancies(crystal)[0], crystal)) == 4
    assert len(defect_atoms(dumbbells(crystal)[0], crystal)) == 2
    assert len(defect_atoms(crystal, crystal)) == 0


@settings(max_examples=20, deadline=None)
@given(separation=st.floats(1.2, 2.2), seed=st.integers(0, 2**32), border=st.booleans())
def test_inertia_of_a_dumbbell(separation, seed, border):
    """Two unit masses at distance d: components 0, d²/2, d²/2; anywhere in the cell."""
    rng = np.random.default_rng(seed)
    crystal = triclinic("fcc")
    site = 0 if border else 13
    axis = rng.normal(size=3)
    axis *= separation / 2 / np.linalg.norm(axis)
    pair = crystal.positions[site] + np.array([axis, -axis])
    atoms = crystal.copy()
    del atoms[site]
    atoms += Atoms("Cu2", pair)
    atoms.wrap()
    assert interstitial_inertia(atoms, crystal) == pytest.approx(separation**4 / 2, rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), shift=hnp.arrays(float, 3, elements=st.floats(-9, 9)))
def test_duplicates_are_found_in_any_disguise(seed, shift):
    rng = np.random.default_rng(seed)
    crystal = triclinic("fcc")
    structures = dumbbells(crystal, [(1, 0, 0)]) + clusters(crystal, "interstitial", 2, 1, 1)
    disguised = []
    for atoms in structures:
        copy = atoms[rng.permutation(len(atoms))]
        copy.positions += shift
        copy.wrap()
        disguised.append(copy)
    # Energies far apart: only the inertia tells that two are the same.
    energies = [0.0, 5.0, 10.0, 15.0]
    assert unique(structures + disguised, energies, crystal=crystal) == [0, 1]
    assert unique(structures + disguised, energies) == [0, 1, 2, 3]
    assert unique(structures + disguised, [0.0, 0.0, 0.009, -0.009]) == [0, 1]


def test_similar_dumbbells_of_other_energies_are_not_one():
    """<110> and <111> in iron: 0.4 eV apart, separations within 0.3 %, inertia within 1.3 %."""
    crystal = CRYSTALS["bcc"]
    one, other = dumbbells(crystal, [(1, 1, 0), (1, 1, 1)])
    other.positions[-2:] += 0.0007 * (other.positions[-2:] - other.positions[-2:].mean(axis=0))
    ratio = interstitial_inertia(other, crystal) / interstitial_inertia(one, crystal)
    assert 1.002 < ratio < 1.01
    assert unique([one, other], [0.0, 0.4], crystal=crystal) == [0, 1]


def test_energies_tell_only_structures_of_one_kind_apart():
    crystal = CRYSTALS["fcc"]
    structures = [crystal, crystal, apply_strain(crystal, 0.01), *vacancies(crystal)]
    assert unique(structures, [0.0] * 4, crystal=crystal) == [0, 2, 3]
    assert unique([crystal] * 3, [0.0, 0.011, 0.02]) == [0, 1]


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda c: apply_strain(c, -1), "strain"),
        (lambda c: apply_strain(c, np.zeros(3)), "strain"),
        (lambda c: divacancies(c, 0), "shell"),
        (lambda c: divacancies(bulk("Cu"), 1), "larger supercell"),
        (lambda c: vacancies(bulk("Cu")), "larger supercell"),
        (lambda c: voids(c, smallest=0), "smallest"),
        (lambda c: interstitials(c, ["Xx"]), "chemical symbol"),
        (lambda c: dumbbells(c, [(0, 0, 0)]), "directions"),
        (lambda c: clusters(c, "dislocation", 2, 1), "kind"),
        (lambda c: clusters(c, "vacancy", 0, 1), "size"),
        (lambda c: clusters(c, "vacancy", 3, 1, reach=1.0), "raise reach"),
        (lambda c: clusters(c, "vacancy", 2, 1, reach=np.nan), "reach"),
        (lambda c: interstitials(c, ["X"]), "chemical symbol"),
        (lambda c: rattle(c, np.nan, 1), "amplitude"),
        (lambda c: rattle(c, -0.1, 1), "amplitude"),
        (lambda c: apply_strain(c, np.nan), "strain"),
        (lambda c: damage(c, 0, 1, 1), "fraction"),
        (lambda c: damage(c, 0.1, -1, 1), "amplitude"),
        (lambda c: wigner_seitz_defects(c, CRYSTALS["bcc"] * (1, 1, 3)), "no repetition"),
        (lambda c: vacancies(Atoms("Cu", pbc=False)), "three directions"),
        (lambda c: vacancies(c + c), "coincide|failed"),
        (lambda c: unique([c, c]), "carry none"),
        (lambda c: unique([c, c], [0.0, np.nan]), "finite"),
        (lambda c: unique([c, c], [0.0, 0.0], energy_tolerance=np.nan), "energy_tolerance"),
    ],
)
def test_mistakes_are_named(mistake, message):
    with pytest.raises((InvalidInputError, InvalidStructureError), match=message):
        mistake(CRYSTALS["fcc"])
