"""`vibent rate`: attempt frequency, barrier and rate of one event."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from ase import Atoms

from ase_vibent.calculators.base import EntropyCalculator
from ase_vibent.calculators.hessian import HessianEntropyCalculator
from ase_vibent.cli.shared.files import (
    add_format,
    read_structures,
    require_page,
    require_plottable,
    show,
)
from ase_vibent.cli.shared.hessians import FILES, add_reading, read_hessians
from ase_vibent.cli.shared.thermodynamics import (
    add_dilute,
    add_thermodynamics,
    calculators,
    soft_mode_calls,
    soft_mode_lines,
)
from ase_vibent.errors import InvalidInputError, VibentError
from ase_vibent.figures import rate_plot
from ase_vibent.report.defects import RATE_COLUMNS, rate_lines, rate_page, rate_rows
from ase_vibent.report.site_values import SiteValues, site_values
from ase_vibent.structures.cells import closest_supercell, repeated
from ase_vibent.tables import format_table
from ase_vibent.thermo import TransitionRate, transition_rate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    for name in ("minimum", "saddle"):
        parser.add_argument(
            name,
            nargs="?",
            help="file that ASE reads, its last frame; with --hessian that of its file by default",
        )
    parser.add_argument(
        "--hessian", nargs=2, metavar=("MINIMUM", "SADDLE"), help=f"of both: {FILES}"
    )
    add_reading(parser)
    add_format(parser)
    add_thermodynamics(parser)
    add_dilute(parser, "the saddle is found again")
    parser.add_argument(
        "--reference", metavar="CRYSTAL", help="perfect crystal, for --dilute; a unit cell will do"
    )
    parser.add_argument(
        "--unchecked",
        action="store_true",
        help="do not prove the number of unstable modes by force calls, where a model gives "
        "entropies",
    )


def run(options: argparse.Namespace) -> int:
    """`vibent rate`: attempt frequency, barrier and rate of one event."""
    require_plottable(options.plot)
    require_page(options.report)
    given = [path for path in (options.minimum, options.saddle) if path is not None]
    if len(given) != 2 and (given or not options.hessian):
        raise InvalidInputError("minimum, saddle: give both files, or --hessian MINIMUM SADDLE")
    structures = [read_structures([path], options.format)[1][-1] for path in given]
    hessians = read_hessians(options, options.hessian or (), structures if options.hessian else ())
    calculator, potential, surrogate = calculators(options, hessians)
    calculator.temperature = options.temperature[0]  # of site values
    minimum, saddle = [stored.atoms for stored in hessians] or structures
    if (options.dilute is None) != (options.reference is None):
        raise InvalidInputError("--dilute, --reference: one goes with the other")
    crystal = cell = None
    if options.reference:
        crystal = closest_supercell(
            minimum, read_structures([options.reference], options.format)[1]
        )
        cell = repeated(crystal, options.dilute)
    found = transition_rate(
        minimum,
        saddle,
        calculator,
        options.temperature,
        potential=potential,
        check_modes=not options.unchecked,
        surrogate=surrogate,
        crystal=crystal,
        cell=cell,
        fmax=options.fmax,
    )
    if options.plot:
        rate_plot(found, options.plot)
    if options.report:
        sites = {"Saddle": _sites(minimum, saddle, calculator)}
        rate_page(found, calculator, sites).write(options.report)
    show(
        options,
        {**_data(found), **soft_mode_calls(calculator, surrogate)},
        "\n".join([_table(found), *soft_mode_lines(calculator, surrogate)]),
    )
    return 0


def _data(found: TransitionRate) -> dict[str, Any]:
    lower, upper = found.band()
    return {
        "barrier_eV": found.barrier,
        "log_attempt_frequency_std": found.log_std,
        "temperatures_K": found.temperatures.tolist(),
        "attempt_frequencies_Hz": found.attempt_frequencies.tolist(),
        "entropy_differences_eV_per_K": found.entropies.tolist(),
        "rates_per_s": found.rates.tolist(),
        "rates_lower_per_s": lower.tolist(),
        "rates_upper_per_s": upper.tolist(),
        "small_cell": None if found.small_cell is None else _data(found.small_cell),
    }


def _table(found: TransitionRate) -> str:
    title, *small = rate_lines(found)
    return "\n".join([title, *format_table(RATE_COLUMNS, rate_rows(found)), *small])


def _sites(minimum: Atoms, saddle: Atoms, calculator: EntropyCalculator) -> SiteValues | str:
    """Site entropies of the saddle beside those of the minimum; or why there are none."""
    if isinstance(calculator, HessianEntropyCalculator):
        calculator.set(unstable="any")  # the rate has counted them
    try:
        before, values = site_values(minimum, calculator), site_values(saddle, calculator)
    except VibentError as error:
        return str(error)
    differences = values.entropies - before.entropies
    return replace(values, differences=differences, beside="the minimum")
