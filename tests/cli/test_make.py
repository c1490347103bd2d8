"""`vibent make`: chains of commands, as a user would type them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from ase_vibent.cli.make import KINDS
from ase_vibent.cli.make_kinds import JOBS
from ase_vibent.structures import rattle, vacancies


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With unit cells of copper, silicon and an ordered alloy."""
    alloy = bulk("Cu", "fcc", a=3.7, cubic=True)
    alloy.symbols[0] = "Au"
    ase.io.write(tmp_path / "alloy.cif", alloy)
    ase.io.write(tmp_path / "cu.cif", bulk("Cu", "fcc", a=3.5898, cubic=True))
    ase.io.write(tmp_path / "si.cif", bulk("Si", "diamond", a=5.431, cubic=True))
    return tmp_path


@pytest.fixture
def make(vibent) -> Callable[..., SimpleNamespace]:
    """Run a kind; its result, with frames and JSON where there are any."""

    def run_kind(folder: Path, kind: str, source: str, *options: object) -> SimpleNamespace:
        output = folder / f"{kind}.xyz"
        run = vibent("make", kind, folder / source, "-o", output, "--json", *options)
        run.rows = json.loads(run.out)["structures"] if run.out else []
        run.frames = ase.io.read(output, ":") if output.exists() else []
        return run

    return run_kind


@pytest.mark.parametrize(
    ("kind", "source", "options", "formulas"),
    [
        ("vacancies", "si.cif", "--repeat 2 2 2", ["Si63"]),
        ("vacancies", "alloy.cif", "--repeat 2 2 2", ["Au7Cu24", "Au8Cu23"]),
        ("divacancies", "si.cif", "--repeat 2 2 2 --shell 2", ["Si62"]),
        ("interstitials", "si.cif", "--repeat 2 2 2", ["Si65"] * 5),
        ("interstitials", "cu.cif", "--repeat 2 2 2 --species Au --smallest 1", ["AuCu32"] * 4),
        ("interstitials", "cu.cif", "--repeat 2 2 3 --directions 001 110 1-10 011", ["Cu49"] * 5),
        ("antisites", "alloy.cif", "--repeat 2 2 2", ["Au7Cu25", "Au9Cu23"]),
        ("clusters", "cu.cif", "--repeat 3 3 3 --size 4 -n 3 --seed 7", ["Cu104"] * 3),
        ("clusters", "cu.cif", "--repeat 3 3 3 --of interstitial", ["Cu110"]),
        ("rattle", "si.cif", "-n 3 --amplitude 0.2", ["Si8"] * 3),
        ("strain", "cu.cif", "--strains -0.01 0.03", ["Cu4"] * 2),
        ("damage", "si.cif", "-n 2 --fraction 0.5", ["Si8"] * 2),
    ],
)
def test_kinds_without_a_calculator(folder, kind, source, options, formulas, make):
    run = make(folder, kind, source, *options.split())
    assert run.code == 0, run.err
    assert sorted(row["formula"] for row in run.rows) == formulas
    assert [len(atoms) for atoms in run.frames] == [row["n_atoms"] for row in run.rows]
    assert {atoms.info["made"] for atoms in run.frames} == {kind}
    again = make(folder, kind, source, *options.split())
    for one, other in zip(run.frames, again.frames, strict=True):
        assert np.array_equal(one.positions, other.positions)


def test_every_kind_has_options_and_jobs():
    assert set(JOBS) == set(KINDS)


def test_written_positions_lose_no_digit(folder, make):
    run = make(folder, "rattle", "si.cif", "--seed", "4")
    crystal = ase.io.read(folder / "si.cif")
    expected = rattle(crystal, 0.1, 1, np.random.default_rng(4).spawn(1)[0])[0]
    assert np.array_equal(run.frames[0].positions, expected.positions)


def test_chain_from_interstitials_to_distinct_minima(folder, make):
    make(folder, "interstitials", "cu.cif", "--repeat", "2", "2", "2")
    make(folder, "rattle", "interstitials.xyz")
    reference = ("--reference", folder / "cu.cif")
    force = ("--fmax", "0.02")
    run = make(folder, "relax", "rattle.xyz", "--calculator", "emt", *force, *reference)
    assert run.code == 0, run.err
    for atoms, row in zip(run.frames, run.rows, strict=True):
        assert (row["n_vacancies"], row["n_interstitials"]) == (0, 1)
        energy = atoms.get_potential_energy()
        atoms.calc = EMT()
        assert np.linalg.norm(atoms.get_forces(), axis=1).max() <= 2e-2
        assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
    distinct = make(folder, "unique", "relax.xyz", *reference)
    evaluated = make(folder, "unique", "relax.xyz", "--calculator", "emt", *reference)
    energies = np.sort([row["energy"] for row in distinct.rows])
    assert 1 <= len(energies) < len(run.rows)
    assert np.all(np.diff(energies) > 0.01)
    assert [row["energy"] for row in evaluated.rows] == pytest.approx(
        [row["energy"] for row in distinct.rows], abs=1e-9
    )


def test_path_and_saddles_of_a_vacancy(folder, make):
    crystal = bulk("Cu", "fcc", a=3.5898, cubic=True) * (2, 2, 2)
    initial = vacancies(crystal)[0]
    final = initial.copy()
    final.positions[0] = crystal.positions[0]
    ase.io.write(folder / "ends.traj", [initial, final])
    ase.io.write(folder / "start.traj", initial)
    coarse = ("--calculator", "emt", "--fmax", "0.02", "--displacement", "0.02")
    run = make(folder, "path", "ends.traj", *coarse, "--images", "1")
    assert run.code == 0, run.err
    assert [atoms.info["unstable"] for atoms in run.frames] == [0, 1, 0]
    moved = make(folder, "rattle", "path.xyz", "--amplitude", "0.01")
    # What 'vibent label' would go by, and what was measured, holds for the originals.
    assert all({"unstable", "point", "connected"}.isdisjoint(a.info) for a in moved.frames)
    assert [row["point"] for row in run.rows] == ["minimum_1", "saddle", "minimum_2"]
    saddle = run.rows[1]
    assert saddle["connected"]
    assert saddle["barrier_forward"] == pytest.approx(saddle["barrier_backward"], abs=2e-3)
    few = make(folder, "saddles", "start.traj", *coarse, "-n", "2", "--steps", "12")
    assert few.code == 1
    assert "search 0 failed: dimer: not converged" in few.err
    assert "search 1 failed" in few.err


def test_unstable_modes_are_followed_down(folder, make, vibent):
    cell = bulk("Cu", "bcc", a=2.87, cubic=True) * (2, 2, 2)
    ase.io.write(folder / "centred.traj", cell)
    emt = ("--calculator", "emt")
    held = make(folder, "relax", "centred.traj", *emt)
    (row,) = make(folder, "relax", "centred.traj", *emt, "--follow-unstable").rows
    assert row["energy_gained"] == pytest.approx(held.rows[0]["energy"] - row["energy"], abs=1e-9)
    assert (row["unstable_before"], row["unstable"], row["rounds"]) == (6, 0, 1)
    shown = vibent("make", "strain", folder / "relax.xyz", "-o", folder / "s.xyz")
    assert "gained" not in shown.out  # which held for the minimum
    few = ("--follow-unstable", "--rounds", "1", "--fmax", "9")
    run = make(folder, "relax", "centred.traj", *emt, *few)
    assert (run.code, run.rows) == (1, [])
    assert "unstable modes are left after 1 rounds" in run.err


def test_failing_frames_are_reported_and_the_rest_goes_on(folder, make):
    good = rattle(bulk("Cu", cubic=True), 0.1, 1, 0)[0]
    bad = good.copy()
    bad.symbols[0] = "Fe"  # unknown to the potential
    ase.io.write(folder / "mixed.traj", [bad, good])
    run = make(folder, "relax", "mixed.traj", "--calculator", "emt")
    assert run.code == 1
    assert "mixed.traj frame 0 failed" in run.err
    assert "Traceback" not in run.err
    assert len(run.frames) == 1


@pytest.mark.parametrize("value", [np.eye(3), "large", None, 3])
def test_entries_of_somebody_else_do_not_break_the_table(folder, value, vibent):
    atoms = bulk("Cu", cubic=True)
    atoms.info = dict.fromkeys(("strain", "defect", "connected"), value)
    ase.io.write(folder / "foreign.traj", atoms)
    options = ("make", "rattle", folder / "foreign.traj", "-o", folder / "out.xyz")
    assert (vibent(*options).code, vibent(*options, "--json").code) == (0, 0)


def test_an_interrupted_run_keeps_what_it_made(folder, monkeypatch, make):
    cells = [bulk("Cu", cubic=True) for _ in range(3)]
    ase.io.write(folder / "cells.traj", cells)
    calls = iter([None, KeyboardInterrupt])

    def interrupted(atoms, *args, **kwargs):
        if (stop := next(calls)) is not None:
            raise stop
        return atoms

    monkeypatch.setattr("ase_vibent.stationary.relax", interrupted)
    run = make(folder, "relax", "cells.traj", "--calculator", "emt")
    assert (run.code, len(run.frames)) == (1, 1)
    assert "interrupted; finished structures are kept" in run.err


def test_table_for_people(folder, vibent):
    run = vibent("make", "strain", folder / "cu.cif", "-o", folder / "s.xyz")
    assert run.out.splitlines()[0].split() == [
        "source",
        "what",
        "formula",
        "strain",
        "nearest",
        "(Å)",
    ]
    assert run.out.splitlines()[-1] == f"4 made, 0 failed: {folder / 's.xyz'}"


@pytest.mark.parametrize("position", ["before", "after"])
def test_json_on_either_side_of_the_kind(folder, position, vibent):
    kind = ["strain", folder / "cu.cif", "-o", folder / "s.xyz"]
    run = vibent("make", *(["--json", *kind] if position == "before" else [*kind, "--json"]))
    assert len(json.loads(run.out)["structures"]) == 4


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("antisites cu.cif", "two species"),
        ("vacancies missing.cif", "no such file"),
        ("relax cu.cif --calculator nonsense", "neither one of"),
        ("path cu.cif --calculator emt", "two structures"),
        ("unique cu.cif", "carry none"),
        ("damage cu.cif --reference si.cif", "no repetition"),
        ("strain cu.cif --strains -1", "positive volume"),
    ],
)
def test_mistakes_are_one_line(folder, monkeypatch, command, message, vibent):
    monkeypatch.chdir(folder)
    run = vibent("make", *command.split(), "-o", "out.xyz")
    assert run.code == 1
    assert message in run.err
    assert len(run.err.splitlines()) == 1
    assert not Path("out.xyz").exists()
