"""Events: searches that resume, tables in detailed balance, surrogates of frequency and barrier."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import kB

from ase_vibent import AFS, HessianEntropyCalculator, attach_labels, dataset
from ase_vibent.cli import main
from ase_vibent.errors import (
    InvalidInputError,
    InvalidStructureError,
    LabelError,
    TrainingError,
)
from ase_vibent.events import (
    Event,
    EventSurrogate,
    EventTable,
    SearchSummary,
    find_events,
    read_events,
    split_errors,
)
from ase_vibent.events.search import search_list
from ase_vibent.hessian import HessianOptions
from ase_vibent.stationary import path_saddle, relax
from ase_vibent.thermo import attempt_frequency
from ase_vibent.thermo.rates import PLANCK

SEARCHES = 5


@pytest.fixture(scope="module")
def minimum() -> Atoms:
    """A vacancy in copper, 15 atoms."""
    atoms = bulk("Cu", "fcc", a=3.5898, cubic=True) * (2, 2, 1)
    del atoms[0]
    return relax(atoms, EMT(), fmax=1e-4)


@pytest.fixture(scope="module")
def around(minimum: Atoms) -> list[int]:
    """The twelve neighbours of the empty site."""
    probe = minimum + Atoms("H", positions=[[0, 0, 0]])
    distances = probe.get_distances(-1, range(len(minimum)), mic=True)
    return [int(k) for k in np.flatnonzero(distances < 3.0)]


def searched(
    minima: list[Atoms], path: Path, around: list[int], searches: int = SEARCHES, **options
) -> SearchSummary:
    """At Γ, unless told otherwise: cells are too narrow for a mesh."""
    return find_events(
        minima,
        options.pop("calculator", EMT),
        path,
        searches=searches,
        calculator_name=options.pop("name", "emt"),
        around=[around] * len(minima),
        mesh=options.pop("mesh", "gamma"),
        **options,
    )


@pytest.fixture(scope="module")
def run(minimum, around, tmp_path_factory) -> tuple[Path, SearchSummary]:
    path = tmp_path_factory.mktemp("events") / "cu.events.xyz"
    return path, searched([minimum], path, around)


@pytest.fixture
def events(run) -> list[Event]:
    return read_events(run[0])


@pytest.fixture
def file(run, tmp_path) -> Path:
    """Copy of the run that a test may go on with."""
    for source in (run[0], search_list(run[0])):
        shutil.copy(source, tmp_path / source.name)
    return tmp_path / run[0].name


# --- Searches ---------------------------------------------------------------------------------


def test_every_search_is_accounted_for(run, events):
    path, summary = run
    assert (summary.done, summary.skipped, summary.failed) == (SEARCHES, 0, [])
    assert summary.outcomes.total() == SEARCHES
    assert summary.outcomes["event"] == len(events) >= 3
    outcomes = [json.loads(line)["outcome"] for line in search_list(path).open(encoding="utf-8")]
    assert sorted(outcomes) == sorted(summary.outcomes.elements())
    unstable = [atoms.info[dataset.N_UNSTABLE] for atoms in dataset.read_labels(path)]
    assert unstable == [0, 1, 0] * len(events)
    assert all(event.connected and event.frequency < 0 for event in events)
    assert not path.with_name(f"{path.name}.work").exists()


def test_events_against_elastic_bands(events, minimum):
    exact = HessianEntropyCalculator(EMT(), mesh="gamma")
    event = min(events, key=lambda e: e.barrier)
    band = path_saddle(event.minimum, event.final, EMT(), images=3)
    assert band.connected
    # Forces of 1e-3 eV/Å over soft modes: second order, some 1e-6 eV.
    assert event.barrier == pytest.approx(band.barrier_forward, abs=2e-5)
    assert event.reverse_barrier == pytest.approx(band.barrier_backward, abs=2e-5)
    expected = attempt_frequency(band.minimum_1, band.saddle, exact)
    # Vineyard's ratio changes in first order, by 1e-4 Å or so.
    assert event.attempt_frequency == pytest.approx(expected, rel=2e-3)
    for frame in (event.minimum, event.saddle):
        frame.calc = EMT()
    assert attempt_frequency(event.minimum, event.saddle, exact) == pytest.approx(
        event.attempt_frequency, rel=1e-6
    )


def test_rerun_and_longer_runs(run, file, minimum, around):
    before = file.read_bytes(), search_list(file).read_bytes()
    again = searched([minimum], file, around)
    assert (again.done, again.skipped, again.outcomes) == (0, SEARCHES, run[1].outcomes)
    assert (file.read_bytes(), search_list(file).read_bytes()) == before
    more = searched([minimum], file, around, SEARCHES + 1)
    assert (more.done, more.skipped) == (1, SEARCHES)
    assert file.read_bytes().startswith(before[0])


@pytest.mark.filterwarnings("ignore::ase_vibent.errors.CutRecordWarning")
def test_a_killed_run_goes_on(run, file, minimum, around):
    whole, listed = file.read_text(encoding="utf-8"), search_list(file).read_text(encoding="utf-8")
    kept = [event.key for event in read_events(file)]
    # In the middle of the last event, between two of its frames, and of a line of the list.
    cut = whole.rfind(f"{len(minimum)}\n") + 40
    file.write_text(whole[:cut], encoding="utf-8")
    search_list(file).write_text(listed[: listed.rfind(kept[-1]) + 3], encoding="utf-8")
    assert [event.key for event in read_events(file)] == kept[:-1]
    summary = searched([minimum], file, around)
    assert summary.outcomes == run[1].outcomes
    assert sorted(event.key for event in read_events(file)) == sorted(kept)
    assert [event.barrier for event in read_events(file)] == pytest.approx(
        [event.barrier for event in read_events(run[0])], abs=1e-9
    )

    def interrupted(items, total):
        yield next(iter(items))
        raise KeyboardInterrupt

    file.unlink()
    search_list(file).unlink()
    with pytest.raises(KeyboardInterrupt):
        searched([minimum], file, around, 2, progress=interrupted)
    assert searched([minimum], file, around, 2).skipped == 1


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda line: line.replace('"outcome"', '"outcme"'), "KeyError"),
        (
            lambda line: line.replace('"key": "', '"key": ["').replace('", "min', '"], "min'),
            "no text",
        ),
        (lambda line: json.dumps({**json.loads(line), "outcome": "fine"}), "outcome: expected"),
        (lambda line: json.dumps({**json.loads(line), "key": 3}), "no text"),
        (lambda line: json.dumps({**json.loads(line), "minimum": float("nan")}), "NaN is no"),
        (lambda line: "[" * 100_000, "RecursionError"),
        (lambda line: "7", "TypeError"),
        (lambda line: '{"key": null}', "KeyError"),
    ],
)
def test_damaged_lists_of_searches(file, minimum, around, damage, match):
    first, rest = search_list(file).read_text(encoding="utf-8").split("\n", 1)
    search_list(file).write_text(f"{damage(first)}\n{rest}", encoding="utf-8")
    before = search_list(file).read_bytes(), file.read_bytes()
    with pytest.raises(LabelError, match=rf"line 1 is no outcome.*{match}"):
        searched([minimum], file, around)
    assert (search_list(file).read_bytes(), file.read_bytes()) == before


def test_events_without_what_rates_are_made_of(file):
    def spoilt(number, **info):
        frames = ase.io.read(file, index="0:3")
        for atoms in frames:
            atoms.info["energy"] = atoms.get_potential_energy()
            atoms.calc = None
        frames[number].info |= info
        frames[number].info = {k: v for k, v in frames[number].info.items() if v is not None}
        dataset.write_labels(file, frames)

    for number, info, match in (
        (1, {"energy": np.nan}, "energy: expected a finite number"),
        (0, {"energy": None}, "no energy"),
        (0, {"energy": 1e3}, "lower in energy"),
        (1, {"vibent_unstable_frequency": 0.01}, "expected a number < 0"),
        (1, {"vibent_unstable_frequency": "fast"}, "expected a number < 0"),
        (1, {"vibent_connected": None}, "no vibent_connected"),
        (2, {dataset.ENTROPY: None}, "no vibent_entropy"),
        (2, {dataset.N_MODES: np.nan}, "vibent_n_modes: expected"),
    ):
        original = file.read_bytes()
        spoilt(number, **info)
        with pytest.raises(LabelError, match=match):
            read_events(file)
        file.write_bytes(original)


def test_two_runs_do_not_share_a_file(minimum, around, tmp_path):
    path = tmp_path / "cu.xyz"

    def beside_another(results, total):
        with pytest.raises(LabelError, match="another run is writing to it"):
            searched([minimum], path, around, 1)
        yield from results

    assert searched([minimum], path, around, 1, steps=3, progress=beside_another).done == 1
    assert set(tmp_path.iterdir()) == {path, search_list(path)}


def test_events_are_kept_once(events, minimum, around, tmp_path):
    for event in events:
        assert [other.key for other in events if event.is_same(other)] == [event.key]
        assert event.is_same(event.reversed())
    # Another search from the same place, as far as anyone can tell.
    twin = minimum.copy()
    twin.positions[0] += 1e-9
    summary = searched([minimum, twin], tmp_path / "twins.xyz", around, 1)
    assert summary.outcomes == {"event": 1, "duplicate": 1}
    assert searched([minimum, twin], tmp_path / "twins.xyz", around, 1).outcomes == summary.outcomes


class Recording(EMT):
    """Keeps the positions of every force call."""

    positions: list[np.ndarray] = []  # noqa: RUF012 - of all of them

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        Recording.positions.append(atoms.positions.copy())
        super().calculate(atoms, list(properties), system_changes)


def single_displacements(rest: np.ndarray) -> Counter[tuple[int, float]]:
    """Force calls with one coordinate of a structure displaced: which, and by how much."""
    shifts = np.array(Recording.positions).reshape(-1, rest.size) - rest.ravel()
    single = shifts[np.sum(np.abs(shifts) > 1e-6, axis=1) == 1]
    which = np.abs(single).argmax(axis=1)
    return Counter(
        (int(k), round(float(shift[k]), 6)) for k, shift in zip(which, single, strict=True)
    )


@pytest.mark.filterwarnings("ignore::ase_vibent.errors.NarrowCellWarning")
@pytest.mark.parametrize("mesh", ["gamma", (1, 1, 2)])
def test_an_event_costs_one_hessian_of_each_structure(minimum, around, tmp_path, mesh):
    """Of the saddle too: what proves it is what its label is made of, as the user wants it."""
    Recording.positions.clear()
    path, options = tmp_path / "cu.xyz", HessianOptions(displacement=0.02, symmetry=False)
    asked = {"calculator": Recording, "options": options, "mesh": mesh}
    summary = searched([minimum], path, around, 1, **asked)
    assert summary.outcomes == {"event": 1}
    (event,) = read_events(path)
    once = Counter((k, shift) for k in range(3 * len(minimum)) for shift in (-0.02, 0.02))
    for atoms in (event.minimum, event.saddle, event.final):
        assert single_displacements(atoms.positions) == once
    exact = HessianEntropyCalculator(
        EMT(), unstable=1, displacement=0.02, symmetry=False, mesh=mesh
    )
    label = attach_labels(event.saddle, exact, labels=["total"])
    expected = label.info[dataset.ENTROPY]
    assert event.saddle.info[dataset.ENTROPY] == pytest.approx(expected, rel=1e-9)
    n_modes = 3 * len(minimum) - (3 if mesh == "gamma" else 0)
    for atoms, unstable in ((event.minimum, 0), (event.saddle, 1), (event.final, 0)):
        assert atoms.info[dataset.N_MODES] == n_modes - unstable
        assert (dataset.MESH in atoms.info) == (mesh != "gamma")
    # Another mesh is another search.
    other = "gamma" if mesh != "gamma" else (1, 1, 2)
    again = searched([minimum], path, around, 1, **asked | {"mesh": other, "steps": 3})
    assert again.skipped == 0


class Fragile(EMT):
    """Fails at its hundredth step, unless it is told to be brave."""

    brave = False

    def calculate(self, *args, **kwargs):
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls > 100 and not Fragile.brave:
            raise RuntimeError("out of memory")
        super().calculate(*args, **kwargs)


def test_calculators_that_fail_are_tried_again(minimum, around, tmp_path):
    path = tmp_path / "cu.xyz"
    summary = searched([minimum], path, around, 1, calculator=Fragile)
    assert summary.outcomes.total() == 0
    assert "out of memory" in summary.failed[0][2]
    Fragile.brave = True
    assert searched([minimum], path, around, 1, calculator=Fragile).outcomes == {"event": 1}
    short = searched([minimum], tmp_path / "short.xyz", around, 1, steps=3)
    assert short.outcomes == {"not converged": 1}
    assert searched([minimum], tmp_path / "short.xyz", around, 1, steps=3).done == 0
    assert read_events(tmp_path / "short.xyz") == []


def test_what_is_no_search(minimum, around, file, tmp_path, rattle):
    with pytest.raises(InvalidInputError, match="minima: expected at least one"):
        searched([], tmp_path / "no.xyz", around)
    with pytest.raises(InvalidInputError, match="searches"):
        searched([minimum], tmp_path / "no.xyz", around, 0)
    with pytest.raises(InvalidInputError, match="around"):
        find_events(
            [minimum], EMT, tmp_path / "no.xyz", searches=1, calculator_name="emt", around=[]
        )
    for wrong in ({"radius": -1.0}, {"fmax": 0}, {"steps": 0}):
        with pytest.raises(InvalidInputError, match="expected"):
            searched([minimum], tmp_path / "no.xyz", around, **wrong)
    with pytest.raises(InvalidInputError, match="around"):
        searched([minimum], tmp_path / "no.xyz", [99])
    assert not (tmp_path / "no.xyz").exists()
    with pytest.raises(InvalidStructureError, match="minimum 1: not at rest"):
        searched([minimum, rattle(minimum, 0.1, 0)], tmp_path / "no.xyz", around)
    with pytest.raises(LabelError, match="calculator 'emt'"):
        searched([minimum], file, around, name="another")
    foreign = tmp_path / "foreign.xyz"
    foreign.write_text("some text\n", encoding="utf-8")
    with pytest.raises(LabelError, match="no file of labels"):
        searched([minimum], foreign, around)
    labels = [atoms for atoms in dataset.read_labels(file) if atoms.info["vibent_n_unstable"]]
    for count in (1, 2, len(labels)):  # also too few for an event
        dataset.write_labels(foreign, labels[:count])
        before = foreign.read_bytes()
        for act in (lambda: read_events(foreign), lambda: searched([minimum], foreign, around)):
            with pytest.raises(LabelError, match="expected frames of events"):
                act()
        assert foreign.read_bytes() == before
    listed = search_list(file).read_bytes() + b'{"key": "k", "outcome"\n'
    search_list(file).write_bytes(listed)
    with pytest.raises(LabelError, match=r"searches\.jsonl: line \d+ is no outcome"):
        searched([minimum], file, around)
    assert search_list(file).read_bytes() == listed
    with pytest.raises(LabelError, match="cannot read it"):
        read_events(tmp_path / "missing.xyz")


# --- Tables -----------------------------------------------------------------------------------


def test_rates_are_in_detailed_balance(events, tmp_path):
    table = EventTable.from_events(events)
    temperatures = [300.0, 900.0]
    table.write(tmp_path / "rates.csv", temperatures)
    rows = list(csv.DictReader((tmp_path / "rates.csv").open(encoding="utf-8")))
    exact = HessianEntropyCalculator(EMT(), mesh="gamma")
    assert len(rows) == len(events)
    for row, event in zip(rows, events, strict=True):
        ends = []
        for atoms in (event.minimum, event.final):
            atoms = atoms.copy()
            atoms.calc = EMT()
            vibrations = exact.vibrations(atoms, temperatures)
            ends.append(atoms.get_potential_energy() + vibrations.free_energies)
        for k, temperature in enumerate(temperatures):
            ratio = [float(row[f"{p}rate_{temperature:g}K_per_s"]) for p in ("", "reverse_")]
            expected = np.exp(-(ends[1][k] - ends[0][k]) / (kB * temperature))
            assert ratio[0] / ratio[1] == pytest.approx(expected, rel=1e-6)
        assert float(row["barrier_eV"]) == event.barrier
        assert float(row["attempt_frequency_Hz"]) == event.attempt_frequency


def test_states_are_matched(events, minimum, tmp_path):
    table = EventTable.from_events(events)
    # The vacancy that all searches began with, and where every event led.
    assert set(table.initial) == {0}
    assert 0 not in table.final
    assert len(table.states) == 1 + len(set(table.final))
    back = EventTable.from_events([event.reversed() for event in events], table.states)
    assert np.array_equal(back.final, table.initial)
    assert np.array_equal(back.initial, table.final)
    assert len(back.states) == len(table.states)
    table.write(tmp_path / "rates.json", 500.0)
    found = json.loads((tmp_path / "rates.json").read_text(encoding="utf-8"))
    lowest = minimum.get_potential_energy()
    assert found["states"][0]["energy_eV"] == pytest.approx(lowest, abs=1e-5)
    assert found["events"] == table.rows(500.0)
    with pytest.raises(InvalidInputError, match=r"\.csv or \.json"):
        table.write(tmp_path / "rates.txt")
    EventTable.from_events([]).write(tmp_path / "none.csv")
    assert (tmp_path / "none.csv").read_text(encoding="utf-8").startswith("event,")


def test_commands(run, file, minimum, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ase.io.write("minimum.xyz", minimum)
    crystal = bulk("Cu", "fcc", a=3.5898, cubic=True) * (2, 2, 1)
    ase.io.write("crystal.xyz", crystal)
    words = ["events", "minimum.xyz", "-o", "new.xyz", "--calculator", "emt", "-j", "1", "-n", "1"]
    words += ["--mesh", "gamma"]
    assert main([*words, "--reference", "crystal.xyz", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["searches"], found["found"], found["failed"]) == (1, 0, 0)
    assert found["events"] == len(read_events("new.xyz"))
    assert all(dataset.MESH not in frame.info for frame in dataset.read_labels("new.xyz"))
    assert main([*words, "--reference", "crystal.xyz"]) == 0
    assert "0 searches, 1 found there already" in capsys.readouterr().out
    words = ["export", file.name, "-o", "rates.csv", "-T", "300", "600", "--states", "states.xyz"]
    assert main(words) == 0
    table = EventTable.from_events(read_events(file))
    assert len(ase.io.read("states.xyz", ":")) == len(table.states)
    assert len(Path("rates.csv").read_text(encoding="utf-8").splitlines()) == 1 + len(table.events)
    assert main(["export", file.name, "-o", "rates.txt"]) == 1
    assert ".csv or .json" in capsys.readouterr().err


# --- Surrogates -------------------------------------------------------------------------------


def made(minimum: Atoms, saddle: Atoms, logarithm: float, barrier: float) -> Event:
    """An event of that ln(ν*/THz) and barrier (eV)."""
    # ν* = (k_B T/h) e exp(ΔS/k_B), at 300 K, with a mode less above.
    above = kB * (logarithm - np.log(kB * 300 / PLANCK / 1e12) - 1)
    frames = []
    for atoms, energy, entropy, n_modes in (
        (minimum, -3.0, 0.01, 90),
        (saddle, -3.0 + barrier, 0.01 + above, 89),
        (minimum, -3.0, 0.01, 90),
    ):
        frame = atoms.copy()
        frame.info |= {dataset.ENTROPY: entropy, dataset.N_MODES: n_modes}
        frame.calc = SinglePointCalculator(frame, energy=energy)
        frames.append(frame)
    frames[1].info[dataset.KEY] = "k"
    return Event(*frames)


def features(atoms: Atoms, descriptor, quadratic: bool) -> np.ndarray:
    values = descriptor.compute(atoms)
    products = np.einsum("ia,ib->ab", values, values)[np.triu_indices(values.shape[1])]
    return np.concatenate([values.sum(axis=0), products if quadratic else []])


@pytest.fixture(scope="module")
def pairs(rattle) -> list[tuple[Atoms, Atoms]]:
    """Minima and saddles, as far as a descriptor can tell."""
    cell = bulk("Si", "diamond", a=5.431, cubic=True)
    starts = [rattle(cell, 0.4, seed) for seed in range(90)]
    return [(atoms, rattle(atoms, 0.3, 1000 + seed)) for seed, atoms in enumerate(starts)]


DESCRIPTOR = AFS(["Si"], cutoff=4.0, n_max=3, l_max=1)
#: The form of [Lapointe2022]: D_min ⊕ D_saddle, forwards only.
PAPER = {"difference": False, "both_ways": False}


def synthetic(pairs, quadratic: bool, noise: float = 0.0) -> list[Event]:
    """Events whose targets are models of this kind, plus noise."""
    rng = np.random.default_rng(0)
    columns = np.array(
        [np.concatenate([features(a, DESCRIPTOR, quadratic) for a in pair]) for pair in pairs]
    )
    columns = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    targets = columns @ rng.normal(size=(columns.shape[1], 2)) / np.sqrt(columns.shape[1])
    targets += [2.0, 1.5] + noise * rng.normal(size=targets.shape)
    return [made(*pair, *row) for pair, row in zip(pairs, targets, strict=True)]


@pytest.mark.parametrize("quadratic", [False, True])
def test_a_surrogate_recovers_its_own_kind(pairs, quadratic):
    events = synthetic(pairs, quadratic)
    train, test = events[:70], events[70:]
    surrogate = EventSurrogate.fit(train, DESCRIPTOR, quadratic=quadratic, **PAPER)
    pairs_of_test = [e.minimum for e in test], [e.saddle for e in test]
    found = surrogate.predict(*pairs_of_test)
    exact = [np.log(e.attempt_frequency / 1e12) for e in test]
    np.testing.assert_allclose(found.logarithms, exact, atol=1e-8)
    np.testing.assert_allclose(found.barriers, [e.barrier for e in test], atol=1e-8)
    one = surrogate.predict(test[0].minimum, test[0].saddle)
    assert one.logarithms.shape == one.barriers.shape == one.force_calls.shape == (1,)
    assert one.force_calls.sum() == one.soft_errors.sum() == 0  # no soft modes asked for
    if quadratic:  # what a linear model cannot do
        linear = EventSurrogate.fit(train, DESCRIPTOR, **PAPER)
        missed = linear.predict(*pairs_of_test).barriers - found.barriers
        assert np.abs(missed).max() > 1e-3


@pytest.mark.parametrize("quadratic", [False, True])
def test_predictions_do_not_depend_on_the_description(pairs, quadratic):
    surrogate = EventSurrogate.fit(
        synthetic(pairs, quadratic), DESCRIPTOR, quadratic=quadratic, **PAPER
    )
    turned = []
    for atoms in pairs[0]:
        copy = atoms[np.random.default_rng(1).permutation(len(atoms))]
        copy.rotate(37, (1, 2, 3), rotate_cell=True)
        copy.translate([0.3, -2.0, 11.0])
        turned.append(copy)
    own, other = surrogate.predict(*pairs[0]), surrogate.predict(*turned)
    np.testing.assert_allclose(other.logarithms, own.logarithms, atol=1e-8)
    np.testing.assert_allclose(other.barriers, own.barriers, atol=1e-8)


def test_events_both_ways_by_one_function_of_a_structure(pairs):
    """Barriers both ways are differences of one energy, which the difference model knows."""
    weights = np.random.default_rng(3).normal(size=DESCRIPTOR.n_features)
    energies = [[features(a, DESCRIPTOR, False) @ weights for a in pair] for pair in pairs]
    events = []
    # Event k leads from minimum k to minimum k + 1.
    for k in range(len(pairs) - 1):
        event = made(*pairs[k], 1.0, energies[k][1] - energies[k][0])
        final = made(*pairs[k + 1], 1.0, 0.0).minimum
        shift = event.minimum.get_potential_energy() - energies[k][0]
        final.calc = SinglePointCalculator(final, energy=energies[k + 1][0] + shift)
        events.append(Event(event.minimum, event.saddle, final))
    # Five forwards are too few for the weights, five both ways are enough.
    assert 5 < DESCRIPTOR.n_features + 1 <= 10
    few, test = events[:5], events[20:]
    known = [event.barrier for event in test]
    errors = []
    for both_ways in (False, True):
        surrogate = EventSurrogate.fit(few, DESCRIPTOR, both_ways=both_ways)
        barriers = surrogate.predict([e.minimum for e in test], [e.saddle for e in test]).barriers
        errors.append(np.abs(barriers - known).max())
    assert errors[0] > 1e-3
    assert errors[1] < 1e-8
    found = split_errors(events, DESCRIPTOR, fractions=(0.5,), splits=2)
    assert found.test[0, 1] < 1e-8
    assert found.predicted.shape == (len(events), 2)


def test_species_have_weights_of_their_own(rattle):
    cell = bulk("GaAs", "zincblende", a=5.65, cubic=True)
    descriptor = AFS(["As", "Ga"], cutoff=4.0, n_max=2, l_max=1)
    events = []
    for seed in range(120):
        pair = rattle(cell, 0.4, seed), rattle(cell, 0.6, 500 + seed)
        sums = [descriptor.compute(atoms)[atoms.symbols == "Ga"].sum(axis=0) for atoms in pair]
        events.append(made(*pair, 1.0, float(sums[1][0] - 2 * sums[0][0])))
    surrogate = EventSurrogate.fit(events[:100], descriptor, **PAPER)
    test = events[100:]
    barriers = surrogate.predict([e.minimum for e in test], [e.saddle for e in test]).barriers
    np.testing.assert_allclose(barriers, [e.barrier for e in test], atol=1e-6)


def test_errors_over_splits(pairs):
    noise = 0.05
    events = synthetic(pairs, False, noise)
    found = split_errors(events, DESCRIPTOR, fractions=(0.2, 0.8), splits=10, **PAPER)
    assert found.train.shape == found.test.shape == (2, 2)
    # Noise cannot be predicted; fewer events predict worse.
    assert np.all(found.train[0] < noise * 1.1)
    assert np.all(found.test[0] > noise * 0.8)
    assert np.all(found.test[1] > found.test[0])
    held = ~np.isnan(found.predicted[:, 1])
    residuals = found.predicted[held, 1] - np.array([e.barrier for e in events])[held]
    assert np.sqrt(np.mean(residuals**2)) == pytest.approx(found.test[0, 1], rel=0.3)


def test_minima_are_held_out_whole(pairs):
    # Three minima with thirty saddles each, whose barriers tell nothing but the minimum.
    events = [
        made(pairs[k % 3][0], pairs[k][1], 1.0 + 0.01 * (k // 3), float(k % 3 + 1))
        for k in range(90)
    ]
    for event in events:
        event.minimum.calc = SinglePointCalculator(
            event.minimum, energy=event.minimum.positions.sum()
        )
        event.saddle.calc = SinglePointCalculator(
            event.saddle,
            energy=event.minimum.get_potential_energy() + event.minimum.positions[0, 0],
        )
    together = split_errors(events, DESCRIPTOR, fractions=(0.34,), splits=6, **PAPER)
    apart = split_errors(events, DESCRIPTOR, fractions=(0.34,), splits=6, by_minimum=True, **PAPER)
    assert together.test[0, 1] < 0.1 * apart.test[0, 1]
    with pytest.raises(TrainingError, match="too few to hold"):
        split_errors(events[::3], DESCRIPTOR, by_minimum=True)


def test_what_no_surrogate_can_be_of(pairs):
    events = synthetic(pairs[:10], False)
    with pytest.raises(TrainingError, match="at least three"):
        EventSurrogate.fit(events[:2], DESCRIPTOR)
    surrogate = EventSurrogate.fit(events, DESCRIPTOR)
    assert surrogate.predict([], []).logarithms.shape == (0,)
    with pytest.raises(InvalidInputError, match="as many as minima"):
        surrogate.predict([events[0].minimum], [])
    with pytest.raises(InvalidInputError, match="fractions"):
        split_errors(events, DESCRIPTOR, fractions=(1.5,))
    with pytest.raises(InvalidInputError, match="solver"):
        EventSurrogate.fit(events, DESCRIPTOR, solver="guess")
    # Fewer events than columns: all of them are met, none of the errors is known.
    assert np.isfinite(surrogate.weights).all()
