"""A basis of polynomials in the neighbour density, as data: what the kernels are told."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np

from ase_vibent.arrays import Array, IntArray
from ase_vibent.compiled.simd import WIDTH
from ase_vibent.descriptors.density.harmonics import harmonic_recurrences
from ase_vibent.descriptors.density.products import Products, link_products
from ase_vibent.descriptors.density.radial import RadialBasis, TabulatedBasis
from ase_vibent.errors import InvalidInputError

#: First of the rows of a pack that hold (x + iy)^m, see `Work`.
AZIMUTH = 7


@dataclass(frozen=True)
class DensityBasis:
    """Channels A_znlm = Σ_j R_n(r_ij) Y_lm(r̂_ij), and features that are polynomials in them.

    Attributes
    ----------
    n_species, n_neighbour_species : int
        Number of atom types, and of atom types of neighbours that have channels of their own.
    channels : ndarray of int64, shape (n_channels, 3)
        Species, n ≥ 1 and l² + l + m of every channel.
    products : Products
        Products of channels and the features made of them.
    radial : RadialBasis or TabulatedBasis
        Radial functions.
    """

    n_species: int
    n_neighbour_species: int
    channels: IntArray
    products: Products
    radial: RadialBasis | TabulatedBasis

    @property
    def n_features(self) -> int:
        """Number of features of an atom."""
        return int(self.products.feature_of[-1]) + 1

    @property
    def n_harmonics(self) -> int:
        """Number of spherical harmonics, (l_max + 1)²."""
        return (int(np.sqrt(self.channels[:, 2].max())) + 1) ** 2

    @cached_property
    def harmonics(self) -> Array:
        """Recurrences of the spherical harmonics, see `harmonic_recurrences`."""
        return harmonic_recurrences(int(np.sqrt(self.n_harmonics)) - 1)

    @cached_property
    def kernel_channels(self) -> IntArray:
        """Species, n ≥ 1 and row of the harmonic (see `Tables`), shape (n_channels, 3)."""
        z, n, lm = self.channels.T
        l = np.sqrt(lm).astype(np.int64)
        return np.column_stack([z, n, self.n_harmonics - (l + 1) ** 2 + lm - l**2])

    @cached_property
    def tables(self) -> Tables:
        """The basis as its kernels need it; InvalidInputError if it is none."""
        return _kernel_tables(self)

    def linear_model(self, weights: Array) -> LinearModel:
        """A linear model of the features, as the kernels evaluate it.

        Of tabulated functions of the distance alone, summed over neighbours, only their weighted
        sums are left, one for every pair of atom types.

        Parameters
        ----------
        weights : ndarray, shape (n_species, n_features)

        Returns
        -------
        LinearModel
        """
        products = self.products
        n_pairs = self.n_species * self.n_neighbour_species
        of_products = np.array([products.weights(own) for own in weights])
        alone = self.n_harmonics == 1 and products.members.shape[1] == 1
        if not (alone and isinstance(self.radial, TabulatedBasis) and n_pairs < self.radial.n_max):
            return LinearModel(self.tables, products, of_products)
        z, n, _ = self.channels[products.members[:, 0]].T
        of_functions = np.zeros((self.n_species, self.n_neighbour_species, self.radial.n_max))
        of_functions[:, z, n - 1] = of_products
        nodes = np.einsum("csn,kzn->cskz", self.radial.nodes, of_functions)
        sums = _pair_sums(self.n_species, self.n_neighbour_species)
        radial = TabulatedBasis(self.radial.cutoff, nodes.reshape(*nodes.shape[:2], n_pairs))
        basis = DensityBasis(self.n_species, self.n_neighbour_species, *sums, radial)
        own = np.arange(n_pairs) // self.n_neighbour_species
        of_sums = (own == np.arange(self.n_species)[:, None])[:, basis.products.members[:, 0]]
        return LinearModel(basis.tables, basis.products, of_sums.astype(float, order="C"))


@cache
def _pair_sums(n_species: int, n_neighbour_species: int) -> tuple[IntArray, Products]:
    """Channels and products of one function for every pair of atom types."""
    n = np.arange(n_species * n_neighbour_species)
    channels = np.column_stack([n % n_neighbour_species, n + 1, 0 * n])
    return channels, link_products([(n[:, None], np.eye(len(n)))])


class LinearModel(NamedTuple):
    """What the kernels need of a linear model.

    Attributes
    ----------
    tables : Tables
    products : Products
    weights : ndarray, shape (n_species, n_products)
    """

    tables: Tables
    products: Products
    weights: Array


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
    tile_first: IntArray
    tile_last: IntArray
    tile_starts: IntArray
    places: IntArray


def _kernel_tables(basis: DensityBasis) -> Tables:
    """Tables of a basis.

    Parameters
    ----------
    basis : DensityBasis

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
        or z.max() >= basis.n_neighbour_species
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
