"""Labels of moments, and what is learned of them."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from ase_vibent import ACE, HessianEntropyCalculator, attach_labels, dataset
from ase_vibent.errors import LabelError, TrainingError
from ase_vibent.harmonic.entropy import quantum_correction
from ase_vibent.labelling.run import LabelTask
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.training.features import FrameFeatures
from ase_vibent.training.moments import fit_moments, labelled_correction, moment_targets


def test_exact_moments_give_the_correction(moment_frames, sw_sum):
    """Per site, summed: 0.2 % at 100 K and 2e-4 at 200 K, for the bulk as for the vacancy."""
    for atoms in moment_frames[:3]:
        for temperature, tolerance in ((100, 2e-3), (200, 2e-4), (300, 2e-5)):
            exact = sw_sum(lambda x, t=temperature: quantum_correction(x, t).free_energy, atoms)
            total = labelled_correction(atoms, temperature).sum()
            assert total == pytest.approx(exact, rel=tolerance)


def test_labels_know_no_masses_and_are_kept(moment_frames, tmp_path):
    atoms = moment_frames[1].copy()
    del atoms.arrays[dataset.MOMENTS]
    atoms.set_masses(np.linspace(1, 50, len(atoms)))
    exact = HessianEntropyCalculator(stillinger_weber_silicon(), unstable="any")
    heavy = attach_labels(atoms, exact, labels=["moments"])
    label = moment_frames[1].arrays[dataset.MOMENTS]
    np.testing.assert_allclose(heavy.arrays[dataset.MOMENTS], label, rtol=1e-12)
    path = tmp_path / "labels.xyz"
    dataset.write_labels(path, moment_frames[1:2])
    np.testing.assert_array_equal(dataset.read_labels(path)[0].arrays[dataset.MOMENTS], label)
    task = LabelTask(moment_frames[1], labels=["moments"])
    assert task.missing_label(heavy) is None
    assert task.missing_label(atoms) == "moments"


def test_targets_of_frames_that_lack_a_species():
    """Columns are those of all species; no path goes through one that is not there."""
    atoms = Atoms("CSi", positions=np.eye(3)[:2])
    atoms.set_array(dataset.MOMENTS, np.arange(12.0).reshape(2, 6))
    targets = moment_targets(atoms, ["C", "Ge", "Si"])
    # (), C, Ge, Si, C-C, C-Ge, C-Si, Ge-Ge, Ge-Si, Si-Si
    assert targets[0].tolist() == [0, 1, 0, 2, 3, 0, 4, 0, 0, 5]
    atoms.arrays[dataset.MOMENTS] = np.zeros((2, 3))
    with pytest.raises(LabelError, match=r"vibent_moments: expected shape \(2, 6\)"):
        moment_targets(atoms, ["C", "Si"])


def test_kinds_without_labels_of_moments_are_refused(moment_frames):
    mixed = Atoms("SiGe", positions=[[0, 0, 0], [2.4, 0, 0]])
    both = ACE(["Si", "Ge"], cutoff=4.2, order=2, degree=4)
    shift = np.zeros((2, both.n_features))
    with pytest.raises(TrainingError, match="Ge"):
        fit_moments(FrameFeatures(both), [*moment_frames[:2], mixed], shift)
    assert fit_moments(FrameFeatures(both), [mixed], shift) is None  # neither has labels
