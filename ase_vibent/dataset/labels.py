"""Files of labelled structures."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from ase import Atoms

from ase_vibent.dataset.frames import complete_frames, format_frame, frame_parts, parse_frames
from ase_vibent.dataset.values import check_frame
from ase_vibent.errors import LabelError
from ase_vibent.files.writing import append_bytes, whole_file


def read_labels(path: str | os.PathLike[str]) -> list[Atoms]:
    """Labelled structures of a file.

    Parameters
    ----------
    path : path
        Extended XYZ, in which a frame cut off at the end, by a run that was killed, is left out;
        or what else ASE reads, by its ending. Frames that `write_labels` or a labelling run wrote
        carry a checksum, and are refused if it disagrees. Files of other hands need none, but none
        of their frames may have one then, and all values must be such as labels can have.

    Returns
    -------
    list of Atoms

    Raises
    ------
    LabelError
        If the file is missing, unreadable, altered, or holds no complete frame.
    """
    import ase.io

    try:
        frames: list[Atoms] = []
        if Path(path).suffix not in (".xyz", ".extxyz"):
            frames = ase.io.read(path, index=":")
            for number, atoms in enumerate(frames):
                check_frame(atoms, number)
        else:
            text = Path(path).read_text(encoding="utf-8")
            frames = parse_frames(complete_frames(re.sub(r"\n+\Z", "\n", text))[0])
    except OSError as error:
        raise LabelError(f"{path}: cannot read it ({error.strerror})") from error
    except Exception as error:
        raise LabelError(f"{path}: not a file of labels ({error})") from error
    if not frames:
        raise LabelError(f"{path}: holds no complete frame; label structures into it first")
    return frames


def write_labels(
    path: str | os.PathLike[str], frames: Iterable[Atoms], *, append: bool = False
) -> None:
    """Write labelled structures as extended XYZ, without loss of digits, each with a checksum.

    Parameters
    ----------
    path : path
    frames : iterable of Atoms
    append : bool
        Whether to add to an existing file, frame by frame, each whole on the disk before the next
        one is begun. Otherwise the file is replaced once all of them are written.

    Raises
    ------
    LabelError
        If the file cannot be written.
    """
    try:
        if append:
            for atoms in frames:
                append_bytes(path, format_frame(atoms).encode())
        else:
            with whole_file(path) as file:
                for atoms in frames:
                    file.writelines(frame_parts(atoms))
    except OSError as error:
        raise LabelError(f"{path}: cannot write it ({error.strerror})") from error
