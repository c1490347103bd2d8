"""One crystal in all formats: each reader must give its Hessian, in eV/Å², in its order."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from ase.units import Bohr, Hartree
from ase.vibrations import VibrationsData

from ase_vibent import HessianEntropyCalculator
from ase_vibent.errors import InvalidStructureError
from ase_vibent.hessian import read_hessian
from ase_vibent.hessian.readers.castep import from_euphonic
from ase_vibent.hessian.readers.request import UNITS, Request, as_unit
from ase_vibent.potentials import tersoff_silicon_carbide

REPEATS = (3, 2, 2)

#: Files, by what must be told beside them.
OWN_STRUCTURE = [
    "phonopy_params.yaml",
    "phonopy_params.yaml.xz",
    "phonopy_params.yaml.gz",
    "phonopy_params.yaml.bz2",
    "constants.yaml",
    "yaml/phonopy_disp.yaml",
    "vibrations.json",
    "carbide.fc",
    "vasprun.xml",
]
UNIT_CELL_BESIDE = [
    "sets/FORCE_SETS",
    "poscar/FORCE_SETS",
    "full/FORCE_CONSTANTS",
    "compact/FORCE_CONSTANTS",
    "full-hdf5/force_constants.hdf5",
    "compact-hdf5/force_constants.hdf5",
]
SUPERCELL_GIVEN = [
    "square.npy",
    "blocks.npy",
    "named.npz",
    "sparse.npz",
    "metal.dynmat",
    "real.dynmat",
    "eskm.dynmat",
]
#: Finite differences of 0.005 Å beside an analytic Hessian.
TOLERANCE = 5e-3


def difference(stored, carbide):
    matrix = stored.of(carbide.supercell)
    dense = matrix.toarray() if hasattr(matrix, "toarray") else matrix
    return np.abs(dense - carbide.hessian).max() / np.abs(carbide.hessian).max()


@pytest.mark.parametrize("name", OWN_STRUCTURE)
def test_files_that_hold_their_structure(files, carbide, name):
    stored = read_hessian(files / name)
    assert difference(stored, carbide) < TOLERANCE
    assert stored.polarity is None
    in_order = read_hessian(files / name, carbide.supercell[::-1])
    assert np.array_equal(in_order.atoms.numbers, carbide.supercell.numbers[::-1])
    assert np.abs(in_order.matrix - carbide.reversed).max() < TOLERANCE * carbide.hessian.max()
    assert difference(in_order, carbide) < TOLERANCE


@pytest.mark.parametrize("name", UNIT_CELL_BESIDE)
def test_files_beside_their_unit_cell(files, carbide, name):
    assert difference(read_hessian(files / name, supercell=REPEATS), carbide) < TOLERANCE
    given = read_hessian(files / name, carbide.unit_cell, supercell=np.diag(REPEATS))
    assert difference(given, carbide) < TOLERANCE


@pytest.mark.parametrize("name", [*SUPERCELL_GIVEN, "full/FORCE_CONSTANTS"])
def test_files_without_structure(files, carbide, name):
    assert difference(read_hessian(files / name, carbide.supercell), carbide) < TOLERANCE


def test_phonons_of_ase(files, carbide):
    stored = read_hessian(
        files / "phonon", carbide.unit_cell, supercell=REPEATS, displacement=0.005
    )
    assert difference(stored, carbide) < TOLERANCE


@pytest.mark.parametrize("unit", ["Ry/bohr^2", "Ha/bohr²", "kcal/mol/Å^2", "N/m", "eV/A^2"])
def test_units_are_converted(tmp_path, carbide, unit):
    np.save(tmp_path / "h.npy", carbide.hessian / UNITS[as_unit(unit)])
    stored = read_hessian(tmp_path / "h.npy", carbide.supercell, units=unit)
    assert difference(stored, carbide) < 1e-14


def test_atoms_that_were_left_out_are_fixed(tmp_path, carbide):
    free = np.array([5, 2, 9])
    rows = (3 * free[:, None] + np.arange(3)).ravel()
    block = carbide.hessian[rows][:, rows]
    VibrationsData.from_2d(carbide.supercell, block, indices=free).write(tmp_path / "v.json")
    stored = read_hessian(tmp_path / "v.json")
    kept = np.sort(free)
    rows = (3 * kept[:, None] + np.arange(3)).ravel()
    assert np.allclose(stored.matrix, carbide.hessian[rows][:, rows], rtol=0, atol=1e-12)
    assert np.isnan(stored.sum_rule_violation)


def test_nothing_of_the_working_folder_is_read(files, carbide, tmp_path, monkeypatch):
    """phonopy.load takes FORCE_CONSTANTS, FORCE_SETS and BORN from there, whosever they are."""
    shutil.copy(files / "full" / "FORCE_CONSTANTS", tmp_path)
    (tmp_path / "BORN").write_text(
        "default\n1 0 0 0 1 0 0 0 1\n" + 2 * "9 0 0 0 9 0 0 0 9\n", encoding="utf-8"
    )
    text = (tmp_path / "FORCE_CONSTANTS").read_text(encoding="utf-8").replace(".", "9.")
    (tmp_path / "FORCE_CONSTANTS").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    stored = read_hessian(files / "phonopy_params.yaml")
    assert stored.polarity is None
    assert difference(stored, carbide) < TOLERANCE


@pytest.mark.parametrize("flag", ["T 4.0", "T 6.0"])
def test_dipoles_are_put_back_into_constants_of_espresso(files, carbide, tmp_path, flag):
    """On a cubic lattice, one sublattice feels the other by Lorentz' field, -4π/3 of a dipole."""
    charge, dielectric = 0.7, 2.4

    def rows(value):
        return "\n".join(" ".join(f"{x:.6f}" for x in row) for row in value * np.eye(3))

    parts = [flag, rows(dielectric), "1", rows(charge), "2", rows(-charge)]
    text = (
        (files / "carbide.fc").read_text(encoding="utf-8").replace(" F\n", "\n".join([*parts, ""]))
    )
    (tmp_path / "polar.fc").write_text(text, encoding="utf-8")
    polar, plain = read_hessian(tmp_path / "polar.fc"), read_hessian(files / "carbide.fc")
    assert np.allclose(polar.polarity.dielectric, dielectric * np.eye(3))
    signs = np.where(polar.atoms.numbers == 14, charge, -charge)
    assert np.allclose(polar.polarity.charges, signs[:, None, None] * np.eye(3))
    n = len(polar.atoms)
    dipoles = (polar.matrix - plain.matrix).reshape(n, 3, n, 3)
    other = dipoles[0][:, polar.atoms.numbers == 6].sum(axis=1)
    volume = carbide.unit_cell.get_volume()
    lorentz = 4 * np.pi / 3 * Hartree * Bohr * charge**2 / (dielectric * volume)
    assert np.allclose(other, lorentz * np.eye(3), rtol=0, atol=1e-4 * lorentz)
    assert np.abs(dipoles.sum(axis=2)).max() < 1e-10 * lorentz
    assert np.abs(dipoles - dipoles.transpose(2, 3, 0, 1)).max() < 1e-10 * lorentz


def test_calculators_take_files(files, carbide):
    """A file serves its structure, in any order; a calculator, where there is one, all others."""
    file = str(files / "full-hdf5" / "force_constants.hdf5")
    stored = read_hessian(file, carbide.supercell)
    known = HessianEntropyCalculator(hessian=carbide.hessian, mesh="gamma")
    expected = known.get_property("entropies", carbide.supercell)
    for given in (stored, [stored], files / "constants.yaml", str(files / "constants.yaml")):
        exact = HessianEntropyCalculator(hessian=given, mesh="gamma")
        turned = exact.get_property("entropies", carbide.supercell[::-1])
        assert turned[::-1] == pytest.approx(expected, rel=2e-3)
    other = carbide.supercell.copy()
    other.positions[0, 0] += 0.05
    with pytest.raises(
        InvalidStructureError, match=r"atom 0 \(Si\) of the structure stands 0.05 Å"
    ):
        exact.get_property("entropy", other)
    both = HessianEntropyCalculator(tersoff_silicon_carbide(), hessian=stored, mesh="gamma")
    alone = HessianEntropyCalculator(tersoff_silicon_carbide(), mesh="gamma")
    assert both.get_property("entropy", other) == alone.get_property("entropy", other)


def test_castep_by_euphonic(files, carbide):
    """Euphonic reads phonopy's files, too: its force constants of a crystal that is known."""
    euphonic = pytest.importorskip("euphonic", reason="needs the extra castep")
    constants = euphonic.ForceConstants.from_phonopy(path=str(files), summary_name="constants.yaml")
    stored = from_euphonic(constants, Request(files / "crystal.castep_bin"))
    assert difference(stored, carbide) < TOLERANCE


def test_masses_are_those_of_the_file(files, carbide):
    text = (files / "phonopy_params.yaml").read_text(encoding="utf-8")
    heavier = files / "isotopes.yaml"
    heavier.write_text(text.replace("mass: 12.0", "mass: 13.0"), encoding="utf-8")
    assert heavier.read_text(encoding="utf-8") != text
    masses = read_hessian(heavier).atoms.get_masses()
    assert np.all(masses[carbide.supercell.numbers == 6] > 13)
