"""Calls with keyword arguments as text, as the command line takes them."""

from __future__ import annotations

import ast
from typing import Any


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
    try:
        expression = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(error.msg) from error
    keywords: dict[str, Any] = {}
    if isinstance(expression, ast.Call):
        if expression.args or any(k.arg is None for k in expression.keywords):
            raise ValueError("only keyword arguments are allowed")
        keywords = {str(k.arg): ast.literal_eval(k.value) for k in expression.keywords}
        expression = expression.func
    if not isinstance(expression, ast.Name):
        raise ValueError("a name is expected")
    return expression.id, keywords
