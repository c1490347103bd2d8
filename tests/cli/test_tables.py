"""The one printer of tables."""

from __future__ import annotations

import numpy as np

from ase_vibent.cli.shared.tables import format_entries, format_table, plain


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
