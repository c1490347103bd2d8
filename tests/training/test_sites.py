"""Models of single sites: labels, rows of their gradients, and rows reduced to an R factor."""

import numpy as np
import pytest
from ase.build import bulk
from ase.units import kB

from ase_vibent import ACE, HessianEntropyCalculator, attach_labels, dataset, train, write_labels
from ase_vibent.dataset import read_labels
from ase_vibent.labelling.run import LabelTask, label_structures, labelled_frames
from ase_vibent.potentials import CalculatorSpec, stillinger_weber_silicon
from ase_vibent.regression import r_factor
from ase_vibent.training.report import evaluate_frames
from ase_vibent.training.targets import ReferenceCrystals

SMALL = ACE(["Si"], cutoff=4.2, order=2, degree=8)
SITE_LABELS = ("gradient", "sites", "site_gradients")


def crystal():
    return bulk("Si", "diamond", a=5.431, cubic=True)


@pytest.fixture(scope="module")
def frames(rattle):
    """Perfect crystal of 8 atoms and rattled ones, labelled in the normalised decomposition."""
    exact = HessianEntropyCalculator(
        stillinger_weber_silicon(), crystal=crystal(), decomposition="normalised"
    )
    labelled = [attach_labels(crystal(), exact, name="si8", labels=SITE_LABELS)]
    for seed in range(5):
        atoms = rattle(crystal(), 0.1, seed)
        labelled.append(attach_labels(atoms, exact, reference="si8", labels=SITE_LABELS))
    return labelled


def test_labels_of_sites_add_up(frames):
    for atoms in frames:
        total = atoms.info[dataset.ENTROPY]
        assert atoms.arrays[dataset.SITES].sum() == pytest.approx(total, rel=1e-9)
        by_site = atoms.arrays[dataset.SITE_GRADIENTS].reshape(8, 8, 3)
        gradient = atoms.arrays[dataset.GRADIENT]
        scale = max(np.abs(gradient).max(), kB)
        np.testing.assert_allclose(by_site.sum(axis=0), gradient, atol=1e-3 * scale)


def test_targets_are_gradients_of_the_targets_of_sites(frames):
    """Slopes of the targets themselves along a displacement, not of some other convention."""
    exact = HessianEntropyCalculator(
        stillinger_weber_silicon(), crystal=crystal(), decomposition="normalised"
    )
    atoms, values = frames[1], []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[2, 1] += 1e-3 * sign
        moved = attach_labels(moved, exact, reference="si8", labels=["sites"])
        values.append(ReferenceCrystals([frames[0], moved]).targets(moved).sites)
    expected = (values[0] - values[1]) / 2e-3
    found = ReferenceCrystals(frames).targets(atoms).site_gradients[:, 2, 1]
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_models_learn_gradients_of_sites(frames):
    model = train(frames, SMALL, quantities=["sites", "site_gradients"])
    assert model.header["n_rows"] == len(frames) * (8 + 8 * 8 * 3)
    errors = model.header["errors"]["train"]
    for quantity in ("sites", "site_gradients"):
        assert errors[quantity]["rmse"] < 0.3 * errors[quantity]["spread"]
    by_site = model.site_gradients(frames[2])
    np.testing.assert_allclose(by_site.sum(axis=0), model.evaluate(frames[2]).gradient, atol=1e-10)


@pytest.mark.parametrize("solver", ["ridge", "bayesian-ridge", "ard", "rrqr"])
def test_reduced_rows_carry_the_same_problem(frames, solver, monkeypatch):
    quantities = ["total", "gradient", "sites", "site_gradients"]
    options = {"quantities": quantities, "solver": solver}
    whole = train(frames, SMALL, **options)
    monkeypatch.setattr(r_factor, "PENDING_BYTES", 0)
    reduced = train(frames, SMALL, **options)
    assert reduced.header["n_rows"] == whole.header["n_rows"]
    for key, value in whole.header["solver"].items():
        expected = value if isinstance(value, str) else pytest.approx(value, rel=1e-4)
        assert reduced.header["solver"][key] == expected
    for kind, comparison in evaluate_frames(whole, frames).items():
        other = evaluate_frames(reduced, frames)[kind].predicted
        scale = np.abs(comparison.predicted).max()
        np.testing.assert_allclose(other, comparison.predicted, atol=1e-6 * scale)


def test_files_keep_gradients_of_sites(frames, tmp_path):
    write_labels(tmp_path / "labels.xyz", frames)
    for before, after in zip(frames, read_labels(tmp_path / "labels.xyz"), strict=True):
        name = dataset.SITE_GRADIENTS
        np.testing.assert_array_equal(after.arrays[name], before.arrays[name])


def test_labelling_runs_know_the_decomposition(frames, tmp_path, rattle):
    spec = CalculatorSpec("sw-si")
    atoms = rattle(crystal(), 0.1, 0)
    plain = LabelTask(atoms, labels=SITE_LABELS)
    normalised = LabelTask(atoms, crystal=crystal(), labels=SITE_LABELS)
    assert plain.key(spec.text) != normalised.key(spec.text)
    path = tmp_path / "labels.xyz"
    label_structures([plain, normalised], path, spec, calculator_name=spec.text)
    one, other = labelled_frames([plain, normalised], path, spec.text)
    np.testing.assert_allclose(
        other.arrays[dataset.SITES], frames[1].arrays[dataset.SITES], rtol=1e-12
    )
    assert np.abs(one.arrays[dataset.SITES] - other.arrays[dataset.SITES]).max() > 1e-4 * kB
