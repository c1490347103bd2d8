"""Along which directions a structure is periodic: where nothing but vacuum lies, it is not.

Molecules, wires and slabs often stand in cells that are periodic along all directions, because
calculators want them so. They can turn all the same. What tells them apart is the network of their
atoms: it comes back to an image of itself along some directions only.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.cell import Cell
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from ase_vibent.arrays import Array, IntArray
from ase_vibent.errors import InvalidStructureError, VacuumWarning


class Distance(NamedTuple):
    """A distance in Å, and the same in nearest-neighbour distances; the longer one counts."""

    least: float
    spacings: float


#: In `atoms.info`: true where `pbc` is to be believed, whatever lies between images.
PBC_IS_MEANT = "vibent_pbc_is_meant"
#: Images nearer than this touch.
TOUCHING = Distance(4.0, 1.25)
#: No interaction is taken to reach over as much vacuum.
VACUUM = Distance(6.0, 1.5)
#: Å, and share of the volume that the lengths of the cell vectors allow: cells below are flat.
FLAT = 1e-3
#: Several ask about one structure: from one place, a warning is shown once.
_ONCE = 1
#: Share of the largest force constant that a turn of a body in vacuum may cost.
NOISE = 1e-3


def free_standing(atoms: Atoms) -> Atoms:
    """Structure that is periodic only along directions in which its atoms reach their images.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    Atoms
        Itself, if it is periodic as it says, if `atoms.info["vibent_pbc_is_meant"]` is true, or if
        it is unusable (see `check_structure`). Otherwise a copy
        without constraints: `pbc` is False along vacuum, and molecules that the border of the cell
        cut are whole.

    Raises
    ------
    InvalidStructureError
        If it is a wire along none of its cell vectors.

    Warns
    -----
    VacuumWarning
        If images of what could turn are too near for vacuum and too far for a crystal, or there are
        several bodies, each of which can turn.
    """
    periodic = np.asarray(atoms.pbc)
    if not periodic.any() or atoms.info.get(PBC_IS_MEANT) or not _is_usable(atoms):
        return atoms
    near = _Network(atoms, TOUCHING)
    if np.all(np.isfinite(near.gaps[periodic])):
        return atoms
    network = _Network(atoms, VACUUM)
    real = periodic & np.isfinite(network.gaps)
    if real.sum() > 1 and network.rank == 1:
        raise InvalidStructureError(
            f"atoms: a wire that runs along none of its cell vectors, but along "
            f"{network.windings[0].tolist()} of them; choose a cell of which one does"
        )
    if np.isfinite(near.gaps).sum() < 2:
        _warn_of_narrow_vacuum(network, periodic & np.isinf(near.gaps) & np.isfinite(network.gaps))
    if np.array_equal(real, periodic):
        return atoms
    whole = atoms.copy()
    whole.set_constraint()
    whole.positions += np.where(real, 0, network.shifts) @ atoms.cell.array
    whole.pbc = real
    if real.sum() < 2 and network.n_bodies > 1:
        warnings.warn(
            f"atoms: {network.n_bodies} separate bodies in vacuum, each of which can turn; the "
            "motion of one beside another is taken for a vibration: take each alone",
            VacuumWarning,
            stacklevel=_ONCE,
        )
    return whole


def warn_of_coupling(hessian: Any, positions: Array, axes: Array) -> None:
    """Warn where a Hessian says that a body in vacuum does not turn freely.

    A turn takes the forces F along: a Hessian times its pattern about axis a is a × F, of which
    nothing is left along a, nor of the sum along two axes. Forces that remain do not matter.

    Parameters
    ----------
    hessian : ndarray or sparse array, shape (3N, 3N), eV/Å²
    positions : ndarray, shape (N, 3), Å
    axes : ndarray, shape (1 | 3, 3)
        See `rotation_axes`.

    Warns
    -----
    VacuumWarning
    """
    turns = np.cross(axes[:, None], positions - positions.mean(axis=0))
    changes = (hessian @ turns.reshape(len(axes), -1).T).T.reshape(turns.shape)
    costs = np.einsum("anx,bx->abn", changes, axes)
    cost = np.abs(costs + costs.transpose(1, 0, 2)).max()
    scale = abs(hessian).max() * np.abs(turns).max()
    if cost > NOISE * scale:
        warnings.warn(
            f"atoms: in vacuum they should turn freely, but that costs {cost / scale:.1g} of the "
            "largest force constant: periodic images feel each other across the vacuum, which "
            "should be wider, or the Hessian is noisy",
            VacuumWarning,
            stacklevel=_ONCE,
        )


def _is_usable(atoms: Atoms) -> bool:
    """Whether neighbours can be looked for: finite positions in a cell that is not flat."""
    if not len(atoms) or not np.isfinite(np.vstack([atoms.positions, atoms.cell.array])).all():
        return False
    cell = atoms.cell.complete().array
    lengths = np.linalg.norm(cell, axis=1)
    return bool(lengths.min() > FLAT and abs(np.linalg.det(cell)) > FLAT * lengths.prod())


class _Network:
    """Pairs of atoms within a reach, and how they wind round the cell.

    Distances join atoms from the shortest on to a tree. Every other pair closes a ring, which
    returns to its beginning or to an image of it, its winding.
    """

    def __init__(self, atoms: Atoms, reach: Distance):
        n = len(atoms)
        first, second, images, distances, self.reach = _pairs(atoms, reach)
        order = np.argsort(distances, kind="stable")
        first, second, images = first[order], second[order], images[order]
        distances = distances[order]
        ends, nearest = np.unique(n * first + second, return_index=True)
        # Indices of 32 bits, as SciPy < 1.16 wants them of graphs.
        joined = np.array([ends // n, ends % n], dtype=np.int32)
        pairs = coo_array((distances[nearest], joined), shape=(n, n)).tocsr()
        tree = minimum_spanning_tree(pairs)
        self.n_bodies, bodies = connected_components(tree, directed=False)
        #: In cell vectors: atoms of a body moved so become neighbours as in the tree, (n, 3).
        self.shifts = np.zeros((n, 3), dtype=np.int64)
        image_of = dict(zip(ends.tolist(), images[nearest], strict=True))
        for root in np.unique(bodies, return_index=True)[1]:
            atoms_of, before = breadth_first_order(tree, root, directed=False)
            for atom in atoms_of[1:].tolist():
                link = n * int(before[atom]) + atom
                self.shifts[atom] = self.shifts[before[atom]] + image_of[link]
        windings = self.shifts[first] + images - self.shifts[second]
        closed = np.any(windings != 0, axis=1)
        self.windings: IntArray = windings[closed]
        self._distances = distances[closed]

    @property
    def rank(self) -> int:
        """Number of independent directions along which images are reached."""
        return int(np.linalg.matrix_rank(self.windings)) if len(self.windings) else 0

    @property
    def gaps(self) -> Array:
        """Longest step on the way to an image along every cell vector, (3,), Å; or infinite."""
        steps = np.where(self.windings != 0, self._distances[:, None], np.inf)
        return np.asarray(steps.min(axis=0, initial=np.inf))


def _pairs(atoms: Atoms, reach: Distance) -> tuple[IntArray, IntArray, IntArray, Array, float]:
    """Pairs within a reach, each both ways: i, j, image of j, distance; and the reach, Å."""
    import vesin

    cutoff = reach.least
    while True:
        first, second, images, distances = vesin.NeighborList(
            cutoff=cutoff, full_list=True, sorted=False
        ).compute(
            points=atoms.positions,
            box=atoms.cell.complete().array,
            periodic=np.asarray(atoms.pbc),
            quantities="ijSd",
        )
        nearest = np.full(len(atoms), np.inf)
        np.minimum.at(nearest, first.astype(np.int64), distances)
        # Half of the atoms have a neighbour: others may be far from everything.
        spacing = np.partition(nearest, (len(nearest) - 1) // 2)[(len(nearest) - 1) // 2]
        wanted = max(reach.least, reach.spacings * spacing)
        if wanted <= cutoff:
            return *(x.astype(np.int64) for x in (first, second, images)), distances, cutoff
        cutoff = wanted if np.isfinite(wanted) else 2 * cutoff


def _warn_of_narrow_vacuum(network: _Network, doubtful: NDArray[np.bool_]) -> None:
    """Images between touching and vacuum, of what could turn."""
    if not doubtful.any():
        return
    names = " and ".join("abc"[axis] for axis in np.flatnonzero(doubtful))
    warnings.warn(
        f"atoms: periodic images along {names} are {network.gaps[doubtful].min():.2f} Å apart, too "
        f"near to be told from a crystal ({network.reach:.1f} Å or more are vacuum), and are taken "
        f"for one; if they are to be separate, set atoms.pbc to False along {names}, or widen the "
        "gap",
        VacuumWarning,
        stacklevel=_ONCE,
    )


def reduced_cell(atoms: Atoms) -> tuple[Any, Any]:
    """Vectors of the lattice that are as short as can be.

    Directions without periodicity are made orthogonal to the others, so that rounding fractional
    coordinates wraps a vector to within one cell of its nearest image.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    cell : ndarray, shape (3, 3), Å
    operation : ndarray of int, shape (3, 3)
        Of the cell's own vectors; the reduced ones are its rows times these.
    """
    periodic = Cell(np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)).complete()
    reduced: tuple[Any, Any] = minkowski_reduce(periodic, atoms.pbc)
    return reduced
