"""Compiled functions: numba, cached on disk where there is a place to cache."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.extending import overload

Function = TypeVar("Function", bound=Callable[..., Any])


#: Of this package: module, and names where they are on one line (modules among them).
_IMPORT = re.compile(r"^\s*(?:from|import) (ase_vibent[\w.]*)(?: import (.*))?", re.MULTILINE)

# NaN must stay NaN: only reordering and fused operations are allowed.
_FASTMATH = {"reassoc", "contract", "nsz", "arcp"}


@cache
def _digest_of_sources() -> bytes:
    """Digest of all files that machine code may be made of.

    Those that import this room, and all that they import in turn, functions and constants alike,
    wherever they live.
    """
    package = Path(__file__).parents[1]
    sources = {path: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    imported = {path: _imported_files(text, package) for path, text in sources.items()}
    room = Path(__file__).parent
    found = {path for path in sources if any(file.parent == room for file in imported[path])}
    waiting = list(found)
    while waiting:
        new = (imported[waiting.pop()] & sources.keys()) - found
        found |= new
        waiting += new
    digest = sha256()
    for path in sorted(found):
        digest.update(f"{path.relative_to(package)}\n{sources[path]}".encode())
    return digest.digest()


def _imported_files(source: str, package: Path) -> set[Path]:
    """Files of the package that a module may import from, by its text."""
    files = set()
    for module, names in _IMPORT.findall(source):
        place = package.joinpath(*module.split(".")[1:])
        files |= {place.with_suffix(".py"), place / "__init__.py"}
        files |= {place / f"{name}.py" for name in re.findall(r"\w+", names)}
    return files


def compiled(function: Function) -> Function:
    """Compile at the first call, without the GIL, and keep the machine code on disk.

    Where neither the installation nor the user's cache folder can be written, numba
    refuses to cache; the function is then compiled anew in every process.
    """
    try:
        dispatcher: Any = njit(cache=True, nogil=True, fastmath=_FASTMATH)(function)
    except RuntimeError:
        return njit(nogil=True, fastmath=_FASTMATH)(function)
    # Numba watches the function's own file only; what it calls must count as well, or an
    # upgrade could run old code. (Under NUMBA_DISABLE_JIT there is no cache.)
    if hasattr(dispatcher, "_cache"):
        file = dispatcher._cache._cache_file
        file._source_stamp = (file._source_stamp, _digest_of_sources())
    return cast(Function, dispatcher)


def inlined(function: Function) -> Function:
    """Compile as a part of the compiled functions that call it: a call counts references."""
    return njit(nogil=True, fastmath=_FASTMATH, forceinline=True)(function)


def chosen(choose: Function) -> Function:
    """Inlined function whose code is chosen by the types of its arguments at compile time.

    `choose` gets numba types and returns a function with the same arguments.
    """
    overload(choose, jit_options={"fastmath": _FASTMATH, "forceinline": True})(choose)
    return choose
