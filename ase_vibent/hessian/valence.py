"""Valence force field: a local model of Hessians, fitted to some and cheap for all others.

Every bond and every angle, as the triangle of its three distances, adds its second derivatives,
∂r ∂r'ᵀ and across the distances, times smooth functions of the distances. Rotations,
permutations and rigid shifts of a structure are exact; coefficients are linear.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

import numpy as np
from ase import Atoms
from numpy.polynomial.chebyshev import chebvander
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array, vstack

from ase_vibent.arrays import Array, coordinates
from ase_vibent.errors import InvalidInputError, UnknownSpeciesError
from ase_vibent.harmonic.rigid_motions import free_motions, orthonormal_motions
from ase_vibent.hessian.approximate import log_determinant, pairs_within
from ase_vibent.hessian.compute import compute_hessian
from ase_vibent.hessian.matrices import as_dense
from ase_vibent.hessian.options import HessianOptions
from ase_vibent.potentials import resolve_calculator
from ase_vibent.regression.r_factor import RFactor
from ase_vibent.regression.solvers import solve
from ase_vibent.structures.atom_types import bond_length, species_indices
from ase_vibent.structures.validity import free_atoms

#: Range, in bond lengths.
REACH = 1.7
#: Radial functions of bonds, and of each arm of an angle: one where there are several species.
OF_BONDS, OF_ARMS = 6, 2
#: Powers of the cosine.
OF_ANGLES = 4
#: Random directions that stand for all in a fit.
PROBES = 32
#: Errors count relative to the stiffness in their direction and this share of the mean.
SOFTENING = 0.03


class Term(NamedTuple):
    """Hessians Lᵀ diag(w) R + Rᵀ diag(w) L, one for every row w of the weights."""

    left: csr_array
    right: csr_array
    weights: Array


@dataclass(frozen=True)
class ValenceForceField:
    """Hessians of structures of some species without a force call.

    Attributes
    ----------
    species : tuple of str
    cutoff : float, Å
    coefficients : ndarray, shape (n_functions,), eV/Å²
    """

    species: tuple[str, ...]
    cutoff: float
    coefficients: Array = field(repr=False)

    @staticmethod
    def n_functions(n_species: int) -> int:
        """Number of coefficients."""
        n_arms = OF_ARMS * (OF_ARMS + 1) // 2 if n_species == 1 else 1
        return n_species**2 * 2 * OF_BONDS + n_species**3 * 6 * OF_ANGLES * n_arms

    @classmethod
    def fit(
        cls,
        structures: Sequence[Atoms],
        calculator: object,
        *,
        cutoff: float | None = None,
        options: HessianOptions = HessianOptions(),
    ) -> ValenceForceField:
        """Fit to exact Hessians, so that soft modes count as much as stiff ones.

        Parameters
        ----------
        structures : sequence of Atoms
            Such as those whose Hessians are wanted; a few are enough.
        calculator : ASE calculator or factory
            6 N force calls a structure, if it has no Hessian of its own.
        cutoff : float, Å, optional
            By default 1.7 bond lengths.
        options : HessianOptions

        Returns
        -------
        ValenceForceField

        Raises
        ------
        InvalidInputError
            If there are no structures.
        """
        shared = resolve_calculator(calculator)
        hessians = (
            as_dense(compute_hessian(atoms, shared, options=options)) for atoms in structures
        )
        return cls.of_hessians(structures, hessians, cutoff=cutoff)

    @classmethod
    def of_hessians(
        cls, structures: Sequence[Atoms], hessians: Iterable[Array], *, cutoff: float | None = None
    ) -> ValenceForceField:
        """Fit to Hessians that are known.

        Parameters
        ----------
        structures : sequence of Atoms
        hessians : iterable of ndarray, shape (3n, 3n), eV/Å²
            Of their free atoms.
        cutoff : float, Å, optional
            As of `fit`.

        Returns
        -------
        ValenceForceField

        Raises
        ------
        InvalidInputError
            If there are no structures.
        """
        if not structures:
            raise InvalidInputError("structures: expected one at least, got none")
        species = tuple(sorted({symbol for atoms in structures for symbol in atoms.symbols}))
        reach = REACH * bond_length(species) if cutoff is None else cutoff
        blank = cls(species, reach, np.zeros(0))
        pairs = zip(structures, hessians, strict=True)
        rows = RFactor.from_blocks(blank._equations(atoms, own) for atoms, own in pairs)
        scale = rows.column_rms()
        scale[scale <= 1e-10 * scale.max()] = np.inf  # of neighbours that there are none of
        return cls(species, reach, solve(rows, scale=scale).coefficients)

    def hessian(self, atoms: Atoms) -> csc_array:
        """The model's Hessian of the free atoms.

        Parameters
        ----------
        atoms : Atoms

        Returns
        -------
        csc_array, shape (3n, 3n), eV/Å²

        Raises
        ------
        UnknownSpeciesError
            If a species was not in the fit.
        """
        size = 3 * len(free_atoms(atoms))
        whole, first = csr_array((size, size)), 0
        for left, right, weights in self._terms(atoms):
            own = self.coefficients[first : first + len(weights)] @ weights
            half = left.T @ (right * own[:, None]).tocsr()
            whole, first = whole + half + half.T, first + len(weights)
        return csc_array(whole)

    def log_determinant(self, atoms: Atoms, softest: int = 0) -> float:
        """Σ ln |λ| of the model's modes, rigid motions and so many softest left out.

        Parameters
        ----------
        atoms : Atoms
        softest : int

        Returns
        -------
        float
            λ in eV/Å².
        """
        free = free_atoms(atoms)
        known = orthonormal_motions(free_motions(atoms, free, mass_weighted=False))
        return log_determinant(self.hessian(atoms), known, softest)

    def _equations(self, atoms: Atoms, hessian: Array) -> tuple[Array, Array]:
        """Rows of the fit: M H M of random directions, where M² is about the inverse of H."""
        values, vectors = np.linalg.eigh(hessian)
        stiffness = np.abs(values) + SOFTENING * np.abs(values).mean()
        root = (vectors / np.sqrt(stiffness)) @ vectors.T
        probes = np.random.default_rng(0).normal(size=(len(root), PROBES))
        probes = root @ probes
        columns = []
        for left, right, weights in self._terms(atoms):
            across, along = left @ probes, right @ probes
            for own in weights[:, :, None]:
                columns.append(left.T @ (own * along) + right.T @ (own * across))
        design = root @ np.hstack(columns)
        # (3n, functions, probes), with rows of one function side by side.
        design = design.reshape(len(root), len(columns), PROBES).transpose(0, 2, 1)
        return design.reshape(-1, len(columns)), (root @ (hessian @ probes)).ravel()

    def _terms(self, atoms: Atoms) -> Iterator[Term]:
        """All terms, always as many and in the same order."""
        unknown = sorted(set(atoms.symbols) - set(self.species))
        if unknown:
            raise UnknownSpeciesError(
                f"atoms: expected {', '.join(self.species)}, to which the force field was fitted, "
                f"got {', '.join(unknown)}"
            )
        i, j, vectors = pairs_within(atoms, self.cutoff)
        kinds = np.array(species_indices(atoms, self.species))
        distances = np.linalg.norm(vectors, axis=1)
        rows = _Rows(len(atoms), coordinates(free_atoms(atoms)))
        bonds, steps = rows.stretches(i, j, vectors), rows.steps(i, j)
        radial = self._radial(distances, OF_BONDS)
        ends = np.sort([kinds[i], kinds[j]], axis=0)
        weights = _apart(radial, ends, len(self.species))
        yield Term(bonds, bonds, weights)
        yield Term(steps, steps, np.repeat(weights, 3, axis=1))
        yield from self._angles(rows, kinds, i, j, vectors, bonds, steps)

    def _angles(
        self,
        rows: _Rows,
        kinds: NDArray[np.intp],
        i: NDArray[np.intp],
        j: NDArray[np.intp],
        vectors: Array,
        bonds: csr_array,
        steps: csr_array,
    ) -> Iterator[Term]:
        """Terms of two bonds of one atom, and of the distance between their ends."""
        corners = np.split(np.arange(len(i)), np.searchsorted(i, np.arange(1, rows.n_atoms)))
        found = [pair for corner in corners for pair in combinations(corner, 2)]
        u, v = np.array(found, dtype=np.intp).reshape(-1, 2).T
        distances = np.linalg.norm(vectors, axis=1)
        cosines = np.sum(vectors[u] * vectors[v], axis=1) / (distances[u] * distances[v])
        radial = self._radial(distances, OF_ARMS if len(self.species) == 1 else 1)
        arms = [
            (radial[a, u] * radial[b, v] + radial[b, u] * radial[a, v]) / 2
            for a in range(len(radial))
            for b in range(a, len(radial))
        ]
        functions = np.array([arm * cosines**k for arm in arms for k in range(OF_ANGLES)])
        ends = np.sort([kinds[j[u]], kinds[j[v]]], axis=0)
        weights = _apart(functions, np.vstack([kinds[i[u]], ends]), len(self.species))
        twice, thrice = np.tile(weights, 2), np.repeat(weights, 3, axis=1)
        one, other = bonds[u], bonds[v]
        third = rows.stretches(j[u], j[v], vectors[v] - vectors[u])
        both = vstack([one, other], format="csr")
        across = vstack([steps[coordinates(u)], steps[coordinates(v)]], format="csr")
        opposite = rows.steps(j[u], j[v])
        yield Term(third, third, weights)
        yield Term(one, other, weights)
        yield Term(csr_array(one + other), third, weights)
        yield Term(both, both, twice)
        yield Term(across, across, np.tile(thrice, 2))
        yield Term(opposite, opposite, thrice)

    def _radial(self, distances: Array, count: int) -> Array:
        """Functions that vanish smoothly at the cutoff, shape (count, n)."""
        x = np.clip(distances / self.cutoff, 0.5, 1)
        decay = np.clip(1 - distances / self.cutoff, 0, None) ** 2
        return (decay[:, None] * chebvander(4 * x - 3, count - 1)).T


@dataclass(frozen=True)
class _Rows:
    """Sparse rows over displacements of the free atoms; `columns` are theirs."""

    n_atoms: int
    columns: NDArray[np.intp]

    def stretches(self, i: NDArray[np.intp], j: NDArray[np.intp], vectors: Array) -> csr_array:
        """Derivatives of distances from i to j, shape (n, 3n_free)."""
        units = vectors / np.linalg.norm(vectors, axis=1)[:, None]
        rows = np.repeat(np.arange(len(i)), 6)
        columns = np.hstack([3 * i[:, None] + np.arange(3), 3 * j[:, None] + np.arange(3)])
        return self._free(np.hstack([-units, units]).ravel(), rows, columns.ravel(), len(i))

    def steps(self, i: NDArray[np.intp], j: NDArray[np.intp]) -> csr_array:
        """Components of displacements of j less those of i, shape (3n, 3n_free)."""
        size = 3 * len(i)
        rows = np.repeat(np.arange(size), 2)
        columns = np.stack([coordinates(i), coordinates(j)], axis=1)
        return self._free(np.tile([-1.0, 1.0], size), rows, columns.ravel(), size)

    def _free(
        self, values: Array, rows: NDArray[np.intp], columns: NDArray[np.intp], size: int
    ) -> csr_array:
        whole = csr_array((values, (rows, columns)), shape=(size, 3 * self.n_atoms))
        return csr_array(whole[:, self.columns])


def _apart(functions: Array, kinds: NDArray[np.intp], n_species: int) -> Array:
    """Functions for every combination of species apart, shape (n_combinations · m, n)."""
    number = np.ravel_multi_index(tuple(kinds), (n_species,) * len(kinds))
    own = number == np.arange(n_species ** len(kinds))[:, None]
    return np.asarray((own[:, None] * functions).reshape(-1, functions.shape[1]))
