"""NumPy archives from anywhere: sizes are known before anything is read, and nothing is run."""

from __future__ import annotations

import io
import math
import os
import zipfile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

#: Bytes that an archive may unpack to: so many, or so many times its own size.
MOST_BYTES, MOST_RATIO = 2**26, 20
#: Arrays in an archive.
MOST_MEMBERS = 64


class ArchiveError(ValueError):
    """A file is no archive of numbers, is damaged, or would unpack to absurd sizes."""


class Archive:
    """Arrays of numbers in a file that `numpy.savez` or `savez_compressed` wrote.

    Parameters
    ----------
    file : binary file
        Stays open.

    Attributes
    ----------
    names : list of str

    Raises
    ------
    ArchiveError
        If it is something else; nothing is unpacked for that.
    """

    def __init__(self, file: IO[bytes]):
        try:
            self._archive = zipfile.ZipFile(file)
        except Exception as error:  # damaged ones fail in many ways
            raise ArchiveError(str(error)) from error
        members = self._archive.infolist()
        self._members = {member.filename.removesuffix(".npy"): member for member in members}
        for member in members:
            if not member.filename.endswith(".npy"):
                raise ArchiveError(f"{member.filename[:60]!r} in it is no array")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ArchiveError(f"{member.filename[:60]!r} is compressed in an unknown way")
        if len(self._members) < len(members) or len(members) > MOST_MEMBERS:
            raise ArchiveError(f"it has {len(members)} arrays, too many or of one name")
        size, unpacked = file.seek(0, os.SEEK_END), sum(member.file_size for member in members)
        if unpacked > max(MOST_BYTES, MOST_RATIO * size):
            raise ArchiveError(f"its {size} bytes would unpack to {unpacked}")

    @property
    def names(self) -> list[str]:
        """Of all arrays."""
        return list(self._members)

    def read(self, name: str, most_bytes: int | None = None) -> NDArray[Any]:
        """One of the arrays.

        Parameters
        ----------
        name : str
        most_bytes : int, optional
            That it may have.

        Returns
        -------
        ndarray

        Raises
        ------
        ArchiveError
            If it is missing, damaged, too large, or holds anything but numbers.
        """
        if name not in self._members:
            raise ArchiveError(f"it has no {name}")
        member = self._members[name]
        if most_bytes is not None and member.file_size > most_bytes:
            raise ArchiveError(f"its {name} has {member.file_size} bytes, too many")
        try:
            return _array(self._archive.read(member))
        except Exception as error:  # damaged ones fail in many ways
            raise ArchiveError(f"{name}: {error}") from error


def _array(content: bytes) -> NDArray[Any]:
    """Array of the content of an .npy file."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    shape, fortran, dtype = readers[version](stream)
    data = bytearray(content[stream.tell() :])
    if dtype.kind not in "biuf" or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{dtype} of shape {shape} is no array of {len(data)} bytes of numbers")
    return np.ndarray(shape, dtype, buffer=data, order="F" if fortran else "C")
