"""Hessian of a repeated crystal from displacements in one cell of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from scipy.sparse import coo_array, csr_array

from ase_vibent.hessian.displaced import DisplacedForces
from ase_vibent.hessian.matrices import check_plausible, symmetrise
from ase_vibent.hessian.options import HessianOptions
from ase_vibent.potentials import resolve_calculator
from ase_vibent.structures.cells import repeated

#: Blocks without an element above this share of the largest are left out.
NEGLIGIBLE = 1e-6


def repeated_hessian(
    crystal: Atoms,
    repeats: Sequence[int],
    calculator: object,
    *,
    options: HessianOptions = HessianOptions(),
) -> csr_array:
    """Hessian of `crystal.repeat(repeats)`, whose cells all have the same rows.

    Parameters
    ----------
    crystal : Atoms
        Periodic along three directions.
    repeats : sequence of 3 int
        The supercell should be wider than twice the range of the interaction.
    calculator : ASE calculator or factory
        Called six times for every atom of the crystal, with the supercell.
    options : HessianOptions
        Displacement and cache of the finite differences; nothing else plays a part.

    Returns
    -------
    csr_array, shape (3N, 3N), eV/Å²
        Symmetrised.

    Raises
    ------
    CalculatorError
        If the calculator fails or lacks forces, or gives no Hessian of an energy.
    """
    calculator = resolve_calculator(calculator)
    supercell, n = repeated(crystal, repeats), len(crystal)
    displaced_forces = DisplacedForces(supercell, calculator, options=options)
    rows_of_blocks = np.empty((3 * n, len(supercell), 3))
    units = (np.eye(1, 3 * len(supercell), column).reshape(-1, 3) for column in range(3 * n))
    changes = displaced_forces.changes(options.step * unit for unit in units)
    for number, change in enumerate(changes):
        rows_of_blocks[number] = -change / (2 * options.step)
    blocks = rows_of_blocks.reshape(n, 3, -1, 3).transpose(0, 2, 1, 3)
    largest = np.abs(blocks).max(axis=(2, 3))
    atoms, others = np.nonzero(largest > NEGLIGIBLE * largest.max())
    cells = np.indices(repeats).reshape(3, -1)
    # A block between two cells is that between any two as far apart.
    moved = (cells[:, :, None] + cells[:, None, others // n]) % np.reshape(repeats, (3, 1, 1))
    rows = n * np.arange(cells.shape[1])[:, None] + atoms
    columns = n * np.ravel_multi_index(tuple(moved), tuple(repeats)) + others % n
    axes = np.arange(3)
    entries = np.broadcast_arrays(
        blocks[atoms, others],
        3 * rows[..., None, None] + axes[:, None],
        3 * columns[..., None, None] + axes,
    )
    data, row, column = (part.ravel() for part in entries)
    size = 3 * len(supercell)
    hessian = coo_array((data, (row, column)), shape=(size, size)).tocsr()
    check_plausible(hessian, held=False, calculator=calculator)
    return symmetrise(hessian, sparse=True)
