"""Slow calculators: a run that was cut short goes on within a structure, and leaves nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ase.calculators.emt import EMT

from ase_vibent import dataset, read_labels
from ase_vibent.hessian import HessianOptions

N_CALLS = 18  # of three free atoms, and two that measure the step


class Slow(EMT):
    """Takes its time by the clock of the test, and is cut short at one of its calls."""

    seconds, cut_at, factor = 2.0, None, 1.0
    clock, calls = 0.0, 0

    def calculate(self, *args, **kwargs):
        if Slow.calls == Slow.cut_at:
            raise KeyboardInterrupt
        super().calculate(*args, **kwargs)
        self.results["forces"] = self.factor * self.results["forces"]
        Slow.calls += 1
        Slow.clock += Slow.seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    for name in ("seconds", "cut_at", "factor", "clock", "calls"):
        monkeypatch.setattr(Slow, name, getattr(Slow, name))
    monkeypatch.setattr("ase_vibent.potentials.pace.perf_counter", lambda: Slow.clock)


@pytest.fixture
def task(small_cell, gamma_task):
    atoms = small_cell(0)
    del atoms[0]
    options = HessianOptions(symmetry=False)
    return gamma_task(atoms, labels=["total"], unstable="any", options=options)


@pytest.fixture
def cut_short(run, tmp_path, monkeypatch):
    """Function (tasks, call) -> runs until then, and counts from 0 again."""

    def label(tasks, call):
        monkeypatch.setattr(Slow, "cut_at", call)
        with pytest.raises(KeyboardInterrupt):
            run(tasks, tmp_path / "labels.xyz", Slow)
        monkeypatch.setattr(Slow, "cut_at", None)
        monkeypatch.setattr(Slow, "calls", 0)
        return sorted((tmp_path / "labels.xyz.displacements").rglob("*.npz"))

    return label


@pytest.mark.parametrize("call", [1, 11, 17])
def test_a_run_goes_on_within_a_structure(call, task, run, cut_short, tmp_path):
    assert len(cut_short([task], call)) == call
    path = tmp_path / "labels.xyz"
    assert run([task], path, Slow).done == 1
    assert Slow.calls == N_CALLS + 2 - call + 1  # one is compared
    assert {one.name for one in tmp_path.iterdir()} == {"labels.xyz"}
    expected = task.run(EMT).info[dataset.ENTROPY]
    assert read_labels(path)[0].info[dataset.ENTROPY] == pytest.approx(expected, rel=1e-9)


def test_fast_calculators_keep_nothing(task, cut_short, monkeypatch):
    monkeypatch.setattr(Slow, "seconds", 0.9)
    assert cut_short([task], 11) == []


def test_each_structure_has_its_own(task, small_cell, run, cut_short, tmp_path):
    """Also where two are the same; what is labelled is gone, what is not yet is kept."""
    tasks = [task, replace(task, atoms=small_cell(1)), task]
    kept = cut_short(tasks, N_CALLS + 2 + 5)
    assert len(kept) == 5
    assert len({path.parent for path in kept}) == 1
    path = tmp_path / "labels.xyz"
    assert (run(tasks, path, Slow).done, Slow.calls) == (2, 26 - 5 + 1 + 20)
    first, _, third = read_labels(path)
    assert first.info[dataset.ENTROPY] == third.info[dataset.ENTROPY]


@pytest.mark.parametrize("change", ["step", "structure", "masses", "name"])
def test_what_belongs_to_others_is_not_taken(change, task, small_cell, run, cut_short, tmp_path):
    cut_short([task], 11)
    other, name = task, "emt"
    if change == "step":
        other = replace(task, options=replace(task.options, displacement=0.02))
    elif change == "name":
        name = "other"
    else:
        atoms = task.atoms.copy()
        atoms.set_masses(atoms.get_masses() * 2) if change == "masses" else atoms.rattle(1e-6)
        other = replace(task, atoms=atoms)
    path = tmp_path / ("other.xyz" if change == "name" else "labels.xyz")
    assert run([other], path, Slow, name).done == 1
    assert Slow.calls == N_CALLS + 2
    # All of the run is done: what nobody will ask for goes, too.
    assert not list(tmp_path.glob(f"{path.name}.*"))


def test_a_calculator_that_changed_is_found_out(task, run, cut_short, tmp_path, monkeypatch):
    cut_short([task], 11)
    monkeypatch.setattr(Slow, "factor", 1.1)
    summary = run([task], tmp_path / "labels.xyz", Slow)
    [(_, reason)] = summary.failed
    assert "labels.xyz.displacements" in reason
    assert "filled by another calculator" in reason
    assert "remove it" in reason
    assert Slow.calls == 1


def test_what_failed_keeps_its_displacements(task, small_cell, run, cut_short, tmp_path):
    """The rest is labelled, and its folders go; the next run goes on with what failed."""
    broken = replace(task, atoms=small_cell(2), unstable=5)
    summary = run([broken, task], tmp_path / "labels.xyz", Slow)
    assert (summary.done, [number for number, _ in summary.failed]) == (1, [0])
    assert len(list((tmp_path / "labels.xyz.displacements").iterdir())) == 1
    before = Slow.calls
    assert run([replace(broken, unstable=0), task], tmp_path / "labels.xyz", Slow).done == 1
    assert Slow.calls == before + 2  # one compared for the Hessian, and one for its step
    assert not (tmp_path / "labels.xyz.displacements").exists()


def test_a_cache_of_the_user_stays(task, run, tmp_path):
    options = replace(task.options, cache=tmp_path / "mine")
    assert run([replace(task, options=options)], tmp_path / "labels.xyz", Slow).done == 1
    assert len(list((tmp_path / "mine").iterdir())) == N_CALLS + 2
    assert not (tmp_path / "labels.xyz.displacements").exists()


def test_a_place_that_cannot_be_written(task, run, tmp_path):
    (tmp_path / "labels.xyz.displacements").write_text("mine", encoding="utf-8")
    summary = run([task], tmp_path / "labels.xyz", Slow)
    [(_, reason)] = summary.failed
    assert "cache: cannot write to" in reason
    assert (tmp_path / "labels.xyz.displacements").read_text(encoding="utf-8") == "mine"


def test_what_a_folder_of_that_name_holds_is_left_alone(task, run, tmp_path):
    folder = tmp_path / "labels.xyz.displacements"
    folder.mkdir()
    (folder / "notes").write_text("mine", encoding="utf-8")
    assert run([task], tmp_path / "labels.xyz", Slow).done == 1
    assert [path.name for path in folder.iterdir()] == ["notes"]
