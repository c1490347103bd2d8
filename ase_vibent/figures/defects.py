"""Figures of what defects do: formation, rates, paths, the compensation law."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.units import kB

from ase_vibent.figures.saving import Place, save, typeset, verbatim

if TYPE_CHECKING:
    from ase_vibent.thermo import CompensationLaw, DefectFormation, PathProfile, TransitionRate


def formation_plot(formations: Mapping[str, DefectFormation], path: Place) -> None:
    """Free energies, concentrations, and, with several sizes of cells, entropies against them.

    Parameters
    ----------
    formations : mapping of str to DefectFormation
        By name.
    path : path or binary file
        PNG, PDF or SVG by its ending; SVG into an open file.
    """
    from matplotlib.figure import Figure

    convergence = len({found.n_atoms for found in formations.values()}) > 1
    n_panels = 2 + convergence
    figure = Figure(figsize=(4 * n_panels, 3.6), layout="constrained")
    energies, shares, *rest = figure.subplots(1, n_panels)
    for name, found in formations.items():
        style = {"marker": "." if len(found.temperatures) < 2 else "", "label": verbatim(name)}
        energies.plot(found.temperatures, found.free_energies, **style)
        if not np.isnan(found.energy + found.multiplicity):
            shares.semilogy(1000 / found.temperatures, found.concentrations, **style)
    if convergence:
        _size_panel(rest[0], list(formations.values()))
    energies.set(xlabel="temperature (K)", ylabel="formation free energy (eV)")
    shares.set(xlabel="1000 K / temperature", ylabel="defects per primitive cell")
    energies.legend(frameon=False, fontsize="small")
    save(figure, path)


def _size_panel(panel: Any, formations: Sequence[DefectFormation]) -> None:
    from ase_vibent.thermo import have_a_limit, size_convergence

    for number, found in enumerate(formations):
        label = "" if number else "cells, ± one standard deviation"
        bars = {"yerr": found.entropy_std / kB} if found.entropy_std > 0 else {}
        panel.errorbar(
            1 / found.n_atoms, found.entropies[0] / kB, fmt="o", capsize=3, label=label, **bars
        )
    if have_a_limit(formations):
        limit = size_convergence(formations)
        ends = np.array([0.0, 1 / limit.n_atoms[0]])
        line = (limit.limit + limit.slope * ends) / kB
        panel.plot(ends, line, color="0.4", lw=0.8, label="fit, linear in 1 / atoms")
    panel.set(xlabel="1 / atoms of the perfect cell", ylabel=typeset("formation entropy (k_B)"))
    panel.legend(frameon=False, fontsize="small")


def rate_plot(rate: TransitionRate, path: Place) -> None:
    """Arrhenius plot with the band of one standard deviation.

    Parameters
    ----------
    rate : TransitionRate
    path : path or binary file
        PNG, PDF or SVG by its ending; SVG into an open file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.6), layout="constrained")
    panel = figure.subplots()
    inverse = 1000 / rate.temperatures
    panel.semilogy(inverse, rate.rates, ".-", lw=1, label="rate")
    panel.fill_between(inverse, *rate.band(), alpha=0.3, lw=0, label="± one standard deviation")
    panel.legend(frameon=False, fontsize="small")
    panel.set(xlabel="1000 K / temperature", ylabel="rate (1/s)")
    panel.set_title(
        f"attempt frequency {rate.attempt_frequencies[0] / 1e12:.3g} THz, "
        f"barrier {rate.barrier:.3f} eV",
        fontsize="medium",
    )
    save(figure, path)


def path_plot(profile: PathProfile, path: Place) -> None:
    """Energy and free energy along a path, and where the free energy is highest.

    Parameters
    ----------
    profile : PathProfile
    path : path or binary file
        PNG, PDF or SVG by its ending; SVG into an open file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.8), layout="constrained")
    panel = figure.subplots()
    places, energies, activation = profile.fine
    panel.plot(places, energies, "k-", lw=1, label="energy")
    panel.plot(profile.coordinates, profile.energies, "k.", ms=5, label="images")
    for k, temperature in enumerate(profile.temperatures):
        shifted = activation[:, k] - profile.activation[0, k]
        (line,) = panel.plot(places, shifted, lw=1, label=f"free energy, {temperature:g} K")
        panel.plot(profile.coordinates, profile.free_energies[:, k], ".", color=line.get_color())
        panel.axvline(profile.bottlenecks[k], color=line.get_color(), lw=0.6, ls=":")
    panel.plot([], [], color="0.4", lw=0.6, ls=":", label="where it is highest")
    panel.set(xlabel="path (Å)", ylabel="above the first image (eV)")
    panel.legend(frameon=False, fontsize="small")
    save(figure, path)


def compensation_plot(laws: Mapping[str, CompensationLaw], path: Place) -> None:
    """Attempt frequencies against barriers with both regressions, and the marginal variance.

    [Lapointe2022].

    Parameters
    ----------
    laws : mapping of str to CompensationLaw
        By name, such as direct and surrogate.
    path : path or binary file
        PNG, PDF or SVG by its ending; SVG into an open file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4 * len(laws), 6.0), layout="constrained")
    panels = figure.subplots(2, len(laws), squeeze=False, sharex=True, height_ratios=[2, 1])
    for (upper, lower), (name, law) in zip(panels.T, laws.items(), strict=True):
        upper.plot(law.barriers, law.logarithms, ".", ms=2, alpha=0.4, label="events")
        deviations = np.sqrt(law.variances)
        style = {"fmt": "o", "color": "0.4", "ms": 3, "lw": 0.8}
        upper.errorbar(law.centres, law.means, deviations, label="means ± deviations", **style)
        ends = law.edges[[0, -1]]
        upper.plot(ends, law.slope * ends + law.intercept, "k-", lw=1, label="regression, direct")
        marginal = law.marginal_slope * ends + law.marginal_intercept
        upper.plot(ends, marginal, "k--", lw=1, label="regression, marginal")
        upper.set_title(f"{verbatim(name)}: r = {law.correlation:.2f}, {law.slope:.2f} / eV")
        upper.set_ylabel("ln(attempt frequency / THz)")
        upper.legend(frameon=False, fontsize="small")
        lower.plot(law.centres, law.variances, "o", ms=3)
        lower.axhline(law.mean_variance, color="0.4", lw=0.8, label="mean")
        lower.legend(frameon=False, fontsize="small")
        lower.set(xlabel="barrier (eV)", ylabel="marginal variance")
    save(figure, path)
