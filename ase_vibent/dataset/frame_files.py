"""Files that frames are added to while they are computed, of which nothing complete is lost."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import all_properties
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from ase_vibent.dataset.frames import HELD_CONSTRAINTS, frame_parts, holds_array, holds_info
from ase_vibent.dataset.names import CHECKSUM, PREDICTED
from ase_vibent.errors import InvalidInputError, LabelError, LeftOutWarning
from ase_vibent.files.dumps import DumpFrames
from ase_vibent.files.writing import growing_file

#: What adds a frame to a file.
Add = Callable[[Atoms], None]
#: Likewise; it gives names of what the file cannot hold of the frame.
_Adder = Callable[[Atoms], list[str]]


def check_suffix(path: str | os.PathLike[str]) -> None:
    """Raise InvalidInputError unless frames can be written in the format of a file's name.

    Parameters
    ----------
    path : path
    """
    if Path(path).suffix.lower() not in _ADDERS:
        raise InvalidInputError(
            f"{path}: expected a name that ends in {', '.join(sorted(_ADDERS))}: extended XYZ, "
            "ASE's binary trajectory, or a LAMMPS text dump"
        )


@contextmanager
def frame_file(path: str | os.PathLike[str]) -> Iterator[Add]:
    """Write frames one by one; if something fails, the file holds those before.

    Parameters
    ----------
    path : path
        Extended XYZ (.xyz, .extxyz) as `write_labels` writes it; ASE's binary trajectory (.traj),
        whose frames keep arrays of their own beside ASE's: see `ase.io.ulm.open`, as `ase.io.read`
        leaves them out; or a LAMMPS text dump (.dump, .lammpstrj): see `DumpFrames`. The case of
        letters does not matter.

    Yields
    ------
    callable (atoms) -> None
        Results of a calculator are written as far as they belong to the atoms.

    Raises
    ------
    LabelError
        If the file cannot be written.

    Warns
    -----
    LeftOutWarning
        At the end, of all that the format cannot hold of the frames.
    """
    check_suffix(path)
    suffix, count, left_out = Path(path).suffix.lower(), 0, set[str]()
    try:
        with growing_file(path) as (file, keep):
            add_to_file = _ADDERS[suffix](file)

            def add(atoms: Atoms) -> None:
                nonlocal count
                left_out.update(add_to_file(atoms))
                keep()
                count += 1

            yield add
    except OSError as error:
        kept = f"; it holds the {count} frames before" if count else ""
        raise LabelError(f"{path}: cannot write it ({error.strerror or error}){kept}") from error
    finally:
        if left_out:
            text = f"{path}: {suffix} files hold no {', '.join(sorted(left_out))}; left out"
            warnings.warn(text, LeftOutWarning, stacklevel=3)


def _xyz_adder(file: IO[bytes]) -> _Adder:
    def add(atoms: Atoms) -> list[str]:
        held, left_out = _held(atoms, holds_info, holds_array)
        left_out += _lost_constraints(atoms, lambda c: isinstance(c, HELD_CONSTRAINTS))
        left_out += _join_results(held, _results(atoms))
        _write_frame(file, frame_parts(held))
        return left_out

    return add


def _trajectory_adder(file: IO[bytes]) -> _Adder:
    from ase.io.trajectory import TrajectoryWriter

    writer = TrajectoryWriter(file, "w")

    def add(atoms: Atoms) -> list[str]:
        held, left_out = _held(atoms, _can_encode, _trajectory_holds)
        if not all(hasattr(c, "todict") for c in atoms.constraints):  # ASE writes all or none
            left_out += _lost_constraints(atoms, lambda _: False)
        results = _results(atoms)
        left_out += [f"result {name!r}" for name in results if name not in all_properties]
        for name, array in held.arrays.items():
            if name not in _ARRAYS_OF_ASE:
                writer.backend.write(name, array.tolist() if array.dtype.kind == "U" else array)
        held.calc = atoms.calc if results else None
        writer.write(held)
        return left_out

    return add


def _dump_adder(file: IO[bytes]) -> _Adder:
    frames = DumpFrames()

    def add(atoms: Atoms) -> list[str]:
        left_out = [f"info {key!r}" for key in atoms.info if not _needless_in_dumps(key)]
        left_out += _lost_constraints(atoms, lambda _: False)
        sources = {
            f"array {name!r}": (name.removeprefix(PREDICTED), array)
            for name, array in atoms.arrays.items()
            if name not in ("numbers", "positions")
        }
        sources |= {f"result {k!r}": (k, np.asarray(v)) for k, v in _results(atoms).items()}
        parts, unused = frames.format(atoms, list(sources.values()))
        _write_frame(file, parts)
        return left_out + [list(sources)[k] for k in unused]

    return add


def _write_frame(file: IO[bytes], parts: Iterable[bytes]) -> None:
    """Write all of it or nothing."""
    descriptor = file.fileno()
    size = os.lseek(descriptor, 0, os.SEEK_END)
    try:
        for part in parts:
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
    except BaseException:
        os.ftruncate(descriptor, size)
        raise


def _held(
    atoms: Atoms,
    holds_info: Callable[[Any, Any], bool],
    holds_array: Callable[[str, NDArray[Any]], bool],
) -> tuple[Atoms, list[str]]:
    """Atoms with the info and arrays that a file can hold, and names of the others."""
    held: Atoms = atoms.copy()
    info = [key for key, value in atoms.info.items() if not holds_info(key, value)]
    arrays = [name for name, array in atoms.arrays.items() if not holds_array(name, array)]
    for key in info:
        del held.info[key]
    for name in arrays:
        del held.arrays[name]
    return held, [f"info {key!r}" for key in info] + [f"array {name!r}" for name in arrays]


def _lost_constraints(atoms: Atoms, holds: Callable[[Any], bool]) -> list[str]:
    """Names of the constraints that a file cannot hold."""
    return [f"constraint {type(c).__name__}" for c in atoms.constraints if not holds(c)]


def _results(atoms: Atoms) -> dict[str, Any]:
    """What a calculator has found of the atoms as they are."""
    if atoms.calc is None:
        return {}
    names = list(atoms.calc.results)
    found = {k: atoms.calc.get_property(k, atoms, allow_calculation=False) for k in names}
    return {name: value for name, value in found.items() if value is not None}


def _join_results(atoms: Atoms, results: dict[str, Any]) -> list[str]:
    """Put results where readers of extended XYZ find them; names of those without a place."""
    from ase.io.extxyz import per_atom_properties, per_config_properties

    left_out = []
    for name, value in results.items():
        if name in per_config_properties and name not in atoms.info:
            voigt = name == "stress" and np.shape(value) == (6,)
            atoms.info[name] = voigt_6_to_full_3x3_stress(value) if voigt else value
        elif name in per_atom_properties and name not in atoms.arrays:
            atoms.arrays[name] = np.asarray(value)
        else:
            left_out.append(f"result {name!r}")
    return left_out


def _needless_in_dumps(key: Any) -> bool:
    """Info that dumps hold, and, of predictions, what is never looked for in them."""
    return key in ("timestep", CHECKSUM) or str(key).startswith(PREDICTED)


def _can_encode(key: Any, value: Any) -> bool:
    """Whether a trajectory can hold an entry of info, as it can not any object."""
    from ase.io.jsonio import encode

    try:
        encode({key: value})
    except TypeError:
        return False
    return True


def _trajectory_holds(name: str, array: NDArray[Any]) -> bool:
    return name in _ARRAYS_OF_ASE or (
        name not in _ENTRIES_OF_ASE and "." not in name and array.dtype.kind in "fiubU"
    )


#: Arrays that trajectories have a place for, and names of all their entries.
_ARRAYS_OF_ASE = {
    "numbers",
    "positions",
    "tags",
    "momenta",
    "masses",
    "initial_magmoms",
    "initial_charges",
}
_ENTRIES_OF_ASE = {
    *("version", "ase_version", "description", "pbc", "constraints", "cell", "info"),
    *("magmoms", "charges", "calculator"),
}
_ADDERS: dict[str, Callable[[IO[bytes]], _Adder]] = {
    ".xyz": _xyz_adder,
    ".extxyz": _xyz_adder,
    ".traj": _trajectory_adder,
    ".dump": _dump_adder,
    ".lammpstrj": _dump_adder,
}
