"""Rows of a training set, reduced to R factors by fold and kind of row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from ase_vibent.arrays import Array
from ase_vibent.descriptors import Descriptor, features_within
from ase_vibent.errors import TrainingError
from ase_vibent.quantities import QuantityName
from ase_vibent.regression.r_factor import RFactor
from ase_vibent.training.features import FrameFeatures
from ase_vibent.training.problem import SiteProblem
from ase_vibent.training.targets import FrameTargets
from ase_vibent.training.training_set import TrainingSet, shuffled_configurations

Progress = Callable[[Iterable[Any]], Iterable[Any]]

#: Fold of perfect crystals, which is never left out.
ALWAYS = -1
#: Folds of cross-validation.
FOLDS = 5
#: Order in which the rows of a frame count, where rounding shows it.
ORDER: tuple[QuantityName, ...] = (
    "gradient",
    "strain",
    "total",
    "sites",
    "site_gradients",
    "force_constants",
)
#: Totals that are kept as they are, to see how well they are predicted when left out.
MOST_TOTALS = 2000


class Total(NamedTuple):
    """The total of one frame.

    Attributes
    ----------
    fold : int
    row : ndarray, shape (n_columns,)
    value : float, k_B or eV
    """

    fold: int
    row: Array
    value: float


class TrainingRows:
    """All rows of a training set.

    [Torabi2024] (4.3), (4.4), in memory that does not grow with their number.

    Parameters
    ----------
    problem : SiteProblem
    quantities : sequence of str
        Kinds of row to fit.

    Attributes
    ----------
    r_factors : dict of int to dict of str to RFactor
        By fold and kind of row, weighted by frames but not by kind.
    squared_weights : dict of (int, str) to float
        Sums of the squared weights of the frames, row by row.
    totals : list of Total
        Of the frames that have one, whether totals are fitted or not.
    """

    def __init__(self, problem: SiteProblem, quantities: Sequence[QuantityName]):
        self.problem, self.quantities = problem, tuple(quantities)
        self.r_factors: dict[int, dict[str, RFactor]] = defaultdict(dict)
        self.squared_weights: defaultdict[tuple[int, str], float] = defaultdict(float)
        self.totals: list[Total] = []

    def expect(self, target: FrameTargets, fold: int) -> None:
        """Make room for the rows of a frame: R factors are merged in the order of frames."""
        for kind in ORDER:
            if kind in self.quantities and getattr(target, kind) is not None:
                self.r_factors[fold].setdefault(kind, RFactor(self.problem.n_columns))

    def add(
        self, rows: Iterable[tuple[QuantityName, Array, Array]], fold: int, weight: float
    ) -> None:
        """Add rows of a frame.

        Parameters
        ----------
        rows : iterable of (kind, matrix, values)
            Of `SiteProblem.rows`.
        fold : int
        weight : float
            Of the frame.
        """
        for kind, matrix, values in rows:
            if kind == "total" and len(self.totals) < MOST_TOTALS:
                self.totals.append(Total(fold, matrix[0], values[0]))
            if kind in self.quantities:
                self.r_factors[fold][kind].add(weight * matrix, weight * values)
                self.squared_weights[fold, kind] += weight**2 * len(values)

    @property
    def folds(self) -> list[int]:
        """Folds that can be left out."""
        return sorted(set(self.r_factors) - {ALWAYS})

    def restrict(self, descriptor: Descriptor) -> TrainingRows:
        """Rows of a descriptor that is a part of the present one.

        Parameters
        ----------
        descriptor : Descriptor
            The present one or a part of it, see `LocalDescriptor.features_within`.

        Returns
        -------
        TrainingRows
        """
        own = self.problem.descriptor
        if descriptor == own:
            return self
        features = features_within(own, descriptor)
        if features is None:
            raise ValueError(f"descriptor: {descriptor} is no part of {own}")
        problem = replace(
            self.problem, descriptor=descriptor, shift=self.problem.shift[:, features]
        )
        n_free, n_kinds = len(problem.free), len(problem.shift)
        chosen = np.flatnonzero(np.append(np.ones(n_free, bool), np.tile(features, n_kinds)))
        rows = TrainingRows(problem, self.quantities)
        for fold, kinds in self.r_factors.items():
            rows.r_factors[fold] = {kind: t.columns(chosen) for kind, t in kinds.items()}
        rows.squared_weights = self.squared_weights
        rows.totals = [total._replace(row=total.row[chosen]) for total in self.totals]
        return rows

    def merge(
        self, weights: Mapping[str, float], *, folds: Collection[int] | None = None
    ) -> RFactor:
        """All rows, each times the weight of its kind.

        Parameters
        ----------
        weights : mapping of str to float
            Kinds of weight zero are left out.
        folds : collection of int, optional
            By default all.

        Returns
        -------
        RFactor

        Raises
        ------
        TrainingError
            If no row is left.
        """
        kept = [
            r_factor.weight(weights[kind])
            for fold, kinds in self.r_factors.items()
            for kind, r_factor in kinds.items()
            if (folds is None or fold in folds) and weights[kind] > 0
        ]
        if not kept:
            raise TrainingError(
                f"frames: there is no row to fit for {', '.join(self.quantities)}; rows of weight "
                "zero are left out"
            )
        return RFactor.stack(kept)


def gather_rows(
    features: FrameFeatures,
    training_set: TrainingSet,
    *,
    folds: Sequence[int] | None = None,
    progress: Progress = lambda items: items,
) -> TrainingRows:
    """Rows of all frames, in one pass over their features.

    Parameters
    ----------
    features : FrameFeatures
    training_set : TrainingSet
    folds : sequence of int, optional
        Of the frames; by default `split_folds`.
    progress : callable (items) -> items
        Progress bar around the frames.

    Returns
    -------
    TrainingRows
    """
    frames, references = training_set.frames, training_set.references
    problem = SiteProblem.of_frames(features.descriptor, frames, references)
    rows = TrainingRows(problem, training_set.quantities)
    wanted = {*rows.quantities, "total"}
    numbers = split_folds(frames) if folds is None else folds
    parts = list(zip(frames, training_set.targets, numbers, strict=True))
    for _, target, fold in parts:
        rows.expect(target, fold)
    # The centre may be the mean of all features; rows of derivatives do without, and are many.
    for atoms, target, fold in progress(parts):
        derivatives = problem.derivative_rows(atoms, target, wanted, features)
        rows.add(derivatives, fold, target.weight)
        features.values(atoms)
    rows.problem = problem = problem.centred(features, frames, references)
    for atoms, target, fold in parts:
        values = problem.value_rows(atoms, target, wanted, features)
        rows.add(values, fold, target.weight)
    return rows


def split_folds(frames: Sequence[Atoms], n_folds: int | None = FOLDS, seed: int = 0) -> list[int]:
    """Fold of every frame, whole configurations at a time, [Torabi2026] 5.2.

    Parameters
    ----------
    frames : sequence of Atoms
    n_folds : int, optional
        Fewer if there are fewer configurations; None is one for each of them.
    seed : int

    Returns
    -------
    list of int
        `ALWAYS` for perfect crystals.
    """
    folds = [ALWAYS] * len(frames)
    chosen = shuffled_configurations(frames, seed)
    for place, number in enumerate(chosen):
        folds[number] = place % (n_folds or len(chosen))
    return folds
