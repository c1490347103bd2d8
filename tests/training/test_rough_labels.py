"""Labels of rough forces: they count less, and what no smooth function fits is refused."""

import numpy as np
import pytest
from ase.units import kB

from ase_vibent import ACE, dataset, train
from ase_vibent.errors import TrainingError
from ase_vibent.training.training_set import TrainingSet

SMALL = ACE(["Si"], cutoff=4.2, order=3, degree=8)


def with_error(atoms, error):
    """A frame that says its Hessian is off by so much, k_B."""
    changed = atoms.copy()
    changed.info[dataset.ERRORS] = np.array([0.0, 0.0, kB * error])
    return changed


def test_rows_count_as_much_as_they_are_known(silicon_frames):
    """Weights fall as 1/error once labels are worse than a model; the crystal's error cancels."""
    crystal, *others = silicon_frames
    few = [crystal, *(with_error(atoms, 0.0) for atoms in others)]
    for error in (1e-6, 10.0, 100.0):
        frames = [*few[:2], with_error(few[2], error), *few[3:]]
        weights = [target.weight for target in TrainingSet.of(frames).targets]
        assert weights[0] == weights[1] == weights[3] == 1
        if error < 1:
            assert weights[2] == pytest.approx(1, abs=1e-6)
        elif error == 10:
            at_ten = weights[2]
        else:
            assert weights[2] == pytest.approx(at_ten / 10, rel=0.01)
    shared = 100.0 * len(few[2]) / len(crystal)
    frames = [with_error(crystal, 100.0), *others[:1], with_error(others[1], shared), *others[2:]]
    target = TrainingSet.of(frames).targets[2]
    assert target.weight == pytest.approx(1, abs=1e-9)


def test_a_wrong_label_that_says_so_hardly_matters(silicon_frames):
    def total_of(frames):
        model = train(frames, SMALL, quantities=["total", "gradient"])
        return model.evaluate(silicon_frames[3]).values.sum()

    clean = total_of(silicon_frames)
    wrong = [atoms.copy() for atoms in silicon_frames]
    wrong[3].info[dataset.ENTROPY] += 5 * kB
    stated = [*wrong[:3], with_error(wrong[3], 5.0), *wrong[4:]]
    assert abs(total_of(stated) - clean) < 0.05 * abs(total_of(wrong) - clean)


def test_labels_that_no_smooth_function_fits_stop_the_fit(silicon_frames):
    rng = np.random.default_rng(0)
    rough = [atoms.copy() for atoms in silicon_frames]
    for atoms in rough[1:]:
        atoms.arrays[dataset.GRADIENT] = rng.normal(size=(len(atoms), 3)) * kB
    # Fewer coefficients than rows: noise cannot be learned by heart.
    with pytest.raises(TrainingError, match="no smooth function"):
        train(rough, ACE(["Si"], cutoff=4.2, order=2, degree=4), quantities=["gradient"])
