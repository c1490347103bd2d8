"""Compiled functions: numba, cached on disk where there is a place to cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile at the first call, without the GIL, and keep the machine code on disk.

    Where neither the installation nor the user's cache folder can be written, numba
    refuses to cache; the function is then compiled anew in every process.
    """
    # NaN must stay NaN: only reordering and fused operations are allowed.
    fastmath = {"reassoc", "contract", "nsz", "arcp"}
    try:
        return njit(cache=True, nogil=True, fastmath=fastmath)(function)
    except RuntimeError:
        return njit(nogil=True, fastmath=fastmath)(function)
