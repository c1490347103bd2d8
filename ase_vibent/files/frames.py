"""Structures of files one after the other: no more of a trajectory in memory than one frame."""

from __future__ import annotations

import io
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from typing import IO, Any

import numpy as np
from ase import Atoms
from ase.calculators.lammps.unitconvert import UNITSETS, convert
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ase_vibent.arrays import IntArray

#: Columns of positions of a dump, in the order that ASE looks for them: scaled, unwrapped.
_POSITIONS = tuple(tuple(f"{axis}{kind}" for axis in "xyz") for kind in ("", "s", "u", "su"))
_QUATERNION = tuple(f"c_q[{k}]" for k in (1, 2, 3, 4))


def iterate_frames(path: str | os.PathLike[str], format_name: str | None = None) -> Iterator[Atoms]:
    """Structures of a file, each read when it is asked for.

    Extended XYZ, LAMMPS data files and text dumps are read faster than by ASE, with its results;
    dumps in the units that they name, with their `id`, and without ASE's energy of 0. What ASE
    reads at once, it reads at once here, too.

    Parameters
    ----------
    path : path
        A pipe, such as /dev/stdin, is copied to a temporary file first, unless its format is named
        and one of these three.
    format_name : str, optional
        As ASE calls it; by default told by name and content.

    Yields
    ------
    Atoms

    Raises
    ------
    Exception
        Of many kinds, if the next frame cannot be read.
    """
    import ase.io
    from ase.io.formats import filetype, open_with_compression

    if format_name not in _READERS and stat.S_ISFIFO(os.stat(path).st_mode):
        yield from _copied_frames(path, format_name)
        return
    name = filetype(os.fspath(path)) if format_name is None else format_name
    if name not in _READERS:
        yield from ase.io.iread(path, index=":", format=name)
        return
    # As all text here, whatever the machine's own encoding.
    with io.TextIOWrapper(open_with_compression(path, "rb"), encoding="utf-8") as file:
        yield from _READERS[name](file)


def _copied_frames(path: str | os.PathLike[str], format_name: str | None) -> Iterator[Atoms]:
    """Of what cannot be read twice, as it must be to tell its format."""
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "copy")
        with open(path, "rb") as pipe, open(copy, "wb") as file:
            shutil.copyfileobj(pipe, file)
        yield from iterate_frames(copy, format_name)


def _xyz_frames(file: IO[str]) -> Iterator[Atoms]:
    while (line := file.readline()).strip():
        n_atoms, comment = int(line), file.readline()
        rows = _rows(file, n_atoms)
        try:
            yield _xyz_frame(comment, rows)
        except Exception:  # what is none of the usual, plain XYZ too
            yield _by_ase([line, comment, *rows], "extxyz")
    if line and file.read().strip():
        raise ValueError("a blank line stands where a frame should begin")


def _xyz_frame(comment: str, rows: list[str]) -> Atoms:
    """Of what ASE writes; some exception where it is anything else."""
    from ase.constraints import FixAtoms
    from ase.io.extxyz import key_val_str_to_dict, parse_properties, set_calc_and_arrays

    info = key_val_str_to_dict(comment.strip())
    properties, names, dtype, _ = parse_properties(info.pop("Properties"))
    words = [name for name in dtype.names or () if dtype[name].kind == "O"]
    fixed = properties.get("move_mask", ("", 1))[1]
    if words not in ([], ["species"]) or fixed != 1 or "VEC" in comment:
        raise ValueError("left to ASE")
    kinds = {"O": "S8", "i": "i8", "b": "S5", "f": "f8"}
    columns = [(name, kinds[dtype[name].kind]) for name in dtype.names or ()]
    table = _read_table(rows, columns)
    arrays: dict[str, NDArray[Any]] = {}
    for name in names:
        ase_name, width = properties[name]
        own = [name] if width == 1 else [f"{name}{k}" for k in range(width)]
        values = [
            np.char.startswith(table[c], b"T") if dtype[c].kind == "b" else table[c] for c in own
        ]
        arrays[ase_name] = np.array(values[0]) if width == 1 else np.stack(values, axis=1)
    symbols, cell = arrays.pop("symbols", None), info.pop("Lattice", None)
    atoms = Atoms(
        numbers=arrays.pop("numbers") if symbols is None else _numbers(symbols),
        positions=arrays.pop("positions", None),
        charges=arrays.pop("initial_charges", None),
        cell=None if cell is None else cell.T,
        pbc=info.pop("pbc", None if cell is None else True),
        info=info,
    )
    if "move_mask" in arrays:
        atoms.set_constraint(FixAtoms(mask=~arrays.pop("move_mask")))
    set_calc_and_arrays(atoms, arrays)
    return atoms


def _dump_frames(file: IO[str]) -> Iterator[Atoms]:
    units = "metal"
    while line := file.readline():
        if not line.strip():
            continue
        head, n_atoms = [line], 0
        while not head[-1].startswith("ITEM: ATOMS"):
            head.append(file.readline())
            if not head[-1]:
                raise ValueError("the file ends before the atoms of its last frame")
            if head[-2].startswith("ITEM: NUMBER OF ATOMS"):
                n_atoms = int(head[-1])
            if head[-2].startswith("ITEM: UNITS"):  # of all frames that follow, too
                units = head[-1].strip()
        _check_dump(head[-1].split()[2:], units)
        yield _dump_frame(head, _rows(file, n_atoms), units)


def _check_dump(names: list[str], units: str) -> None:
    if not {"element", "mass"}.intersection(names):
        raise ValueError(
            "the dump has no column 'element' or 'mass', and its types may be any species; add "
            "one to the 'dump custom' command"
        )
    if not any(set(axes).issubset(names) for axes in _POSITIONS):
        raise ValueError("the dump has no columns of positions: x, y, z or the like")
    if units not in UNITSETS:
        raise ValueError(f"the dump is in units {units}, expected some of {', '.join(UNITSETS)}")


def _dump_frame(head: list[str], rows: list[str], units: str) -> Atoms:
    """ASE gets it with one atom of every species, and tells what species and cell are."""
    names = head[-1].split()[2:]
    kinds = {name: kind for name in names if (kind := _dump_kind(name))}
    table = _read_table(rows, list(kinds.items()), [names.index(name) for name in kinds])
    if "id" in names:
        table = table[np.argsort(table["id"], kind="stable")]

    def vectors(*axes: str) -> NDArray[Any] | None:
        whole = set(axes).issubset(names)
        return np.stack([table[axis] for axis in axes], axis=1) if whole else None

    small, of_atom = _dump_species(head, table, units)
    axes = next(axes for axes in _POSITIONS if set(axes).issubset(names))
    scaled = axes[0].startswith("xs")
    atoms = Atoms(
        numbers=small.numbers[of_atom],
        positions=None if scaled else convert(vectors(*axes), "distance", units, "ASE"),
        scaled_positions=vectors(*axes) if scaled else None,
        charges=convert(table["q"], "charge", units, "ASE") if "q" in names else None,
        cell=small.cell,
        pbc=small.pbc,
        celldisp=small.get_celldisp(),
        info=small.info,
    )
    if (velocities := vectors("vx", "vy", "vz")) is not None:
        atoms.set_velocities(convert(velocities, "velocity", units, "ASE"))
    if (forces := vectors("fx", "fy", "fz")) is not None:  # ASE adds an energy of 0
        forces = convert(forces, "force", units, "ASE")
        atoms.calc = SinglePointCalculator(atoms, forces=forces)
    if (turned := vectors(*_QUATERNION)) is not None:
        atoms.set_array("quaternions", turned)
    for name in kinds:
        if name in ("id", "type") or ("_" in name and name not in _QUATERNION):
            atoms.set_array(name, table[name])
    return atoms


def _dump_species(head: list[str], table: NDArray[Any], units: str) -> tuple[Atoms, IntArray]:
    """One atom of every species by ASE, in the cell, and which of them each atom is like."""
    name = "element" if "element" in (table.dtype.names or ()) else "mass"
    column = np.ascontiguousarray(table[name])
    # Words are compared as one number.
    codes, of_atom = np.unique(column.view(np.uint64), return_inverse=True)
    rows = [f"{key} 0 0 0\n" for key in codes.view(column.dtype).astype(str)]
    count = 1 + next(k for k, line in enumerate(head) if line.startswith("ITEM: NUMBER OF ATOMS"))
    before, after = head[:count], head[count + 1 : -1]
    lines = [*before, f"{len(rows)}\n", *after, f"ITEM: ATOMS {name} x y z\n", *rows]
    return _by_ase(lines, "lammps-dump-text", units=units), of_atom


def _dump_kind(name: str) -> str | None:
    """Type of a column that ASE takes."""
    if re.fullmatch(r"id|type|i2?_.*", name):
        return "i8"
    if name == "element":
        return "S8"
    taken = re.fullmatch(r"[xyz](s|u|su)?|[vf][xyz]|q|mass|([cfv]|d2?)_.*", name)
    return "f8" if taken else None


def _data_frame(file: IO[str]) -> Iterator[Atoms]:
    """The only structure of a LAMMPS data file."""
    lines = file.readlines()
    try:
        yield _plain_data(lines)
    except Exception:  # what is none of the usual
        yield _by_ase(lines, "lammps-data")


def _plain_data(lines: list[str]) -> Atoms:
    """Of style atomic, atoms last; some exception where it is anything else.

    ASE gets it with one atom of every type, and tells what types and cell are.
    """
    heads = [line.split("#")[0].strip() for line in lines]
    start = heads.index("Atoms") + 2
    before = lines[:start]
    n_atoms = next(int(k.split()[0]) for k in before[1:] if k.split()[1:2] == ["atoms"])
    rows = lines[start : start + n_atoms]
    style = before[-2].partition("#")[2].strip() or "atomic"
    width = len(rows[0].split())
    if style != "atomic" or width not in (5, 8) or "".join(lines[start + n_atoms :]).strip():
        raise ValueError("left to ASE")
    table = _read_table(rows, [(str(k), "i8" if k < 2 or k > 4 else "f8") for k in range(width)])
    table = table[np.argsort(table["0"], kind="stable")]
    types, of_atom = np.unique(table["1"], return_inverse=True)
    few = [f"{k + 1} {z} 0 0 0\n" for k, z in enumerate(types)]
    count = f"{len(few)} atoms\n"  # anything may stand in the first line
    head = [count if k.split()[1:2] == ["atoms"] else k for k in before[1:]]
    small = _by_ase([before[0], *head, *few], "lammps-data")
    atoms = Atoms(
        numbers=small.numbers[of_atom],
        positions=np.stack([table[str(k)] for k in (2, 3, 4)], axis=1),
        cell=small.cell,
        pbc=small.pbc,
        celldisp=small.get_celldisp(),
        info=small.info,
    )
    if small.has("masses"):
        atoms.set_masses(small.get_masses()[of_atom])
    if width == 8:
        windings = np.stack([table[str(k)] for k in (5, 6, 7)], axis=1)
        atoms.positions += windings @ atoms.cell.array
    atoms.set_array("id", table["0"])
    atoms.set_array("type", types[of_atom])
    return atoms


_READERS: dict[str, Callable[[IO[str]], Iterator[Atoms]]] = {
    "extxyz": _xyz_frames,
    "lammps-dump-text": _dump_frames,
    "lammps-data": _data_frame,
}


def _by_ase(lines: list[str], format_name: str, **options: str) -> Atoms:
    """One structure, read by ASE."""
    import ase.io

    atoms: Atoms = ase.io.read(io.StringIO("".join(lines)), format=format_name, **options)
    return atoms


def _rows(file: IO[str], n_rows: int) -> list[str]:
    """So many lines of a file."""
    if n_rows < 0:
        raise ValueError(f"a frame of {n_rows} atoms")
    rows = list(islice(file, n_rows))
    if len(rows) != n_rows:
        raise ValueError(f"the file ends after {len(rows)} of {n_rows} atoms of a frame")
    return rows


def _read_table(
    rows: list[str], columns: list[tuple[str, str]], chosen: list[int] | None = None
) -> NDArray[Any]:
    """Rows of a table, or chosen columns of it, as an array of named columns."""
    table = np.loadtxt(rows, dtype=columns, comments=None, usecols=chosen, ndmin=1)
    if len(table) != len(rows):
        raise ValueError("a blank line stands among the atoms")
    return table


def _numbers(symbols: NDArray[np.bytes_]) -> IntArray:
    """Atomic numbers of symbols of at most eight letters, which are compared as one number."""
    codes, numbers = np.unique(symbols.view(np.uint64), return_inverse=True)
    names = [symbol.decode().capitalize() for symbol in codes.view("S8")]
    return np.array([atomic_numbers[name] for name in names])[numbers]
