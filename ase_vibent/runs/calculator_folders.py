"""A folder for every job, in which its calculator writes files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ase_vibent.errors import CalculatorError, reason
from ase_vibent.potentials import resolve_calculator, set_directory

Result = TypeVar("Result")


@dataclass(frozen=True)
class CalculatorFolders:
    """Calculators that write into folders of their own.

    Attributes
    ----------
    root : Path
        Holds the folders.
    make_calculator : callable () -> ASE calculator, or None
    """

    root: Path
    make_calculator: Callable[[], Any] | None

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
        number, job = numbered_job
        folder = None
        try:
            if self.make_calculator is None:
                return function(job, None)
            calculator = resolve_calculator(self.make_calculator)
            self.root.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=f"structure-{number}-", dir=self.root))
            set_directory(calculator, folder)
            result = function(job, calculator)
        except Exception as error:  # whatever a calculator does, other work goes on
            return CalculatorError(reason(error) + _what_is_left(folder))
        shutil.rmtree(folder, ignore_errors=True)
        return result

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
