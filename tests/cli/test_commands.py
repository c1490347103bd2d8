"""The command line: the whole path, exit codes, and one clear line for every mistake."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import ase_vibent
from ase_vibent import SiteEntropyCalculator, SiteModel, dataset, read_labels, write_labels
from ase_vibent.errors import ModelFileError

POTENTIALS = """
from ase.calculators.calculator import Calculator, all_changes

class EnergyOnly(Calculator):
    implemented_properties = ["energy"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0}

def no_calculator():
    return 42

def crashes():
    raise RuntimeError("first line\\nsecond line")
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory, vibent) -> SimpleNamespace:
    """Results of label, train and predict on eight-atom cells of silicon."""
    folder = tmp_path_factory.mktemp("cli")
    crystal = bulk("Si", "diamond", a=5.431, cubic=True)
    structures = [crystal.copy() for _ in range(6)]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.03, seed=seed)
    paths = {
        name: folder / name
        for name in ("crystal.cif", "in.traj", "labels.xyz", "si.vibent", "fit.png", "out.xyz")
    }
    ase.io.write(paths["crystal.cif"], bulk("Si", "diamond", a=5.431, cubic=True))
    ase.io.write(paths["in.traj"], structures)
    label = vibent(
        *(
            "label",
            paths["in.traj"],
            "-o",
            paths["labels.xyz"],
            "--calculator",
            "sw-si",
            "--json",
            "-j",
            "1",
        ),
        *("--reference", paths["crystal.cif"], "--labels", "gradient"),
    )
    train = vibent(
        *("train", paths["labels.xyz"], "-o", paths["si.vibent"], "--plot", paths["fit.png"]),
        *("--cutoff", 4, "--order", 2, "--degree", 6, "--test-fraction", 0.34, "--json"),
    )
    predict = vibent(
        *("predict", paths["si.vibent"], paths["in.traj"], "-T", 450, "-o", paths["out.xyz"]),
        "--json",
    )
    return SimpleNamespace(
        label=label, train=train, predict=predict, paths=paths, structures=structures
    )


@pytest.fixture
def shop(done, tmp_path, monkeypatch) -> Path:
    """A folder with everything a user could get wrong."""
    for name in ("si.vibent", "labels.xyz", "in.traj"):
        shutil.copy(done.paths[name], tmp_path)
    names = ("good", "nan", "twins", "copper", "strained")
    structures = {name: done.structures[0].copy() for name in names}
    structures["nan"].positions[3, 1] = np.nan
    structures["twins"].positions[1] = structures["twins"].positions[0]
    structures["copper"].symbols[2] = "Cu"
    structures["strained"].set_cell(structures["good"].cell * 1.01, scale_atoms=True)
    structures["lone"] = Atoms("Si", cell=[30, 30, 30], pbc=True)
    for name, atoms in structures.items():
        ase.io.write(tmp_path / f"{name}.traj", atoms)
    ase.io.write(tmp_path / "plain.xyz", structures["good"])
    frames = read_labels(tmp_path / "labels.xyz")
    write_labels(tmp_path / "orphans.xyz", [a for a in frames if dataset.NAME not in a.info])
    frames[-1].set_cell(frames[-1].cell * 1.01)
    write_labels(tmp_path / "mixed.xyz", frames)
    content = (tmp_path / "si.vibent").read_bytes()
    half = len(content) // 2
    altered = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
    with open(tmp_path / "foreign.vibent", "wb") as file:
        np.savez(file, weights=np.ones(3))
    with open(tmp_path / "pickled.vibent", "wb") as file:
        np.save(file, np.array([{}], dtype=object))
    with monkeypatch.context() as patch:
        patch.setattr("ase_vibent.model.file.FORMAT_VERSION", 99)
        SiteModel.load(tmp_path / "si.vibent").save(tmp_path / "newer.vibent")
    for name, data in {
        "truncated.vibent": content[:half],
        "altered.vibent": altered,
        "text.vibent": b"weights: 1 2 3\n",
        "empty.vibent": b"",
        "file": b"no folder",
        "junk.xyz": b"this is\nno structure\n",
        "user_potentials.py": POTENTIALS.encode(),
        "broken_potentials.py": b"raise RuntimeError('no licence')\n",
        "misspelt_potentials.py": b"def (:\n",
    }.items():
        (tmp_path / name).write_bytes(data)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- The whole path -------------------------------------------------------------------------


def test_label_writes_structures_and_their_crystal(done, vibent, strict_json):
    assert (done.label.code, done.label.err) == (0, "")
    result = strict_json(done.label.out)
    assert (result["labelled"], result["found"], result["failed"]) == (7, 0, 0)
    frames = read_labels(done.paths["labels.xyz"])
    assert [dataset.NAME in atoms.info for atoms in frames] == [True] + 6 * [False]
    assert {a.info[dataset.REFERENCE] for a in frames} == {frames[0].info[dataset.NAME]}
    assert all(dataset.GRADIENT in a.arrays for a in frames)
    before = done.paths["labels.xyz"].read_bytes()
    again = vibent(
        *("label", done.paths["in.traj"], "-o", done.paths["labels.xyz"], "--calculator", "sw-si"),
        *("--reference", done.paths["crystal.cif"], "--labels", "gradient"),
    )
    assert again.code == 0
    assert "0 labelled, 7 found" in again.out
    assert done.paths["labels.xyz"].read_bytes() == before


def test_train_holds_out_whole_configurations_and_plots(done, strict_json):
    assert (done.train.code, done.train.err) == (0, "")
    errors = strict_json(done.train.out)["errors"]
    # round(0.34 · 6) = 2 held out of six; the crystal always stays in training.
    assert (errors["train"]["total"]["n"], errors["test"]["total"]["n"]) == (5, 2)
    assert errors["test"]["gradient"]["n"] == 2 * 8 * 3
    assert done.paths["fit.png"].read_bytes().startswith(b"\x89PNG")


def test_evaluate_compares_with_every_label(done, tmp_path, vibent, strict_json):
    plot = tmp_path / "parity.png"
    result = vibent(
        *("evaluate", done.paths["si.vibent"], done.paths["labels.xyz"], "--json", "--plot", plot)
    )
    assert (result.code, result.err) == (0, "")
    metrics = strict_json(result.out)
    errors = strict_json(done.train.out)["errors"]
    for kind in ("total", "gradient"):
        parts = [errors[name][kind] for name in ("train", "test")]
        assert metrics[kind]["n"] == sum(part["n"] for part in parts)
        squares = sum(part["n"] * part["rmse"] ** 2 for part in parts)
        rmse = np.sqrt(squares / metrics[kind]["n"])
        # The file keeps all digits; only the order of the sums differs.
        assert metrics[kind]["rmse"] == pytest.approx(rmse, rel=1e-8)
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_displaced_crystals_bring_the_curvature(tmp_path, vibent, strict_json):
    """Labelled with their crystal, alike in a second run; training misses them if absent."""
    crystal = bulk("Si", "diamond", a=5.431, cubic=True)
    vacancies = [crystal[1:] for _ in range(4)]
    for seed, atoms in enumerate(vacancies):
        atoms.rattle(0.02, seed=seed)
    ase.io.write(tmp_path / "vacancies.traj", vacancies)
    ase.io.write(tmp_path / "crystal.cif", crystal)
    command = (
        *("label", tmp_path / "vacancies.traj", "-o", tmp_path / "labels.xyz", "-j", 1, "--json"),
        *("--calculator", "sw-si", "--unstable", "any", "--labels", "gradient"),
        "--displaced-crystals",
        2,
    )
    assert "needs --reference" in vibent(*command).err
    command += ("--reference", tmp_path / "crystal.cif")
    assert strict_json(vibent(*command).out)["labelled"] == 7
    assert strict_json(vibent(*command).out)["found"] == 7
    frames = read_labels(tmp_path / "labels.xyz")
    displaced = [atoms for atoms in frames if atoms.info.get(dataset.WEIGHT) == 3]
    assert [len(atoms) for atoms in displaced] == [8, 8]
    assert all(dataset.GRADIENT in a.arrays and dataset.NAME not in a.info for a in displaced)
    options = ("-o", tmp_path / "m.vibent", "--order", 2, "--degree", 5, "--test-fraction", 0)
    assert "--displaced-crystals" not in vibent("train", tmp_path / "labels.xyz", *options).out
    write_labels(tmp_path / "few.xyz", [a for a in frames if dataset.WEIGHT not in a.info])
    assert "--displaced-crystals 2" in vibent("train", tmp_path / "few.xyz", *options).out


def test_evaluate_says_whether_stated_errors_hold(done, tmp_path, vibent, strict_json):
    """Of few cells it says that they are few; kinds are those that the option names."""
    labels, plot = tmp_path / "kinds.xyz", tmp_path / "calibration.png"
    frames = read_labels(done.paths["labels.xyz"])
    for number, atoms in enumerate(frames):
        atoms.info["family"] = f"family {number % 2}"
    write_labels(labels, frames)
    command = ("evaluate", done.paths["si.vibent"], labels, "--calibration", "--by", "family")
    found = strict_json(vibent(*command, "--json", "--plot", plot).out)
    assert "too few" in found["verdict"]
    assert found["groups"]["all"]["n"] == 6
    assert set(found["groups"]) == {"all", "family 0", "family 1", "cells of 8 atoms"}
    assert plot.read_bytes().startswith(b"\x89PNG")
    text = vibent(*command).out
    assert text.splitlines()[0].split()[:2] == ["totals", "cells"]
    assert text.rstrip().endswith(found["verdict"])


def test_evaluate_on_one_frame_still_prints_json(done, tmp_path, vibent, strict_json):
    """One value has no spread, and so no R²."""
    labels = tmp_path / "one.xyz"
    write_labels(labels, read_labels(done.paths["labels.xyz"])[:1])
    result = vibent("evaluate", done.paths["si.vibent"], labels, "--json")
    assert strict_json(result.out)["total"]["n"] == 1


def test_predict_agrees_with_the_calculator(done, strict_json):
    assert (done.predict.code, done.predict.err) == (0, "")
    rows = strict_json(done.predict.out)
    back = ase.io.read(done.paths["out.xyz"], index=":")
    calculator = SiteEntropyCalculator(done.paths["si.vibent"], temperature=450)
    for row, atoms, copy in zip(rows, done.structures, back, strict=True):
        entropy = calculator.get_property("entropy", atoms)
        assert row["entropy_eV_per_K"] == pytest.approx(entropy, rel=1e-12)
        free_energy = calculator.get_property("free_energy", atoms)
        assert row["free_energy_eV"] == pytest.approx(free_energy, rel=1e-12)
        assert copy.arrays["predicted_entropies"].sum() == pytest.approx(entropy, rel=1e-12)


def test_predict_goes_on_after_a_bad_structure(shop, vibent, strict_json):
    result = vibent("predict", "si.vibent", "good.traj", "copper.traj", "good.traj", "--json")
    assert result.code == 1
    rows = strict_json(result.out)
    assert ["error" in row for row in rows] == [False, True, False]
    assert result.err.count("\n") == 1
    assert "copper.traj frame 0" in result.err


def test_verify_measures_sites(done, vibent, strict_json):
    """All eight of a small cell; their errors add up to that of the total."""
    arguments = (
        *("verify", done.paths["si.vibent"], done.paths["in.traj"], "--calculator", "sw-si"),
    )
    result = vibent(*arguments, "--reference", done.paths["crystal.cif"], "--json")
    assert (result.code, result.err) == (0, "")
    data = strict_json(result.out)
    assert sorted(row["site"] for row in data["sites"]) == list(range(8))
    errors = np.array([row["error"] for row in data["sites"]])
    assert data["total"]["error"] == pytest.approx(errors.sum())
    assert data["total"]["error_std"] is None  # nothing is drawn, and the rest is unknown
    assert data["summary"]["uncertain"]["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)))
    table = vibent(*arguments, "--n-sites", 3)
    assert (table.code, table.err) == (0, "")
    assert sum("uncertain" in line for line in table.out.splitlines()) == 4
    assert "split between the sites" in table.out
    assert ", of all sites, predicted standard deviation" in table.out


def test_label_selects_what_teaches_most(done, tmp_path, vibent, strict_json):
    arguments = (
        *("label", done.paths["in.traj"], "-o", tmp_path / "new.xyz", "--calculator", "sw-si"),
        *("--labels", "gradient", "-j", 1, "--select", done.paths["si.vibent"]),
    )
    result = vibent(*arguments, "--budget", 2, "--json")
    assert (result.code, result.err) == (0, "")
    data = strict_json(result.out)
    gains = [choice["gain"] for choice in data["selected"]]
    assert len(gains) == data["labelled"] == 2
    assert gains[0] >= gains[1] > 0
    again = vibent(*arguments, "--budget-atoms", 16)
    assert "2 of 6 structures chosen" in again.out
    assert "0 labelled, 2 found" in again.out


def test_info_shows_what_the_model_is(done, vibent, strict_json):
    result = vibent("info", done.paths["si.vibent"], "--json")
    assert (result.code, result.err) == (0, "")
    header = strict_json(result.out)
    assert header["descriptor"]["species"] == ["Si"]
    assert header["descriptor"]["cutoff"] == 4
    assert header["errors"] == strict_json(done.train.out)["errors"]


@pytest.mark.parametrize("command", ["evaluate", "predict", "info"])
def test_tables_for_people(done, command, vibent, strict_json):
    inputs = {"evaluate": ["labels.xyz"], "predict": ["in.traj"], "info": []}[command]
    result = vibent(command, done.paths["si.vibent"], *(done.paths[name] for name in inputs))
    assert (result.code, result.err) == (0, "")
    assert len(result.out.splitlines()) >= 3
    with pytest.raises(ValueError, match=r"."):
        strict_json(result.out)


def test_search_and_learning_curves(done, tmp_path, vibent, strict_json):
    trials = tmp_path / "trials.jsonl"
    line = ["tune", done.paths["labels.xyz"], "-o", trials, "-j", 1]
    line += ["--cutoffs", 3.5, 4, "--orders", 2, "--degrees", 4, 6]
    line += ["--descriptors", "AFS(cutoff=4.0, n_max=2, l_max=2)"]
    table = vibent(*line)
    assert (table.code, table.err) == (0, "")
    assert len(table.out.splitlines()) == 7
    again = strict_json(vibent(*line, "--json").out)
    assert len(again) == len(trials.read_text(encoding="utf-8").splitlines()) == 5
    assert again == sorted(again, key=lambda trial: trial["score"])
    for against, extra in (
        ("configurations", ["--values", 2, 4]),
        ("test-fraction", ["--values", 0.5]),
        ("cutoff", ["--values", 3.5, 4]),
        ("basis", ["--values", 3, 4]),
    ):
        curve = vibent(
            *("learn", done.paths["labels.xyz"], "--against", against, "--splits", 2, "-j", 1),
            *("--cutoff", 4, "--order", 2, "--degree", 4, "--plot", tmp_path / "curve.png"),
            *("-o", tmp_path / "curve.json", *extra),
        )
        assert (curve.code, curve.err) == (0, "")
        points = strict_json((tmp_path / "curve.json").read_text(encoding="utf-8"))
        assert {point["x"] for point in points}
        assert (tmp_path / "curve.png").stat().st_size > 10_000


def test_train_with_all_that_there_is(done, tmp_path, vibent):
    model = tmp_path / "all.vibent"
    result = vibent(
        *("train", done.paths["labels.xyz"], "-o", model, "--quadratic", 3, "--error-budget"),
        *("--solver", "bayesian-ridge", "--descriptor", "AFS(n_max=3, l_max=3)", "--cutoff", 4),
    )
    assert (result.code, result.err) == (0, "")
    assert "AFS(cutoff=4.0, n_max=3, l_max=3)" in result.out
    assert "to halve it" in result.out
    loaded = SiteModel.load(model)
    assert loaded.curvature.curvatures.shape == (1, 3)
    assert loaded.header["budget"]["total"]["total"] > 0


def test_predictions_carry_their_uncertainty(done, strict_json):
    row = strict_json(done.predict.out)[0]
    assert 0 < row["entropy_std_eV_per_K"] < 0.1 * abs(row["entropy_eV_per_K"])
    assert 0 < row["largest_extrapolation_grade"] < 2
    frame = ase.io.read(done.paths["out.xyz"], index=0)
    assert frame.arrays["predicted_extrapolation_grades"].shape == (8,)
    assert frame.info["predicted_entropy_std"] == pytest.approx(row["entropy_std_eV_per_K"])


# --- Mistakes -------------------------------------------------------------------------------

LABEL = "label good.traj -o new.xyz --calculator"
SMALL = "--cutoff 4 --order 2 --degree 4"
TRAIN = f"train labels.xyz -o new.vibent {SMALL}"
#: Command line, and a word that the message must hold.
MISTAKES = {
    "missing structure": ("predict si.vibent none.xyz", "no such file"),
    "unreadable structure": ("predict si.vibent junk.xyz", "junk.xyz"),
    "folder as structure": ("predict si.vibent .", "read"),
    "unknown calculator": (f"{LABEL} swsi", "swsi"),
    "empty calculator": (f"{LABEL} :", "calculator"),
    "no such module": (f"{LABEL} no_such_module:Potential", "no_such_module"),
    "relative module": (f"{LABEL} .emt:EMT", "emt"),
    "no such class": (f"{LABEL} user_potentials:Missing", "Missing"),
    "module that raises": (f"{LABEL} broken_potentials:Potential", "no licence"),
    "module with a typo": (f"{LABEL} misspelt_potentials:Potential", "misspelt_potentials"),
    "wrong keywords": (f"{LABEL} user_potentials:no_calculator(depth=3)", "depth"),
    "positional arguments": (f"{LABEL} ase.calculators.emt:EMT(3)", "keyword"),
    "several lines of error": (f"{LABEL} user_potentials:crashes", "first line"),
    "no calculator": (f"{LABEL} user_potentials:no_calculator", "calculator"),
    "no analytic Hessian": (f"{LABEL} emt --method analytic", "no analytic Hessian"),
    "no forces": (f"{LABEL} user_potentials:EnergyOnly", "forces"),
    "NaN positions to label": (f"{LABEL.replace('good', 'nan')} sw-si", "NaN"),
    "labels into a file's folder": (f"{LABEL} sw-si".replace("new", "file/new"), "file/new.xyz"),
    "labels into a foreign file": (f"{LABEL} sw-si".replace("new", "junk"), "junk.xyz"),
    "missing crystal": (f"{LABEL} sw-si --reference none.cif", "no such file"),
    "crystal of another cell": (
        "label strained.traj -o new.xyz --calculator sw-si --reference good.traj",
        "strain",
    ),
    "budget of nothing": (f"{LABEL} sw-si --budget 3", "--select"),
    "selection without a budget": (f"{LABEL} sw-si --select si.vibent", "--budget"),
    "selection by a file of labels": (
        f"{LABEL} sw-si --select labels.xyz --budget 1",
        "not a coefficient file",
    ),
    "ball wider than the cell": (
        "verify si.vibent good.traj --calculator sw-si --radius 3",
        "own images",
    ),
    "unknown species": ("predict si.vibent copper.traj", "Cu"),
    "no neighbours": ("predict si.vibent lone.traj", "neighbour"),
    "two atoms on one spot": ("predict si.vibent twins.traj", "one spot"),
    "NaN positions": ("predict si.vibent nan.traj", "NaN"),
    "zero temperature": ("predict si.vibent good.traj -T 0", "temperature"),
    "negative temperature": ("predict si.vibent good.traj --temperature=-5", "temperature"),
    "nan temperature": ("predict si.vibent good.traj -T nan", "temperature"),
    "predictions into a file's folder": ("predict si.vibent good.traj -o file/o.xyz", "file"),
    "missing labels": ("train none.xyz -o new.vibent", "none.xyz"),
    "junk labels": ("train junk.xyz -o new.vibent", "junk.xyz"),
    "no labels": (TRAIN.replace("labels.", "plain."), "vibent label"),
    "no reference": (TRAIN.replace("labels.", "orphans."), "reference"),
    "reference of another cell": (TRAIN.replace("labels.", "mixed."), "cell"),
    "test fraction": (f"{TRAIN} --test-fraction 1.5", "1.5"),
    "nothing to fit": (f"{TRAIN} --quantities strain", "strain"),
    "no such descriptor": (f"{TRAIN} --descriptor SOAP", "SOAP"),
    "malformed descriptor": (f"{TRAIN} --descriptor AFS(3)", "keyword"),
    "file that is no search": ("tune labels.xyz -o labels.xyz", "no trial"),
    "more than there are": ("learn labels.xyz --values 400", "400"),
    "model into a file's folder": (TRAIN.replace("new", "file/new"), "file/new.vibent"),
    "plot into a file's folder": (f"{TRAIN} --plot file/fit.png", "file"),
    "plot of no known format": (f"{TRAIN} --plot fit.doc", "fit.doc"),
    "evaluation without labels": ("evaluate si.vibent plain.xyz", "vibent label"),
    "evaluation without reference": ("evaluate si.vibent orphans.xyz", "reference"),
    "evaluation plot": ("evaluate si.vibent labels.xyz --plot file/p.png", "file"),
    "demo into a file": ("demo -o file", "file"),
    "missing model": ("info none.vibent", "no such file"),
    "folder as model": ("info .", "read"),
    "truncated model": ("info truncated.vibent", "truncated.vibent"),
    "altered model": ("info altered.vibent", "altered.vibent"),
    "text as model": ("predict text.vibent good.traj", "not a coefficient file"),
    "empty model": ("info empty.vibent", "empty.vibent"),
    "foreign model": ("evaluate foreign.vibent labels.xyz", "not a coefficient file"),
    "pickled model": ("info pickled.vibent", "not a coefficient file"),
    "structure as model": ("info good.traj", "not a coefficient file"),
    "newer model": ("info newer.vibent", "upgrade"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_mistake_gives_one_clear_line(shop, mistake, vibent):
    line, word = MISTAKES[mistake]
    result = vibent(*line.split())
    assert result.code == 1
    assert word in result.err
    assert result.err.startswith(f"vibent {line.split()[0]}: ")
    assert len(result.err.splitlines()) == 1
    assert not (shop / "new.vibent").exists()  # no model is left of a run that failed


WRONG_USAGE = [
    "",
    "nonsense",
    "label",
    "label good.traj -o new.xyz --calculator sw-si --unstable few",
    "label good.traj -o new.xyz --calculator sw-si -j 0",
    "label good.traj -o new.xyz --calculator sw-si --unstable -1",
    "label good.traj -o new.xyz --calculator sw-si --displacement nan",
    "label good.traj -o new.xyz --calculator sw-si --interaction-range 0",
    "verify si.vibent good.traj --calculator sw-si --method guess",
    "label good.traj -o new.xyz --calculator sw-si --mesh fine",
    "label good.traj -o new.xyz --calculator sw-si --mesh 2x2",
    "label good.traj -o new.xyz --calculator sw-si --mesh 2x0x2",
    "events good.traj -o new.xyz --calculator sw-si --mesh 1x1x1x1",
    "formation good.traj --reference good.traj --calculator sw-si --mesh 2,2,2",
    "rate good.traj good.traj --calculator sw-si --mesh -1x1x1",
    "make rattle good.traj -o new.xyz --amplitude nan",
    "make interstitials good.traj -o new.xyz --directions 1100",
    "predict si.vibent",
    "predict si.vibent good.traj -T warm",
    "train labels.xyz -o new.vibent --solver magic",
    "train labels.xyz -o new.vibent --cutoff -4",
    "tune labels.xyz",
    "learn labels.xyz --against time",
    "train labels.xyz -o new.vibent --quantities energy",
    "info si.vibent --colour",
]


@pytest.mark.parametrize("line", WRONG_USAGE)
def test_wrong_usage_exits_with_2(shop, line, vibent):
    result = vibent(*line.split())
    assert result.code == 2
    assert "usage: vibent" in result.err


def test_any_altered_byte_of_the_index_is_noticed_or_harmless(done, tmp_path):
    """Some bytes at the end of a zip archive mean nothing, dates for instance; none may crash."""
    content = done.paths["si.vibent"].read_bytes()
    weights = SiteModel.load(done.paths["si.vibent"]).weights
    path, crashes = tmp_path / "altered.vibent", {}
    for place in range(len(content) - 420, len(content)):
        altered = bytearray(content)
        altered[place] ^= 1
        path.write_bytes(altered)
        try:
            np.testing.assert_array_equal(SiteModel.load(path).weights, weights)
        except ModelFileError:
            continue
        except Exception as error:
            crashes[place] = f"{type(error).__name__}: {error}"
    assert not crashes


# --- Imports and places ---------------------------------------------------------------------


def python(code: str, folder: Path, **environment: str) -> str:
    environment = {**os.environ, **environment}
    environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=True
    ).stdout


def test_import_is_light(tmp_path):
    code = "import sys, ase_vibent; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = python(code, tmp_path).split()
    assert "ase_vibent" in loaded
    assert {"numba", "phonopy", "matplotlib", "sklearn"}.isdisjoint(loaded)


def test_all_names_are_listed_once():
    listed = dir(ase_vibent)
    assert set(ase_vibent.__all__) <= set(listed)
    assert len(listed) == len(set(listed))


def test_works_where_nothing_can_be_written(done, tmp_path):
    """Neither beside the package nor at home; plain files in the way stop even root."""
    package = tmp_path / "site" / "ase_vibent"
    shutil.copytree(
        Path(ase_vibent.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    for folder in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").write_text("in the way", encoding="utf-8")
    home = tmp_path / "home"
    home.write_text("no folder", encoding="utf-8")
    # All that is compiled is compiled alike; these functions soonest.
    code = f"""if True:
        import numpy as np, ase_vibent
        ase_vibent.SiteEntropyCalculator({str(done.paths["si.vibent"])!r})
        from ase_vibent.neighbours.cell_list import bounds, fold
        points = np.arange(8.0).reshape(2, 4)
        print(ase_vibent.__file__)
        print(*bounds(points)[1], *fold(points, np.zeros(2, dtype=int), 1)[0])
    """
    places = {"HOME": str(home), "XDG_CACHE_HOME": str(home), "PYTHONPATH": str(package.parent)}
    where, numbers = python(code, tmp_path, **places).splitlines()
    assert Path(where).parent == package
    assert [float(number) for number in numbers.split()] == [4, 4, 4, 4, 6, 8]
