"""The command line, `vibent`: thin, it calls the library and holds no physics."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from ase_vibent._version import __version__
from ase_vibent.errors import VibentError
from ase_vibent.quantities import DEFAULT_LABELS, LABELS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0 if done, 1 if failed, 2 for wrong usage."""
    from ase_vibent.cli import commands

    options = build_parser().parse_args(arguments)
    # As with "python -m": a calculator may live in a module of the working folder.
    sys.path.insert(0, "")
    try:
        run = getattr(commands, options.command)
        return int(run(options))
    except VibentError as error:
        print(f"vibent {options.command}: {' '.join(str(error).split())}", file=sys.stderr)
    except KeyboardInterrupt:
        kept = options.command in ("demo", "events", "label", "make")
        kept_text = "; finished structures are kept" if kept else ""
        print(f"vibent {options.command}: interrupted{kept_text}", file=sys.stderr)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"vibent {options.command}: {place}{error.strerror or error}", file=sys.stderr)
    return 1


def build_parser() -> argparse.ArgumentParser:
    """Parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="vibent",
        description="Harmonic vibrational entropy of crystals and defects, atom by atom.",
    )
    parser.add_argument("--version", action="version", version=f"vibent {__version__}")
    from ase_vibent.cli.event_options import add_event_commands
    from ase_vibent.cli.locality_options import add_locality_command
    from ase_vibent.cli.thermo_options import add_thermo_commands
    from ase_vibent.cli.training_options import add_training_commands

    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_make(commands)
    _add_label(commands)
    add_training_commands(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    _add_verify(commands)
    add_thermo_commands(commands)
    add_event_commands(commands)
    add_locality_command(commands)
    _add_info(commands)
    _add_models(commands)
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="print JSON, for machines")
    return parser


_Commands = Any
#: Of commands that read a model.
MODEL = "coefficient file, or name of a model that comes with the package (vibent models)"


def _add_demo(commands: _Commands) -> None:
    demo = commands.add_parser(
        "demo", help="the whole path on Stillinger-Weber silicon with a vacancy, in two minutes"
    )
    demo.add_argument("-o", "--output", default="vibent-demo", help="folder for the results")
    demo.add_argument(
        "-j", type=positive_number, default=2, metavar="N", help="processes for labelling"
    )


def _add_make(commands: _Commands) -> None:
    from ase_vibent.cli.make_options import add_kinds

    add_kinds(commands.add_parser("make", help="structures to label: defects, strains, saddles"))


def _add_label(commands: _Commands) -> None:
    label = commands.add_parser(
        "label", help="exact entropies of structures, from any ASE calculator"
    )
    label.add_argument("structures", nargs="+", help="files that ASE reads, all frames of each")
    label.add_argument("-o", "--output", required=True, help="extended XYZ; a rerun continues it")
    label.add_argument(
        "--calculator",
        required=True,
        metavar="SPEC",
        help="sw-si, tersoff-sic, emt, or an import path: 'ase.calculators.lj:LennardJones"
        "(sigma=2.5, epsilon=0.4)', or the same of a function that returns one; it may live in "
        "this folder, and gets a folder of its own below OUTPUT.work for its files",
    )
    label.add_argument(
        "--reference",
        metavar="CRYSTAL",
        help="perfect crystals, unit cells or supercells; each structure's own cell is made "
        "from them, labelled too and named as its reference",
    )
    label.add_argument(
        "--labels",
        nargs="+",
        choices=tuple(LABELS),
        default=DEFAULT_LABELS,
        metavar="NAME",
        help="beside totals, some of "
        + "; ".join(f"{name}: {text}" for name, text in LABELS.items())
        + f"; default: {' '.join(DEFAULT_LABELS)}",
    )
    add_finite_differences(label)
    label.add_argument(
        "--select",
        metavar="MODEL",
        help="of all structures, label only those that would teach this model most",
    )
    budget = label.add_mutually_exclusive_group()
    budget.add_argument(
        "--budget", type=positive_number, metavar="N", help="of --select: so many structures"
    )
    budget.add_argument(
        "--budget-atoms", type=positive_number, metavar="N", help="of --select: so many atoms"
    )
    label.add_argument(
        "--unstable",
        type=number_or_any,
        default=0,
        metavar="N",
        help="expected number of unstable modes, or 'any' (log⁺ of rattled cells); default 0. A "
        "structure's own info entry 'unstable' goes before it",
    )
    label.add_argument(
        "-j",
        type=positive_number,
        default=-1,
        metavar="N",
        help="processes, one thread each; default: one for every core",
    )
    label.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="label on the workers of a Dask cluster instead: tcp://host:port, or the "
        "scheduler file; they must see this folder, and -j does not count",
    )


def _add_evaluate(commands: _Commands) -> None:
    evaluate = commands.add_parser("evaluate", help="errors of a model on labelled structures")
    evaluate.add_argument("model", help=MODEL)
    evaluate.add_argument("labels", help="extended XYZ with labels and their perfect crystals")
    evaluate.add_argument("--plot", metavar="FILE", help="parity plot (PNG, PDF, SVG)")


def _add_predict(commands: _Commands) -> None:
    predict = commands.add_parser(
        "predict", help="entropies and free energies, or potential energies, of structures"
    )
    predict.add_argument("model", help=MODEL)
    predict.add_argument("structures", nargs="+", help="files that ASE reads")
    predict.add_argument("-T", "--temperature", type=float, help="K; default 300")
    predict.add_argument(
        "--quantum",
        action="store_true",
        help="quantum statistics, zero-point energy included: for models trained on moments",
    )
    predict.add_argument(
        "--extrapolation",
        choices=("warn", "raise", "ignore"),
        default="warn",
        help="what to do about atoms unlike those of the training set; default: warn",
    )
    predict.add_argument("-o", "--output", metavar="OUT.xyz", help="extended XYZ with site values")


def _add_verify(commands: _Commands) -> None:
    verify = commands.add_parser(
        "verify", help="exact entropies of some sites of a structure of any size beside predictions"
    )
    verify.add_argument("model", help=MODEL)
    verify.add_argument("structure", help="file that ASE reads, its last frame")
    verify.add_argument("--calculator", required=True, metavar="SPEC", help="as of 'vibent label'")
    verify.add_argument(
        "--sites",
        type=positive_number,
        default=60,
        metavar="N",
        help="half of them the least certain ones, half at random; default 60",
    )
    verify.add_argument(
        "--radius",
        type=length,
        metavar="Å",
        help="of the balls around the sites; default 10, or a third of the cell's width",
    )
    verify.add_argument(
        "--reference", metavar="CRYSTAL", help="perfect crystal, a unit cell or a supercell"
    )
    verify.add_argument("--seed", type=natural_number, default=0, help="of the random sites")
    add_finite_differences(verify)


def _add_info(commands: _Commands) -> None:
    info = commands.add_parser("info", help="header of a coefficient file")
    info.add_argument("model", help=MODEL)


def _add_models(commands: _Commands) -> None:
    models = commands.add_parser(
        "models", help="models that come with the package, ready to predict with"
    )
    models.add_argument("name", nargs="?", help="show the card of this one")


def add_temperatures(parser: argparse.ArgumentParser) -> None:
    """Add -T, one or several temperatures."""
    parser.add_argument(
        "-T",
        "--temperature",
        nargs="+",
        type=length,
        default=[300.0],
        metavar="K",
        help="one or several; default 300",
    )


def add_finite_differences(parser: argparse.ArgumentParser) -> None:
    """Options of exact Hessians."""
    parser.add_argument(
        "--displacement",
        type=length,
        default=0.01,
        metavar="Å",
        help="of finite differences; default 0.01",
    )
    parser.add_argument(
        "--interaction-range",
        type=length,
        metavar="Å",
        help="moving an atom changes no force beyond it: distant atoms are displaced together",
    )
    parser.add_argument(
        "--cache",
        metavar="FOLDER",
        help="keeps every finished displacement; for calculators that take minutes",
    )


def number_or_any(text: str) -> int | str:
    """Number of unstable modes, or "any"."""
    return text if text == "any" else natural_number(text)


def natural_number(text: str) -> int:
    """Integer from 0 on."""
    return _integer(text, 0)


def positive_number(text: str) -> int:
    """Integer from 1 on."""
    return _integer(text, 1)


def length(text: str) -> float:
    """Positive, finite number."""
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"expected a number > 0, got {text!r}")


def direction(text: str) -> tuple[int, ...]:
    """Crystal direction of three digits, each with or without a minus."""
    if not re.fullmatch(r"(-?\d){3}", text):
        raise argparse.ArgumentTypeError(f"expected three digits, as in 1-10, got {text!r}")
    return tuple(int(number) for number in re.findall(r"-?\d", text))


def _integer(text: str, least: int) -> int:
    with suppress(ValueError):
        if int(text) >= least:
            return int(text)
    raise argparse.ArgumentTypeError(f"expected an integer from {least} on, got {text!r}")
