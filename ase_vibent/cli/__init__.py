"""The command line, `vibent`: thin, it calls the library and holds no physics.

Every command is a file of this folder, with the functions `add_arguments(parser)` and
`run(options)`; only that of the command asked for is imported.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import TextIO

from ase_vibent._version import __version__
from ase_vibent.cli.shared.output import never_fail_to_encode, results_alone
from ase_vibent.errors import VibentError, did_you_mean

#: What each command does, in one line.
COMMANDS = {
    "demo": "the whole path on Stillinger-Weber silicon with a vacancy, in two minutes",
    "make": "structures to label: defects, strains, saddles",
    "label": "exact entropies of structures, from any ASE calculator",
    "train": "fit a site model to labels; what is not given is chosen from the data",
    "tune": "search cutoff, order, degree and descriptor by cross-validation",
    "learn": "learning curves: error against configurations, cutoff, or basis size",
    "evaluate": "errors of a model on labelled structures",
    "predict": "entropies and free energies, or potential energies, of structures",
    "verify": "exact entropies of some sites of a structure of any size beside predictions",
    "entropy": "exact entropies from files of force constants: phonopy, VASP, LAMMPS and others",
    "formation": "formation entropy, free energy and concentration of defects",
    "rate": "attempt frequency and rate from a minimum over a saddle",
    "report": "a structure in 3D, coloured by site entropy, with figures: a page, or a picture",
    "events": "saddles next to minima, with barriers and exact attempt frequencies",
    "export": "models for LAMMPS; states, barriers and rates of events for kinetic Monte Carlo",
    "locality": "how far away atoms matter to a site's entropy, and which cutoff to take",
    "info": "header of a coefficient file",
    "models": "models that come with the package, ready to predict with",
}
#: Commands that write every structure as soon as it is finished.
_KEEPING = ("demo", "events", "label", "make")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0 if done, 1 if failed, 2 for wrong usage."""
    never_fail_to_encode()
    _hide_working_folder()
    by_itself = arguments is None
    arguments = sys.argv[1:] if arguments is None else arguments
    command = next(iter(arguments), "")
    parser = build_parser(command)
    if command not in ("", *COMMANDS) and not command.startswith("-"):
        meant = did_you_mean(command, COMMANDS) or "; 'vibent --help' lists them"
        parser.error(f"there is no command {command!r}{meant}")
    options = parser.parse_args(arguments)
    # A calculator may live in a module of the working folder; none there hides an installed one.
    if ":" in (getattr(options, "calculator", None) or "") and "" not in sys.path:
        sys.path.append("")
    if by_itself and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:  # as Ctrl-C
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with warnings.catch_warnings(), results_alone(until_exit=by_itself):
            warnings.showwarning = _show_warning
            return int(options.run(options))
    except VibentError as error:
        print(f"vibent {options.command}: {' '.join(str(error).split())}", file=sys.stderr)
    except (KeyboardInterrupt, SystemError) as error:
        if not _interrupted(error):
            raise
        kept = "; finished structures are kept" if options.command in _KEEPING else ""
        print(f"vibent {options.command}: interrupted{kept}", file=sys.stderr)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"vibent {options.command}: {place}{error.strerror or error}", file=sys.stderr)
    return 1


def _interrupted(error: BaseException | None) -> bool:
    """Within compiled code an interrupt is the cause of another error, or of several in turn."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return error is not None


def _hide_working_folder() -> None:
    """Import nothing from where a command happens to run; `python -m` puts that first."""
    with suppress(FileNotFoundError):  # the folder is gone
        if sys.path and not sys.flags.safe_path and os.path.abspath(sys.path[0]) == os.getcwd():
            del sys.path[0]


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Ours in a line, as errors are; others as usual."""
    if category.__module__.startswith("ase_vibent"):
        print(f"vibent: {message}", file=sys.stderr)
    else:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        print(text, file=file or sys.stderr, end="")


def build_parser(*commands: str) -> argparse.ArgumentParser:
    """Parser of the command line.

    Parameters
    ----------
    *commands : str
        Those of `COMMANDS` that get their arguments; the others have but their line of help.

    Returns
    -------
    ArgumentParser
    """
    parser = argparse.ArgumentParser(
        prog="vibent",
        description="Harmonic vibrational entropy of crystals and defects, atom by atom.",
    )
    parser.add_argument("--version", action="version", version=f"vibent {__version__}")
    known = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        own = known.add_parser(name, help=text)
        if name in commands:
            module = import_module(f"{__name__}.{name}")
            module.add_arguments(own)
            own.add_argument("--json", action="store_true", help="print JSON, for machines")
            own.set_defaults(run=module.run)
    return parser
