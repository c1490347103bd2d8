"""--format: what structure files are, where their names do not tell."""

from __future__ import annotations

import ase.io
import pytest
from ase.build import bulk


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Silicon as VASP has it, under names that tell nothing."""
    monkeypatch.chdir(tmp_path)
    crystal = bulk("Si", "diamond", a=5.431, cubic=True)
    vacancy = crystal.copy()
    del vacancy[0]
    ase.io.write("one.structure", crystal, format="vasp")
    ase.io.write("two.structure", vacancy, format="vasp")


COMMANDS = [
    "predict si-sw one.structure",
    "make rattle one.structure -o out.xyz -n 1",
    "label one.structure -o out.xyz --calculator sw-si --mesh gamma -j 1 --reference one.structure",
    "formation one.structure --reference one.structure --calculator sw-si --mesh gamma",
    "verify si-sw one.structure --calculator sw-si --reference one.structure --n-sites 1",
    "rate one.structure two.structure --calculator sw-si",
    "events two.structure -o out.xyz --calculator sw-si -n 1",
    "locality two.structure --calculator sw-si",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_formats_are_told(folder, vibent, command):
    result = vibent(*command.split())
    assert result.code == 1
    assert "cannot read it (UnknownFileTypeError" in result.err
    assert "--format" in result.err
    result = vibent(*command.split(), "--format", "vaps")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "ASE knows no 'vaps'; did you mean 'vasp'?" in result.err


@pytest.mark.parametrize("command", COMMANDS[:4])
def test_files_of_a_format(folder, vibent, command):
    result = vibent(*command.split(), "--format", "vasp")
    assert (result.code, result.err) == (0, "")


def test_files_of_another_format(folder, vibent):
    result = vibent(*COMMANDS[0].split(), "--format", "cif")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "one.structure: cannot read it" in result.err
