"""Work arrays of the compiled kernels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ase_vibent.arrays import Array, IntArray
from ase_vibent.compiled.jit import inlined
from ase_vibent.compiled.simd import LANES, WIDTH


class Work(NamedTuple):
    """Work arrays of one thread: what is known of the neighbours of up to LANES atoms.

    Neighbours are sorted by species, and every species is filled up to a multiple of WIDTH
    with neighbours at the cutoff, where all radial functions vanish. LANES of them make a
    pack: all numbers of a pack lie together in memory, one row of LANES per quantity.

    Attributes
    ----------
    columns : ndarray of int64, shape (LANES, n_species + 1)
        Where each species begins among an atom's neighbours.
    indices : ndarray of int32, shape (LANES, LANES * n_packs)
        Points.
    vectors : ndarray, shape (4, LANES * n_packs), Å and Å²
        From one atom to its neighbours, and their squared lengths.
    packs : ndarray, shape (LANES, n_packs, n_rows, LANES)
        Rows: unit vector, r (Å), 1/r, x(r), dx/dr; Re and Im of (x + iy)^m; Q_lm; R_n, and
        zeros.
    harmonics : ndarray, shape (n_packs, n_harmonics, LANES)
        Y_lm of one atom.
    slopes : ndarray, shape (n_radial, LANES)
        dR_n/dr of one pack.
    cells : ndarray of int64, shape (LANES,)
        Where a pack's neighbours stand among the nodes of tabulated radial functions.
    hermite : ndarray, shape (6, LANES)
        Weights of the two nodes around each of them.
    tiles : ndarray
        Channels of one atom in tiles, species after species.
    pair_forces : ndarray, shape (2, n_harmonics, LANES)
        Per harmonic, one atom's slope in it and the radial derivative of this slope.
    forces : ndarray, shape (4, LANES)
        Slopes in the vectors to one pack, and zeros.
    """

    columns: IntArray
    indices: NDArray[np.int32]
    vectors: Array
    packs: Array
    harmonics: Array
    slopes: Array
    cells: IntArray
    hermite: Array
    tiles: Array
    pair_forces: Array
    forces: Array


@inlined
def work_arrays(tables, n_species, most):
    """Work arrays for atoms with at most so many candidates.

    Made where they are used: the compiler then knows that they do not overlap.
    """
    # Every species is filled up, and one place is written beyond the last neighbour.
    n_packs = (most + WIDTH * n_species) // LANES + 1
    n_radial = tables.n_radial + WIDTH
    n_rows, n_harmonics = tables.radial_row + n_radial, tables.n_degrees**2
    return Work(
        np.zeros((LANES, n_species + 1), dtype=np.int64),
        np.zeros((LANES, LANES * n_packs), dtype=np.int32),
        np.empty((4, LANES * n_packs)),
        # Odd numbers of rows: packs must not compete for the same places in the cache.
        np.zeros((LANES, n_packs, n_rows | 1, LANES)),
        np.empty((n_packs, n_harmonics | 1, LANES)),
        np.zeros((n_radial, LANES)),
        np.zeros(LANES, dtype=np.int64),
        np.zeros((6, LANES)),
        np.zeros(n_species * tables.tile_starts[-1]),
        np.zeros((2, n_harmonics, LANES)),
        np.zeros((4, LANES)),
    )
