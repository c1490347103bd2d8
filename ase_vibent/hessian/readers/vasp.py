"""Force constants of VASP's density-functional perturbation theory, in vasprun.xml."""

from __future__ import annotations

from typing import Any

import numpy as np

from ase_vibent.hessian.readers.phonopy import to_atoms
from ase_vibent.hessian.readers.request import Request, in_blocks
from ase_vibent.hessian.stored import Polarity, StoredHessian


def read_vasprun(request: Request) -> StoredHessian:
    """vasprun.xml of IBRION 7 or 8 (or 5, 6), compressed or not, through phonopy."""
    from phonopy.file_IO import get_io_module_to_decompress
    from phonopy.interface.vasp import VasprunxmlExpat, parse_force_constants
    from phonopy.structure.atoms import PhonopyAtoms

    found = parse_force_constants(request.path)
    if found is None or found[0] is None:
        request.refuse("no Hessian in it; force constants come with IBRION = 5, 6, 7 or 8")
    with get_io_module_to_decompress(request.path).open(request.path, "rb") as file:
        run: Any = VasprunxmlExpat(file)
        run.parse()
    cell = PhonopyAtoms(symbols=run.symbols, cell=run.lattice[-1], scaled_positions=run.points[-1])
    charges, dielectric = getattr(run, "born", None), getattr(run, "epsilon", None)
    polarity = None
    if charges is not None and dielectric is not None and len(charges):
        polarity = Polarity(np.asarray(charges), np.asarray(dielectric))
    return StoredHessian(
        to_atoms(cell),
        request.converted(in_blocks(found[0])),
        f"vasprun.xml {request.path}",
        polarity,
    )
