"""Frames with unstable and soft modes: counted, and their share of what a fit leaves."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import kB

from ase_vibent import dataset
from ase_vibent.descriptors import SiteSums
from ase_vibent.training.soft_frames import format_soft_frames, soft_frames
from ase_vibent.training.targets import ReferenceCrystals


def frame(gradient: float, n_unstable: float = 0) -> Atoms:
    """Two atoms with a gradient (k_B/Å) on one of them."""
    atoms = bulk("Si")
    on_atoms = np.zeros((2, 3))
    on_atoms[1] = np.array([0.6, 0.0, -0.8]) * gradient * kB
    atoms.info |= {
        dataset.ENTROPY: 0.01,
        dataset.N_MODES: 6 - n_unstable,
        dataset.N_UNSTABLE: n_unstable,
    }
    atoms.info[dataset.MESH] = np.array([2, 2, 2])
    atoms.arrays[dataset.GRADIENT] = on_atoms
    return atoms


def predicted(frames: list[Atoms], totals: list[float], gradients: list[float]) -> list[SiteSums]:
    """Predictions that are off by these (k_B, and k_B/Å in one component)."""
    references = ReferenceCrystals(frames)
    sums = []
    for atoms, total, gradient in zip(frames, totals, gradients, strict=True):
        target = references.targets(atoms)
        values = np.full(2, (target.total + total) / 2)
        off = target.gradient.copy()
        off[0, 1] += gradient
        sums.append(SiteSums(values, off, np.zeros((3, 3))))
    return sums


def test_counts_and_shares():
    frames = [frame(5.9), frame(6.1), frame(20.0, n_unstable=0.25), frame(1.0)]
    sums = predicted(frames, [1.0, 2.0, 3.0, 0.0], [2.0, 0.0, 4.0, 0.0])
    found = soft_frames(frames, ReferenceCrystals(frames), sums)
    assert (found.n_frames, found.n_unstable, found.n_soft) == (4, 1, 1)
    assert found.shares["total"] == pytest.approx((4 + 9) / (1 + 4 + 9))
    assert found.shares["gradient"] == pytest.approx(16 / 20)
    line = format_soft_frames(found.as_header())
    assert "1 have unstable modes" in line
    assert "93% of the squared residual of totals and 80%" in line


def test_stiff_frames_need_no_line():
    frames = [frame(0.1), frame(0.2)]
    found = soft_frames(frames, ReferenceCrystals(frames), predicted(frames, [0, 0], [0, 0]))
    assert (found.n_unstable, found.n_soft, found.shares) == (0, 0, {})
    assert format_soft_frames(found.as_header()) == ""


def test_frames_without_gradients_are_not_called_soft():
    frames = [frame(50.0)]
    del frames[0].arrays[dataset.GRADIENT]
    sums = [SiteSums(np.zeros(2), np.zeros((2, 3)), None)]
    found = soft_frames(frames, ReferenceCrystals(frames), sums)
    assert found.n_soft == 0
    assert set(found.shares) == {"total"}


def test_models_say_what_soft_frames_are_to_blame_for(silicon_frames, silicon_model):
    header = silicon_model.header["soft"]
    references = ReferenceCrystals(silicon_frames)
    sums = [silicon_model.evaluate(atoms) for atoms in silicon_frames]
    found = soft_frames(silicon_frames, references, sums)
    assert header == found.as_header()
    assert header["n_frames"] == len(silicon_frames)
    json.dumps(header)
