"""Hessians of all usual shapes, dense and sparse, brought to one."""

from __future__ import annotations

import warnings
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ase_vibent.arrays import Array, coordinates, from_tensor
from ase_vibent.errors import CalculatorError, InvalidInputError
from ase_vibent.harmonic.spectrum import as_dense, symmetric_matrix

#: A dense or a sparse one.
Matrix = Any

#: Share of the largest entry by which a sound Hessian may break the rules of one.
IMPLAUSIBLE = 0.1
#: Share of the largest entry by which a Hessian may differ from its transpose without a word.
NOISY = 0.02
#: Share of the largest entry up to which numbers are the same.
ROUNDING = 1e-9


def free_block(matrix: Matrix, n_atoms: int, free: NDArray[np.intp]) -> Matrix:
    """Block of the free atoms of a Hessian in any of its usual shapes.

    Parameters
    ----------
    matrix : array or sparse matrix, eV/Å²
        (3N, 3N), (3N, N, 3), (N, 3, N, 3) or phonopy's (N, N, 3, 3) for all atoms, or the same
        for the free ones.
    n_atoms : int
        N.
    free : ndarray of int, shape (n,)

    Returns
    -------
    ndarray or csr_array, shape (3n, 3n), eV/Å²

    Raises
    ------
    InvalidInputError
        If it is no real matrix, has another shape, or one of two meanings.
    """
    values: Matrix = _as_sparse(matrix) if hasattr(matrix, "tocsr") else _as_array(matrix)
    n, given = len(free), values.shape
    if len(given) == 4 and given[2:] == (3, 3):
        if given[1] == n_atoms and n_atoms % given[0] == 0 and given[0] < n_atoms:
            raise InvalidInputError(
                f"hessian: expected a row for every atom, got phonopy's compact force constants of "
                f"shape {given}, the rows of {given[0]} of {n_atoms} atoms; expand them first: "
                "phonopy.harmonic.force_constants.compact_fc_to_full_fc(phonon.primitive, "
                "force_constants)"
            )
        values = _by_rows(values, whole=n_atoms == 3)
    if values.shape in _shapes(n_atoms):
        rows = coordinates(free)
        square = values.reshape(3 * n_atoms, 3 * n_atoms)
        return square if n == n_atoms else square[rows][:, rows]
    if values.shape in _shapes(n):
        return values.reshape(3 * n, 3 * n)
    raise InvalidInputError(
        f"hessian: expected {3 * n_atoms} × {3 * n_atoms} entries for {n_atoms} atoms"
        f"{'' if n == n_atoms else f', or {3 * n} × {3 * n} for the {n} free ones'}, as a matrix "
        f"or of shape (3N, N, 3), (N, 3, N, 3) or (N, N, 3, 3), got shape {given}"
    )


def net_force(matrix: Matrix) -> float:
    """Largest force that moving all atoms by 1 Å costs, eV/Å²; of a free system it is none."""
    return float(abs(matrix @ np.tile(np.eye(3), (matrix.shape[0] // 3, 1))).max())


def check_plausible(matrix: Matrix, *, held: bool, calculator: object = None) -> None:
    """Raise unless a matrix, not symmetrised so far, can be the Hessian of an energy.

    Noise of forces is let pass, but not a triangle, a wrong order of rows or of forces, or a
    dynamical matrix.

    Parameters
    ----------
    matrix : ndarray or csr_array, shape (3n, 3n), eV/Å²
    held : bool
        Whether atoms are fixed; otherwise a translation of all must cost no force.
    calculator : ASE calculator, optional
        That gave it, or the forces of which it is the difference.

    Raises
    ------
    InvalidInputError, or CalculatorError of a calculator

    Warns
    -----
    UserWarning
        If it is noisy.
    """
    n = matrix.shape[0] // 3
    if n == 1:  # all noise
        return
    largest = abs(matrix).max()
    asymmetry = abs(matrix - matrix.T).max()
    unequal = (
        f"entries up to {largest:.3g} eV/Å² that differ from those of the transpose by up to "
        f"{asymmetry:.3g}"
    )
    if asymmetry > IMPLAUSIBLE * largest:
        _refuse(calculator, f"expected a symmetric matrix, got {unequal}")
    force = net_force(matrix)
    if not held and force > IMPLAUSIBLE * largest:
        _refuse(
            calculator,
            f"a translation of all atoms costs forces up to {force:.3g} eV/Å², beside entries up "
            f"to {largest:.3g}; expected rows in the order x1 y1 z1 x2 … of the atoms, not "
            "mass-weighted",
        )
    if asymmetry > NOISY * largest:
        warnings.warn(
            f"hessian: it is noisy: {unequal}; entropies are as uncertain as that",
            stacklevel=4,
        )


def _refuse(calculator: object, fault: str) -> NoReturn:
    if calculator is None:
        raise InvalidInputError(f"hessian: {fault}")
    raise CalculatorError(
        f"calculator: {type(calculator).__name__} gave no usable Hessian: {fault}; are its forces "
        "those of these atoms, in their order, and their noise small beside what displacements "
        "change?"
    )


def symmetrise(matrix: Matrix, *, sparse: bool) -> Matrix:
    """Mean of a matrix and its transpose, dense or sparse as asked.

    Parameters
    ----------
    matrix : ndarray or sparse array, shape (3n, 3n), eV/Å²
    sparse : bool

    Returns
    -------
    ndarray or csr_array, shape (3n, 3n), eV/Å²

    Raises
    ------
    InvalidInputError
        If it is not finite.
    """
    matrix = csr_array(matrix) if sparse else as_dense(matrix)
    return symmetric_matrix(matrix, matrix.shape[0])


def _by_rows(blocks: Array, *, whole: bool) -> Array:
    """Phonopy's (n, n, 3, 3) as (n, 3, n, 3); of three atoms, it may have that shape already."""
    readings = [blocks.transpose(0, 2, 1, 3), blocks]
    if len(blocks) != 3:
        return readings[0]
    largest, faults = np.abs(blocks).max(), []
    for reading in readings:
        matrix = reading.reshape(9, 9)
        net = reading.sum(axis=2) if whole else np.zeros(1)
        faults.append(float(max(np.abs(matrix - matrix.T).max(), np.abs(net).max())))
    differ = np.abs(readings[0] - readings[1]).max() > ROUNDING * largest
    better, worse = sorted(faults)
    if differ and worse <= min(10 * better + ROUNDING * largest, IMPLAUSIBLE * largest):
        raise InvalidInputError(
            "hessian: shape (3, 3, 3, 3) may be (N, N, 3, 3) or (N, 3, N, 3), and this array is "
            "the Hessian of three atoms either way; give it as a matrix, of shape (9, 9)"
        )
    return readings[faults.index(better)]


def _shapes(n: int) -> tuple[tuple[int, ...], ...]:
    return (3 * n, 3 * n), (3 * n, n, 3), (n, 3, n, 3)


def _as_sparse(matrix: Any) -> Any:
    if np.iscomplexobj(matrix):
        raise InvalidInputError("hessian: expected real numbers, got a complex sparse matrix")
    return csr_array(matrix, dtype=float)


def _as_array(matrix: Any) -> Array:
    try:
        values = np.asarray(from_tensor(matrix))
        if not np.iscomplexobj(values):
            return values.astype(float, copy=False)
    except (TypeError, ValueError, RuntimeError):  # not numbers, ragged, a tensor with a history
        pass
    raise InvalidInputError(
        f"hessian: expected a matrix of real numbers, got {type(matrix).__name__}"
    )
