"""`vibent events`: searches from minima over saddles, into a file."""

from __future__ import annotations

import argparse
import sys

from ase_vibent.cli.shared.arguments import (
    add_finite_differences,
    add_fmax,
    add_mesh,
    add_workers,
    hessian_options,
    length,
    natural_number,
    positive_number,
)
from ase_vibent.cli.shared.files import add_format, progress_bar, read_structures, show
from ase_vibent.events import find_events, read_events
from ase_vibent.events.search import search_list
from ase_vibent.potentials import CalculatorSpec
from ase_vibent.structures.cells import match_references
from ase_vibent.structures.wigner_seitz import defect_atoms


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("minima", nargs="+", help="relaxed structures, files that ASE reads")
    add_format(parser)
    parser.add_argument("-o", "--output", required=True, help="extended XYZ; a rerun continues it")
    parser.add_argument("--calculator", required=True, metavar="SPEC", help="as of 'vibent label'")
    parser.add_argument(
        "-n", type=positive_number, default=20, metavar="N", help="searches a minimum; default 20"
    )
    parser.add_argument("--seed", type=natural_number, default=0, help="of all random numbers")
    parser.add_argument(
        "--reference",
        metavar="CRYSTAL",
        help="perfect crystals: searches begin at the defects, otherwise anywhere",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="keep events that were met between other minima, too",
    )
    parser.add_argument(
        "--radius", type=length, default=3.0, metavar="Å", help="of what is displaced; default 3"
    )
    parser.add_argument(
        "--amplitude",
        type=length,
        default=0.1,
        metavar="Å",
        help="standard deviation of the first displacements; default 0.1",
    )
    add_fmax(parser, 1e-3)
    parser.add_argument(
        "--steps", type=positive_number, default=2000, help="most, of every dimer; default 2000"
    )
    add_workers(parser, "a search")
    add_mesh(parser)
    add_finite_differences(parser)


def run(options: argparse.Namespace) -> int:
    """`vibent events`: searches from minima into a file."""
    _, minima = read_structures(options.minima, options.format)
    spec = CalculatorSpec(options.calculator)
    around = None
    if options.reference:
        crystals = match_references(minima, read_structures([options.reference], options.format)[1])
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
        mesh=options.mesh,
        n_jobs=options.j,
        scheduler=options.scheduler,
        time_limit=options.time_limit,
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
