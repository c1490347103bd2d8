"""Choices by cross-validation, learning curves, and choices that the data make."""

import json

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.neighborlist import neighbor_list

from ase_vibent import ACE, dataset, train
from ase_vibent.errors import InvalidInputError, LabelError
from ase_vibent.quantities import DEFAULT_WEIGHTS
from ase_vibent.training.budget import _by_law as by_law
from ase_vibent.training.budget import _statistics as budget_statistics
from ase_vibent.training.budget import as_header, error_budget, format_budget
from ase_vibent.training.cross_validation import (
    HeldOutErrors,
    cross_validated_errors,
    fit_rows,
    held_out_errors,
    pooled_errors,
)
from ase_vibent.training.descriptor_choice import choose_descriptor
from ase_vibent.training.features import FrameFeatures
from ase_vibent.training.learning import learning_curve, random_splits, rows_by_configuration
from ase_vibent.training.report import evaluate_frames
from ase_vibent.training.rows import ALWAYS, gather_rows, split_folds
from ase_vibent.training.training_set import TrainingSet
from ase_vibent.training.tuning import nested_groups, tune

SMALL = ACE(["Si"], cutoff=4.2, order=2, degree=6)


@pytest.fixture(scope="module")
def training_set(silicon_frames):
    return TrainingSet.of(silicon_frames)


@pytest.mark.parametrize(
    "changes",
    [
        {"score": np.nan},
        {"score": "low"},
        {"score": -99.0},
        {"score": None},
        {"rmse": {"total": np.nan}},
        {"rmse": {"total": -1.0}},
        {"rmse": {"beauty": 1.0}},
        {"rmse": [1.0]},
        {"rmse": {}},
        {"n_features": "many"},
        {"n_features": 99},
        {"descriptor": "ACE"},
        {"descriptor": {"name": "ACE", "species": 3}},
        {"descriptor": {"name": "ACE", "species": ["Si"], "degree": 1e6}},
        {"descriptor": []},
        {"extra": 1},
        {"setting": ...},
    ],
)
def test_altered_trials_are_refused(training_set, tmp_path, changes):
    path = tmp_path / "trials.jsonl"
    list(tune(training_set, [SMALL], path=path))
    entry = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    text = json.dumps({k: v for k, v in entry.items() if v is not ...}) + "\n"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LabelError, match="line 1 is no trial"):
        list(tune(training_set, [SMALL], path=path))
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("text", ['{"descriptor": {"name": "ACE"}, "others": [1, 2]}', "[1]", "{}"])
def test_results_of_others_are_left_alone(training_set, tmp_path, text):
    """Also where no line break tells that their only line is whole."""
    path = tmp_path / "results.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LabelError, match="line 1 is no trial"):
        list(tune(training_set, [SMALL], path=path))
    assert path.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [path]


def test_smaller_bases_are_parts_of_larger_ones(silicon):
    """Feature by feature: the same numbers, not only the same span."""
    large = ACE(["Si", "C"], cutoff=4.2, order=3, degree=7, l_weight=0.75)
    small = ACE(["Si", "C"], cutoff=4.2, order=2, degree=5, l_weight=0.75)
    part = large.features_within(small)
    assert part.sum() == small.n_features
    atoms = bulk("SiC", "zincblende", a=4.36, cubic=True)
    atoms.positions[0] += [0.1, 0.2, -0.1]
    ours, theirs = large.compute(atoms)[:, part], small.compute(atoms)
    assert np.linalg.matrix_rank(np.hstack([ours, theirs])) == np.linalg.matrix_rank(theirs)
    order = [int(np.abs(ours - column[:, None]).max(axis=0).argmin()) for column in theirs.T]
    assert sorted(order) == list(range(small.n_features))
    np.testing.assert_allclose(ours[:, order], theirs, atol=1e-9 * np.abs(theirs).max())


def test_cross_validation_is_fits_without_the_fold(training_set, silicon_frames):
    """R factors against fitting and predicting anew."""
    rows = gather_rows(FrameFeatures(SMALL), training_set)
    options = {"strength": 1e-6}
    found = cross_validated_errors(rows, DEFAULT_WEIGHTS, "ridge", options)
    folds = np.array(split_folds(silicon_frames))
    squares = {"total": [], "gradient": []}
    for fold in set(folds.tolist()) - {ALWAYS}:
        kept = [silicon_frames[k] for k in np.flatnonzero(folds != fold)]
        left = [silicon_frames[k] for k in np.flatnonzero(folds == fold)]
        model = train(
            kept,
            SMALL,
            weights=DEFAULT_WEIGHTS,
            solver_options=options,
            quantities=("total", "gradient"),
        )
        for kind, comparison in evaluate_frames(model, left, training_set.references).items():
            if kind in squares:
                squares[kind].append((comparison.predicted - comparison.exact) ** 2)
    for kind, values in squares.items():
        expected = np.sqrt(np.concatenate(values).mean())
        assert found.rmse[kind] == pytest.approx(expected, rel=1e-5)


def test_errors_do_not_scale_with_the_weights_of_frames(training_set, silicon_frames):
    """Equal weights are none, in the fit as in the errors."""
    light = [atoms.copy() for atoms in silicon_frames]
    for atoms in light:
        atoms.info[dataset.WEIGHT] = 0.1
    errors = []
    for chosen in (training_set, TrainingSet.of(light)):
        rows = gather_rows(FrameFeatures(SMALL), chosen).restrict(
            ACE(["Si"], cutoff=4.2, order=2, degree=5)
        )
        found = cross_validated_errors(rows, DEFAULT_WEIGHTS, "ridge", {"strength": 1e-6})
        errors.append(found.rmse)
    assert errors[1] == pytest.approx(errors[0], rel=1e-6)


def test_configurations_stay_together(silicon_frames):
    folds = split_folds(silicon_frames)
    assert folds[0] == ALWAYS
    assert sorted(folds[1:]) == [0, 0, 1, 1, 2, 2, 3, 4]
    assert sorted(split_folds(silicon_frames, None)[1:]) == list(range(8))


@pytest.mark.filterwarnings("ignore::ase_vibent.errors.CutRecordWarning")
def test_tune_resumes(training_set, tmp_path):
    grid = [
        ACE(["Si"], cutoff=cutoff, order=order, degree=degree)
        for cutoff in (3.5, 4.2)
        for order in (1, 2)
        for degree in (4, 6)
    ]
    groups = nested_groups(grid)
    assert [len(group) for group in groups] == [4, 4]
    path = tmp_path / "tune.jsonl"
    trials = list(tune(training_set, grid[:4], path=path))
    assert {t.n_features for t in trials} == {d.n_features for d in grid[:4]}
    lines = path.read_text(encoding="utf-8")
    path.write_text(lines + '{"descriptor": {"na', encoding="utf-8")  # killed while it wrote
    again = list(tune(training_set, grid, path=path))
    assert len(again) == 8
    assert path.read_text(encoding="utf-8").startswith(lines)
    assert len(path.read_text(encoding="utf-8").splitlines()) == 8
    by_key = {json.dumps(t.descriptor): t for t in again}
    for trial in trials:
        assert by_key[json.dumps(trial.descriptor)].rmse == trial.rmse
    # Another setting does not use them.
    other = list(tune(training_set, grid[:1], path=path, weights=DEFAULT_WEIGHTS | {"total": 5}))
    assert other[0].rmse != by_key[json.dumps(other[0].descriptor)].rmse
    assert set(tmp_path.iterdir()) == {path, path.with_name("tune.jsonl.cut")}
    for foreign in ("no trial\n", "no trial"):
        path.write_text(foreign, encoding="utf-8")
        with pytest.raises(LabelError, match="line 1"):
            list(tune(training_set, grid, path=path))
        assert path.read_text(encoding="utf-8") == foreign
    with pytest.raises(LabelError, match="cannot write it"):
        list(tune(training_set, grid, path=tmp_path / "none" / "tune.jsonl"))


def test_two_searches_do_not_share_a_file(training_set, tmp_path):
    path = tmp_path / "tune.jsonl"
    grid = [ACE(["Si"], cutoff=3.5, order=1, degree=degree) for degree in (3, 4)]
    trials = tune(training_set, grid, path=path)
    first = next(trials)
    before = path.read_bytes()
    with pytest.raises(LabelError, match="another run is writing to it"):
        next(tune(training_set, grid, path=path))
    assert path.read_bytes() == before
    trials.close()
    again = {trial.n_features: trial.rmse for trial in tune(training_set, grid, path=path)}
    assert again.keys() == {3, 4}
    assert again[first.n_features] == first.rmse
    finished = path.read_bytes()
    assert again == {t.n_features: t.rmse for t in tune(training_set, grid, path=path)}
    assert path.read_bytes() == finished


def test_nested_trials_are_those_of_the_descriptor_alone(training_set):
    large = ACE(["Si"], cutoff=4.2, order=2, degree=8)
    together = {t.n_features: t for t in tune(training_set, [large, SMALL])}
    alone = next(iter(tune(training_set, [SMALL])))
    for kind, value in alone.rmse.items():
        assert together[SMALL.n_features].rmse[kind] == pytest.approx(value, rel=1e-4)


def test_learning_curve_and_splits(training_set):
    rows = rows_by_configuration(SMALL, training_set)
    curve = list(learning_curve(rows, [2, 6], 3, test_fraction=0.25))
    assert [(s.n_train, s.n_test) for s in curve] == [(2, 2), (6, 2)] * 3
    mean = {n: np.mean([s.rmse["gradient"] for s in curve if s.n_train == n]) for n in (2, 6)}
    assert mean[6] < mean[2]
    splits = list(random_splits(rows, [0.1, 0.5], 2))
    assert [(s.n_train, s.n_test) for s in splits] == [(7, 1)] * 2 + [(4, 4)] * 2
    with pytest.raises(InvalidInputError, match="sizes"):
        list(learning_curve(rows, [7], test_fraction=0.25))
    with pytest.raises(InvalidInputError, match="fractions"):
        list(random_splits(rows, [1.0], 1))


def test_descriptor_from_the_data(training_set, silicon_frames):
    chosen = choose_descriptor(training_set).descriptor
    assert chosen.species == ("Si",)
    assert chosen.r0 == pytest.approx(2.352, abs=0.001)
    assert chosen.cutoff == pytest.approx(5.0, abs=0.1)
    assert chosen.inner < 2.35
    # 8 cells give 384 rows or so: no thousand coefficients.
    assert 30 < chosen.n_features < training_set.n_rows / 3
    assert choose_descriptor(training_set, cutoff=4.0, degree=5).descriptor.degree == 5
    totals = TrainingSet.of(silicon_frames, ["total"])
    assert choose_descriptor(totals).descriptor.n_features < chosen.n_features
    model = train(silicon_frames, {"cutoff": 4.0})
    assert model.descriptor.cutoff == 4.0
    assert dataset.NAME in silicon_frames[0].info


def test_pair_functions_are_chosen_where_they_help(rattle):
    """Energies of a table of pairs with straight lines between its points."""
    crystal, table = bulk("Si", cubic=True), np.random.default_rng(2).normal(size=60)

    def energy(r):
        return np.interp(r, np.arange(60) * 0.1, table) * (1 - r / 4.6) ** 2

    frames = []
    for seed in range(14):
        atoms = rattle(crystal, 0.5, seed)
        i, r, vectors = neighbor_list("idD", atoms, 4.6)
        slopes = (energy(r + 1e-6) - energy(r)) / 1e-6
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, i, 2 * (slopes / r)[:, None] * vectors)
        atoms.calc = SinglePointCalculator(atoms, energy=energy(r).sum(), forces=forces)
        frames.append(atoms)
    model = train(frames, {"cutoff": 4.6, "l_weight": 0.75}, target="energy")
    assert "PairFunctions" in json.dumps(model.descriptor.to_dict())
    trials = model.header["descriptor_trials"]
    assert trials[0]["descriptor"]["name"] == "ACE"
    assert min(trial["score"] for trial in trials[1:4]) < trials[0]["score"] - 0.05
    ours = choose_descriptor(TrainingSet.of(frames, target="energy"), order=2, degree=5)
    assert isinstance(ours.descriptor, ACE)
    assert not ours.trials


def test_error_budget(silicon_frames):
    """A coarse basis is blamed on the basis."""
    training_set = TrainingSet.of(silicon_frames)
    coarse = ACE(["Si"], cutoff=4.2, order=2, degree=3)
    budget = error_budget(training_set, coarse, DEFAULT_WEIGHTS, {})["gradient"]
    assert budget.basis > 0.5 * budget.total
    assert list(budget.cutoff_errors) == ["4.2", "5.04", "5.88"]
    assert budget.cutoff_errors["4.2"] == budget.total
    fine = ACE(["Si"], cutoff=4.2, order=3, degree=8)
    scarce = error_budget(training_set, fine, DEFAULT_WEIGHTS, {})["gradient"]
    assert scarce.total < budget.total
    for part in ("truncation", "basis", "statistics", "solver"):
        assert 0 <= getattr(scarce, part) <= scarce.total
    assert "degree" in budget.advice(4.2)
    text = format_budget(as_header({"gradient": budget}), 4.2)
    assert "to halve it: a total degree" in text


def test_statistics_of_a_known_curve():
    """e² = a + b/n through three sizes; what is left at all five folds is b/5."""
    fewer = {m: HeldOutErrors({"total": np.sqrt(0.04 + 0.5 / m)}, {}) for m in (1, 2)}
    own = HeldOutErrors({"total": np.sqrt(0.04 + 0.5 / 4)}, {})
    assert budget_statistics(own, fewer, "total", 5) == pytest.approx(np.sqrt(0.1))
    # From 4 to 4.8 Å, e0 = 3 and C r^-3 = 4: the law gives the 4 back.
    assert by_law(5.0, np.sqrt(9 + 16 * 1.2**-6), 1.2) == pytest.approx(4.0)


@pytest.mark.parametrize("single", [False, True])
def test_cross_validated_strength_is_that_of_least_errors(training_set, single):
    """Against fits one by one at many fixed strengths; folds of one configuration are grouped."""
    folds = split_folds(training_set.frames, None if single else 4)
    rows = gather_rows(FrameFeatures(SMALL), training_set, folds=folds)
    fit = fit_rows(rows, DEFAULT_WEIGHTS, "ridge", {"strength": "cv"})
    assert fit.solution.details["chosen_by"] == "cross-validation"
    best = fit.solution.details["strength"]
    groups = [rows.folds[k::5] for k in range(min(5, len(rows.folds)))]

    def score(strength):
        parts = [
            held_out_errors(
                rows,
                {*rows.folds} - {*group},
                group,
                DEFAULT_WEIGHTS,
                "ridge",
                {"strength": strength},
            )
            for group in groups
        ]
        return pooled_errors(parts).score

    found = score(best)
    assert all(found <= score(best * factor) + 1e-9 for factor in np.geomspace(1e-6, 1e6, 19))


def test_few_rows_are_fitted_by_cross_validation(training_set, silicon_frames):
    """Totals alone, as many as functions; with their gradients, evidence does."""
    many = [*silicon_frames, *(with_key(a, k) for k, a in enumerate(silicon_frames[1:]))]
    chosen = {}
    for quantities in (("total",), ("total", "gradient")):
        rows = gather_rows(FrameFeatures(SMALL), TrainingSet.of(many, quantities))
        fit = fit_rows(rows, DEFAULT_WEIGHTS, "ridge", {})
        chosen[quantities] = fit.solution.details["chosen_by"]
        again = fit_rows(rows, DEFAULT_WEIGHTS, "ridge", {})
        np.testing.assert_array_equal(again.solution.coefficients, fit.solution.coefficients)
    assert chosen == {("total",): "cross-validation", ("total", "gradient"): "evidence"}
    # Fewer than ten configurations choose nothing.
    rows = gather_rows(FrameFeatures(SMALL), TrainingSet.of(silicon_frames, ("total",)))
    fit = fit_rows(rows, DEFAULT_WEIGHTS, "ridge", {})
    assert fit.solution.details["chosen_by"] == "evidence"
    with pytest.raises(InvalidInputError, match="two configurations"):
        fit_rows(rows, DEFAULT_WEIGHTS, "ridge", {"strength": "cv"}, folds=rows.folds[:1])


def with_key(atoms, number):
    """The same structure as another configuration, moved as a whole."""
    copy = atoms.copy()
    copy.positions += [0.1 + 0.01 * number, 0.0, 0.0]
    copy.info[dataset.KEY] = f"moved {number}"
    return copy
