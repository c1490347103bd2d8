"""Command lines that the package and its README mention: they are what a user types next."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

import pytest
from test_commands import vibent

import ase_vibent
from ase_vibent.cli import COMMANDS, build_parser
from ase_vibent.cli.make import KINDS

PACKAGE = Path(ase_vibent.__file__).parent
README = Path(__file__).parents[2] / "README.md"
#: A command, and what follows it up to the end of the quotation, sentence or line.
MENTION = re.compile(r"(?<![\w.-])vibent ([a-z]+)([^`'\"\n|;(]*)")
#: Between the parts of a string that stands in several lines.
BREAK = re.compile(r"\"\s*\n\s*f?\"")


@cache
def flags(*words: str) -> set[str]:
    return set(re.findall(r"--[a-z-]+", vibent(*words, "--help").out))


def wrong_mentions(text: str) -> list[str]:
    """Those whose command, kind of structure or option there is not."""
    wrong = []
    for command, rest in MENTION.findall(BREAK.sub("", text)):
        kind = re.match(r" ([a-z]+)", rest) if command == "make" else None
        known = command in COMMANDS and (kind is None or kind[1] in KINDS)
        words = (command, *(kind.groups() if kind else ()))
        if not known or not flags(*words).issuperset(re.findall(r"--[a-z-]+", rest)):
            wrong.append(command + rest)
    return wrong


def test_wrong_mentions_are_found():
    text = """
        relax it (vibent make relaxed, or another), see 'vibent lable' and `vibent label --magic`,
        "the same of 'vibent "
        "learned'"; right are vibent.txt, 'vibent make relax', `vibent make` and vibent label -j 3
    """
    found = [mention.split(",")[0] for mention in wrong_mentions(text)]
    assert found == ["make relaxed", "lable", "label --magic", "learned"]


def test_commands_that_are_mentioned_exist():
    files = [README, *PACKAGE.rglob("*.py")]
    assert not {path: wrong for path in files if (wrong := wrong_mentions(path.read_text()))}


def readme_lines() -> list[str]:
    blocks = re.findall(r"^```\n(.*?)^```|^((?:    \S.*\n)+)", README.read_text(), re.M | re.S)
    lines = "\n".join(fenced or indented for fenced, indented in blocks).splitlines()
    return [line.strip() for line in lines if line.strip().startswith("vibent ")]


def test_readme_lists_command_lines():
    assert len(readme_lines()) > 10


@pytest.mark.parametrize("line", readme_lines())
def test_command_lines_of_the_readme_parse(line):
    _, command, *rest = shlex.split(line, comments=True)
    options = build_parser(command).parse_args([command, *rest])
    assert options.command == command


@pytest.mark.parametrize(("typed", "meant"), [("lable", "'label'"), ("rates", "'rate'")])
def test_a_slip_of_the_keys_is_answered_with_the_command(typed, meant):
    result = vibent(typed)
    assert result.code == 2
    assert f"did you mean {meant}?" in result.err
