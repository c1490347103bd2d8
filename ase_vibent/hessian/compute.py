"""Hessian of a structure from whatever there is: a matrix, an analytic one, or forces."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent.errors import CalculatorError, InvalidInputError, VibentError
from ase_vibent.hessian.displaced import DisplacedForces
from ase_vibent.hessian.finite_differences import FiniteDifferences
from ase_vibent.hessian.matrices import Matrix, check_plausible, free_block, symmetrise
from ase_vibent.hessian.symmetry import symmetric_differences
from ase_vibent.potentials import resolve_calculator
from ase_vibent.structures import check_structure
from ase_vibent.structures.validity import free_atoms


def has_analytic_hessian(calculator: object) -> bool:
    """Whether a calculator offers its own Hessian: matscipy's, or a property `hessian`.

    Parameters
    ----------
    calculator : ASE calculator

    Returns
    -------
    bool
    """
    return _analytic_source(calculator) is not None


def compute_hessian(
    atoms: Atoms,
    calculator: object = None,
    *,
    hessian: Any = None,
    method: str = "auto",
    displacement: float = 0.01,
    interaction_range: float | None = None,
    symmetry: bool = True,
    cache: str | os.PathLike[str] | None = None,
    sparse: bool = False,
) -> Matrix:
    """Second derivatives of the energy with respect to the positions of the free atoms.

    Parameters
    ----------
    atoms : Atoms
        Its own calculator is not used. Atoms under FixAtoms are left out.
    calculator : ASE calculator or factory, optional
        Not needed, and not called, where `hessian` is given.
    hessian : callable (atoms) -> matrix, or matrix, optional
        A Hessian from elsewhere, in eV/Å²: array or sparse matrix of shape (3N, 3N),
        (3N, N, 3), (N, 3, N, 3) or phonopy's (N, N, 3, 3), of all atoms or of the free ones alone.
    method : {"auto", "analytic", "finite-differences"}
        "auto" takes the calculator's analytic Hessian where it has one.
    displacement : float, Å
        Of the central finite differences.
    interaction_range : float, Å, optional
        Distance beyond which an atom's displacement changes no force: the cutoff of pair
        potentials, twice that of most others (see `measured_interaction_range`). Atoms that
        no third one feels at once, which are twice as far apart, then share force calls,
        whose number stops growing with N; two more test the range. Too short a one is an error.
    symmetry : bool
        Displace only what differs by symmetry, where that saves calls: dense Hessians of
        structures of at most 1000 atoms, all free, periodic along three directions. Say no where
        the calculator tells atoms apart by more than species, moments, charges and tags.
    cache : path of a folder, optional
        Finished displacements are kept there, and not done again when a run is repeated.
    sparse : bool
        Return a sparse matrix; a dense one is not formed on the way.

    Returns
    -------
    ndarray or csr_array, shape (3n, 3n), eV/Å²
        Symmetrised; n counts the free atoms, rows are ordered x1 y1 z1 x2 …

    Raises
    ------
    CalculatorError
        If the calculator fails, lacks forces or (for "analytic") a Hessian; if the cache
        belongs to another one.
    InvalidInputError
        If an argument is unusable, or forces change beyond `interaction_range`.
    InvalidStructureError
        If the structure is unusable, or under constraints other than FixAtoms.
    """
    _check_options(method, displacement, interaction_range)
    free = free_atoms(atoms)
    if hessian is not None:
        check_structure(atoms)
        return symmetrise(_given(hessian, atoms, free, method), sparse=sparse)
    if calculator is None:
        raise InvalidInputError("calculator: expected one, or a hessian instead, got neither")
    calculator = resolve_calculator(calculator)
    displaced_forces = DisplacedForces(atoms, calculator, cache=cache)
    analytic = _analytic_source(calculator) if method != "finite-differences" else None
    if analytic is not None:
        matrix = _analytic(analytic, calculator, displaced_forces, len(atoms), free)
        return symmetrise(matrix, sparse=sparse)
    if method == "analytic":
        raise CalculatorError(
            f"calculator: {type(calculator).__name__} offers no analytic Hessian; "
            "use method='finite-differences'"
        )
    plain = FiniteDifferences(atoms, displaced_forces, free, displacement, interaction_range)
    if symmetry and not sparse and len(free) == len(atoms):
        symmetric = symmetric_differences(atoms, displaced_forces, displacement)
        if symmetric is not None and symmetric.n_calls < plain.n_calls:
            return symmetrise(symmetric.hessian(), sparse=False)
    return symmetrise(plain.hessian(sparse=sparse), sparse=sparse)


def check_displacement(displacement: float) -> None:
    """Raise InvalidInputError unless a displacement is a finite length in Å above 0."""
    _check_length("displacement", displacement)


def _check_options(method: str, displacement: float, interaction_range: float | None) -> None:
    if method not in ("auto", "analytic", "finite-differences"):
        raise InvalidInputError(
            f"method: expected 'auto', 'analytic' or 'finite-differences', got {method!r}"
        )
    check_displacement(displacement)
    if interaction_range is not None:
        _check_length("interaction_range", interaction_range)


def _check_length(name: str, value: float) -> None:
    if not (isinstance(value, int | float) and 0 < value < np.inf):
        raise InvalidInputError(f"{name}: expected a length in Å > 0, got {value!r}")


def _given(hessian: Any, atoms: Atoms, free: NDArray[np.intp], method: str) -> Matrix:
    """Free block of a Hessian that the user brings."""
    if method == "finite-differences":
        raise InvalidInputError("hessian: leave it out, or method='finite-differences'")
    if callable(hessian) and not hasattr(hessian, "matvec"):  # a linear operator is no matrix
        try:
            hessian = hessian(atoms.copy())
        except VibentError:
            raise
        except Exception as error:
            raise CalculatorError(
                f"hessian: the function failed: {type(error).__name__}: {error}"
            ) from error
    block = free_block(hessian, len(atoms), free)
    check_plausible(block, held=len(free) < len(atoms))
    return block


def _analytic_source(calculator: object) -> Callable[[DisplacedForces], object] | None:
    """The calculator's own Hessian (matscipy, and ASE's property `hessian`), or None."""
    if "hessian" in getattr(calculator, "implemented_properties", ()):
        return lambda structure: structure.property("hessian")
    if hasattr(calculator, "get_hessian"):
        return lambda structure: structure.hessian()
    return None


def _analytic(
    source: Callable[[DisplacedForces], object],
    calculator: object,
    displaced_forces: DisplacedForces,
    n_atoms: int,
    free: NDArray[np.intp],
) -> Matrix:
    try:
        return free_block(source(displaced_forces), n_atoms, free)
    except InvalidInputError as error:
        raise CalculatorError(
            f"calculator: {type(calculator).__name__} gave no usable Hessian ({error})"
        ) from error
