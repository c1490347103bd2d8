"""Force constants of CASTEP, read by Euphonic, an optional extra."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms

from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.modes import HBAR_OMEGA
from ase_vibent.hessian.readers.request import Request
from ase_vibent.hessian.stored import Polarity, StoredHessian


def read_castep(request: Request) -> StoredHessian:
    """.castep_bin or .check of a phonon calculation with interpolation."""
    try:
        from euphonic import ForceConstants
    except ImportError as error:
        raise InvalidInputError(
            f"{request.path}: CASTEP's files are read by Euphonic, which is not installed; "
            "pip install 'ase-vibent[castep]'"
        ) from error
    return from_euphonic(ForceConstants.from_castep(str(request.path)), request)


def from_euphonic(constants: Any, request: Request) -> StoredHessian:
    """Supercell and Hessian of force constants in Euphonic.

    From the modes at all points that fit into the supercell: with Born charges the constants
    themselves lack the interaction of dipoles, which Euphonic adds at every point.

    Parameters
    ----------
    constants : euphonic.ForceConstants
    request : Request

    Returns
    -------
    StoredHessian
    """
    from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

    crystal = constants.crystal
    unit_cell = Atoms(
        [str(symbol) for symbol in crystal.atom_type],
        cell=crystal.cell_vectors.to("angstrom").magnitude,
        scaled_positions=crystal.atom_r,
        masses=crystal.atom_mass.to("unified_atomic_mass_unit").magnitude,
        pbc=True,
    )
    origins, matrix = np.asarray(constants.cell_origins), np.asarray(constants.sc_matrix)
    n, n_cells = len(unit_cell), len(origins)
    atoms = unit_cell.repeat((n_cells, 1, 1))
    shifts = np.repeat(origins @ unit_cell.cell.array, n, axis=0)
    atoms.positions = np.tile(unit_cell.positions, (n_cells, 1)) + shifts
    atoms.set_cell(matrix @ unit_cell.cell.array)

    points = get_commensurate_points(matrix.T)
    modes = constants.calculate_qpoint_phonon_modes(points, asr=None, splitting=False)
    energies = modes.frequencies.to("eV").magnitude / HBAR_OMEGA
    vectors = modes.eigenvectors.reshape(len(points), 3 * n, 3 * n)
    hessian = np.zeros((n_cells, 3 * n, n_cells, 3 * n))
    for q, values, rows in zip(points, energies, vectors, strict=True):
        dynamical = (rows.T * (np.sign(values) * values**2)) @ rows.conj()
        waves = np.exp(2j * np.pi * origins @ q)
        between = np.outer(waves, waves.conj())[:, None, :, None]
        hessian += (between * dynamical[None, :, None, :]).real / n_cells
    size = n_cells * 3 * n
    roots = np.sqrt(np.repeat(atoms.get_masses(), 3))
    whole = hessian.reshape(size, size) * roots[:, None] * roots

    polarity = None
    if constants.born is not None:
        charges = np.tile(constants.born.to("e").magnitude, (n_cells, 1, 1))
        dielectric = constants.dielectric.to("e**2/(bohr*hartree)").magnitude
        polarity = Polarity(charges, dielectric)
    return StoredHessian(atoms, request.converted(whole), f"CASTEP {request.path}", polarity)
