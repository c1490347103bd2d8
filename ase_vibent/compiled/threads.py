"""Work on pieces in threads: compiled functions release the interpreter's lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TypeVar

from numba import get_num_threads

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def in_threads(work: Callable[[Piece], Result], pieces: Sequence[Piece]) -> list[Result]:
    """Results in the order of the pieces, as many threads as numba is allowed.

    Parameters
    ----------
    work : callable (piece) -> result
    pieces : sequence

    Returns
    -------
    list
    """
    threads = min(get_num_threads(), len(pieces))
    if threads <= 1:
        return [work(piece) for piece in pieces]
    results: dict[int, Result] = {}
    numbers = count()

    def take_turns(_: int) -> None:
        # One task a thread: a task a piece would spend its time in handing over the lock.
        while (k := next(numbers)) < len(pieces):
            results[k] = work(pieces[k])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(take_turns, range(threads)))
    return [results[k] for k in range(len(pieces))]
