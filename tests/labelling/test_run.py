"""Labelling runs: resumed, in parallel, and whatever may kill them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import ase.io
import cloudpickle
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, FileIOCalculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.mixing import SumCalculator

from ase_vibent import (
    HessianEntropyCalculator,
    attach_labels,
    dataset,
    read_labels,
    write_labels,
)
from ase_vibent.cli import main
from ase_vibent.errors import LabelError
from ase_vibent.hessian import HessianOptions
from ase_vibent.labelling.run import LabelTask, failure_list, labelled_frames
from ase_vibent.potentials import set_directory
from ase_vibent.training.training_set import TrainingSet


@pytest.fixture
def tasks(small_cell, gamma_task) -> list[LabelTask]:
    return [gamma_task(small_cell(k)) for k in range(3)]


def entropies(path) -> list[float]:
    return [atoms.info[dataset.ENTROPY] for atoms in read_labels(path)]


# --- Resumed --------------------------------------------------------------------------------


def test_identical_structures_are_each_labelled(tmp_path, tasks, run):
    repeated = [tasks[0], tasks[0], tasks[1], tasks[0]]
    path = tmp_path / "labels.xyz"
    assert run(repeated[:2], path).done == 2
    summary = run(repeated, path)
    assert (summary.done, summary.skipped, summary.failed) == (2, 2, [])
    first, second, third, fourth = entropies(path)
    assert first == second == fourth != third


@pytest.mark.filterwarnings("ignore::ase_vibent.errors.CutRecordWarning")
def test_run_cut_off_anywhere_in_the_last_frame_is_completed(tmp_path, tasks, run):
    whole = tmp_path / "whole.xyz"
    run(tasks, whole)
    text = whole.read_text(encoding="utf-8")
    lengths = [len(dataset.format_frame(atoms)) for atoms in read_labels(whole)]
    assert sum(lengths) == len(text)
    last = sum(lengths[:2])
    # In the count, after it, in the header, in an atom, before the last newline.
    for cut in (last + 1, last + 2, last + 40, len(text) - 30, len(text) - 1):
        path = tmp_path / f"cut{cut}.xyz"
        path.write_text(text[:cut], encoding="utf-8")
        summary = run(tasks, path)
        assert (summary.done, summary.skipped) == (1, 2)
        assert path.read_text(encoding="utf-8") == text


def test_failures_are_recorded_and_the_rest_goes_on(
    tmp_path, tasks, small_cell, gamma_task, run, assert_labels_of, hazardous
):
    unstable = small_cell(5)
    unstable.set_cell(unstable.cell * 1.4, scale_atoms=True)
    broken, spoiled = small_cell(13, tag=13), small_cell(6)
    spoiled.positions[1, 1] = np.nan
    unprintable = small_cell(7)
    unprintable.info[1] = 2
    failing = [
        gamma_task(a, labels=["total"], source="bad")
        for a in (unstable, broken, spoiled, unprintable)
    ]
    jobs = [tasks[0], *failing, tasks[1], tasks[2]]
    path = tmp_path / "labels.xyz"
    for done, skipped in ((3, 0), (0, 3)):  # failures are tried again, successes are not
        summary = run(jobs, path, hazardous)
        assert (summary.done, summary.skipped) == (done, skipped)
        assert [number for number, _ in summary.failed] == [1, 2, 3, 4]
        reasons = [reason for _, reason in summary.failed]
        for reason, part in zip(
            reasons, ("unstable modes", "no convergence", "NaN", "int"), strict=True
        ):
            assert part in reason
        listed = [
            json.loads(line) for line in failure_list(path).read_text(encoding="utf-8").splitlines()
        ]
        assert [(entry["number"], entry["reason"]) for entry in listed] == summary.failed
        assert {entry["source"] for entry in listed} == {"bad"}
    assert_labels_of(tasks, path)
    run(tasks, path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_rerun_that_asks_for_other_things(tmp_path, tasks, run):
    """Fewer labels are there already; more labels than the file has are refused."""
    path = tmp_path / "labels.xyz"
    run(tasks, path)
    content = path.read_bytes()
    assert run(
        [replace(task, labels=["sites"], unstable="any") for task in tasks], path
    ).skipped == len(tasks)
    with pytest.raises(LabelError, match="without the label 'strain'"):
        run([replace(task, labels=["strain"]) for task in tasks], path)
    assert path.read_bytes() == content


def test_two_runs_do_not_share_a_file(tmp_path, tasks, run):
    path = tmp_path / "labels.xyz"

    def beside_another(results, total):
        with pytest.raises(LabelError, match="another run"):
            run(tasks, path)
        yield from results

    assert run(tasks, path, progress=beside_another).done == len(tasks)
    assert list(tmp_path.iterdir()) == [path]


def test_file_of_another_calculator_is_refused(tmp_path, tasks, run):
    path = tmp_path / "labels.xyz"
    run(tasks[:1], path)
    before = path.read_bytes()
    with pytest.raises(LabelError, match="'emt', not 'other'"):
        run(tasks, path, name="other")
    assert path.read_bytes() == before


FOREIGN = {
    "notes": b"Results of Tuesday\n42\n",
    "number": b"42\nis the answer\n",
    "empty frame": b"0\n\n",
    "xyz": b"1\ncomment\nCu 0 0 0\n",
    "xyz without a last newline": b"1\ncomment\nCu 0 0 0",
    "xyz with a blank line": b"1\ncomment\nCu 0 0 0\n\n1\ncomment\nCu 0 0 0\n",
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("content", FOREIGN)
def test_foreign_file_is_refused_and_left_alone(tmp_path, tasks, content, run):
    path = tmp_path / "labels.xyz"
    path.write_bytes(FOREIGN[content])
    try:
        with pytest.raises(LabelError):
            run(tasks, path)
    finally:
        assert path.read_bytes() == FOREIGN[content]


def test_file_damaged_in_the_middle_is_refused_and_left_alone(tmp_path, tasks, run):
    """Only the last frame can be a kill's work; whole frames after a damage are not cut off."""
    path = tmp_path / "labels.xyz"
    run(tasks, path)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    damaged = "".join([*lines[:3], *lines[4:]])  # an atom is lost from the first frame
    path.write_text(damaged, encoding="utf-8")
    try:
        with pytest.raises(LabelError):
            run(tasks, path)
    finally:
        assert path.read_text(encoding="utf-8") == damaged


def test_unwritable_place_is_refused(tmp_path, tasks, run):
    (tmp_path / "file").write_text("", encoding="utf-8")
    for path in (tmp_path / "file" / "labels.xyz", tmp_path / "none" / "labels.xyz", tmp_path):
        with pytest.raises(LabelError, match="cannot"):
            run(tasks, path)


# --- In parallel ----------------------------------------------------------------------------

BLOCKING_CALCULATOR = """
import os, time
from pathlib import Path
from ase.calculators.emt import EMT

class Blocking(EMT):
    def calculate(self, atoms=None, *args, **kwargs):
        if "BLOCK" in os.environ and atoms[0].tag == 2:
            Path(os.environ["BLOCK"]).write_text(str(os.getpid()))
            time.sleep(1000)
        super().calculate(atoms, *args, **kwargs)
"""


def wait_until(condition, process=None):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        assert process is None or process.poll() is None, process.stderr.read()
        time.sleep(0.05)


@pytest.mark.filterwarnings("ignore::ase_vibent.errors.CutRecordWarning")
def test_killed_run_is_continued(tmp_path, monkeypatch, capsys, small_cell):
    """SIGKILL while the third of four structures is at work in a process of its own."""
    (tmp_path / "blocking.py").write_text(BLOCKING_CALCULATOR, encoding="utf-8")
    structures, labels, blocked = (tmp_path / name for name in ("in.traj", "out.xyz", "blocked"))
    cells = [small_cell(k, tag=k) for k in range(4)]
    ase.io.write(structures, cells)
    label = ["label", str(structures), "-o", str(labels), "--calculator", "blocking:Blocking"]
    label += ["--mesh", "gamma"]
    program = "import sys; from ase_vibent.cli import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", program, *label, "-j", "2"],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "BLOCK": str(blocked)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        wait_until(
            lambda: (
                blocked.exists()
                and labels.exists()
                and dataset.complete_frames(labels.read_text(encoding="utf-8"))[1] == 3
            ),
            process,
        )
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    if (proc := Path("/proc")).is_dir():  # the worker does not outlive the run
        worker = proc / blocked.read_text(encoding="utf-8") / "cmdline"
        wait_until(lambda: not worker.exists() or not worker.read_bytes())
    with labels.open("a", encoding="utf-8") as file:  # and the kill hit a write
        file.write("4\nProperties=spec")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main([*label, "-j", "1"]) == 0
    assert "1 labelled, 3 found" in capsys.readouterr().out
    expected = [attach_labels(a, HessianEntropyCalculator(EMT(), mesh="gamma")) for a in cells]
    # .traj keeps all digits of the structures.
    np.testing.assert_allclose(
        sorted(entropies(labels)), sorted(a.info[dataset.ENTROPY] for a in expected), rtol=1e-9
    )
    assert [path.name for path in tmp_path.glob("out.xyz.*")] == ["out.xyz.cut"]


def test_structure_that_kills_its_process_fails_alone(
    tmp_path, tasks, small_cell, gamma_task, run, assert_labels_of, hazardous
):
    once = small_cell(8, tag=67)
    once.info["marker"] = str(tmp_path / "marker")
    unsendable = small_cell(10)
    unsendable.info["lock"] = threading.Lock()
    jobs = [
        *tasks[:2],
        gamma_task(small_cell(9, tag=66)),
        gamma_task(once, labels=["total"]),
        tasks[2],
    ]
    jobs.append(gamma_task(unsendable, labels=["total"]))
    path = tmp_path / "labels.xyz"
    summary = run(jobs, path, hazardous, n_jobs=2)
    assert summary.done == 4
    assert [number for number, _ in summary.failed] == [2, 5]
    assert "SIGKILL" in summary.failed[0][1]
    assert "lock" in summary.failed[1][1]
    assert_labels_of([*tasks, jobs[3]], path)


def test_full_disk_leaves_whole_frames(tmp_path, tasks, run, assert_labels_of):
    resource = pytest.importorskip("resource")
    path = tmp_path / "labels.xyz"
    run(tasks[:1], path)
    first = path.read_bytes()
    path.unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(1.5 * len(first)), hard))
    try:
        with pytest.raises(LabelError, match=r"labels\.xyz: cannot write it .* run again"):
            run(tasks, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == first
    summary = run(tasks, path)
    assert (summary.done, summary.skipped) == (2, 1)
    assert_labels_of(tasks, path)


# --- Calculators with files -----------------------------------------------------------------

#: Springs between all atoms; knows one file in and one out, and one run at a time in a folder.
PROGRAM = """
import os, sys
os.mkdir("busy")
rows = [list(map(float, line.split())) for line in open("in.txt")]
if len(rows) == 4:
    sys.exit("four atoms are too many")
energy, forces = 0.0, []
for a in rows:
    force = [0.0, 0.0, 0.0]
    for b in rows:
        d = [q - p for p, q in zip(a, b)]
        r = sum(x * x for x in d) ** 0.5
        energy += (r - 2) ** 2 / 4
        if r:
            force = [f + (r - 2) * x / r for f, x in zip(force, d)]
    forces.append(force)
with open("out.txt", "w") as file:
    print(energy, *(x for f in forces for x in f), file=file)
os.rmdir("busy")
"""


class Springs(Calculator):
    """The same in memory."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - the name is ASE's

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        vectors = atoms.positions[None] - atoms.positions[:, None]
        lengths = np.linalg.norm(vectors, axis=-1) + np.eye(len(atoms))
        stretch = (lengths - 2) * (1 - np.eye(len(atoms)))
        self.results["energy"] = float((stretch**2).sum() / 4)
        self.results["forces"] = np.einsum("ij,ijx->ix", stretch / lengths, vectors)


# Workers cannot import a test module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class FileSprings(FileIOCalculator):
    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - the name is ASE's

    def __init__(self, program):
        super().__init__(command=f"{sys.executable} -I -S {program}")

    def write_input(self, atoms, properties=None, system_changes=None):
        super().write_input(atoms, properties, system_changes)
        np.savetxt(Path(self.directory) / "in.txt", atoms.positions, fmt="%.17g")

    def read_results(self):
        energy, *forces = np.loadtxt(Path(self.directory) / "out.txt")
        self.results = {"energy": energy, "forces": np.reshape(forces, (-1, 3))}


def test_calculators_with_files_work_in_folders_of_their_own(tmp_path, run, assert_labels_of):
    program = tmp_path / "springs.py"
    program.write_text(PROGRAM, encoding="utf-8")
    rng = np.random.default_rng(3)
    triangle = np.array([[0, 0, 0], [2, 0, 0], [1, np.sqrt(3), 0]])
    good = [
        LabelTask(
            Atoms("Cu3", triangle + rng.uniform(-0.02, 0.02, (3, 3))),
            labels=["total"],
            unstable="any",
        )
        for _ in range(4)
    ]
    failing = LabelTask(Atoms("Cu4", rng.normal(size=(4, 3))), labels=["total"])
    jobs = [*good[:2], failing, *good[2:]]
    path = tmp_path / "labels.xyz"
    summary = run(jobs, path, lambda: FileSprings(program), n_jobs=2)
    assert [number for number, _ in summary.failed] == [2]
    assert_labels_of(good, path, Springs)
    # Only what the failed structure left is there, and the reason says where.
    (folder,) = Path(f"{path}.work").iterdir()
    assert f"its files: {folder}" in summary.failed[0][1]
    assert len((folder / "in.txt").read_text(encoding="utf-8").splitlines()) == 4


def test_every_kind_of_calculator_is_given_its_folder(tmp_path):
    from ase.calculators.espresso import Espresso, EspressoProfile

    espresso = Espresso(profile=EspressoProfile("pw.x", pseudo_dir=tmp_path))
    springs = FileSprings("springs.py")
    set_directory(SumCalculator([espresso, springs]), tmp_path)
    assert espresso.directory == tmp_path / "0"  # GenericFileIOCalculator works with a Path
    assert springs.directory == str(tmp_path / "1")  # Calculator with a text


# --- What makes two labels the same work --------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"displacement": 0.05},
        {"method": "finite-differences"},
        {"interaction_range": 7.0},
        {"symmetry": False},
    ],
)
def test_labels_of_other_options_are_other_labels(tmp_path, small_cell, gamma_task, run, options):
    path = tmp_path / "labels.xyz"
    tasks = [
        gamma_task(small_cell(0), labels=["total"], options=own)
        for own in (HessianOptions(), HessianOptions(**options))
    ]
    assert len({task.key("emt") for task in tasks}) == 2
    for task in tasks:
        assert (run([task], path).done, run([task], path).skipped) == (1, 1)
    frames = labelled_frames(tasks, path, "emt")
    for name in options:
        values = [atoms.info.get(f"vibent_{name}") for atoms in frames]
        assert values == [task.options.decisive.get(name) for task in tasks]
    entropies = [atoms.info[dataset.ENTROPY] for atoms in frames]
    assert entropies[1] == pytest.approx(tasks[1].run(EMT()).info[dataset.ENTROPY], rel=1e-9)
    if "displacement" in options:
        assert abs(entropies[0] - entropies[1]) > 1e-6
        with pytest.raises(LabelError, match=r"displacements of 0\.05 Å, others of auto Å"):
            TrainingSet.of(frames)


def test_a_cache_makes_no_other_label(tmp_path, small_cell, gamma_task):
    keys = {
        gamma_task(small_cell(0), options=HessianOptions(cache=cache)).key("emt")
        for cache in (None, tmp_path)
    }
    assert len(keys) == 1


@pytest.mark.parametrize("name", ["tags", "initial_charges", "type"])
def test_all_that_a_calculator_sees_is_in_the_key(small_cell, gamma_task, name):
    atoms = small_cell(0)
    before = gamma_task(atoms).key("emt")
    atoms.arrays[name] = np.zeros(4)
    assert gamma_task(atoms).key("emt") == before
    atoms.arrays[name] = np.arange(4.0)
    assert gamma_task(atoms).key("emt") != before


def test_a_key_does_not_hide_another_structure(tmp_path, small_cell, gamma_task, run):
    path = tmp_path / "labels.xyz"
    task = gamma_task(small_cell(0), labels=["total"])
    run([task], path)
    (frame,) = read_labels(path)
    frame.positions[1, 2] += 0.1
    write_labels(path, [frame])
    before = path.read_bytes()
    with pytest.raises(LabelError, match="vibent_key of a structure holds another one"):
        run([task], path)
    assert path.read_bytes() == before
