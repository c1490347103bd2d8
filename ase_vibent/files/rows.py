"""Tables of numbers and words as text, fast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from ase_vibent.arrays import IntArray

#: Rows that are written at a time, for the sake of memory.
PART = 8192
#: Values of a column; or words, and which of them is each row's.
Column = NDArray[Any] | tuple[Sequence[str], IntArray]


def format_rows(columns: Sequence[Column]) -> Iterator[bytes]:
    """Rows of a table, columns apart by spaces, in parts that end with a line feed each.

    Floating-point numbers get the fewest digits with which they are read back unchanged.

    Parameters
    ----------
    columns : sequence of ndarray, shape (n,)
        Of floating-point numbers, integers, truth values (T and F), or words without spaces: these
        also as (words, numbers), of which each row's number says its word.

    Returns
    -------
    iterator of bytes
    """
    groups = [
        (kind, [column for _, column in own])
        for kind, own in groupby(map(_by_kind, columns), key=lambda pair: pair[0])
    ]
    first = groups[0][1][0]
    n = len(first[1] if isinstance(first, tuple) else first)
    return (_part(groups, slice(start, start + PART)) for start in range(0, n, PART))


def _by_kind(column: Column) -> tuple[str, Any]:
    """Kind of a column, "f", "i" or "w", and the column in the form of its kind."""
    if isinstance(column, tuple):
        return "w", column
    kind = column.dtype.kind
    if kind == "f":
        return "f", column.astype(np.float64, copy=False)
    if kind == "i" or (kind == "u" and not np.any(column > np.iinfo(np.int64).max)):
        return "i", column.astype(np.int64, copy=False)
    if kind == "b":
        return "w", ("FT", column.astype(np.int64))
    names, numbers = np.unique(column.astype(str), return_inverse=True)
    return "w", (names.tolist(), numbers)


def _part(groups: Sequence[tuple[str, list[Any]]], rows: slice) -> bytes:
    texts: list[Iterator[bytes] | list[bytes]] = []
    for kind, columns in groups:
        if kind == "w":
            for words, numbers in columns:
                encoded = [word.encode() for word in words]
                texts.append(map(encoded.__getitem__, numbers[rows].tolist()))
        else:
            texts.append(_numbers(np.stack([column[rows] for column in columns], axis=1)))
    lines = texts[0] if len(texts) == 1 else map(b" ".join, zip(*texts, strict=True))
    return b"\n".join(lines) + b"\n"


def _numbers(table: NDArray[Any]) -> list[bytes]:
    """Rows of a matrix of numbers."""
    if table.dtype.kind == "f" and not np.isfinite(table).all():  # which JSON does not know
        return [" ".join(map(repr, row)).encode() for row in table.tolist()]
    text = orjson.dumps(np.ascontiguousarray(table), option=orjson.OPT_SERIALIZE_NUMPY)
    return text[2:-2].replace(b",", b" ").split(b"] [")
