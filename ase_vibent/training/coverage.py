"""Whether the stated errors of a model hold: how many labelled totals lie within them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.stats import binom, binomtest, norm

from ase_vibent import dataset
from ase_vibent.arrays import Array
from ase_vibent.errors import LabelError
from ase_vibent.model import SiteModel
from ase_vibent.training.energies import REFERENCES
from ase_vibent.training.floors import require_same_floor
from ase_vibent.training.targets import ReferenceCrystals

#: Coverages that are counted.
LEVELS = (0.5, 0.8, 0.95)
#: Of ranges of coverages and factors themselves.
CONFIDENCE = 0.95
#: Share of a normal distribution within one standard deviation.
ONE_SIGMA = float(norm.cdf(1) - norm.cdf(-1))
#: Cells below which nothing is said.
FEWEST = 8
#: Key of a frame's info that says what defect it holds, as `vibent make` writes it.
DEFECT = "defect"
#: Kind of cells with the composition of their crystal.
CRYSTAL = "crystal"


@dataclass(frozen=True)
class StatedErrors:
    """Errors of totals beside the standard deviations that a model states for them.

    Attributes
    ----------
    errors : ndarray, shape (n,), k_B or eV
        Of predicted totals of cells.
    stds : ndarray, shape (n,), k_B or eV
    kinds : tuple of str
        Of every cell, see `defect_kind`.
    sizes : ndarray of int, shape (n,)
        Atoms of the perfect crystal in every cell, or of the cell where it has none.
    """

    errors: Array
    stds: Array
    kinds: tuple[str, ...]
    sizes: NDArray[np.int64]

    @property
    def scores(self) -> Array:
        """Sizes of the errors in stated standard deviations, ascending, shape (n,)."""
        return np.sort(np.abs(self.errors) / np.maximum(self.stds, 1e-300))

    def coverage(self, level: float) -> tuple[float, float, float]:
        """Share of cells within intervals of a nominal coverage.

        Parameters
        ----------
        level : float

        Returns
        -------
        share : float
        low, high : floats
            Range of the true share, at `CONFIDENCE`, if the cells are independent.
        """
        return self._share(norm.ppf((1 + level) / 2))

    def factor(self) -> tuple[float, float, float]:
        """What stated errors must be multiplied by for 68 % of the cells to be within them.

        Returns
        -------
        factor : float
        low, high : floats
            Its range at `CONFIDENCE`, whatever the distribution of errors; infinity where there
            are too few cells for a bound.
        """
        scores, n = self.scores, len(self.errors)
        tails = (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
        first, last = (int(k) for k in binom.ppf(tails, n, ONE_SIGMA))
        low = scores[first - 1] if first > 0 else 0.0
        high = scores[last] if last < n else np.inf
        return float(np.quantile(scores, ONE_SIGMA)), float(low), float(high)

    @property
    def trusted(self) -> bool:
        """Whether no coverage differs from what is stated by more than chance."""
        return all(self._holds(level) for level in LEVELS)

    def remarks(self) -> list[str]:
        """Verdicts on those kinds and sizes whose stated errors do not hold."""
        return [
            f"{name}: {group.verdict()}"
            for name, group in self.groups()
            if group is not self and len(group.errors) >= FEWEST and not group.trusted
        ]

    def verdict(self) -> str:
        """One sentence: whether the stated errors are to be trusted, and how far they are off."""
        n = len(self.errors)
        if n < FEWEST:
            return f"{n} cells are too few to judge stated errors by ({FEWEST} at least)"
        factor, low, high = self.factor()
        reach = f"{low:.2g} to {'∞' if np.isinf(high) else format(high, '.2g')}"
        if self.trusted:
            return (
                f"stated errors are to be trusted: {n} cells show no difference (right within a "
                f"factor of {reach})"
            )
        if low <= 1 <= high:
            missed = [level for level in LEVELS if not self._holds(level)]
            shares = ", ".join(f"{self.coverage(c)[0]:.0%} instead of {c:.0%}" for c in missed)
            return (
                f"stated errors are right in size but not in shape: {shares} of {n} cells are "
                "inside; trust one standard deviation, not intervals of other coverage"
            )
        size = "small" if factor > 1 else "large"
        return (
            f"stated errors are not to be trusted: too {size}, multiply them by {factor:.2g} "
            f"({reach}, {n} cells)"
        )

    def groups(self) -> Iterator[tuple[str, StatedErrors]]:
        """All cells, those of every kind, and those of every size, with a name of each."""
        yield "all", self
        kinds = np.array(self.kinds)
        for kind in sorted(set(self.kinds)):
            yield kind, self._of(kinds == kind)
        for size in np.unique(self.sizes):
            yield f"cells of {size} atoms", self._of(self.sizes == size)

    def metrics(self) -> dict[str, Any]:
        """Coverages and factors of all groups, and the verdict, ready for JSON."""
        return {
            "verdict": self.verdict(),
            "remarks": self.remarks(),
            "groups": {name: group._metrics() for name, group in self.groups()},
        }

    def _metrics(self) -> dict[str, Any]:
        return {
            "n": len(self.errors),
            "rmse": float(np.sqrt(np.mean(self.errors**2))),
            "std": float(np.sqrt(np.mean(self.stds**2))),
            "factor": list(self.factor()),
            "coverage": {f"{level:.0%}": list(self.coverage(level)) for level in LEVELS},
        }

    def _holds(self, level: float) -> bool:
        _, low, high = self.coverage(level)
        return low <= level <= high

    def _share(self, width: float) -> tuple[float, float, float]:
        n = len(self.errors)
        inside = int(np.searchsorted(self.scores, width, side="right"))
        spread = binomtest(inside, n).proportion_ci(CONFIDENCE)
        return inside / n, float(spread.low), float(spread.high)

    def _of(self, chosen: NDArray[np.bool_]) -> StatedErrors:
        kinds = tuple(k for k, own in zip(self.kinds, chosen, strict=True) if own)
        return StatedErrors(self.errors[chosen], self.stds[chosen], kinds, self.sizes[chosen])


def check_calibration(
    model: SiteModel,
    frames: Sequence[Atoms],
    references: ReferenceCrystals | None = None,
    *,
    by: str = DEFECT,
) -> StatedErrors:
    """Compare the errors of a model with those that it states.

    Parameters
    ----------
    model : SiteModel
        With a posterior covariance.
    frames : sequence of Atoms
        Labelled, and not fitted by the model: of fitted cells, errors are smaller than stated.
        Perfect crystals, and frames without a total, are passed over.
    references : ReferenceCrystals, optional
        By default those among the frames.
    by : str
        Key of a frame's info that says of what kind it is.

    Returns
    -------
    StatedErrors

    Raises
    ------
    LabelError
        If no frame has a total, or labels have another floor than the model.
    InvalidInputError
        If the model keeps no posterior covariance.
    """
    if references is None:
        references = REFERENCES[model.target](frames)
    require_same_floor(model, references)
    found = []
    for number, atoms in enumerate(frames):
        total = references.targets(atoms, number).total
        if total is None or dataset.NAME in atoms.info:
            continue
        crystal = references.of(atoms, number)
        predicted = model.predict(atoms, gradient=False, uncertainty=True)
        size = len(atoms if crystal is None else crystal)
        kind = defect_kind(atoms, crystal, by)
        found.append((predicted.values.sum() - total, predicted.std, kind, size))
    if not found:
        raise LabelError(
            "frames: none but perfect crystals has a total to compare with; label others with "
            "'vibent label'"
        )
    errors, stds, kinds, sizes = zip(*found, strict=True)
    return StatedErrors(np.array(errors), np.array(stds), kinds, np.array(sizes))


def defect_kind(atoms: Atoms, crystal: Atoms | None, key: str = DEFECT) -> str:
    """What a cell holds: as its info says, or by its composition beside the crystal's.

    Parameters
    ----------
    atoms : Atoms
    crystal : Atoms or None
        Perfect, in the same cell.
    key : str
        Of the info.

    Returns
    -------
    str
        As in "vacancy", or "-1 Si"; "crystal" of the same composition; "no crystal" without one.
    """
    if key in atoms.info:
        return " ".join(str(atoms.info[key]).split())
    if crystal is None:
        return "no crystal"
    symbols = sorted({*atoms.symbols, *crystal.symbols})
    changes = {s: atoms.symbols.count(s) - crystal.symbols.count(s) for s in symbols}
    return ", ".join(f"{n:+d} {s}" for s, n in changes.items() if n) or CRYSTAL
