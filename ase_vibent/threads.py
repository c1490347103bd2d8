"""Work on pieces in threads: compiled functions release the interpreter's lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from numba import get_num_threads

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def in_threads(work: Callable[[Piece], Result], pieces: Sequence[Piece]) -> Iterator[Result]:
    """Results in the order of the pieces, as many threads as numba is allowed.

    Parameters
    ----------
    work : callable (piece) -> result
    pieces : sequence

    Yields
    ------
    result
    """
    threads = min(get_num_threads(), len(pieces))
    if threads <= 1:
        yield from map(work, pieces)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, pieces)
