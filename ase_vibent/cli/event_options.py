"""Options of `vibent events` and `vibent export`."""

from __future__ import annotations

from typing import Any

from ase_vibent.cli import (
    add_finite_differences,
    add_temperatures,
    length,
    natural_number,
    positive_number,
)


def add_event_commands(commands: Any) -> None:
    """Add the parsers of both commands.

    Parameters
    ----------
    commands : what `add_subparsers` returned
    """
    _add_events(commands)
    _add_export(commands)


def _add_events(commands: Any) -> None:
    events = commands.add_parser(
        "events", help="saddles next to minima, with barriers and exact attempt frequencies"
    )
    events.add_argument("minima", nargs="+", help="relaxed structures, files that ASE reads")
    events.add_argument("-o", "--output", required=True, help="extended XYZ; a rerun continues it")
    events.add_argument("--calculator", required=True, metavar="SPEC", help="as of 'vibent label'")
    events.add_argument(
        "-n", type=positive_number, default=20, metavar="N", help="searches a minimum; default 20"
    )
    events.add_argument("--seed", type=natural_number, default=0, help="of all random numbers")
    events.add_argument(
        "--reference",
        metavar="CRYSTAL",
        help="perfect crystals: searches begin at the defects, otherwise anywhere",
    )
    events.add_argument(
        "--all",
        action="store_true",
        help="keep events that were met between other minima, too",
    )
    events.add_argument(
        "--radius", type=length, default=3.0, metavar="Å", help="of what is displaced; default 3"
    )
    events.add_argument(
        "--amplitude",
        type=length,
        default=0.1,
        metavar="Å",
        help="standard deviation of the first displacements; default 0.1",
    )
    events.add_argument(
        "--fmax", type=length, default=1e-3, metavar="EV/Å", help="largest force; default 0.001"
    )
    events.add_argument(
        "--steps", type=positive_number, default=2000, help="most, of every dimer; default 2000"
    )
    events.add_argument(
        "-j", type=positive_number, default=-1, metavar="N", help="processes; default: all cores"
    )
    events.add_argument(
        "--scheduler", metavar="ADDRESS", help="of a Dask cluster, as of 'vibent label'"
    )
    add_finite_differences(events)


def _add_export(commands: Any) -> None:
    export = commands.add_parser(
        "export", help="states, barriers and rates of events, for kinetic Monte Carlo"
    )
    export.add_argument("events", help="file that 'vibent events' wrote")
    export.add_argument("-o", "--output", required=True, help="table: .csv or .json")
    add_temperatures(export)
    export.add_argument(
        "--states", metavar="FILE", help="structures of all states, in the order of their numbers"
    )
