"""`vibent export` of models."""

import json

import pytest

from ase_vibent import ACE, Bispectrum
from ase_vibent.cli import main


@pytest.fixture
def models(random_model, tmp_path, monkeypatch):
    """Files of models in the working folder."""
    monkeypatch.chdir(tmp_path)
    pairs = ACE(["Si", "C"], cutoff=4.0, order=1, degree=4)
    random_model(pairs).save("pairs.vibent")
    random_model(pairs, "energy").save("energy.vibent")
    random_model(pairs, rank=1).save("quadratic.vibent")
    random_model(Bispectrum(["Si"], cutoff=4.0, j_max=1)).save("snap.vibent")
    return tmp_path


def test_formats(models, vibent):
    known = {path.name for path in models.iterdir()}
    for words, written in (
        (["pairs.vibent", "-T", "600", "-o", "a.yace"], ["a.yace"]),
        (["pairs.vibent", "-T", "600", "-o", "a.table"], ["a.table"]),
        (["pairs.vibent", "-T", "600", "--entropy", "-o", "b", "--format", "yace"], ["b"]),
        (["energy.vibent", "-o", "c.YACE"], ["c.YACE"]),
        (["snap.vibent", "-T", "300", "-o", "d.snapcoeff"], ["d.snapcoeff", "d.snapparam"]),
        (["snap.vibent", "-T", "3", "-o", "e", "--format", "snap"], ["e.snapcoeff", "e.snapparam"]),
        (["si-sw", "-T", "300", "-o", "si.yace"], ["si.yace"]),
    ):
        found = vibent("export", *words, "--json")
        assert (found.code, found.err) == (0, "")
        result = json.loads(found.out)
        assert result["output"] == written
        assert {path.name for path in models.iterdir()} == known | set(written)
        known |= set(written)
        assert result["unit"] == ("eV/K" if "--entropy" in words else "eV")
        said = vibent("export", *words).out
        assert all(command in said for command in result["lammps"])
    assert (
        "left out, eV per atom"
        in vibent("export", "pairs.vibent", "-T", "600", "-o", "a.table").out
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pairs.vibent", "-o", "a.yace"], "temperature: missing"),
        (["pairs.vibent", "-o", "a.yace", "-T", "300", "600"], "one temperature, and 2"),
        (["pairs.vibent", "-o", "a.yace", "-T", "300", "-T", "600"], "one temperature, and 2"),
        (["energy.vibent", "-o", "a.yace", "-T", "300"], "leave them out"),
        (["energy.vibent", "-o", "a.yace", "--entropy"], "leave them out"),
        (["quadratic.vibent", "-o", "a.yace", "-T", "300"], "it is quadratic"),
        (["snap.vibent", "-o", "a.yace", "-T", "300"], "train one with ACE"),
        (["pairs.vibent", "-o", "a.snapcoeff", "-T", "300"], "or export to yace"),
        (["si-sw", "-o", "a.table", "-T", "300"], "order 3"),
        (["si-sw", "-o", "a.csv", "-T", "300"], "si-sw is a model"),
        (["pairs.vibent", "-o", "a.json"], "pairs.vibent is a model"),
        (["pairs.vibent", "-o", "a.txt"], "or --format"),
        (["pairs.vibent", "-o", "a.yace", "-T", "3", "--states", "s.xyz"], "--states: is for"),
        (["events.xyz", "-o", "a.csv", "--entropy"], "--entropy: is for models"),
        (["pairs.vibent", "-o", "none/a.yace", "-T", "3"], "its folder does not exist"),
        (["si-swx", "-o", "a.yace", "-T", "3"], "did you mean 'si-sw'?"),
    ],
)
def test_wrong_usage_in_a_sentence(words, said, models, vibent):
    before = sorted(path.name for path in models.iterdir())
    found = vibent("export", *words)
    assert (found.code, found.out) == (1, "")
    assert said in found.err
    assert found.err.startswith("vibent export: ")
    assert found.err.count("\n") == 1
    assert sorted(path.name for path in models.iterdir()) == before


def test_unknown_formats(models, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["export", "pairs.vibent", "-o", "a.yace", "--format", "yaec"])
    assert "invalid choice: 'yaec' (choose from 'yace', 'snap', 'table')" in capsys.readouterr().err
