"""The least-squares problem of a site model: its columns, its rows, and its solution."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms

from ase_vibent.arrays import Array
from ase_vibent.descriptors import Descriptor
from ase_vibent.descriptors.density.local_descriptor import LocalDescriptor
from ase_vibent.errors import InvalidInputError, TrainingError
from ase_vibent.model import SiteModel
from ase_vibent.quantities import ENERGY, QuantityName, SolverName, TargetName
from ase_vibent.regression.r_factor import RFactor
from ase_vibent.regression.solvers import Solution, ridge_path, solve
from ase_vibent.structures.atom_types import species_indices
from ase_vibent.training.features import FrameFeatures
from ase_vibent.training.targets import FrameTargets, ReferenceCrystals

#: How much constants that nothing tells apart are drawn together, of the rows that hold them.
WEAK = 1e-4


@dataclass(frozen=True)
class SiteProblem:
    """Which coefficients there are: constants that are fitted, then features kind by kind.

    Attributes
    ----------
    descriptor : Descriptor
    shift : ndarray, shape (n_kinds, n_features)
        Subtracted from the features: those of the perfect crystal, or their mean.
    known : mapping of str to float
        Constants that are not fitted, by kind of site.
    target : str
        What is learned.
    """

    descriptor: Descriptor
    shift: Array
    known: Mapping[str, float]
    target: TargetName = "entropy"

    @classmethod
    def of_frames(
        cls, descriptor: Descriptor, frames: Sequence[Atoms], references: ReferenceCrystals
    ) -> SiteProblem:
        """Problem of a training set, not yet centred.

        Parameters
        ----------
        descriptor : Descriptor
        frames : sequence of Atoms
        references : ReferenceCrystals

        Returns
        -------
        SiteProblem

        Raises
        ------
        TrainingError
            If no frame holds a kind of site.
        """
        n_kinds = len(descriptor.species)
        count = np.zeros(n_kinds, dtype=np.int64)
        for atoms in frames:
            count += np.bincount(species_indices(atoms, descriptor.species), minlength=n_kinds)
        for kind, number in zip(descriptor.species, count, strict=True):
            if number == 0:
                raise TrainingError(
                    f"species: no frame holds {kind}, so nothing determines its constant; leave "
                    "it out of the descriptor or add structures"
                )
        known = references.known_constants(descriptor.species)
        shift = np.zeros((n_kinds, descriptor.n_features))
        return cls(descriptor, shift, known, references.target.name)

    @property
    def free(self) -> list[int]:
        """Kinds of sites whose constants are fitted."""
        return [z for z, kind in enumerate(self.descriptor.species) if kind not in self.known]

    @property
    def n_columns(self) -> int:
        """Number of coefficients."""
        return len(self.free) + self.shift.size

    def centred(
        self, features: FrameFeatures, frames: Sequence[Atoms], references: ReferenceCrystals
    ) -> SiteProblem:
        """The same with the features of the first perfect crystal, or their mean, subtracted."""
        return replace(self, shift=_mean_features(features, frames, references))

    def rows(
        self,
        atoms: Atoms,
        target: FrameTargets,
        quantities: Collection[str],
        features: FrameFeatures | None = None,
    ) -> Iterator[tuple[QuantityName, Array, Array]]:
        """Rows of one frame.

        Parameters
        ----------
        atoms : Atoms
        target : FrameTargets
        quantities : collection of str
            Kinds of row that are wanted; those without a label are left out.
        features : FrameFeatures, optional
            What has been computed already.

        Yields
        ------
        kind : str
        matrix : ndarray, shape (n, n_columns)
        values : ndarray, shape (n,)
            Less what the known constants contribute.
        """
        features = features or FrameFeatures(self.descriptor)
        yield from self.derivative_rows(atoms, target, quantities, features)
        yield from self.value_rows(atoms, target, quantities, features)

    def derivative_rows(
        self,
        atoms: Atoms,
        target: FrameTargets,
        quantities: Collection[str],
        features: FrameFeatures,
    ) -> Iterator[tuple[QuantityName, Array, Array]]:
        """Those of `rows` that the centre of the features does not matter to."""
        for kind, matrix, values in features.derivative_rows(atoms, target, quantities):
            constants = np.zeros((len(values), len(self.free)))
            yield kind, np.hstack([constants, matrix]), values

    def value_rows(
        self,
        atoms: Atoms,
        target: FrameTargets,
        quantities: Collection[str],
        features: FrameFeatures,
    ) -> Iterator[tuple[QuantityName, Array, Array]]:
        """Those of `rows` that are sums over sites, or sites."""
        constants = np.array([self.known.get(kind, 0.0) for kind in self.descriptor.species])
        membership = np.eye(len(constants))[species_indices(atoms, self.descriptor.species)]
        centred = features.values(atoms) - membership @ self.shift
        per_site = (membership[:, :, None] * centred[:, None, :]).reshape(len(atoms), -1)
        if "total" in quantities and target.total is not None:
            counts = membership.sum(axis=0)[None]
            matrix = np.hstack([counts[:, self.free], per_site.sum(axis=0)[None]])
            yield "total", matrix, np.array([target.total]) - counts @ constants
        if "sites" in quantities and target.sites is not None:
            matrix = np.hstack([membership[:, self.free], per_site])
            yield "sites", matrix, target.sites - membership @ constants

    def fit(self, rows: RFactor, solver: SolverName, options: Mapping[str, Any]) -> LinearFit:
        """Solve for all coefficients.

        Where the compositions do not tell the constants of an energy apart, as those of one
        compound, they differ no more than the data demand from the mean energy of an atom.

        Parameters
        ----------
        rows : RFactor
            All rows, weighted.
        solver : {"ridge", "bayesian-ridge", "ard", "rrqr"}
        options : mapping
            Of the solver, and "smoothness".

        Returns
        -------
        LinearFit

        Raises
        ------
        TrainingError
            If nothing determines a constant, or no feature varies.
        """
        determined, scale, divisor, options = self._scaled(rows, options)
        solution = solve(determined, solver, n_free=len(self.free), scale=divisor, **options)
        return LinearFit(self, solution, scale.reshape(self.shift.shape), rows.n_rows)

    def path(self, rows: RFactor, strengths: Array, options: Mapping[str, Any]) -> Array:
        """Coefficients of ridge regression at many strengths.

        Parameters
        ----------
        rows : RFactor
            All rows, weighted.
        strengths : ndarray, shape (n,)
        options : mapping
            As of `fit`.

        Returns
        -------
        ndarray, shape (n_columns, n)
        """
        n_free = len(self.free)
        rows, _, divisor, _ = self._scaled(rows, options)
        others = ridge_path(rows.eliminate(n_free).scale(1 / divisor), strengths)
        others /= divisor[:, None]
        first = [rows.first_coefficients(n_free, column) for column in others.T]
        return np.vstack([np.transpose(first), others])

    def _scaled(
        self, rows: RFactor, options: Mapping[str, Any]
    ) -> tuple[RFactor, Array, Array, dict[str, Any]]:
        """Rows that determine all constants, what columns are, and what they are divided by.

        And the solver's own options.
        """
        rows = self._with_determined_constants(rows)
        scale = rows.eliminate(len(self.free)).column_rms()
        # What centring leaves of equal features is rounding.
        noise = 1e-12 * np.abs(self.shift).max(initial=0.0)
        dead = scale <= max(noise, 1e-12 * scale.max(initial=0.0))
        if dead.all():
            raise TrainingError(
                "frames: all features equal the perfect crystal's; add rattled or defective "
                "structures"
            )
        roughness, options = _roughness(self.descriptor, options)
        scale[dead] = 0.0
        return rows, scale, np.where(dead, np.inf, scale * roughness), options

    def _with_determined_constants(self, rows: RFactor) -> RFactor:
        """Rows that determine all constants; TrainingError if there are none."""
        n_free = len(self.free)
        counts = rows.matrix[:, :n_free]
        rank = np.linalg.matrix_rank(counts) if n_free else 0
        if rank == n_free:
            return rows
        if rank == 0 or self.target != ENERGY.name:
            names = ", ".join(self.descriptor.species[z] for z in self.free)
            raise TrainingError(
                f"species: nothing determines the constants of {names} ({rank} of {n_free} are "
                "independent); add value labels of structures with other compositions, or a "
                "perfect crystal labelled with a name"
            )
        atoms = counts.sum(axis=1)
        mean = atoms @ rows.values / (atoms @ atoms)
        weight = WEAK * np.linalg.norm(counts, 2)
        drawn = RFactor(rows.n_columns)
        drawn.add(weight * np.eye(n_free, rows.n_columns), np.full(n_free, weight * mean))
        return RFactor.stack([rows, drawn])


@dataclass(frozen=True)
class LinearFit:
    """Solution of a problem.

    Attributes
    ----------
    problem : SiteProblem
    solution : Solution
    scale : ndarray, shape (n_kinds, n_features)
        Root mean square of every column; zero where a feature does not vary.
    n_rows : int
        Fitted.
    """

    problem: SiteProblem
    solution: Solution
    scale: Array
    n_rows: int

    def model(self) -> SiteModel:
        """The linear site model."""
        problem = self.problem
        species, free = problem.descriptor.species, problem.free
        constants = np.array([problem.known.get(kind, 0.0) for kind in species])
        constants[free] = self.solution.coefficients[: len(free)]
        weights = self.solution.coefficients[len(free) :].reshape(problem.shift.shape)
        return SiteModel(
            problem.descriptor, constants, weights, problem.shift, self.scale, problem.target
        )


def _mean_features(
    features: FrameFeatures, frames: Sequence[Atoms], references: ReferenceCrystals
) -> Array:
    """Mean features per kind of site, of the first perfect crystal where it has the kind."""
    descriptor = features.descriptor
    shape = (len(descriptor.species), descriptor.n_features)
    crystals = list(references.crystals.values())[:1]
    mean, missing = np.zeros(shape), np.ones(shape[0], dtype=bool)
    for group in (crystals, frames):
        sums, numbers = np.zeros(shape), np.zeros(shape[0])
        if missing.any():
            for atoms in group:
                kinds = species_indices(atoms, descriptor.species)
                np.add.at(sums, kinds, features.values(atoms))
                numbers += np.bincount(kinds, minlength=shape[0])
        found = missing & (numbers > 0)
        mean[found] = sums[found] / numbers[found, None]
        missing &= ~found
    return mean


def _roughness(descriptor: Descriptor, options: Mapping[str, Any]) -> tuple[Array, dict[str, Any]]:
    """What coefficients are penalised by, column by column, and the solver's own options."""
    options = dict(options)
    power = options.pop("smoothness", 0)
    n_kinds = len(descriptor.species)
    if not power:
        return np.ones(n_kinds * descriptor.n_features), options
    if not isinstance(descriptor, LocalDescriptor):
        raise InvalidInputError(
            f"smoothness: expected a descriptor of channels, got {type(descriptor).__name__}"
        )
    return np.tile(descriptor.roughness(power), n_kinds), options
