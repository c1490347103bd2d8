"""Figures of models: parity, learning curves, coverage of stated errors."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binom, norm

from ase_vibent.figures.saving import Place, save, typeset, verbatim
from ase_vibent.quantities import TARGETS, Quantity, TargetName

if TYPE_CHECKING:
    from ase_vibent.training.coverage import StatedErrors
    from ase_vibent.training.report import Comparison


def parity_plot(
    sets: Mapping[str, Mapping[str, Comparison]],
    path: Place,
    target: TargetName = "entropy",
) -> None:
    """Predicted against exact values, a column for each kind of row, errors of each set beneath.

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
    figure = Figure(figsize=(4.2 * len(kinds), 3.8 + 1.2 * len(sets)), layout="constrained")
    heights = [3, *(1 for _ in sets)]
    panels = figure.subplots(
        len(heights), len(kinds), squeeze=False, height_ratios=heights, sharex="col"
    )
    for column, kind in zip(panels.T, kinds, strict=True):
        _parity_column(column, kind, sets)
    figure.align_ylabels()
    save(figure, path)


def _parity_column(
    panels: Any, kind: Quantity, sets: Mapping[str, Mapping[str, Comparison]]
) -> None:
    upper, unit = panels[0], typeset(kind.unit)
    for number, (name, comparisons) in enumerate(sets.items()):
        lower = panels[1 + number]
        lower.set_ylabel(f"error ({unit})")
        if kind.name not in comparisons:
            continue
        comparison = comparisons[kind.name]
        error = comparison.predicted - comparison.exact
        rmse = f"{np.sqrt(np.mean(error**2)):.2g} {unit}"
        few = len(error) < 100
        style: dict[str, Any] = {"ls": "", "marker": ".", "color": f"C{number}"}
        style |= {"ms": 9 if few else 5, "alpha": 0.8 if few else 0.5, "mew": 0}
        title = f"{verbatim(name)}: " if name else ""
        upper.plot(comparison.exact, comparison.predicted, label=f"{title}RMSE {rmse}", **style)
        lower.plot(comparison.exact, error, **style)
        lower.axhline(0, color="0.4", lw=0.8, zorder=0)
        lower.set_title(f"{title}{len(error)} values", loc="left", fontsize="small")
    ends = upper.get_xlim()
    upper.plot(ends, ends, color="0.4", lw=0.8, zorder=0, label="predicted = exact")
    upper.set_title(kind.title)
    upper.set_ylabel(f"predicted ({unit})")
    upper.legend(frameon=False, fontsize="small", loc="upper left")
    panels[-1].set_xlabel(f"exact ({unit})")


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
        points = [(x, error) for x in places for error in values[x]]
        panel.plot(*np.transpose(points), ".", color="C0", alpha=0.4, ms=5, label="each split")
        means = [np.mean(values[x]) for x in places]
        panel.plot(places, means, "-", color="C0", lw=1.2, label="mean")
        panel.set(xscale="log", yscale="log", xlabel=axis, title=kind.title)
        panel.set_xticks(places, [f"{x:g}" for x in places], fontsize="small")
        panel.set_xticks([], minor=True)
        panel.set_ylabel(f"RMSE ({typeset(kind.unit)})")
        panel.grid(which="both", lw=0.3, alpha=0.5)
        panel.legend(frameon=False, fontsize="small")
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
    left.plot([0, 1], [0, 1], color="0.4", lw=0.8, label="as stated")
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
