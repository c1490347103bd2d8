"""Files that a run adds to, whole records at a time, and folders that its calculators write in."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from ase import Atoms

from ase_vibent import dataset
from ase_vibent.errors import LabelError, VibentError
from ase_vibent.potentials import resolve_calculator, set_directory

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

Result = TypeVar("Result")


def append(path: Path, content: bytes) -> None:
    """Add to a file, all of it, on the disk, or nothing.

    Parameters
    ----------
    path : Path
    content : bytes

    Raises
    ------
    LabelError
        If the file cannot be written.
    """
    try:
        with open(path, "ab", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            try:
                rest = memoryview(content)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(size)
                raise
    except OSError as error:
        raise LabelError(
            f"{path}: cannot write it ({error.strerror}); finished work is kept, run again to go on"
        ) from error


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Keep other runs from writing to the same file.

    Parameters
    ----------
    path : Path
        Made where it is missing.

    Raises
    ------
    LabelError
        If another run holds it, or it cannot be written.
    """
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


def finished_frames(path: Path, calculator_name: str, *, group: int = 1) -> list[Atoms]:
    """Frames in a file of labels, after cutting off what a kill left unfinished.

    The file is touched only once all of it is known to be ours.

    Parameters
    ----------
    path : Path
    calculator_name : str
        Of all frames.
    group : int
        Frames that belong together, and are written as one.

    Returns
    -------
    list of Atoms

    Raises
    ------
    LabelError
        If the file cannot be written, is no label file, or is another calculator's.
    """
    try:
        with open(path, "r+", newline="") as file:
            text = file.read()
            whole, count = dataset.complete_frames(text, group)
            frames = dataset.read_labels(path)[:count] if count else []
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
    return frames


def in_own_folder(
    work: Callable[[Any], Result],
    make_calculator: Callable[[], Any],
    scratch: Path,
    number: int,
) -> Result | str:
    """Result of work with a calculator that writes to a folder of its own, or why there is none.

    Parameters
    ----------
    work : callable (calculator) -> result
    make_calculator : callable () -> ASE calculator
    scratch : Path
        Where the folder is made, and removed again after success.
    number : int
        Of the work, for the name of the folder.

    Returns
    -------
    result, or str
    """
    folder = None
    try:
        calculator = resolve_calculator(make_calculator)
        scratch.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"structure-{number}-", dir=scratch))
        set_directory(calculator, folder)
        result = work(calculator)
    except Exception as error:  # whatever a calculator does, other work goes on
        return reason(error) + _what_is_left(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return result


def reason(failure: Exception | str) -> str:
    """Failure in one line."""
    ours = isinstance(failure, VibentError | str)
    return " ".join((str(failure) if ours else f"{type(failure).__name__}: {failure}").split())


def _what_is_left(folder: Path | None) -> str:
    if folder is None:
        return ""
    try:
        folder.rmdir()
        return ""
    except OSError:  # not empty
        return f" (its files: {folder})"


def tidy(scratch: Path, failed: set[int]) -> None:
    """Remove the folders of work that is done, and those without a file.

    Parameters
    ----------
    scratch : Path
    failed : set of int
        Numbers of the work whose files stay.
    """
    for folder in scratch.glob("structure-*"):
        if int(folder.name.split("-")[1]) not in failed:
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            folder.rmdir()
    with suppress(OSError):
        scratch.rmdir()
