"""LAMMPS text dumps, as `dump custom` writes them, in units metal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.lammps import Prism, convert
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ase_vibent.arrays import Array, IntArray
from ase_vibent.files.rows import Column, format_rows

#: Names that LAMMPS and OVITO know, and its quantities where units differ from ASE's.
_KNOWN = {
    "momenta": ("vx", "vy", "vz"),
    "forces": ("fx", "fy", "fz"),
    "initial_charges": ("q",),
    "masses": ("mass",),
}
#: Arrays that turn with the box; what directions others may have is not known.
_VECTORS = ("momenta", "forces", "entropy_gradient")
#: Å beyond the last atom, where a box without periodicity is too small for its atoms.
_MARGIN = 1.0


class DumpFrames:
    """Frames of one dump: what a type is stays the same from frame to frame."""

    def __init__(self) -> None:
        self._types: dict[str, int] = {}
        self._n_frames = 0

    def format(
        self, atoms: Atoms, columns: Sequence[tuple[str, NDArray[Any]]]
    ) -> tuple[Iterator[bytes], list[int]]:
        """One more frame.

        Parameters
        ----------
        atoms : Atoms
            `info["timestep"]` is kept, and so are arrays `id` and `type` such as LAMMPS could have;
            types are otherwise numbered as species appear, in the order of their symbols. The cell
            is turned until it is LAMMPS's (a along x, b in the xy plane), and mirrored if it is
            left-handed; positions and vectors with it. Along open directions it holds all atoms.
        columns : sequence of (str, ndarray of shape (N, ...))
            Names and values of more columns; momenta, in ASE's unit, become velocities in Å/ps,
            and columns of several components `name[1]`, `name[2]` and so on.

        Returns
        -------
        iterator of bytes
            Text of the frame, in parts.
        list of int
            Numbers of the columns that it does not hold: of anything but numbers, with names that
            are no single word or there already, or of unknown directions where the cell is turned.
        """
        box, positions, rotation = _box(atoms)
        ids, types = _ids(atoms), _types(atoms)
        table: dict[str, Column] = {
            "id": np.arange(1, len(atoms) + 1) if ids is None else ids,
            "type": self._types_of(atoms) if types is None else types,
            "element": (chemical_symbols, atoms.numbers),
            **dict(zip("xyz", positions.T, strict=True)),
        }
        kept = {"id": ids is not None, "type": types is not None}
        left_out = []
        for number, (name, array) in enumerate(columns):
            if kept.get(name):
                continue
            own = _columns(name, array, atoms, rotation)
            if own is None or not own.keys().isdisjoint(table):
                left_out.append(number)
            else:
                table |= own
        step = atoms.info.get("timestep")
        head = [
            *(["ITEM: UNITS", "metal"] if self._n_frames == 0 else []),
            "ITEM: TIMESTEP",
            str(step if isinstance(step, int | np.integer) and step >= 0 else self._n_frames),
            "ITEM: NUMBER OF ATOMS",
            str(len(atoms)),
            *box,
            f"ITEM: ATOMS {' '.join(table)}\n",
        ]
        self._n_frames += 1
        return _parts("\n".join(head), list(table.values())), left_out

    def _types_of(self, atoms: Atoms) -> IntArray:
        """Numbers of species."""
        for symbol in sorted(set(atoms.symbols)):
            self._types.setdefault(symbol, len(self._types) + 1)
        return np.array([self._types.get(symbol, 0) for symbol in chemical_symbols])[atoms.numbers]


def _parts(head: str, columns: list[Column]) -> Iterator[bytes]:
    yield head.encode()
    yield from format_rows(columns)


def _counted(atoms: Atoms, name: str) -> IntArray | None:
    """An array of integers from 1 on; None if it is none."""
    array = atoms.arrays.get(name)
    if array is None or array.dtype.kind not in "iu" or array.ndim > 1 or array.min() < 1:
        return None
    return array


def _ids(atoms: Atoms) -> IntArray | None:
    """Numbers that atoms have, if no two have one."""
    ids = _counted(atoms, "id")
    return None if ids is None or len(np.unique(ids)) < len(ids) else ids


def _types(atoms: Atoms) -> IntArray | None:
    """Types that atoms have, if each is of one species."""
    types = _counted(atoms, "type")
    if types is None:
        return None
    pairs = np.unique(np.stack([types, atoms.numbers]), axis=1)
    return types if len(np.unique(pairs[0])) == pairs.shape[1] else None


def _box(atoms: Atoms) -> tuple[list[str], Array, Array | None]:
    """Lines of the box, positions in it, and what turns row vectors into it; None where nothing."""
    cell = atoms.cell.complete().array.copy()
    origin = atoms.get_celldisp().ravel().copy()
    positions = atoms.positions
    rotation = None
    if np.any(np.triu(cell, 1)) or np.any(np.diag(cell) <= 0):
        prism = Prism(cell, atoms.pbc)
        cell, rotation = prism.cell.copy(), prism.rot_mat
        cell[np.abs(cell) < 1e-14 * np.abs(cell).max()] = 0  # rounding of the rotation
        origin, positions = origin @ rotation, positions @ rotation
    if not atoms.pbc.all():
        scaled = np.linalg.solve(cell.T, (positions - origin).T)
        for k in np.flatnonzero(~atoms.pbc):
            margin = _MARGIN / np.linalg.norm(cell[k])
            low, high = scaled[k].min(), scaled[k].max()
            low, high = (low - margin if low < 0 else 0, high + margin if high >= 1 else 1)
            origin += low * cell[k]
            cell[k] *= high - low
    flags = " ".join("pp" if periodic else "ff" for periodic in atoms.pbc)
    (xy, xz, yz), sizes = cell[(1, 2, 2), (0, 0, 1)].tolist(), np.diag(cell).tolist()
    x, y, z = origin.tolist()
    bounds = [
        (x + min(0, xy) + min(0, xz), x + sizes[0] + max(0, xy) + max(0, xz), xy),
        (y + min(0, yz), y + sizes[1] + max(0, yz), xz),
        (z, z + sizes[2], yz),
    ]
    tilted = any((xy, xz, yz))
    title = f"ITEM: BOX BOUNDS {'xy xz yz ' if tilted else ''}{flags}"
    rows = [" ".join(map(repr, row if tilted else row[:2])) for row in bounds]
    return [title, *rows], positions, rotation


def _columns(
    name: str, array: NDArray[Any], atoms: Atoms, rotation: Array | None
) -> dict[str, Column] | None:
    """Columns of an array; None if a dump cannot hold it."""
    if array.dtype.kind not in "fiub" or array.size % len(atoms) or name.split() != [name]:
        return None
    if name == "momenta":
        array = convert(array / atoms.get_masses()[:, None], "velocity", "ASE", "metal")
    if rotation is not None and array.ndim > 1:
        if name not in _VECTORS:
            return None
        array = array @ rotation
    table = array.reshape(len(atoms), -1)
    if table.dtype.kind == "b":
        table = table.astype(int)
    width = table.shape[1]
    names = [name] if width == 1 else [f"{name}[{k + 1}]" for k in range(width)]
    return dict(zip(_KNOWN.get(name, names), table.T, strict=True))
