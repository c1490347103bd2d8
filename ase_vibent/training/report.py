"""Errors of a site model on labelled structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import kB

from ase_vibent import dataset
from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidStructureError
from ase_vibent.harmonic.entropy import T0
from ase_vibent.model import SiteModel
from ase_vibent.training.energies import TARGETS
from ase_vibent.training.moments import labelled_correction
from ase_vibent.training.targets import QUANTITIES, ReferenceCrystals

#: Unit of each kind of row, by what is learned.
UNITS = {
    "entropy": {
        "total": "k_B",
        "gradient": "k_B/Å",
        "strain": "k_B",
        "sites": "k_B",
        "site_gradients": "k_B/Å",
        "quantum": "k_B T0",
    },
    "energy": {"total": "eV", "gradient": "eV/Å", "strain": "eV", "force_constants": "eV/Å²"},
}


@dataclass(frozen=True)
class Comparison:
    """Predictions beside exact values of one kind of row.

    Attributes
    ----------
    exact, predicted : ndarray, shape (n_rows,), see `UNITS`
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
    model: SiteModel, frames: Sequence[Atoms], references: ReferenceCrystals | None = None
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

    Returns
    -------
    dict of str to Comparison
        By kind of row: those of `QUANTITIES`; and quantum: corrections of site free energies at
        T0 = 300 K in units of k_B T0, from moments.
    """
    if references is None:
        references = TARGETS[model.target](frames)
    pairs: dict[str, list[tuple[Any, Any]]] = {kind: [] for kind in (*QUANTITIES, "quantum")}
    for number, atoms in enumerate(frames):
        target = references.targets(atoms, number)
        sums = model.evaluate(atoms)
        pairs["total"].append((target.total, sums.values.sum()))
        pairs["gradient"].append((target.gradient, sums.gradient))
        pairs["strain"].append((target.strain, sums.strain))
        pairs["sites"].append((target.sites, sums.values))
        if target.force_constants is not None and target.displaced is not None:
            own = model.force_constants(atoms, target.displaced.tolist())
            pairs["force_constants"].append((target.force_constants, own))
        if target.site_gradients is not None:
            pairs["site_gradients"].append((target.site_gradients, model.site_gradients(atoms)))
        if model.moments is not None and dataset.MOMENTS in atoms.arrays:
            pairs["quantum"].append(_corrections(model, atoms))
    comparisons = {}
    for kind, values in pairs.items():
        present = [(np.ravel(e), np.ravel(p)) for e, p in values if e is not None]
        if present:
            exact, predicted = (np.concatenate(side) for side in zip(*present, strict=True))
            comparisons[kind] = Comparison(exact, predicted)
    return comparisons


def _corrections(model: SiteModel, atoms: Atoms) -> tuple[Array, Array]:
    """From labels and predicted, of every site; NaN where its moments admit no correction."""
    try:
        exact = labelled_correction(atoms, T0)
        predicted = model.quantum_correction(atoms, T0, gradient=False)[1].values
    except InvalidStructureError:
        exact = predicted = np.full(len(atoms), np.nan)
    return exact / (kB * T0), predicted / (kB * T0)


def format_metrics(metrics: dict[str, dict[str, dict[str, float]]], target: str = "entropy") -> str:
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
    lines = [
        f"{'set':<8} {'rows':<14} {'n':>7} {'RMSE':>10} {'MAE':>10} {'max':>10} {'R²':>9}  unit"
    ]
    for name, kinds in metrics.items():
        for kind, m in kinds.items():
            lines.append(
                f"{name:<8} {kind:<14} {m['n']:>7.0f} {m['rmse']:>10.3e} {m['mae']:>10.3e} "
                f"{m['max']:>10.3e} {m['r2']:>9.6f}  {UNITS[target][kind]}"
            )
    return "\n".join(lines)
