"""Labels of single structures, labelling runs that fail or are killed, and their files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from ase_vibent import HessianEntropyCalculator, attach_labels, dataset, read_labels, write_labels
from ase_vibent.errors import InvalidInputError, LabelError
from ase_vibent.label_run import LabelTask, label_structures
from ase_vibent.labelling import match_references

#: Blocks for good in the third structure while the environment says so.
BLOCKING_CALCULATOR = """
import os, time
from ase.calculators.emt import EMT

class Blocking(EMT):
    def calculate(self, atoms=None, *args, **kwargs):
        if "BLOCK" in os.environ and atoms[0].tag == 2:
            time.sleep(1000)
        super().calculate(atoms, *args, **kwargs)
"""


class FailsHalfWay(EMT):
    """Fails in the tenth call of a structure whose first atom has tag 13."""

    calls = 0

    def calculate(self, atoms=None, *args, **kwargs):
        self.calls += 1
        if atoms[0].tag == 13 and self.calls > 9:
            raise RuntimeError("no convergence")
        super().calculate(atoms, *args, **kwargs)


def small_cell(seed: int) -> Atoms:
    """Four copper atoms near their sites, tagged by the seed."""
    atoms = bulk("Cu", "fcc", a=3.59, cubic=True)
    atoms.rattle(0.02, seed=seed)
    atoms.set_tags(seed)
    return atoms


def run(tasks, path, calculator=EMT, name="emt", **options):
    return label_structures(tasks, path, calculator, calculator_name=name, **options)


@pytest.fixture
def tasks() -> list[LabelTask]:
    return [LabelTask(small_cell(k), gradient=True, sites=True) for k in range(3)]


def entropies(path) -> list[float]:
    return [atoms.info[dataset.ENTROPY] for atoms in read_labels(path)]


# --- One structure --------------------------------------------------------------------------


def test_attach_labels_writes_the_documented_labels_and_nothing_else(sw):
    atoms = bulk("Si", "diamond", a=5.431, cubic=True)
    atoms.rattle(0.02, seed=1)
    atoms.info["comment"], atoms.calc = "mine", EMT()
    before = atoms.copy()
    reference = HessianEntropyCalculator(sw, temperature=900)
    labelled = attach_labels(atoms, reference, reference="si", gradient=True, strain=True)
    assert isinstance(atoms.calc, EMT)
    assert atoms == before
    assert atoms.info == before.info
    assert atoms.arrays.keys() == before.arrays.keys()
    assert labelled.calc is None
    new_info = {"entropy", "entropy_strain", "n_modes", "n_unstable", "reference"}
    assert labelled.info.keys() - before.info.keys() == {f"vibent_{k}" for k in new_info}
    new_arrays = {"entropies", "site_modes", "entropy_gradient"}
    assert labelled.arrays.keys() - before.arrays.keys() == {f"vibent_{k}" for k in new_arrays}
    # Labels belong to 300 K, whatever the temperature of the calculator.
    judge = HessianEntropyCalculator(sw, temperature=300)
    for name, label in (
        ("entropy", labelled.info["vibent_entropy"]),
        ("entropies", labelled.arrays["vibent_entropies"]),  # one species: decompositions agree
        ("entropy_gradient", labelled.arrays["vibent_entropy_gradient"]),
        ("entropy_strain", labelled.info["vibent_entropy_strain"]),
    ):
        expected = judge.get_property(name, atoms)
        # Cholesky or eigenvalues: 1e-12; gradients divide force differences by 0.01 Å: 1e-9.
        np.testing.assert_allclose(label, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    assert labelled.info["vibent_n_modes"] == 3 * len(atoms) - 3
    assert labelled.info["vibent_n_unstable"] == 0
    assert labelled.arrays["vibent_site_modes"].sum() == pytest.approx(3 * len(atoms) - 3)


def test_perfect_crystal_is_its_own_reference_with_bulk_values(silicon_frames):
    crystal = silicon_frames[0]
    assert crystal.info["vibent_name"] == crystal.info["vibent_reference"] == "si16"
    values = crystal.arrays["vibent_bulk_entropies"]
    # All sites of diamond are equivalent.
    np.testing.assert_allclose(values, values.mean(), rtol=1e-8)
    assert all("vibent_bulk_entropies" not in atoms.arrays for atoms in silicon_frames[1:])


@pytest.mark.parametrize("text", ["1", "1.5", "-2e3", "nan", "inf", "T", "true", "2 2 1", ""])
@pytest.mark.parametrize("argument", ["name", "reference"])
def test_names_that_readers_would_not_keep_as_text_are_refused(text, argument):
    with pytest.raises(InvalidInputError, match=argument):
        attach_labels(small_cell(0), HessianEntropyCalculator(EMT()), **{argument: text})


def test_a_crystal_has_no_other_reference():
    with pytest.raises(InvalidInputError, match="reference"):
        attach_labels(small_cell(0), HessianEntropyCalculator(EMT()), name="a", reference="b")


# --- Many structures ------------------------------------------------------------------------


def test_identical_structures_are_each_labelled(tmp_path, tasks):
    repeated = [tasks[0], tasks[0], tasks[1], tasks[0]]
    path = tmp_path / "labels.xyz"
    assert run(repeated[:2], path).done == 2
    summary = run(repeated, path)
    assert (summary.done, summary.skipped, summary.failed) == (2, 2, [])
    first, second, third, fourth = entropies(path)
    assert first == second == fourth != third


def test_run_cut_off_anywhere_in_the_last_frame_is_completed(tmp_path, tasks):
    whole = tmp_path / "whole.xyz"
    run(tasks, whole)
    text = whole.read_text()
    lengths = [len(dataset.format_frame(atoms)) for atoms in read_labels(whole)]
    assert sum(lengths) == len(text)
    last = sum(lengths[:2])
    # In the count, after it, in the header, in an atom, before the last newline.
    for cut in (last + 1, last + 2, last + 40, len(text) - 30, len(text) - 1):
        path = tmp_path / f"cut{cut}.xyz"
        path.write_text(text[:cut])
        summary = run(tasks, path)
        assert (summary.done, summary.skipped) == (1, 2)
        assert path.read_text() == text


def test_killed_process_is_continued(tmp_path):
    """SIGKILL while the third of four structures is at work."""
    (tmp_path / "blocking.py").write_text(BLOCKING_CALCULATOR)
    structures, labels = tmp_path / "in.traj", tmp_path / "out.xyz"
    ase.io.write(structures, [small_cell(k) for k in range(4)])
    command = [
        sys.executable,
        "-c",
        "import sys; from ase_vibent.cli import main; sys.exit(main())",
    ]
    command += ["label", str(structures), "-o", str(labels), "--calculator", "blocking:Blocking"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    process = subprocess.Popen(
        command, env={**environment, "BLOCK": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        while not labels.exists() or dataset.complete_frames(labels.read_text())[1] < 2:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with labels.open("a") as file:  # and the kill hit a write
        file.write("4\nProperties=spec")
    rerun = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "2 labelled, 2 found" in rerun.stdout
    expected = [attach_labels(small_cell(k), HessianEntropyCalculator(EMT())) for k in range(4)]
    # .traj keeps all digits of the structures.
    assert entropies(labels) == [atoms.info[dataset.ENTROPY] for atoms in expected]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_failures_are_recorded_and_the_rest_goes_on(tmp_path, tasks, n_jobs):
    unstable = small_cell(5)
    unstable.set_cell(unstable.cell * 1.4, scale_atoms=True)
    broken, spoiled = small_cell(13), small_cell(6)
    spoiled.positions[1, 1] = np.nan
    jobs = [tasks[0], *(LabelTask(a) for a in (unstable, broken, spoiled)), tasks[1], tasks[2]]
    path = tmp_path / "labels.xyz"
    for done, skipped in ((3, 0), (0, 3)):  # failures are tried again, successes are not
        summary = run(jobs, path, FailsHalfWay, n_jobs=n_jobs)
        assert (summary.done, summary.skipped) == (done, skipped)
        assert [number for number, _ in summary.failed] == [1, 2, 3]
        reasons = [reason for _, reason in summary.failed]
        assert "unstable modes" in reasons[0]
        assert "no convergence" in reasons[1]
        assert "NaN" in reasons[2]
        assert all("\n" not in reason for reason in reasons)
    # The same labels, whether one process made them or two, in whatever order.
    expected = [task.run(EMT).info[dataset.ENTROPY] for task in tasks]
    np.testing.assert_allclose(sorted(entropies(path)), sorted(expected), rtol=1e-12)


def test_processes_do_not_change_labels(tmp_path, tasks):
    frames = {}
    for n_jobs in (1, 2):
        path = tmp_path / f"{n_jobs}.xyz"
        run(tasks, path, n_jobs=n_jobs)
        frames[n_jobs] = sorted(read_labels(path), key=lambda atoms: atoms.info[dataset.KEY])
    for one, two in zip(*frames.values(), strict=True):
        assert one.info[dataset.KEY] == two.info[dataset.KEY]
        for name in ("vibent_entropies", "vibent_entropy_gradient"):
            # Another number of BLAS threads may sum in another order.
            np.testing.assert_allclose(two.arrays[name], one.arrays[name], rtol=1e-9, atol=1e-14)


def test_a_rerun_that_asks_for_other_things(tmp_path, tasks):
    """Fewer labels are there already; more labels than the file has are refused."""
    path = tmp_path / "labels.xyz"
    run([replace(task, sites=True) for task in tasks], path)
    content = path.read_bytes()
    assert run([replace(task, unstable="any") for task in tasks], path).skipped == len(tasks)
    with pytest.raises(LabelError, match="without vibent_entropy_strain"):
        run([replace(task, strain=True) for task in tasks], path)
    assert path.read_bytes() == content


def test_two_runs_do_not_share_a_file(tmp_path, tasks):
    fcntl = pytest.importorskip("fcntl")
    path = tmp_path / "labels.xyz"
    with open(path, "a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(LabelError, match="another run"):
            run(tasks, path)
    assert run(tasks, path).done == len(tasks)


def test_file_of_another_calculator_is_refused(tmp_path, tasks):
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
def test_foreign_file_is_refused_and_left_alone(tmp_path, tasks, content):
    path = tmp_path / "labels.xyz"
    path.write_bytes(FOREIGN[content])
    try:
        with pytest.raises(LabelError):
            run(tasks, path)
    finally:
        assert path.read_bytes() == FOREIGN[content]


def test_file_damaged_in_the_middle_is_refused_and_left_alone(tmp_path, tasks):
    """Only the last frame can be a kill's work; whole frames after a damage are not cut off."""
    path = tmp_path / "labels.xyz"
    run(tasks, path)
    lines = path.read_text().splitlines(keepends=True)
    damaged = "".join([*lines[:3], *lines[4:]])  # an atom is lost from the first frame
    path.write_text(damaged)
    try:
        with pytest.raises(LabelError):
            run(tasks, path)
    finally:
        assert path.read_text() == damaged


def test_unwritable_place_is_refused(tmp_path, tasks):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "labels.xyz", tmp_path / "none" / "labels.xyz", tmp_path):
        with pytest.raises(LabelError, match="cannot"):
            run(tasks, path)


# --- References -----------------------------------------------------------------------------


def test_references_are_repeated_into_the_cells_of_the_structures():
    unit = bulk("Cu", "fcc", a=3.59, cubic=True)
    vacancies = [unit * (2, 1, 1), unit * (1, 1, 3), unit * (2, 1, 1)]
    for atoms in vacancies:
        del atoms[0]
    crystals = match_references(vacancies, [bulk("Cu", a=3.59), unit])
    assert [len(crystal) for crystal in crystals] == [8, 12, 8]
    assert crystals[0] is crystals[2]
    for crystal, atoms in zip(crystals, vacancies, strict=True):
        np.testing.assert_allclose(crystal.cell.array, atoms.cell.array, atol=1e-12)
        # Every atom of the vacancy cell sits on a site of its crystal.
        for position in atoms.positions:
            assert np.linalg.norm(crystal.positions - position, axis=1).min() < 1e-9


@pytest.mark.parametrize("strain", [1.001, 0.999, (1.001, 1, 1)])
def test_reference_at_another_strain_is_refused(strain):
    unit = bulk("Cu", "fcc", a=3.59, cubic=True)
    strained = unit * (2, 2, 2)
    strained.set_cell(strained.cell.array * np.reshape(strain, (-1, 1)), scale_atoms=True)
    with pytest.raises(LabelError, match=r"structure 1: .*strain"):
        match_references([unit, strained], [unit])


# --- Files ----------------------------------------------------------------------------------


def test_complete_frames_of_text_cut_off_anywhere(tmp_path, tasks):
    frames = [task.run(EMT) for task in tasks]
    texts = [dataset.format_frame(atoms) for atoms in frames]
    whole = "".join(texts)
    ends = np.cumsum([0, *map(len, texts)])
    path = tmp_path / "labels.xyz"
    for cut in range(len(whole) + 1):
        count = int(np.sum(ends <= cut)) - 1
        assert dataset.complete_frames(whole[:cut]) == (whole[: ends[count]], count)
    for cut in (ends[1] + 1, ends[2] - 1, ends[2], len(whole) - 1):
        path.write_text(whole[:cut])
        assert len(read_labels(path)) == np.sum(ends <= cut) - 1


@pytest.mark.parametrize(
    "text", ["", "4\nProperties", "some notes\n", "2\nx\nCu a b c\nCu 1 1 1\n"]
)
def test_reading_what_holds_no_label_is_one_clear_error(tmp_path, text):
    path = tmp_path / "labels.xyz"
    path.write_text(text)
    with pytest.raises(LabelError, match=r"labels\.xyz"):
        read_labels(path)


def test_reading_what_is_no_file(tmp_path):
    for path in (tmp_path / "missing.xyz", tmp_path):
        with pytest.raises(LabelError, match="cannot read"):
            read_labels(path)


@pytest.mark.parametrize("reader", [read_labels, lambda path: ase.io.read(path, index=":")])
def test_labels_round_trip_with_full_precision(silicon, reader, tmp_path):
    rng = np.random.default_rng(8)
    n = len(silicon)
    silicon.rattle(0.1, seed=8)
    silicon.set_cell(silicon.cell.array + rng.uniform(-0.1, 0.1, (3, 3)))
    silicon.set_masses(rng.uniform(20, 40, n))
    silicon.set_initial_magnetic_moments(rng.normal(size=n))
    silicon.set_constraint([FixAtoms([0, 2]), FixAtoms([5])])
    silicon.pbc = [True, False, True]
    silicon.arrays["vibent_entropies"] = rng.normal(size=n) * 1e-9
    silicon.arrays["vibent_entropy_gradient"] = rng.normal(size=(n, 3)) * 1e-9
    silicon.info["vibent_entropy"] = float(rng.normal() * 1e-3)
    silicon.info["vibent_entropy_strain"] = rng.normal(size=(3, 3)) * 1e-9
    silicon.info["vibent_reference"] = "si-2x1x1"
    cluster = Atoms("Si3", positions=rng.normal(size=(3, 3)))
    cluster.info["vibent_entropy"] = 0.1 + 0.2
    path = Path(tmp_path / "labels.xyz")
    write_labels(path, [silicon])
    write_labels(path, [cluster], append=True)
    back, lone = reader(path)
    names = ["numbers", "positions", "masses", "initial_magmoms"]
    for name in [*names, "vibent_entropies", "vibent_entropy_gradient"]:
        np.testing.assert_allclose(back.arrays[name], silicon.arrays[name], rtol=1e-12)
    for name in ("vibent_entropy", "vibent_entropy_strain"):
        np.testing.assert_allclose(back.info[name], silicon.info[name], rtol=1e-12)
    np.testing.assert_allclose(back.cell.array, silicon.cell.array, rtol=1e-12)
    assert back.info["vibent_reference"] == "si-2x1x1"
    assert back.pbc.tolist() == [True, False, True]
    assert sorted(back.constraints[0].index) == [0, 2, 5]
    assert lone.info["vibent_entropy"] == pytest.approx(0.3, rel=1e-12)
    assert lone.cell.rank == 0
    assert not lone.pbc.any()


@pytest.mark.parametrize("text", ["two\nlines", "", 'a "quoted" = sign', "form\ffeed", "Å \u2028"])
def test_text_that_a_structure_carries_never_breaks_the_file(tmp_path, text):
    """Comments of CIF files and columns of PDB files, for instance."""
    first, second = small_cell(0), small_cell(1)
    first.info["comment"] = text
    first.arrays["residuenames"] = np.array([text, "A", "B", "C"])
    first.arrays["vibent_entropies"] = np.arange(4.0)  # stands right of the text
    path = tmp_path / "labels.xyz"
    write_labels(path, [first, second])
    assert dataset.complete_frames(path.read_text())[1] == 2
    back = read_labels(path)
    for atoms, expected in zip(back, (first, second), strict=True):
        np.testing.assert_allclose(atoms.positions, expected.positions, rtol=1e-12)
    assert back[0].arrays["vibent_entropies"].tolist() == [0, 1, 2, 3]
