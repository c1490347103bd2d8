"""Files that frames are added to while they are computed, of which nothing complete is lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ase import Atoms

from ase_vibent.dataset.frames import frame_parts
from ase_vibent.errors import InvalidInputError, LabelError
from ase_vibent.files.writing import growing_file

#: What adds a frame to a file.
Add = Callable[[Atoms], None]


def check_suffix(path: str | os.PathLike[str]) -> None:
    """Raise InvalidInputError unless frames can be written in the format of a file's name.

    Parameters
    ----------
    path : path
    """
    if Path(path).suffix not in _ADDERS:
        raise InvalidInputError(
            f"{path}: expected a name that ends in {', '.join(sorted(_ADDERS))}: extended XYZ, or "
            "ASE's binary trajectory"
        )


@contextmanager
def frame_file(path: str | os.PathLike[str]) -> Iterator[Add]:
    """Write frames one by one; if something fails, the file holds those before.

    Parameters
    ----------
    path : path
        Extended XYZ (.xyz, .extxyz) as `write_labels` writes it; or ASE's binary trajectory
        (.traj), whose frames keep arrays and info of their own beside ASE's: see
        `ase.io.ulm.open`.

    Yields
    ------
    callable (atoms) -> None

    Raises
    ------
    LabelError
        If the file cannot be written.
    """
    check_suffix(path)
    count = 0
    try:
        with growing_file(path) as (file, keep):
            add_to_file = _ADDERS[Path(path).suffix](file)

            def add(atoms: Atoms) -> None:
                nonlocal count
                add_to_file(atoms)
                keep()
                count += 1

            yield add
    except OSError as error:
        kept = f"; it holds the {count} frames before" if count else ""
        raise LabelError(f"{path}: cannot write it ({error.strerror or error}){kept}") from error


def _xyz_adder(file: IO[bytes]) -> Add:
    descriptor = file.fileno()

    def add(atoms: Atoms) -> None:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        try:
            for part in frame_parts(atoms):
                rest = memoryview(part)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
        except BaseException:
            os.ftruncate(descriptor, size)
            raise

    return add


def _trajectory_adder(file: IO[bytes]) -> Add:
    from ase.io.trajectory import write_atoms
    from ase.io.ulm import Writer

    writer = Writer(file, tag="ASE-Trajectory")
    writer.write(version=1, ase_version="3")

    def add(atoms: Atoms) -> None:
        write_atoms(writer, atoms)
        for name, array in atoms.arrays.items():
            if name not in _WRITTEN_BY_ASE and array.dtype.kind in "fiub":
                writer.write(name, array)
        writer.write(info={key: value for key, value in atoms.info.items() if _can_encode(value)})
        writer.sync()

    return add


def _can_encode(value: Any) -> bool:
    """Whether a trajectory can hold a value, as it can not any object."""
    from ase.io.jsonio import encode

    try:
        encode(value)
    except TypeError:
        return False
    return True


#: Arrays of `Atoms` that a trajectory keeps under names of its own.
_WRITTEN_BY_ASE = {
    "pbc",
    "cell",
    "celldisp",
    "constraints",
    "calculator",
    "description",
    "info",
    "version",
    "numbers",
    "positions",
    "tags",
    "momenta",
    "masses",
    "initial_magmoms",
    "initial_charges",
}
_ADDERS: dict[str, Callable[[IO[bytes]], Add]] = {
    ".xyz": _xyz_adder,
    ".extxyz": _xyz_adder,
    ".traj": _trajectory_adder,
}
