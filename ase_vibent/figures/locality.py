"""Figure of how far away atoms matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ase_vibent.figures.saving import Place, save, typeset

if TYPE_CHECKING:
    from ase_vibent.analysis import SiteLocality, TruncatedEntropies


def locality_plot(
    sites: Sequence[SiteLocality],
    truncated: Sequence[TruncatedEntropies],
    amplitude: float,
    path: Place,
) -> None:
    """Gradients of site entropies against distance, and errors of cutoffs.

    Parameters
    ----------
    sites : sequence of SiteLocality
    truncated : sequence of TruncatedEntropies
        Measured errors, of the same sites; may be empty.
    amplitude : float, Å
        Of the displacements for which errors are expected.
    path : path or binary file
        PNG, PDF or SVG by its ending; SVG into an open file.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter

    figure = Figure(figsize=(9.2, 3.8), layout="constrained")
    gradients, errors = figure.subplots(1, 2)
    for k, site in enumerate(sites):
        colour = f"C{k}"
        far = (site.distances > 0) & (site.magnitudes > 0)
        gradients.loglog(
            site.distances[far],
            site.magnitudes[far],
            ".",
            color=colour,
            alpha=0.25,
            ms=3,
            mew=0,
            label=f"site {site.site}, each atom",
        )
        label = f"site {site.site}, envelope"
        gradients.loglog(*site.envelope.T, "o", color=colour, ms=4, label=label)
        r = np.geomspace(*site.fit_range, 20)
        label = f"site {site.site}: $r^{{-{site.fit.exponent:.2f}}}$"
        gradients.loglog(r, site.fit(r), "--", color=colour, lw=1, label=label)
        r = np.geomspace(site.fit_range[0] / 2, min(site.reach, site.distances.max()), 60)
        label = f"site {site.site}, expected"
        errors.loglog(r, site.rms_errors(r, amplitude), "-", color=colour, lw=1, label=label)
    for k, found in enumerate(truncated):
        used = found.errors > 0
        label = f"site {found.site}, truncated"
        errors.loglog(
            found.cutoffs[used], found.errors[used], "o", color=f"C{k}", ms=4, label=label
        )
    gradients.set(
        xlabel="distance (Å)", ylabel=typeset(r"$|\partial S_\ell/\partial u_n|$ (k_B/Å)")
    )
    errors.set(xlabel="cutoff (Å)", ylabel=typeset("error of the site entropy (k_B)"))
    errors.set_title(f"displacements of {amplitude:g} Å", fontsize="medium")
    for panel in (gradients, errors):
        panel.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.2, 0.4)))
        panel.legend(frameon=False, fontsize="small")
    save(figure, path)
