"""Tables for people: numbers as texts, in lines or in cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np


def format_table(
    columns: Mapping[str, str],
    rows: Iterable[Sequence[Any]],
    widths: Mapping[str, int] = MappingProxyType({}),
) -> list[str]:
    """Lines of a table whose columns are as wide as what they hold.

    Parameters
    ----------
    columns : mapping of str to str
        By title: "<" or ">", the side where entries stand, and the format of numbers, as in
        ">.6f"; with "±" before it, of errors, see `error_bar`.
    rows : iterable of sequence
        One value for every column. None and NaN, unknown, are shown as "-", and what the format
        does not suit, such as a text among numbers, as it is.
    widths : mapping of str to int
        By title: least width of a column, for tables whose rows come one by one.

    Returns
    -------
    list of str
        Titles, then rows.
    """
    cells = [list(columns), *table_cells(columns, rows)]
    least = [widths.get(title, 0) for title in columns]
    wide = [max(n, *map(len, c)) for n, c in zip(least, zip(*cells, strict=True), strict=True)]
    sides = [style[0] for style in columns.values()]
    layout = "  ".join(f"{{:{side}{n}}}" for side, n in zip(sides, wide, strict=True))
    return [layout.format(*line).rstrip() for line in cells]


def table_cells(columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> list[list[str]]:
    """Texts of a table's values.

    Parameters
    ----------
    columns, rows
        As in `format_table`.

    Returns
    -------
    list of list of str
        Rows, without titles.
    """
    styles = [style[1:] for style in columns.values()]
    return [[_cell(v, style) for v, style in zip(row, styles, strict=True)] for row in rows]


def format_entries(entries: Mapping[str, Any]) -> list[str]:
    """Lines of names and values.

    Parameters
    ----------
    entries : mapping of str to object
        Of a header or card.

    Returns
    -------
    list of str
    """
    width = max(map(len, entries))
    return [f"{name.replace('_', ' '):<{width}}  {plain(value)}" for name, value in entries.items()]


def plain(value: Any) -> str:
    """A value of any kind in one line, numbers with six digits."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "none"
    return f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())


def error_bar(error: float | None, style: str) -> str:
    """An error as it stands behind "±".

    Parameters
    ----------
    error : float or None
        None and NaN are unknown.
    style : str
        Format of numbers, as in ".4f".

    Returns
    -------
    str
        "unknown"; or a bound in place of an error of which the format shows zeros only.
    """
    if _is_unknown(error):
        return "unknown"
    text = format(error, style)
    if float(text) or not style.endswith("f"):
        return text
    return f"< {10.0 ** -int(style[1:-1]):{style}}"


def _is_unknown(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


def _cell(value: Any, style: str) -> str:
    if _is_unknown(value):
        return "-"
    try:
        if style.startswith("±"):
            return error_bar(value, style[1:])
        return format(value, style) if style else plain(value)
    except (TypeError, ValueError):
        return plain(value)
