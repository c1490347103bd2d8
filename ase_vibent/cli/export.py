"""`vibent export`: table of events."""

from __future__ import annotations

import argparse

import numpy as np

from ase_vibent.cli.shared.arguments import add_temperatures
from ase_vibent.cli.shared.files import require_writable, show
from ase_vibent.dataset import write_labels
from ase_vibent.events import EventTable, read_events
from ase_vibent.events.table import check_format


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("events", help="file that 'vibent events' wrote")
    parser.add_argument("-o", "--output", required=True, help="table: .csv or .json")
    add_temperatures(parser)
    parser.add_argument(
        "--states", metavar="FILE", help="structures of all states, in the order of their numbers"
    )


def run(options: argparse.Namespace) -> int:
    """`vibent export`: table of events."""
    for path in filter(None, (options.output, options.states)):
        require_writable(path)
    check_format(options.output)
    found = read_events(options.events)
    table = EventTable.from_events(found)
    table.write(options.output, options.temperature)
    if options.states:
        write_labels(options.states, table.states)
    barriers = np.array([(event.barrier, event.reverse_barrier) for event in found])
    result = {
        "events": len(found),
        "states": len(table.states),
        "lowest_barrier_eV": float(barriers.min()) if len(found) else None,
        "output": str(options.output),
    }
    show(
        options,
        result,
        f"{len(found)} events between {len(table.states)} states: {options.output}",
    )
    return 0
