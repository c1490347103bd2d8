"""Errors of a site model on labelled structures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.units import kB

from ase_vibent import dataset
from ase_vibent.arrays import Array
from ase_vibent.descriptors import SiteSums
from ase_vibent.harmonic.entropy import T0
from ase_vibent.model import SiteModel
from ase_vibent.quantities import TARGETS, TargetName
from ase_vibent.tables import format_table
from ase_vibent.training.energies import REFERENCES
from ase_vibent.training.floors import require_same_floor
from ase_vibent.training.moments import moment_targets
from ase_vibent.training.targets import FrameTargets, ReferenceCrystals


@dataclass(frozen=True)
class Comparison:
    """Predictions beside exact values of one kind of row.

    Attributes
    ----------
    exact, predicted : ndarray, shape (n_rows,)
        In the unit of the `Quantity`.
    """

    exact: Array
    predicted: Array

    def metrics(self) -> dict[str, float]:
        """Number of rows, RMSE, MAE, largest error, R², and spread of the exact values."""
        error = self.predicted - self.exact
        spread = float(np.std(self.exact))
        noise = 1e-12 * float(np.abs(self.exact).max())
        mean_square = float(np.mean(error**2))
        return {
            "n": len(error),
            "rmse": mean_square**0.5,
            "mae": float(np.mean(np.abs(error))),
            "max": float(np.abs(error).max()),
            "r2": 1 - mean_square / spread**2 if spread > noise else float("nan"),
            "spread": spread,
        }


@dataclass(frozen=True)
class Report:
    """Comparisons on training and held-out frames, by kind of row."""

    train: dict[str, Comparison]
    test: dict[str, Comparison]

    def metrics(self) -> dict[str, dict[str, dict[str, float]]]:
        """Metrics by set and kind of row, ready for JSON."""
        return {
            name: {kind: comparison.metrics() for kind, comparison in kinds.items()}
            for name, kinds in (("train", self.train), ("test", self.test))
            if kinds
        }


def evaluate_frames(
    model: SiteModel,
    frames: Sequence[Atoms],
    references: ReferenceCrystals | None = None,
    sums: Sequence[SiteSums] | None = None,
) -> dict[str, Comparison]:
    """Compare a model with every label the frames have.

    Total entropies are extensive ones: the Γ-point label plus what the perfect crystal of the
    frame's cell lacks against its converged bulk value.

    Parameters
    ----------
    model : SiteModel
    frames : sequence of Atoms
        Labelled.
    references : ReferenceCrystals, optional
        By default those among the frames.
    sums : sequence of SiteSums, optional
        What `model.evaluate` gives for the frames, where it is known.

    Returns
    -------
    dict of str to Comparison
        By name of the `Quantity`.
    """
    if references is None:
        references = REFERENCES[model.target](frames)
    require_same_floor(model, references)
    pairs: defaultdict[str, list[tuple[Array, Array]]] = defaultdict(list)
    for number, atoms in enumerate(frames):
        own = model.evaluate(atoms) if sums is None else sums[number]
        for name, pair in _compare(model, atoms, references.targets(atoms, number), own):
            pairs[name].append(pair)
    comparisons: dict[str, Comparison] = {}
    for quantity in TARGETS[model.target].quantities:
        if present := pairs[quantity.name]:
            exact, predicted = (
                np.concatenate([np.ravel(part) for part in side])
                for side in zip(*present, strict=True)
            )
            comparisons[quantity.name] = Comparison(exact, predicted)
    return comparisons


def _compare(
    model: SiteModel, atoms: Atoms, target: FrameTargets, sums: SiteSums
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Exact and predicted values of all that a frame is labelled with, by kind of row."""
    for name, exact, predicted in (
        ("total", target.total, sums.values.sum()),
        ("gradient", target.gradient, sums.gradient),
        ("strain", target.strain, sums.strain),
        ("sites", target.sites, sums.values),
    ):
        if exact is not None:
            yield name, (exact, predicted)
    if target.force_constants is not None and target.displaced is not None:
        own = model.force_constants(atoms, target.displaced.tolist())
        yield "force_constants", (target.force_constants, own)
    if target.site_gradients is not None:
        yield "site_gradients", (target.site_gradients, model.site_gradients(atoms))
    if model.moments is not None and dataset.MOMENTS in atoms.arrays:
        yield "quantum", _moment_parts(model, atoms)


def _moment_parts(model: SiteModel, atoms: Atoms) -> tuple[Array, Array]:
    """What the moments of every site add to its free energy, from labels and predicted."""
    moments = model.require_moments()
    exact = moment_targets(atoms, [chemical_symbols[number] for number in moments.numbers])
    return (
        moments.free_energies(model.descriptor, atoms, T0, exact) / (kB * T0),
        moments.free_energies(model.descriptor, atoms, T0) / (kB * T0),
    )


#: Columns of `metric_rows`.
METRIC_COLUMNS = {
    "set": "<",
    "rows": "<",
    "n": ">.0f",
    "RMSE": ">.3e",
    "MAE": ">.3e",
    "max": ">.3e",
    "R²": ">.6f",
    "unit": "<",
}


def metric_rows(
    metrics: dict[str, dict[str, dict[str, float]]], target: TargetName = "entropy"
) -> list[tuple]:
    """Rows of `Report.metrics` under `METRIC_COLUMNS`.

    Parameters
    ----------
    metrics : dict
    target : str
        What the model predicts.

    Returns
    -------
    list of tuple
    """
    keys = ("n", "rmse", "mae", "max", "r2")
    return [
        (name, kind, *(values[key] for key in keys), TARGETS[target][kind].unit)
        for name, kinds in metrics.items()
        for kind, values in kinds.items()
    ]


def format_metrics(
    metrics: dict[str, dict[str, dict[str, float]]], target: TargetName = "entropy"
) -> str:
    """Table of `Report.metrics`.

    Parameters
    ----------
    metrics : dict
    target : str
        What the model predicts.

    Returns
    -------
    str
    """
    return "\n".join(format_table(METRIC_COLUMNS, metric_rows(metrics, target)))
