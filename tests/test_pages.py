"""What README and the pages of the documentation show runs, and prints what they say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from ase_vibent.cli import build_parser, main
from ase_vibent.structures import rattle

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
BLOCK = re.compile(r"^```(python|text)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: Their Python needs nothing but what stands above it on the page.
ALONE = ("README", "start", "thermal-expansion")
#: Theirs needs files, models or programs of others.
OTHERS = ("export", "infinite-crystal", "lammps", "machine-learned-potentials", "phonon-results")


def blocks(page: Path, kind: str) -> list[str]:
    """Code of one kind, in order; what a shell gets has no kind."""
    return [text for name, text in BLOCK.findall(page.read_text(encoding="utf-8")) if name == kind]


@pytest.mark.parametrize("name", ALONE)
def test_code_prints_what_is_said(name, tmp_path, monkeypatch, capsys):
    page = ROOT / "README.md" if name == "README" else ROOT / "docs" / f"{name}.md"
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in blocks(page, "python"):
        exec(compile(code, page.name, "exec"), names)
    assert capsys.readouterr().out == "".join(blocks(page, "text"))
    for command in commands(page):  # on the files that the Python has written
        words = shlex.split(command, comments=True)
        assert main(words) == 0, command


@pytest.fixture
def presupposed(copper_jump) -> dict[str, object]:
    """What pages take for granted: copper with a vacancy, and EMT."""
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
def test_code_of_other_pages_runs(presupposed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = set()
    for page in PAGES:
        if page.stem not in (*ALONE, *OTHERS):
            names = dict(presupposed)
            for code in blocks(page, "python"):
                exec(compile(code, page.name, "exec"), names)
                done.add(page.stem)
            if page.stem == "defects":
                assert names["found"].free_energies.shape == (2,)
            if page.stem == "rates":
                assert np.all(names["profile"].rates > 0)
    assert {"defects", "label", "rates", "train"} <= done


def commands(page: Path) -> list[str]:
    """What a page tells a shell of `vibent`."""
    lines = "".join(blocks(page, "")).splitlines()
    return [line.removeprefix("vibent ") for line in lines if line.startswith("vibent ")]


def test_commands_are_understood():
    found = [command for page in PAGES for command in commands(page)]
    assert len(found) > 30
    for command in found:
        words = shlex.split(command, comments=True)
        assert build_parser(words[0]).parse_args(words).command == words[0]
