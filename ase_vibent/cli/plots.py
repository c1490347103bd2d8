"""Figures. They only draw; numbers come from the rooms above."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.units import kB

from ase_vibent.quantities import TARGETS, TargetName
from ase_vibent.training.report import Comparison

if TYPE_CHECKING:
    from ase_vibent.analysis import SiteLocality, TruncatedEntropies
    from ase_vibent.thermo import (
        CompensationLaw,
        DefectFormation,
        PathProfile,
        TransitionRate,
    )


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
    figure.savefig(path, dpi=150)


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
    figure.savefig(path, dpi=150)


def formation_plot(formations: Mapping[str, DefectFormation], path: str | os.PathLike[str]) -> None:
    """Free energies, concentrations, and, with several sizes of cells, entropies against them.

    Parameters
    ----------
    formations : mapping of str to DefectFormation
        By name.
    path : path
        PNG, PDF or SVG by its ending.
    """
    from matplotlib.figure import Figure

    convergence = len({found.n_atoms for found in formations.values()}) > 1
    n_panels = 2 + convergence
    figure = Figure(figsize=(4 * n_panels, 3.6), layout="constrained")
    energies, shares, *rest = figure.subplots(1, n_panels)
    for name, found in formations.items():
        style = {"marker": "." if len(found.temperatures) < 2 else "", "label": name}
        energies.plot(found.temperatures, found.free_energies, **style)
        if not np.isnan(found.energy + found.multiplicity):
            shares.semilogy(1000 / found.temperatures, found.concentrations, **style)
    if convergence:
        _size_panel(rest[0], list(formations.values()))
    energies.set(xlabel="temperature (K)", ylabel="formation free energy (eV)")
    shares.set(xlabel="1000 K / temperature", ylabel="defects per primitive cell")
    energies.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)


def _size_panel(panel: Any, formations: Sequence[DefectFormation]) -> None:
    from ase_vibent.thermo import have_a_limit, size_convergence

    for found in formations:
        bars = {"yerr": found.entropy_std / kB} if found.entropy_std > 0 else {}
        panel.errorbar(1 / found.n_atoms, found.entropies[0] / kB, fmt="o", capsize=3, **bars)
    if have_a_limit(formations):
        limit = size_convergence(formations)
        ends = np.array([0.0, 1 / limit.n_atoms[0]])
        panel.plot(ends, (limit.limit + limit.slope * ends) / kB, color="0.4", lw=0.8)
    panel.set(xlabel="1 / atoms of the perfect cell", ylabel="formation entropy ($k_B$)")


def rate_plot(rate: TransitionRate, path: str | os.PathLike[str]) -> None:
    """Arrhenius plot with the band of one standard deviation.

    Parameters
    ----------
    rate : TransitionRate
    path : path
        PNG, PDF or SVG by its ending.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.6), layout="constrained")
    panel = figure.subplots()
    inverse = 1000 / rate.temperatures
    panel.semilogy(inverse, rate.rates, ".-", lw=1)
    panel.fill_between(inverse, *rate.band(), alpha=0.3, lw=0)
    panel.set(xlabel="1000 K / temperature", ylabel="rate (1/s)")
    panel.set_title(
        f"$\\nu^*$ = {rate.attempt_frequencies[0] / 1e12:.3g} THz, "
        f"$\\Delta E$ = {rate.barrier:.3f} eV",
        fontsize="medium",
    )
    figure.savefig(path, dpi=150)


def path_plot(profile: PathProfile, path: str | os.PathLike[str]) -> None:
    """Energy and free energy along a path, and where the free energy is highest.

    Parameters
    ----------
    profile : PathProfile
    path : path
        PNG, PDF or SVG by its ending.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.8), layout="constrained")
    panel = figure.subplots()
    places, energies, activation = profile.fine
    panel.plot(places, energies, "k-", lw=1, label="energy")
    panel.plot(profile.coordinates, profile.energies, "k.", ms=5)
    for k, temperature in enumerate(profile.temperatures):
        shifted = activation[:, k] - profile.activation[0, k]
        (line,) = panel.plot(places, shifted, lw=1, label=f"free energy, {temperature:g} K")
        panel.plot(profile.coordinates, profile.free_energies[:, k], ".", color=line.get_color())
        panel.axvline(profile.bottlenecks[k], color=line.get_color(), lw=0.6, ls=":")
    panel.set(xlabel="path (Å)", ylabel="above the first image (eV)")
    panel.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)


def compensation_plot(laws: Mapping[str, CompensationLaw], path: str | os.PathLike[str]) -> None:
    """Attempt frequencies against barriers with both regressions, and the marginal variance.

    [Lapointe2022].

    Parameters
    ----------
    laws : mapping of str to CompensationLaw
        By name, such as direct and surrogate.
    path : path
        PNG, PDF or SVG by its ending.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4 * len(laws), 6.0), layout="constrained")
    panels = figure.subplots(2, len(laws), squeeze=False, sharex=True, height_ratios=[2, 1])
    for (upper, lower), (name, law) in zip(panels.T, laws.items(), strict=True):
        upper.plot(law.barriers, law.logarithms, ".", ms=2, alpha=0.4)
        deviations = np.sqrt(law.variances)
        upper.errorbar(law.centres, law.means, deviations, fmt="o", color="0.4", ms=3, lw=0.8)
        ends = law.edges[[0, -1]]
        upper.plot(ends, law.slope * ends + law.intercept, "k-", lw=1, label="direct")
        marginal = law.marginal_slope * ends + law.marginal_intercept
        upper.plot(ends, marginal, "k--", lw=1, label="marginal")
        upper.set_title(f"{name}: r = {law.correlation:.2f}, {law.slope:.2f} / eV")
        upper.set_ylabel("ln(attempt frequency / THz)")
        upper.legend(frameon=False, fontsize="small")
        lower.plot(law.centres, law.variances, "o", ms=3)
        lower.axhline(law.mean_variance, color="0.4", lw=0.8)
        lower.set(xlabel="barrier (eV)", ylabel="marginal variance")
    figure.savefig(path, dpi=150)


def locality_plot(
    sites: Sequence[SiteLocality],
    truncated: Sequence[TruncatedEntropies],
    amplitude: float,
    path: str | os.PathLike[str],
) -> None:
    """Gradients of site entropies against distance, and errors of cutoffs.

    Parameters
    ----------
    sites : sequence of SiteLocality
    truncated : sequence of TruncatedEntropies
        Measured errors, of the same sites; may be empty.
    amplitude : float, Å
        Of the displacements for which errors are expected.
    path : path
        PNG, PDF or SVG by its ending.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter

    figure = Figure(figsize=(9.2, 3.8), layout="constrained")
    gradients, errors = figure.subplots(1, 2)
    for k, site in enumerate(sites):
        colour = f"C{k}"
        far = (site.distances > 0) & (site.magnitudes > 0)
        gradients.loglog(
            site.distances[far], site.magnitudes[far], ".", color=colour, alpha=0.25, ms=3, mew=0
        )
        gradients.loglog(*site.envelope.T, "o", color=colour, ms=4)
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
    gradients.set(xlabel="distance (Å)", ylabel=r"$|\partial S_\ell/\partial u_n|$ ($k_B$/Å)")
    errors.set(xlabel="cutoff (Å)", ylabel="error of the site entropy ($k_B$)")
    errors.set_title(f"displacements of {amplitude:g} Å", fontsize="medium")
    for panel in (gradients, errors):
        panel.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.2, 0.4)))
        panel.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)
