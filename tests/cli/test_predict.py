"""`vibent predict` of trajectories: what was computed stays, whatever comes after."""

import os
import subprocess
import sys
import time
from importlib import import_module

import ase.io
import ase.io.ulm
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixCartesian, FixedPlane

from ase_vibent import SiteEntropyCalculator, pretrained, read_labels, write_labels
from ase_vibent.model import SiteModel


@pytest.fixture
def frames(rattle):
    crystal = bulk("Si", "diamond", a=5.431, cubic=True)
    return [rattle(crystal, 0.03, seed) for seed in range(4)]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, frames):
    monkeypatch.chdir(tmp_path)
    write_labels("in.xyz", frames)
    return tmp_path


def text_of(frames) -> str:
    write_labels("one.xyz", frames)
    with open("one.xyz", encoding="utf-8") as file:
        return file.read()


def test_every_format_says_the_same(vibent, frames):
    calculator = SiteEntropyCalculator.from_pretrained("si-sw", temperature=500)
    assert vibent("predict", "si-sw", "in.xyz", "-T", 500, "-o", "out.xyz").code == 0
    assert vibent("predict", "si-sw", "in.xyz", "-T", 500, "-o", "out.traj").code == 0
    names = ("entropies", "entropies_std", "entropy_gradient", "extrapolation_grades")
    binary = ase.io.ulm.ulmopen("out.traj")
    found = zip(read_labels("out.xyz"), ase.io.read("out.traj", ":"), binary, strict=True)
    for atoms, (text, trajectory, arrays) in zip(frames, found, strict=True):
        np.testing.assert_array_equal(text.positions, atoms.positions)
        assert trajectory == atoms
        assert text.info["predicted_entropy"] == trajectory.info["predicted_entropy"]
        for name in names:
            expected = calculator.get_property(name, atoms)
            np.testing.assert_allclose(text.arrays[f"predicted_{name}"], expected, rtol=1e-9)
            np.testing.assert_array_equal(
                text.arrays[f"predicted_{name}"], getattr(arrays, f"predicted_{name}")
            )


def test_columns_of_choice(vibent):
    done = vibent("predict", "si-sw", "in.xyz", "-o", "out.xyz", "--columns", "entropies")
    assert (done.code, done.err) == (0, "")
    for atoms in read_labels("out.xyz"):
        assert {name for name in atoms.arrays if "predicted" in name} == {"predicted_entropies"}
        assert atoms.info["predicted_entropy_std"] > 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ("-o out.xyz.gz", ".xyz"),
        ("-o out.xyz --columns entropies masses", "got masses"),
        ("--columns entropies", "-o"),
        ("-o out.npy", ".traj"),
        ("-o out", ".xyz"),
    ],
)
def test_mistakes_are_told_before_the_work(vibent, arguments, word, monkeypatch):
    monkeypatch.setattr(SiteModel, "predict", None)
    done = vibent("predict", "si-sw", "in.xyz", *arguments.split())
    assert (done.code, done.out) == (1, "")
    assert word in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("output", ["out.xyz", "out.traj", "out.dump"])
def test_a_broken_frame_in_the_middle(vibent, frames, output, strict_json):
    text = text_of(frames[:2]) + "8\nProperties=species:S:1:pos:R:3\nSi 0 0\n" + text_of(frames[2:])
    with open("in.xyz", "w", encoding="utf-8") as file:
        file.write(text)
    done = vibent("predict", "si-sw", "in.xyz", "one.xyz", "-o", output, "--json")
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "in.xyz, frame 2: cannot read it" in done.err
    rows = strict_json(done.out)
    assert ["error" in row for row in rows] == [False, False, True, False, False]
    assert len(ase.io.read(output, ":")) == 4


@pytest.mark.parametrize("output", ["out.xyz", "out.traj", "out.lammpstrj"])
@pytest.mark.parametrize("before", [0, 2])
def test_a_full_disk(vibent, monkeypatch, output, before, strict_json):
    from ase.io import ulm

    count = 0

    def counted(write):
        def fails(*arguments, **options):
            nonlocal count
            count += 1
            if count > before:
                raise OSError(28, "No space left on device")
            return write(*arguments, **options)

        return fails

    if output.endswith(".traj"):
        monkeypatch.setattr(ulm.Writer, "sync", counted(ulm.Writer.sync))
    else:
        writer = "dataset.frame_files.frame_parts" if "xyz" in output else "files.dumps._parts"
        module, _, name = f"ase_vibent.{writer}".rpartition(".")
        parts = getattr(import_module(module), name)
        monkeypatch.setattr(
            f"{module}.{name}", lambda *frame: halves_of_frame(parts(*frame), counted)
        )
    with open(output, "w", encoding="utf-8") as file:
        file.write("before")
    done = vibent("predict", "si-sw", "in.xyz", "-o", output, "--json")
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "No space left on device" in done.err
    if before:
        assert len(ase.io.read(output, ":")) == before
        assert f"holds the {before} frames before" in done.err
        assert len(strict_json(done.out)) == before
    else:
        with open(output, encoding="utf-8") as file:
            assert file.read() == "before"
    assert not [name for name in os.listdir() if name.startswith(".vibent")]


def halves_of_frame(parts, counted):
    """Parts of a frame, the second of which meets a full disk."""
    first, *rest = parts
    yield first
    yield from counted(lambda: rest)()


def test_a_dump_says_the_same_by_the_names_of_lammps(vibent):
    """From dump to dump, what LAMMPS knows of its atoms is kept."""
    atoms = ase.io.read("in.xyz")
    atoms.set_array("id", np.array([5, 3, 20, 4, 9, 8, 7, 1]))
    atoms.set_array("type", np.array([2, 2, 1, 2, 2, 2, 1, 2]))
    write_labels("in.xyz", [atoms])
    assert vibent("predict", "si-sw", "in.xyz", "-o", "one.dump").err == ""
    assert vibent("predict", "si-sw", "one.dump", "-o", "TWO.DUMP").err == ""
    assert vibent("predict", "si-sw", "one.dump", "-o", "two.xyz").err == ""
    expected = read_labels("two.xyz")[0]
    order = np.argsort(atoms.arrays["id"])
    np.testing.assert_array_equal(expected.positions, atoms.positions[order])
    for name, unsorted in (("one.dump", order), ("TWO.DUMP", slice(None))):
        with open(name, encoding="utf-8") as file:
            title = next(line for line in file if line.startswith("ITEM: ATOMS")).split()[2:]
            rows = np.array([line.split() for line in file])[unsorted]
        table = dict(zip(title, rows.T, strict=True))
        np.testing.assert_array_equal(table["id"].astype(int), expected.arrays["id"])
        np.testing.assert_array_equal(table["type"].astype(int), expected.arrays["type"])
        for column in ("entropies", "entropies_std", "extrapolation_grades"):
            values = expected.arrays[f"predicted_{column}"]
            np.testing.assert_allclose(table[column].astype(float), values, rtol=1e-9)
        gradient = [table[f"entropy_gradient[{k}]"].astype(float) for k in (1, 2, 3)]
        np.testing.assert_allclose(
            np.transpose(gradient), expected.arrays["predicted_entropy_gradient"], atol=1e-15
        )


@pytest.mark.parametrize(
    ("output", "format_name"),
    [("OUT.XYZ", "extxyz"), ("Out.ExtXYZ", "extxyz"), ("OUT.TRAJ", "traj"), ("O.Dump", None)],
)
def test_case_of_endings(vibent, output, format_name):
    assert vibent("predict", "si-sw", "in.xyz", "-o", output).code == 0
    assert len(ase.io.read(output, ":", format=format_name)) == 4


def full(atoms):
    """With all that a structure can have, and more than any format holds."""
    rng = np.random.default_rng(0)
    atoms = atoms.copy()
    atoms.set_constraint([FixAtoms([0]), FixCartesian([1, 2], [True, False, True])])
    atoms.set_array("words", np.array(list("abcdefgh")))
    atoms.set_array("objects", np.array([{}] * 8))
    atoms.set_array("waves", rng.random(8) * 1j)
    atoms.info |= {7: "seven", ("a", 1): 2, "a\\": 1, "b c": 2, "set": {1, 2}, "note": "hello"}
    results = {"energy": -3.5, "forces": rng.random((8, 3)), "stress": np.arange(6.0)}
    atoms.calc = SinglePointCalculator(atoms, **results, magmoms=rng.random(8))
    atoms.calc.results["own"] = 3.0
    return atoms


def predicted(vibent, monkeypatch, frames, output):
    """Frames that no file of ASE could hold, from file to file; what was said of them."""
    from ase_vibent.cli.shared import files

    monkeypatch.setattr(files, "iterate_frames", lambda *_: iter(frames))
    done = vibent("predict", "si-sw", "in.xyz", "-o", output)
    assert done.code == 0
    return ase.io.read(output, ":"), done.err


@pytest.mark.filterwarnings("default::ase_vibent.errors.LeftOutWarning")
@pytest.mark.parametrize("suffix", ["xyz", "traj"])
def test_constraints_and_results_are_kept(vibent, monkeypatch, frames, suffix):
    atoms = full(frames[0])
    found, said = predicted(vibent, monkeypatch, [atoms, atoms], f"out.{suffix}")
    assert said.count("\n") == 1
    for name in ("'objects'", "'waves'", "'set'", "('a', 1)", "'own'"):
        assert name in said
    for one in found:
        assert one.info["note"] == "hello"
        assert one.calc.results.keys() == {"energy", "forces", "stress", "magmoms"}
        for name, value in one.calc.results.items():
            np.testing.assert_array_equal(value, atoms.calc.results[name])
        np.testing.assert_array_equal(movable(one), movable(atoms))
    if suffix == "xyz":
        assert found[0].info["b c"] == 2
        assert list(found[0].arrays["words"]) == list("abcdefgh")
    else:
        assert ase.io.ulm.ulmopen("out.traj")[1].words == list("abcdefgh")
        assert found[0].info["a\\"] == 1
    for name in ("'words'", "'b c'", "'note'", "Fix"):
        assert name not in said


def movable(atoms):
    """Components of the forces that constraints leave."""
    forces = np.ones((len(atoms), 3))
    for constraint in atoms.constraints:
        constraint.adjust_forces(atoms, forces)
    return forces


@pytest.mark.filterwarnings("default::ase_vibent.errors.LeftOutWarning")
@pytest.mark.parametrize(
    ("output", "lost"),
    [
        ("out.xyz", ["FixedPlane"]),
        ("out.dump", ["FixedPlane", "FixAtoms", "'words'", "'note'", "'energy'", "7"]),
    ],
)
def test_what_a_format_cannot_hold_is_said(vibent, monkeypatch, frames, output, lost):
    atoms = full(frames[0])
    atoms.set_constraint([FixAtoms([0]), FixedPlane(1, (0, 0, 1))])
    found, said = predicted(vibent, monkeypatch, [frames[1], atoms], output)
    assert said.count("\n") == 1
    assert all(name in said for name in lost)
    assert "predicted" not in said
    np.testing.assert_array_equal(
        found[1].get_forces(apply_constraint=False), atoms.get_forces(apply_constraint=False)
    )


def test_structures_from_a_pipe(here):
    command = [sys.executable, "-m", "ase_vibent.cli", "predict", "si-sw", "/dev/stdin"]
    text = (here / "in.xyz").read_text(encoding="utf-8")
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "frame 3" in done.stdout


def test_a_dump_without_elements(vibent):
    text = "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp pp\n"
    text += "0 5\n0 5\n0 5\nITEM: ATOMS id type x y z\n1 1 0 0 0\n"
    with open("out.dump", "w", encoding="utf-8") as file:
        file.write(text)
    done = vibent("predict", "si-sw", "out.dump", "--format", "lammps-dump-text")
    assert (done.code, done.out) == (1, "")
    assert "no column 'element' or 'mass'" in done.err
    assert done.err.count("\n") == 1


def test_frames_are_forgotten(vibent, monkeypatch):
    """Every frame is written before the next one is read."""
    events = []
    from ase_vibent.cli.shared import files
    from ase_vibent.dataset import frame_files

    read, parts = files.iterate_frames, frame_files.frame_parts

    def reading(*arguments):
        for atoms in read(*arguments):
            events.append("read")
            yield atoms

    def writing(atoms):
        events.append("written")
        return parts(atoms)

    monkeypatch.setattr(files, "iterate_frames", reading)
    monkeypatch.setattr(frame_files, "frame_parts", writing)
    assert vibent("predict", pretrained.path("si-sw"), "in.xyz", "-o", "out.xyz").code == 0
    assert events == ["read", "written"] * 4


def test_a_job_that_is_ended_leaves_what_it_has(here, frames):
    """Batch systems say SIGTERM; finished frames are in the file, and the table is shown."""
    write_labels("many.xyz", frames * 400)
    command = [sys.executable, "-m", "ase_vibent.cli", "predict", "si-sw", "many.xyz"]
    with subprocess.Popen(
        [*command, "-o", "out.xyz"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        while not any(path.stat().st_size > 1000 for path in here.glob(".vibent-*.tmp")):
            assert run.poll() is None
            time.sleep(0.02)
        run.terminate()
        table, said = run.communicate()
    assert run.returncode == 1
    assert "interrupted" in said
    assert "Traceback" not in said
    assert "frame 0" in table
    kept = read_labels("out.xyz")
    assert 0 < len(kept) < 1600
    assert not list(here.glob(".vibent-*.tmp"))
