"""What ASE's own vibrations and phonons leave on disk."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

from ase_vibent.arrays import coordinates
from ase_vibent.errors import InvalidInputError
from ase_vibent.hessian.readers.request import Request
from ase_vibent.hessian.readers.translations import in_all_cells
from ase_vibent.hessian.stored import StoredHessian
from ase_vibent.structures.cells import repeated


def read_vibrations(request: Request) -> StoredHessian:
    """JSON file of `ase.vibrations.VibrationsData`; atoms that it left out are fixed."""
    from ase.io.jsonio import read_json
    from ase.vibrations import VibrationsData

    found = read_json(request.path)
    if not isinstance(found, VibrationsData):
        request.refuse("no VibrationsData in it (VibrationsData.write, get_vibrations().write)")
    atoms: Atoms = found.get_atoms()
    atoms.set_constraint()
    indices = np.asarray(found.get_indices())
    held = np.setdiff1d(np.arange(len(atoms)), indices)
    if len(held):
        atoms.set_constraint(FixAtoms(held))
    rows = coordinates(np.argsort(indices))
    matrix = request.converted(found.get_hessian_2d())[rows][:, rows]
    return StoredHessian(atoms, matrix, f"VibrationsData {request.path}")


def read_phonons(request: Request) -> StoredHessian:
    """Folder of `ase.phonons.Phonons`: unit cell, supercell and displacement must be given."""
    from ase.utils.filecache import MultiFileJSONCache

    unit_cell = request.required_structure("folders of ase.phonons")
    repeats = None if request.supercell is None else np.diag(request.supercell)
    if repeats is None or np.any(request.supercell != np.diag(repeats)):
        request.refuse("say of which supercell it is, three repeats (supercell=)")
    if request.displacement is None:
        request.refuse(
            "ase.phonons does not write how far atoms were displaced; say it (displacement=, its "
            "delta, by default 0.01 Å)"
        )
    cache, n = MultiFileJSONCache(str(request.path)), len(unit_cell)
    n_cells = int(np.prod(repeats))
    rows = np.empty((n, 3, n_cells, n, 3))
    for atom in range(n):
        for axis, letter in enumerate("xyz"):
            try:
                back, forth = (cache[f"{atom}{letter}{sign}"]["forces"] for sign in "-+")
            except KeyError as error:
                raise InvalidInputError(
                    f"{request.path}: displacement {error} is missing; finish Phonons.run()"
                ) from error
            if len(back) != n_cells * n:
                request.refuse(f"forces on {len(back)} atoms, but the supercell has {n_cells * n}")
            change = np.asarray(back) - np.asarray(forth)
            rows[atom, axis] = change.reshape(n_cells, n, 3) / (2 * request.displacement)
    blocks = rows.transpose(2, 0, 1, 3, 4).reshape(n_cells, 3 * n, 3 * n)
    origins = np.indices(tuple(repeats)).reshape(3, -1).T
    hessian = in_all_cells(blocks, origins, np.diag(repeats))
    return StoredHessian(
        repeated(unit_cell, repeats), request.converted(hessian), f"ase.phonons {request.path}"
    )
