"""Compiled functions: numba, cached on disk where there is a place to cache."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.extending import overload

Function = TypeVar("Function", bound=Callable[..., Any])


# NaN must stay NaN: only reordering and fused operations are allowed.
_FASTMATH = {"reassoc", "contract", "nsz", "arcp"}


@cache
def _digest_of_sources() -> bytes:
    """Digest of all files that machine code may be made of."""
    package = Path(__file__).parent
    digest = sha256()
    for pattern in ("compilation.py", "simd.py", "descriptors/**/*.py", "harmonic/*.py"):
        for path in sorted(package.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.digest()


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
