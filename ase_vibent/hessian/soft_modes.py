"""Softest modes of a structure from force calls: one or two for a product with its Hessian."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.sparse import csc_array

from ase_vibent.arrays import Array
from ase_vibent.checks import check_choice, check_positive
from ase_vibent.errors import InvalidInputError, UnstableStructureError
from ase_vibent.harmonic.gradient import SpectralGradient, spectral_gradient
from ase_vibent.harmonic.modes import displacement_patterns, signed_frequencies
from ase_vibent.harmonic.rigid_motions import free_motions, orthonormal_motions
from ase_vibent.harmonic.softest import lowest_eigenpairs
from ase_vibent.harmonic.spectrum import Product
from ase_vibent.hessian.approximate import bond_springs, directions
from ase_vibent.hessian.displaced import DisplacedForces
from ase_vibent.hessian.options import STEP
from ase_vibent.potentials import resolve_calculator
from ase_vibent.structures.validity import free_atoms

Differences = Literal["central", "forward"]
#: Search for all modes below a limit: from those of the approximate Hessian below so many times it.
BEYOND = 1.2


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
    count: int | None = None,
    *,
    below: float | None = None,
    unstable: int = 0,
    start: Array | None = None,
    similar: Any = None,
    tolerance: float = 0.05,
    max_force_calls: int | None = 60,
    differences: Differences = "central",
    displacement: float = STEP,
) -> SoftModes:
    """The softest stable modes of a structure, beside those that are unstable.

    By Davidson's method, directed by an approximate Hessian: by default that of springs along
    bonds, better that of a `ValenceForceField`, which spares most of the force calls.

    Parameters
    ----------
    atoms : Atoms
        At rest; atoms under FixAtoms do not move.
    calculator : ASE calculator or factory
    count : int, optional
        Of stable modes.
    below : float, eV/Å², optional
        Limit, in place of the count: all modes whose eigenvalue of the Hessian is less. Which they
        might be `similar` has to say.
    unstable : int
        How many unstable modes there must be.
    start : ndarray, shape (m, N, 3), optional
        Directions that are likely to be soft, such as the unstable mode that a dimer found.
    similar : ndarray or sparse array, shape (3n, 3n), eV/Å², optional
        Approximate Hessian in place of the springs: of a force field, or of a structure with the
        same free atoms in almost the same places.
    tolerance : float
        Largest error of an eigenvalue as a share of it, by a bound that is several times too much
        as a rule.
    max_force_calls : int, optional
        Most force calls; what has been reached by then is returned, with its errors. None for as
        many as it takes.
    differences : {"central", "forward"}
        Forward ones take half the force calls, and one; their error is linear in the displacement.
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
    check_choice("differences", differences, get_args(Differences))
    free = free_atoms(atoms)
    known = orthonormal_motions(free_motions(atoms, free, mass_weighted=False))
    approximate = csc_array(bond_springs(atoms, free) if similar is None else similar)
    if approximate.shape != (len(known), len(known)):
        raise InvalidInputError(
            f"similar: expected a Hessian of {len(free)} free atoms, shape "
            f"{(len(known), len(known))}, got {approximate.shape}"
        )
    wanted = _number_of_modes(count, below, unstable, len(known) - known.shape[1])
    if wanted is None and similar is None:
        raise InvalidInputError("similar: missing; a force field counts the modes below a limit")
    central = differences == "central"
    most = _most_products(max_force_calls, wanted or 1, len(known), central)
    limit = None if below is None else BEYOND * below
    solve, guesses = directions(approximate, known, (wanted or 0) + 1, limit)
    if start is not None:
        along = np.asarray(start)[:, free].reshape(len(start), -1).T
        guesses = np.hstack([along, guesses])
    found = lowest_eigenpairs(
        hessian_products(
            DisplacedForces(atoms, resolve_calculator(calculator)),
            free,
            differences=differences,
            displacement=displacement,
        ),
        guesses,
        solve,
        wanted,
        known=known,
        tolerance=tolerance,
        max_products=most,
        below=below or 0.0,
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
    n_calls = 2 * found.n_products if central else found.n_products + 1
    return SoftModes(found.values, patterns, found.errors, n_unstable, n_calls)


def _number_of_modes(
    count: int | None, below: float | None, unstable: int, rank: int
) -> int | None:
    """Unstable ones among them; None where a limit says how many."""
    if (count is None) == (below is None):
        raise InvalidInputError("count, below: give one of them, a number of modes or a limit")
    if count is None:
        check_positive("below", below)
        return None
    if not (count >= 0 and 1 <= count + unstable <= rank):
        raise InvalidInputError(
            f"count: expected a number of modes, at most {rank - unstable}, got {count}"
        )
    return count + unstable


def _most_products(max_force_calls: int | None, wanted: int, size: int, central: bool) -> int:
    """That force calls are enough for."""
    if max_force_calls is None:
        return size
    most = max_force_calls // 2 if central else max_force_calls - 1
    if most < wanted:
        raise InvalidInputError(
            f"max_force_calls: expected enough for {wanted} modes, {2 * wanted} with central "
            f"differences, {wanted + 1} with forward ones, got {max_force_calls}"
        )
    return most


def hessian_products(
    displaced_forces: DisplacedForces,
    free: NDArray[np.intp],
    roots: Array | float = 1.0,
    *,
    differences: Differences = "central",
    displacement: float = STEP,
) -> Product:
    """Multiplication of columns by a Hessian that is never made: one or two force calls a column.

    Parameters
    ----------
    displaced_forces : DisplacedForces
    free : ndarray of int, shape (n,)
        Atoms that move.
    roots : ndarray, shape (3n,), amu^½, optional
        Of masses, for the dynamical matrix.
    differences : {"central", "forward"}
        Two force calls a column, or one beside one for all.
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
        displaced = steps[:, None, None] * patterns
        if differences == "central":
            changes = (change / 2 for change in displaced_forces.changes(displaced))
        else:
            rest = displaced_forces.at_rest.forces
            changes = (own.forces - rest for own in displaced_forces.responses(displaced))
        products = [-c[free].ravel() / s for c, s in zip(changes, steps, strict=True)]
        return np.stack(products, axis=1) / np.reshape(roots, (-1, 1))

    return multiply
