"""What tells structures apart for a calculator, as a part of a checksum."""

from __future__ import annotations

from typing import Any

from ase import Atoms

from ase_vibent.dataset import PREFIX


def add_structure(digest: Any, atoms: Atoms) -> None:
    """Add all that a calculator sees of a structure to a checksum.

    Parameters
    ----------
    digest : hash object
    atoms : Atoms
        Masses, momenta and labels are left out. Arrays of zeros (tags, charges) are as none.
    """
    known = {"numbers": atoms.numbers, "positions": atoms.positions + 0.0}  # -0.0 is 0.0
    others = {
        name: array
        for name, array in sorted(atoms.arrays.items())
        if name not in {*known, "masses", "momenta"} and not name.startswith(PREFIX)
    }
    for name, array in {**known, "cell": atoms.cell.array, "pbc": atoms.pbc, **others}.items():
        if name in others and array.dtype.kind in "biufc" and not array.any():
            continue
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes())
