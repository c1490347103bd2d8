"""Finished displacements on disk, so that a run that was cut short continues."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io.jsonio import encode

from ase_vibent.arrays import Array
from ase_vibent.errors import CalculatorError, InvalidInputError
from ase_vibent.files.archives import Archive, ArchiveError
from ase_vibent.files.writing import whole_file
from ase_vibent.harmonic.gradient import ForcesAndVirial
from ase_vibent.structures.fingerprint import add_structure

#: Two runs of one calculator agree within this share of the largest force or virial: half of what
#: force constants off by a percent would matter. A noisier one is of no use to finite differences.
RELATIVE_NOISE = 5e-3
#: And within this, eV/Å and eV per atom: virials may cancel to what single precision leaves.
FORCE_NOISE, VIRIAL_NOISE = 1e-7, 1e-5


class DisplacementCache:
    """One small file per finished displacement of a structure, under one calculator.

    Files are named after the structure, the calculator's class and its parameters, and the
    displacement; one folder may serve many structures. Calculators can look alike and
    differ, so the first stored response to a displacement that would be used is computed again,
    and compared; forces at rest tell little, they vanish with every calculator.
    Every file has a checksum of what it holds, and of what for: one that is damaged, or was another
    displacement's, counts as missing.

    Parameters
    ----------
    folder : path
        Made where it does not exist.
    atoms : Atoms
        At rest.
    calculator : ASE calculator
    worthwhile : callable () -> bool, optional
        Whether what was just computed shall be stored. The folder is then made once it is needed.

    Raises
    ------
    InvalidInputError
        If the folder cannot be made.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        atoms: Atoms,
        calculator: object,
        worthwhile: Callable[[], bool] | None = None,
    ):
        self._worthwhile = worthwhile
        try:
            self._folder = Path(folder)
            if worthwhile is None:
                self._folder.mkdir(parents=True, exist_ok=True)
        except (OSError, TypeError, ValueError) as error:
            raise InvalidInputError(
                f"cache: expected a folder that can be written, got {folder!r} ({error})"
            ) from error
        self._shape = (len(atoms), 3)
        self._key = _key(atoms, calculator)
        self._verified = False

    def responses(
        self,
        displacements: Sequence[Array],
        compute: Callable[[list[Array]], Iterable[ForcesAndVirial]],
        *,
        virial: bool,
    ) -> list[ForcesAndVirial]:
        """Responses at displacements, stored, or computed and stored as they come.

        Parameters
        ----------
        displacements : sequence of ndarray, shape (N, 3), Å
        compute : callable (displacements) -> iterable of ForcesAndVirial
            Asked only for those that are missing, and for what is to be compared.
        virial : bool
            Whether the responses must carry the virial.

        Returns
        -------
        list of ForcesAndVirial

        Raises
        ------
        CalculatorError
            If the calculator fails, the folder was filled by another one, or it cannot be
            written.
        """
        paths = [self._path(displacement) for displacement in displacements]
        stored = [self._read(path, virial) for path in paths]
        wanted, verified = [], self._verified
        for number, (displacement, found) in enumerate(zip(displacements, stored, strict=True)):
            if found is None or not verified:
                wanted.append(number)
            verified |= found is not None and bool(np.any(displacement))
        fresh = compute([displacements[number] for number in wanted]) if wanted else ()
        responses: list[Any] = list(stored)
        for number, response in zip(wanted, fresh, strict=True):
            responses[number] = response
            before = stored[number]
            if before is None:
                if self._worthwhile is None or self._worthwhile():
                    self._write(paths[number], response)
            elif np.any(displacements[number]):
                self._compare(before, response)
                self._verified = True
        return responses

    def _path(self, displacement: Array) -> Path:
        digest = self._key.copy()
        digest.update((displacement + 0.0).tobytes())  # -0.0 is 0.0
        return self._folder / f"{digest.hexdigest()}.npz"

    def _read(self, path: Path, virial: bool) -> ForcesAndVirial | None:
        """Stored response; None where there is none, or it is damaged, or lacks the virial."""
        try:
            with path.open("rb") as file:
                archive = Archive(file)
                arrays = {name: archive.read(name) for name in archive.names}
            checksum = arrays.pop("checksum").tobytes()
            forces, stored_virial = arrays["forces"], arrays.get("virial")
        except (OSError, ArchiveError, KeyError):
            return None
        if (
            checksum != _checksum(path, arrays)
            or any(a.dtype != np.float64 or not np.all(np.isfinite(a)) for a in arrays.values())
            or forces.shape != self._shape
            or (stored_virial is not None and stored_virial.shape != (3, 3))
            or (virial and stored_virial is None)
        ):
            return None
        return ForcesAndVirial(forces, stored_virial if virial else None)

    def _write(self, path: Path, response: ForcesAndVirial) -> None:
        arrays: dict[str, Any] = {"forces": response.forces}
        if response.virial is not None:
            arrays["virial"] = response.virial
        checksum = np.frombuffer(_checksum(path, arrays), dtype=np.uint8)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as file:
                np.savez(file, **arrays, checksum=checksum)
        except OSError as error:
            raise CalculatorError(
                f"cache: cannot write to {self._folder} ({error.strerror}); make room there, or "
                "choose another folder"
            ) from error

    def _compare(self, stored: ForcesAndVirial, fresh: ForcesAndVirial) -> None:
        self._compare_one("forces", "eV/Å", stored.forces, fresh.forces, FORCE_NOISE)
        if stored.virial is not None and fresh.virial is not None:
            noise = VIRIAL_NOISE * self._shape[0]
            self._compare_one("a virial", "eV", stored.virial, fresh.virial, noise)

    def _compare_one(self, name: str, unit: str, stored: Array, fresh: Array, noise: float) -> None:
        difference = np.abs(stored - fresh).max()
        largest = np.abs(stored).max()
        if not difference <= RELATIVE_NOISE * largest + noise:
            raise CalculatorError(
                f"cache: {self._folder} was filled by another calculator: for a displacement of "
                f"this structure it holds {name} up to {largest:.3g} {unit}, off those of the "
                f"calculator by {difference:.2g} {unit}; remove it, or give each calculator its own"
            )


def _key(atoms: Atoms, calculator: object) -> Any:
    """Digest of a structure and of what can be told of a calculator."""
    digest = hashlib.sha256()
    add_structure(digest, atoms)
    for line in _identity(calculator):
        digest.update(line.encode())
    return digest


def _checksum(path: Path, arrays: dict[str, Array]) -> bytes:
    """Of arrays, and of the displacement that the name of the file stands for."""
    digest = hashlib.sha256(path.name.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.digest()


def _identity(calculator: Any) -> list[str]:
    """Class of a calculator, and those of its parameters that can be written as JSON."""
    parameters = getattr(calculator, "parameters", None) or {}
    lines = [f"{type(calculator).__module__}.{type(calculator).__qualname__}"]
    for name in sorted(parameters):
        # Other objects print their address, which changes from run to run.
        with contextlib.suppress(TypeError, ValueError):
            lines.append(f"\n{name}={encode(parameters[name])}")
    return lines
