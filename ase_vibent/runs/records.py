"""Records of a file that a run adds to: frames of extended XYZ, or JSON objects, one a line."""

from __future__ import annotations

import json
import os
import warnings
from codecs import getincrementaldecoder
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from ase import Atoms

from ase_vibent import dataset
from ase_vibent.errors import CutRecordWarning, LabelError
from ase_vibent.files.writing import append_bytes, check_place

Record = TypeVar("Record")


@dataclass(frozen=True)
class Frames(Generic[Record]):
    """Frames of extended XYZ with labels of one calculator.

    Attributes
    ----------
    calculator_name : str
    records_of : callable (frames, path) -> list of records
        Of all whole frames, also of those of a record that was cut off.
    group : int
        Frames of a record, written as one.
    name : str
        Of a record, for messages.
    """

    calculator_name: str
    records_of: Callable[[list[Atoms], Path], list[Record]]
    group: int = 1
    name: str = "label"

    def read(self, path: Path, text: str) -> tuple[list[Record], str]:
        """Records of a text, and the part of it that they fill.

        Parameters
        ----------
        path : Path
            For messages.
        text : str
            Its last record may have been cut off.

        Returns
        -------
        list of records, str

        Raises
        ------
        LabelError, ValueError
            If the text holds something else.
        """
        whole, count = dataset.complete_frames(text)
        frames = dataset.parse_frames(whole, ours=True) if count else []
        for atoms in frames:
            other = atoms.info.get(dataset.CALCULATOR)
            if other != self.calculator_name:
                raise LabelError(
                    f"{path}: holds labels of calculator {other!r}, not "
                    f"{self.calculator_name!r}; write to another file"
                )
        records = self.records_of(frames, path)
        return records, dataset.complete_frames(text, self.group)[0]


@dataclass(frozen=True)
class JsonLines(Generic[Record]):
    """JSON objects, one a line.

    Attributes
    ----------
    name : str
        Of a record, for messages.
    first_key : str
        With which every object begins.
    parse : callable (object) -> record
        Raises an Exception for what is none.
    """

    name: str
    first_key: str
    parse: Callable[[dict[str, Any]], Record]

    def read(self, path: Path, text: str) -> tuple[list[Record], str]:
        """Records of a text, see `Frames.read`."""
        *lines, torn = text.split("\n")
        records = [self._parse(path, number, line) for number, line in enumerate(lines, start=1)]
        beginning = f'{{"{self.first_key}": '
        if not (torn.startswith(beginning) or beginning.startswith(torn)):
            raise self._error(path, len(lines) + 1, f"it begins with {torn[:40]!r}")
        if torn.endswith("}") and _is_json(torn):  # whole, so that only a line break may lack
            self._parse(path, len(lines) + 1, torn)
        return records, text[: len(text) - len(torn)]

    def _parse(self, path: Path, number: int, line: str) -> Record:
        try:
            return self.parse(json.loads(line, parse_constant=_refuse_constant))
        except Exception as error:  # of many kinds: who knows what the line holds
            raise self._error(path, number, f"{type(error).__name__}: {error}") from error

    def _error(self, path: Path, number: int, why: object) -> LabelError:
        return LabelError(
            f"{path}: line {number} is no {self.name} of an earlier run ({why}); name another file"
        )


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


#: Both know a `name` and how to `read` a text.
RecordFormat: TypeAlias = Frames[Record] | JsonLines[Record]


def format_line(entry: dict[str, Any]) -> str:
    """JSON object as a line.

    Parameters
    ----------
    entry : dict

    Returns
    -------
    str
    """
    return f"{json.dumps(entry)}\n"


def read_finished(path: Path, records: RecordFormat[Record]) -> list[Record]:
    """Records of a file, after cutting off a last one that a kill left unfinished.

    The file is touched only once all of it is known to be ours; what is cut off is kept in
    `PATH.cut`.

    Parameters
    ----------
    path : Path
        One that is missing holds none.
    records : Frames or JsonLines

    Returns
    -------
    list of records

    Raises
    ------
    LabelError
        If the file cannot be written, or holds something else.
    """
    try:
        check_place(path)
        content = path.read_bytes()
        # A last character of which bytes are missing is left out.
        text = getincrementaldecoder("utf-8")().decode(content)
        finished, whole = records.read(path, text)
        rest = content[len(whole.encode()) :]
        if rest:
            cut = path.with_name(f"{path.name}.cut")
            append_bytes(cut, rest)
            os.truncate(path, len(content) - len(rest))
            warnings.warn(
                f"{path}: its last {records.name} was unfinished, and is made again; what there "
                f"was of it is kept in {cut}",
                CutRecordWarning,
                stacklevel=2,
            )
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LabelError(f"{error.filename or path}: cannot write it ({error.strerror})") from error
    except ValueError as error:
        raise LabelError(f"{path}: exists and is no file of {records.name}s ({error})") from error
    return finished
