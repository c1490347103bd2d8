"""Compiled functions: numba, cached on disk where there is a place to cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


# NaN must stay NaN: only reordering and fused operations are allowed.
_FASTMATH = {"reassoc", "contract", "nsz", "arcp"}


def compiled(function: Function) -> Function:
    """Compile at the first call, without the GIL, and keep the machine code on disk.

    Where neither the installation nor the user's cache folder can be written, numba
    refuses to cache; the function is then compiled anew in every process.
    """
    try:
        return njit(cache=True, nogil=True, fastmath=_FASTMATH)(function)
    except RuntimeError:
        return njit(nogil=True, fastmath=_FASTMATH)(function)


def inlined(function: Function) -> Function:
    """Compile as a part of the compiled functions that call it: a call counts references."""
    return njit(nogil=True, fastmath=_FASTMATH, forceinline=True)(function)
