"""The error budget of a fit: truncation, basis, statistics and solver, each by fits without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ase_vibent.descriptors import Descriptor, rescaled, with_degree
from ase_vibent.training.cross_validation import (
    HeldOutErrors,
    cross_validated_errors,
    fit_rows,
    held_out_errors,
    pooled_errors,
)
from ase_vibent.training.features import FrameFeatures
from ase_vibent.training.rows import Progress, TrainingRows, gather_rows
from ase_vibent.training.training_set import TrainingSet

#: Larger cutoffs, in units of the model's, and a larger degree.
CUTOFFS = (1.2, 1.4)
MORE_DEGREES = 2
#: Strengths of ridge regression beside the chosen one, as factors.
STRENGTHS = (1e-3, 1e-2, 1e-1, 1e1, 1e2, 1e3)
#: Exponent d of the truncation error r_cut^-d, [Torabi2024] Thm 3.2, [Torabi2026] Thm 18.
DECAY = 3


@dataclass(frozen=True)
class ErrorBudget:
    """Parts of the held-out error of one kind of row; they add in squares, roughly.

    Attributes
    ----------
    total : float
        RMSE of left-out configurations, k_B (gradients: k_B/Å).
    truncation : float
        What larger cutoffs take away, at the same degree; zero if they take nothing.
    cutoff_errors : dict of str to float
        RMSE by cutoff (Å).
    law : float
        Truncation error that r_cut^-3 would give, from the decrease between the cutoffs.
    basis : float or None
        What a total degree larger by 2 takes away; None for other descriptors than ACE.
    statistics : float
        What infinitely many configurations would take away, from e² = a + b/n.
    solver : float
        What the best strength of ridge regression takes away.
    """

    total: float
    truncation: float
    cutoff_errors: dict[str, float]
    law: float
    basis: float | None
    statistics: float
    solver: float

    def advice(self, cutoff: float) -> str:
        """What to change to halve the error.

        Parameters
        ----------
        cutoff : float, Å

        Returns
        -------
        str
        """
        parts = {
            f"a cutoff of {2 ** (1 / DECAY) * cutoff:.1f} Å": self.truncation,
            f"a total degree larger by {MORE_DEGREES} or more": self.basis or 0.0,
            "four times as many configurations": self.statistics,
            "another solver or strength": self.solver,
        }
        largest = max(parts, key=lambda change: parts[change])
        if parts[largest] < 0.3 * self.total:
            return (
                "no single part dominates: what is left is beyond cutoff, degree, data and "
                "strength tried here; try a higher order, or a quadratic form (EQML)"
            )
        enough = parts[largest] > np.sqrt(0.75) * self.total
        return largest + ("" if enough else ", which is the largest part but not enough alone")


def error_budget(
    training_set: TrainingSet,
    descriptor: Descriptor,
    weights: Mapping[str, float],
    options: Mapping[str, Any],
    *,
    progress: Progress = lambda items: items,
) -> dict[str, ErrorBudget]:
    """Error budgets by kind of row, from cross-validated ridge fits.

    Parameters
    ----------
    training_set : TrainingSet
    descriptor : Descriptor
    weights : mapping of str to float
        Of the kinds of row.
    options : mapping
        Of ridge regression.
    progress : callable (items) -> items

    Returns
    -------
    dict of str to ErrorBudget
    """
    others = [rescaled(descriptor, factor) for factor in CUTOFFS]
    cutoffs = [other.cutoff for other in others]
    larger = with_degree(descriptor, lambda degree: degree + MORE_DEGREES)
    gathered = [_rows(training_set, d) for d in progress([larger, *others])]
    rows = gathered[0].restrict(descriptor)

    def errors(of_rows: TrainingRows, **more: Any) -> HeldOutErrors:
        return cross_validated_errors(of_rows, weights, "ridge", {**options, **more})

    own = errors(rows)
    farther = [errors(other) for other in gathered[1:]]
    strength = _strength(rows, weights, options)
    strengths = [errors(rows, strength=factor * strength) for factor in STRENGTHS]
    fewer = {m: _with_fewer(rows, m, weights, options) for m in _subset_sizes(rows)}
    richer = None if larger == descriptor else errors(gathered[0])
    return {
        kind: ErrorBudget(
            total=own.rmse[kind],
            truncation=_error_removed(own, farther, kind),
            cutoff_errors={
                f"{c:g}": e.rmse[kind]
                for c, e in zip([descriptor.cutoff, *cutoffs], [own, *farther], strict=True)
            },
            law=_by_law(own.rmse[kind], farther[0].rmse[kind], CUTOFFS[0]),
            basis=None if richer is None else _error_removed(own, [richer], kind),
            statistics=_statistics(own, fewer, kind, len(rows.folds)),
            solver=_error_removed(own, strengths, kind),
        )
        for kind in own.rmse
    }


def format_budget(budgets: Mapping[str, Mapping[str, Any]], cutoff: float) -> str:
    """Table of error budgets, as the report holds them.

    Parameters
    ----------
    budgets : mapping of str to mapping
        By kind of row, as of `dataclasses.asdict`.
    cutoff : float, Å

    Returns
    -------
    str
    """
    names = ("total", "truncation", "law", "basis", "statistics", "solver")
    lines = [f"{'error budget':<16}" + "".join(f"{name:>12}" for name in names)]
    for kind, values in budgets.items():
        cells = "".join(
            f"{'-' if values[n] is None else format(values[n], '.2e'):>12}" for n in names
        )
        advice = ErrorBudget(**values).advice(cutoff)
        lines += [f"{kind:<16}{cells}", f"  to halve it: {advice}"]
    return "\n".join(lines)


def as_header(budgets: Mapping[str, ErrorBudget]) -> dict[str, dict[str, Any]]:
    """Error budgets as a coefficient file's header holds them."""
    return {kind: asdict(budget) for kind, budget in budgets.items()}


def _rows(training_set: TrainingSet, descriptor: Descriptor) -> TrainingRows:
    return gather_rows(FrameFeatures(descriptor), training_set)


def _error_removed(own: HeldOutErrors, others: Sequence[HeldOutErrors], kind: str) -> float:
    """Error that the best of other fits takes away, in squares."""
    best = min(other.rmse[kind] for other in others)
    return float(np.sqrt(max(own.rmse[kind] ** 2 - best**2, 0.0)))


def _by_law(error: float, farther: float, factor: float) -> float:
    """C r_cut^-d with C from the decrease of e² = e0² + C² r_cut^(-2d) between two cutoffs."""
    return float(np.sqrt(max(error**2 - farther**2, 0.0) / (1 - factor ** (-2 * DECAY))))


def _strength(
    rows: TrainingRows, weights: Mapping[str, float], options: Mapping[str, Any]
) -> float:
    fit = fit_rows(rows, weights, "ridge", options)
    return float(fit.solution.details["strength"])


def _subset_sizes(rows: TrainingRows) -> list[int]:
    """Numbers of folds to train on: one, and about half of what cross-validation has."""
    most = len(rows.folds) - 1
    return sorted({1, most // 2} - {0, most})


def _with_fewer(
    rows: TrainingRows, m: int, weights: Mapping[str, float], options: Mapping[str, Any]
) -> HeldOutErrors:
    """Cross-validated errors of fits to m folds only."""
    folds = rows.folds
    parts = []
    for place, fold in enumerate(folds):
        train = [folds[(place + 1 + k) % len(folds)] for k in range(m)]
        parts.append(held_out_errors(rows, train, [fold], weights, "ridge", options))
    return pooled_errors(parts)


def _statistics(
    own: HeldOutErrors, fewer: Mapping[int, HeldOutErrors], kind: str, n_folds: int
) -> float:
    """Sqrt(b/n) of e² = a + b/n through the errors with fewer folds, at all of them."""
    sizes = np.array([*fewer, n_folds - 1], dtype=float)
    squares = np.array([*(e.rmse[kind] for e in fewer.values()), own.rmse[kind]]) ** 2
    if len(sizes) < 2:
        return float("nan")
    # Relative errors count: those of the smallest fits are the largest by far.
    matrix = np.stack([np.ones_like(sizes), 1 / sizes], axis=1) / squares[:, None]
    slope = np.linalg.lstsq(matrix, np.ones_like(sizes))[0][1]
    return float(np.sqrt(np.clip(slope / n_folds, 0.0, squares[-1])))
