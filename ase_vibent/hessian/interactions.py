"""Which atoms feel which: the blocks of a sparse Hessian, and what can be displaced at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.sparse import coo_array

IntArray = NDArray[np.intp]


@dataclass(frozen=True)
class InteractionGraph:
    """Blocks of a Hessian of n atoms, row by row (CSR); it is symmetric.

    Attributes
    ----------
    offsets : ndarray of int, shape (n + 1,)
        Row i holds blocks offsets[i] : offsets[i + 1].
    columns : ndarray of int, shape (n_blocks,)
        Atoms whose forces change when atom i is displaced, itself among them.
    """

    offsets: IntArray
    columns: IntArray

    @classmethod
    def complete(cls, n: int) -> InteractionGraph:
        """Every atom feels every other."""
        return cls(n * np.arange(n + 1), np.tile(np.arange(n), n))

    @classmethod
    def within(cls, atoms: Atoms, free: IntArray, distance: float) -> InteractionGraph:
        """Pairs of the free atoms within a distance (Å), through any periodic image."""
        import vesin

        first, second = vesin.NeighborList(cutoff=distance, full_list=True, sorted=False).compute(
            points=atoms.positions[free],
            box=atoms.cell.complete().array,
            periodic=np.asarray(atoms.pbc),
            quantities="ij",
        )
        itself = np.arange(len(free))
        rows, columns = np.append(first.astype(int), itself), np.append(second.astype(int), itself)
        pairs = coo_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=2 * itself.shape)
        matrix = pairs.tocsr()  # images of one pair fall together
        return cls(matrix.indptr.astype(np.intp), matrix.indices.astype(np.intp))

    @property
    def n_atoms(self) -> int:
        """Number of atoms, n."""
        return len(self.offsets) - 1

    @property
    def n_neighbours(self) -> IntArray:
        """Number of blocks in every row."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> IntArray:
        """Row of every block, shape (n_blocks,)."""
        return np.repeat(np.arange(self.n_atoms), self.n_neighbours)

    @cached_property
    def groups(self) -> list[IntArray]:
        """Atoms that can be displaced at once, because no atom feels two of them."""
        colours = self._colour(np.argsort(-self.n_neighbours, kind="stable"))
        # Anew from the last colour to the first: never more colours, and a few percent fewer.
        colours = self._colour(np.argsort(-colours, kind="stable"))
        by_colour = np.argsort(colours, kind="stable")
        return np.split(by_colour, np.cumsum(np.bincount(colours))[:-1])

    def blocks(self, group: IntArray) -> IntArray:
        """Blocks in the rows of some atoms."""
        return np.concatenate([np.arange(self.offsets[i], self.offsets[i + 1]) for i in group])

    def _colour(self, order: IntArray) -> IntArray:
        """Lowest colour for one atom after the other that no atom in its row feels already."""
        felt = self.n_atoms * [0]  # colours that each atom feels, as bits of a long integer
        colours = np.empty(self.n_atoms, dtype=np.intp)
        for atom in order:
            row = self.columns[self.offsets[atom] : self.offsets[atom + 1]].tolist()
            taken = 0
            for neighbour in row:
                taken |= felt[neighbour]
            lowest = ~taken & (taken + 1)
            for neighbour in row:
                felt[neighbour] |= lowest
            colours[atom] = lowest.bit_length() - 1
        return colours
