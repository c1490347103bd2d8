"""Central finite differences of forces, with distant atoms displaced in one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from ase import Atoms
from ase.geometry import get_distances
from numpy.typing import NDArray
from scipy.sparse import bsr_array

from ase_vibent.arrays import Array
from ase_vibent.checks import check_positive
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.hessian.displaced import DisplacedForces
from ase_vibent.hessian.interactions import InteractionGraph
from ase_vibent.hessian.matrices import Matrix
from ase_vibent.hessian.options import STEP, HessianOptions
from ase_vibent.potentials import resolve_calculator
from ase_vibent.structures.cells import widths
from ase_vibent.structures.validity import free_atoms

IntArray = NDArray[np.intp]

#: A change of force below this share of the largest counts as none.
NOISE = 1e-4
#: Of the median noise: what stands out from it.
AUDIBLE = 4.0
#: As much may lie beyond a stated range where its weight in the entropy is measured.
TRUNCATED = 0.01
#: Share of the largest force that a sound Hessian may be wrong by, truncation included.
PREDICTION = 0.05
#: Colours in wide cells, for each atom within the range of another: 2.2 to 2.9 in silicon and
#: aluminium, 6 to 10 Å.
COLOURS = 2.5
#: Share of the force calls that are saved, below which there is a word.
SAVED = 0.1


class LinearForces:
    """Forces of a harmonic crystal, as `DisplacedForces` gives them.

    Parameters
    ----------
    hessian : ndarray, shape (3N, 3N), eV/Å²
    """

    def __init__(self, hessian: Array):
        self._hessian = hessian

    def changes(self, displacements: Iterable[Array]) -> Iterator[Array]:
        """See `DisplacedForces.changes`."""
        for shift in displacements:
            yield -2 * (self._hessian @ shift.ravel()).reshape(-1, 3)


class FiniteDifferences:
    """Hessian of the free atoms, column by column, from central differences of forces.

    With an interaction range, atoms that no third one feels at once are displaced together
    (Curtis, Powell, Reid 1974). The range is put to the test: in every call the forces beyond
    it must stay nearly as they are, and in the end all atoms are displaced at random, for which the
    Hessian must predict the forces.

    Parameters
    ----------
    atoms : Atoms
    displaced_forces : DisplacedForces or LinearForces
    free : ndarray of int, shape (n,)
    options : HessianOptions
        Symmetry plays no part.
    truncation : float
        Share of the largest change of force that may lie beyond the range.
    """

    def __init__(
        self,
        atoms: Atoms,
        displaced_forces: DisplacedForces | LinearForces,
        free: IntArray,
        options: HessianOptions,
        truncation: float = NOISE,
    ):
        self._atoms, self._displaced_forces, self._free = atoms, displaced_forces, free
        self._truncation = truncation
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

    @property
    def advice(self) -> str:
        """What to know of the range before force calls that take long, see `expect`."""
        n = len(self._free)
        if self._range is None or len(self._groups) < (1 - SAVED) * n:
            return ""
        density = len(self._atoms) / self._atoms.get_volume() if self._atoms.pbc.all() else 0.0
        near = max(4 / 3 * np.pi * self._range**3 * density, self._graph.n_neighbours.max())
        return (
            f"; interaction_range: within {self._range:g} Å nearly all of these atoms feel each "
            f"other, and share next to no calls; from about {round(COLOURS * near, -1):.0f} atoms "
            "on they do"
        )

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
        beyond = size > self._truncation * size.max()
        beyond[felt] = False
        if not np.any(beyond):
            return
        distances = _distances(self._atoms, self._free[beyond], self._free[group]).min(axis=1)
        worst = size[beyond].max()
        raise InvalidInputError(
            f"interaction_range: forces change at {distances.max():.2f} Å from the displaced "
            f"atoms, by {worst / (2 * self._displacement):.2g} eV/Å² ({worst / size.max():.1g} of "
            f"the largest change), beyond the {self._range} Å that were stated; state a longer "
            "range (see measured_interaction_range), or None"
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
    tolerance: float | None = None,
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
        Twice as far is tried, too: what then does not double is noise.
    tolerance : float, eV/Å², optional
        Force constants below it count as none; by default those below 1e-4 of the largest, or
        hidden by noise.

    Returns
    -------
    float, Å

    Raises
    ------
    InvalidStructureError
        If forces change as far away as the periodic cell allows to see.
    """
    displaced_forces = DisplacedForces(atoms, resolve_calculator(calculator))
    if tolerance is not None:
        check_positive("tolerance", tolerance, "eV/Å²")
    free = free_atoms(atoms)
    reach, farthest = 0.0, 0.0
    # Along no axis: atoms in a row or in a plane must feel it too.
    oblique = displacement * np.array([0.36, 0.48, 0.8])
    moved = free[np.unique(atoms.numbers[free], return_index=True)[1]]
    steps = [_shift(len(atoms), atom, k * oblique) for atom in moved for k in (1, 2)]
    changes = displaced_forces.changes(steps)
    for atom, once, twice in zip(moved, changes, changes, strict=True):
        size = np.linalg.norm(once, axis=1) / (2 * displacement)
        noise = np.linalg.norm(twice / 2 - once, axis=1) / (2 * displacement)
        least = max(NOISE * size.max(), AUDIBLE * np.median(noise))
        felt = np.flatnonzero(size > (least if tolerance is None else tolerance))
        distances = _distances(atoms, felt, atom[None]).ravel()
        if distances.max(initial=0.0) > reach:
            reach, farthest = distances.max(), size[felt[distances.argmax()]]
    width = widths(atoms).min(initial=np.inf)
    if reach >= width / 2:
        raise InvalidStructureError(
            f"atoms: forces change {reach:.2f} Å away, by {farthest:.2g} eV/Å², as far as a "
            f"periodic cell {width:.2f} Å wide allows to see; use a larger cell, or a "
            "larger tolerance: what an interaction_range leaves out is in the error of entropies"
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
