"""What a fit predicts for rows that are taken out of it, without another fit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.linalg import svd

from ase_vibent.arrays import Array
from ase_vibent.regression.r_factor import RFactor
from ase_vibent.regression.solvers import Solution
from ase_vibent.training.features import FrameFeatures
from ase_vibent.training.problem import LinearFit
from ase_vibent.training.rows import ORDER, Progress
from ase_vibent.training.training_set import TrainingSet, shuffled_configurations

#: Configurations that are left out, one at a time, at most.
MOST_LEFT_OUT = 400
#: Share of what is known of any direction that must be left without the rows.
LEAST_LEFT = 1e-9


class LeftOut(NamedTuple):
    """Totals of configurations that were left out, one at a time.

    Attributes
    ----------
    errors : ndarray, shape (n,), k_B or eV
    spreads : ndarray, shape (n,), k_B or eV
        Posterior standard deviations of the totals.
    site_spreads : ndarray, shape (n,), k_B or eV
        Roots of the sums of the posterior variances of all sites.
    """

    errors: Array
    spreads: Array
    site_spreads: Array


def without(solution: Solution, rows: RFactor, queries: Array) -> tuple[Array, Array] | None:
    """What a fit says of some quantities once rows are taken out of it.

    Woodbury's identity, with the regularisation as it is: for Z = X L/σ of the rows X, the
    covariance L Lᵀ becomes L (1 - ZᵀZ)⁻¹ Lᵀ.

    Parameters
    ----------
    solution : Solution
    rows : RFactor
        Among those of the fit, with their weights.
    queries : ndarray, shape (n, n_columns)

    Returns
    -------
    changes : ndarray, shape (n,)
        Of the values.
    roots : ndarray, shape (n, k)
        Their covariance is roots rootsᵀ.
    None if the rows alone determine something, so that too few digits would be left.
    """
    factor, noise = solution.covariance_factor, solution.noise
    if not noise > 0:
        return None
    # The default driver of SciPy, faster, has failed to converge on matrices such as these.
    left, singular, right = svd(
        rows.matrix @ factor / noise, full_matrices=False, lapack_driver="gesvd"
    )
    rest = 1 - singular**2
    if rest.min(initial=1.0) < LEAST_LEFT:
        return None
    residual = rows.values - rows.matrix @ solution.coefficients
    roots = queries @ factor
    along = roots @ right.T
    changes = -along @ (singular / rest * (left.T @ residual)) / noise
    return changes, roots + along * (rest**-0.5 - 1) @ right


def left_out(
    fit: LinearFit,
    training_set: TrainingSet,
    weights: Mapping[str, float],
    totals: Sequence[float],
    *,
    features: FrameFeatures | None = None,
    changes: Mapping[int, float] | None = None,
    progress: Progress = lambda items: items,
) -> LeftOut:
    """Errors of totals of a model from which one configuration after the other is left out.

    Parameters
    ----------
    fit : LinearFit
        Of the training set.
    training_set : TrainingSet
    weights : mapping of str to float
        Of the kinds of row.
    totals : sequence of float, k_B or eV
        That the whole model predicts for the frames.
    features : FrameFeatures, optional
        What has been computed already.
    changes : mapping of int to float, optional
        What leaving out a frame changes in its total beside the linear part, k_B or eV.
    progress : callable (items) -> items

    Returns
    -------
    LeftOut
        Empty if no total is known.
    """
    found = []
    features = features or FrameFeatures(fit.problem.descriptor)
    for number in progress(calibration_frames(training_set)):
        rows, queries = _rows(fit, training_set, number, weights, features)
        answer = without(fit.solution, rows, queries)
        if answer is None or (changes is not None and number not in changes):
            continue
        total = training_set.targets[number].total
        assert total is not None
        error = totals[number] - total
        error += answer[0][0] + (changes or {}).get(number, 0.0)
        found.append((error, np.linalg.norm(answer[1][0]), np.linalg.norm(answer[1][1:])))
    return LeftOut(*np.array(found).reshape(-1, 3).T)


def calibration_frames(training_set: TrainingSet) -> list[int]:
    """Numbers of the frames that are left out one at a time: some of those that have a total."""
    numbers = shuffled_configurations(training_set.frames, seed=0)
    known = [k for k in numbers if training_set.targets[k].total is not None]
    return known[:MOST_LEFT_OUT]


def weighted_rows(
    rows: Mapping[str, tuple[Array, Array]],
    kinds: Collection[str],
    weights: Mapping[str, float],
    weight: float = 1.0,
) -> RFactor:
    """Rows of one frame as they stand in the fit.

    Parameters
    ----------
    rows : mapping of str to (matrix, values)
        By kind of row.
    kinds : collection of str
        Those that are fitted.
    weights : mapping of str to float
    weight : float
        Of the frame.

    Returns
    -------
    RFactor
    """
    r_factor = RFactor(next(iter(rows.values()))[0].shape[1])
    for kind, (matrix, values) in rows.items():
        if kind in kinds and weights[kind] > 0:
            factor = weight * weights[kind]
            r_factor.add(factor * matrix, factor * values)
    return r_factor


def _rows(
    fit: LinearFit,
    training_set: TrainingSet,
    number: int,
    weights: Mapping[str, float],
    features: FrameFeatures,
) -> tuple[RFactor, Array]:
    """Fitted rows of a frame; and those of its total, then of every site."""
    atoms, target = training_set.frames[number], training_set.targets[number]
    fitted = [q for q in training_set.quantities if getattr(target, q) is not None]
    # Labels of sites of any value, for their rows.
    asked = target if target.sites is not None else replace(target, sites=np.zeros(len(atoms)))
    parts: defaultdict[str, list[tuple[Array, Array]]] = defaultdict(list)
    wanted = (*fitted, "total", "sites")
    for kind, matrix, values in fit.problem.rows(atoms, asked, wanted, features):
        parts[kind].append((matrix, values))  # force constants come atom by atom
    rows: dict[str, tuple[Array, Array]] = {
        kind: (np.concatenate(matrices), np.concatenate(values))
        for kind in ORDER
        if kind in parts
        for matrices, values in [zip(*parts[kind], strict=True)]
    }
    queries = np.concatenate([rows["total"][0], rows["sites"][0]])
    return weighted_rows(rows, fitted, weights, target.weight), queries
