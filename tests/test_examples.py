"""The examples run as they stand, and say what they promise."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
PROMISES = {
    "01-exact-entropy": r"formation entropy, 32 atoms: 2\.\d+ k_B",
    "02-train-a-model": r"test +gradient",
    "03-relax-on-the-free-energy": r"1200 K: a = 5\.4[3-9]\d* Å",
    "04-structures-to-label": r"barrier 0\.79\d+ eV, one unstable mode.*: True",
    "05-pretrained": r"1000 atoms, surrogate formation entropy \d",
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path, tmp_path):
    finished = subprocess.run(
        [sys.executable, path], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert re.search(PROMISES[path.stem], finished.stdout), finished.stdout
