"""Crystals from stored Hessians: converged values, meshes, Born charges; phonopy is the judge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.calculators.emt import EMT
from ase.units import kB, kJ, mol

from ase_vibent import HessianEntropyCalculator, PhonopyEntropyCalculator, bulk_site_entropies
from ase_vibent.crystal.bulk import InfiniteCrystal
from ase_vibent.crystal.stored import in_supercell
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.hessian import StoredHessian, compute_hessian, read_hessian
from ase_vibent.hessian.readers.phonopy import new_phonopy, to_atoms, to_phonopy
from ase_vibent.hessian.stored import Polarity
from ase_vibent.potentials import tersoff_silicon_carbide


def springs(atoms: Atoms) -> np.ndarray:
    """Hessian of springs, stiff to the six nearest of rock salt and soft to the next twelve."""
    n = len(atoms)
    hessian = np.zeros((n, 3, n, 3))
    for i in range(n):
        for shift in np.ndindex(3, 3, 3):
            apart = (np.array(shift) - 1) @ atoms.cell.array + atoms.positions - atoms.positions[i]
            distances = np.linalg.norm(apart, axis=1)
            for j in np.flatnonzero((distances > 0.1) & (distances < 4.1)):
                along = apart[j] / distances[j]
                block = (2.0 if distances[j] < 3 else 0.4) * np.outer(along, along)
                hessian[i, :, j] -= block
                hessian[i, :, i] += block
    return hessian.reshape(3 * n, 3 * n)


@pytest.fixture(scope="module")
def salt():
    """Stored Hessian of rock salt, and the same as a phonopy object with Born charges."""
    unit_cell = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    phonons = new_phonopy(to_phonopy(unit_cell), 2 * np.eye(3, dtype=int))
    supercell = to_atoms(phonons.supercell)
    hessian, n = springs(supercell), len(supercell)
    full = hessian.reshape(n, 3, n, 3).transpose(0, 2, 1, 3)
    phonons.force_constants = full[phonons.primitive.p2s_map].copy()
    unit = np.eye(3)
    phonons.nac_params = {
        "born": np.array([1.1 * unit, -1.1 * unit]),
        "dielectric": 2.4 * unit,
        "factor": 14.399645,
    }
    sign = np.where(supercell.numbers == 11, 1.1, -1.1)
    polarity = Polarity(sign[:, None, None] * unit, 2.4 * unit)
    return StoredHessian(supercell, hessian, "salt", polarity), phonons


def phonopy_entropy(phonons, mesh):
    phonons.run_mesh(mesh, is_gamma_center=False)
    phonons.run_thermal_properties(temperatures=[300])
    return phonons.get_thermal_properties_dict()["entropy"][0] * 1e-3 * kJ / mol


@pytest.mark.filterwarnings("ignore:Half-grid shift:RuntimeWarning")
@pytest.mark.parametrize("polar", [True, False])
def test_meshes_of_the_primitive_cell_are_those_of_phonopy(salt, polar):
    stored, phonons = salt
    if not polar:
        phonons = new_phonopy(phonons.unitcell, phonons.supercell_matrix)
        phonons.force_constants = salt[1].force_constants
        stored = replace(stored, polarity=None)
    primitive = to_atoms(phonons.primitive)
    ours = PhonopyEntropyCalculator(stored, mesh=(6, 6, 6), quantum=True)
    entropy = ours.vibrations(primitive, [300]).entropies[0]
    # Its constants of nature are of another year.
    assert entropy == pytest.approx(phonopy_entropy(phonons, [6, 6, 6]), rel=1e-5)


def test_gamma_is_that_of_the_supercell(salt):
    stored, phonons = salt
    primitive = to_atoms(phonons.primitive)
    folded = PhonopyEntropyCalculator(replace(stored, polarity=None), mesh="gamma")
    whole = HessianEntropyCalculator(hessian=stored, mesh="gamma")
    expected = whole.vibrations(stored.atoms, [300]).entropies / 32
    assert folded.vibrations(primitive, [300]).entropies == pytest.approx(expected, rel=1e-9)


def test_converged_values(salt):
    """Beside fine meshes; a site's value does not depend on the cell that it is asked for."""
    stored, phonons = salt
    primitive = to_atoms(phonons.primitive)
    plain = replace(stored, polarity=None)
    of_sites = bulk_site_entropies(primitive, plain)
    assert np.allclose(bulk_site_entropies(stored.atoms, plain)[[0, 8]], of_sites, atol=1e-8)
    totals = []
    for known in (plain, stored):
        fine = PhonopyEntropyCalculator(known, mesh=(8, 8, 8)).vibrations(primitive, [300])
        exact = InfiniteCrystal(primitive, known, tolerance=1e-3).vibrations([300])
        totals.append(exact.entropies[0] / kB)
        assert fine.entropies[0] / kB == pytest.approx(totals[-1], abs=2e-3)
    assert 0.001 < totals[0] - totals[1] < 0.05


def test_converged_values_are_those_of_the_calculator():
    """Silicon carbide's force constants of the same supercell, one by calculator, one stored."""
    crystal = bulk("SiC", "zincblende", a=4.32)
    supercell = crystal.repeat(3)
    stored = StoredHessian(supercell, compute_hessian(supercell, tersoff_silicon_carbide()))
    expected = bulk_site_entropies(crystal, tersoff_silicon_carbide(), width=7.4)
    assert bulk_site_entropies(crystal, stored) == pytest.approx(expected, abs=1e-8)
    exact = HessianEntropyCalculator(hessian=stored)
    found = exact.bulk_vibrations(supercell, [300]).entropies[0]
    mesh = exact.vibrations(supercell, [300]).entropies[0]
    assert found == pytest.approx(mesh, abs=1e-3 * len(supercell) * kB)


def test_defect_cells_and_their_crystals_are_treated_alike(salt):
    """No non-analytic correction in either, nor in the value of an atom between them."""
    stored, _ = salt
    plain = replace(stored, polarity=None)
    values = [
        HessianEntropyCalculator(hessian=known).bulk_vibrations(stored.atoms, [300]).entropies
        for known in (stored, plain)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-12)


def test_other_crystals_are_refused(salt):
    stored, _ = salt
    with pytest.raises(InvalidStructureError, match="not the crystal whose force constants"):
        bulk_site_entropies(bulk("NaCl", "rocksalt", a=5.7), stored)
    moved = bulk("NaCl", "rocksalt", a=5.6)
    moved.positions[1, 0] += 0.1
    with pytest.raises(InvalidStructureError, match="not the crystal whose force constants"):
        bulk_site_entropies(moved, stored)
    cluster = stored.atoms.copy()
    cluster.pbc = False
    with pytest.raises(InvalidStructureError, match="Hessian of a crystal"):
        bulk_site_entropies(stored.atoms, replace(stored, atoms=cluster))
    with pytest.raises(InvalidInputError, match="wide supercells"):
        HessianEntropyCalculator(hessian=stored).bulk_vibrations(moved, [300])


def test_born_charges_from_files(salt, tmp_path):
    """BORN beside or named, of any format; charges of the file itself; charges given."""
    stored, phonons = salt
    born = "default\n" + 2 * "2.4 0 0 0 2.4 0 0 0 2.4\n" + "-1.1 0 0 0 -1.1 0 0 0 -1.1\n"
    born = born.replace("2.4 0 0 0 2.4 0 0 0 2.4\n1", "1").split("\n")
    born[2] = "1.1 0 0 0 1.1 0 0 0 1.1"
    (tmp_path / "CHARGES").write_text("\n".join(born), encoding="utf-8")
    np.save(tmp_path / "h.npy", stored.matrix)
    phonons.save(tmp_path / "own.yaml", settings={"force_constants": True})
    found = [
        read_hessian(tmp_path / "own.yaml"),
        read_hessian(tmp_path / "h.npy", stored.atoms, born=tmp_path / "CHARGES"),
        read_hessian(tmp_path / "h.npy", stored.atoms, born=stored.polarity),
    ]
    (tmp_path / "CHARGES").rename(tmp_path / "BORN")
    text = (tmp_path / "own.yaml").read_text(encoding="utf-8")
    (tmp_path / "without.yaml").write_text(
        text.replace("born_effective_charge", "left_out"), encoding="utf-8"
    )
    found.append(read_hessian(tmp_path / "without.yaml"))
    for known in found:
        assert np.allclose(known.polarity.charges, stored.polarity.charges, atol=1e-8)
        assert np.allclose(known.polarity.dielectric, stored.polarity.dielectric, atol=1e-8)
    turned = found[0].reordered(stored.atoms[::-1])
    assert np.allclose(turned.polarity.charges, stored.polarity.charges[::-1], atol=1e-8)
    (tmp_path / "BORN").write_text("default\n1 0 0\n", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="no charges of a primitive cell of 2 atoms"):
        read_hessian(tmp_path / "h.npy", stored.atoms, born=tmp_path / "BORN")


@pytest.mark.parametrize(
    "repeats",
    [(3, 1, 2), (1, 1, 1), [[1, 1, 0], [-1, 1, 0], [0, 0, 2]], [[0, 2, 0], [2, 0, 0], [0, 0, 1]]],
)
def test_crystal_in_the_supercell_of_a_defect(salt, repeats):
    """Springs of 4.1 Å are all in a cell 11.2 Å wide, so that the matrix of any cell is known."""
    stored = salt[0]
    unit_cell = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    matrix = np.diag(repeats) if np.ndim(repeats) == 1 else np.array(repeats)
    crystal = make_supercell(unit_cell, matrix)
    defect = crystal[1:]
    defect.set_cell(1.002 * crystal.cell.array, scale_atoms=True)
    found = in_supercell(stored, defect)
    assert found.holds(crystal)
    np.testing.assert_allclose(found.of(crystal), springs(crystal), atol=1e-10)
    charges = found.reordered(crystal).polarity.charges
    assert np.all(np.sign(charges[:, 0, 0]) == np.where(crystal.numbers == 11, 1, -1))
    assert abs(found.images_error) < 1e-9  # it reaches no border


def test_crystal_in_its_own_supercell_is_left_alone(salt):
    stored = salt[0]
    defect = stored.atoms[1:]
    assert in_supercell(stored, defect) is stored
    defect.set_cell(1.003 * defect.cell.array, scale_atoms=True)
    assert in_supercell(stored, defect) is stored


def test_narrow_constants_in_a_wider_cell_have_an_error():
    """At least what they are off, in the mean of an atom."""
    narrow, wide = (bulk("Cu", "fcc", a=3.5898, cubic=True) * n for n in ((2, 2, 2), (3, 3, 3)))
    stored = StoredHessian(narrow, compute_hessian(narrow, EMT()))
    found = in_supercell(stored, wide[1:])
    entropies = [
        bulk_site_entropies(crystal, known).sum()
        for crystal, known in (
            (found.atoms, found),
            (wide, StoredHessian(wide, compute_hessian(wide, EMT()))),
        )
    ]
    assert 0.03 < abs(entropies[1] - entropies[0]) < abs(found.images_error)
    exact = HessianEntropyCalculator(hessian=found).vibrations(found.atoms, [300.0])
    assert exact.entropy_std > abs(found.images_error) * kB


def test_crystal_that_does_not_fit_into_a_cell(salt):
    flat = salt[0].atoms[:4]
    flat.set_cell([2.0, 11.2, 11.2])
    with pytest.raises(InvalidStructureError, match=r"salt: its primitive cell .* does not fit"):
        in_supercell(salt[0], flat)
