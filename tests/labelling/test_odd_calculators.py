"""Calculators that leave the folder, print, exit or hang: each costs its structure at most."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import ase.io
import pytest
from ase.calculators.emt import EMT

from ase_vibent.cli import main
from ase_vibent.errors import InvalidInputError
from ase_vibent.labelling.run import failure_list

#: What is odd is said by the tag of a structure, and done unless the environment forbids it.
ODD = """
import ctypes, os, subprocess, sys
from ase.calculators.emt import EMT

def leave():
    os.makedirs("elsewhere", exist_ok=True)
    os.chdir("elsewhere")

def talk():
    print("said by Python")
    print("said by sys.__stdout__", file=sys.__stdout__)
    ctypes.CDLL(None).printf(b"said by C, into a buffer\\n")
    os.write(1, b"said by the system\\n")
    os.system("echo said by a program")

def interrupt():
    raise KeyboardInterrupt

def cancel():
    raise GeneratorExit

DEEDS = {
    1: leave,
    2: talk,
    3: cancel,
    4: sys.exit,
    5: interrupt,
    6: lambda: ctypes.PyDLL(None).sleep(1000),  # and lets no other thread run
    7: lambda: subprocess.run([sys.executable, "-c", "import time; time.sleep(1001)"]),
}

leave()
print("said while it is imported")

class Odd(EMT):
    def __init__(self):
        super().__init__()
        leave()
        print("said while it is made")

    def calculate(self, atoms=None, *args, **kwargs):
        if "HARMLESS" not in os.environ and atoms[0].tag in DEEDS:
            DEEDS[atoms[0].tag]()
        super().calculate(atoms, *args, **kwargs)
"""


@pytest.mark.parametrize(
    ("words", "failing"),
    [
        (["-j", "1"], {3: "GeneratorExit", 4: "SystemExit"}),
        (
            ["-j", "2", "--time-limit", "6"],
            {3: "GeneratorExit", 4: "SystemExit", 5: "KeyboardInterrupt"}
            | dict.fromkeys([6, 7], "longer than the time limit, 6 s"),
        ),
    ],
)
def test_what_odd_calculators_cost(
    words, failing, tmp_path, small_cell, gamma_task, monkeypatch, assert_labels_of, strict_json
):
    (tmp_path / "odd.py").write_text(ODD, encoding="utf-8")
    cells = [small_cell(tag, tag=tag) for tag in range(max(failing) + 1)]
    ase.io.write(tmp_path / "in.traj", cells)
    command = ["label", "in.traj", "-o", "out.xyz", "--json", "--calculator", "odd:Odd"]
    command += ["--mesh", "gamma", "--labels", "total"]
    code = "import sys; from ase_vibent.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *command, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    result = strict_json(done.stdout)
    assert (result["labelled"], result["failed"]) == (len(cells) - len(failing), len(failing))
    lines = failure_list(tmp_path / "out.xyz").read_text(encoding="utf-8").splitlines()
    listed = {entry["number"]: entry["reason"] for entry in map(json.loads, lines)}
    assert listed.keys() == failing.keys()
    assert all(failing[number] in listed[number] for number in failing)
    said = ("by Python", "by sys.__stdout__", "by C", "by the system", "by a program")
    for what in (*said, "while it is imported", "while it is made"):
        assert f"said {what}" in done.stderr
    assert "leaked" not in done.stderr
    if Path("/proc").is_dir():  # the program went with the process that waited for it
        running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
        assert not [command for command in running if b"time.sleep(1001)" in command]
    # What failed is tried again, in this process, and all labels are those of other runs.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARMLESS", "yes")
    monkeypatch.delitem(sys.modules, "odd", raising=False)
    assert main([*command, "-j", "1"]) == 0
    assert Path.cwd() == tmp_path
    assert {path.name for path in tmp_path.glob("out*")} == {"out.xyz"}
    assert not list(tmp_path.rglob("elsewhere/*"))
    tasks = [gamma_task(cell, labels=["total"]) for cell in cells]
    assert_labels_of(tasks, tmp_path / "out.xyz", calculator_name="odd:Odd")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"time_limit": 0}, "time_limit: expected a number > 0"),
        ({"time_limit": float("nan")}, "time_limit: expected a number > 0"),
        ({"time_limit": 1.0, "scheduler": "tcp://127.0.0.1:1"}, "workers of a cluster"),
    ],
)
def test_time_limits_that_cannot_be_kept(tmp_path, small_cell, gamma_task, run, words, message):
    with pytest.raises(InvalidInputError, match=message):
        run([gamma_task(small_cell(0))], tmp_path / "out.xyz", EMT, **words)
