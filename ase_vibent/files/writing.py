"""The one way to write files: whole under their name or not at all, records likewise."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

#: Not on Windows, or only there.
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def check_place(path: str | os.PathLike[str]) -> int | None:
    """Make sure that nothing but a file of one's own would be written.

    Parameters
    ----------
    path : path

    Returns
    -------
    int or None
        Mode of the file; None if there is none yet.

    Raises
    ------
    OSError
        If something else is there (a folder, device or pipe), or the file is write-protected.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
    return stat.S_IMODE(mode)


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Write a file: on the disk and whole under its name, or what was there stays.

    A file that is replaced keeps its mode; a link is replaced, and not followed.

    Parameters
    ----------
    path : path

    Yields
    ------
    binary file
        Of another name in the same folder, until the end.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with _beside(path, lambda: False) as file:
        yield file


@contextmanager
def growing_file(
    path: str | os.PathLike[str],
) -> Iterator[tuple[IO[bytes], Callable[[], None]]]:
    """Write a file record by record: whole at the end, or the records so far if something fails.

    If there are none then, what was there stays.

    Parameters
    ----------
    path : path

    Yields
    ------
    file : binary file
        Of another name in the same folder, until the end.
    keep : callable
        To be called whenever the file is worth keeping as it is.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    records = 0

    def keep() -> None:
        nonlocal records
        records += 1

    with _beside(path, lambda: records > 0) as file:
        yield file, keep


@contextmanager
def _beside(path: str | os.PathLike[str], kept: Callable[[], bool]) -> Iterator[IO[bytes]]:
    """A new file that takes a path's place at the end, or when something fails but it is kept."""
    mode = check_place(path)
    temporary = Path(path).with_name(f".vibent-{secrets.token_hex(16)}.tmp")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS
    descriptor = os.open(temporary, flags, 0o666 if mode is None else 0o600)
    file, failure = os.fdopen(descriptor, "w+b"), None
    try:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
        except BaseException as error:
            if not kept():
                raise
            failure = error
        with suppress(OSError):  # of a full disk, once more
            file.close()
        if mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            file.close()
        with suppress(OSError):
            temporary.unlink()
        raise
    if failure is not None:
        raise failure


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text as `whole_file` does.

    Parameters
    ----------
    path : path
    text : str

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with whole_file(path) as file:
        file.write(text.encode())


def append_bytes(path: str | os.PathLike[str], record: bytes) -> None:
    """Add to a file, all of it, on the disk, or nothing.

    Parameters
    ----------
    path : path
        Made where it is missing.
    record : bytes

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    check_place(path)  # before it is opened: a pipe would wait for its reader
    with open(path, "ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            rest = memoryview(record)
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except BaseException:
            file.truncate(size)
            raise
