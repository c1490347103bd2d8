"""Files that a run adds to, whole records at a time, and holds for itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ase_vibent.errors import LabelError
from ase_vibent.files.writing import append_bytes, check_place


def append(path: Path, record: str) -> None:
    """Add to a file, all of it, on the disk, or nothing.

    Parameters
    ----------
    path : Path
    record : str

    Raises
    ------
    LabelError
        If the file cannot be written.
    """
    try:
        append_bytes(path, record.encode())
    except OSError as error:
        raise LabelError(
            f"{path}: cannot write it ({error.strerror}); finished work is kept, run again to go on"
        ) from error


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Keep other runs from writing to the same file.

    The lock is a file `PATH.lock` beside it, which goes when the lock does. One that a killed run
    left behind locks nothing.

    Parameters
    ----------
    path : Path
        Made where it is missing.

    Raises
    ------
    LabelError
        If another run holds it, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    path_of_lock = path.resolve().with_name(f"{path.resolve().name}.lock")
    held = FileLock(path_of_lock, timeout=0, thread_local=False)
    try:
        check_place(path)
        open(path, "ab").close()
        held.acquire()
    except Timeout as error:
        raise LabelError(f"{path}: another run is writing to it") from error
    except OSError as error:
        unwritable = error.filename or path
        raise LabelError(f"{unwritable}: cannot write it ({error.strerror})") from error
    try:
        yield
    finally:
        # While it is locked: then one who has opened it already finds it gone, and is refused.
        with suppress(OSError):  # Windows removes no open file, there FileLock does it
            path_of_lock.unlink()
        held.release()
