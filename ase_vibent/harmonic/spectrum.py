"""What engines that do not diagonalise share: input matrices, and the ends of their spectra."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csc_array, csr_array, eye_array, issparse
from scipy.sparse.linalg import ArpackError, LinearOperator, SuperLU, eigsh, splu

from ase_vibent.arrays import Array, IntArray, coordinates
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.modes import check_hessian, require_stability

Product = Callable[[Array], Array]

#: Rows below which a matrix is diagonalised rather than iterated on.
SMALL = 200
#: Shift of inverses, in upper bounds on the spectrum: below what is soft, above noise.
SHIFT = 1e-4


class SiteSpectrum(Protocol):
    """Local densities of states: what every engine offers."""

    @property
    def n_unstable(self) -> int:
        """Number of unstable modes."""

    def site_sums(self, function: Callable[[Any], Any]) -> Array:
        """Σ_ν |e_νi|² f(λ_ν) of every site over the stable modes, shape (n_sites,).

        [Torabi2024] (B.15), [Lapointe2020] (11), [Lapointe2022] (10). f may be asked for complex
        arguments. Over all atoms the sites sum to Σ_ν f(λ_ν).
        """


def check_sites(sites: ArrayLike | None, n_atoms: int, name: str = "sites") -> IntArray:
    """Site indices, validated.

    Parameters
    ----------
    sites : array_like of int, shape (n_sites,), or None
        None stands for all.
    n_atoms : int
    name : str
        Of the argument, for messages.

    Returns
    -------
    ndarray of int64, shape (n_sites,)

    Raises
    ------
    InvalidInputError
    """
    if sites is None:
        return np.arange(n_atoms)
    indices = np.atleast_1d(np.asarray(sites))
    if indices.size == 0:
        return np.empty(0, dtype=np.int64)
    integers = indices.ndim == 1 and np.issubdtype(indices.dtype, np.integer)
    if not integers or indices.min() < 0 or indices.max() >= n_atoms:
        raise InvalidInputError(f"{name}: expected indices from 0 to {n_atoms - 1}, got {sites!r}")
    return indices.astype(np.int64)


def check_unstable(unstable: int | str) -> int | str:
    """Expected number of unstable modes, validated.

    Parameters
    ----------
    unstable : int or "any"

    Returns
    -------
    int or "any"

    Raises
    ------
    InvalidInputError
    """
    if unstable == "any":
        return unstable
    if isinstance(unstable, bool) or not isinstance(unstable, int | np.integer) or unstable < 0:
        raise InvalidInputError(
            f"unstable: expected a number of modes ≥ 0 or 'any', got {unstable!r}"
        )
    return int(unstable)


def as_dense(matrix: Any) -> Array:
    """A matrix, dense or sparse, as an array."""
    dense: Array = matrix.toarray() if hasattr(matrix, "toarray") else matrix
    return dense


def symmetric_matrix(matrix: Any, size: int) -> Any:
    """Symmetrised matrix, validated.

    Parameters
    ----------
    matrix : sparse matrix or ndarray, shape (size, size)
    size : int

    Returns
    -------
    csr_array or ndarray, shape (size, size)

    Raises
    ------
    InvalidInputError
        If its shape is another, or an entry is not finite.
    """
    sparse = issparse(matrix)
    rows: Any = csr_array(matrix, dtype=float) if sparse else check_hessian(matrix)
    if rows.shape != (size, size):
        raise InvalidInputError(f"hessian: expected shape {(size, size)}, got {rows.shape}")
    if not sparse:
        return rows
    if not np.all(np.isfinite(rows.data)):
        raise InvalidInputError("hessian: holds NaN or infinite entries; check the calculator")
    return ((rows + rows.T) / 2).tocsr()


def product_with(matrix: Any, size: int) -> Product:
    """Multiplication by a matrix, whatever it is given as, checked as far as possible.

    Parameters
    ----------
    matrix : sparse matrix, ndarray, LinearOperator or callable, (size, size)
        A callable takes and returns an array of shape (size, m), and must be symmetric.
    size : int

    Returns
    -------
    callable

    Raises
    ------
    InvalidInputError
    """
    if not callable(matrix):
        explicit = symmetric_matrix(matrix, size)
        if not issparse(explicit):
            return lambda columns: explicit @ columns
        from ase_vibent.harmonic.products import block_product  # numba, slow to import

        return block_product(explicit)

    def multiply(columns: Array) -> Array:
        result = np.asarray(matrix(columns), dtype=float)
        if result.shape != columns.shape or not np.all(np.isfinite(result)):
            raise InvalidInputError(
                f"matrix: expected finite products of shape {columns.shape}, got {result.shape}"
            )
        return result

    return multiply


def largest_eigenvalue(multiply: Product, size: int) -> float:
    """Largest magnitude of an eigenvalue, to a few per cent, from above.

    Parameters
    ----------
    multiply : callable
    size : int

    Returns
    -------
    float, unit of the matrix
    """
    column = np.random.default_rng(0).normal(size=(size, 1))
    norm = 0.0
    for _ in range(30):  # power iteration approaches it from below
        column /= np.linalg.norm(column)
        column = multiply(column)
        norm = float(np.linalg.norm(column))
        if norm == 0:
            break
    return 1.2 * norm


@dataclass(frozen=True)
class LowestModes:
    """Modes below zero, and the first one above.

    Attributes
    ----------
    negative : ndarray, shape (n_unstable,), eV/Å² or eV/Å²/amu
    vectors : ndarray, shape (3n, n_unstable)
    smallest : float, eV/Å² or eV/Å²/amu
        Smallest positive eigenvalue; where there is none, an upper bound on the spectrum.
    """

    negative: Array
    vectors: Array
    smallest: float


def lowest_modes(
    multiply: Product,
    basis: Array,
    largest: float,
    *,
    unstable: int | str = "any",
    matrix: Any = None,
) -> LowestModes:
    """Unstable modes and the softest stable one, rigid-body motions left out.

    A Krylov space may hold one copy of a degenerate mode only: what is unstable is deflated, and
    looked for again until nothing is left below zero.

    Parameters
    ----------
    multiply : callable
    basis : ndarray, shape (3n, k)
        Orthonormal rigid-body motions.
    largest : float, eV/Å² or eV/Å²/amu
        Upper bound on the spectrum.
    unstable : int or "any"
        Number of unstable modes that must be found.
    matrix : csr_array, shape (3n, 3n), optional
        What `multiply` multiplies with. Factorised, it gives the very soft modes of long chains,
        which products alone find too slowly.

    Returns
    -------
    LowestModes

    Raises
    ------
    UnstableStructureError
        If their number is another one, or a mode is too soft to be told from noise.
    """
    size = len(basis)
    negative, vectors = np.empty(0), np.empty((size, 0))
    smallest = largest
    wanted = 2 if unstable == "any" else int(unstable) + 1
    shift = SHIFT * largest
    inverse = None
    if matrix is not None and size >= SMALL:
        inverse = positive_factor(matrix + shift * eye_array(size))
    while room := size - basis.shape[1] - len(negative):
        known = np.hstack([basis, vectors])
        operator = _deflate(multiply, known, 2 * largest)
        near: dict[str, Any] = {"which": "SA"}
        if inverse is not None:
            solve = solver_beside(inverse.solve, known)
            near = {"sigma": -shift, "OPinv": operator_of(solve, size)}
        values, columns = _smallest(operator, min(wanted, room), near)
        below = values < 0
        if not below.any():
            smallest = float(values[0])
            break
        negative = np.append(negative, values[below])
        vectors = np.hstack([vectors, columns[:, below]])
        wanted = 2 * wanted if below.all() else 1
    order = np.argsort(negative)
    negative, vectors = negative[order], vectors[:, order]
    require_stability(np.append(negative, smallest), unstable, largest=largest)
    return LowestModes(negative, vectors, smallest)


def _deflate(multiply: Product, basis: Array, elsewhere: float) -> LinearOperator:
    """P A P with an orthonormal basis projected out, and put at another eigenvalue."""

    def product(column: Array) -> Array:
        inside = basis @ (basis.T @ column)
        image = multiply(column - inside)
        return image - basis @ (basis.T @ image) + elsewhere * inside

    return operator_of(product, len(basis))


def operator_of(product: Product, size: int) -> LinearOperator:
    """Multiplication of columns as SciPy's eigensolvers take it.

    Parameters
    ----------
    product : callable
    size : int

    Returns
    -------
    LinearOperator, shape (size, size)
    """
    return LinearOperator(
        (size, size),
        matvec=lambda vector: product(np.reshape(vector, (size, 1))).ravel(),
        matmat=product,
        dtype=float,
    )


def positive_factor(matrix: Any) -> SuperLU | None:
    """Sparse factors of a symmetric matrix, or None where it is not positive definite.

    Rows and columns have one order.
    """
    try:
        factor = splu(
            csc_array(matrix),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
    except RuntimeError:  # a pivot of exactly 0
        return None
    # With pivots from the diagonal, their signs are those of the eigenvalues (Sylvester).
    symmetric = np.array_equal(factor.perm_r, factor.perm_c)
    return factor if symmetric and np.all(factor.U.diagonal() > 0) else None


def solver_beside(solve: Callable[[Array], Any], basis: Array) -> Callable[[Array], Any]:
    """Multiplication by (P B P)⁻¹ P, from that by B⁻¹; P projects out an orthonormal basis.

    Off a minimum the rotations are no eigenvectors, and leaving them out of the right-hand
    sides alone would not do.

    Parameters
    ----------
    solve : callable
        From columns, shape (3n, m), to B⁻¹ times them.
    basis : ndarray, shape (3n, k)

    Returns
    -------
    callable
    """
    if basis.shape[1] == 0:
        return solve
    response = solve(basis)
    inverse = np.linalg.inv(basis.T @ response)

    def solve_beside(columns: Array) -> Any:
        solutions = solve(columns)
        return solutions - response @ (inverse @ (basis.T @ solutions))

    return solve_beside


def _smallest(operator: LinearOperator, count: int, near: dict[str, Any]) -> tuple[Array, Array]:
    if operator.shape[0] < SMALL or count > operator.shape[0] // 4:
        values, vectors = np.linalg.eigh(operator @ np.eye(operator.shape[0]))
        return values[:count], vectors[:, :count]
    start = np.random.default_rng(0).normal(size=operator.shape[0])
    try:
        values, vectors = eigsh(
            operator,
            count,
            **near,
            v0=start,
            tol=1e-6,
            ncv=min(operator.shape[0], max(40, 4 * count)),
            maxiter=2000,
        )
    except ArpackError as error:
        raise InvalidInputError(
            "hessian: its softest modes did not converge; is a part of the structure loose?"
        ) from error
    order = np.argsort(values)
    return values[order], vectors[:, order]


@dataclass(frozen=True)
class DerivativeFactors:
    """Derivative of a spectral quantity s in its matrix A, ∂s/∂A = Σ_k w_k x_k x_kᵀ.

    Attributes
    ----------
    weights : ndarray, shape (n_factors,), unit of s per unit of A
    vectors : ndarray, shape (3n, n_factors)
        Orthonormal.
    """

    weights: Array
    vectors: Array


def truncate(inner: Array, basis: Array, tolerance: float = 1e-7) -> DerivativeFactors:
    """Eigendecomposition of basis · inner · basisᵀ without its negligible part.

    Parameters
    ----------
    inner : ndarray, shape (k, k)
    basis : ndarray, shape (3n, k)
        Orthonormal columns.
    tolerance : float
        Fraction of Σ |w_k| that may be left out.

    Returns
    -------
    DerivativeFactors
        Descending in |w_k|.
    """
    weights, vectors = np.linalg.eigh((inner + inner.T) / 2)
    order = np.argsort(-np.abs(weights))
    left = np.cumsum(np.abs(weights[order])[::-1])[::-1]
    kept = order[left > tolerance * left[0]] if len(left) else order
    return DerivativeFactors(weights[kept], basis @ vectors[:, kept])


def unit_vectors(sites: IntArray, size: int) -> Array:
    """Unit vectors of sites, shape (size, 3 n_sites)."""
    start = np.zeros((size, 3 * len(sites)))
    start[coordinates(sites), np.arange(3 * len(sites))] = 1
    return start
