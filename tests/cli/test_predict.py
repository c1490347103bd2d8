"""`vibent predict` of trajectories: what was computed stays, whatever comes after."""

import os
import subprocess
import sys
import time

import ase.io
import ase.io.ulm
import numpy as np
import pytest
from ase.build import bulk

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


@pytest.mark.parametrize("output", ["out.xyz", "out.traj"])
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


@pytest.mark.parametrize("output", ["out.xyz", "out.traj"])
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

    if output.endswith("traj"):
        monkeypatch.setattr(ulm.Writer, "sync", counted(ulm.Writer.sync))
    else:
        monkeypatch.setattr(
            "ase_vibent.dataset.frame_files.frame_parts",
            lambda atoms: halves_of_frame(atoms, counted),
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


def halves_of_frame(atoms, counted):
    """Parts of a frame, the second of which meets a full disk."""
    from ase_vibent.dataset.frames import frame_parts

    first, *rest = frame_parts(atoms)
    yield first
    yield from counted(lambda: rest)()


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
