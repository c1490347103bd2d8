"""Softest modes of a structure from force calls: two for every product with its Hessian."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.sparse import csc_array, eye_array
from scipy.sparse.linalg import LinearOperator, eigsh, splu

from ase_vibent.arrays import Array
from ase_vibent.checks import check_positive
from ase_vibent.errors import InvalidInputError, UnstableStructureError
from ase_vibent.harmonic.gradient import SpectralGradient, spectral_gradient
from ase_vibent.harmonic.modes import (
    displacement_patterns,
    free_motions,
    orthonormal_motions,
    signed_frequencies,
)
from ase_vibent.harmonic.softest import lowest_eigenpairs
from ase_vibent.harmonic.spectrum import SMALL, Product, solver_beside
from ase_vibent.hessian.displaced import DisplacedForces
from ase_vibent.hessian.embedded_atom import pair_term
from ase_vibent.hessian.options import STEP
from ase_vibent.potentials import resolve_calculator
from ase_vibent.structures.atom_types import bond_length
from ase_vibent.structures.validity import free_atoms

#: Range of the springs that stand for the Hessian, in bond lengths, decay of their strength over
#: the shortest bond, and share of it across the bond.
REACH, DECAY, ACROSS = 1.6, 3.0, 0.1
#: Å, from which on an atom without bonds is left without.
FARTHEST = 10.0
#: Share of random motion in the first guesses.
MIXED = 0.3
#: Keeps what is inverted from being singular, as a share of its largest diagonal element.
SHIFT = 1e-7


@dataclass(frozen=True)
class SoftModes:
    """Softest modes of a structure's Hessian, masses left out.

    Attributes
    ----------
    eigenvalues : ndarray, shape (n,), eV/Å²
        Ascending, unstable ones among them.
    patterns : ndarray, shape (n, N, 3)
        Normalised.
    errors : ndarray, shape (n,), eV/Å²
        Estimated from what is left of the eigenvalue equation. Eigenvalues are too large, if
        anything.
    n_unstable : int
        How many of them are unstable.
    force_calls : int
        What they took.
    """

    eigenvalues: Array
    patterns: Array = field(repr=False)
    errors: Array
    n_unstable: int
    force_calls: int

    @property
    def log_errors(self) -> Array:
        """Estimated errors of their logarithms, shape (n,)."""
        return self.errors / np.abs(self.eigenvalues)

    def gradient(
        self,
        atoms: Atoms,
        calculator: object,
        slopes: Array,
        *,
        virial: bool = False,
        displacement: float = STEP,
    ) -> SpectralGradient:
        """Derivatives of a sum over these modes: two force calls a mode, and one.

        Parameters
        ----------
        atoms : Atoms
            Whose modes they are.
        calculator : ASE calculator
        slopes : ndarray, shape (n,), unit of the sum per eV/Å²
            Derivative of the sum in every eigenvalue.
        virial : bool
            Whether strain is wanted, too.
        displacement : float, Å

        Returns
        -------
        SpectralGradient
            Of one sum.
        """
        forces = DisplacedForces(atoms, resolve_calculator(calculator), virial=virial)
        return spectral_gradient(
            forces, self.patterns, np.atleast_2d(slopes), displacement=displacement
        )


def soft_modes(
    atoms: Atoms,
    calculator: object,
    count: int,
    *,
    unstable: int = 0,
    start: Array | None = None,
    similar: Any = None,
    tolerance: float = 0.05,
    max_force_calls: int = 60,
    displacement: float = STEP,
) -> SoftModes:
    """The softest stable modes of a structure, beside those that are unstable.

    By Davidson's method; springs along bonds are the approximation that directs it.

    Parameters
    ----------
    atoms : Atoms
        At rest; atoms under FixAtoms do not move.
    calculator : ASE calculator or factory
    count : int
        Of stable modes.
    unstable : int
        How many unstable modes there must be.
    start : ndarray, shape (m, N, 3), optional
        Directions that are likely to be soft, such as the unstable mode that a dimer found.
    similar : ndarray or sparse array, shape (3n, 3n), eV/Å², optional
        Hessian of a structure with the same free atoms in almost the same places, in place of the
        springs.
    tolerance : float
        Largest estimated error of an eigenvalue, as a share of it.
    max_force_calls : int
        Most force calls; what has been reached by then is returned, with its errors.
    displacement : float, Å
        Largest of an atom.

    Returns
    -------
    SoftModes

    Raises
    ------
    InvalidInputError
        If an argument is unusable.
    UnstableStructureError
        If the number of unstable modes is another one.
    """
    for name, value in (("tolerance", tolerance), ("displacement", displacement)):
        check_positive(name, value)
    wanted, free = count + unstable, free_atoms(atoms)
    known = orthonormal_motions(free_motions(atoms, free, mass_weighted=False))
    if not (count >= 0 and 1 <= wanted <= len(known) - known.shape[1]):
        raise InvalidInputError(
            f"count: expected a number of modes, at most {len(known) - known.shape[1] - unstable}, "
            f"got {count}"
        )
    if max_force_calls < 2 * wanted:
        raise InvalidInputError(
            f"max_force_calls: expected two or more for each of {wanted} modes, got "
            f"{max_force_calls}"
        )
    approximate = csc_array(bond_springs(atoms, free) if similar is None else similar)
    if approximate.shape != (len(known), len(known)):
        raise InvalidInputError(
            f"similar: expected a Hessian of {len(free)} free atoms, shape "
            f"{(len(known), len(known))}, got {approximate.shape}"
        )
    solve = _inverse(approximate)
    guesses = [_lowest_guesses(solve, known, wanted + 1)]
    if start is not None:
        guesses.insert(0, np.asarray(start)[:, free].reshape(len(start), -1).T)
    found = lowest_eigenpairs(
        hessian_products(
            DisplacedForces(atoms, resolve_calculator(calculator)), free, displacement=displacement
        ),
        np.hstack(guesses),
        solve,
        wanted,
        known=known,
        tolerance=tolerance,
        max_products=max_force_calls // 2,
    )
    n_unstable = int(np.sum(found.values < 0))
    if n_unstable != unstable:
        raise UnstableStructureError(
            f"expected {unstable} unstable modes, found {n_unstable}; lowest eigenvalues of the "
            f"Hessian {np.round(found.values, 4).tolist()} eV/Å²",
            signed_frequencies(found.values),
            n_unstable,
        )
    patterns = displacement_patterns(found.vectors, free, len(atoms))
    return SoftModes(found.values, patterns, found.errors, n_unstable, 2 * found.n_products)


def hessian_products(
    displaced_forces: DisplacedForces,
    free: NDArray[np.intp],
    roots: Array | float = 1.0,
    *,
    displacement: float = STEP,
) -> Product:
    """Multiplication of columns by a Hessian that is never made: two force calls a column.

    Parameters
    ----------
    displaced_forces : DisplacedForces
    free : ndarray of int, shape (n,)
        Atoms that move.
    roots : ndarray, shape (3n,), amu^½, optional
        Of masses, for the dynamical matrix.
    displacement : float, Å
        Largest of an atom.

    Returns
    -------
    callable
        From columns, shape (3n, m), to the product.
    """

    def multiply(columns: Array) -> Array:
        if not columns.shape[1]:
            return columns
        scaled = (columns.T / roots).T
        patterns = displacement_patterns(scaled, free, displaced_forces.n_atoms)
        steps = displacement / np.abs(patterns).max(axis=(1, 2))
        changes = displaced_forces.changes(steps[:, None, None] * patterns)
        products = [-c[free].ravel() / (2 * s) for c, s in zip(changes, steps, strict=True)]
        return np.stack(products, axis=1) / np.reshape(roots, (-1, 1))

    return multiply


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
    i, j, vectors, distances = _bonds(atoms)
    units = vectors / distances[:, None]
    strength = np.exp(-DECAY * distances / distances.min())
    blocks = (1 - ACROSS) * units[:, :, None] * units[:, None, :] + ACROSS * np.eye(3)
    whole = csc_array(pair_term(i, j, strength[:, None, None] * blocks, len(atoms)))
    rows = (3 * free[:, None] + np.arange(3)).ravel()
    return whole[rows][:, rows]


def _bonds(atoms: Atoms) -> tuple[NDArray[np.intp], NDArray[np.intp], Array, Array]:
    """Pairs both ways, by their first atoms: i, j, vectors, distances, so far that all have one."""
    import vesin

    reach = REACH * bond_length(sorted(set(atoms.symbols)))
    while True:
        i, j, vectors, distances = vesin.NeighborList(
            cutoff=reach, full_list=True, sorted=True
        ).compute(
            points=atoms.positions,
            box=atoms.cell.complete().array,
            periodic=np.asarray(atoms.pbc),
            quantities="ijDd",
        )
        if len(np.unique(i)) == len(atoms) or reach > FARTHEST:
            return i.astype(np.intp), j.astype(np.intp), vectors, distances
        reach *= 1.5


def _inverse(matrix: csc_array) -> Product:
    """Multiplication by the inverse of a matrix, pushed off zero by next to nothing."""
    shift = SHIFT * np.abs(matrix.diagonal()).max()
    factor = splu(csc_array(matrix + shift * eye_array(matrix.shape[0])))
    return lambda columns: np.asarray(factor.solve(np.ascontiguousarray(columns)))


def _lowest_guesses(solve: Product, known: Array, count: int) -> Array:
    """Lowest eigenvectors of what is inverted, beside known motions, shape (size, m), m ≤ count.

    A little of everything soft is mixed in: in a symmetric structure, modes of other symmetry would
    never be found.
    """
    size = len(known)
    beside = solver_beside(solve, known)
    rng = np.random.default_rng(0)
    operator = LinearOperator(
        (size, size), matvec=lambda v: beside(np.reshape(v, (-1, 1)))[:, 0], dtype=float
    )
    count = min(count, size - known.shape[1])
    if size < SMALL:
        vectors = np.linalg.eigh(operator @ np.eye(size))[1][:, -count:]
    else:
        start = rng.normal(size=size)
        start -= known @ (known.T @ start)
        vectors = eigsh(operator, count, which="LA", v0=start, tol=1e-2)[1]
    others = beside(rng.normal(size=(size, count)))
    return vectors + MIXED * others / np.linalg.norm(others, axis=0)
