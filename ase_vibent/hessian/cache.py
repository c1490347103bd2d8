"""Finished displacements on disk, so that a run that was cut short continues."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from ase import Atoms
from ase.io.jsonio import encode

from ase_vibent.arrays import Array
from ase_vibent.errors import CalculatorError, InvalidInputError
from ase_vibent.harmonic.gradient import ForcesAndVirial

#: Two runs of one calculator agree within this share of the largest force, and this, eV/Å.
#: Forces of 0.1 eV/Å, usual for displacements of 0.01 Å, may then differ by 1e-3 eV/Å: a
#: noisier calculator is of no use to finite differences.
RELATIVE_NOISE, ABSOLUTE_NOISE = 1e-2, 1e-4


class DisplacementCache:
    """One small file per finished displacement of a structure, under one calculator.

    Files are named after the structure, the calculator's class and its parameters, and the
    displacement; one folder may serve many structures. Calculators can look alike and
    differ, so the first stored response to a displacement that would be used is computed again,
    and compared; forces at rest tell little, they vanish with every calculator.
    A damaged file counts as missing.

    Parameters
    ----------
    folder : path
        Made where it does not exist.
    atoms : Atoms
        At rest.
    calculator : ASE calculator

    Raises
    ------
    InvalidInputError
        If the folder cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str], atoms: Atoms, calculator: object):
        try:
            self._folder = Path(folder)
            self._folder.mkdir(parents=True, exist_ok=True)
        except (OSError, TypeError, ValueError) as error:
            raise InvalidInputError(
                f"cache: expected a folder that can be written, got {folder!r} ({error})"
            ) from error
        self._shape = (len(atoms), 3)
        self._key = _key(atoms, calculator)
        self._verified = False

    def response(
        self, displacement: Array, compute: Callable[[Array], ForcesAndVirial], *, virial: bool
    ) -> ForcesAndVirial:
        """Response at a displacement, stored or computed and then stored.

        Parameters
        ----------
        displacement : ndarray, shape (N, 3), Å
        compute : callable (displacement) -> ForcesAndVirial
        virial : bool
            Whether the response must carry the virial.

        Returns
        -------
        ForcesAndVirial

        Raises
        ------
        CalculatorError
            If the calculator fails, the folder was filled by another one, or it cannot be
            written.
        """
        digest = self._key.copy()
        digest.update((displacement + 0.0).tobytes())  # -0.0 is 0.0
        path = self._folder / f"{digest.hexdigest()}.npz"
        stored = self._read(path, virial)
        if stored is not None and self._verified:
            return stored
        fresh = compute(displacement)
        if stored is None:
            self._write(path, fresh)
        else:
            self._compare(stored, fresh)
            self._verified = bool(np.any(displacement))
        return fresh

    def _read(self, path: Path, virial: bool) -> ForcesAndVirial | None:
        """Stored response; None where there is none, or it is damaged, or lacks the virial."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = dict(archive)
        except Exception:  # a damaged archive fails in many ways
            return None
        forces, stored_virial = arrays.get("forces"), arrays.get("virial")
        if forces is None or forces.shape != self._shape or (virial and stored_virial is None):
            return None
        return ForcesAndVirial(forces, stored_virial if virial else None)

    def _write(self, path: Path, response: ForcesAndVirial) -> None:
        arrays: dict[str, Any] = {"forces": response.forces}
        if response.virial is not None:
            arrays["virial"] = response.virial
        temporary = path.with_suffix(f".{uuid4().hex}.tmp")
        try:
            with temporary.open("xb") as file:
                np.savez(file, **arrays)
            os.replace(temporary, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise CalculatorError(
                f"cache: cannot write to {self._folder} ({error.strerror}); make room there, or "
                "choose another folder"
            ) from error

    def _compare(self, stored: ForcesAndVirial, fresh: ForcesAndVirial) -> None:
        difference = np.abs(stored.forces - fresh.forces).max()
        largest = np.abs(stored.forces).max()
        if difference > RELATIVE_NOISE * largest + ABSOLUTE_NOISE:
            raise CalculatorError(
                f"cache: {self._folder} was filled by another calculator: for a displacement of "
                f"this structure it holds forces up to {largest:.3g} eV/Å that differ from "
                f"those of the calculator by {difference:.2g} eV/Å; give each calculator a "
                "folder of its own"
            )


def _key(atoms: Atoms, calculator: object) -> Any:
    """Digest of a structure and of what can be told of a calculator."""
    digest = hashlib.sha256()
    for array in (
        atoms.numbers,
        atoms.positions,
        atoms.cell.array,
        atoms.pbc,
        atoms.get_initial_magnetic_moments(),
        atoms.get_initial_charges(),
    ):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    for line in _identity(calculator):
        digest.update(line.encode())
    return digest


def _identity(calculator: Any) -> list[str]:
    """Class of a calculator, and those of its parameters that can be written as JSON."""
    parameters = getattr(calculator, "parameters", None) or {}
    lines = [f"{type(calculator).__module__}.{type(calculator).__qualname__}"]
    for name in sorted(parameters):
        # Other objects print their address, which changes from run to run.
        with contextlib.suppress(TypeError, ValueError):
            lines.append(f"\n{name}={encode(parameters[name])}")
    return lines
