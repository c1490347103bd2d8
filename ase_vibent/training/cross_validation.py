"""Fits of folds, and their errors on rows that they have not seen, from R factors alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ase_vibent.errors import InvalidInputError
from ase_vibent.quantities import SolverName
from ase_vibent.training.problem import LinearFit
from ase_vibent.training.rows import ALWAYS, FOLDS, TrainingRows

#: Rows per coefficient below which the evidence overfits, and left-out configurations choose the
#: strength of ridge regression instead; and how many of these that takes.
FEW_ROWS, FEWEST_CONFIGURATIONS = 4, 10
#: Strengths that are tried, for every row.
STRENGTHS = np.geomspace(1e-18, 1e2, 61)


@dataclass(frozen=True)
class HeldOutErrors:
    """Errors of fits on frames that were left out.

    Attributes
    ----------
    rmse : dict of str to float
        By kind of row in the units of `ase_vibent.quantities`; means over rows count the
        squared weights of their frames.
    weights : dict of str to float
        Sums of these, the number of rows where all weights are one.
    """

    rmse: dict[str, float]
    weights: dict[str, float]

    @property
    def score(self) -> float:
        """Mean logarithm of the errors of all kinds: the lower the better."""
        return float(np.mean(np.log(np.maximum(list(self.rmse.values()), 1e-300))))


def fit_rows(
    rows: TrainingRows,
    weights: Mapping[str, float],
    solver: SolverName,
    options: Mapping[str, Any],
    folds: Collection[int] | None = None,
) -> LinearFit:
    """Fit some folds.

    Parameters
    ----------
    rows : TrainingRows
    weights, solver, options
        Of the fit. The strength of ridge regression may also be "cv", that with the least errors
        on folds left out in turn; or "auto", the default: "cv" where rows are few, else "evidence".
    folds : collection of int, optional
        By default all; perfect crystals are fitted in any case.

    Returns
    -------
    LinearFit
    """
    own = [fold for fold in rows.folds if folds is None or fold in folds]
    merged = rows.merge(weights, folds={*own, ALWAYS})
    if solver != "ridge":
        return rows.problem.fit(merged, solver, options)
    strength = options.get("strength", "auto")
    if strength == "auto":
        n_configurations = sum(total.fold in own for total in rows.totals)
        few = merged.n_rows < FEW_ROWS * merged.n_columns
        suited = few and len(own) > 1 and n_configurations >= FEWEST_CONFIGURATIONS
        strength = "cv" if suited else "evidence"
    if strength != "cv":
        return rows.problem.fit(merged, solver, {**options, "strength": strength})
    strength = _strength_of_least_errors(rows, own, weights, options, merged.n_rows)
    fit = rows.problem.fit(merged, solver, {**options, "strength": strength})
    details = {**fit.solution.details, "chosen_by": "cross-validation"}
    return replace(fit, solution=replace(fit.solution, details=details))


def _strength_of_least_errors(
    rows: TrainingRows,
    folds: Sequence[int],
    weights: Mapping[str, float],
    options: Mapping[str, Any],
    n_rows: int,
) -> float:
    """Strength whose fits predict folds best that are left out, a fifth of them at a time."""
    if len(folds) < 2:
        raise InvalidInputError(
            f"strength: 'cv' needs two configurations at least, got {len(folds)}; use 'evidence'"
        )
    strengths = n_rows * STRENGTHS
    squares: defaultdict[str, Any] = defaultdict(float)
    sums: defaultdict[str, float] = defaultdict(float)
    for start in range(min(FOLDS, len(folds))):
        left_out = folds[start::FOLDS]
        others = rows.merge(weights, folds={*folds, ALWAYS} - {*left_out})
        coefficients = rows.problem.path(others, strengths, options)
        for fold in left_out:
            for kind, r_factor in rows.r_factors[fold].items():
                squares[kind] = squares[kind] + r_factor.squared_residual(coefficients)
                sums[kind] += rows.squared_weights[fold, kind]
    fitted = [kind for kind in squares if weights[kind] > 0]
    scores = sum(np.log(np.maximum(squares[kind] / sums[kind], 1e-300)) for kind in fitted)
    return float(strengths[np.argmin(scores)])


def held_out_errors(
    rows: TrainingRows,
    train: Collection[int],
    test: Collection[int],
    weights: Mapping[str, float],
    solver: SolverName,
    options: Mapping[str, Any],
) -> HeldOutErrors:
    """Fit some folds, and look at others.

    Parameters
    ----------
    rows : TrainingRows
    train, test : collections of int
        Folds; perfect crystals are fitted in any case.
    weights, solver, options
        Of the fit.

    Returns
    -------
    HeldOutErrors
    """
    fit = fit_rows(rows, weights, solver, options, folds=train)
    squares: defaultdict[str, float] = defaultdict(float)
    sums: defaultdict[str, float] = defaultdict(float)
    for fold in test:
        for kind, r_factor in rows.r_factors[fold].items():
            squares[kind] += float(r_factor.squared_residual(fit.solution.coefficients))
            sums[kind] += rows.squared_weights[fold, kind]
    rmse = {kind: float(np.sqrt(squares[kind] / sums[kind])) for kind in squares}
    return HeldOutErrors(rmse, dict(sums))


def cross_validated_errors(
    rows: TrainingRows, weights: Mapping[str, float], solver: SolverName, options: Mapping[str, Any]
) -> HeldOutErrors:
    """Errors on all folds, each left out in turn.

    Parameters
    ----------
    rows : TrainingRows
    weights, solver, options
        Of the fits.

    Returns
    -------
    HeldOutErrors
    """
    folds = rows.folds
    return pooled_errors(
        [
            held_out_errors(rows, set(folds) - {fold}, [fold], weights, solver, options)
            for fold in folds
        ]
    )


def pooled_errors(parts: Sequence[HeldOutErrors]) -> HeldOutErrors:
    """Errors on the rows of all parts together.

    Parameters
    ----------
    parts : sequence of HeldOutErrors

    Returns
    -------
    HeldOutErrors
    """
    sums: defaultdict[str, float] = defaultdict(float)
    squares: defaultdict[str, float] = defaultdict(float)
    for part in parts:
        for kind, error in part.rmse.items():
            sums[kind] += part.weights[kind]
            squares[kind] += part.weights[kind] * error**2
    rmse = {kind: float(np.sqrt(squares[kind] / sums[kind])) for kind in squares}
    return HeldOutErrors(rmse, dict(sums))
