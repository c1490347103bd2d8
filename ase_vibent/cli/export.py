"""`vibent export`: table of events, or a model for another engine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from ase_vibent import pretrained
from ase_vibent.cli.shared.arguments import MODEL, length
from ase_vibent.cli.shared.files import model_file, require_writable, show
from ase_vibent.dataset import write_labels
from ase_vibent.errors import InvalidInputError
from ase_vibent.events import EventTable, read_events
from ase_vibent.events.table import FORMATS
from ase_vibent.export import write_snap, write_table, write_yace
from ase_vibent.model import SiteModel

#: How models are written, and what the names of such files end in.
WRITERS = {"yace": write_yace, "snap": write_snap, "table": write_table}
SUFFIXES = {
    ".yace": "yace",
    ".snap": "snap",
    ".snapcoeff": "snap",
    ".snapparam": "snap",
    ".table": "table",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "source", metavar="EVENTS|MODEL", help=f"file that 'vibent events' wrote; or {MODEL}"
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        help="of events: .csv or .json; of a model: .yace, .snapcoeff (and .snapparam), or .table",
    )
    parser.add_argument(
        "--format",
        choices=tuple(WRITERS),
        help="of a model, for LAMMPS: yace (pair_style pace; linear ACE), snap (pair_style snap; "
        "bispectrum) or table (pair_style table; ACE of order 1); default: by the output's name",
    )
    parser.add_argument(
        "-T",
        "--temperature",
        nargs="+",
        action="extend",
        type=length,
        metavar="K",
        help="of events: one or several; default 300. Of a model of entropies: the one of F_vib(T)",
    )
    parser.add_argument(
        "--entropy",
        action="store_true",
        help="of a model of entropies: S(T) in eV/K instead of F_vib(T) in eV",
    )
    parser.add_argument(
        "--states",
        metavar="FILE",
        help="of events: structures of all states, in the order of their numbers",
    )


def run(options: argparse.Namespace) -> int:
    """`vibent export`."""
    suffix = Path(options.output).suffix.lower()
    name = options.format or SUFFIXES.get(suffix)
    if name is not None:
        return _export_model(options, name)
    if suffix not in FORMATS:
        raise InvalidInputError(
            f"{options.output}: expected a name that ends in {' or '.join(FORMATS)} for events, "
            "or in .yace, .snapcoeff or .table for a model; or --format"
        )
    return _export_events(options)


def _export_model(options: argparse.Namespace, name: str) -> int:
    if options.states:
        raise InvalidInputError("--states: is for events, and this is to be a model")
    temperatures = options.temperature or [None]
    if len(temperatures) > 1:
        raise InvalidInputError(
            f"-T: a model is exported at one temperature, and {len(temperatures)} are given; make "
            "a file for each, or take --entropy"
        )
    require_writable(options.output)
    result = WRITERS[name](
        SiteModel.load(model_file(options.source)),
        options.output,
        temperature=temperatures[0],
        quantity="entropy" if options.entropy else "free_energy",
    )
    show(options, result, _model_text(result))
    return 0


def _model_text(result: dict[str, Any]) -> str:
    unit, named = result["unit"], ("functions", "products", "coefficients", "pairs", "points")
    sizes = ", ".join(f"{result[key]} {key}" for key in named if key in result)
    what = f"{result['quantity']} in {unit} of {', '.join(result['elements'])}"
    lines = [f"{what}, {sizes}: {' and '.join(result['output'])}"]
    if "left_out" in result:
        constants = ", ".join(f"{k} {value:.6g}" for k, value in result["left_out"].items())
        energy, force = result["energy_error"], result["force_error"]
        lines += [
            f"left out, {unit} per atom: {constants}",
            f"splines are off by {energy:.1e} {unit} and {force:.1e} {unit}/Å a pair beyond "
            f"{result['beyond']:.2f} Å; LAMMPS stops at pairs below the model's inner distance",
        ]
    return "\n".join([*lines, *(f"    {command}" for command in result["lammps"])])


def _export_events(options: argparse.Namespace) -> int:
    if options.entropy:
        raise InvalidInputError("--entropy: is for models, and this is to be a table of events")
    if options.source in pretrained.names() or options.source.endswith(".vibent"):
        raise InvalidInputError(
            f"{options.output}: holds events, and {options.source} is a model; give a name that "
            "ends in .yace, .snapcoeff or .table, or --format"
        )
    for path in filter(None, (options.output, options.states)):
        require_writable(path)
    found = read_events(options.source)
    table = EventTable.from_events(found)
    table.write(options.output, options.temperature or [300.0])
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
