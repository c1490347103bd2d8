"""Compiled functions: numba, cached on disk where there is a place to cache."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.extending import overload

Function = TypeVar("Function", bound=Callable[..., Any])


#: Of this package: module, and names (modules among them).
_IMPORT = re.compile(
    r"^\s*(?:from|import) (ase_vibent[\w.]*)(?: import (\([^)]*\)|.*))?", re.MULTILINE
)

# NaN must stay NaN: only reordering and fused operations are allowed.
_FASTMATH = {"reassoc", "contract", "nsz", "arcp"}


@cache
def _digest_of_sources(file: Path) -> bytes:
    """Digest of all files that machine code of one may be made of."""
    digest = sha256()
    for path in sorted(_sources_of(file)):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.digest()


def _sources_of(file: Path) -> set[Path]:
    """The file, and all that it imports in turn, functions and constants alike.

    But for the package's own `__init__`, which shows everything and holds nothing.
    """
    package = Path(__file__).parents[1]
    found, waiting = {file}, [file]
    while waiting:
        named = _imported_files(waiting.pop().read_text(encoding="utf-8"), package)
        new = {path for path in named - found - {package / "__init__.py"} if path.is_file()}
        found |= new
        waiting += new
    return found


def _imported_files(source: str, package: Path) -> set[Path]:
    """Where a module of the package may be that a text imports from."""
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
        own = Path(function.__code__.co_filename)
        file._source_stamp = (file._source_stamp, _digest_of_sources(own))
        dispatcher._cache.load_overload = _announcing(dispatcher._cache.load_overload)
    return cast(Function, dispatcher)


def _announcing(load: Callable[..., Any]) -> Callable[..., Any]:
    """Machine code from the disk, or a word about what is to be done where there is none."""

    def load_or_announce(*arguments: Any) -> Any:
        found = load(*arguments)
        if found is None and parent_process() is None:  # workers have nothing to add
            _announce()
        return found

    return load_or_announce


@cache
def _announce() -> None:
    # Of a logger: on standard error, unless the user wants it elsewhere.
    logging.getLogger("ase_vibent").warning(
        "ase_vibent: compiling for this machine, once; it may take half a minute"
    )


def inlined(function: Function) -> Function:
    """Compile as a part of the compiled functions that call it: a call counts references."""
    return njit(nogil=True, fastmath=_FASTMATH, forceinline=True)(function)


def chosen(choose: Function) -> Function:
    """Inlined function whose code is chosen by the types of its arguments at compile time.

    `choose` gets numba types and returns a function with the same arguments.
    """
    overload(choose, jit_options={"fastmath": _FASTMATH, "forceinline": True})(choose)
    return choose
