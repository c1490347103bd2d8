"""Tables and work arrays of the compiled kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ase_vibent.compilation import inlined
from ase_vibent.descriptors.ace.radial import RadialBasis, TabulatedBasis
from ase_vibent.errors import InvalidInputError
from ase_vibent.simd import LANES, WIDTH

if TYPE_CHECKING:
    from ase_vibent.descriptors.ace.channels import ChannelDescriptor

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


class Tables(NamedTuple):
    """A basis as its kernels need it.

    Harmonics stand in rows of descending l: (l, m) in row n_harmonics - (l + 1)² + l + m.
    Channels are computed in tiles of WIDTH rows and of all radial functions between the
    first and the last that they need; places in a tile that are no channel are computed in
    vain. An even l_max leaves l = 0 by itself.

    Attributes
    ----------
    n_degrees : int
        l_max + 1.
    legendre_row, radial_row : int
        First rows of Q_lm and of R_n in a pack, see `Work`.
    n_radial : int
        Radial functions.
    radial : ndarray
        1 + r0, power, x at the cutoff, cutoff (Å); the first three for the recursion only.
    recursion : ndarray, shape (n_max, 3)
        Of the radial functions; empty if they are tabulated.
    nodes : ndarray, shape (n_nodes, 3, n_columns)
        See `TabulatedBasis`, n_max filled up to a multiple of WIDTH; empty if there is a
        recursion.
    harmonics : ndarray, shape (n_lm, 4)
        See `harmonic_recurrences`.
    tile_first : ndarray of int64, shape (n_tiles + 1,)
        First radial function of every full tile and of the single row of l = 0: 0 if there
        is a recursion.
    tile_last : ndarray of int64, shape (n_tiles,)
        The one after the last of every full tile.
    tile_starts : ndarray of int64, shape (n_tiles + 2,)
        Where a tile begins; then the single row of l = 0, if there is one, and the end.
    places : ndarray of int64, shape (n_channels,)
        Of every channel in the tiles; the tiles of one neighbour species follow another's.
    """

    n_degrees: int
    legendre_row: int
    radial_row: int
    n_radial: int
    radial: Array
    recursion: Array
    nodes: Array
    harmonics: Array
    tile_first: Indices
    tile_last: Indices
    tile_starts: Indices
    places: Indices


def kernel_tables(basis: ChannelDescriptor) -> Tables:
    """Tables of a basis.

    Parameters
    ----------
    basis : ChannelDescriptor

    Returns
    -------
    Tables

    Raises
    ------
    InvalidInputError
        If channels are not different or out of range, or products of channels that are none:
        the kernels do not check.
    """
    z, n, row = basis.kernel_channels.T
    members = basis.products.members
    if (
        len(np.unique(basis.channels, axis=0)) < len(z)
        or z.min() < 0
        or z.max() >= len(basis.neighbour_species)
        or n.min() < 1
        or n.max() > basis.radial.n_max
        or members.min() < -1
        or members.max() >= len(z)
    ):
        raise InvalidInputError(
            "channels: expected different ones of known species and radial functions, and "
            "products of these only"
        )
    n_tiles, single = divmod(basis.n_harmonics, WIDTH)
    tile = row // WIDTH
    last = np.zeros(n_tiles + 1, dtype=np.int64)
    np.maximum.at(last, tile, n)
    first = np.where(isinstance(basis.radial, TabulatedBasis), last, 0)
    np.minimum.at(first, tile, n - 1)
    rows = last - first
    # Three radial functions at a time, or WIDTH of the single row.
    sizes = np.append(WIDTH * 3 * -(-rows[:-1] // 3), single * WIDTH * -(-rows[-1] // WIDTH))
    starts = np.concatenate([[0], np.cumsum(sizes)])
    step = np.where(tile < n_tiles, WIDTH, 1)
    n_degrees = int(np.sqrt(basis.n_harmonics))
    legendre_row = AZIMUTH + 2 * n_degrees
    radial, recursion, nodes = _radial_tables(basis.radial)
    return Tables(
        n_degrees=n_degrees,
        legendre_row=legendre_row,
        radial_row=legendre_row + len(basis.harmonics),
        n_radial=basis.radial.n_max,
        radial=radial,
        recursion=recursion,
        nodes=nodes,
        harmonics=basis.harmonics,
        tile_first=first,
        tile_last=last[:-1],
        tile_starts=starts,
        places=starts[tile] + step * (n - 1 - first[tile]) + row % WIDTH + z * starts[-1],
    )


def _radial_tables(radial: RadialBasis | TabulatedBasis) -> tuple[Array, Array, Array]:
    """Constants, recursion and nodes of radial functions, see `Tables`."""
    if isinstance(radial, TabulatedBasis):
        fill = -radial.n_max % WIDTH
        nodes = np.pad(radial.nodes, ((0, 0), (0, 0), (0, fill)))
        return np.array([0, 0, 0, radial.cutoff]), np.empty((0, 3)), nodes
    constants = np.array([1 + radial.r0, radial.power, radial.x_cut, radial.cutoff])
    return constants, radial.recursion, np.empty(0)


def is_tabulated(tables: Any) -> bool:
    """Whether radial functions come from a table, by the numba type of `Tables`."""
    return bool(tables.types[tables.fields.index("nodes")].ndim == 3)


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
    pulls : ndarray, shape (2, n_harmonics, LANES)
        Per harmonic, one atom's slope in it and the radial derivative of this slope.
    forces : ndarray, shape (4, LANES)
        Slopes in the vectors to one pack, and zeros.
    """

    columns: Indices
    indices: NDArray[np.int32]
    vectors: Array
    packs: Array
    harmonics: Array
    slopes: Array
    cells: Indices
    hermite: Array
    tiles: Array
    pulls: Array
    forces: Array


#: First of the rows of a pack that hold (x + iy)^m.
AZIMUTH = 7


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
