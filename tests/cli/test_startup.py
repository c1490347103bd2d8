"""Start-up: only the command that is asked for is imported, and only what it needs."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import ase.io
import pytest
from ase.build import bulk

from ase_vibent import __version__, read_labels
from ase_vibent.cli import COMMANDS

#: Takes half a second or more, and none of these commands needs it.
HEAVY = {"torch", "vesin", "scipy.stats", "matplotlib", "phonopy"}
NUMERICAL = HEAVY | {"numpy", "scipy", "ase", "numba"}
CODE = """
import sys
from ase_vibent.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as leaving:
    code = leaving.code
print("\\nexit", code)
print(*sys.modules)
"""


def run(folder: Path, *arguments: str) -> tuple[str, set[str]]:
    """What a command prints in a process of its own, and the modules that it imports."""
    command = [sys.executable, "-c", CODE, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    *printed, modules = done.stdout.splitlines()
    assert printed[-1] == "exit 0", done.stderr
    return "\n".join(printed[:-1]), set(modules.split())


@pytest.mark.parametrize(
    ("line", "unwanted"),
    [
        ("--version", NUMERICAL),
        ("--help", NUMERICAL),
        ("make --help", HEAVY),
        ("make vacancies si.cif -o out.xyz --repeat 2 2 2", HEAVY),
        ("make strain si.cif -o out.xyz", HEAVY),
        ("make rattle si.cif -o out.xyz", HEAVY),
        ("info si-sw", HEAVY),
        ("models", HEAVY),
    ],
)
def test_commands_import_what_they_need(tmp_path, line, unwanted):
    ase.io.write(tmp_path / "si.cif", bulk("Si", "diamond", a=5.431, cubic=True))
    printed, modules = run(tmp_path, *line.split())
    assert printed
    assert unwanted.isdisjoint(modules)
    others = {f"ase_vibent.cli.{name}" for name in COMMANDS} - {f"ase_vibent.cli.{line.split()[0]}"}
    assert others.isdisjoint(modules)


@pytest.mark.parametrize(("as_module", "processes"), [(True, "1"), (False, "2")])
def test_modules_of_the_working_folder_hide_none(tmp_path, as_module, processes):
    """A calculator is found there, and a file that happens to be called tqdm.py is left alone."""
    for name in ("tqdm", "numba", "threadpoolctl", "cloudpickle", "joblib", "filelock"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')", encoding="utf-8")
    potential = "from ase.calculators.emt import EMT as Potential"
    (tmp_path / "mine.py").write_text(potential, encoding="utf-8")
    ase.io.write(tmp_path / "in.xyz", [bulk("Cu", cubic=True)] * 2)
    command = [sys.executable, "-m", "ase_vibent.cli"]
    if not as_module:  # an installed script, of which Python puts the folder first
        for name in ("multiprocessing", "pickle", "json"):  # nor does that hide Python's own
            (tmp_path / f"{name}.py").write_text("raise SystemExit('nor this')", encoding="utf-8")
        script = tmp_path / "bin" / "vibent"
        script.parent.mkdir()
        script.write_text(
            "import sys; from ase_vibent.cli import main; sys.exit(main())", encoding="utf-8"
        )
        command = [sys.executable, str(script)]
    command += ["label", "in.xyz", "-o", "out.xyz", "--mesh", "gamma"]
    command += ["--calculator", "mine:Potential", "--labels", "total", "-j", processes]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(read_labels(tmp_path / "out.xyz")) == 2


def test_help_lists_all_commands(tmp_path):
    printed, _ = run(tmp_path, "--help")
    text = " ".join(printed.split())
    assert all(f"{name} {what}" in text for name, what in COMMANDS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_one_file(name):
    module = import_module(f"ase_vibent.cli.{name}")
    assert callable(module.add_arguments)
    assert callable(module.run)


def test_runs_as_a_module(tmp_path):
    command = [sys.executable, "-m", "ase_vibent.cli", "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"vibent {__version__}\n"
