"""Runs that go on where they stopped: files of frames, of groups of frames, and of lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from ase_vibent import dataset
from ase_vibent.errors import CutRecordWarning, LabelError
from ase_vibent.runs.calculator_folders import CalculatorFolders
from ase_vibent.runs.files import lock
from ase_vibent.runs.records import Frames, JsonLines, format_line
from ase_vibent.runs.resumable import resume

# Workers cannot import a test module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def frame(number: int) -> str:
    atoms = bulk("Cu", "fcc", a=3.59, cubic=True)
    atoms.rattle(0.02, seed=number)
    atoms.info |= {dataset.CALCULATOR: "emt", "number": number, "source": "Größe"}
    return dataset.format_frame(atoms)


def numbers(frames, path) -> list[int]:
    return [int(atoms.info["number"]) for atoms in frames]


@dataclass(frozen=True)
class Kind:
    """A kind of records, three of them as text, and what a reader makes of these."""

    records: Any
    texts: list[str]
    read: list[int]


KINDS = {
    "frames": Kind(Frames("emt", numbers), [frame(k) for k in range(3)], [0, 1, 2]),
    "pairs of frames": Kind(
        Frames("emt", lambda frames, path: numbers(frames, path)[1::2], group=2),
        [frame(2 * k) + frame(2 * k + 1) for k in range(3)],
        [1, 3, 5],
    ),
    "lines": Kind(
        JsonLines("trial", "number", lambda entry: entry["number"]),
        [format_line({"number": k, "text": "two\nlines"}) for k in range(3)],
        [0, 1, 2],
    ),
}


@pytest.fixture(params=KINDS)
def kind(request) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def path(kind, tmp_path) -> Path:
    """File of three records."""
    path = tmp_path / "results"
    path.write_bytes("".join(kind.texts).encode())
    return path


# --- What a kill leaves -----------------------------------------------------------------------


def test_a_finished_file_is_left_untouched(kind, path):
    before = path.read_bytes(), path.stat().st_mtime_ns
    with resume(path, kind.records) as run:
        assert run.finished == kind.read
        assert list(run.results(abs, {})) == []
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert list(path.parent.iterdir()) == [path]


def test_the_record_that_was_cut_off_is_completed(kind, path):
    """Wherever it was, also within a character; those before it stay."""
    whole = path.read_bytes()
    kept = len("".join(kind.texts[:2]).encode())
    cuts = range(kept, len(whole))
    split = [k for k in cuts if whole[k] & 0xC0 == 0x80]
    assert bool(split) == ("Größe" in kind.texts[2])
    for cut in {*cuts[:40], *cuts[::37], *split, cuts[-1]}:
        path.write_bytes(whole[:cut])
        said = (
            pytest.warns(CutRecordWarning, match=r"results\.cut") if cut > kept else nullcontext()
        )
        with said, resume(path, kind.records) as run:
            assert run.finished == kind.read[:2]
            assert path.read_bytes() == whole[:kept]
            run.append(kind.texts[2])
        assert path.read_bytes() == whole
        beside = path.with_name("results.cut")  # what was cut off, run after run
        assert beside.exists() == (cut > kept)
        if cut > kept:
            assert beside.read_bytes() == whole[kept:cut]
            beside.unlink()


def damage_line(text: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join([*lines[:-1], lines[-1][: len(lines[-1]) // 2]])


def lose_line(text: str) -> str:
    return "".join(text.splitlines(keepends=True)[1:])


def count_too_many(text: str) -> str:
    return text.replace("4\n", "400\n", 1)


DAMAGES = [
    ("lines", damage_line),
    *((name, damage) for name in list(KINDS)[:2] for damage in (lose_line, count_too_many)),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
@pytest.mark.parametrize("position", [0, 1])
def test_no_other_record_is_cut(name, damage, position, tmp_path):
    kind = KINDS[name]
    texts = [damage(t) if k == position else t for k, t in enumerate(kind.texts)]
    path = tmp_path / "results"
    path.write_bytes("".join(texts).encode())
    with pytest.raises(LabelError, match="results"), resume(path, kind.records):
        pass
    assert path.read_bytes() == "".join(texts).encode()


@pytest.mark.parametrize("text", ["some notes", '{"other": 1}', '{"other": 1}\n', "\n", "4\n"])
def test_what_is_no_line_of_ours_is_left_alone(text, tmp_path):
    path = tmp_path / "results"
    path.write_text(KINDS["lines"].texts[0] + text, encoding="utf-8")
    before = path.read_bytes()
    with (
        pytest.raises(LabelError, match=r"line 2 is no trial .* another file"),
        resume(path, KINDS["lines"].records),
    ):
        pass
    assert path.read_bytes() == before


# --- One run at a time ------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from ase_vibent.runs.files import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_is_refused(kind, path):
    before = path.read_bytes()
    link = path.with_name("link")
    link.symlink_to(path)
    with resume(path, kind.records):
        for name in (path, link):
            with pytest.raises(LabelError, match="another run is writing to it"):
                resume(name, kind.records).__enter__()
    assert path.read_bytes() == before
    with resume(link, kind.records) as run:
        assert run.finished == kind.read
    assert set(path.parent.iterdir()) == {path, link}


def test_a_killed_run_holds_no_lock(kind, path):
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(LabelError, match="another run is writing to it"):
            resume(path, kind.records).__enter__()
    finally:
        other.kill()
        other.communicate()
    # What the kill left of the lock goes with the next run.
    assert len(list(path.parent.iterdir())) == 2
    with resume(path, kind.records) as run:
        assert run.finished == kind.read
    assert list(path.parent.iterdir()) == [path]


TAKE_TURNS = """
import os, sys
from pathlib import Path
from ase_vibent.errors import LabelError
from ase_vibent.runs.files import lock
path, marker = map(Path, sys.argv[1:])
turns = 0
while turns < 200:
    try:
        with lock(path):
            marker.touch(exist_ok=False)
            marker.unlink()
            turns += 1
    except LabelError:
        pass
"""


def test_runs_that_take_turns_never_meet(tmp_path):
    """Although each removes the lock file that the next may have opened already."""
    path, marker = tmp_path / "results", tmp_path / "marker"
    command = [sys.executable, "-c", TAKE_TURNS, str(path), str(marker)]
    others = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    errors = [process.communicate()[1].decode() for process in others]
    assert errors == ["", "", ""]
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_where_no_lock_can_be(tmp_path):
    (tmp_path / "results.lock").mkdir()
    message = r"results\.lock: cannot write it"
    with pytest.raises(LabelError, match=message), lock(tmp_path / "results"):
        pass


# --- Work -------------------------------------------------------------------------------------


def fail_at_one(job: int) -> int:
    if job == 1:
        raise RuntimeError("not\nthis one")
    return -job


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_failures_are_collected_by_number(n_jobs, tmp_path):
    path = tmp_path / "results"
    with resume(path, KINDS["lines"].records) as run:
        for number, result in run.results(fail_at_one, {7: 0, 3: 1, 5: 2}, n_jobs=n_jobs):
            if number not in run.failed:
                run.append(format_line({"number": result}))
    assert run.failed == {3: "RuntimeError: not this one"}
    assert sorted(json.loads(line)["number"] for line in path.open(encoding="utf-8")) == [-2, 0]


def test_work_that_is_kept_nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with resume(None, KINDS["lines"].records) as run:
        assert dict(run.results(abs, {0: -3})) == {0: 3}
        run.append("nothing")
    assert not os.listdir(tmp_path)


def leave_a_file(job: int, calculator: EMT) -> int:
    (Path(calculator.directory) / "file").touch()
    return fail_at_one(job)


def test_folders_are_tidied_however_a_run_ends(tmp_path):
    path = tmp_path / "results"
    work = tmp_path / "results.work"
    for end in (None, KeyboardInterrupt):
        folders = CalculatorFolders.beside(path, EMT)
        stale = work / "structure-0-stale"
        stale.mkdir(parents=True, exist_ok=True)
        try:
            with resume(path, KINDS["lines"].records) as run:
                for number, _ in run.results(leave_a_file, {4: 0, 6: 1}, folders=folders):
                    assert not stale.exists()
                    # As if a worker had died.
                    (work / f"structure-{number}-x").mkdir(parents=True, exist_ok=True)
                    (work / f"structure-{number}-x" / "file").touch()
                    if end is not None:
                        raise end
        except KeyboardInterrupt:
            assert not work.exists()
        else:
            assert {folder.name.split("-")[1] for folder in work.iterdir()} == {"6"}
            assert f"its files: {work}" in run.failed[6]
        assert not list(tmp_path.glob("*.lock"))
