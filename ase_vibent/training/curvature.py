"""The second step of EQML: a quadratic form of few feature combinations, on what is left."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from ase import Atoms

from ase_vibent.arrays import Array
from ase_vibent.descriptors import Quadratic
from ase_vibent.errors import InvalidInputError
from ase_vibent.model import Curvature, SiteModel, TrainingDomain
from ase_vibent.model.domain import LEAST_REST
from ase_vibent.neighbours.lists import NeighbourLists
from ase_vibent.quantities import EVALUATED
from ase_vibent.regression.r_factor import RFactor
from ase_vibent.regression.solvers import ridge
from ase_vibent.structures.atom_types import species_indices
from ase_vibent.training.features import FrameFeatures
from ase_vibent.training.left_out import calibration_frames, weighted_rows, without
from ase_vibent.training.rows import Progress
from ase_vibent.training.targets import FrameTargets
from ase_vibent.training.training_set import TrainingSet

#: Feature combinations that the quadratic form is made of, for each kind of site.
DIRECTIONS = 24


def fit_curvature(
    model: SiteModel,
    training_set: TrainingSet,
    weights: Mapping[str, float],
    *,
    features: FrameFeatures | None = None,
    directions: int = DIRECTIONS,
    rank: int | None = None,
    progress: Progress = lambda items: items,
) -> tuple[Curvature, dict[int, float]]:
    """W of a quadratic model on the residual of a linear one, [Lapointe2022] (16)-(18).

    W acts on the leading principal combinations of the standardised features, so that there
    are few coefficients, directions · (directions + 1) / 2 for each kind of site, and is then
    reduced to its largest eigenvalues.

    Parameters
    ----------
    model : SiteModel
        Linear, with its training domain.
    training_set : TrainingSet
        Gradients of sites and force constants are not fitted.
    weights : mapping of str to float
        Of the kinds of row.
    features : FrameFeatures, optional
        What has been computed already.
    directions : int
        Feature combinations.
    rank : int, optional
        Eigenvalues to keep, the largest by size; all by default.
    progress : callable (items) -> items

    Returns
    -------
    curvature : Curvature
    changes : dict of int to float, k_B or eV
        What its total of a frame changes by if the frame is left out of this step; of
        `calibration_frames`.

    Raises
    ------
    InvalidInputError
        If directions or rank are not positive.
    """
    for name, value in (("directions", directions), ("rank", rank)):
        if value is not None and value < 1:
            raise InvalidInputError(f"{name}: expected an integer ≥ 1, got {value!r}")
    assert model.domain is not None
    features = features or FrameFeatures(model.descriptor)
    basis = _combinations(model.domain, model.shift, directions)
    n_kinds, n_directions, _ = basis.shape
    pairs = list(combinations_with_replacement(range(n_directions), 2))
    rows = RFactor(n_kinds * len(pairs))
    of_frames = {}
    calibrating = set(calibration_frames(training_set))
    frames = zip(training_set.frames, training_set.targets, strict=True)
    for number, (atoms, target) in progress(list(enumerate(frames))):
        wanted = [
            q for q in training_set.quantities if q in EVALUATED and getattr(target, q) is not None
        ]
        if not wanted:
            continue
        found = _rows(model, features, basis, pairs, atoms, target, wanted)
        own = weighted_rows(found, wanted, weights, target.weight)
        rows.merge(own)
        if number in calibrating:
            of_frames[number] = own, found["total"][0]
    scale = rows.column_rms()
    scale[scale <= 1e-12 * scale.max(initial=0.0)] = np.inf
    solution = ridge(rows.scale(1 / scale))
    coefficients = solution.coefficients / scale
    answers = {
        number: without(solution, own.scale(1 / scale), total / scale)
        for number, (own, total) in of_frames.items()
    }
    changes = {number: float(a[0][0]) for number, a in answers.items() if a is not None}
    matrices = np.zeros((n_kinds, n_directions, n_directions))
    a, b = np.transpose(pairs)
    of_pairs = coefficients.reshape(n_kinds, -1)
    matrices[:, a, b] += of_pairs / 2
    matrices[:, b, a] += of_pairs / 2
    reduced = Quadratic.from_matrices(np.zeros((n_kinds, n_directions)), matrices, rank=rank)
    return Curvature(reduced.factors @ basis, reduced.curvatures), changes


def _combinations(domain: TrainingDomain, shift: Array, directions: int) -> Array:
    """Leading feature combinations of unit variance, shape (n_kinds, directions, n_features).

    Zero where the training set does not vary: few sites span few directions.
    """
    deviations = domain.deviations[:, :directions]
    varies = deviations > LEAST_REST
    chosen = domain.directions[:, :directions] / domain.spread[:, None].astype(float)
    return np.where(varies[..., None], chosen / deviations[..., None], 0.0)


def _rows(
    model: SiteModel,
    features: FrameFeatures,
    basis: Array,
    pairs: Sequence[tuple[int, int]],
    atoms: Atoms,
    target: FrameTargets,
    kinds: Collection[str],
) -> dict[str, tuple[Array, Array]]:
    """By kind of row: products q_a q_b, or their derivatives, and what the linear model leaves.

    The products of the total are there in any case.
    """
    gradient = not {"gradient", "strain"}.isdisjoint(kinds)
    linear = model.evaluate(atoms, gradient=gradient)
    known: dict[str, Any] = {
        "total": linear.values.sum(),
        "sites": linear.values,
        "gradient": linear.gradient,
        "strain": linear.strain,
    }
    if gradient:
        columns = list(_products_with_gradients(model, basis, pairs, atoms))
    else:
        columns = list(_products(model, basis, pairs, atoms, features.values(atoms)))
    found = {}
    for kind in dict.fromkeys([*kinds, "total"]):
        value = getattr(target, kind)
        matrix = np.stack([np.ravel(column[kind]) for column in columns], axis=1)
        residual = np.zeros(1) if value is None else np.ravel(value - known[kind])
        found[kind] = matrix, residual
    return found


def _products(
    model: SiteModel,
    basis: Array,
    pairs: Sequence[tuple[int, int]],
    atoms: Atoms,
    features: Array,
) -> Iterator[dict[str, Any]]:
    """Site values and sums of every product q_a q_b of every kind of site."""
    kinds = species_indices(atoms, model.species)
    centred = features - model.shift[kinds]
    for z, directions in enumerate(basis):
        q = np.where(kinds == z, directions @ centred.T, 0.0)
        for a, b in pairs:
            yield {"total": q[a] @ q[b], "sites": q[a] * q[b]}


def _products_with_gradients(
    model: SiteModel, basis: Array, pairs: Sequence[tuple[int, int]], atoms: Atoms
) -> Iterator[dict[str, Any]]:
    """The same with derivatives of the sums, each by a pass of the kernel."""
    descriptor, shift = model.descriptor, model.shift
    n_kinds, _, n_features = basis.shape
    lists = NeighbourLists()
    none = np.zeros((n_kinds, n_features))
    for z in range(n_kinds):
        for a, b in pairs:
            # q_a q_b = ((q_a + q_b)² - (q_a - q_b)²) / 4
            factors = np.zeros((n_kinds, 2, n_features))
            factors[z] = basis[z, a] + basis[z, b], basis[z, a] - basis[z, b]
            curvatures = np.tile([0.25, -0.25], (n_kinds, 1))
            readout = Quadratic(none, factors, curvatures, shift)
            sums = descriptor.site_model(atoms, readout, lists=lists)
            yield {
                "total": sums.values.sum(),
                "sites": sums.values,
                "gradient": sums.gradient,
                "strain": sums.strain,
            }
