"""Input, output and progress that the commands share."""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ase_vibent import pretrained
from ase_vibent.cli.shared.output import write_result
from ase_vibent.errors import (
    InvalidInputError,
    InvalidStructureError,
    ModelFileError,
    did_you_mean,
)
from ase_vibent.files.frames import iterate_frames
from ase_vibent.files.writing import check_place


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add --format, of all files that `read_structures` reads."""
    parser.add_argument(
        "--format",
        metavar="NAME",
        help="of the structure files, as ASE calls it: vasp, cif, lammps-data, …; default: told by "
        "name and content",
    )


def read_structures(
    paths: Sequence[str], format_name: str | None = None
) -> tuple[list[str], list[Atoms]]:
    """Names, file and frame, and structures of all frames of all files, in ASE's format."""
    sources: list[str] = []
    structures: list[Atoms] = []
    for source, atoms in iterate_structures(paths, format_name):
        if isinstance(atoms, InvalidStructureError):
            raise atoms
        sources.append(source)
        structures.append(atoms)
    if not structures:
        raise InvalidStructureError(f"{', '.join(paths)}: no structure in it")
    return sources, structures


def iterate_structures(
    paths: Sequence[str], format_name: str | None = None
) -> Iterator[tuple[str, Atoms | InvalidStructureError]]:
    """As `read_structures`, but one by one; an error where a file cannot be read any further."""
    from ase.io.formats import ioformats

    if format_name is not None and format_name not in ioformats:
        near = get_close_matches(format_name, ioformats, n=1)
        raise InvalidInputError(
            f"--format: ASE knows no {format_name!r}"
            + (f"; did you mean {near[0]!r}?" if near else "; see 'ase info --formats'")
        )
    for path in paths:
        if not Path(path).exists():
            raise InvalidStructureError(f"{path}: no such file")
    for path in paths:
        number = 0
        try:
            for atoms in iterate_frames(path, format_name):
                yield f"{Path(path).name} frame {number}", atoms
                number += 1
        except Exception as error:
            where = f"{path}: " if number == 0 else f"{path}, frame {number}: "
            yield (
                f"{Path(path).name} frame {number}",
                InvalidStructureError(
                    f"{where}cannot read it ({type(error).__name__}: {error}); --format says "
                    "what it is"
                ),
            )


def model_file(text: str) -> Path:
    """Coefficient file of that path, else the model of that name that comes with the package."""
    if Path(text).exists():
        return Path(text)
    names = pretrained.names()
    if text in names:
        return pretrained.path(text)
    raise ModelFileError(f"{text}: no such file{did_you_mean(text, names)}")


def require_writable(path: str) -> None:
    """Fail before the work, not after it."""
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise InvalidInputError(f"{path}: its folder does not exist; make it first")
    try:
        check_place(path)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot write there ({error.strerror})") from error


def require_plottable(path: str | None) -> None:
    """Fail before the work if a figure cannot be written there."""
    if path is None:
        return
    from matplotlib.backend_bases import FigureCanvasBase

    known = FigureCanvasBase.get_supported_filetypes()
    if Path(path).suffix.lstrip(".").lower() not in known:
        raise InvalidInputError(f"{path}: no figure format; use one of {', '.join(sorted(known))}")
    require_writable(path)


def require_page(path: str | None) -> None:
    """Fail before the work if a page cannot be written there."""
    if path is None:
        return
    if not is_page(path):
        raise InvalidInputError(f"{path}: a report is a page; name it .html")
    require_writable(path)


def is_page(path: str) -> bool:
    """Whether a file is a page by its name."""
    return Path(path).suffix.lower() in (".html", ".htm")


def progress_bar(items: Iterable[Any], total: int | None, title: str) -> Iterable[Any]:
    """Bar with rate and time left on a terminal, nothing in a pipe."""
    from tqdm import tqdm

    return tqdm(items, total=total, desc=title, disable=None, file=sys.stderr)


def show(options: argparse.Namespace, data: Any, text: str) -> None:
    """Print a table for people, or JSON for machines."""
    write_result(json.dumps(json_ready(data), indent=2, allow_nan=False) if options.json else text)


def json_ready(data: Any) -> Any:
    """What JSON does not know: NaN as null, arrays as lists, other objects as text."""
    if isinstance(data, np.ndarray | np.generic):
        data = data.tolist()
    if isinstance(data, dict):
        return {key: json_ready(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [json_ready(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data if data is None or isinstance(data, bool | int | float | str) else str(data)
