"""The one printer of tables."""

from __future__ import annotations

import numpy as np
import pytest

from ase_vibent.tables import error_bar, format_entries, format_table, plain


def test_columns_are_as_wide_as_what_they_hold():
    lines = format_table(
        {"structure": "<", "E (eV)": ">.3f", "n": ">", "±": ">.1e"},
        [("a long name", -1.23456, 12345, 0.02), ("b", None, 7, "failed")],
    )
    assert lines == [
        "structure    E (eV)      n        ±",
        "a long name  -1.235  12345  2.0e-02",
        "b                 -      7   failed",
    ]


def test_values_of_any_kind_stay_in_one_line():
    foreign = {"cells": [8, 64], "none": [], "text": "two\nlines", "matrix": np.eye(2)}
    assert plain(foreign) == "cells 8, 64, none none, text two lines, matrix 1, 0, 0, 1"
    assert format_table({"strain": ">+g"}, [(np.eye(2),)])[1] == "1, 0, 0, 1"
    assert format_entries({"n_rows": 3, "noise": 1 / 3}) == ["n rows  3", "noise   0.333333"]


def test_unknown_and_small_errors_are_no_zeros():
    lines = format_table(
        {"S": ">.4f", "± S": ">±.4f"},
        [(1.0, 0.02), (np.nan, np.nan), (2.0, 3e-5), (None, np.float64(0)), (3.0, 5.1e-5)],
    )
    assert [line.split(maxsplit=1) for line in lines[1:]] == [
        ["1.0000", "0.0200"],
        ["-", "-"],
        ["2.0000", "< 0.0001"],
        ["-", "< 0.0001"],
        ["3.0000", "0.0001"],
    ]


@pytest.mark.parametrize(
    ("error", "style", "expected"),
    [
        (np.nan, ".4f", "unknown"),
        (None, ".1e", "unknown"),
        (1e-9, ".5f", "< 0.00001"),
        (1e-9, ".1e", "1.0e-09"),
        (0.126, ".2f", "0.13"),
    ],
)
def test_error_bars(error, style, expected):
    assert error_bar(error, style) == expected
