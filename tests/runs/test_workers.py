"""Where labels are made: threads of workers, Dask clusters whose workers die, user modules."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import ase.io
import pytest
from ase.calculators.emt import EMT
from test_run import Hazardous, assert_labels_of, run, small_cell

from ase_vibent import read_labels
from ase_vibent.cli import main
from ase_vibent.errors import InvalidInputError
from ase_vibent.labelling.run import LabelTask
from ase_vibent.runs import workers
from ase_vibent.runs.workers import results_as_completed


@pytest.mark.parametrize("n_jobs", [0, -2])
def test_numbers_of_processes_that_make_no_sense(n_jobs):
    with pytest.raises(InvalidInputError, match="n_jobs"):
        list(results_as_completed(abs, [-1], n_jobs=n_jobs))


def test_function_that_does_not_pickle():
    lock = threading.Lock()
    with pytest.raises(InvalidInputError, match=r"cannot be sent .* one process"):
        list(results_as_completed(lambda x: (lock, x), [1], n_jobs=2))


@pytest.fixture(scope="module")
def cluster():
    """Two workers in processes of their own, whose environment allows two threads."""
    distributed = pytest.importorskip("distributed")
    import dask

    threads = {"OMP_NUM_THREADS": 2, "OPENBLAS_NUM_THREADS": 2, "NUMBA_NUM_THREADS": 2}
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ": threads}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as local,
    ):
        yield local


def n_threads(_) -> list[int]:
    import numba
    import scipy.linalg  # noqa: F401 - with BLAS of its own
    from threadpoolctl import threadpool_info

    return [numba.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())]


@pytest.mark.parametrize("place", ["processes", "cluster"])
def test_workers_use_one_thread(place, request, monkeypatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.setenv(name, "2")
    scheduler = None
    if place == "cluster":
        scheduler = request.getfixturevalue("cluster").scheduler_address
    results = dict(results_as_completed(n_threads, [0, 1], n_jobs=2, scheduler=scheduler))
    for threads in results.values():
        assert len(threads) > 1
        assert set(threads) == {1}
    assert results.keys() == {0, 1}


class Slow(EMT):
    def calculate(self, *args, **kwargs):
        time.sleep(0.01)
        super().calculate(*args, **kwargs)


def test_killed_worker_of_a_cluster_loses_nothing(cluster, tmp_path):
    jobs = [LabelTask(small_cell(k), labels=["total"]) for k in range(8)]
    path = tmp_path / "labels.xyz"

    def kill_a_worker_while_it_works(results, total):
        assert total == len(jobs)
        for count, result in enumerate(results):
            if count == 1:
                os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
            yield result

    summary = run(
        jobs,
        path,
        Slow,
        scheduler=cluster.scheduler_address,
        progress=kill_a_worker_while_it_works,
    )
    assert (summary.done, summary.failed) == (len(jobs), [])
    assert_labels_of(jobs, path)
    assert not list(tmp_path.glob("labels.xyz.*"))


def test_structure_that_kills_workers_of_a_cluster_fails_alone(cluster, tmp_path, monkeypatch):
    tasks = [LabelTask(small_cell(k), labels=["total"]) for k in range(3)]
    jobs = [tasks[0], LabelTask(small_cell(9, tag=66)), *tasks[1:]]
    path = tmp_path / "labels.xyz"
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    summary = run(jobs, path, Hazardous, scheduler=cluster.scheduler_address)
    assert [number for number, _ in summary.failed] == [1]
    assert "died" in summary.failed[0][1]
    assert_labels_of(tasks, path)


MY_CALC = """
from ase.calculators.emt import EMT

def make(fail_above):
    with open("parameters.txt") as file:  # of the folder where the command runs
        assert file.read() == "mine"
    calculator = EMT()
    calculate = calculator.calculate
    def careful(atoms=None, *args, **kwargs):
        if len(atoms) > fail_above:
            raise RuntimeError("too large")
        calculate(atoms, *args, **kwargs)
    calculator.calculate = careful
    return calculator
"""


@pytest.mark.parametrize("place", ["processes", "cluster"])
def test_factory_in_the_working_folder(place, request, tmp_path, monkeypatch, capsys):
    options = ["-j", "2"]
    if place == "cluster":
        options = ["--scheduler", request.getfixturevalue("cluster").scheduler_address]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_calc", raising=False)
    Path("my_calc.py").write_text(MY_CALC)
    Path("parameters.txt").write_text("mine")
    ase.io.write("in.traj", [small_cell(0), small_cell(1) * (2, 1, 1), small_cell(2)])
    command = [
        "label",
        "in.traj",
        "--labels",
        "total",
        "-o",
        "out.xyz",
        "--calculator",
        "my_calc:make(fail_above=4)",
    ]
    assert main([*command, *options, "--json"]) == 1
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert (result["labelled"], result["found"], result["failed"]) == (2, 0, 1)
    (failure,) = result["failures"]
    assert failure["source"] == "in.traj frame 1"
    assert "too large" in failure["reason"]
    assert "in.traj frame 1" in err
    assert len(read_labels("out.xyz")) == 2


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", "foo://x:1", __file__])
def test_scheduler_that_is_none(address, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(workers, "_PATIENCE", 0.2)
    with pytest.raises(InvalidInputError, match="no Dask scheduler answers"):
        list(results_as_completed(abs, [-1], scheduler=address))


def test_cluster_without_dask(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InvalidInputError, match=r"pip install 'ase-vibent\[cluster\]'"):
        list(results_as_completed(abs, [-1], scheduler="tcp://127.0.0.1:1"))
