"""Figures of models: parity, learning curves, coverage of stated errors."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binom, norm

from ase_vibent.figures.saving import Place, save, verbatim
from ase_vibent.quantities import TARGETS, TargetName

if TYPE_CHECKING:
    from ase_vibent.training.coverage import StatedErrors
    from ase_vibent.training.report import Comparison


def parity_plot(
    sets: Mapping[str, Mapping[str, Comparison]],
    path: Place,
    target: TargetName = "entropy",
) -> None:
    """Predicted against exact values, one panel per kind of row, errors beneath.

    Parameters
    ----------
    sets : mapping of str to mapping of str to Comparison
        By name of the set (train, test, …), then by kind of row.
    path : path or binary file
        PNG, PDF or SVG by its ending; SVG into an open file.
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
            upper.plot(
                comparison.exact, comparison.predicted, label=f"{verbatim(name)}: {rmse}", **style
            )
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
    path: Place,
    target: TargetName = "entropy",
) -> None:
    """Errors of held-out configurations against what varies, on logarithmic axes.

    Parameters
    ----------
    curves : mapping of str to mapping of float to sequence of float
        By kind of row: the errors of all splits at every place of the axis.
    axis : str
        Title of the horizontal axis.
    path : path or binary file
        PNG, PDF or SVG by its ending; SVG into an open file.
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


def calibration_plot(calibration: StatedErrors, path: Place) -> None:
    """Coverage of stated errors against what they promise, and the errors in their units.

    Parameters
    ----------
    calibration : StatedErrors
    path : path or binary file
        PNG, PDF or SVG by its ending; SVG into an open file.
    """
    from matplotlib.figure import Figure

    from ase_vibent.training.coverage import CONFIDENCE, FEWEST

    figure = Figure(figsize=(9, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    levels = np.linspace(0.01, 0.99, 99)
    n = len(calibration.errors)
    low, high = (binom.ppf(tail, n, levels) / n for tail in _tails(CONFIDENCE))
    band = f"where {CONFIDENCE:.0%} of models lie whose stated errors hold"
    left.fill_between(levels, low, high, color="0.88", lw=0, label=band)
    left.plot([0, 1], [0, 1], color="0.4", lw=0.8)
    for number, (name, group) in enumerate(calibration.groups()):
        if number and (len(group.errors) < FEWEST or name.startswith("cells of")):
            continue
        shares = [group.coverage(level)[0] for level in levels]
        style = {"lw": 1.2} if number else {"lw": 2.4, "color": "k"}
        left.step(
            levels, shares, where="mid", label=f"{verbatim(name)}: {len(group.errors)}", **style
        )
    left.text(0.97, 0.03, "stated errors too small", ha="right", color="0.4")
    left.text(0.03, 0.97, "stated errors too large", va="top", color="0.4")
    left.set(xlabel="coverage that the model states", ylabel="share of the cells inside")
    left.set(xlim=(0, 1), ylim=(0, 1))
    scores = calibration.errors / np.maximum(calibration.stds, 1e-300)
    edges = np.linspace(-4, 4, 33)
    right.hist(
        np.clip(scores, -4, 4), edges, density=True, color="0.75", label="errors of all cells"
    )
    right.plot(edges, norm.pdf(edges), color="C3", lw=0.8, label="errors as stated")
    right.set(xlabel="error / stated standard deviation (beyond 4: at 4)", ylabel="density")
    figure.suptitle("\n".join(textwrap.wrap(calibration.verdict(), 100)), fontsize="medium")
    figure.legend(
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize="small",
        title="cells by kind, and what they are compared with",
    )
    save(figure, path)


def _tails(confidence: float) -> tuple[float, float]:
    return (1 - confidence) / 2, (1 + confidence) / 2
