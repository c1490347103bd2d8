"""The coefficient file: a NumPy archive that is whole or refused, and never runs code."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ase_vibent.errors import ModelFileError

Arrays = dict[str, NDArray[Any]]
PathLike = str | os.PathLike[str]

FORMAT = "ase-vibent site model"
FORMAT_VERSION = 1


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
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
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
    content = _read_content(path)
    header = _read_header(content, path)
    if content["checksum"].tobytes().decode("ascii", "replace") != _checksum(content):
        raise ModelFileError(f"{path}: altered since it was written (checksum differs)")
    return header, {k: v for k, v in content.items() if k not in ("header", "checksum")}


def _checksum(content: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(content.keys() - {"checksum"}):
        digest.update(repr((name, content[name].shape, content[name].dtype.str)).encode())
        digest.update(content[name].tobytes())
    return digest.hexdigest()


def _read_content(path: PathLike) -> Arrays:
    foreign = f"{path}: not a coefficient file of ase-vibent"
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ModelFileError(foreign)
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise ModelFileError(f"{path}: no such file") from error
    except OSError as error:
        raise ModelFileError(f"{path}: cannot read it ({error})") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError) as error:
        raise ModelFileError(f"{path}: truncated or damaged ({error}); copy it again") from error
    except (ValueError, TypeError, AttributeError) as error:
        # NumPy asks for pickle here; nothing of the file has been run.
        raise ModelFileError(f"{foreign} (pickled or foreign content)") from error


def _read_header(content: Arrays, path: PathLike) -> dict[str, Any]:
    missing = {"header", "checksum"} - content.keys()
    if missing:
        raise ModelFileError(f"{path}: not a coefficient file of ase-vibent (no header)")
    try:
        header: dict[str, Any] = json.loads(content["header"].tobytes())
        file_format, version = header["format"], int(header["format_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{path}: its header is unreadable ({error})") from error
    if file_format != FORMAT:
        raise ModelFileError(f"{path}: not a coefficient file of ase-vibent ({file_format!r})")
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"{path}: written in format {version} by ase-vibent "
            f"{header.get('package_version')}, this version reads up to {FORMAT_VERSION}; "
            "upgrade with pip install -U ase-vibent"
        )
    return header
