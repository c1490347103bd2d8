"""Neighbours of every atom: candidates found once, kept compactly, used while atoms move little."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent.arrays import Array, IntArray
from ase_vibent.compiled.threads import in_threads
from ase_vibent.errors import CoincidentAtomsError, InvalidInputError, InvalidStructureError
from ase_vibent.neighbours import cell_list
from ase_vibent.structures import check_structure
from ase_vibent.structures.atom_types import resolves_sublattices, species_indices
from ase_vibent.structures.cells import periodic_images
from ase_vibent.structures.sublattices import SUBLATTICES

#: Two atoms closer than this, in Å, are taken for a mistake in the structure.
COINCIDENT = 0.3
#: Chunks are about this many and of sizes between these, whatever the number of threads: sums
#: over chunks then come out the same to the last bit.
MOST_CHUNKS, SMALLEST_CHUNK, LARGEST_CHUNK = 32, 256, 16384


class Chunk(NamedTuple):
    """Some atoms that lie together, and who may be their neighbours.

    IntArray are those of the points of the `NeighbourList`.

    Attributes
    ----------
    centres : ndarray of int64, shape (n,)
        Sorted by kind.
    offsets : ndarray of int64, shape (n, n_species + 1)
        Candidates of centre i and species z: candidates[offsets[i, z] : offsets[i, z + 1]].
    candidates : ndarray of int32
        Points within cutoff and skin.
    blocks : ndarray of int64
        Edges of runs of centres of one kind, at most `LANES` long.
    first, last : int
        Range of the points that occur, `last` excluded.
    most : int
        Candidates of a centre, at most.
    """

    centres: IntArray
    offsets: IntArray
    candidates: NDArray[np.int32]
    blocks: IntArray
    first: int
    last: int
    most: int

    def batches(self, n_blocks: int) -> Iterator[Chunk]:
        """Parts of so many blocks, with candidates and points of the whole.

        Parameters
        ----------
        n_blocks : int

        Yields
        ------
        Chunk
        """
        for k in range(0, len(self.blocks) - 1, n_blocks):
            edges = self.blocks[k : k + n_blocks + 1]
            own = slice(edges[0], edges[-1])
            yield self._replace(
                centres=self.centres[own], offsets=self.offsets[own], blocks=edges - edges[0]
            )


@dataclass(eq=False)
class NeighbourList:
    """Atoms and those periodic images that a cutoff reaches (points), sorted by place.

    Attributes
    ----------
    atoms : Atoms
        The structure as it was.
    kinds, neighbours : tuples of str
        Atom types that are told apart as centres, and as neighbours.
    centre_types : ndarray of int64, shape (n_points,)
        Index of every point's kind as a centre.
    owners : ndarray of int64, shape (n_points,)
        The atom of which a point is an image.
    shifts : ndarray, shape (n_points, 3)
        Cell vectors between an atom and its point.
    cutoff, skin : float, Å
        Complete within the cutoff until an atom has moved by half the skin.
    chunks : tuple of Chunk
        Every atom is a centre of one of them, or those that were asked for.
    whole : bool
        Whether all atoms are centres.
    extrapolation_checked : bool
        Set by a user of the list who has seen that the atoms' environments are known ones.
    """

    atoms: Atoms
    atom_types: tuple[str, ...]
    neighbours: tuple[str, ...]
    centre_types: IntArray
    owners: IntArray
    shifts: Array
    cutoff: float
    skin: float
    chunks: tuple[Chunk, ...]
    whole: bool = True
    extrapolation_checked: bool = False

    def serves(self, atoms: Atoms) -> bool:
        """Whether the list is complete for a structure."""
        old = self.atoms
        if (
            len(old) != len(atoms)
            or np.any(old.numbers != atoms.numbers)
            or np.any(old.pbc != atoms.pbc)
            or np.any(old.cell.array != atoms.cell.array)
            or (old.has(SUBLATTICES) and not _same_sublattices(old, atoms))
        ):
            return False
        moved = np.square(atoms.positions - old.positions).sum(axis=1).max()
        # Comparisons with NaN are false.
        return bool(moved <= (self.skin / 2) ** 2)

    def points(self, atoms: Atoms) -> Array:
        """Coordinates of the points for the atoms' present positions, shape (n_points, 4), Å."""
        positions = np.ascontiguousarray(atoms.positions)
        return cell_list.place(positions, self.owners, self.shifts, atoms.cell.array)

    def fold(self, on_points: Array) -> Array:
        """Sum a quantity of points, shape (n_points, 4), into one of atoms, shape (N, 3)."""
        return cell_list.fold(on_points, self.owners, len(self.atoms))

    def check_distances(self, points: Array, closest: float) -> None:
        """Refuse a structure in which some pair is too close, or nobody has a neighbour.

        Where some atoms only are centres, the others may be those that have neighbours.

        Parameters
        ----------
        points : ndarray, shape (4 * n_points,), Å
        closest : float, Å
            Shortest distance that was met; infinite if there was none.

        Raises
        ------
        InvalidStructureError
        """
        if closest >= self.cutoff and self.whole:
            raise InvalidStructureError(
                f"atoms: no atom has a neighbour within {self.cutoff} Å; check cell, units and pbc"
            )
        if closest >= COINCIDENT:
            return
        points = points.reshape(-1, 4)
        for chunk in self.chunks:
            centres = np.repeat(chunk.centres, chunk.offsets[:, -1] - chunk.offsets[:, 0])
            distances = np.linalg.norm(points[chunk.candidates] - points[centres], axis=1)
            if len(distances) and distances.min() < COINCIDENT:
                worst = int(distances.argmin())
                pair = sorted(self.owners[[centres[worst], chunk.candidates[worst]]].tolist())
                raise CoincidentAtomsError(
                    f"atoms: atoms {pair[0]} and {pair[1]} sit on one spot "
                    f"({distances[worst]:.2g} Å apart)",
                    (pair[0], pair[1]),
                )


class NeighbourLists:
    """Lists that are used again while atoms move less than half a skin.

    Every list is compared with the structure it is asked for, so that one store serves
    several structures in turn, as the images of a band.

    Parameters
    ----------
    skin : float, Å
    most_lists, most_points : int
        Lists that were not used for longest are forgotten when there are more, or when
        together they hold more atoms and images than this.
    n_centres : int, optional
        As in `find_neighbours`.

    Raises
    ------
    InvalidInputError
        If the skin is negative.
    """

    def __init__(
        self,
        skin: float = 0.4,
        most_lists: int = 32,
        most_points: int = 400_000,
        n_centres: int | None = None,
    ):
        if not (np.isfinite(skin) and skin >= 0):
            raise InvalidInputError(f"skin: expected a number ≥ 0 in Å, got {skin!r}")
        self.skin = skin
        self.most_lists, self.most_points, self.n_centres = most_lists, most_points, n_centres
        self._lists: list[NeighbourList] = []
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        # Copies and other processes find their own neighbours.
        return NeighbourLists, (self.skin, self.most_lists, self.most_points, self.n_centres)

    @property
    def latest(self) -> NeighbourList | None:
        """The list that was used last."""
        return self._lists[-1] if self._lists else None

    def find(
        self,
        atoms: Atoms,
        atom_types: Sequence[str],
        cutoff: float,
        neighbours: Sequence[str] | None = None,
    ) -> NeighbourList:
        """See `find_neighbours`."""
        with self._lock:
            kept = list(self._lists)
        wanted = tuple(atom_types), tuple(atom_types if neighbours is None else neighbours), cutoff
        for known in reversed(kept):
            if (known.atom_types, known.neighbours, known.cutoff) == wanted and known.serves(atoms):
                found = known
                break
        else:
            found = find_neighbours(
                atoms, atom_types, cutoff, self.skin, neighbours, n_centres=self.n_centres
            )
        with self._lock:
            self._lists = [k for k in self._lists if k is not found][1 - self.most_lists :]
            self._lists.append(found)
            while (
                len(self._lists) > 1 and sum(len(k.owners) for k in self._lists) > self.most_points
            ):
                del self._lists[0]
        return found


def find_neighbours(
    atoms: Atoms,
    atom_types: Sequence[str],
    cutoff: float,
    skin: float = 0.0,
    neighbours: Sequence[str] | None = None,
    *,
    n_centres: int | None = None,
) -> NeighbourList:
    """Neighbours of every atom.

    Parameters
    ----------
    atoms : Atoms
        Periodic along any of its directions.
    atom_types : sequence of str
        Species, or sublattices, of the centres, in the order of their indices.
    cutoff : float, Å
    skin : float, Å
        How much farther candidates may be.
    neighbours : sequence of str, optional
        Species, or sublattices, of the neighbours; by default those of the centres.
    n_centres : int, optional
        Only this many atoms, the first ones, are centres; by default all.

    Returns
    -------
    NeighbourList

    Raises
    ------
    UnknownSpeciesError
        If another species occurs.
    InvalidStructureError
        If there is no atom, or positions are not finite.
    """
    check_structure(atoms)
    atom_types, neighbours = (
        tuple(atom_types),
        tuple(atom_types if neighbours is None else neighbours),
    )
    of_centres = species_indices(atoms, atom_types)
    of_neighbours = of_centres if neighbours == atom_types else species_indices(atoms, neighbours)
    reach = cutoff + skin
    owners, shifts = periodic_images(atoms, reach)
    positions = np.ascontiguousarray(atoms.positions)
    points = cell_list.place(positions, owners, shifts, atoms.cell.array)
    low, edges, counts = cell_list.grid(points, reach)
    order, starts = cell_list.sort_by_bin(points, low, edges, counts)
    owners, shifts = owners[order], shifts[order]
    points = points[order]
    point_kinds, point_species = of_centres[owners], of_neighbours[owners]
    real = np.flatnonzero(order < (len(atoms) if n_centres is None else n_centres))

    def chunk(centres: IntArray) -> Chunk:
        centres, blocks = cell_list.sorted_by_species(centres, point_kinds, len(atom_types))
        offsets, candidates = cell_list.search(
            centres, points, point_species, len(neighbours), reach, low, edges, counts, starts
        )
        first = min(centres.min(), candidates.min(initial=len(owners)))
        last = max(centres.max(), candidates.max(initial=0)) + 1
        most = (offsets[:, -1] - offsets[:, 0]).max()
        return Chunk(centres, offsets, candidates, blocks, int(first), int(last), int(most))

    size = int(np.clip(-(-len(real) // MOST_CHUNKS), SMALLEST_CHUNK, LARGEST_CHUNK))
    parts = np.split(real, range(size, len(real), size))
    chunks = tuple(in_threads(chunk, parts))
    bare = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    if resolves_sublattices([*atom_types, *neighbours]):
        bare.set_array(SUBLATTICES, atoms.arrays[SUBLATTICES])
    return NeighbourList(
        bare,
        atom_types,
        neighbours,
        point_kinds,
        owners,
        shifts,
        cutoff,
        skin,
        chunks,
        whole=n_centres is None,
    )


def _same_sublattices(one: Atoms, other: Atoms) -> bool:
    return bool(np.array_equal(one.arrays[SUBLATTICES], other.arrays.get(SUBLATTICES)))
