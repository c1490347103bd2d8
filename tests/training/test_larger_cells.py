"""What small training cells cost in large ones: measured by labels, stated by the model."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.units import kB

from ase_vibent import (
    HessianEntropyCalculator,
    SiteEntropyCalculator,
    SiteModel,
    attach_labels,
    dataset,
    train,
)
from ase_vibent.errors import LabelError
from ase_vibent.structures import embed, vacancies
from ase_vibent.training.larger_cells import USUAL, split_larger_cells
from ase_vibent.training.trainer import split_frames

UNIT = bulk("Si", "diamond", a=5.431, cubic=True)
SMALL, LARGE = UNIT * 2, UNIT * (3, 2, 2)


@pytest.fixture(scope="module")
def frames(rattle):
    """Totals of rattled vacancies in 64 atoms, and one of them in 96."""
    from ase_vibent.potentials import stillinger_weber_silicon

    exact = HessianEntropyCalculator(stillinger_weber_silicon(), unstable="any", bulk_width=8.0)
    cells = [rattle(vacancies(SMALL)[0], 0.1, seed) for seed in range(4)]
    found = [attach_labels(SMALL, exact, name="small", labels=["total"])]
    found += [attach_labels(a, exact, reference="small", labels=["total"]) for a in cells]
    larger, whole = embed(cells[0], SMALL, LARGE), LARGE.copy()
    for atoms in (larger, whole):
        atoms.info[dataset.SIZE_CHECK] = True
    found.append(attach_labels(whole, exact, name="large", labels=["total"]))
    found.append(attach_labels(larger, exact, reference="large", labels=["total"]))
    return found


@pytest.fixture(scope="module")
def model(frames) -> SiteModel:
    return train(frames, {"degree": 8, "order": 2})


def test_larger_cells_are_not_fitted(frames, model):
    fitted, larger = split_larger_cells(frames)
    assert len(larger) == 2
    again = train(fitted, {"degree": 8, "order": 2})
    np.testing.assert_array_equal(model.weights, again.weights)
    assert model.header["n_frames"] == len(fitted)
    assert model.header["reference_crystals"] == ["small"]
    assert float(again.finite_size.relative) == USUAL


def test_larger_cells_are_not_held_out(frames):
    fitted, held_out = split_frames(frames, 0.9, seed=0)
    assert not any(dataset.SIZE_CHECK in atoms.info for atoms in held_out)
    assert len(split_larger_cells(fitted)[1]) == 2


def test_the_error_in_the_larger_cell_is_what_is_stated_there(frames, model):
    atoms = frames[-1]
    sites = model.deviations(atoms)
    exact = atoms.info[dataset.ENTROPY] - frames[-2].info[dataset.ENTROPY]
    bulk_values = frames[-2].arrays[dataset.BULK]
    beyond = (exact + bulk_values[0]) / kB  # one atom is missing
    stated = model.finite_size.site_stds(sites).sum()
    assert stated == pytest.approx(abs(sites.sum() - beyond), rel=1e-6)
    assert model.uncertainty(atoms)[0] > stated


def test_it_grows_with_the_cell_and_with_the_number_of_defects(frames, model):
    """Nothing in cells as small as those of the training, and m-fold for m defects."""
    small = frames[1]
    posterior = model.posterior.std(*model._centre_features(small))[0]
    assert model.uncertainty(small)[0] == pytest.approx(posterior, rel=1e-10)
    parts = []
    for cell in (UNIT * 3, UNIT * (6, 3, 3)):
        atoms = embed(small, SMALL, cell)
        parts.append(model.finite_size.site_stds(model.deviations(atoms)).sum())
    # Perfect atoms between the images see displaced ones on both sides: some per cent of a site.
    assert parts[1] / parts[0] == pytest.approx((1 - 64 / 431) / (1 - 64 / 215), rel=1e-2)
    pair = embed(small, SMALL, UNIT * 3) * (2, 1, 1)
    double = model.finite_size.site_stds(model.deviations(pair)).sum()
    assert double == pytest.approx(2 * parts[1], rel=1e-2)


def test_it_stays_with_the_model(frames, model, tmp_path):
    model.save(tmp_path / "si.vibent")
    again = SiteModel.load(tmp_path / "si.vibent")
    assert again.uncertainty(frames[-1])[0] == pytest.approx(model.uncertainty(frames[-1])[0])
    calculator = SiteEntropyCalculator(again, extrapolation="ignore")
    std = calculator.get_property("entropy_std", frames[-1])
    assert std / kB == pytest.approx(model.uncertainty(frames[-1])[0])


def test_a_larger_cell_needs_its_crystal(frames):
    with pytest.raises(LabelError, match="'large' is not in the dataset"):
        train([*frames[:-2], frames[-1]], {"degree": 8, "order": 2})


def test_command(tmp_path, vibent, strict_json, rattle):
    import ase.io

    cells = [rattle(SMALL, 0.1, 3), *(rattle(vacancies(SMALL)[0], 0.1, s) for s in range(2))]
    ase.io.write(tmp_path / "cells.xyz", cells)
    ase.io.write(tmp_path / "unit.xyz", UNIT)
    labels = tmp_path / "labels.xyz"
    arguments = ["label", tmp_path / "cells.xyz", "-o", labels, "--calculator", "sw-si"]
    arguments += ["--reference", tmp_path / "unit.xyz", "--unstable", "any", "--labels", "total"]
    done = vibent(*arguments, "--check-size", "-j", 1)
    assert done.code == 0, done.err
    # The first cell has no defect; the line names the second.
    assert "cells.xyz frame 1 has" in done.out
    assert "in 63 atoms" in done.out
    assert "in 215" in done.out
    marked = [a for a in dataset.read_labels(labels) if a.info.get(dataset.SIZE_CHECK)]
    assert sorted(len(atoms) for atoms in marked) == [215, 216]
    done = vibent(*arguments[:6], "--check-size")
    assert done.code != 0
    assert "--check-size: needs --reference" in done.err
