"""Figures of models: parity, learning curves."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ase_vibent.figures.saving import save
from ase_vibent.quantities import TARGETS, TargetName

if TYPE_CHECKING:
    from ase_vibent.training.report import Comparison


def parity_plot(
    sets: Mapping[str, Mapping[str, Comparison]],
    path: str | os.PathLike[str],
    target: TargetName = "entropy",
) -> None:
    """Predicted against exact values, one panel per kind of row, errors beneath.

    Parameters
    ----------
    sets : mapping of str to mapping of str to Comparison
        By name of the set (train, test, …), then by kind of row.
    path : path
        PNG, PDF or SVG by its ending.
    target : str
        What was learned.
    """
    from matplotlib.figure import Figure

    kinds = [
        quantity
        for quantity in TARGETS[target].quantities
        if any(quantity.name in comparisons for comparisons in sets.values())
    ]
    figure = Figure(figsize=(4.2 * len(kinds), 5.2), layout="constrained")
    panels = figure.subplots(2, len(kinds), squeeze=False, height_ratios=[3, 1], sharex="col")
    for column, kind in enumerate(kinds):
        upper, lower = panels[:, column]
        for name, comparisons in sets.items():
            if kind.name not in comparisons:
                continue
            comparison = comparisons[kind.name]
            error = comparison.predicted - comparison.exact
            rmse = f"{np.sqrt(np.mean(error**2)):.2g} {kind.unit}"
            style: dict[str, Any] = {"ls": "", "marker": ".", "ms": 4, "alpha": 0.6}
            upper.plot(comparison.exact, comparison.predicted, label=f"{name}: {rmse}", **style)
            lower.plot(comparison.exact, error, **style)
        low, high = upper.get_xlim()
        upper.plot([low, high], [low, high], color="0.4", lw=0.8, zorder=0)
        lower.axhline(0, color="0.4", lw=0.8, zorder=0)
        upper.set_title(kind.title)
        upper.set_ylabel(f"predicted ({kind.unit})")
        upper.legend(frameon=False, fontsize="small", title="RMSE", title_fontsize="small")
        lower.set_ylabel(f"error ({kind.unit})")
        lower.set_xlabel(f"exact ({kind.unit})")
    save(figure, path)


def curve_plot(
    curves: Mapping[str, Mapping[float, Sequence[float]]],
    axis: str,
    path: str | os.PathLike[str],
    target: TargetName = "entropy",
) -> None:
    """Errors of held-out configurations against what varies, on logarithmic axes.

    Parameters
    ----------
    curves : mapping of str to mapping of float to sequence of float
        By kind of row: the errors of all splits at every place of the axis.
    axis : str
        Title of the horizontal axis.
    path : path
        PNG, PDF or SVG by its ending.
    target : str
        What was learned.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4 * len(curves), 3.6), layout="constrained")
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for panel, (name, values) in zip(panels, curves.items(), strict=True):
        kind = TARGETS[target][name]
        places = sorted(values)
        for x in places:
            panel.plot([x] * len(values[x]), values[x], ".", color="C0", alpha=0.4, ms=5)
        panel.plot(places, [np.mean(values[x]) for x in places], "-", color="C0", lw=1.2)
        panel.set(xscale="log", yscale="log", xlabel=axis, title=kind.title)
        panel.set_ylabel(f"RMSE ({kind.unit})")
        panel.grid(which="both", lw=0.3, alpha=0.5)
    save(figure, path)
