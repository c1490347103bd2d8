"""Force constants of one cell, brought to all cells of a supercell."""

from __future__ import annotations

import numpy as np

from ase_vibent.arrays import Array, IntArray


def in_all_cells(blocks: Array, origins: IntArray, supercell: IntArray) -> Array:
    """Hessian of a supercell from the rows of its first cell.

    Parameters
    ----------
    blocks : ndarray, shape (n_cells, 3n, 3n), eV/Å²
        Between the atoms of the cell at the origin, rows, and those of every cell.
    origins : ndarray of int, shape (n_cells, 3)
        Of the cells, in terms of the unit cell's vectors.
    supercell : ndarray of int, shape (3, 3)
        Rows are its vectors in terms of the unit cell's.

    Returns
    -------
    ndarray, shape (3N, 3N), eV/Å²
        Cell after cell, as the origins are ordered.
    """
    n_cells, size = len(origins), blocks.shape[1]
    inverse = np.linalg.inv(supercell)

    def within(shifts: IntArray) -> IntArray:
        """The same places in the supercell, as whole numbers."""
        shares = shifts @ inverse
        home = (shares - np.floor(shares + 1e-6)) @ supercell
        return np.rint(home).astype(np.int64)

    numbers = {tuple(origin): k for k, origin in enumerate(within(origins).tolist())}
    hessian = np.empty((n_cells, size, n_cells, size))
    for cell, origin in enumerate(origins):
        apart = [numbers[tuple(shift)] for shift in within(origins - origin).tolist()]
        hessian[cell] = blocks[apart].transpose(1, 0, 2)
    return hessian.reshape(n_cells * size, n_cells * size)
