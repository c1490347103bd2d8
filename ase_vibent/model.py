"""The site model: one linear function of the descriptor per species, and its file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent.descriptors import Descriptor, SiteSums, descriptor_from_dict
from ase_vibent.descriptors.kinds import species_indices
from ase_vibent.descriptors.neighbours import NeighbourLists
from ase_vibent.errors import ModelFileError

Array = NDArray[np.float64]

FORMAT = "ase-vibent site model"
FORMAT_VERSION = 1
_ARRAYS = ("constants", "weights", "shift", "scale")


@dataclass(frozen=True)
class SiteModel:
    """Linear site model v_i = c_z(i) + w_z(i) · (D_i - shift_z(i)), P2 (13)-(15).

    The constants are thermodynamic limits of the perfect crystal, so the model is strictly
    extensive. Its target is a name only: for "entropy" the values are mass-free reduced
    site entropies in units of k_B.

    Attributes
    ----------
    descriptor : Descriptor
    constants : ndarray, shape (n_species,)
    weights : ndarray, shape (n_species, n_features)
    shift : ndarray, shape (n_species, n_features)
        Features of the perfect crystal, or their mean.
    scale : ndarray, shape (n_species, n_features)
        Column scale of the fit, kept for statistics; already contained in the weights.
    target : str
    header : dict
        What a reader of the file should know: solver, training errors, data checksum.
    """

    descriptor: Descriptor
    constants: Array
    weights: Array
    shift: Array
    scale: Array
    target: str = "entropy"
    header: dict[str, Any] = field(default_factory=dict)

    @property
    def species(self) -> Sequence[str]:
        """Chemical symbols the model knows."""
        return self.descriptor.species

    def evaluate(
        self, atoms: Atoms, *, gradient: bool = True, lists: NeighbourLists | None = None
    ) -> SiteSums:
        """Site values, gradient and strain derivative of their sum.

        Parameters
        ----------
        atoms : Atoms
        gradient : bool
            Whether derivatives are wanted.
        lists : NeighbourLists, optional
            Keeps the neighbours for structures that differ little.

        Returns
        -------
        SiteSums
        """
        sums = self.descriptor.linear_model(atoms, self.weights, gradient=gradient, lists=lists)
        offsets = self.constants - np.einsum("zf,zf->z", self.weights, self.shift)
        values = sums.values + offsets[species_indices(atoms, self.species)]
        return SiteSums(values, sums.gradient, sums.strain)

    def site_gradients(self, atoms: Atoms) -> Array:
        """Gradients of every site value with respect to every position.

        Parameters
        ----------
        atoms : Atoms
            Small: memory grows with N² times the number of features.

        Returns
        -------
        ndarray, shape (N, N, 3), 1/Å
            The site comes first.
        """
        weights = self.weights[species_indices(atoms, self.species)]
        features = self.descriptor.compute_site_gradients(atoms)
        return np.einsum("inaf,if->ina", features, weights)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the coefficient file: whole under its final name, or not at all.

        Parameters
        ----------
        path : path

        Raises
        ------
        ModelFileError
            If the file cannot be written.
        """
        from ase_vibent import __version__

        arrays: dict[str, Any] = {
            name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS
        }
        header = {
            **self.header,
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "package_version": __version__,
            "target": self.target,
            "descriptor": self.descriptor.to_dict(),
        }
        text = json.dumps(header)
        arrays["header"] = np.frombuffer(text.encode(), dtype=np.uint8)
        arrays["checksum"] = np.frombuffer(_checksum(arrays).encode(), dtype=np.uint8)
        target = Path(path)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            with open(temporary, "wb") as file:
                np.savez_compressed(file, **arrays)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise ModelFileError(f"{path}: cannot write it ({error.strerror})") from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SiteModel:
        """Read a coefficient file; never runs code from it.

        Parameters
        ----------
        path : path

        Returns
        -------
        SiteModel

        Raises
        ------
        ModelFileError
            If the file is missing, truncated, altered, foreign, or too new.
        """
        arrays = _read_arrays(path)
        header = _read_header(arrays, path)
        try:
            descriptor = descriptor_from_dict(header.pop("descriptor"))
            target = str(header.pop("target"))
            shape = (len(descriptor.species), descriptor.n_features)
        except Exception as error:
            raise ModelFileError(f"{path}: its header makes no descriptor ({error})") from error
        for name in _ARRAYS:
            expected = shape[:1] if name == "constants" else shape
            if arrays[name].shape != expected or not np.all(np.isfinite(arrays[name])):
                raise ModelFileError(
                    f"{path}: {name} should be finite numbers of shape {expected}, is of shape "
                    f"{arrays[name].shape}"
                )
        numbers = {name: arrays[name] for name in _ARRAYS}
        return cls(descriptor, **numbers, target=target, header=header)


def _checksum(arrays: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in (*_ARRAYS, "header"):
        digest.update(repr((name, arrays[name].shape, arrays[name].dtype.str)).encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def _read_arrays(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    foreign = f"{path}: not a coefficient file of ase-vibent"
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ModelFileError(foreign)
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise ModelFileError(f"{path}: no such file") from error
    except OSError as error:
        raise ModelFileError(f"{path}: cannot read it ({error})") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError) as error:
        raise ModelFileError(f"{path}: truncated or damaged ({error}); copy it again") from error
    except (ValueError, TypeError, AttributeError) as error:
        # NumPy asks for pickle here; nothing of the file has been run.
        raise ModelFileError(f"{foreign} (pickled or foreign content)") from error


def _read_header(arrays: dict[str, NDArray[Any]], path: str | os.PathLike[str]) -> dict[str, Any]:
    missing = {"header", "checksum"} - arrays.keys()
    if missing:
        raise ModelFileError(f"{path}: not a coefficient file of ase-vibent (no header)")
    try:
        header: dict[str, Any] = json.loads(arrays["header"].tobytes())
        file_format, version = header["format"], int(header["format_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{path}: its header is unreadable ({error})") from error
    if file_format != FORMAT:
        raise ModelFileError(f"{path}: not a coefficient file of ase-vibent ({file_format!r})")
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"{path}: written in format {version} by ase-vibent "
            f"{header.get('package_version')}, this version reads up to {FORMAT_VERSION}; "
            "upgrade with pip install -U ase-vibent"
        )
    if missing := set(_ARRAYS) - arrays.keys():
        raise ModelFileError(f"{path}: lacks the arrays {', '.join(sorted(missing))}")
    if arrays["checksum"].tobytes().decode("ascii", "replace") != _checksum(arrays):
        raise ModelFileError(f"{path}: altered since it was written (checksum differs)")
    return header
