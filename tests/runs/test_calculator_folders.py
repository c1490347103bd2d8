"""Which calculator a job gets: one for all jobs of a process, as far as that serves."""

from __future__ import annotations

import logging
import os
import pickle
import sys
import warnings
from pathlib import Path

import cloudpickle
import pytest
from ase.calculators.emt import EMT

from ase_vibent.errors import CalculatorError, InvalidStructureError
from ase_vibent.runs.calculator_folders import CalculatorFolders
from ase_vibent.runs.records import JsonLines
from ase_vibent.runs.resumable import resume

# Workers cannot import a test module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Counted(EMT):
    """Knows which of its kind it is, in this process; works on a device that may be told."""

    made = 0

    def __init__(self, device="cpu"):
        super().__init__()
        Counted.made += 1
        self.number, self.device = Counted.made, device


@pytest.fixture(autouse=True)
def anew(monkeypatch):
    monkeypatch.setattr(Counted, "made", 0)


def number_of(job, calculator):
    """Of the calculator, after what the job says."""
    folder = Path(calculator.directory)
    assert folder.is_dir()
    assert not list(folder.iterdir())
    if job == "write":
        (folder / "file").touch()
    if job == "break":
        raise RuntimeError("broken")
    if job == "break at once" and calculator.number == 1:
        raise RuntimeError("broken")
    if job == "fail":
        raise InvalidStructureError("atoms: too few")
    if job == "refuse":
        raise CalculatorError("displacement: noise")
    return calculator.number


def call(folders, jobs):
    return [folders.call(number_of, (number, job)) for number, job in enumerate(jobs)]


@pytest.mark.parametrize(
    ("jobs", "numbers", "made"),
    [
        (["", "", ""], [1, 1, 1], 1),
        (["write", "", "write", ""], [1, 2, 2, 3], 3),
        (["", "fail", "refuse", ""], [1, "too few", "noise", 1], 1),
        (["break", "", ""], ["broken", 2, 2], 2),
        (["", "break", "", ""], [1, "broken", 3, 3], 3),
        (["", "break at once", ""], [1, 2, 2], 2),
    ],
    ids=["same", "files", "refusals", "broken", "broken twice", "cured by a new one"],
)
def test_calculators_of_jobs(jobs, numbers, made, tmp_path):
    results = call(CalculatorFolders(tmp_path / "work", Counted), jobs)
    for result, expected in zip(results, numbers, strict=True):
        if isinstance(expected, str):
            assert expected in str(result)
        else:
            assert result == expected
    assert Counted.made == made


def test_jobs_do_not_see_what_was_calculated_before(tmp_path):
    def calculated(atoms, calculator):
        assert calculator.atoms is None
        assert not calculator.results
        calculator.get_property("energy", atoms)
        return id(calculator)

    from ase.build import bulk

    folders = CalculatorFolders(tmp_path / "work", EMT)
    first, second = (folders.call(calculated, (n, bulk("Cu"))) for n in range(2))
    assert first == second


def test_a_calculator_that_cannot_be_reset(tmp_path):
    class Stubborn(Counted):
        def reset(self):
            raise RuntimeError("never")

    assert call(CalculatorFolders(tmp_path / "work", Stubborn), ["", ""]) == [1, 2]


def test_no_calculator_travels(tmp_path):
    folders = CalculatorFolders(tmp_path / "work", Counted)
    call(folders, [""])
    assert pickle.loads(cloudpickle.dumps(folders))._calculator is None
    assert call(folders, [""]) == [1]


def process_and_number(job, calculator):
    return os.getpid(), calculator.number


def test_one_for_every_process(tmp_path):
    """That a process has just one is also told by what was loaded with it."""
    with resume(None, JsonLines("trial", "number", lambda entry: entry["number"])) as run:
        folders = CalculatorFolders(tmp_path / "work", Counted)
        results = dict(
            run.results(process_and_number, dict.fromkeys(range(8)), folders=folders, n_jobs=2)
        )
    assert not run.failed
    assert len(set(results.values())) == len({process for process, _ in results.values()}) <= 2
    assert os.getpid() not in {process for process, _ in results.values()}


# --- An accelerator ---------------------------------------------------------------------------


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.WARNING, "ase_vibent")
    return lambda: [record.getMessage() for record in caplog.records]


def on_cuda():
    return Counted("cuda:0")


def test_one_process_has_an_accelerator(tmp_path, said):
    """And the calculator that told so."""
    folders = CalculatorFolders(tmp_path / "work", on_cuda)
    assert folders.n_processes(-1) == 1
    assert len(said()) == 1
    assert "works on cuda:0: one process uses it alone" in said()[0]
    assert call(folders, ["", ""]) == [1, 1]


def test_a_wish_to_share_it_is_granted(tmp_path, said):
    folders = CalculatorFolders(tmp_path / "work", on_cuda)
    with pytest.warns(UserWarning, match="n_jobs: 3 processes share cuda:0, each with"):
        assert folders.n_processes(3) == 3
    assert said() == []
    assert folders._calculator is None


def fail():
    raise SystemExit(1)


@pytest.mark.parametrize(
    ("make", "wanted"), [(Counted, -1), (Counted, 4), (on_cuda, 1), (None, -1), (fail, -1)]
)
def test_nothing_is_said_otherwise(make, wanted, tmp_path, said):
    folders = CalculatorFolders(tmp_path / "work", make)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert folders.n_processes(wanted) == wanted
    assert said() == []


def test_a_run_is_alone_on_an_accelerator(tmp_path, said):
    with resume(None, JsonLines("trial", "number", lambda entry: entry["number"])) as run:
        folders = CalculatorFolders(tmp_path / "work", on_cuda)
        jobs = dict.fromkeys(range(3))
        results = dict(run.results(process_and_number, jobs, folders=folders, n_jobs=-1))
    assert set(results.values()) == {(os.getpid(), 1)}
    assert len(said()) == 1
