"""How the Hessian of a cell is shared among periodic images, and its phases at any q.

A block H_ij of a cell's Hessian is the sum of the force constants between atom i and all images of
j. Away from Γ they must be told apart: the block is shared among the images R of j nearest to i,

    H_ij(q) = H_ij φ_ij(q),  φ_ij(q) = Σ_R w_R exp(2πi q·R),  Σ_R w_R = 1.

This is exact where the interaction is shorter than half the cell. The weights are smooth in the
positions; images on the border between cells share alike, 1/2 on a face and less on an edge, as
phonopy shares force constants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent.arrays import Array, IntArray
from ase_vibent.harmonic.periodicity import reduced_cell

ComplexArray = NDArray[np.complex128]

#: Distance from the plane halfway between two images, Å, from which on the farther one counts
#: nothing. Near the plane weights are nearly equal, so that ties of a crystal's sites stay ties
#: when its atoms are displaced; lattice planes of crystals are farther apart than this.
BORDER = 0.5


@dataclass(frozen=True)
class SharedBlocks:
    """Pairs of atoms whose blocks are shared among several images.

    Attributes
    ----------
    pairs : ndarray of int, shape (n_pairs, 2)
        Atoms i and j.
    places : ndarray of int, shape (n_pairs,)
        Of the pairs among all pairs of `Images`.
    shifts : ndarray of int, shape (n_pairs, n_images, 3)
        R of every image of j, in cell vectors.
    weights : ndarray, shape (n_pairs, n_images)
        w_R; zero for images that do not count.
    slopes : ndarray, shape (n_pairs, n_images, 3), 1/Å
        Derivative of every weight with respect to the vector from i to j.
    strains : ndarray, shape (n_pairs, n_images, 3, 3)
        Derivative of every weight with respect to a strain that the atoms follow.
    """

    pairs: IntArray
    places: IntArray
    shifts: IntArray
    weights: Array
    slopes: Array
    strains: Array = field(repr=False)


class Images:
    """Periodic images among which the blocks of a Hessian are shared.

    Parameters
    ----------
    atoms : Atoms
        Those whose Hessian it is: without fixed ones.
    partners : sequence of ndarray of int, optional
        For every atom, the atoms with which it has a block; by default all of them.
    """

    def __init__(self, atoms: Atoms, partners: Sequence[IntArray] | None = None):
        cell, operation = reduced_cell(atoms)
        self._cell = np.where(atoms.pbc[:, None], cell, 0.0)
        steps = [(-1, 0, 1) if periodic else (0,) for periodic in atoms.pbc]
        self._steps = np.array(list(product(*steps)))
        inverse = np.linalg.inv(cell)
        positions, everybody = atoms.positions, np.arange(len(atoms))
        nearest, shared, start = [], [], 0
        for i in range(len(atoms)):
            others = everybody if partners is None else partners[i]
            wrap, found = self._of_atom(positions[others] - positions[i], inverse, atoms.pbc)
            nearest.append((wrap @ operation).astype(np.int16))
            several, *rest = found
            pairs = np.column_stack([np.full(len(several), i), others[several]])
            shared.append((pairs, start + several, *rest))
            start += len(others)
        self._nearest = np.concatenate(nearest)
        pairs, places, shifts, weights, slopes, strains = (
            np.concatenate(column) for column in zip(*shared, strict=True)
        )
        self.shared = SharedBlocks(pairs, places, shifts @ operation, weights, slopes, strains)

    def _of_atom(
        self, vectors: Array, inverse: Array, pbc: NDArray[np.bool_]
    ) -> tuple[IntArray, tuple[IntArray, IntArray, Array, Array, Array]]:
        """Nearest image of every atom, and all images of those that have several."""
        wrap = np.where(pbc, -np.rint(vectors @ inverse), 0).astype(np.int64)
        for _ in range(2):  # wrapped into the reduced cell, the nearest is next to it
            images = (wrap @ self._cell + vectors)[:, None] + self._steps @ self._cell
            squares = np.einsum("jra,jra->jr", images, images)
            wrap = wrap + self._steps[squares.argmin(axis=1)]
        images = (wrap @ self._cell + vectors)[:, None] + self._steps @ self._cell
        squares = np.einsum("jra,jra->jr", images, images)
        apart = np.linalg.norm(self._steps @ self._cell, axis=1)
        heights = squares - squares.min(axis=1)[:, None]
        near = heights < 2 * BORDER * np.where(apart > 0, apart, np.inf)
        near[:, apart == 0] = True
        several = np.flatnonzero(near.sum(axis=1) > 1)
        shifts = wrap[several, None] + self._steps
        return wrap, (several, shifts, *self._weights(images[several], near[several]))

    def _weights(self, images: Array, near: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
        """Weights of images, with derivatives in the vectors to them and in strain."""
        # Of all images but those near: a few of 27.
        n_near = near.sum(axis=1).max(initial=1)
        chosen = np.argsort(~near, axis=1, kind="stable")[:, :n_near]
        of_near = _weights(
            np.take_along_axis(images, chosen[:, :, None], 1),
            (self._steps @ self._cell)[chosen],
            np.take_along_axis(near, chosen, 1),
        )
        pairs = np.arange(len(images))[:, None]

        def on_all_images(values: Array) -> Array:
            padded = np.zeros((*near.shape, *values.shape[2:]))
            padded[pairs, chosen] = values
            return padded

        weights, slopes, strains = map(on_all_images, of_near)
        return weights, slopes, strains

    def phases(self, q: Array) -> Array | ComplexArray:
        """φ_ij(q) of all pairs.

        Parameters
        ----------
        q : ndarray, shape (3,)
            In units of the reciprocal cell vectors.

        Returns
        -------
        ndarray, shape (n_pairs,)
            Atom by atom. Real at q whose double is a reciprocal vector.
        """
        at, shared = wave(q), self.shared
        phases = at(self._nearest)
        phases[shared.places] = np.sum(shared.weights * at(shared.shifts), axis=1)
        return phases

    def share_at_border(self, norms: Array) -> float:
        """Share of the Hessian between different atoms that lies at the border between images.

        Parameters
        ----------
        norms : ndarray, shape (n_pairs,)
            Of the blocks of all pairs, those of an atom with itself zero.

        Returns
        -------
        float
            0 where the interaction is shorter than half the cell.
        """
        between = np.linalg.norm(norms)
        at_border = np.linalg.norm(norms[self.shared.places])
        # Another order of summation may give the last digit more.
        return min(1.0, float(at_border / between)) if between > 0 else 0.0


def by_component(phases: Any, n_atoms: int) -> Any:
    """Phases of all pairs of atoms, shape (n²,), for every entry of a Hessian, (3n, 3n)."""
    of_pairs = phases.reshape(n_atoms, n_atoms)
    return np.repeat(np.repeat(of_pairs, 3, axis=0), 3, axis=1)


def wave(q: Array) -> Callable[[IntArray], Any]:
    """Function (R) -> exp(2πi q·R) of lattice vectors; ±1, exactly, where q allows no other.

    Parameters
    ----------
    q : ndarray, shape (3,)
        In units of the reciprocal cell vectors.

    Returns
    -------
    callable
        From integers of shape (…, 3) to numbers of shape (…), real where they can be.
    """
    if np.array_equal(2 * q, np.rint(2 * q)):
        halves = np.rint(2 * q).astype(np.int64)
        return lambda shifts: 1.0 - 2.0 * ((shifts @ halves) % 2)
    return lambda shifts: np.exp(2j * np.pi * (shifts @ q))


def _weights(images: Array, steps: Array, near: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
    """Weights of images, with derivatives in the vectors to them and in strain.

    Parameters
    ----------
    images : ndarray, shape (n_pairs, n_images, 3), Å
    steps : ndarray, shape (n_pairs, n_images, 3), Å
        Cell vectors by which the images differ.
    near : ndarray of bool, shape (n_pairs, n_images)
        Those that count.
    """
    differences = steps[:, None] - steps[:, :, None]  # R' - R
    apart = np.linalg.norm(differences, axis=3)
    apart[apart == 0] = np.inf
    squares = np.einsum("pra,pra->pr", images, images)
    # Distance of every R from the plane halfway to every R', positive on its own side.
    heights = (squares[:, None, :] - squares[:, :, None]) / (2 * apart)
    value, slope = _share(heights / BORDER)
    both = near[:, :, None] & near[:, None, :]
    value = np.where(both, value, 1.0)
    weights = np.where(near, value.prod(axis=2), 0.0)
    logarithmic = np.where(both & (value > 0), slope / np.maximum(value, 1e-300), 0.0) / BORDER
    # d height / d vector = (R' - R) / |R' - R|; strain moves vectors and |R' - R|.
    unit = differences / apart[..., None]
    slopes = np.einsum("prs,prsa->pra", logarithmic, unit)
    outer = images[:, :, :, None] * images[:, :, None, :]
    of_strain = logarithmic / apart
    strains = (of_strain @ outer.reshape(*near.shape, 9)).reshape(outer.shape)
    strains -= of_strain.sum(axis=2)[..., None, None] * outer
    strains -= ((logarithmic * heights)[..., None] * unit).swapaxes(2, 3) @ unit
    shares = weights / weights.sum(axis=1, keepdims=True)

    def normalise(derivative: Array) -> Array:
        own = shares.reshape(*shares.shape, *[1] * (derivative.ndim - 2))
        return own * (derivative - (own * derivative).sum(axis=1, keepdims=True))

    return shares, normalise(slopes), normalise(strains)


def _share(height: Array) -> tuple[Array, Array]:
    """Share between two images by the distance from the plane between them, and its slope.

    From 0 at -1 to 1 at 1, twice continuously differentiable, and flat around 1/2.
    """
    x = np.minimum(np.abs(height), 1.0)
    step = x**3 * (10 - 15 * x + 6 * x**2)
    return 0.5 + 0.5 * np.sign(height) * step, 15 * (x * (1 - x)) ** 2
