"""Hessian of a structure from whatever there is: a matrix, an analytic one, or forces."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent.errors import CalculatorError, InvalidInputError, VibentError
from ase_vibent.hessian.displaced import DisplacedForces
from ase_vibent.hessian.finite_differences import NOISE, FiniteDifferences, LinearForces
from ase_vibent.hessian.matrices import Matrix, check_plausible, free_block, symmetrise
from ase_vibent.hessian.options import HessianOptions
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
    return _has_property(calculator) or hasattr(calculator, "get_hessian")


def takes_analytic_hessian(calculator: object, options: HessianOptions) -> bool:
    """Whether a calculator's own Hessian is taken, rather than differences of its forces.

    Parameters
    ----------
    calculator : ASE calculator
    options : HessianOptions

    Returns
    -------
    bool

    Raises
    ------
    CalculatorError
        If an analytic one is asked for, and the calculator offers none.
    """
    if options.method == "finite-differences":
        return False
    analytic = has_analytic_hessian(calculator)
    if options.method == "analytic" and not analytic:
        raise CalculatorError(
            f"calculator: {type(calculator).__name__} offers no analytic Hessian; "
            "use method='finite-differences'"
        )
    return analytic


def compute_hessian(
    atoms: Atoms,
    calculator: object = None,
    *,
    hessian: Any = None,
    options: HessianOptions = HessianOptions(),
    sparse: bool = False,
    truncation: float = NOISE,
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
    options : HessianOptions
    sparse : bool
        Return a sparse matrix; a dense one is not formed on the way.
    truncation : float
        Share of the largest force constants that may lie beyond the `interaction_range`: they are
        left out.

    Returns
    -------
    ndarray or csr_array, shape (3n, 3n), eV/Å²
        Symmetrised; n counts the free atoms, rows are ordered x1 y1 z1 x2 …

    Raises
    ------
    CalculatorError
        If the calculator fails, lacks forces or (for "analytic") a Hessian, or what it gives
        cannot be the Hessian of an energy; if the cache belongs to another one.
    InvalidInputError
        If an argument is unusable, or forces change beyond the stated range.
    InvalidStructureError
        If the structure is unusable, or under constraints other than FixAtoms.
    """
    free = free_atoms(atoms)
    if hessian is not None:
        check_structure(atoms)
        return symmetrise(_given(hessian, atoms, free, options), sparse=sparse)
    if calculator is None:
        raise InvalidInputError("calculator: expected one, or a hessian instead, got neither")
    calculator = resolve_calculator(calculator)
    displaced_forces = DisplacedForces(atoms, calculator, options=options)
    if takes_analytic_hessian(calculator, options):
        matrix = _analytic(calculator, displaced_forces, len(atoms), free)
    else:
        plain = FiniteDifferences(atoms, displaced_forces, free, options, truncation)
        if options.symmetry and not sparse and len(free) == len(atoms):
            symmetric = symmetric_differences(atoms, displaced_forces, options)
            if symmetric is not None and symmetric.n_calls < plain.n_calls:
                displaced_forces.expect("Hessian", symmetric.n_calls)
                matrix = symmetric.hessian()
                if options.interaction_range is not None:
                    # As a defect's: what the range leaves out cancels in their difference.
                    linear = LinearForces(matrix)
                    ranged = FiniteDifferences(atoms, linear, free, options, truncation)
                    matrix = ranged.hessian(sparse=False)
                return symmetrise(matrix, sparse=False)
        displaced_forces.expect("Hessian", plain.n_calls, plain.advice)
        matrix = plain.hessian(sparse=sparse)
    check_plausible(matrix, held=len(free) < len(atoms), calculator=calculator)
    return symmetrise(matrix, sparse=sparse)


def _given(hessian: Any, atoms: Atoms, free: NDArray[np.intp], options: HessianOptions) -> Matrix:
    """Free block of a Hessian that the user brings."""
    if options.method == "finite-differences":
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


def _has_property(calculator: object) -> bool:
    return "hessian" in getattr(calculator, "implemented_properties", ())


def _analytic(
    calculator: object,
    displaced_forces: DisplacedForces,
    n_atoms: int,
    free: NDArray[np.intp],
) -> Matrix:
    """Free block of the calculator's own Hessian."""
    if _has_property(calculator):
        own = displaced_forces.property("hessian")
    else:
        own = displaced_forces.hessian()
    try:
        return free_block(own, n_atoms, free)
    except InvalidInputError as error:
        raise CalculatorError(
            f"calculator: {type(calculator).__name__} gave no usable Hessian ({error})"
        ) from error
