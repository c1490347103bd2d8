"""The second step of EQML: a quadratic form of few feature combinations, on what is left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent.descriptors import Quadratic
from ase_vibent.descriptors.neighbours import NeighbourLists
from ase_vibent.errors import InvalidInputError
from ase_vibent.model import Curvature, SiteModel, TrainingDomain
from ase_vibent.training.rows import Progress
from ase_vibent.training.solvers import ridge
from ase_vibent.training.targets import Targets
from ase_vibent.training.training_set import TrainingSet
from ase_vibent.training.triangle import Triangle

Array = NDArray[np.float64]

#: Feature combinations that the quadratic form is made of, for each kind of site.
DIRECTIONS = 24


def fit_curvature(
    model: SiteModel,
    training_set: TrainingSet,
    weights: Mapping[str, float],
    *,
    directions: int = DIRECTIONS,
    rank: int | None = None,
    progress: Progress = lambda items: items,
) -> Curvature:
    """W of a quadratic model on the residual of a linear one, P3 (16)-(18).

    W acts on the leading principal combinations of the standardised features, so that there
    are few coefficients, directions · (directions + 1) / 2 for each kind of site, and is then
    reduced to its largest eigenvalues.

    Parameters
    ----------
    model : SiteModel
        Linear, with its training domain.
    training_set : TrainingSet
        Gradients of sites are not fitted.
    weights : mapping of str to float
        Of the kinds of row.
    directions : int
        Feature combinations.
    rank : int, optional
        Eigenvalues to keep, the largest by size; all by default.
    progress : callable (items) -> items

    Returns
    -------
    Curvature

    Raises
    ------
    InvalidInputError
        If directions or rank are not positive.
    """
    for name, value in (("directions", directions), ("rank", rank)):
        if value is not None and value < 1:
            raise InvalidInputError(f"{name}: expected an integer ≥ 1, got {value!r}")
    assert model.domain is not None
    basis = _combinations(model.domain, model.shift, directions)
    n_kinds, n_directions, _ = basis.shape
    pairs = list(combinations_with_replacement(range(n_directions), 2))
    rows = Triangle(n_kinds * len(pairs))
    frames = zip(training_set.frames, training_set.targets, strict=True)
    for atoms, target in progress(list(frames)):
        for kind, matrix, values in _rows(
            model, basis, pairs, atoms, target, training_set.quantities
        ):
            rows.add(weights[kind] * matrix, weights[kind] * values)
    scale = rows.column_rms()
    scale[scale <= 1e-12 * scale.max(initial=0.0)] = np.inf
    coefficients = ridge(rows.scaled(1 / scale)).coefficients / scale
    matrices = np.zeros((n_kinds, n_directions, n_directions))
    a, b = np.transpose(pairs)
    of_pairs = coefficients.reshape(n_kinds, -1)
    matrices[:, a, b] += of_pairs / 2
    matrices[:, b, a] += of_pairs / 2
    reduced = Quadratic.from_matrices(np.zeros((n_kinds, n_directions)), matrices, rank=rank)
    return Curvature(reduced.factors @ basis, reduced.curvatures)


def _combinations(domain: TrainingDomain, shift: Array, directions: int) -> Array:
    """Leading feature combinations of unit variance, shape (n_kinds, directions, n_features)."""
    chosen = domain.directions[:, :directions] / domain.spread[:, None].astype(float)
    return chosen / domain.deviations[:, :directions, None]


def _rows(
    model: SiteModel,
    basis: Array,
    pairs: Sequence[tuple[int, int]],
    atoms: Atoms,
    target: Targets,
    quantities: Iterable[str],
) -> Iterator[tuple[str, Array, Array]]:
    """Kind of row, products q_a q_b and their derivatives, and what the linear model leaves."""
    wanted = {
        kind: value
        for kind in quantities
        if kind != "site_gradients" and (value := getattr(target, kind)) is not None
    }
    if not wanted:
        return
    linear = model.evaluate(atoms)
    known: dict[str, Any] = {
        "entropy": linear.values.sum(),
        "sites": linear.values,
        "gradient": linear.gradient,
        "strain": linear.strain,
    }
    columns = list(
        _products(model, basis, pairs, atoms, bool(wanted.keys() & {"gradient", "strain"}))
    )
    for kind, value in wanted.items():
        matrix = np.stack([np.ravel(column[kind]) for column in columns], axis=1)
        yield kind, matrix, np.ravel(value - known[kind])


def _products(
    model: SiteModel,
    basis: Array,
    pairs: Sequence[tuple[int, int]],
    atoms: Atoms,
    gradient: bool,
) -> Iterator[dict[str, Any]]:
    """Site values, sums and derivatives of every product q_a q_b of every kind of site."""
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
            sums = descriptor.site_model(atoms, readout, gradient=gradient, lists=lists)
            yield {
                "entropy": sums.values.sum(),
                "sites": sums.values,
                "gradient": sums.gradient,
                "strain": sums.strain,
            }
