"""Reports of formations and rates, and their tables, which the command line prints too."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ase.units import kB

from ase_vibent.calculators.base import EntropyCalculator
from ase_vibent.figures import formation_plot, rate_plot
from ase_vibent.report.page import Page
from ase_vibent.report.site_values import SiteValues, scene_of
from ase_vibent.report.structure import conditions, share_remark, unusual_atoms
from ase_vibent.tables import error_bar
from ase_vibent.thermo import DefectFormation, Extrapolation, TransitionRate

#: Structures that a page shows at most.
MOST_SCENES = 6
FORMATION_COLUMNS = {
    "structure": "<",
    "crystal": ">",
    "excess": "<",
    "E_f (eV)": ">.4f",
    "images (eV)": ">.4f",
    "S_f (k_B)": ">.4f",
    "± (k_B)": ">±.4f",
    "images (k_B)": ">.4f",
    "g": ">g",
    "at": "<",
}
SHARE_COLUMNS = {
    "structure": "<",
    "T (K)": ">g",
    "F_f (eV)": ">.4f",
    "exp(-F_vib/kT)": ">.4g",
    "per primitive cell": ">.3e",
    "per cm³": ">.3e",
}
RATE_COLUMNS = {
    "T (K)": ">g",
    "ν* (THz)": ">.4g",
    "ΔS (k_B)": ">.4f",
    "ΔF (eV)": ">.4f",
    "rate (1/s)": ">.4e",
    "one standard deviation": "<",
}
FORMATION_NOTES = (
    "images: to be added to E_f, and to S_f (--image-entropy), for what periodic images hold back,",
    "   by elasticity",
    "±: a model's standard deviation; of exact entropies the error by mesh, narrow cells and step;",
    "   what images hold back of the relaxation is in it where images are known",
    "g: equivalent defects per primitive cell, orientations included; -: unknown",
)


def formation_rows(name: str, found: DefectFormation) -> list[tuple]:
    """Energy and entropy of one defect, of its small cell too, under `FORMATION_COLUMNS`.

    Parameters
    ----------
    name : str
    found : DefectFormation

    Returns
    -------
    list of tuple
    """
    cells = [found] if found.small_cell is None else [found.small_cell, found]
    return [
        (
            name,
            cell.n_atoms,
            " ".join(f"{count:+d} {s}" for s, count in cell.excess.items()) or "none",
            cell.energy,
            cell.image_energy,
            cell.entropies[0] / kB,
            cell.entropy_std / kB,
            cell.image_entropies[0] / kB,
            cell.multiplicity,
            cell.condition,
        )
        for cell in cells
    ]


def share_rows(name: str, found: DefectFormation) -> list[tuple]:
    """Free energy and concentration at every temperature, under `SHARE_COLUMNS`.

    Parameters
    ----------
    name : str
    found : DefectFormation

    Returns
    -------
    list of tuple
    """
    known = found.is_countable
    unknown = [None] * len(found.temperatures)
    return list(
        zip(
            [name] * len(found.temperatures),
            found.temperatures,
            found.free_energies,
            found.degeneracy_factors,
            found.concentrations if known else unknown,
            found.densities if known else unknown,
            strict=True,
        )
    )


def limit_lines(limits: Mapping[str, Extrapolation]) -> list[str]:
    """Limits of large cells, in words.

    Parameters
    ----------
    limits : mapping of str to Extrapolation
        Of "entropy" and "energy", whichever are known.

    Returns
    -------
    list of str
    """
    scales = {"entropy": ("k_B", kB), "energy": ("eV", 1.0)}
    return [
        f"large cells: formation {kind} {limits[kind].limit / scale:.4f} ± "
        f"{error_bar(limits[kind].error / scale, '.4f')} {unit} (linear in 1/N)"
        for kind, (unit, scale) in scales.items()
        if kind in limits
    ]


def formation_page(
    formations: Mapping[str, DefectFormation],
    limits: Mapping[str, Extrapolation],
    calculator: EntropyCalculator,
    sites: Mapping[str, SiteValues | str],
) -> Page:
    """Page of defects.

    Parameters
    ----------
    formations : mapping of str to DefectFormation
        By name.
    limits : mapping of str to Extrapolation
        As of `limit_lines`.
    calculator : EntropyCalculator
        That of the entropies.
    sites : mapping of str to SiteValues or str
        By the same names; or why there are none.

    Returns
    -------
    Page
    """
    page = Page("Formation of defects" if len(formations) > 1 else "Formation of a defect")
    page.text(conditions(calculator, [t for f in formations.values() for t in f.temperatures]))
    pairs = list(formations.items())
    page.table(FORMATION_COLUMNS, [row for pair in pairs for row in formation_rows(*pair)])
    for line in limit_lines(limits):
        page.text(line)
    page.table(SHARE_COLUMNS, [row for pair in pairs for row in share_rows(*pair)])
    page.lines("\n".join(FORMATION_NOTES))
    page.figure(
        lambda file: formation_plot(formations, file),
        "Free energies and concentrations; of several sizes of cells, entropies against 1/N.",
    )
    _add_scenes(page, sites)
    return page


def rate_rows(found: TransitionRate) -> list[tuple]:
    """Rates at every temperature, under `RATE_COLUMNS`.

    Parameters
    ----------
    found : TransitionRate

    Returns
    -------
    list of tuple
    """
    bands = [
        None if math.isnan(low) else f"{low:.3e} to {high:.3e}"
        for low, high in zip(*found.band(), strict=True)
    ]
    return list(
        zip(
            found.temperatures,
            found.attempt_frequencies / 1e12,
            found.entropies / kB,
            found.free_energy_barriers,
            found.rates,
            bands,
            strict=True,
        )
    )


def rate_lines(found: TransitionRate) -> list[str]:
    """Barrier and attempt frequency in words, those of the small cell below.

    Parameters
    ----------
    found : TransitionRate

    Returns
    -------
    list of str
    """
    barrier = "unknown" if math.isnan(found.barrier) else f"{found.barrier:.4f} eV"
    lines = [
        f"barrier {barrier}; attempt frequency "
        f"{found.attempt_frequencies[0] / 1e12:.4g} THz, ± "
        f"{error_bar(found.log_std, '.2g')} in its logarithm"
    ]
    if found.small_cell is not None:
        small = found.small_cell
        lines.append(
            f"in the small cell: barrier {small.barrier:.4f} eV, attempt frequency "
            f"{small.attempt_frequencies[0] / 1e12:.4g} THz"
        )
    return lines


def rate_page(
    rate: TransitionRate, calculator: EntropyCalculator, sites: Mapping[str, SiteValues | str]
) -> Page:
    """Page of one event.

    Parameters
    ----------
    rate : TransitionRate
    calculator : EntropyCalculator
        That of the entropies.
    sites : mapping of str to SiteValues or str
        Of the saddle, with differences to the minimum; or why there are none.

    Returns
    -------
    Page
    """
    page = Page("Rate of an event")
    page.text(conditions(calculator, rate.temperatures))
    for line in rate_lines(rate):
        page.text(line)
    page.table(RATE_COLUMNS, rate_rows(rate))
    if not math.isnan(rate.barrier):
        page.figure(
            lambda file: rate_plot(rate, file),
            "Rate against inverse temperature, with the band of one standard deviation.",
        )
    _add_scenes(page, sites)
    return page


def _add_scenes(page: Page, sites: Mapping[str, SiteValues | str]) -> None:
    """Structures with their most unusual atoms, the first few of many."""
    for name, values in list(sites.items())[:MOST_SCENES]:
        page.heading(name)
        if isinstance(values, str):
            page.text(f"Not drawn: {values}")
            continue
        scene = scene_of(name, values)
        page.scene(scene)
        page.table(*unusual_atoms(scene))
        page.text(share_remark(values))
    if len(sites) > MOST_SCENES:
        page.text(
            f"The first {MOST_SCENES} of {len(sites)} structures are drawn; vibent report draws "
            "any other."
        )
