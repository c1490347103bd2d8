"""Standard output: in letters that any terminal knows."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ase_vibent.cli.shared import output

PLAIN = {
    "∇S (k_B/Å)": "grad S (k_B/A)",
    "log⁺, 10⁻¹²": "log+, 10-12",
    "0.1 ± 0.2 × 2": "0.1 +- 0.2 x 2",
    "ΔF at Γ, ν*": "DeltaF at Gamma, nu*",
    "per cm³ … ½": "per cm3 ... 1/2",
    "雪\ud800": "??",
}


@pytest.mark.parametrize("text", PLAIN)
def test_signs_that_a_terminal_lacks(text):
    assert text.encode("ascii", output.PLAIN).decode() == PLAIN[text]


@given(st.text(st.characters(exclude_categories=())))
def test_no_text_fails(text):
    for encoding in ("ascii", "latin-1", "cp1252", "utf-8"):
        text.encode(encoding, output.PLAIN)


def test_a_poor_terminal():
    command = [sys.executable, "-m", "ase_vibent.cli", "models"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "grad S (k_B/A)" in done.stdout.decode("ascii")
