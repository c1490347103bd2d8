"""A folder for every job, in which its calculator writes files, and which calculator that is."""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ase_vibent.errors import CalculatorError, VibentError, reason
from ase_vibent.potentials import accelerator, resolve_calculator, set_directory

Result = TypeVar("Result")


@dataclass
class CalculatorFolders:
    """Calculators that write into folders of their own.

    One that left its folder empty, as potentials do, serves the next job of this process: loading
    it may take longer than the job, and memory of a graphics processor. All others are made anew.

    Attributes
    ----------
    root : Path
        Holds the folders.
    make_calculator : callable () -> ASE calculator, or None
    """

    root: Path
    make_calculator: Callable[[], Any] | None
    #: That waits for the next job.
    _calculator: Any = field(default=None, init=False, repr=False)

    @classmethod
    def beside(cls, path: Path, make_calculator: Callable[[], Any] | None) -> CalculatorFolders:
        """Folders in `PATH.work`.

        Parameters
        ----------
        path : Path
            Of the results.
        make_calculator : callable () -> ASE calculator, or None
            Where the jobs need none.

        Returns
        -------
        CalculatorFolders
        """
        return cls(path.absolute().with_name(f"{path.name}.work"), make_calculator)

    def n_processes(self, wanted: int) -> int:
        """Number of processes: one alone, where all would share an accelerator.

        Parameters
        ----------
        wanted : int
            -1 for as many as serve; any other number is kept to.

        Returns
        -------
        int

        Warns
        -----
        UserWarning
            If they will share it.
        """
        if wanted == 1 or self.make_calculator is None:
            return wanted
        try:
            self._calculator = resolve_calculator(self.make_calculator)
        except (Exception, SystemExit):  # which every job will tell
            return wanted
        device = accelerator(self._calculator)
        if device is not None and wanted == -1:
            logging.getLogger("ase_vibent").warning(
                "ase_vibent: the calculator works on %s: one process uses it alone; more share it "
                "only where a number of them is given",
                device,
            )
            return 1
        self._calculator = None
        if device is not None:
            warnings.warn(
                f"n_jobs: {wanted} processes share {device}, each with a potential in its memory; "
                "one, which sends it batches, may be as fast",
                stacklevel=2,
            )
        return wanted

    def __getstate__(self) -> dict[str, Any]:
        """For processes, where no calculator waits yet."""
        return {**self.__dict__, "_calculator": None}

    def call(
        self, function: Callable[[Any, Any], Result], numbered_job: tuple[int, Any]
    ) -> Result | CalculatorError:
        """Result of a function with a calculator in a folder that is gone after success.

        Parameters
        ----------
        function : callable (job, calculator) -> result
        numbered_job : tuple of (int, object)
            The number is in the name of the folder.

        Returns
        -------
        result, or CalculatorError
            Why there is none. Not raised: a cluster would write it, with its traceback, to the
            logs of its workers.
        """
        used, self._calculator = self._calculator, None
        result, broke = self._attempt(function, numbered_job, used)
        if broke and used is not None:  # what it did before may be the reason
            result, _ = self._attempt(function, numbered_job, None)
        return result

    def _attempt(
        self, function: Callable[[Any, Any], Result], numbered_job: tuple[int, Any], calculator: Any
    ) -> tuple[Result | CalculatorError, bool]:
        """Result of a job, and whether its calculator broke; made where there is none yet."""
        number, job = numbered_job
        folder = None
        try:
            if self.make_calculator is None:
                return function(job, None), False
            if calculator is None:
                calculator = resolve_calculator(self.make_calculator)
            elif hasattr(calculator, "reset"):  # results must not tell which job came before
                calculator.reset()
            self.root.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=f"structure-{number}-", dir=self.root))
            set_directory(calculator, folder)
            result: Result | CalculatorError = function(job, calculator)
            broke = False
        except Exception as error:  # whatever a calculator does, other work goes on
            broke = not isinstance(error.__cause__ or error, VibentError)
            result = CalculatorError(reason(error) + _what_is_left(folder))
        wrote = folder is not None and folder.exists() and any(folder.iterdir())
        if not (broke or wrote):
            self._calculator = calculator
        if folder is not None and not isinstance(result, CalculatorError):
            shutil.rmtree(folder, ignore_errors=True)
        return result, broke

    def clear(self) -> None:
        """Remove all folders, with what earlier runs left in them."""
        shutil.rmtree(self.root, ignore_errors=True)

    def tidy(self, failed: Container[int]) -> None:
        """Remove the folders of jobs that did not fail, and those without a file.

        Parameters
        ----------
        failed : container of int
            Numbers of the jobs whose files stay.
        """
        for folder in self.root.glob("structure-*"):
            if int(folder.name.split("-")[1]) not in failed:
                shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                folder.rmdir()
        with suppress(OSError):
            self.root.rmdir()


def _what_is_left(folder: Path | None) -> str:
    if folder is None:
        return ""
    try:
        folder.rmdir()
        return ""
    except OSError:  # not empty
        return f" (its files: {folder})"
