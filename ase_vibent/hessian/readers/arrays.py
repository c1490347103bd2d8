"""Matrices that NumPy or SciPy has saved."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from ase_vibent.hessian.matrices import free_block
from ase_vibent.hessian.readers.request import Request
from ase_vibent.hessian.stored import StoredHessian
from ase_vibent.structures.validity import free_atoms

#: Names under which archives hold the matrix, where they hold several arrays.
NAMES = ("hessian", "force_constants", "fc2")


def read_array(request: Request) -> StoredHessian:
    """.npy, or .npz of `numpy.savez` or `scipy.sparse.save_npz`; the structure must be given.

    Of any shape that `compute_hessian` takes.
    """
    atoms = request.required_structure("NumPy's files")
    found = np.load(request.path, allow_pickle=False)
    if isinstance(found, np.ndarray):
        values: Any = found
    else:
        with found:
            values = _of_archive(found, request)
    matrix = free_block(values, len(atoms), free_atoms(atoms))
    return StoredHessian(atoms, request.converted(matrix), f"array {request.path}")


def _of_archive(archive: Any, request: Request) -> Any:
    """Matrix among the arrays of an .npz file."""
    names = archive.files
    if "format" in names and "shape" in names:
        return sparse.load_npz(request.path)
    name = names[0] if len(names) == 1 else next((n for n in NAMES if n in names), None)
    if name is None:
        request.refuse(f"arrays {', '.join(names)}; call one of them {NAMES[0]!r}")
    return archive[name]
