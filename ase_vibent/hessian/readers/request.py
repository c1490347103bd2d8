"""What a reader is asked for, and what all readers need."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree, J, Ry, kcal, m, mol

from ase_vibent.arrays import Array, IntArray
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.hessian.stored import Polarity

#: Units of force constants, in eV/Å².
UNITS = {
    "eV/A^2": 1.0,
    "eV/A/bohr": 1 / Bohr,
    "Ry/bohr^2": Ry / Bohr**2,
    "mRy/bohr^2": 1e-3 * Ry / Bohr**2,
    "Ha/bohr^2": Hartree / Bohr**2,
    "N/m": J / m**2,
    "kcal/mol/A^2": kcal / mol,
}


@dataclass(frozen=True)
class Request:
    """A file, and what its reader may need beside it; see `read_hessian`."""

    path: Path
    structure: Atoms | None = None
    supercell: IntArray | None = None
    born: Path | Polarity | None = None
    units: str | None = None
    displacement: float | None = None

    def refuse(self, fault: str) -> NoReturn:
        """Raise InvalidInputError about the file."""
        raise InvalidInputError(f"{self.path}: {fault}")

    def required_structure(self, what: str) -> Atoms:
        """The structure, of a file that has none itself."""
        if self.structure is None:
            self.refuse(f"{what} hold no structure; pass it (structure=, a file that ASE reads)")
        return self.structure.copy()

    def beside(self, *names: str) -> Path | None:
        """First of some files that lies in the same folder."""
        candidates = (self.path.parent / name for name in names)
        return next((path for path in candidates if path.is_file()), None)

    def converted(self, matrix: Any, own: float = 1.0) -> Any:
        """Force constants in eV/Å², from the stated unit, or that of the format."""
        return matrix * (own if self.units is None else UNITS[self.units])


def as_structure(structure: Atoms | str | os.PathLike[str] | None) -> Atoms | None:
    """A structure, or the last one of a file."""
    import ase.io

    if structure is None or isinstance(structure, Atoms):
        return structure
    if not Path(structure).is_file():
        raise InvalidStructureError(f"{structure}: no such file")
    try:
        atoms: Atoms = ase.io.read(structure, index=-1)
    except Exception as error:
        raise InvalidStructureError(
            f"{structure}: ASE cannot read it ({type(error).__name__}: {error})"
        ) from error
    return atoms


def as_supercell(supercell: Sequence[int] | Sequence[Sequence[int]] | None) -> IntArray | None:
    """Matrix of a supercell whose rows are its vectors, (3, 3), from three repeats or itself."""
    if supercell is None:
        return None
    try:
        numbers = np.asarray(supercell)
    except ValueError:  # ragged
        numbers = np.empty(0)
    matrix = np.diag(numbers) if numbers.shape == (3,) else numbers
    if matrix.shape != (3, 3) or matrix.dtype.kind not in "iu" or np.linalg.det(matrix) < 0.5:
        raise InvalidInputError(
            "supercell: expected three integers ≥ 1, or a 3 × 3 matrix of integers with a positive "
            f"determinant, got {supercell!r}"
        )
    return np.asarray(matrix, dtype=np.int64)


def as_unit(units: str | None) -> str | None:
    """A unit of force constants as `UNITS` spells it."""
    if units is None:
        return None
    plain = str(units).replace("Å", "A").replace("angstrom", "A").replace("²", "^2")
    plain = plain.replace("au^2", "bohr^2").replace("hartree", "Ha").replace("A.au", "A/bohr")
    if plain not in UNITS:
        raise InvalidInputError(f"units: expected one of {', '.join(UNITS)}, got {units!r}")
    return plain


def in_blocks(constants: Array) -> Array:
    """Matrix (3N, 3N) of force constants in phonopy's order, (N, N, 3, 3)."""
    n = len(constants)
    return constants.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n)
