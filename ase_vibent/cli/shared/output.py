"""Standard output: for results alone, in letters that the terminal knows."""

from __future__ import annotations

import codecs
import ctypes
import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from contextvars import ContextVar
from typing import TextIO

#: Where results go while all else that is printed goes to standard error.
_RESULTS: ContextVar[TextIO | None] = ContextVar("results", default=None)

#: Signs that Unicode does not take apart into ASCII; Greek letters are named.
_SIGNS = {"±": "+-", "×": "x", "·": "*", "∇": "grad ", "∂": "d", "√": "sqrt", "≤": "<=", "≥": ">="}
_SIGNS |= {"−": "-", "–": "-", "—": "-", "→": "->", "ħ": "hbar", "⁄": "/", "≈": "~", "∞": "inf"}
PLAIN = "vibent-plain"


def _plain(error: UnicodeError) -> tuple[str, int]:
    """What stands for letters that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(map(_plain_sign, lacking)), error.end


def _plain_sign(sign: str) -> str:
    parts = "".join(_SIGNS.get(part, part) for part in unicodedata.normalize("NFKD", sign))
    greek = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (\w+)", unicodedata.name(parts[0], ""))
    if greek:
        return greek[2].capitalize() if greek[1] == "CAPITAL" else greek[2].lower()
    return parts.encode("ascii", "ignore").decode() or "?"


codecs.register_error(PLAIN, _plain)


def never_fail_to_encode() -> None:
    """Let this process's terminal get plain signs for those it does not know."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=PLAIN)


@contextmanager
def results_alone(*, until_exit: bool) -> Iterator[None]:
    """Send to standard error what calculators print, in Python or not, here or in workers.

    Parameters
    ----------
    until_exit : bool
        Whether the process ends soon after: what is printed then, is not undone by the end of the
        block.
    """
    results, kept = sys.stdout, None
    with suppress(OSError):  # closed, one or the other
        kept = os.dup(1)
        os.dup2(2, 1)
    if kept is not None and _is_standard_output(results):
        results.flush()
        results = os.fdopen(kept, "w", encoding=results.encoding, errors=PLAIN, closefd=False)
    before = _RESULTS.set(results)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _RESULTS.reset(before)
        if kept is not None and not until_exit:
            with suppress(Exception):  # where there is such a library
                ctypes.CDLL(None).fflush(None)
            os.dup2(kept, 1)
            os.close(kept)


def _is_standard_output(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 1
    except (AttributeError, OSError):  # closed, or a text in memory
        return False


def write_result(text: str) -> None:
    """Print a text to standard output, at once.

    Parameters
    ----------
    text : str
    """
    print(text, file=_RESULTS.get() or sys.stdout, flush=True)
