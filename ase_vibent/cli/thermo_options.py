"""Options of `vibent formation` and `vibent rate`."""

from __future__ import annotations

import argparse
import math
from contextlib import suppress
from typing import Any

from ase.data import chemical_symbols

from ase_vibent.cli import (
    MODEL,
    add_finite_differences,
    add_temperatures,
    length,
)


def add_thermo_commands(commands: Any) -> None:
    """Add the parsers of both commands.

    Parameters
    ----------
    commands : what `add_subparsers` returned
    """
    _add_formation(commands)
    _add_rate(commands)


def _add_formation(commands: Any) -> None:
    formation = commands.add_parser(
        "formation", help="formation entropy, free energy and concentration of defects"
    )
    formation.add_argument("defects", nargs="+", help="files that ASE reads, all frames of each")
    formation.add_argument(
        "--reference",
        required=True,
        metavar="CRYSTAL",
        help="perfect crystal, a unit cell or a supercell",
    )
    _add_thermodynamics(formation)
    formation.add_argument(
        "--relax", action="store_true", help="relax the defects first, in their cells"
    )
    formation.add_argument(
        "--chemical-potential",
        action="append",
        default=[],
        type=chemical_potential,
        metavar="SYMBOL=EV",
        help="energy per atom of a species in equilibrium with the crystal; for compounds and "
        "impurities",
    )
    formation.add_argument(
        "--multiplicity",
        type=length,
        metavar="G",
        help="equivalent defects per primitive cell; default: counted by symmetry",
    )
    formation.add_argument(
        "--energy",
        type=float,
        metavar="EV",
        help="formation energy from elsewhere, with --energy-at",
    )
    formation.add_argument(
        "--energy-at",
        choices=("volume", "pressure"),
        default="volume",
        help="whether that energy is one at constant volume (default) or constant pressure",
    )


def _add_rate(commands: Any) -> None:
    rate = commands.add_parser(
        "rate", help="attempt frequency and rate from a minimum over a saddle"
    )
    rate.add_argument("minimum", help="file that ASE reads, its last frame")
    rate.add_argument("saddle", help="file that ASE reads, its last frame")
    _add_thermodynamics(rate)
    rate.add_argument(
        "--unchecked",
        action="store_true",
        help="do not prove the number of unstable modes by force calls, where a model gives "
        "entropies",
    )


def _add_thermodynamics(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help=f"gives entropies: {MODEL}")
    parser.add_argument(
        "--calculator",
        metavar="SPEC",
        help="as of 'vibent label'; gives energies, and exact entropies where there is no model",
    )
    add_temperatures(parser)
    parser.add_argument(
        "--quantum", action="store_true", help="quantum statistics, zero-point energy included"
    )
    parser.add_argument(
        "--fmax",
        type=length,
        default=0.01,
        metavar="EV/Å",
        help="largest force of a structure at rest; default 0.01",
    )
    parser.add_argument("--plot", metavar="FILE", help="figure (PNG, PDF, SVG)")
    add_finite_differences(parser)


def chemical_potential(text: str) -> tuple[str, float]:
    """Symbol and energy, as in Cd=-1.2."""
    symbol, _, energy = text.partition("=")
    with suppress(ValueError):
        if symbol in chemical_symbols[1:] and math.isfinite(float(energy)):
            return symbol, float(energy)
    raise argparse.ArgumentTypeError(f"expected a symbol and an energy, as Cd=-1.2, got {text!r}")
