"""Figure of site values: how they are spread, and how they fall off around a defect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ase_vibent.figures.saving import Place, save, typeset, verbatim

if TYPE_CHECKING:
    from ase_vibent.arrays import Array

#: Points from which on they are pixels, in figures of lines too.
MANY = 3000


def sites_plot(values: Array, distances: Array, name: str, path: Place) -> None:
    """Numbers of sites by value, and values against the distance from the most unusual site.

    Parameters
    ----------
    values : ndarray, shape (N,)
        In k_B; NaN where unknown.
    distances : ndarray, shape (N,), Å
    name : str
        What the values are.
    path : path or binary file
        PNG, PDF or SVG by its ending; SVG into an open file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.2, 3.6), layout="constrained")
    counts, decay = figure.subplots(1, 2)
    label = typeset(f"{verbatim(name)} (k_B)")
    known = values[np.isfinite(values)]
    counts.hist(known, bins=60, color="0.4")
    counts.set(yscale="log", xlabel=label, ylabel="sites")
    style = {"ls": "", "marker": ".", "ms": 4, "alpha": 0.5, "rasterized": len(values) > MANY}
    decay.plot(distances, values, color="C0", **style)
    decay.axhline(0, color="0.4", lw=0.8, zorder=0)
    decay.set(xlabel="distance from the most unusual site (Å)", ylabel=label)
    save(figure, path)
