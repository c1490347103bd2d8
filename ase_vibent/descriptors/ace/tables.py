"""Tables and work arrays of the compiled kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ase_vibent.compilation import compiled
from ase_vibent.simd import LANES, WIDTH

if TYPE_CHECKING:
    from ase_vibent.descriptors.ace.basis import ACE

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


class Tables(NamedTuple):
    """A basis as its kernels need it.

    Channels are computed in tiles of WIDTH harmonics, all radial functions that any of them
    needs: places in a tile that are no channel are computed in vain.

    Attributes
    ----------
    radial : ndarray
        1 + r0, power, x at the cutoff, cutoff (Å).
    recursion : ndarray, shape (n_max, 3)
        Of the radial functions.
    harmonics : ndarray, shape (n_lm, 4)
        See `harmonic_recurrences`.
    tile_rows : ndarray of int64, shape (n_tiles,)
        Radial functions of a tile, an even number.
    tile_starts : ndarray of int64, shape (n_tiles + 1,)
        Where a tile begins; the last number is the length of all.
    species_channels : ndarray of int64, shape (n_species + 1,)
        Channels of neighbour species z: species_channels[z] : species_channels[z + 1].
    channels, places : ndarray of int64, shape (n_channels,)
        Channels sorted by neighbour species, and their places in the tiles.
    """

    radial: Array
    recursion: Array
    harmonics: Array
    tile_rows: Indices
    tile_starts: Indices
    species_channels: Indices
    channels: Indices
    places: Indices


def kernel_tables(ace: ACE) -> Tables:
    """Tables of a basis.

    Parameters
    ----------
    ace : ACE

    Returns
    -------
    Tables
    """
    z, n, lm = ace.channels.T
    n_tiles = -(-ace.n_harmonics // WIDTH)
    rows = np.zeros(n_tiles, dtype=np.int64)
    np.maximum.at(rows, lm // WIDTH, n)
    rows += rows % 2
    starts = np.concatenate([[0], np.cumsum(WIDTH * rows)])
    order = np.argsort(z, kind="stable")
    return Tables(
        radial=np.array([1 + ace.radial.r0, ace.radial.power, ace.radial.x_cut, ace.cutoff]),
        recursion=ace.radial.recursion,
        harmonics=ace.harmonics,
        tile_rows=rows,
        tile_starts=starts,
        species_channels=np.searchsorted(z[order], np.arange(len(ace.species) + 1)),
        channels=order,
        places=(starts[lm // WIDTH] + WIDTH * (n - 1) + lm % WIDTH)[order],
    )


class Work(NamedTuple):
    """Work arrays of one thread: what is known of the neighbours of up to LANES atoms.

    Rows hold the neighbours of an atom, by species, every species filled up to a multiple
    of WIDTH with neighbours at the cutoff, where all radial functions vanish.

    Attributes
    ----------
    columns, counts : ndarray of int64, shapes (LANES, n_species + 1), (LANES, n_species)
        Where each species begins, and how many of its neighbours are real.
    indices : ndarray of int32, shape (LANES, width)
        Points.
    pairs : ndarray, shape (LANES, 7, width)
        Unit vector, r (Å), 1/r, x(r), dx/dr.
    radial : ndarray, shape (LANES, n_rows, width)
        R_n, zero for rows beyond the last.
    legendre : ndarray, shape (LANES, n_lm, width)
        Q_lm.
    azimuth : ndarray, shape (LANES, 2 * (l_max + 1), width)
        Re and Im of (x + iy)^m.
    harmonics : ndarray, shape (n_tiles * WIDTH, width)
        Y_lm of one atom, zero for rows beyond the last.
    slopes : ndarray, shape (n_rows, width)
        dR_n/dr of one atom, zero for rows beyond the last.
    tiles : ndarray
        Channels of one atom in tiles.
    pulls : ndarray, shape (2, n_tiles * WIDTH, WIDTH)
        Per harmonic, the slope in it and its radial derivative, of WIDTH neighbours.
    """

    columns: Indices
    counts: Indices
    indices: NDArray[np.int32]
    pairs: Array
    radial: Array
    legendre: Array
    azimuth: Array
    harmonics: Array
    slopes: Array
    tiles: Array
    pulls: Array


@compiled
def work_arrays(tables, offsets):
    """Work arrays for the atoms whose candidates lie between offsets."""
    n_species = offsets.shape[1] - 1
    most = 0
    for i in range(len(offsets)):
        most = max(most, offsets[i, n_species] - offsets[i, 0])
    # Every species is filled up, and one place is written beyond the last neighbour.
    width = (most + WIDTH * n_species + LANES) // LANES * LANES
    n_rows, n_lm = tables.tile_rows.max(), len(tables.harmonics)
    n_harmonics = WIDTH * len(tables.tile_rows)
    n_degrees = int(np.sqrt(2 * n_lm))
    return Work(
        np.zeros((LANES, n_species + 1), dtype=np.int64),
        np.zeros((LANES, n_species), dtype=np.int64),
        np.zeros((LANES, width), dtype=np.int32),
        np.empty((LANES, 7, width)),
        np.zeros((LANES, n_rows, width)),
        np.empty((LANES, n_lm, width)),
        np.empty((LANES, 2 * n_degrees, width)),
        np.zeros((n_harmonics, width)),
        np.zeros((n_rows, width)),
        np.zeros(tables.tile_starts[-1]),
        np.empty((2, n_harmonics, WIDTH)),
    )
