"""Dynamical matrices of LAMMPS' command `dynamical_matrix`, in either of its units."""

from __future__ import annotations

import numpy as np
from ase.units import J, kcal, mol

from ase_vibent.hessian.readers.checks import closest_unit, translation_force
from ase_vibent.hessian.readers.request import Request
from ase_vibent.hessian.stored import StoredHessian

#: Units of its files over masses in amu, in eV/Å²: style regular in units metal and real, and style
#: eskm, 10 J/mol/Å²/amu.
UNITS = {"metal": 1.0, "real": kcal / mol, "eskm": 10 * J / mol}


def read_dynmat(request: Request) -> StoredHessian:
    """Text file of 3N × N lines with three numbers each. It holds no structure.

    The matrix is over roots of masses, which are put back: the structure's must be those of the
    run. Its unit is told by its size: "eskm" is some thousand times the others.
    """
    atoms = request.required_structure("dynamical matrices of LAMMPS")
    size = 3 * len(atoms)
    try:
        values = np.loadtxt(request.path)
    except ValueError as error:
        request.refuse(f"not three numbers in every line ({error}); is it whole?")
    if values.size != size**2:
        request.refuse(
            f"{values.size} numbers, but {size} × {size} for the {len(atoms)} atoms of the "
            "structure; it is cut short, or of another one"
        )
    matrix = values.reshape(size, size)
    roots = np.sqrt(np.repeat(atoms.get_masses(), 3))
    weighted = matrix * roots[:, None] * roots
    # Moving all atoms tells a dynamical matrix from a Hessian, unless all masses are one.
    if translation_force(matrix) < 0.1 * translation_force(weighted):
        request.refuse(
            "moving all atoms costs no force as it is: it is no dynamical matrix, but a Hessian, "
            "or the masses are not those of the run; save it with numpy for the first"
        )
    if request.units is None:
        weighted = weighted * closest_unit(atoms, weighted, UNITS)
    else:
        weighted = request.converted(weighted)
    return StoredHessian(atoms, weighted, f"LAMMPS {request.path}")
