"""Arguments: checks that all rooms share, and calls that are given as text."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

import numpy as np

from ase_vibent.errors import InvalidInputError


def is_positive(value: Any) -> bool:
    """Whether a value is a positive, finite number."""
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return number and bool(0 < value < np.inf)


def check_positive(name: str, value: Any, unit: str | None = None) -> None:
    """Raise InvalidInputError unless an argument is a positive, finite number (of a unit)."""
    if not is_positive(value):
        number = "a number" if unit is None else f"a number in {unit}"
        raise InvalidInputError(f"{name}: expected {number} > 0, got {value!r}")


def check_integer(name: str, value: Any, least: int) -> None:
    """Raise InvalidInputError unless an argument is an integer, from the least on."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not (whole and value >= least):
        raise InvalidInputError(f"{name}: expected an integer ≥ {least}, got {value!r}")


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Raise InvalidInputError unless an argument is one of some names."""
    known = list(choices)
    if value not in known:
        raise InvalidInputError(f"{name}: expected one of {', '.join(known)}, got {value!r}")


def check_attributes(holder: object, *names: str) -> None:
    """Raise InvalidInputError unless attributes are positive, finite numbers."""
    for name in names:
        check_positive(name, getattr(holder, name))


def check_integer_attributes(holder: object, least: int, *names: str) -> None:
    """Raise InvalidInputError unless attributes are integers, from the least on."""
    for name in names:
        value = getattr(holder, name)
        check_integer(name, value, least)


def parse_call(text: str) -> tuple[str, dict[str, Any]]:
    """Name and keyword arguments of `Name` or `Name(key=value, …)`; nothing is run.

    Parameters
    ----------
    text : str

    Returns
    -------
    name : str
    keywords : dict

    Raises
    ------
    ValueError
        If the text is no such call, or a value no literal.
    """
    calls = parse_sum(text)
    if len(calls) > 1:
        raise ValueError("one name is expected")
    return calls[0]


def parse_sum(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Names and keyword arguments of calls, as of `parse_call`, with + between them.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of (name, keywords)

    Raises
    ------
    ValueError
        If the text is no such sum, or a value no literal.
    """
    try:
        expression = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(error.msg) from error
    terms: list[ast.expr] = []
    while isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.Add):
        terms.insert(0, expression.right)
        expression = expression.left
    return [_call(term) for term in (expression, *terms)]


def _call(expression: ast.expr) -> tuple[str, dict[str, Any]]:
    keywords: dict[str, Any] = {}
    if isinstance(expression, ast.Call):
        if expression.args or any(k.arg is None for k in expression.keywords):
            raise ValueError("only keyword arguments are allowed")
        keywords = {str(k.arg): ast.literal_eval(k.value) for k in expression.keywords}
        expression = expression.func
    if not isinstance(expression, ast.Name):
        raise ValueError("a name is expected")
    return expression.id, keywords
