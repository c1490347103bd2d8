"""Frames of extended XYZ as text: at full precision, each with a checksum, whole or refused."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ase_vibent.dataset.names import CHECKSUM
from ase_vibent.dataset.values import check_frame
from ase_vibent.errors import LabelError
from ase_vibent.files.rows import Column, format_rows

#: Letters of extended XYZ for NumPy's kinds of values.
_CODES = {"f": "R", "i": "I", "u": "I", "U": "S", "b": "L"}
#: What the second line of every frame of ours begins with.
_BEGINNING = "Properties=species:S:1:pos:R:3"
#: That of any frame.
_HEADER = re.compile(r'(^|\s)Properties=("?)(\S+?)\2(\s|$)')
_COUNT = re.compile(r"[ \t]*[0-9]{1,12}\s*")
#: Constraints that a frame can hold, as the atoms and axes that are fixed.
HELD_CONSTRAINTS = (FixAtoms, FixCartesian)
#: Names in the second line, and of columns, that mean something else; what no name can have.
_TAKEN_INFO = {"Properties", "Lattice", "pbc"}
_TAKEN_ARRAYS = {"species", "symbols", "pos", "Z", "move_mask"}
_NO_NAME = re.compile(r"""[\s:="'\\{}\[\]]""")
_CHECKSUM = re.compile(rf'\s?{CHECKSUM}="?([^\s"]*)"?')


def format_frame(atoms: Atoms) -> str:
    """One structure as extended XYZ, floating-point numbers so that they are read back unchanged.

    Parameters
    ----------
    atoms : Atoms
        Its info and arrays are kept, its calculator is not.

    Returns
    -------
    str
    """
    return b"".join(frame_parts(atoms)).decode()


def frame_parts(atoms: Atoms) -> list[bytes]:
    """Text of `format_frame` in parts, for structures of which one copy is enough.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    list of bytes
    """
    header, rows = _header_and_rows(atoms)
    first = f"{len(atoms)}\n{header}\n".encode()
    digest = hashlib.sha256(first)
    for part in rows:
        digest.update(part)
    # Behind properties and lattice, so that no text can stand before it.
    checksum = f" {CHECKSUM}={_shortened(digest.hexdigest())} pbc=".encode()
    return [first.replace(b" pbc=", checksum, 1), *rows]


def holds_info(key: Any, value: Any) -> bool:
    """Whether a frame can hold an entry of `Atoms.info`.

    Parameters
    ----------
    key, value : any

    Returns
    -------
    bool
        Names are text that is read back; values are numbers, text, or what JSON knows.
    """
    from ase.io.extxyz import key_val_dict_to_str, key_val_str_to_dict

    word = isinstance(key, str) and key.isascii() and key.isidentifier()
    if word and isinstance(value, int | float | np.integer | np.floating):  # needs no trial
        return key not in _TAKEN_INFO
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            text = key_val_dict_to_str({key: _in_line(value)})
            return key not in _TAKEN_INFO and set(key_val_str_to_dict(f"{text} end=1")) == {
                key,
                "end",
            }
        except Exception:  # of many kinds, ASE's warnings among them
            return False


def holds_array(name: str, array: NDArray[Any]) -> bool:
    """Whether a frame can hold one of `Atoms.arrays`.

    Parameters
    ----------
    name : str
    array : ndarray, shape (N, ...)

    Returns
    -------
    bool
        It must be of numbers, truth values or words, and its name a word.
    """
    return (
        name not in _TAKEN_ARRAYS
        and not _NO_NAME.search(name)
        and array.dtype.kind in _CODES
        and array.size > 0
    )


def parse_frames(text: str, *, ours: bool = False) -> list[Atoms]:
    """Structures of a text, with values that labels can have.

    Parameters
    ----------
    text : str
        Whole frames of extended XYZ, see `complete_frames`.
    ours : bool
        Whether all must have a checksum; otherwise all or none.

    Returns
    -------
    list of Atoms

    Raises
    ------
    ValueError
        If they cannot be read, a checksum disagrees, or a value is none that the label can have.
    """
    import ase.io

    lines = text.split("\n")
    ends = _frame_ends(lines)
    plain, own = [], []
    for start, end in zip([0, *ends], ends, strict=False):
        frame = "\n".join([*lines[start:end], ""])
        plain.append(_without_checksum(frame, start))
        own.append(plain[-1] != frame)
    if not plain:
        return []
    if (ours or any(own)) and not all(own):
        raise ValueError(f"frame {own.index(False)} has no {CHECKSUM}; {_REWRITE}")
    try:
        frames: list[Atoms] = ase.io.read(io.StringIO("".join(plain)), index=":", format="extxyz")
    except Exception as error:  # of many kinds
        raise ValueError(f"{type(error).__name__}: {error}") from error
    try:
        for number, atoms in enumerate(frames):
            check_frame(atoms, number)
    except LabelError as error:
        raise ValueError(error) from error
    return frames


def complete_frames(text: str, group: int = 1) -> tuple[str, int]:
    """The leading complete frames of a text that a run may have left unfinished.

    Parameters
    ----------
    text : str
    group : int
        Frames that belong together, and are complete only if all of them are.

    Returns
    -------
    str
        Text up to and including the last complete frame.
    int
        Number of complete frames.

    Raises
    ------
    ValueError
        If what follows cannot be the beginning of one frame that `format_frame` wrote, or a frame
        begins within another.
    """
    lines = text.split("\n")  # str.splitlines would also split at form feeds and the like
    ends = _frame_ends(lines)
    _check_unfinished(lines, ends[-1] if ends else 0)
    count = len(ends) - len(ends) % group
    begin = ends[count - 1] if count else 0
    return text[: len(text) - len("\n".join(lines[begin:]))], count


def _frame_ends(lines: list[str]) -> list[int]:
    """Numbers of the lines behind each of the leading complete frames."""
    ends: list[int] = []
    start = 0
    while start < len(lines) - 1 and _COUNT.fullmatch(lines[start]):
        end = start + 2 + int(lines[start])
        if end > len(lines) - 1:
            break
        _check_rows(lines, start, end)
        ends.append(end)
        start = end
    return ends


def _check_rows(lines: list[str], start: int, end: int) -> None:
    """Raise ValueError if another frame begins in the rows of a frame."""
    for number in range(start + 2, end):
        if "Properties=" in lines[number] and _HEADER.search(lines[number]):
            raise ValueError(
                f"the frame of line {start + 1} says that it has {lines[start].strip()} atoms, but "
                f"line {number} begins another; correct that number"
            )


def _check_unfinished(lines: list[str], start: int) -> None:
    """Raise ValueError unless what follows the complete frames is a part of one of ours."""
    tail = lines[start:]
    if not _UNFINISHED_FRAME.fullmatch("\n".join(tail)):
        raise ValueError(f"line {start + 1} begins no frame of labels: {tail[0][:40]!r}")
    _check_rows(lines, start, len(lines))
    rows = tail[2:-1]  # whole ones
    if not rows:
        return
    header = _HEADER.search(tail[1])
    columns = sum(int(width) for width in re.findall(r":[A-Z]:(\d+)", header[3] if header else ""))
    for number, row in enumerate(rows, start=start + 3):
        if len(row.split()) != columns:
            raise ValueError(
                f"line {number} is no row of the frame of line {start + 1}: {row[:40]!r}"
            )
    whole = "\n".join([str(len(rows)), *tail[1:-1], ""])
    found = _CHECKSUM.search(tail[1])
    if not tail[-1] and found and found[1] == _digest(_CHECKSUM.sub("", whole, count=1)):
        raise ValueError(
            f"line {start + 1} says {tail[0].strip()} atoms, but the frame has {len(rows)}; "
            "correct that number"
        )


#: What to do about altered frames.
_REWRITE = (
    "restore the file, or, if it was changed on purpose, write what ase.io.read gives of it with "
    "write_labels"
)
#: A count, then a header that begins as ours do, either of them possibly cut short.
_UNFINISHED_FRAME = re.compile(
    rf"([0-9]*|[0-9]+\n({'|'.join(_BEGINNING[:k] for k in range(len(_BEGINNING)))})|"
    rf"[0-9]+\n{_BEGINNING}(.|\n)*)"
)


def _digest(text: str) -> str:
    return _shortened(hashlib.sha256(text.encode()).hexdigest())


def _shortened(digest: str) -> str:
    # The letter in front keeps extended XYZ readers from taking it for a number.
    return "c" + digest[:16]


def _without_checksum(text: str, start: int) -> str:
    """A frame less its checksum, which has to agree; one of other hands may have none."""
    count, header, rows = text.split("\n", 2)
    found = _CHECKSUM.search(header)
    if found is None:
        return text
    plain = f"{count}\n{header[: found.start()]}{header[found.end() :]}\n{rows}"
    if found[1] != _digest(plain):
        raise ValueError(
            f"the frame of line {start + 1} was altered since it was written (checksum differs); "
            f"{_REWRITE}"
        )
    return plain


def _header_and_rows(atoms: Atoms) -> tuple[str, list[bytes]]:
    """Second line of a frame, and those of its atoms."""
    from ase.io.extxyz import key_val_dict_to_str

    arrays: dict[str, NDArray[Any]] = {"pos": atoms.positions}
    arrays |= {
        k: v
        for k, v in atoms.arrays.items()
        if k not in ("numbers", "positions") and v.dtype.kind in "fiubU"
    }
    if any(isinstance(c, HELD_CONSTRAINTS) for c in atoms.constraints):
        arrays["move_mask"] = _free(atoms)
    properties = ["species:S:1"]
    columns: list[Column] = [(chemical_symbols, atoms.numbers)]
    for name, array in arrays.items():
        width = array.size // len(atoms)
        properties.append(f"{name}:{_CODES[array.dtype.kind]}:{width}")
        if array.dtype.kind == "U":
            array = np.array(["_".join(str(v).split()) or "_" for v in array.ravel()])
        columns += list(array.reshape(len(atoms), width).T)
    header: dict[str, Any] = {"Properties": ":".join(properties)}
    if atoms.cell.rank:
        header["Lattice"] = atoms.cell.array.T
    header["pbc"] = atoms.pbc
    header |= {key: _in_line(value) for key, value in atoms.info.items() if key != CHECKSUM}
    return key_val_dict_to_str(header), list(format_rows(columns))


def _in_line(value: Any) -> Any:
    """A line break in a text would end the line that it stands in."""
    return " ".join(value.split()) if isinstance(value, str) else value


def _free(atoms: Atoms) -> NDArray[np.bool_]:
    """Atoms that may move, or, where some may along some axes, axes along which they may."""
    free = np.ones((len(atoms), 3), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            free[constraint.index] = False
        elif isinstance(constraint, FixCartesian):
            free[constraint.index] &= ~constraint.mask
    by_axis = any(isinstance(constraint, FixCartesian) for constraint in atoms.constraints)
    return free if by_axis else free[:, 0]
