"""Labels of moments, and what is learned of them."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.units import kB

from ase_vibent import ACE, HessianEntropyCalculator, attach_labels, dataset
from ase_vibent.errors import LabelError, TrainingError
from ase_vibent.harmonic.entropy import reduced_entropy
from ase_vibent.harmonic.moments import mass_factors
from ase_vibent.labelling.run import LabelTask
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.training.features import FrameFeatures
from ase_vibent.training.moments import fit_moments, moment_targets


def test_densities_of_crystals(moment_frames, moment_model, tmp_path):
    """Crystals alone have them; their moments are those of the labels, their ln λ the entropy."""
    crystal, *others = moment_frames
    assert not any(dataset.DENSITIES in atoms.arrays for atoms in others)
    nodes, weights = crystal.arrays[dataset.DENSITIES].reshape(len(crystal), 2, -1).swapaxes(0, 1)
    np.testing.assert_allclose(weights.sum(axis=1), 3, rtol=1e-12)
    factors = mass_factors(*[1 / crystal.get_masses()[:1]] * 2)[0]
    # The cell is one lattice constant wide, and meets its own images.
    moments = crystal.arrays[dataset.MOMENTS] @ factors.T
    of_nodes = (weights * nodes).sum(axis=1)
    np.testing.assert_allclose(of_nodes, moments[:, 0], rtol=1e-3)
    reduced = (weights * reduced_entropy(nodes)).sum(axis=1)
    bulk = crystal.arrays[dataset.BULK] / kB - 3  # at T0
    # A mesh of 24 points misses about 1e-3 k_B of the acoustic modes, which all statistics share.
    np.testing.assert_allclose(reduced, bulk, atol=2e-3)
    assert moment_model.moments.nodes[0] == pytest.approx(nodes.mean(axis=0), rel=1e-6)
    assert moment_model.moments.masses == pytest.approx(crystal.get_masses()[:1])


def test_no_crystal_no_quantum_statistics(moment_frames):
    features = FrameFeatures(ACE(["Si"], cutoff=4.2, order=2, degree=4))
    shift = np.zeros((1, features.descriptor.n_features))
    assert fit_moments(features, moment_frames[1:], shift) is None


def test_labels_without_densities_are_not_taken_for_finished(moment_frames):
    task = LabelTask(moment_frames[0], name="si16", labels=["moments"])
    assert task.missing_label(moment_frames[0]) is None
    older = moment_frames[0].copy()
    del older.arrays[dataset.DENSITIES]
    assert task.missing_label(older) == "moments"


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
    assert fit_moments(FrameFeatures(both), [mixed], shift) is None  # it has no labels
