"""Many structures into one file of labels: resumable, in parallel, a whole frame at a time."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ase_vibent import dataset
from ase_vibent.errors import LabelError, VibentError
from ase_vibent.labelling import attach_labels
from ase_vibent.reference import HessianEntropyCalculator

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True)
class LabelTask:
    """One structure to label, and how.

    Attributes
    ----------
    atoms : Atoms
    name, reference : str or None
        See `attach_labels`.
    gradient, strain, sites : bool
        Labels wanted beside the total.
    unstable : int or "any"
        Expected number of unstable modes.
    """

    atoms: Atoms
    name: str | None = None
    reference: str | None = None
    gradient: bool = False
    strain: bool = False
    sites: bool = False
    unstable: int | str = 0

    def key(self, calculator: str) -> str:
        """Fingerprint of structure, its part in the dataset, and calculator."""
        digest = hashlib.sha256()
        atoms = self.atoms
        for array in (
            atoms.numbers,
            atoms.positions,
            atoms.cell.array,
            atoms.pbc,
            atoms.get_masses(),
            atoms.get_initial_magnetic_moments(),
            atoms.get_initial_charges(),
        ):
            digest.update(np.ascontiguousarray(array).tobytes())
        constraints = [c.todict() for c in atoms.constraints]
        digest.update(repr((calculator, self.name, self.reference, constraints)).encode())
        # The letter in front keeps extended XYZ readers from taking it for a number.
        return "k" + digest.hexdigest()[:16]

    def is_satisfied_by(self, frame: Atoms) -> bool:
        """Whether a labelled frame of this structure keeps the promise about stability."""
        return self.unstable == "any" or frame.info.get(dataset.N_UNSTABLE) == self.unstable

    def missing_label(self, frame: Atoms) -> str | None:
        """A wanted label that a labelled frame lacks, or None."""
        wanted = {
            dataset.GRADIENT: self.gradient,
            dataset.STRAIN: self.strain,
            dataset.SITES: self.sites,
        }
        return next(
            (k for k, w in wanted.items() if w and k not in {**frame.info, **frame.arrays}), None
        )

    def run(self, make_calculator: Callable[[], Any]) -> Atoms:
        """Labelled copy of the structure; safe to call in another process."""
        return attach_labels(
            self.atoms,
            HessianEntropyCalculator(make_calculator, unstable=self.unstable),
            name=self.name,
            reference=self.reference,
            gradient=self.gradient,
            strain=self.strain,
            sites=self.sites,
        )


@dataclass
class LabellingSummary:
    """What a labelling run did.

    Attributes
    ----------
    done, skipped : int
        Frames labelled now, and found in the file already.
    failed : list of (int, str)
        Number of the structure in the input, and the reason.
    """

    done: int = 0
    skipped: int = 0
    failed: list[tuple[int, str]] = field(default_factory=list)


def label_structures(
    tasks: Sequence[LabelTask],
    path: str | os.PathLike[str],
    make_calculator: Callable[[], Any],
    *,
    calculator_name: str,
    n_jobs: int = 1,
    progress: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, total: items,
) -> LabellingSummary:
    """Label structures into a file, one whole frame at a time.

    A run that was killed continues where it stopped: frames in the file are not redone.
    A structure that fails is reported, and the rest goes on.

    Parameters
    ----------
    tasks : sequence of LabelTask
    path : path
        Extended XYZ; appended to.
    make_calculator : callable () -> ASE calculator
        Must pickle if `n_jobs` > 1.
    calculator_name : str
        Kept with every frame; a file never mixes calculators.
    n_jobs : int
        Processes; each uses one thread.
    progress : callable (items, total) -> items
        Progress bar around the results.

    Returns
    -------
    LabellingSummary

    Raises
    ------
    LabelError
        If the file cannot be written, is no label file, or is another calculator's.
    """
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    with _locked(Path(path)):
        finished = _finished_frames(Path(path), calculator_name)
        pending: list[tuple[int, LabelTask, str]] = []
        for number, task in enumerate(tasks):
            key = task.key(calculator_name)
            if not _take_finished(finished[key], task, path):
                pending.append((number, task, key))
        summary = LabellingSummary(skipped=len(tasks) - len(pending))
        keys = {number: key for number, _, key in pending}
        threads = 1 if n_jobs > 1 else None
        with parallel_config(inner_max_num_threads=threads, backend="loky"):
            results = Parallel(n_jobs=n_jobs, return_as="generator_unordered", batch_size=1)(
                delayed(_attempt)(number, task, make_calculator) for number, task, _ in pending
            )
            try:
                for number, result in progress(results, len(pending)):
                    if isinstance(result, str):
                        summary.failed.append((number, result))
                        continue
                    result.info[dataset.KEY] = keys[number]
                    result.info[dataset.CALCULATOR] = calculator_name
                    dataset.write_labels(path, [result], append=True)
                    summary.done += 1
            except TerminatedWorkerError as error:
                raise LabelError(
                    f"{path}: a worker process died (out of memory?); {summary.done} new frames "
                    "are kept, run again to go on"
                ) from error
    summary.failed.sort()
    return summary


def labelled_frames(
    tasks: Sequence[LabelTask], path: str | os.PathLike[str], calculator_name: str
) -> list[Atoms]:
    """Frames of a label file in the order of the tasks that made it.

    Parameters
    ----------
    tasks : sequence of LabelTask
    path : path
    calculator_name : str
        As given to `label_structures`.

    Returns
    -------
    list of Atoms

    Raises
    ------
    LabelError
        If a task has no frame in the file.
    """
    frames = {str(atoms.info.get(dataset.KEY)): atoms for atoms in dataset.read_labels(path)}
    keys = [task.key(calculator_name) for task in tasks]
    missing = [number for number, key in enumerate(keys) if key not in frames]
    if missing:
        raise LabelError(f"{path}: structure {missing[0]} is not labelled there")
    return [frames[key] for key in keys]


def _attempt(
    number: int, task: LabelTask, make_calculator: Callable[[], Any]
) -> tuple[int, Atoms | str]:
    try:
        return number, task.run(make_calculator)
    except VibentError as error:
        return number, str(error)
    except Exception as error:  # whatever a calculator does, the other structures go on
        return number, f"{type(error).__name__}: {error}"


def _take_finished(frames: list[Atoms], task: LabelTask, path: str | os.PathLike[str]) -> bool:
    """Remove the frame of a finished task from those found, and say whether there was one."""
    for position, frame in enumerate(frames):
        missing = task.missing_label(frame)
        if missing is not None:
            raise LabelError(
                f"{path}: holds frames without {missing}; ask for the labels it has, or "
                "write to another file"
            )
        if task.is_satisfied_by(frame):
            del frames[position]
            return True
    return False


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other runs from writing to the same file."""
    try:
        file = open(path, "a")  # noqa: SIM115 - closed below, after an optional lock
    except OSError as error:
        raise LabelError(f"{path}: cannot write it ({error.strerror})") from error
    with file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise LabelError(f"{path}: another run is writing to it") from error
        yield


def _finished_frames(path: Path, calculator_name: str) -> defaultdict[str, list[Atoms]]:
    """Frames in a file by key, after cutting off one that a kill left unfinished.

    The file is touched only once all of it is known to be ours.
    """
    try:
        with open(path, "r+", newline="") as file:
            text = file.read()
            whole, count = dataset.complete_frames(text)
            frames = dataset.read_labels(path) if count else []
            for atoms in frames:
                other = atoms.info.get(dataset.CALCULATOR)
                if other != calculator_name:
                    raise LabelError(
                        f"{path}: holds labels of calculator {other!r}, not "
                        f"{calculator_name!r}; write to another file"
                    )
            if len(whole) < len(text):
                file.truncate(len(whole.encode()))
    except OSError as error:
        raise LabelError(f"{path}: cannot write it ({error.strerror})") from error
    except ValueError as error:
        raise LabelError(f"{path}: exists and is no file of labels ({error})") from error
    by_key: defaultdict[str, list[Atoms]] = defaultdict(list)
    for atoms in frames:
        by_key[str(atoms.info.get(dataset.KEY))].append(atoms)
    return by_key
