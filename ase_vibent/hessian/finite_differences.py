"""Central finite differences of forces, with distant atoms displaced in one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from ase import Atoms
from ase.geometry import get_distances
from numpy.typing import NDArray
from scipy.sparse import bsr_array

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.hessian.displaced import DisplacedForces
from ase_vibent.hessian.interactions import InteractionGraph
from ase_vibent.hessian.matrices import Matrix
from ase_vibent.hessian.options import STEP, HessianOptions
from ase_vibent.potentials import resolve_calculator
from ase_vibent.structures.validity import free_atoms

IntArray = NDArray[np.intp]

#: A change of force below this share of the largest counts as none.
NOISE = 1e-4
#: Share of the largest force that a sound Hessian may be wrong by, truncation included.
PREDICTION = 0.05


class FiniteDifferences:
    """Hessian of the free atoms, column by column, from central differences of forces.

    With an interaction range, atoms that no third one feels at once are displaced together
    (Curtis, Powell, Reid 1974). The range is put to the test: in every call the forces beyond
    it must stay as they are, and in the end all atoms are displaced at random, for which the
    Hessian must predict the forces.

    Parameters
    ----------
    atoms : Atoms
    displaced_forces : DisplacedForces
    free : ndarray of int, shape (n,)
    options : HessianOptions
        Symmetry plays no part.
    """

    def __init__(
        self,
        atoms: Atoms,
        displaced_forces: DisplacedForces,
        free: IntArray,
        options: HessianOptions,
    ):
        self._atoms, self._displaced_forces, self._free = atoms, displaced_forces, free
        self._displacement, self._range = options.step, options.interaction_range
        if self._range is None:
            self._graph = InteractionGraph.complete(len(free))
            self._groups = list(np.arange(len(free))[:, None])
            return
        # An atom just outside comes within the range when it is displaced.
        self._graph = InteractionGraph.within(atoms, free, self._range + self._displacement)
        self._groups = self._graph.groups

    @property
    def n_calls(self) -> int:
        """Number of force calls, but for the two that test a range in the end."""
        return 6 * len(self._groups)

    def hessian(self, *, sparse: bool) -> Matrix:
        """Second derivatives of the energy, not symmetrised, shape (3n, 3n), eV/Å².

        Raises
        ------
        InvalidInputError
            If forces change beyond the interaction range.
        """
        n, graph = len(self._free), self._graph
        blocks = self._blocks()
        matrix = bsr_array((blocks, graph.columns, graph.offsets), shape=(3 * n, 3 * n))
        if len(self._groups) < n:
            self._test_prediction(matrix)
        if sparse:
            return matrix
        hessian = np.zeros((n, 3, n, 3))
        hessian[graph.rows, :, graph.columns] = blocks
        return hessian.reshape(3 * n, 3 * n)

    def _blocks(self) -> Array:
        blocks = np.empty((len(self._graph.columns), 3, 3))
        axes = self._displacement * np.eye(3)
        changes = self._changes((group, axis) for group in self._groups for axis in axes)
        for group in self._groups:
            entries = self._graph.blocks(group)
            felt = self._graph.columns[entries]
            for axis in range(3):
                change = next(changes)
                self._test_range(change, group, felt)
                blocks[entries, axis] = -change[felt] / (2 * self._displacement)
        return blocks

    def _changes(self, moves: Iterable[tuple[IntArray, Array]]) -> Iterator[Array]:
        """Changes of the free atoms' forces when groups of them are displaced, shape (n, 3)."""
        n_atoms = len(self._atoms)
        shifts = (_shift(n_atoms, self._free[group], by) for group, by in moves)
        for change in self._displaced_forces.changes(shifts):
            yield change[self._free]

    def _test_range(self, change: Array, group: IntArray, felt: IntArray) -> None:
        size = np.linalg.norm(change, axis=1)
        beyond = size > NOISE * size.max()
        beyond[felt] = False
        if not np.any(beyond):
            return
        distances = _distances(self._atoms, self._free[beyond], self._free[group]).min(axis=1)
        raise InvalidInputError(
            f"interaction_range: forces change at {distances.max():.2f} Å from the displaced "
            f"atoms, by {size[beyond].max() / size.max():.1g} of the largest change, beyond the "
            f"{self._range} Å that were stated; state a longer range (see "
            "measured_interaction_range), or None"
        )

    def _test_prediction(self, matrix: Matrix) -> None:
        n = len(self._free)
        shift = self._displacement * np.random.default_rng(0).uniform(-1, 1, (n, 3))
        change = next(self._changes([(np.arange(n), shift)]))
        error = np.abs(change + 2 * (matrix.T @ shift.ravel()).reshape(n, 3)).max()
        if error > PREDICTION * np.abs(change).max():
            raise InvalidInputError(
                f"interaction_range: atoms that shared force calls feel each other beyond the "
                f"{self._range} Å that were stated (a random displacement's forces are wrong by "
                f"{error / np.abs(change).max():.1g} of the largest); state a longer range (see "
                "measured_interaction_range), or None"
            )


def measured_interaction_range(
    atoms: Atoms,
    calculator: object,
    *,
    displacement: float = STEP,
    tolerance: float = NOISE,
) -> float:
    """Largest distance at which a displaced atom changes a force.

    One atom of each species is displaced. The `interaction_range` to state is longer by a
    margin, because other atoms of a distorted structure have neighbours farther away. It is the
    cutoff of pair potentials, about twice the cutoff of embedded-atom, bond-order and
    single-neighbourhood machine-learned potentials, and longer where messages are passed on.

    Parameters
    ----------
    atoms : Atoms
        In a cell more than twice as wide as the range.
    calculator : ASE calculator or factory
    displacement : float, Å
    tolerance : float
        Changes below this share of the largest one count as none.

    Returns
    -------
    float, Å

    Raises
    ------
    InvalidStructureError
        If forces change as far away as the periodic cell allows to see.
    """
    displaced_forces = DisplacedForces(atoms, resolve_calculator(calculator))
    free = free_atoms(atoms)
    reach = 0.0
    # Along no axis: atoms in a row or in a plane must feel it too.
    oblique = displacement * np.array([0.36, 0.48, 0.8])
    moved = free[np.unique(atoms.numbers[free], return_index=True)[1]]
    changes = displaced_forces.changes(_shift(len(atoms), atom, oblique) for atom in moved)
    for atom, change in zip(moved, changes, strict=True):
        size = np.linalg.norm(change, axis=1)
        felt = size > tolerance * size.max()
        reach = max(reach, _distances(atoms, np.flatnonzero(felt), atom[None]).max(initial=0.0))
    widths = 1 / np.linalg.norm(atoms.cell.complete().reciprocal(), axis=1)[atoms.pbc]
    if reach >= widths.min(initial=np.inf) / 2:
        raise InvalidStructureError(
            f"atoms: forces change {reach:.2f} Å away, as far as a periodic cell {widths.min():.2f}"
            " Å wide allows to see; use a larger cell"
        )
    return float(reach)


def _shift(n_atoms: int, moved: IntArray, displacement: Array) -> Array:
    """Displacement of all atoms where only some move, shape (N, 3)."""
    shift = np.zeros((n_atoms, 3))
    shift[moved] = displacement
    return shift


def _distances(atoms: Atoms, first: IntArray, second: IntArray) -> Array:
    """Between nearest images of two sets of atoms, Å."""
    positions = atoms.positions[first], atoms.positions[second]
    distances: Array = get_distances(*positions, cell=atoms.cell, pbc=atoms.pbc)[1]
    return distances
