"""Structures read one by one: the same as ASE's, and no more than is asked for."""

import os
from threading import Thread

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixCartesian
from ase.io.formats import filetype

from ase_vibent.files.frames import iterate_frames


def crystal() -> Atoms:
    atoms = bulk("CdTe", "zincblende", a=6.5, cubic=True) * (2, 1, 1)
    atoms.rattle(0.1, seed=1)
    return atoms


def structures() -> dict[str, Atoms]:
    rng = np.random.default_rng(0)
    made = {name: crystal() for name in ("plain", "rich", "results", "columns", "fixed", "line")}
    made["rich"].set_constraint(FixAtoms([1, 3]))
    made["rich"].set_array("label", np.array(["xy", "b"] * 8))
    made["rich"].set_masses(np.arange(16) + 1.0)
    made["rich"].info["note"] = "hello world"
    made["rich"].pbc = (True, False, True)
    made["results"].calc = SinglePointCalculator(
        made["results"], energy=1.0, forces=rng.random((16, 3)), stress=np.arange(6.0)
    )
    columns = made["columns"]
    columns.set_array("flag", np.arange(16) > 3)
    columns.set_array("flags", rng.random((16, 2)) > 0.5)
    columns.set_array("whole", np.arange(32).reshape(16, 2))
    columns.set_array("wide", rng.random((16, 9)) * 1e-12)
    columns.set_initial_charges(rng.random(16))
    columns.set_initial_magnetic_moments(rng.random(16))
    columns.set_tags(range(16))
    columns.set_momenta(rng.random((16, 3)))
    made["fixed"].set_constraint(FixAtoms([0]))
    made["line"].set_constraint([FixCartesian(0, [True, False, False])])
    return {**made, "molecule": molecule("H2O"), "one": Atoms("Cu", cell=[3, 3, 3], pbc=True)}


def assert_same(found: Atoms, expected: Atoms) -> None:
    np.testing.assert_array_equal(found.numbers, expected.numbers)
    np.testing.assert_array_equal(found.cell.array, expected.cell.array)
    np.testing.assert_array_equal(found.pbc, expected.pbc)
    np.testing.assert_array_equal(found.get_masses(), expected.get_masses())
    assert found.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        if name == "positions":  # image flags are added in another order
            np.testing.assert_allclose(found.positions, array, rtol=0, atol=1e-13)
        else:
            np.testing.assert_array_equal(found.arrays[name], array, err_msg=name)
    assert str(found.info) == str(expected.info)
    assert str(found.constraints) == str(expected.constraints)
    results = [atoms.calc.results if atoms.calc else {} for atoms in (found, expected)]
    assert results[0].keys() == results[1].keys()
    for name, value in results[1].items():
        np.testing.assert_array_equal(results[0][name], value)


def assert_read_alike(path, format_name=None, beside=()) -> None:
    """As ASE does, but for arrays that ASE leaves out."""
    found = list(iterate_frames(path, format_name))
    for atoms in found:
        for name in beside:
            del atoms.arrays[name]
    expected = ase.io.read(path, index=":", format=format_name)
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("name", ["all.xyz", "all.extxyz", "all.xyz.gz", "all.traj"])
def test_trajectories(tmp_path, name):
    frames = [a for kind, a in structures().items() if "traj" not in name or kind != "rich"]
    ase.io.write(tmp_path / name, frames)
    assert_read_alike(tmp_path / name)


@pytest.mark.parametrize("name", structures())
def test_plain_xyz(tmp_path, name):
    ase.io.write(tmp_path / "one.xyz", structures()[name], format="xyz")
    assert_read_alike(tmp_path / "one.xyz")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"masses": True},
        {"masses": True, "velocities": True},
        {"atom_style": "charge", "masses": True},
        {"atom_style": "full"},
        {"masses": True, "write_image_flags": True},
    ],
    ids=str,
)
def test_lammps_data(tmp_path, options):
    atoms = structures()["columns"]
    path = tmp_path / "in.data"
    if "write_image_flags" in options:
        atoms.positions += 7.0
    ase.io.write(path, atoms, format="lammps-data", **options)
    assert_read_alike(path, "lammps-data")
    if options == {"masses": True}:  # in any order, and without a word on the style
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        (*before, title), rows = lines[:-17], lines[-16:]
        text = "\n".join([*before, title.partition("#")[0], "", *rows[::-1], ""])
        path.write_text(text, encoding="utf-8")
        assert_read_alike(path, "lammps-data")


def dump(columns: str, steps: int = 3, box: str = "pp pp ss\n0 13\n0 6.5\n0 6.5") -> str:
    text = "ITEM: UNITS\nmetal\n"
    for step in range(steps):
        atoms = crystal()
        atoms.rattle(0.1, seed=step)
        text += f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n{len(atoms)}\n"
        text += f"ITEM: BOX BOUNDS {box}\nITEM: ATOMS {columns}\n"
        for i in np.random.default_rng(step).permutation(len(atoms)):
            x, y, z = atoms.positions[i].tolist()
            values = {"id": i + 1, "type": 1 + i % 2, "element": atoms[i].symbol}
            values |= dict(zip(["x", "y", "z"], (x, y, z), strict=True))
            values |= dict(zip(["xs", "ys", "zs"], (x / 13, y / 7, z / 7), strict=True))
            values |= {"mass": atoms[i].mass, "vx": 0.1, "vy": x, "vz": y, "c_1": 3.5, "q": z}
            values |= {"i_kind": i, "i2_b[2]": -i}
            words = [values.get(column, x + k) for k, column in enumerate(columns.split())]
            text += " ".join(map(str, words)) + "\n"
    return text


@pytest.mark.parametrize(
    "columns",
    [
        "id type element x y z",
        "element xs ys zs",
        "id mass x y z vx vy vz c_1",
        "mass xsu ysu zsu id type predicted_S i_kind d2_a[1] v_ten f_4[2] i2_b[2] c_1",
        "xu yu zu element q x_of zs mass",
        "id q x y z c_q[1] c_q[2] c_q[3] c_q[4] element",
    ],
)
@pytest.mark.parametrize(
    "box",
    [
        "pp pp ss\n0 13\n0 6\n0 6",
        "pp ff pp\n-4 13\n-1 6\n0 6",
        "xy xz yz pp ff pp\n0 14 1\n0 6 0\n0 6 0",
        "xy xz yz pp pp pp\n-2 14 -1.5\n0.25 6 0.5\n-1 6 -0.75",
        "abc origin pp pp ff\n13 0.5 0 -1\n0 6 1 0\n1 0 6 2",
    ],
)
def test_lammps_dumps(tmp_path, columns, box):
    path = tmp_path / "out.dump"
    path.write_text(dump(columns, box=box), encoding="utf-8")
    assert_read_alike(path, "lammps-dump-text", ["id"] if "id" in columns else [])


@pytest.mark.parametrize("units", ["real", "si", "cgs", "electron", "micro", "nano"])
@pytest.mark.parametrize("axes", ["x y z", "xs ys zs"])
def test_units_of_dumps(tmp_path, units, axes):
    path = tmp_path / "out.dump"
    text = dump(f"element {axes} vx vy vz q fx fy fz").replace("metal", units)
    path.write_text(text, encoding="utf-8")
    frames = list(iterate_frames(path))
    expected = ase.io.read(path, ":", format="lammps-dump-text", units=units)
    for found, other in zip(frames, expected, strict=True):
        del other.calc.results["energy"]
        assert_same(found, other)


def test_units_that_are_none_of_matter(tmp_path):
    path = tmp_path / "out.dump"
    path.write_text(dump("element x y z").replace("metal", "lj"), encoding="utf-8")
    with pytest.raises(ValueError, match="units lj, expected some of"):
        list(iterate_frames(path))


def test_dumps_of_forces_have_no_energy(tmp_path):
    text = dump("id element x y z vx vy vz").replace("vx vy vz", "fx fy fz")
    (tmp_path / "out.dump").write_text(text, encoding="utf-8")
    for atoms in iterate_frames(tmp_path / "out.dump"):
        assert atoms.calc.results.keys() == {"forces"}
        np.testing.assert_array_equal(atoms.arrays["id"], np.arange(16) + 1)


@pytest.mark.parametrize(
    ("name", "said"),
    [(name, said) for name in ("in.xyz", "in.traj", "out.dump") for said in (True, False)]
    + [("in.vasp", True)],  # of which nothing tells the format but its name
)
def test_pipes(tmp_path, name, said):
    """What can be read but once is read as a file is."""
    frames = [crystal(), crystal()]
    path, pipe = tmp_path / name, tmp_path / "pipe"
    if name.endswith("dump"):
        path.write_text(dump("id element x y z"), encoding="utf-8")
    else:
        ase.io.write(path, frames[:1] if "vasp" in name else frames)
    format_name = filetype(str(path))
    os.mkfifo(pipe)
    writer = Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    writer.start()
    found = list(iterate_frames(pipe, format_name if said else None))
    writer.join()
    expected = list(iterate_frames(path))
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


def in_xyz(frames, cut="", instead="") -> str:
    made = [f"2\nProperties=species:S:1:pos:R:3\nSi 0 0 {k}\nSi 1 1 {k}\n" for k in range(frames)]
    made[1] = made[1].replace(cut, instead) if cut else made[1]
    return "".join(made)


BROKEN = {
    "letters for a number": (in_xyz(3, "1 1 1", "1 x 1"), None),
    "a row too short": (in_xyz(3, "1 1 1", "1 1"), None),
    "a row too few": (in_xyz(3, "Si 1 1 1\n", ""), None),
    "a row too many": (in_xyz(3, "Si 1 1 1\n", "Si 1 1 1\nSi 2 2 1\n"), None),
    "no count": (in_xyz(3, "2\n", "two\n"), None),
    "a blank line": (in_xyz(3, "2\n", "\n2\n"), None),
    "an unknown element": (in_xyz(3, "Si 1 1 1", "Xy 1 1 1"), None),
    "cut in a frame": (in_xyz(2)[:-12], None),
    "a dump cut in its rows": (dump("id element x y z", 2)[:-120], "lammps-dump-text"),
    "a dump cut in its head": (
        dump("id element x y z", 1) + "ITEM: TIMESTEP\n5\n",
        "lammps-dump-text",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_frames_before_a_broken_one_are_read(tmp_path, name):
    text, format_name = BROKEN[name]
    path = tmp_path / "broken.xyz"
    path.write_text(text, encoding="utf-8")
    frames = iterate_frames(path, format_name)
    assert len(next(frames)) in (2, 16)
    with pytest.raises(Exception, match=r"\w"):
        list(frames)


@pytest.mark.parametrize("columns", ["id type x y z", "id element", "id element x y"])
def test_dumps_with_missing_columns(tmp_path, columns):
    path = tmp_path / "out.dump"
    path.write_text(dump(columns), encoding="utf-8")
    with pytest.raises(Exception, match="dump has no"):
        list(iterate_frames(path, "lammps-dump-text"))


HEADER = 'Lattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3 pbc="T T T"'
UNUSUAL = {
    "more columns than named": f"2\n{HEADER}\nCu 0 0 0 7\nCu 1 1 1 7\n",
    "comments": f"2\n{HEADER}\nCu 0 0 0 # one\nCu 1 1 1 # two\n",
    "symbols and numbers": f"1\n{HEADER.replace('pos', 'Z:I:1:pos')}\nCu 29 0 0 0\n",
    "positions alone": "1\nProperties=pos:R:3\n0 0 0\n",
    "another word": "1\nmyProperties=3\nCu 0 0 0\n",
}


@pytest.mark.parametrize("case", UNUSUAL)
def test_what_is_unusual_is_left_to_ase(tmp_path, case):
    path = tmp_path / "unusual.xyz"
    path.write_text(UNUSUAL[case], encoding="utf-8")
    assert_read_alike(path)


def test_blank_lines_hide_nothing(tmp_path):
    dump, xyz = tmp_path / "run.lammpstrj", tmp_path / "blank.xyz"
    frame = (
        "ITEM: TIMESTEP\n{}\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp pp\n0 5\n0 5\n0 5\n"
        "ITEM: ATOMS id element x y z\n1 Cu {} 0 0\n"
    )
    dump.write_text(frame.format(0, 1) + "\n" + frame.format(1, 2), encoding="utf-8")
    assert [atoms.positions[0, 0] for atoms in iterate_frames(dump)] == [1, 2]
    xyz.write_text(f"2\n{HEADER}\nCu 0 0 0\n\nCu 1 1 1\n", encoding="utf-8")
    with pytest.raises(Exception, match=r"."):
        list(iterate_frames(xyz))


DATA = "{}\n\n2 atoms\n1 atom types\n0 5 xlo xhi\n0 5 ylo yhi\n0 5 zlo zhi\n\nMasses\n\n1 63.5\n\n"


@pytest.mark.parametrize(
    "text",
    [
        DATA.format("10 atoms in a comment") + "Atoms # atomic\n\n1 1 0 0 0\n2 1 1 1 1\n",
        DATA.format("") + "Atoms # atomic\n\n1 1 0 0 0\n2 1 1 1 1 # last\n",
        DATA.format("") + "Atoms # atomic\n\n1 1 0 0 0 0 0 1\n2 1 1 1 1 0 0 0\n",
    ],
)
def test_data_files_with_comments_and_images(tmp_path, text):
    path = tmp_path / "data.lammps"
    path.write_text(text, encoding="utf-8")
    assert_read_alike(path, "lammps-data")
