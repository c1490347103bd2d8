"""What is wrong with files of Hessians is said in one sentence, which names it."""

from __future__ import annotations

import shutil
import warnings

import numpy as np
import pytest
from ase.build import bulk
from ase.constraints import FixAtoms
from ase.units import Bohr, Ry, kcal, mol
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_vibent.errors import InvalidInputError, InvalidStructureError, VibentError
from ase_vibent.hessian import StoredHessian, read_hessian
from ase_vibent.hessian.readers import FORMATS

#: Of every format one file.
ONE_OF_EACH = {
    "phonopy": "phonopy_params.yaml",
    "force-sets": "sets/FORCE_SETS",
    "force-constants": "full/FORCE_CONSTANTS",
    "vasp": "vasprun.xml",
    "espresso": "carbide.fc",
    "ase": "vibrations.json",
    "lammps": "metal.dynmat",
    "array": "square.npy",
}


def sentence(path, *arguments, **options):
    """The message of the error that a file must end in."""
    with pytest.raises(VibentError) as caught:
        read_hessian(path, *arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ONE_OF_EACH.values())
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_files_that_are_cut_short(files, carbide, tmp_path, name, share):
    whole = (files / name).read_bytes()
    path = tmp_path / name.rpartition("/")[2]
    path.write_bytes(whole[: int(share * len(whole))])
    structure = carbide.supercell if name not in ("vibrations.json", "carbide.fc") else None
    assert str(path) in sentence(path, structure)


def test_compressed_files_that_are_cut_short(files, tmp_path):
    for suffix in (".xz", ".gz", ".bz2"):
        path = tmp_path / f"phonopy_params.yaml{suffix}"
        path.write_bytes((files / path.name).read_bytes()[:-200])
        assert str(path) in sentence(path)


@pytest.mark.parametrize("name", ONE_OF_EACH.values())
@pytest.mark.parametrize("wrong", [f for f in FORMATS if f not in ("castep", "ase-phonons")])
def test_wrong_formats(files, carbide, name, wrong):
    if ONE_OF_EACH[wrong] == name:
        read_hessian(files / name, carbide.supercell, format=wrong)
    else:
        assert sentence(files / name, carbide.supercell, format=wrong)


def test_what_is_no_hessian(tmp_path, carbide):
    (tmp_path / "notes.txt").write_text("the entropy of this crystal is large\n", encoding="utf-8")
    assert "not recognised" in sentence(tmp_path / "notes.txt")
    assert "no such file" in sentence(tmp_path / "none.yaml")
    assert "folder" in sentence(tmp_path)
    assert "expected one of phonopy" in sentence(tmp_path / "notes.txt", format="poscar")
    np.savez(tmp_path / "two.npz", a=np.zeros(3), b=np.zeros(3))
    assert "call one of them 'hessian'" in sentence(tmp_path / "two.npz", carbide.supercell)
    (tmp_path / "band.yaml").write_text("phonopy:\n  version: 4\nnqpoint: 3\n", encoding="utf-8")
    assert "band.yaml" in sentence(tmp_path / "band.yaml")


def test_what_is_missing(files, carbide, tmp_path):
    for name in ("square.npy", "metal.dynmat", "phonon"):
        assert "pass it (structure=" in sentence(files / name)
    assert "of 24 atoms, the structure of 2" in sentence(files / "poscar" / "FORCE_SETS")
    shutil.copy(files / "sets" / "FORCE_SETS", tmp_path)
    assert "no structure in it, nor beside it" in sentence(tmp_path / "FORCE_SETS")
    shutil.copy(files / "sets" / "phonopy_disp.yaml", tmp_path / "lonely.yaml")
    (tmp_path / "FORCE_SETS").unlink()
    assert "neither forces nor force constants" in sentence(tmp_path / "lonely.yaml")
    assert "displacement=" in sentence(files / "phonon", carbide.unit_cell, supercell=(3, 2, 2))
    assert "24" in sentence(
        files / "phonon", carbide.unit_cell, supercell=(3, 3, 2), displacement=0.01
    )
    shutil.copytree(files / "phonon", tmp_path / "phonon")
    next((tmp_path / "phonon").glob("cache.1z+*")).unlink()
    assert "'1z+' is missing" in sentence(
        tmp_path / "phonon", carbide.unit_cell, supercell=(3, 2, 2), displacement=0.01
    )


def test_castep_needs_euphonic(tmp_path):
    (tmp_path / "quartz.castep_bin").write_bytes(b"\0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "euphonic", None)
        assert "pip install 'ase-vibent[castep]'" in sentence(tmp_path / "quartz.castep_bin")


@pytest.mark.parametrize("name", ["square.npy", "metal.dynmat", "full/FORCE_CONSTANTS"])
def test_numbers_of_atoms(files, carbide, name):
    assert "23" in sentence(files / name, carbide.supercell[1:])
    assert "54" in sentence(files / "poscar" / "FORCE_SETS", supercell=(3, 3, 3))


def test_structures_of_others(files, carbide):
    moved = carbide.supercell.copy()
    moved.positions[7, 0] += 0.3
    assert "atom 7 (Si)" in sentence(files / "phonopy_params.yaml", moved)
    swapped = carbide.supercell.copy()
    swapped.numbers = swapped.numbers[::-1]
    assert "atom" in sentence(files / "phonopy_params.yaml", swapped)
    assert "its cell" in sentence(
        files / "vasprun.xml", bulk("SiC", "zincblende", a=4.3) * (3, 2, 2)
    )
    assert "is of Si12C12" in sentence(files / "carbide.fc", bulk("Si", a=5.43) * (3, 2, 2))


@pytest.mark.parametrize("name", ["square.npy", "sparse.npz", "full/FORCE_CONSTANTS"])
@pytest.mark.parametrize("order", ["ase", "shuffled"])
def test_order_of_atoms(files, carbide, name, order):
    """ASE repeats cell by cell, phonopy atom by atom."""
    other = carbide.unit_cell.repeat((3, 2, 2))
    if order == "shuffled":
        other = carbide.supercell[np.random.default_rng(3).permutation(24)]
    assert "in the order of the structure's atoms" in sentence(files / name, other)


@pytest.mark.parametrize("supercell", [(2, 3, 2), (6, 2, 1), (12, 1, 1), (1, 3, 4)])
def test_supercells_of_another_shape(files, supercell):
    """As many atoms, in other places: refused, or said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            read_hessian(files / "full" / "FORCE_CONSTANTS", supercell=supercell)
            said = " ".join(str(warning.message) for warning in caught)
        except InvalidInputError as error:
            said = str(error)
    assert "the supercell right?" in said


def test_dynamical_matrices_are_no_hessians(tmp_path, carbide):
    roots = np.sqrt(np.repeat(carbide.supercell.get_masses(), 3))
    np.save(tmp_path / "d.npy", carbide.hessian / roots / roots[:, None])
    assert "dynamical matrix" in sentence(tmp_path / "d.npy", carbide.supercell)
    np.savetxt(tmp_path / "h.dynmat", carbide.hessian.reshape(-1, 3))
    assert "but a Hessian" in sentence(tmp_path / "h.dynmat", carbide.supercell)


def test_matrices_that_are_not_symmetric(tmp_path, carbide):
    np.save(tmp_path / "half.npy", np.triu(carbide.hessian))
    assert "symmetric" in sentence(tmp_path / "half.npy", carbide.supercell)
    np.save(tmp_path / "nan.npy", np.where(carbide.hessian > 20, np.nan, carbide.hessian))
    assert "finite" in sentence(tmp_path / "nan.npy", carbide.supercell)


@pytest.mark.parametrize(
    ("unit", "named"),
    [(Ry / Bohr**2, "Ry/bohr^2"), (2 * Ry / Bohr**2, "bohr^2"), (kcal / mol, "kcal/mol/A^2")],
)
def test_other_units_are_suspected(tmp_path, carbide, unit, named):
    np.save(tmp_path / "h.npy", carbide.hessian / unit)
    with pytest.warns(UserWarning, match="other units") as caught:
        read_hessian(tmp_path / "h.npy", carbide.supercell)
    assert named in str(caught[0].message)
    assert "expected one of eV/A^2" in sentence(tmp_path / "h.npy", carbide.supercell, units="J")


def test_sum_rule_is_imposed_only_when_asked(tmp_path, carbide):
    n = len(carbide.supercell)
    broken = carbide.hessian + 0.05 * np.eye(3 * n)
    np.save(tmp_path / "h.npy", broken)
    as_it_is = read_hessian(tmp_path / "h.npy", carbide.supercell)
    assert as_it_is.sum_rule_violation == pytest.approx(0.05, abs=1e-6)
    assert np.array_equal(as_it_is.matrix, broken)
    imposed = read_hessian(tmp_path / "h.npy", carbide.supercell, acoustic_sum_rule=True)
    assert imposed.sum_rule_violation < 1e-12
    assert np.abs(imposed.matrix - carbide.hessian).max() < 1e-6


def test_sound_files_say_nothing(files, carbide):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ONE_OF_EACH.values():
            structure = None if name in ("carbide.fc", "vasprun.xml") else carbide.supercell
            read_hessian(files / name, structure)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(24)), cells=st.integers(-2, 2))
def test_any_order_and_any_image(carbide, order, cells):
    stored = StoredHessian(carbide.supercell, carbide.hessian)
    other = carbide.supercell[list(order)]
    other.positions[::2] += cells * other.cell[1]
    rows = (3 * np.array(order)[:, None] + np.arange(3)).ravel()
    assert stored.holds(other)
    assert np.array_equal(stored.of(other), carbide.hessian[rows][:, rows])
    other.numbers[0] = 7
    assert not stored.holds(other)
    with pytest.raises(InvalidStructureError):
        stored.of(other)


def test_fixed_atoms_have_no_sum_rule(tmp_path, carbide):
    held = carbide.supercell.copy()
    held.set_constraint(FixAtoms([0]))
    np.save(tmp_path / "h.npy", carbide.hessian[3:, 3:])
    with pytest.raises(InvalidInputError, match="fixed atoms hold"):
        read_hessian(tmp_path / "h.npy", held, acoustic_sum_rule=True)
