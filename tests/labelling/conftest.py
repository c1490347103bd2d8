"""Small cells, runs over them and what must come of them.

Runs do not care about vibrations: cells are tiny, too narrow for a mesh, and labelled at Γ.
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from ase_vibent import dataset, read_labels
from ase_vibent.labelling.run import LabelTask, label_structures


@pytest.fixture
def small_cell() -> Callable[..., Atoms]:
    """Function (seed, tag=0) -> four copper atoms near their sites."""

    def make(seed: int, tag: int = 0) -> Atoms:
        atoms = bulk("Cu", "fcc", a=3.59, cubic=True)
        atoms.rattle(0.02, seed=seed)
        atoms.set_tags(tag)
        return atoms

    return make


@pytest.fixture(scope="session")
def gamma_task() -> Callable[..., LabelTask]:
    """`LabelTask` at Γ."""
    return functools.partial(LabelTask, mesh="gamma")


@pytest.fixture
def hazardous() -> type[EMT]:
    """EMT whose structures are dangerous, by their tags."""

    class Hazardous(EMT):  # local, so that it travels to workers with its code
        def calculate(self, atoms=None, *args, **kwargs):
            self.calls = getattr(self, "calls", 0) + 1
            tag = atoms[0].tag
            if tag == 13 and self.calls > 9:
                raise RuntimeError("no\nconvergence")
            if tag == 66:
                os.kill(os.getpid(), signal.SIGKILL)
            if tag == 67:  # the first time only
                marker = Path(atoms.info["marker"])
                if not marker.exists():
                    marker.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
            super().calculate(atoms, *args, **kwargs)

    return Hazardous


@pytest.fixture
def run():
    """Label with EMT, unless told otherwise."""

    def label(tasks, path, calculator=EMT, name="emt", **options):
        return label_structures(tasks, path, calculator, calculator_name=name, **options)

    return label


@pytest.fixture
def assert_labels_of():
    """Every task has just one frame, and the labels that this process gives it."""

    def check(tasks, path, calculator=EMT, calculator_name="emt"):
        frames = {atoms.info[dataset.KEY]: atoms for atoms in read_labels(path)}
        assert len(frames) == len(read_labels(path)) == len(tasks)
        for task in tasks:
            frame, expected = frames[task.key(calculator_name)], task.run(calculator)
            # Another number of BLAS threads may sum in another order.
            entropy = expected.info[dataset.ENTROPY]
            assert frame.info[dataset.ENTROPY] == pytest.approx(entropy, 1e-9)
            for name in {dataset.SITES, dataset.GRADIENT} & expected.arrays.keys():
                np.testing.assert_allclose(
                    frame.arrays[name], expected.arrays[name], rtol=1e-9, atol=1e-14
                )

    return check
