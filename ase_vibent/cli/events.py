"""`vibent events` and `vibent export`."""

from __future__ import annotations

import argparse
import sys

import numpy as np

from ase_vibent.cli import hessian_options
from ase_vibent.cli.files import progress_bar, read_structures, require_writable, show
from ase_vibent.dataset import write_labels
from ase_vibent.events import EventTable, find_events, read_events
from ase_vibent.events.search import search_list
from ase_vibent.events.table import check_format
from ase_vibent.potentials import CalculatorSpec
from ase_vibent.structures.cells import match_references
from ase_vibent.structures.wigner_seitz import defect_atoms


def events(options: argparse.Namespace) -> int:
    """`vibent events`: searches from minima into a file."""
    _, minima = read_structures(options.minima)
    spec = CalculatorSpec(options.calculator)
    around = None
    if options.reference:
        crystals = match_references(minima, read_structures([options.reference])[1])
        around = [defect_atoms(m, crystal) for m, crystal in zip(minima, crystals, strict=True)]
    summary = find_events(
        minima,
        spec,
        options.output,
        searches=options.n,
        calculator_name=spec.text,
        seed=options.seed,
        around=around,
        connected=not options.all,
        radius=options.radius,
        amplitude=options.amplitude,
        fmax=options.fmax,
        steps=options.steps,
        options=hessian_options(options),
        n_jobs=options.j,
        scheduler=options.scheduler,
        progress=lambda items, total: progress_bar(items, total, "searches"),
    )
    for minimum, number, reason in summary.failed[:10]:
        print(f"vibent events: minimum {minimum} search {number}: {reason}", file=sys.stderr)
    n_events = len(read_events(options.output))
    result = {
        "events": n_events,
        "searches": summary.done,
        "found": summary.skipped,
        "outcomes": dict(summary.outcomes),
        "failed": len(summary.failed),
        "output": str(options.output),
    }
    counts = ", ".join(f"{count} {outcome}" for outcome, count in summary.outcomes.most_common())
    show(
        options,
        result,
        f"{summary.done} searches, {summary.skipped} found there already: {counts or 'none done'}, "
        f"{len(summary.failed)} failed ({search_list(options.output)})\n"
        f"{n_events} events: {options.output}",
    )
    return 1 if summary.failed else 0


def export(options: argparse.Namespace) -> int:
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
