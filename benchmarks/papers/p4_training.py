"""Training sets and sweeps of P4, kept in files: what is there is not done again."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from tqdm import tqdm

from ase_vibent.structures.relaxation import with_results

#: Structures between two writes of a file.
BATCH = 10


def labelled(path: Path, structures: Sequence[Atoms], calculator: Any) -> list[Atoms]:
    """Structures with energy and forces from a file, those that it lacks from the calculator."""
    done: list[Atoms] = ase.io.read(path, ":") if path.exists() else []
    rest = tqdm(
        structures[len(done) :], desc=path.stem, initial=len(done), unit="cell", disable=None
    )
    for atoms in rest:
        atoms.calc = calculator
        done.append(with_results(atoms))
        if len(done) % BATCH == 0 or len(done) == len(structures):
            write_whole(path, done)
    return done[: len(structures)]


def kept(path: Path, make: Callable[[], Atoms]) -> Atoms:
    """Structure with energy and forces from a file, or made and written to it."""
    if not path.exists():
        write_whole(path, [make()])
    return ase.io.read(path)


def write_whole(path: Path, frames: Sequence[Atoms]) -> None:
    """A file that is either the old or the new one, also where the process is killed."""
    temporary = path.with_suffix(".part")
    ase.io.write(temporary, frames, format="extxyz")
    os.replace(temporary, path)


def displaced(
    atoms: Atoms, radius: float, count: int, seed: int, axes: Sequence[int]
) -> list[Atoms]:
    """Random samples around a minimum: components uniform in [-radius, radius], Å."""
    rng = np.random.default_rng(seed)
    copies = [atoms.copy() for _ in range(count)]
    for copy in copies:
        copy.positions[:, axes] += rng.uniform(-radius, radius, (len(atoms), len(axes)))
    return copies
