"""Text files are UTF-8, whatever the machine's locale."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import ase_vibent

PACKAGE = Path(ase_vibent.__file__).parent
TESTS = Path(__file__).parent
#: Position of the mode among the arguments of what opens a file.
MODES = {
    "open": 1,
    ".open": 0,
    ".read_text": None,
    ".write_text": None,
    "fdopen": 1,
    "open_with_compression": 1,  # of ASE
}


def texts_of_unknown_encoding(source: str) -> Iterator[int]:
    """Lines of calls that open, read or write a text and leave its encoding to the locale."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = getattr(function, "id", None)
        if isinstance(function, ast.Attribute):
            name = "fdopen" if function.attr == "fdopen" else f".{function.attr}"
            if ast.unparse(function) == "os.open":
                continue
        if name not in MODES or any(word.arg == "encoding" for word in node.keywords):
            continue
        place = MODES[name]
        modes = [word.value for word in node.keywords if word.arg == "mode"]
        # Of modules, as of `gzip`, the second one.
        modes += [] if place is None else node.args[place : place + 2]
        if not any("b" in ast.unparse(mode) for mode in modes):
            yield node.lineno


def test_what_is_found():
    source = """
open("a"); open("a", "w"); path.read_text(); path.write_text("x"); path.open(); os.fdopen(3, "w")
open("a", "rb"); path.open("ab"); os.open("a", 0); open("a", mode="wb"); os.fdopen(3, "w+b")
open_with_compression("a", "r")
open_with_compression("a", "rb")
open("a", encoding="utf-8"); path.read_text(encoding="utf-8"); write_text("a", "x")
"""
    assert list(texts_of_unknown_encoding(source)) == [2] * 6 + [4]


def test_every_text_file_is_utf8():
    root = TESTS.parent
    folders = [PACKAGE, *(root / name for name in ("tests", "examples", "benchmarks", ".ci"))]
    found = {
        f"{path.relative_to(folder.parent)}:{line}"
        for folder in folders
        for path in folder.rglob("*.py")
        for line in texts_of_unknown_encoding(path.read_text(encoding="utf-8"))
    }
    assert not found
