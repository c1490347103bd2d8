"""Errors on rows that a fit has not seen, from triangles alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ase_vibent.training.rows import ALWAYS, TrainingRows


@dataclass(frozen=True)
class HeldOutErrors:
    """Errors of fits on frames that were left out.

    Attributes
    ----------
    rmse : dict of str to float
        By kind of row, units of k_B (gradients: k_B/Å).
    n_rows : dict of str to int
        Rows behind them.
    """

    rmse: dict[str, float]
    n_rows: dict[str, int]

    @property
    def score(self) -> float:
        """Mean logarithm of the errors of all kinds: the lower the better."""
        return float(np.mean(np.log(np.maximum(list(self.rmse.values()), 1e-300))))


def held_out_errors(
    rows: TrainingRows,
    train: Collection[int],
    test: Collection[int],
    weights: Mapping[str, float],
    solver: str,
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
    squares, counts = _squares(rows, train, test, weights, solver, options)
    return _errors(squares, counts)


def cross_validated_errors(
    rows: TrainingRows, weights: Mapping[str, float], solver: str, options: Mapping[str, Any]
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
    squares: dict[str, float] = {}
    counts: dict[str, int] = {}
    for fold in rows.folds:
        others = [other for other in rows.folds if other != fold]
        own, numbers = _squares(rows, others, [fold], weights, solver, options)
        for kind in own:
            squares[kind] = squares.get(kind, 0.0) + own[kind]
            counts[kind] = counts.get(kind, 0) + numbers[kind]
    return _errors(squares, counts)


def _squares(
    rows: TrainingRows,
    train: Collection[int],
    test: Collection[int],
    weights: Mapping[str, float],
    solver: str,
    options: Mapping[str, Any],
) -> tuple[dict[str, float], dict[str, int]]:
    """Sums of squared errors, and numbers of rows, by kind."""
    fit = rows.problem.fit(rows.merged(weights, folds={*train, ALWAYS}), solver, options)
    squares: dict[str, float] = {}
    counts: dict[str, int] = {}
    for fold in test:
        for kind, triangle in rows.triangles[fold].items():
            error = float(triangle.squared_residual(fit.solution.coefficients))
            squares[kind] = squares.get(kind, 0.0) + error
            counts[kind] = counts.get(kind, 0) + triangle.n_rows
    return squares, counts


def _errors(squares: Mapping[str, float], counts: Mapping[str, int]) -> HeldOutErrors:
    rmse = {kind: float(np.sqrt(squares[kind] / counts[kind])) for kind in squares}
    return HeldOutErrors(rmse, dict(counts))
