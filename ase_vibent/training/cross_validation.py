"""Errors on rows that a fit has not seen, from R factors alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ase_vibent.quantities import SolverName
from ase_vibent.training.rows import ALWAYS, TrainingRows


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
    fit = rows.problem.fit(rows.merge(weights, folds={*train, ALWAYS}), solver, options)
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
