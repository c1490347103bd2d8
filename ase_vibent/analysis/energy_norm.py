"""The norm ‖Du‖ of displacements in which errors of relaxed structures are measured.

[Ortner2022] (2.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigvalsh
from scipy.sparse import csc_array, issparse, kron
from scipy.sparse.csgraph import connected_components, laplacian
from scipy.sparse.linalg import LinearOperator, eigsh, splu

from ase_vibent.arrays import Array
from ase_vibent.checks import check_positive
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.structures.validity import check_structure

#: Pencils of more unknowns are not diagonalised as a whole.
DENSE = 800


class EnergyNorm:
    """‖Du‖² = Σ_ℓ Σ_ρ |u(ℓ+ρ) - u(ℓ)|² over all nearest neighbours ℓ+ρ of all atoms ℓ.

    [Ortner2022] (2.1).

    Every pair counts twice. The norm does not see translations. As a quadratic form it is uᵀKu, K
    twice the Laplacian of the graph of neighbours.

    Parameters
    ----------
    atoms : Atoms
        Reference of the displacements.
    reach : float, Å
        Greatest distance of nearest neighbours.
    components : sequence of int
        Cartesian components that count: (0, 1) for a sheet that is displaced in its plane only.

    Raises
    ------
    InvalidStructureError
        If atoms are their own neighbours, or not all are connected.
    InvalidInputError
    """

    def __init__(self, atoms: Atoms, reach: float, components: Sequence[int] = (0, 1, 2)):
        import vesin

        check_structure(atoms)
        check_positive("reach", reach)
        if not components or not {0, 1, 2}.issuperset(components):
            raise InvalidInputError(f"components: expected some of 0, 1, 2, got {components!r}")
        self.components = sorted(set(components))
        self.n_atoms = len(atoms)
        i, j = vesin.NeighborList(cutoff=reach, full_list=True).compute(
            points=atoms.positions,
            box=atoms.cell.complete().array,
            periodic=np.asarray(atoms.pbc),
            quantities="ij",
        )
        if np.any(i == j):
            raise InvalidStructureError(
                f"atoms: the cell is narrower than the neighbour distance of {reach:.3g} Å: atoms "
                "neighbour themselves, and the norm is not defined; use a larger cell"
            )
        pairs = csc_array((np.ones(len(i)), (i, j)), shape=(len(atoms), len(atoms)))
        n_parts = connected_components(pairs, return_labels=False)
        if n_parts > 1:
            raise InvalidStructureError(
                f"atoms: {n_parts} parts are not connected by neighbours within {reach:.3g} Å, so "
                "that the norm does not see them move apart; raise reach"
            )
        self._scalar = csc_array(2 * laplacian(pairs))
        # Translations leave the form, and all that it is compared with, unchanged: without the
        # last atom, it is definite.
        self._factor = splu(csc_array(self._scalar[:-1, :-1])) if len(atoms) > 1 else None

    @property
    def stiffness(self) -> Any:
        """K in the order x1 y1 z1 x2 …, sparse, shape (n, n) with n components of all atoms."""
        return csc_array(kron(self._scalar, np.eye(len(self.components))))

    def __call__(self, displacements: ArrayLike) -> float:
        """‖Du‖ in Å of displacements of shape (N, 3), Å."""
        u = self._check("displacements", displacements)
        # Differences first: of what moves as a whole, nothing is left to cancel.
        u = u - u.mean(axis=0)
        return float(np.sqrt(max(np.vdot(u, self._scalar @ u), 0.0)))

    def dual(self, forces: ArrayLike) -> float:
        """Largest work f·u of forces (N, 3), eV/Å, on any u of ‖Du‖ = 1 Å, in eV/Å: √(fᵀK⁺f).

        A force on the whole works on translations, which the norm does not see: it is left out.
        """
        f = self._check("forces", forces)
        f = f - f.mean(axis=0)
        if self._factor is None:
            return 0.0
        return float(np.sqrt(max(np.vdot(f[:-1], self._factor.solve(f[:-1])), 0.0)))

    def extremes(self, matrix: Any) -> tuple[float, float]:
        """Smallest and largest ⟨Mu, u⟩ / ‖Du‖² of a symmetric matrix that sees no translation.

        Parameters
        ----------
        matrix : ndarray or sparse, shape (3N, 3N), eV/Å²
            Such as a Hessian, whose smallest value is its stability constant, [Ortner2022] (6.10).

        Returns
        -------
        tuple of float, eV/Å²
        """
        kept = self._rows()
        block = matrix.tocsr()[kept][:, kept] if issparse(matrix) else matrix[np.ix_(kept, kept)]
        n = len(self.components)
        size = len(kept)
        if size == 0:
            return 0.0, 0.0
        stiffness = self.stiffness[:-n, :-n]
        if size <= DENSE:
            dense = block.toarray() if issparse(block) else block
            values = eigvalsh(dense, stiffness.toarray())
            return float(values[0]), float(values[-1])
        assert self._factor is not None
        factor = self._factor
        inverse = LinearOperator(
            (size, size),
            matvec=lambda x: factor.solve(np.ascontiguousarray(x.reshape(-1, n))).ravel(),
            dtype=float,
        )
        # A fixed start: ARPACK's own is random.
        start = np.random.default_rng(0).normal(size=size)
        options = {"k": 1, "M": stiffness, "Minv": inverse, "v0": start, "tol": 1e-6}
        low, high = (
            eigsh(block, which=end, return_eigenvectors=False, **options)[0] for end in ("SA", "LA")
        )
        return float(low), float(high)

    def operator(self, matrix: Any) -> float:
        """Norm of a symmetric matrix (3N, 3N), eV/Å², from displacements to forces.

        [Ortner2022] (3.5).
        """
        low, high = self.extremes(matrix)
        return max(abs(low), abs(high))

    def _rows(self) -> NDArray[np.intp]:
        """Rows of a Hessian that count, without the last atom's."""
        first = 3 * np.arange(self.n_atoms - 1)[:, None]
        return (first + np.array(self.components)).ravel()

    def _check(self, name: str, values: ArrayLike) -> Array:
        array = np.asarray(values, dtype=float)
        if array.shape != (self.n_atoms, 3):
            raise InvalidInputError(
                f"{name}: expected shape ({self.n_atoms}, 3), got {array.shape}"
            )
        return array[:, self.components]
