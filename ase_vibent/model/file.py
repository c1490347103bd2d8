"""The coefficient file: a NumPy archive that is whole or refused, and never runs code."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ase_vibent.errors import ModelFileError
from ase_vibent.files.archives import Archive, ArchiveError
from ase_vibent.files.writing import whole_file

Arrays = dict[str, NDArray[Any]]
PathLike = str | os.PathLike[str]

FORMAT = "ase-vibent site model"
FORMAT_VERSION = 1
#: Bytes of a header.
MOST_HEADER = 2**22


def write_archive(path: PathLike, header: dict[str, Any], arrays: Arrays) -> None:
    """Write a file: whole under its final name, or not at all.

    Parameters
    ----------
    path : path
    header : dict
        What JSON can hold.
    arrays : dict of str to ndarray

    Raises
    ------
    ModelFileError
        If the file cannot be written.
    """
    from ase_vibent._version import __version__

    text = json.dumps(
        {
            **header,
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "package_version": __version__,
        }
    )
    content = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    content["header"] = np.frombuffer(text.encode(), dtype=np.uint8)
    content["checksum"] = np.frombuffer(_checksum(content).encode(), dtype=np.uint8)
    try:
        with whole_file(path) as file:
            np.savez_compressed(file, **content)  # type: ignore[arg-type]
            _read(file, path)  # what could not be read back is not written
    except OSError as error:
        raise ModelFileError(f"{path}: cannot write it ({error.strerror})") from error


def read_archive(path: PathLike) -> tuple[dict[str, Any], Arrays]:
    """Header and arrays of a file.

    Parameters
    ----------
    path : path

    Returns
    -------
    header : dict
    arrays : dict of str to ndarray

    Raises
    ------
    ModelFileError
        If the file is missing, truncated, altered, foreign, or too new.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ModelFileError(f"{path}: cannot read it (it is no regular file)")
        with open(path, "rb") as file:
            return _read(file, path)
    except FileNotFoundError as error:
        raise ModelFileError(f"{path}: no such file") from error
    except OSError as error:
        raise ModelFileError(f"{path}: cannot read it ({error.strerror})") from error


def _read(file: IO[bytes], path: PathLike) -> tuple[dict[str, Any], Arrays]:
    """Header and arrays; nothing but the header is read of a file that is none of ours."""
    try:
        archive = Archive(file)
        encoded = archive.read("header", MOST_HEADER)
        header = _parse_header(encoded, path)
        content = {name: archive.read(name) for name in archive.names}
    except ArchiveError as error:
        raise ModelFileError(
            f"{path}: not a coefficient file of ase-vibent, or damaged ({error}); copy it again"
        ) from error
    checksum = content.pop("checksum", encoded)
    if checksum.tobytes().decode("ascii", "replace") != _checksum(content):
        raise ModelFileError(f"{path}: altered since it was written (checksum differs)")
    del content["header"]
    return header, content


def _checksum(content: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(content):
        digest.update(repr((name, content[name].shape, content[name].dtype.str)).encode())
        digest.update(content[name].tobytes())
    return digest.hexdigest()


def _parse_header(encoded: NDArray[Any], path: PathLike) -> dict[str, Any]:
    try:
        header: dict[str, Any] = json.loads(encoded.tobytes())
        file_format, version = header["format"], int(header["format_version"])
    except Exception as error:  # of many kinds: who knows what it is
        raise ModelFileError(
            f"{path}: its header is unreadable ({type(error).__name__}: {error})"
        ) from error
    if file_format != FORMAT:
        raise ModelFileError(f"{path}: not a coefficient file of ase-vibent ({file_format!r})")
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"{path}: written in format {version} by ase-vibent "
            f"{header.get('package_version')}, this version reads up to {FORMAT_VERSION}; "
            "upgrade with pip install -U ase-vibent"
        )
    return header
