"""Features of the frames of a training: computed once, and the same however little is kept."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from ase_vibent import ACE, HessianEntropyCalculator, attach_labels, train
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.quantities import DEFAULT_WEIGHTS
from ase_vibent.training.features import FrameFeatures
from ase_vibent.training.left_out import left_out
from ase_vibent.training.rows import gather_rows
from ase_vibent.training.training_set import TrainingSet

SMALL = ACE(["Si"], cutoff=4.2, order=3, degree=6)


@pytest.fixture
def computed(monkeypatch) -> Counter:
    """How often the features of every structure are computed, by its positions."""
    counts: Counter = Counter()

    def counting(compute):
        def count(self, atoms):
            counts[atoms.positions.tobytes()] += 1
            return compute(self, atoms)

        return count

    for name in ("compute", "compute_with_gradients"):
        monkeypatch.setattr(ACE, name, counting(getattr(ACE, name)))
    return counts


@pytest.fixture(scope="module")
def moment_frames(rattle):
    """Totals and moments of a perfect and of rattled crystals."""
    exact = HessianEntropyCalculator(stillinger_weber_silicon(), unstable="any")
    crystal = bulk("Si", "diamond", a=5.431, cubic=True) * 2
    frames = [attach_labels(crystal, exact, name="si64", labels=["moments"])]
    cells = [rattle(crystal, 0.1, seed) for seed in range(2)]
    return frames + [attach_labels(a, exact, reference="si64", labels=["moments"]) for a in cells]


@pytest.fixture(scope="module")
def energy_frames(rattle):
    """Energies and forces of copper with gold, without a perfect crystal."""
    crystal = bulk("Cu", "fcc", a=3.7, cubic=True)
    exact = HessianEntropyCalculator(EMT(), unstable="any", mesh="gamma")
    cells = [rattle(crystal, 0.2, seed) for seed in range(4)]
    for number, atoms in enumerate(cells):
        atoms.numbers[:number] = 79
    return [attach_labels(atoms, exact, labels=["energies"]) for atoms in cells]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quantities": ["total", "sites"], "quadratic": {"directions": 2}},
        {"quantities": ["sites", "gradient"], "solver": "ard"},
    ],
)
def test_a_frame_is_computed_once(silicon_frames, computed, options):
    model = train(silicon_frames, SMALL, **options)
    assert model.domain is not None
    assert model.posterior is not None
    assert len(computed) == len(silicon_frames)
    assert set(computed.values()) == {1}


def test_a_frame_with_moments_is_computed_once(moment_frames, computed):
    assert train(moment_frames, SMALL).moments is not None
    assert len(computed) == len(moment_frames)
    assert set(computed.values()) == {1}


def test_a_frame_is_computed_once_where_all_make_the_centre(energy_frames, computed):
    basis = ACE(["Au", "Cu"], cutoff=4.0, order=2, degree=4)
    train(energy_frames, basis, target="energy")
    assert len(computed) == len(energy_frames)
    assert set(computed.values()) == {1}


def test_what_does_not_fit_into_memory_is_computed_anew(silicon_frames, computed):
    data = TrainingSet.of(silicon_frames, ["total", "gradient", "sites"])
    # Of three frames: features, and rows of the gradient.
    some = 3 * 8 * SMALL.n_features * (16 + 3 * 16)
    found = []
    for most_bytes in (2**30, some, 0):
        computed.clear()
        features = FrameFeatures(SMALL, again=data.frames, most_bytes=most_bytes)
        rows = gather_rows(features, data)
        fit = rows.problem.fit(rows.merge(DEFAULT_WEIGHTS), "ridge", {})
        totals = [fit.model().evaluate(atoms).values.sum() for atoms in data.frames]
        errors = left_out(fit, data, DEFAULT_WEIGHTS, totals, features=features)
        found.append((computed.total(), rows.merge(DEFAULT_WEIGHTS).factor, errors.errors))
    (least, factor, errors), (more, *some_kept), (most, *none_kept) = found
    assert least == len(data.frames) < more < most
    for other_factor, other_errors in (some_kept, none_kept):
        np.testing.assert_array_equal(other_factor, factor)
        np.testing.assert_allclose(other_errors, errors, rtol=1e-9)
