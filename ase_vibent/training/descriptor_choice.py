"""The descriptor that suits the data, found by leaving some out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from ase_vibent.descriptors import ACE, Descriptor, Joined, PairFunctions
from ase_vibent.errors import InvalidInputError
from ase_vibent.quantities import DEFAULT_WEIGHTS
from ase_vibent.training.features import DERIVATIVES
from ase_vibent.training.rows import Progress
from ase_vibent.training.training_set import TrainingSet, shuffled_configurations
from ase_vibent.training.tuning import Trial, nested_trials

#: Cutoff in nearest-neighbour distances: 5 Å for silicon, 5.3 Å for iron.
CUTOFF = 2.13
#: Radial functions reach this much below the shortest distance of the data.
MARGIN = 0.95
#: Weight of the angular in the total degree where nothing is tried: at equal size more accurate
#: than 1.0 or 1.5 ([Torabi2024]).
L_WEIGHT = 0.75
#: Neighbours that are tried one after another, as long as they are better.
L_WEIGHTS = (0.5, 0.75, 1.0, 1.5)
CUTOFF_FACTORS = (0.85, 1.0, 1.2, 1.4)
#: Pair functions that are tried beside ACE: distance of the knots in nearest-neighbour distances,
#: and degree between them.
PAIRS = ((0.08, 3), (0.04, 3), (0.02, 1))
#: Correlation orders that are tried.
ORDERS = (2, 3)
#: Degrees that are considered; how many rows every coefficient should have, and how many times as
#: many coefficients are tried.
DEGREES = tuple(np.arange(3, 24, 0.5).tolist())
ROWS_PER_COEFFICIENT, CROWDED = 4, (4, 2)
#: Coefficients of a model, at most and at least.
MOST_COEFFICIENTS, FEWEST_COEFFICIENTS = 600, 60
#: What shapes are tried with, so that it takes seconds: coefficients, configurations, and rows of
#: derivatives; sizes, with more of these.
TRIED_COEFFICIENTS, TRIED_CONFIGURATIONS, TRIED_ROWS, SIZE_ROWS = 150, 300, 5000, 12_000
#: Configurations below which nothing is tried by leaving some out.
FEWEST_CONFIGURATIONS = 10
#: What another shape must gain, and more coefficients than rows allow, as the logarithm of errors:
#: less is chance with some fifty cells, and what is chosen is then worse than what suits most data.
#: Pair functions, which cost time and are unknown to engines that read ACE, must gain more.
GAIN, GAIN_OF_PAIRS = 0.1, 0.3


@dataclass(frozen=True)
class Choice:
    """A descriptor, and what it was chosen from.

    Attributes
    ----------
    descriptor : Descriptor
    trials : list of Trial
        On a part of the data: shapes at one size, then sizes; empty if nothing was tried.
    """

    descriptor: Descriptor
    trials: list[Trial]


@dataclass(frozen=True)
class Shape:
    """What is chosen of a descriptor; its size is another matter.

    Attributes
    ----------
    order : int
        Correlation order.
    l_weight : float
    cutoff_factor : float
        Of the cutoff that suits the nearest neighbours.
    pairs : tuple of (float, int), optional
        Spacing in nearest-neighbour distances, and degree.
    """

    order: int = 3
    l_weight: float = L_WEIGHT
    cutoff_factor: float = 1.0
    pairs: tuple[float, int] | None = None


def suited_ace(training_set: TrainingSet, **chosen: Any) -> ACE:
    """ACE of third order whose distances suit the nearest neighbours, with nothing tried.

    Parameters
    ----------
    training_set : TrainingSet
    **chosen
        Parameters of `ACE` that the user has chosen; degree among them, or the lowest is taken.

    Returns
    -------
    ACE
    """
    frames = training_set.frames
    crystals = list(training_set.references.crystals.values())
    typical = float(np.median(_nearest_distances(crystals or frames)))
    shortest = float(_nearest_distances(frames).min())
    parameters: dict[str, Any] = {
        "species": training_set.kinds,
        "cutoff": round(CUTOFF * typical, 2),
        "order": 3,
        "degree": DEGREES[0],
        "r0": round(typical, 3),
        "inner": round(MARGIN * shortest, 3),
    }
    return ACE(**{**parameters, **chosen})


def choose_descriptor(
    training_set: TrainingSet, *, progress: Progress = lambda items: items, **chosen: Any
) -> Choice:
    """Descriptor that predicts left-out configurations best, of a small family.

    ACE of second or third order, with or without `PairFunctions` beside it. Order, angular
    resolution (`l_weight`), cutoff, pair functions and size are chosen one after another by
    cross-validation on a part of the data, in a dozen of small fits. What the user has chosen
    stays; with an order of the user's there is ACE alone, and with a degree nothing is tried.

    Parameters
    ----------
    training_set : TrainingSet
    progress : callable (items) -> items
        Progress bar around the trials.
    **chosen
        Parameters of `ACE` that the user has chosen.

    Returns
    -------
    Choice
    """
    if "degree" in chosen:
        return Choice(suited_ace(training_set, **chosen), [])
    family = _Family(training_set, chosen)
    if len(shuffled_configurations(training_set.frames, 0)) < FEWEST_CONFIGURATIONS:
        return Choice(family.descriptor(Shape(), family.limit), [])
    search = _Search(family, training_set)
    for _ in progress(search.steps(chosen)):
        pass
    return Choice(search.chosen, search.trials)


class _Family:
    """Descriptors by shape and size."""

    def __init__(self, training_set: TrainingSet, chosen: dict[str, Any]):
        self.base = suited_ace(training_set, **chosen)
        self._chosen = chosen
        n_rows = training_set.n_rows / ROWS_PER_COEFFICIENT
        self._made: dict[ACE, ACE] = {}
        self.limit = float(np.clip(n_rows, FEWEST_COEFFICIENTS, MOST_COEFFICIENTS))

    def descriptor(self, shape: Shape, size: float) -> Descriptor:
        """Descriptor of a shape with at most so many coefficients of ACE."""
        n_kinds = len(self.base.species)
        free: dict[str, Any] = {
            "order": shape.order,
            "l_weight": shape.l_weight,
            "cutoff": round(shape.cutoff_factor * self.base.cutoff, 2),
        }
        own = replace(self.base, **{k: v for k, v in free.items() if k not in self._chosen})
        pairs = None
        if shape.pairs is not None:
            spacing, degree = shape.pairs
            pairs = PairFunctions(
                own.species,
                cutoff=own.cutoff,
                spacing=round(spacing * float(own.r0 or 0), 4),
                degree=degree,
                inner=own.inner,
                neighbours=own.neighbours,
            )
        for degree in DEGREES:
            try:
                larger = replace(own, degree=degree)
                larger = self._made.setdefault(larger, larger)  # with its tables
            except InvalidInputError:  # too large to be made
                break
            if larger.n_features * n_kinds > max(size, FEWEST_COEFFICIENTS):
                break
            own = larger
        return own if pairs is None else Joined([pairs, own])


class _Search:
    """One property after another, as long as errors fall."""

    def __init__(self, family: _Family, training_set: TrainingSet):
        self._family, self._whole = family, training_set
        self._data = _part(training_set, TRIED_ROWS)
        self._scores: dict[Shape, float] = {}
        self.trials: list[Trial] = []
        self.best = Shape()
        self.chosen = family.descriptor(self.best, family.limit)

    def steps(self, chosen: dict[str, Any]) -> Iterator[Shape]:
        """Try shapes, one at a time, then sizes of the best."""
        yield self._try(self.best)
        if "order" not in chosen:
            yield from self._along("order", ORDERS)
        if "l_weight" not in chosen:
            yield from self._along("l_weight", L_WEIGHTS)
        if "cutoff" not in chosen:
            yield from self._along("cutoff_factor", CUTOFF_FACTORS)
        if "order" not in chosen:
            alone = self.best
            for pairs in PAIRS:
                yield self._try(replace(alone, pairs=pairs))
        yield self._choose_size()

    def _choose_size(self) -> Shape:
        limit = self._family.limit
        sizes = [factor * limit for factor in CROWDED if factor * limit <= MOST_COEFFICIENTS]
        n_crowded = len(sizes)
        sizes.append(limit)
        while sizes[-1] >= 2 * FEWEST_COEFFICIENTS:
            sizes.append(sizes[-1] / 2)
        group = [self._family.descriptor(self.best, size) for size in sizes]
        if isinstance(group[-1], Joined):
            group.append(group[-1].parts[0])
        found = nested_trials(
            group, training_set=_part(self._whole, SIZE_ROWS), weights=DEFAULT_WEIGHTS
        )
        self.trials += found
        scores = [trial.score for trial in found]
        least = min(scores[n_crowded:])
        # The largest of those that chance does not tell apart.
        best = next(k for k in range(n_crowded, len(scores)) if scores[k] <= least + GAIN)
        if n_crowded and min(scores[:n_crowded]) < least - GAIN:
            best = int(np.argmin(scores[:n_crowded]))
        self.chosen = group[best]
        return self.best

    def _along(self, name: str, values: Sequence[float]) -> Iterator[Shape]:
        """Values on both sides of the best, until errors rise."""
        start = values.index(getattr(self.best, name))
        for side in (values[start + 1 :], values[:start][::-1]):
            for value in side:
                shape = replace(self.best, **{name: value})  # type: ignore[arg-type]
                yield self._try(shape)
                if self.best != shape:
                    break

    def _try(self, shape: Shape) -> Shape:
        limit = min(self._family.limit, TRIED_COEFFICIENTS)
        descriptor = self._family.descriptor(shape, limit)
        data = self._data
        (found,) = nested_trials([descriptor], training_set=data, weights=DEFAULT_WEIGHTS)
        self.trials.append(found)
        self._scores[shape] = found.score
        first = shape.pairs is not None and self.best.pairs is None
        if found.score < self._scores[self.best] - (GAIN_OF_PAIRS if first else GAIN):
            self.best = shape
        return shape


def _part(training_set: TrainingSet, most_rows: int) -> TrainingSet:
    """Some configurations, derivatives of fewer."""
    frames, targets = [], []
    numbers = shuffled_configurations(training_set.frames, 0)[:TRIED_CONFIGURATIONS]
    rows, bare = 0, set()
    for place, k in enumerate(numbers):
        own = [getattr(training_set.targets[k], name) for name in DERIVATIVES]
        if rows >= most_rows and place >= FEWEST_CONFIGURATIONS:
            bare.add(k)
        rows += sum(values.size for values in own if values is not None)
    crystals = {id(atoms) for atoms in training_set.references.crystals.values()}
    for k, (atoms, target) in enumerate(
        zip(training_set.frames, training_set.targets, strict=True)
    ):
        if k in numbers or id(atoms) in crystals:
            frames.append(atoms)
            none = dict.fromkeys(DERIVATIVES) if k in bare else {}
            targets.append(replace(target, **none))  # type: ignore[arg-type]
    return replace(training_set, frames=frames, targets=targets)


def _nearest_distances(frames: Sequence[Atoms]) -> NDArray[np.float64]:
    """Distance of every atom of all frames to its nearest neighbour, Å."""
    found = []
    for atoms in frames:
        centres, distances = neighbor_list("id", atoms, 4.5)
        nearest = np.full(len(atoms), np.inf)
        np.minimum.at(nearest, centres, distances)
        found.append(nearest[np.isfinite(nearest)])
    distances = np.concatenate(found)
    return distances if len(distances) else np.array([4.5])
