"""Approximate Hessians, and what they give to searches for soft modes: directions, guesses."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.sparse import block_array, csc_array, eye_array
from scipy.sparse.linalg import eigsh, splu

from ase_vibent.arrays import Array, coordinates
from ase_vibent.harmonic.spectrum import SMALL, Product, operator_of, solver_beside
from ase_vibent.hessian.embedded_atom import pair_term
from ase_vibent.structures.atom_types import bond_length

#: Range of the springs that stand for the Hessian, in bond lengths, decay of their strength over
#: the shortest bond, and share of it across the bond.
REACH, DECAY, ACROSS = 1.6, 3.0, 0.1
#: Å, from which on an atom without bonds is left without.
FARTHEST = 10.0
#: Share of random motion in the first guesses.
MIXED = 0.3
#: Keeps what is inverted from being singular, as a share of its largest diagonal element.
SHIFT = 1e-7
#: Stiffness of unstable modes of an approximate Hessian, at least, as such a share.
FLOOR = 2e-3


def bond_springs(atoms: Atoms, free: NDArray[np.intp]) -> csc_array:
    """Hessian of springs between near atoms, which has the soft modes about where they are.

    Like the preconditioner of Packwood et al., J. Chem. Phys. 144, 164109 (2016), but stiffer along
    the bond than across it. Its scale means nothing.

    Parameters
    ----------
    atoms : Atoms
    free : ndarray of int, shape (n,)

    Returns
    -------
    csc_array, shape (3n, 3n)
    """
    i, j, vectors = _bonds(atoms)
    distances = np.linalg.norm(vectors, axis=1)
    units = vectors / distances[:, None]
    strength = np.exp(-DECAY * distances / distances.min())
    blocks = (1 - ACROSS) * units[:, :, None] * units[:, None, :] + ACROSS * np.eye(3)
    whole = csc_array(pair_term(i, j, strength[:, None, None] * blocks, len(atoms)))
    rows = coordinates(free)
    return whole[rows][:, rows]


def _bonds(atoms: Atoms) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
    """`pairs_within` so far that all atoms have one."""
    reach = REACH * bond_length(sorted(set(atoms.symbols)))
    while True:
        i, j, vectors = pairs_within(atoms, reach)
        if len(np.unique(i)) == len(atoms) or reach > FARTHEST:
            return i, j, vectors
        reach *= 1.5


def pairs_within(atoms: Atoms, cutoff: float) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
    """Pairs of atoms both ways, in the order of their first ones.

    Parameters
    ----------
    atoms : Atoms
    cutoff : float, Å

    Returns
    -------
    i, j : ndarray of int, shape (n,)
    vectors : ndarray, shape (n, 3), Å
    """
    import vesin

    i, j, vectors = vesin.NeighborList(cutoff=cutoff, full_list=True, sorted=True).compute(
        points=atoms.positions,
        box=atoms.cell.complete().array,
        periodic=np.asarray(atoms.pbc),
        quantities="ijD",
    )
    return i.astype(np.intp), j.astype(np.intp), vectors


def directions(
    approximate: csc_array, known: Array, count: int, below: float | None = None
) -> tuple[Product, Array]:
    """Multiplication by the inverse of |B|, B approximate, and first guesses, shape (size, m).

    Those are its lowest eigenvectors beside known motions, m ≤ count, or all below a limit. A
    little of everything soft is mixed in: in a symmetric structure, modes of other symmetry would
    never be found.

    Parameters
    ----------
    approximate : csc_array, shape (size, size)
    known : ndarray, shape (size, k)
        Orthonormal motions that are left out.
    count : int
    below : float, eV/Å², optional
        All of them, by diagonalisation, and one more, whatever the count.

    Returns
    -------
    solve : callable
    guesses : ndarray, shape (size, m)
    """
    size, scale = len(known), float(np.abs(approximate.diagonal()).max())
    count = min(count, size - known.shape[1])
    if below is None:
        values, vectors = _lowest(approximate, known, count)
    else:
        values, vectors = _diagonalised(approximate, known)
        count = min(int(np.sum(values < below)) + 1, len(values))
        values, vectors = values[:count], vectors[:, :count]
    solve = _inverse(approximate, SHIFT * scale)
    turned = values < FLOOR * scale
    if turned.any():
        unstable, stiffness = vectors[:, turned], np.maximum(np.abs(values[turned]), FLOOR * scale)
        others = solver_beside(solve, unstable)

        def solve(columns: Array) -> Array:
            own = unstable @ ((unstable.T @ columns) / stiffness[:, None])
            return np.asarray(others(columns)) + own

    rng = np.random.default_rng(0)
    mixed = solver_beside(solve, known)(rng.normal(size=(size, count)))
    return solve, vectors + MIXED * mixed / np.linalg.norm(mixed, axis=0)


def _inverse(matrix: csc_array, shift: float) -> Product:
    """Multiplication by the inverse of a matrix, pushed upwards."""
    factor = splu(csc_array(matrix + shift * eye_array(matrix.shape[0])))
    return lambda columns: np.asarray(factor.solve(np.ascontiguousarray(columns)))


def _lowest(matrix: csc_array, known: Array, count: int) -> tuple[Array, Array]:
    """Lowest eigenpairs beside known motions, roughly."""
    size, scale = len(known), float(np.abs(matrix.diagonal()).max())
    start = np.random.default_rng(0).normal(size=size)
    if size < SMALL:
        values, vectors = _diagonalised(matrix, known)
        return values[:count], vectors[:, :count]
    top = float(abs(matrix).sum(axis=0).max())
    turned = operator_of(lambda columns: top * columns - matrix @ columns, size)
    lowest = top - eigsh(turned, 1, which="LA", v0=start, tol=1e-3)[0][0]
    # Below all of them, so that the inverse is positive definite.
    shift = SHIFT * scale if lowest > -1e-2 * FLOOR * top else 1e-3 * top - 1.1 * lowest
    beside = solver_beside(_inverse(matrix, shift), known)
    start -= known @ (known.T @ start)
    inverses, vectors = eigsh(operator_of(beside, size), count, which="LA", v0=start, tol=1e-3)
    order = np.argsort(-inverses)
    return 1 / inverses[order] - shift, vectors[:, order]


def _diagonalised(matrix: csc_array, known: Array) -> tuple[Array, Array]:
    """All eigenpairs beside known motions: iterations miss some of a degenerate mode."""
    inside = np.linalg.qr(known, mode="complete")[0][:, known.shape[1] :]
    values, vectors = np.linalg.eigh(inside.T @ (matrix @ inside))
    return values, inside @ vectors


def log_determinant(matrix: csc_array, known: Array, softest: int) -> float:
    """Σ ln |λ| beside known motions and so many softest modes.

    Parameters
    ----------
    matrix : csc_array, shape (size, size)
    known : ndarray, shape (size, k)
        Orthonormal.
    softest : int

    Returns
    -------
    float
    """
    # Its determinant is, but for the sign, that beside these motions.
    beside = block_array([[matrix, known], [known.T, None]], format="csc")
    pivots = splu(beside).U.diagonal()
    left_out = _lowest(matrix, known, softest)[0] if softest else np.ones(1)
    return float(np.log(np.abs(pivots)).sum() - np.log(np.abs(left_out)).sum())
