"""Tables of numbers and words as text, fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ase_vibent.arrays import IntArray
from ase_vibent.compiled.threads import in_threads
from ase_vibent.files.decimals import LONGEST, powers_of_ten, write_rows

#: Rows that one thread writes at a time.
PART = 8192
#: Values of a column; or words, and which of them is each row's.
Column = NDArray[Any] | tuple[Sequence[str], IntArray]


def format_rows(columns: Sequence[Column]) -> list[bytes]:
    """Rows of a table, columns apart by spaces, in parts that end with a line feed each.

    Floating-point numbers get the digits that `repr` gives them, and are read back unchanged.

    Parameters
    ----------
    columns : sequence of ndarray, shape (n,)
        Of floating-point numbers, integers, truth values (T and F), or words without spaces: these
        also as (words, numbers), of which each row's number says its word.

    Returns
    -------
    list of bytes
    """
    floats: list[NDArray[np.uint64]] = []
    integers: list[IntArray] = []
    words: list[bytes] = []
    places: list[tuple[int, int]] = []
    for column in columns:
        if isinstance(column, tuple) or column.dtype.kind not in "fiu" or _is_huge(column):
            names, numbers = column if isinstance(column, tuple) else _words(column)
            places.append((2, len(integers)))
            integers.append(numbers + len(words))
            words += [name.encode() for name in names]
        elif column.dtype.kind == "f":
            places.append((0, len(floats)))
            floats.append(column.astype(np.float64).view(np.uint64))
        else:
            places.append((1, len(integers)))
            integers.append(column.astype(np.int64))
    n, table = len([*floats, *integers][0]), np.array([*words, b""])
    letters = table.view(np.uint8).reshape(len(table), -1)
    lengths = np.array([*map(len, words), 0])
    widths = {0: LONGEST, 1: 20, 2: int(lengths.max())}
    longest = sum(1 + widths[kind] for kind, _ in places)

    def work(start: int) -> bytes:
        own = slice(start, start + PART)
        return write_rows(
            np.array(places), _beside(floats, own, np.uint64), _beside(integers, own, np.int64),
            letters, lengths, powers_of_ten(), longest,
        ).tobytes()  # fmt: skip

    return in_threads(work, range(0, n, PART))


def _is_huge(column: NDArray[Any]) -> bool:
    """Whether integers are beyond those with a sign."""
    return column.dtype.kind == "u" and bool(np.any(column > np.iinfo(np.int64).max))


def _words(column: NDArray[Any]) -> tuple[Sequence[str], IntArray]:
    if column.dtype.kind == "b":
        return "FT", column.astype(np.int64)
    names, numbers = np.unique(column.astype(str), return_inverse=True)
    return names.tolist(), numbers


def _beside(
    columns: Sequence[NDArray[Any]], rows: slice, kind: type
) -> NDArray[np.uint64] | IntArray:
    """Some rows of columns as a matrix, if need be without columns."""
    if not columns:
        return np.empty((0, 0), dtype=kind)
    return np.ascontiguousarray(np.stack([column[rows] for column in columns], axis=1))
