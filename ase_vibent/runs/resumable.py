"""A run that may be killed: it goes on where it stopped, and its file holds whole records only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from ase_vibent.errors import reason
from ase_vibent.runs.calculator_folders import CalculatorFolders
from ase_vibent.runs.files import append, lock
from ase_vibent.runs.records import RecordFormat, read_finished
from ase_vibent.runs.workers import results_as_completed

Record = TypeVar("Record")

#: Bar around results of which the number is known.
Progress = Callable[[Iterable[Any], int], Iterable[Any]]


@contextmanager
def resume(path: Path | None, records: RecordFormat[Record]) -> Iterator[ResumableRun[Record]]:
    """Begin a run, or go on with one that was killed; no other has the file until it ends.

    Parameters
    ----------
    path : Path or None
        Made where it is missing; without, nothing is kept.
    records : Frames or JsonLines

    Yields
    ------
    ResumableRun

    Raises
    ------
    LabelError
        If another run has the file, or it cannot be written, or holds something else.
    """
    with ExitStack() as until_the_end:
        finished: list[Record] = []
        if path is not None:
            until_the_end.enter_context(lock(path))
            finished = read_finished(path, records)
        yield ResumableRun(path, finished, until_the_end)


@dataclass
class ResumableRun(Generic[Record]):
    """Work whose results are kept in a file, see `resume`.

    Attributes
    ----------
    path : Path or None
    finished : list
        Records that the file held at the beginning.
    failed : dict of int to str
        Numbers of the jobs that failed, and why.
    """

    path: Path | None
    finished: list[Record]
    _until_the_end: ExitStack = field(repr=False)
    failed: dict[int, str] = field(default_factory=dict)

    def append(self, record: str) -> None:
        """Add a record to the file, all of it, on the disk, or nothing.

        Parameters
        ----------
        record : str

        Raises
        ------
        LabelError
            If the file cannot be written.
        """
        if self.path is not None:
            append(self.path, record)

    def results(
        self,
        function: Callable[..., Any],
        jobs: Mapping[int, Any],
        *,
        folders: CalculatorFolders | None = None,
        n_jobs: int = 1,
        scheduler: str | None = None,
        time_limit: float | None = None,
        progress: Progress = lambda items, total: items,
    ) -> Iterator[tuple[int, Any]]:
        """Results of jobs, in the order in which they are ready.

        Parameters
        ----------
        function : callable (job) or (job, calculator) -> result
        jobs : mapping of int to object
            By number.
        folders : CalculatorFolders, optional
            Gives the function a calculator for every job. What a failed job left in its folder is
            kept until the next run.
        n_jobs, scheduler, time_limit
            See `results_as_completed`.
        progress : callable (items, total) -> items
            Progress bar around the results.

        Yields
        ------
        tuple of (int, object)
            Number of the job, and its result, or the Exception that there was instead.

        Raises
        ------
        LabelError, InvalidInputError
            See `results_as_completed`.
        """
        numbers, arguments = list(jobs), list(jobs.values())
        if folders is not None:
            folders.clear()
            if jobs and scheduler is None:
                n_jobs = folders.n_processes(n_jobs)
            self._until_the_end.callback(folders.tidy, self.failed)
            function, arguments = partial(folders.call, function), list(jobs.items())
        results = results_as_completed(
            function, arguments, n_jobs=n_jobs, scheduler=scheduler, time_limit=time_limit
        )
        self._until_the_end.enter_context(closing(results))
        for position, result in progress(results, len(arguments)):
            number = numbers[position]
            if isinstance(result, Exception):
                self.failed[number] = reason(result)
            yield number, result
