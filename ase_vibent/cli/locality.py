"""`vibent locality`: gradients of site entropies against distance, and cutoffs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ase_vibent.analysis import (
    RecommendedCutoff,
    SiteLocality,
    TruncatedEntropies,
    site_locality,
    truncated_site_entropies,
)
from ase_vibent.calculators.hessian import HessianEntropyCalculator
from ase_vibent.cli.shared.arguments import (
    add_finite_differences,
    hessian_options,
    length,
    natural_number,
    number_or_any,
)
from ase_vibent.cli.shared.files import add_format, read_structures, require_plottable, show
from ase_vibent.errors import InvalidInputError
from ase_vibent.figures import locality_plot
from ase_vibent.potentials import CalculatorSpec
from ase_vibent.tables import error_bar, format_table

#: Atoms up to which a structure is diagonalised.
DENSE = 300
#: Error of the sites' entropies, k_B: gradients of far atoms are small.
TOLERANCE = 1e-10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("structure", help="file that ASE reads, its last frame")
    add_format(parser)
    parser.add_argument("--calculator", required=True, metavar="SPEC", help="as of 'vibent label'")
    parser.add_argument(
        "--sites",
        nargs="+",
        type=natural_number,
        default=[0],
        metavar="ATOM",
        help="numbers of the atoms whose entropies are looked at, from 0; default 0",
    )
    parser.add_argument(
        "--engine",
        choices=("lanczos", "contour", "dense"),
        help="default: dense up to 300 atoms, then lanczos, which takes one site at a time; "
        "contour for chains of thousands",
    )
    parser.add_argument(
        "--unstable",
        type=number_or_any,
        default=0,
        metavar="N",
        help="expected number of unstable modes, or 'any'; default 0",
    )
    parser.add_argument(
        "--fit-range",
        nargs=2,
        type=length,
        metavar=("FROM", "TO"),
        help="distances of the fit, Å; default: three times that of nearest neighbours to 0.4 of "
        "the cell's width",
    )
    parser.add_argument(
        "--undisplaced",
        metavar="STRUCTURE",
        help="the same atoms before they were displaced: with --cutoffs, entropies are measured "
        "with the displacements beyond a cutoff taken back",
    )
    parser.add_argument("--cutoffs", nargs="+", type=length, metavar="Å", help="of --undisplaced")
    parser.add_argument(
        "--smooth", action="store_true", help="let displacements fade from half the cutoff on"
    )
    parser.add_argument(
        "--error",
        type=length,
        default=1e-3,
        metavar="K_B",
        help="wanted error of a site's entropy, for which a cutoff is recommended; default 1e-3",
    )
    parser.add_argument(
        "--amplitude",
        type=length,
        default=0.1,
        metavar="Å",
        help="root mean square of every component of the displacements in mind; default 0.1",
    )
    parser.add_argument("--plot", metavar="FILE", help="figure (PNG, PDF, SVG)")
    add_finite_differences(parser)


def run(options: argparse.Namespace) -> int:
    """`vibent locality`: gradients against distance, and cutoffs."""
    require_plottable(options.plot)
    if (options.undisplaced is None) != (options.cutoffs is None):
        raise InvalidInputError("--undisplaced, --cutoffs: one needs the other")
    atoms = read_structures([options.structure], options.format)[1][-1]
    calculator = HessianEntropyCalculator(
        CalculatorSpec(options.calculator)(),
        engine=options.engine or ("dense" if len(atoms) <= DENSE else "lanczos"),
        tolerance=TOLERANCE,
        unstable=options.unstable,
        mesh="gamma",  # of sites the gradients are asked for, and of all atoms
        **asdict(hessian_options(options)),
    )
    fit_range = None if options.fit_range is None else tuple(options.fit_range)
    sites = site_locality(atoms, calculator, options.sites, fit_range=fit_range)
    truncated: list[TruncatedEntropies] = []
    if options.undisplaced is not None:
        reference = read_structures([options.undisplaced], options.format)[1][-1]
        truncated = [
            truncated_site_entropies(
                atoms, reference, calculator, site, options.cutoffs, smooth=options.smooth
            )
            for site in options.sites
        ]
    if options.plot:
        locality_plot(sites, truncated, options.amplitude, options.plot)
    show(
        options,
        {
            "sites": [_site_data(site, options) for site in sites],
            "truncated": [_truncation_data(found, options.error) for found in truncated],
        },
        "\n".join([_site_table(sites, options), *map(_truncation_table(options), truncated)]),
    )
    return 0


def _site_data(site: SiteLocality, options: argparse.Namespace) -> dict[str, Any]:
    order = np.argsort(site.distances, kind="stable")
    return {
        "site": site.site,
        "exponent": site.fit.exponent,
        "exponent_std": site.fit.exponent_std,
        "prefactor_kB_per_A": site.fit.prefactor,
        "fit_range_A": list(site.fit_range),
        "recommended_cutoff": _cutoff_data(
            _possible_cutoff(site, options.error, options.amplitude)
        ),
        "recommended_cutoff_worst_case": _cutoff_data(
            _possible_cutoff(site, options.error, options.amplitude, worst_case=True)
        ),
        "distances_A": site.distances[order].tolist(),
        "gradients_kB_per_A": site.magnitudes[order].tolist(),
    }


def _site_table(sites: Sequence[SiteLocality], options: argparse.Namespace) -> str:
    columns = {
        "site": ">",
        "exponent": "<",
        "prefactor (k_B/Å)": ">.3g",
        "fitted (Å)": "<",
        f"cutoff (Å) for {options.error:g} k_B: expected, worst case": "<",
    }
    rows = []
    for site in sites:
        cutoffs = [
            _possible_cutoff(site, options.error, options.amplitude, worst_case=worst)
            for worst in (False, True)
        ]
        std = site.fit.exponent_std
        source = "theory" if np.isnan(std) else f"± {error_bar(std, '.2f')}"
        exponent = f"{site.fit.exponent:.2f} {source}"
        fitted = "{:.2f} to {:.2f}".format(*site.fit_range)
        limits = ", ".join(map(_cutoff_text, cutoffs))
        rows.append((site.site, exponent, site.fit.prefactor, fitted, limits))
    lines = format_table(columns, rows)
    lines.append(
        f"gradient of a site's entropy ≤ prefactor × (distance/Å)^-exponent; displacements of "
        f"{options.amplitude:g} Å, independent or all against the site"
    )
    if any(np.isnan(site.fit.exponent_std) for site in sites):
        lines.append("theory: the cell is too narrow to fit an exponent; measured up to half of it")
    return "\n".join(lines)


def _truncation_data(found: TruncatedEntropies, error: float) -> dict[str, Any]:
    fit = found.fit
    return {
        "site": found.site,
        "largest_displacement_A": found.amplitude,
        "cutoffs_A": found.cutoffs.tolist(),
        "errors_kB": found.errors.tolist(),
        "exponent": None if fit is None else fit.exponent,
        "exponent_std": None if fit is None else fit.exponent_std,
        "constant_kB_per_A": None if fit is None else fit.prefactor,
        "recommended_cutoff": _cutoff_data(_possible_cutoff(found, error)),
    }


def _truncation_table(options: argparse.Namespace) -> Any:
    def table(found: TruncatedEntropies) -> str:
        lines = [f"site {found.site}, displacements up to {found.amplitude:.3g} Å taken back"]
        columns = {"cutoff (Å)": ">.2f", "error (k_B)": ">.3e"}
        lines += format_table(columns, zip(found.cutoffs, found.errors, strict=True))
        if found.fit is None:
            lines.append("no fit: it takes four cutoffs up to a quarter of the cell's width")
        else:
            lines.append(
                f"error ≈ {found.fit.prefactor:.3g} k_B/Å × (cutoff/Å)^-{found.fit.exponent:.2f} "
                f"× largest displacement (exponent ± {error_bar(found.fit.exponent_std, '.2f')})"
            )
        cutoff = _possible_cutoff(found, options.error)
        if cutoff is not None:
            lines.append(f"cutoff for {options.error:g} k_B: {_cutoff_text(cutoff)}")
        return "\n".join(lines)

    return table


def _possible_cutoff(
    found: SiteLocality | TruncatedEntropies, *arguments: float, **options: bool
) -> RecommendedCutoff | None:
    try:
        return found.recommended_cutoff(*arguments, **options)
    except InvalidInputError:  # no tried one, and no decay to go by
        return None


def _cutoff_data(cutoff: RecommendedCutoff | None) -> dict[str, Any] | None:
    return None if cutoff is None else {"cutoff_A": cutoff.cutoff, "measured": cutoff.measured}


def _cutoff_text(cutoff: RecommendedCutoff | None) -> str:
    if cutoff is None:
        return "none"
    return f"{cutoff.cutoff:.2f}{'' if cutoff.measured else ' (extrapolated)'}"
