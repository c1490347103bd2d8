"""The README's Python runs as it stands, and its commands are commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from ase_vibent.cli import build_parser
from ase_vibent.structures import rattle

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")


@pytest.fixture
def presupposed(copper_jump, silicon_model, tmp_path) -> dict[str, object]:
    """What its blocks take for granted: copper with a vacancy, EMT and a model of silicon."""
    (tmp_path / "vibent-demo").mkdir()
    silicon_model.save(tmp_path / "vibent-demo" / "si.vibent")
    crystal = bulk("Cu", "fcc", a=3.5898) * 2
    vacancy = crystal[1:]  # its seven atoms are at rest by symmetry
    return {
        "EMT": EMT,
        "my_calculator": EMT(),
        "crystal": crystal,
        "vacancy": vacancy,
        "rattled_and_defective": [*rattle(crystal, 0.1, 2, rng=1), *rattle(vacancy, 0.1, 3, rng=2)],
        "structures": rattle(crystal, 0.1, 2, rng=3),
        "minimum": copper_jump[0],
        "saddle": copper_jump[3],
        "images": copper_jump,
    }


# Cells this small are far from what the models have seen, and too narrow for meshes.
@pytest.mark.filterwarnings("ignore::ase_vibent.errors.NarrowCellWarning")
@pytest.mark.filterwarnings("ignore::ase_vibent.errors.ExtrapolationWarning")
def test_readme_runs(presupposed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    names = dict(presupposed)
    for block in blocks:
        exec(compile(block, README.name, "exec"), names)
    assert len(names["site_entropies"]) == 215
    assert Path("cu.vibent").exists()
    assert names["found"].free_energies.shape == names["rate"].rates.shape == (2,)
    assert np.all(names["profile"].rates > 0)


def test_commands_are_understood():
    commands = re.findall(r"^(?: {4})?vibent (.*)$", TEXT, re.MULTILINE)
    assert len(commands) > 10
    for command in commands:
        words = shlex.split(command, comments=True)
        assert build_parser(words[0]).parse_args(words).command == words[0]
