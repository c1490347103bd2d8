"""What tells structures apart for a calculator: their arrays, and a part of checksums."""

from __future__ import annotations

from typing import Any

from ase import Atoms
from numpy.typing import NDArray

from ase_vibent.dataset import PREFIX


def marks(atoms: Atoms) -> dict[str, NDArray[Any]]:
    """Per-atom arrays that a calculator may read, by name, besides species and positions.

    Parameters
    ----------
    atoms : Atoms
        Masses, momenta and labels are left out. Arrays of zeros (tags, charges) are as none.

    Returns
    -------
    dict of str to ndarray, shape (N, …)
    """
    return {
        name: array
        for name, array in sorted(atoms.arrays.items())
        if name not in ("numbers", "positions", "masses", "momenta")
        and not name.startswith(PREFIX)
        and (array.dtype.kind not in "biufc" or array.any())
    }


def add_structure(digest: Any, atoms: Atoms) -> None:
    """Add all that a calculator sees of a structure to a checksum.

    Parameters
    ----------
    digest : hash object
    atoms : Atoms
        Of its arrays, its `marks`.
    """
    known = {
        "numbers": atoms.numbers,
        "positions": atoms.positions + 0.0,  # -0.0 is 0.0
        "cell": atoms.cell.array,
        "pbc": atoms.pbc,
    }
    for name, array in (known | marks(atoms)).items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes())
