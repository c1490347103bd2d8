"""Labelling runs on a cluster whose workers die, and with a module of the working folder."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import ase.io
import cloudpickle
import pytest
from ase.calculators.emt import EMT

from ase_vibent import read_labels
from ase_vibent.cli import main

# Workers cannot import a test module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Slow(EMT):
    def calculate(self, *args, **kwargs):
        time.sleep(0.01)
        super().calculate(*args, **kwargs)


def test_killed_worker_of_a_cluster_loses_nothing(
    cluster, tmp_path, small_cell, gamma_task, run, assert_labels_of
):
    jobs = [gamma_task(small_cell(k), labels=["total"]) for k in range(8)]
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


def test_structure_that_kills_workers_of_a_cluster_fails_alone(
    cluster, tmp_path, monkeypatch, small_cell, gamma_task, run, assert_labels_of, hazardous
):
    tasks = [gamma_task(small_cell(k), labels=["total"]) for k in range(3)]
    jobs = [tasks[0], gamma_task(small_cell(9, tag=66)), *tasks[1:]]
    path = tmp_path / "labels.xyz"
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    summary = run(jobs, path, hazardous, scheduler=cluster.scheduler_address)
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
def test_factory_in_the_working_folder(place, request, tmp_path, monkeypatch, capsys, small_cell):
    options = ["-j", "2"]
    if place == "cluster":
        options = ["--scheduler", request.getfixturevalue("cluster").scheduler_address]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_calc", raising=False)
    Path("my_calc.py").write_text(MY_CALC, encoding="utf-8")
    Path("parameters.txt").write_text("mine", encoding="utf-8")
    ase.io.write("in.traj", [small_cell(0), small_cell(1) * (2, 1, 1), small_cell(2)])
    command = ["label", "in.traj", "-o", "out.xyz", "--calculator", "my_calc:make(fail_above=4)"]
    assert main([*command, *options, "--json"]) == 1
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert (result["labelled"], result["found"], result["failed"]) == (2, 0, 1)
    (failure,) = result["failures"]
    assert failure["source"] == "in.traj frame 1"
    assert "too large" in failure["reason"]
    assert "in.traj frame 1" in err
    assert len(read_labels("out.xyz")) == 2
