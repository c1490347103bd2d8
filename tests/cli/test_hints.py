"""Commands that the package and its README mention: they are what a user types next."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import ase_vibent
from ase_vibent.cli import COMMANDS
from ase_vibent.cli.make import KINDS

PACKAGE = Path(ase_vibent.__file__).parent
README = Path(__file__).parents[2] / "README.md"
#: A command, and what follows it up to the end of the quotation, sentence or line.
MENTION = re.compile(r"(?<![\w.-])vibent ([a-z]+)([^`'\"\n|;(]*)")
#: Between the parts of a string that stands in several lines.
BREAK = re.compile(r"\"\s*\n\s*f?\"")


@pytest.fixture(scope="session")
def wrong_mentions(vibent) -> Callable[[str], list[str]]:
    """Finds those whose command, kind of structure or option there is not."""

    def find(text: str) -> list[str]:
        wrong = []
        for command, rest in MENTION.findall(BREAK.sub("", text)):
            kind = re.match(r" ([a-z]+)", rest) if command == "make" else None
            known = command in COMMANDS and (kind is None or kind[1] in KINDS)
            flags = set(re.findall(r"--[a-z-]+", rest))
            if known and flags:
                page = vibent(command, *(kind.groups() if kind else ()), "--help").out
                known = flags.issubset(re.findall(r"--[a-z-]+", page))
            if not known:
                wrong.append(command + rest)
        return wrong

    return find


def test_wrong_mentions_are_found(wrong_mentions):
    text = """
        relax it (vibent make relaxed, or another), see 'vibent lable' and `vibent label --magic`,
        "the same of 'vibent "
        "learned'"; right are vibent.txt, 'vibent make relax', `vibent make` and vibent label -j 3
    """
    found = [mention.split(",")[0] for mention in wrong_mentions(text)]
    assert found == ["make relaxed", "lable", "label --magic", "learned"]


def test_commands_that_are_mentioned_exist(wrong_mentions):
    files = [README, *PACKAGE.rglob("*.py")]
    assert not {
        path: wrong for path in files if (wrong := wrong_mentions(path.read_text(encoding="utf-8")))
    }


@pytest.mark.parametrize(("typed", "meant"), [("lable", "'label'"), ("rates", "'rate'")])
def test_a_slip_of_the_keys_is_answered_with_the_command(vibent, typed, meant):
    result = vibent(typed)
    assert result.code == 2
    assert f"did you mean {meant}?" in result.err


@pytest.mark.parametrize(
    ("words", "meant"),
    [("predict si_sw x.xyz", "si-sw"), ("info CU-EMT", "cu-emt"), ("models fe_am04", "fe-am04")],
)
def test_a_slip_of_the_keys_is_answered_with_the_model(vibent, words, meant):
    result = vibent(*words.split())
    assert result.code == 1
    assert result.err.endswith(f"did you mean '{meant}'?\n")
    assert "did you mean" not in vibent("info", "nonsense").err
