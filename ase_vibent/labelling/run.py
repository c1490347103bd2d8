"""Many structures into one file of labels: resumable, in parallel, a whole frame at a time."""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent import dataset
from ase_vibent.calculators.hessian import HessianEntropyCalculator
from ase_vibent.crystal.bulk import WIDTH
from ase_vibent.errors import InvalidStructureError, LabelError, NarrowCellWarning
from ase_vibent.harmonic.mesh import Mesh, choose_mesh
from ase_vibent.harmonic.mesh_system import WARNED
from ase_vibent.hessian import HessianOptions, StoredHessian
from ase_vibent.hessian.costs import SLOW
from ase_vibent.labelling.labels import attach_labels
from ase_vibent.quantities import DEFAULT_LABELS, LABEL_KEYS, LabelName, check_labels
from ase_vibent.runs.calculator_folders import CalculatorFolders
from ase_vibent.runs.files import append
from ase_vibent.runs.records import Frames, format_line
from ase_vibent.runs.resumable import resume
from ase_vibent.structures.fingerprint import add_structure
from ase_vibent.structures.validity import check_structure
from ase_vibent.training.soft_frames import is_soft, is_unstable

#: Key of structures that no calculator gets to see: they have no frame.
UNUSABLE = "unusable"


@dataclass(frozen=True)
class LabelTask:
    """One structure to label, and how.

    Attributes
    ----------
    atoms : Atoms
    name, reference : str or None
        See `attach_labels`.
    labels : collection of str
        Wanted beside the total, see `attach_labels`.
    unstable : int or "any"
        Expected number of unstable modes.
    crystal : Atoms or None
        Perfect crystal with the same sites: labels of sites are normalised by it.
    tangent : ndarray, shape (N, 3), or None
        Direction of a path, see `attach_labels`.
    mesh : "auto", "gamma" or three int
        Of the cell's Brillouin zone, see `choose_mesh`.
    floor : float, eV/Å²
        Eigenvalue as which all softer modes count, see `HessianEntropyCalculator`.
    bulk_width : float, Å
        Of the supercell behind a perfect crystal's converged values.
    hessian : StoredHessian or None
        Of the structure, from elsewhere; then a calculator is needed for derivatives only.
    options : HessianOptions
        Labels of other options are other labels; but for the cache.
    source : str
        Where the structure comes from, for the list of failures.
    """

    atoms: Atoms
    name: str | None = None
    reference: str | None = None
    labels: Collection[LabelName] = DEFAULT_LABELS
    unstable: int | str = 0
    crystal: Atoms | None = None
    tangent: NDArray[np.float64] | None = None
    mesh: Mesh = "auto"
    floor: float = 0.0
    bulk_width: float = WIDTH
    hessian: StoredHessian | None = None
    options: HessianOptions = HessianOptions()
    source: str = ""

    def __post_init__(self) -> None:
        check_labels(self.labels)

    def key(self, calculator: str) -> str:
        """Fingerprint of structure, its part in the dataset, calculator, and options."""
        digest = hashlib.sha256()
        for atoms in (self.atoms, *([] if self.crystal is None else [self.crystal])):
            try:
                check_structure(atoms)
            except InvalidStructureError:
                return UNUSABLE
            add_structure(digest, atoms)
            digest.update(atoms.get_masses().tobytes())
        if self.tangent is not None:
            digest.update(np.ascontiguousarray(self.tangent, dtype=float).tobytes())
        mesh = choose_mesh(self.atoms, self.mesh)
        if mesh is not None:
            digest.update(repr(mesh).encode())
        if self.name is not None and self.bulk_width != WIDTH:
            digest.update(f"bulk {float(self.bulk_width)!r}".encode())
        if self.floor:
            digest.update(f"floor {float(self.floor)!r}".encode())
        if self.hessian is not None:
            digest.update(self.hessian.fingerprint)
        constraints = [c.todict() for c in self.atoms.constraints]
        options = sorted(self.options.decisive.items())
        digest.update(repr((calculator, self.name, self.reference, constraints, options)).encode())
        # The letter in front keeps extended XYZ readers from taking it for a number.
        return "k" + digest.hexdigest()[:16]

    def is_satisfied_by(self, frame: Atoms) -> bool:
        """Whether a labelled frame of this structure keeps the promise about stability."""
        if isinstance(self.unstable, str) or self.floor:
            return True
        return frame.info.get(dataset.N_UNSTABLE) == self.unstable + (self.tangent is not None)

    def cached_in(self, folder: Path) -> LabelTask:
        """Task whose slow displacements are kept in a folder, unless it has one."""
        if self.options.cache is not None:
            return self
        return replace(self, options=replace(self.options, cache=folder, cache_threshold=SLOW))

    def missing_label(self, frame: Atoms) -> LabelName | None:
        """A wanted label that a labelled frame lacks, or None."""
        present = {**frame.info, **frame.arrays}
        if self.name is not None and "moments" in self.labels and dataset.DENSITIES not in present:
            return "moments"
        return next((name for name in self.labels if LABEL_KEYS[name] not in present), None)

    def run(self, calculator: Any) -> Atoms:
        """Labelled copy of the structure, from a calculator or a factory of one."""
        exact = HessianEntropyCalculator(
            calculator,
            hessian=self.hessian,
            crystal=self.crystal,
            decomposition="mass-free" if self.crystal is None else "normalised",
            unstable=self.unstable,
            mesh=self.mesh,
            floor=self.floor,
            bulk_width=self.bulk_width,
            **asdict(self.options),
        )
        return attach_labels(
            self.atoms,
            exact,
            name=self.name,
            reference=self.reference,
            labels=self.labels,
            tangent=self.tangent,
        )


@dataclass(frozen=True)
class LabelledText:
    """A labelled frame as text, and what is to be said of it.

    Attributes
    ----------
    text : str
    guessed : float
        Share of its Hessian that was told apart by guess.
    unstable, soft : bool
        See `LabellingSummary`.
    """

    text: str
    guessed: float
    unstable: bool
    soft: bool


@dataclass
class LabellingSummary:
    """What a labelling run did.

    Attributes
    ----------
    done, skipped : int
        Frames labelled now, and found in the file already.
    failed : list of (int, str)
        Number of the structure in the input, and the reason.
    narrow : dict of int to float
        Shares of the Hessian that were told apart by guess, of structures labelled now whose cells
        are narrower than the interaction; see `NarrowCellWarning`.
    unstable, soft : list of int
        Numbers of structures labelled now that have unstable modes, which the label leaves out, and
        of others with soft modes; see `SoftFrames`.
    """

    done: int = 0
    skipped: int = 0
    failed: list[tuple[int, str]] = field(default_factory=list)
    narrow: dict[int, float] = field(default_factory=dict)
    unstable: list[int] = field(default_factory=list)
    soft: list[int] = field(default_factory=list)

    def add(self, number: int, labelled: LabelledText) -> None:
        """Count a structure that was labelled now."""
        self.done += 1
        if labelled.guessed > WARNED:
            self.narrow[number] = labelled.guessed
        if labelled.unstable:
            self.unstable.append(number)
        if labelled.soft:
            self.soft.append(number)


def label_structures(
    tasks: Sequence[LabelTask],
    path: str | os.PathLike[str],
    make_calculator: Callable[[], Any] | None,
    *,
    calculator_name: str,
    n_jobs: int = 1,
    scheduler: str | None = None,
    time_limit: float | None = None,
    progress: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, total: items,
) -> LabellingSummary:
    """Label structures into a file, one whole frame at a time.

    A run that was killed continues where it stopped: frames in the file are not redone. No other
    run can write to the file meanwhile, which `PATH.lock` stands for.
    A structure that fails, takes too long, or whose worker dies again and again, is listed in
    `PATH.failed.jsonl` (number, source and reason, one a line), and the rest goes on; the next run
    tries it again. Frames stand in the order in which they were finished.
    Calculators that write files do so in a folder of their own for every structure, below
    `PATH.work`; what a structure that failed left there is kept until the next run. One that writes
    none serves all structures of a process.
    Displacements that take a second or more are kept in `PATH.displacements` until their structure
    is labelled, unless the options of a task name a cache.

    Parameters
    ----------
    tasks : sequence of LabelTask
    path : path
        Extended XYZ; appended to.
    make_calculator : callable () -> ASE calculator, or None
        Must pickle unless `n_jobs` is 1 and there is no time limit. None where the tasks bring
        their Hessians, and want no derivatives.
    calculator_name : str
        Kept with every frame; a file never mixes calculators.
    n_jobs : int
        Processes, each of one thread; -1 for all cores, or one if the calculator works on an
        accelerator, which they would share.
    scheduler : str, optional
        Address (`tcp://host:port`) or scheduler file of a Dask cluster whose workers are
        used instead; they must see the folder of `path`.
    time_limit : float, optional
        Seconds for every structure; one that takes longer fails. Not on a cluster.
    progress : callable (items, total) -> items
        Progress bar around the results.

    Returns
    -------
    LabellingSummary

    Raises
    ------
    LabelError
        If another run is writing to the file, it cannot be written, is no label file, or is
        another calculator's; or if the scheduler is lost. Finished frames are in the file.
    InvalidInputError
        If there is no such scheduler, or `make_calculator` does not pickle.
    """
    path = Path(path)
    with resume(path, Frames(calculator_name, lambda frames, _: frames)) as run:
        keys = [task.key(calculator_name) for task in tasks]
        pending = _pending(tasks, keys, run.finished, path)
        summary = LabellingSummary(skipped=len(tasks) - len(pending))
        failure_list(path).unlink(missing_ok=True)
        caches = _caches(path, {number: keys[number] for number in pending})
        for number, result in run.results(
            partial(_frame, name=calculator_name),
            {number: task.cached_in(caches[number]) for number, task in pending.items()},
            folders=CalculatorFolders.beside(path, make_calculator),
            n_jobs=n_jobs,
            scheduler=scheduler,
            time_limit=time_limit,
            progress=progress,
        ):
            if number in run.failed:
                entry = {"number": number, "source": tasks[number].source}
                entry["reason"] = run.failed[number]
                append(failure_list(path), format_line(entry))
            else:
                run.append(result.text)
                shutil.rmtree(caches[number], ignore_errors=True)
                summary.add(number, result)
        _tidy(_cache_root(path), everything=not run.failed)
    summary.failed = sorted(run.failed.items())
    return summary


def failure_list(path: str | os.PathLike[str]) -> Path:
    """File beside a label file that lists what failed in the last run, one JSON object a line.

    Parameters
    ----------
    path : path
        Of the labels.

    Returns
    -------
    Path
    """
    return Path(f"{os.fspath(path)}.failed.jsonl")


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


def _frame(task: LabelTask, calculator: Any, *, name: str) -> LabelledText:
    """A labelled frame, made by a worker."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NarrowCellWarning)  # said of all structures at once
        labelled = task.run(calculator)
    labelled.info[dataset.KEY], labelled.info[dataset.CALCULATOR] = task.key(name), name
    dataset.check_frame(labelled, task.source)
    return LabelledText(
        dataset.format_frame(labelled),
        labelled.info.get(dataset.GUESSED, 0.0),
        is_unstable(labelled),
        is_soft(labelled),
    )


def _cache_root(path: Path) -> Path:
    return path.absolute().with_name(f"{path.name}.displacements")


def _tidy(root: Path, *, everything: bool) -> None:
    """Remove the folder of caches, if it is empty; and those caches first, that no run needs."""
    for folder in root.glob("k*-*") if everything else ():
        shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        root.rmdir()


def _caches(path: Path, keys: Mapping[int, str]) -> dict[int, Path]:
    """A folder for every task, the same in the next run; the same task twice has two."""
    seen: Counter[str] = Counter()
    folders = {}
    for number, key in keys.items():
        folders[number] = _cache_root(path) / f"{key}-{seen[key]}"
        seen[key] += 1
    return folders


def _pending(
    tasks: Sequence[LabelTask], keys: Sequence[str], frames: Sequence[Atoms], path: Path
) -> dict[int, LabelTask]:
    """Tasks without a frame, by number."""
    finished: defaultdict[str, list[Atoms]] = defaultdict(list)
    for atoms in frames:
        finished[str(atoms.info.get(dataset.KEY))].append(atoms)
    return {
        number: task
        for number, (task, key) in enumerate(zip(tasks, keys, strict=True))
        if not _take_finished(finished[key], task, path)
    }


def _take_finished(frames: list[Atoms], task: LabelTask, path: Path) -> bool:
    """Remove the frame of a finished task from those found, and say whether there was one."""
    for position, frame in enumerate(frames):
        if not _is_structure(frame, task.atoms):
            raise LabelError(
                f"{path}: a frame with the {dataset.KEY} of a structure holds another one; it was "
                "altered since it was labelled: restore it, or write to another file"
            )
        missing = task.missing_label(frame)
        if missing is not None:
            raise LabelError(
                f"{path}: holds frames without the label {missing!r}; ask for the labels it has "
                "(labels=[…], --labels), or write to another file"
            )
        if task.is_satisfied_by(frame):
            del frames[position]
            return True
    return False


def _is_structure(frame: Atoms, atoms: Atoms) -> bool:
    """Whether a frame is of a structure, but for the last digits of a round trip."""
    return (
        np.array_equal(frame.numbers, atoms.numbers)
        and np.array_equal(frame.pbc, atoms.pbc)
        and np.allclose(frame.positions, atoms.positions, rtol=1e-12, atol=1e-12)
        and np.allclose(frame.cell.array, atoms.cell.array, rtol=1e-12, atol=1e-12)
    )
