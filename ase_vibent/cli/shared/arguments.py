"""Types and groups of arguments that commands share."""

from __future__ import annotations

import argparse
import math
import re
from contextlib import suppress
from typing import TYPE_CHECKING, get_args

from ase_vibent.quantities import QUANTITIES, TARGETS, SolverName

if TYPE_CHECKING:
    from ase_vibent.hessian import HessianOptions

#: Help of arguments that name a model, or a descriptor.
MODEL = "coefficient file, or name of a model that comes with the package (vibent models)"
DESCRIPTOR = (
    "'Bispectrum(cutoff=5, j_max=4)', 'ACE(degree=12, l_weight=0.75)', 'PairFunctions(spacing=0.1) "
    "+ ACE(degree=10)'"
)


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


def add_fmax(parser: argparse.ArgumentParser, default: float) -> None:
    """Add --fmax, of what is at rest."""
    parser.add_argument(
        "--fmax",
        type=length,
        default=default,
        metavar="EV/Å",
        help=f"largest force in a structure at rest; default {default:g}",
    )


def add_finite_differences(parser: argparse.ArgumentParser) -> None:
    """Options of exact Hessians."""
    from ase_vibent.hessian.options import METHODS

    parser.add_argument(
        "--method",
        choices=METHODS,
        default="auto",
        help="the calculator's analytic Hessian, where it has one (auto), or must have; or finite "
        "differences of its forces, which cost less where few displacements differ by symmetry",
    )
    parser.add_argument(
        "--displacement",
        type=length_or_auto,
        default="auto",
        metavar="Å",
        help="of finite differences; default 0.01, or what suits rough or noisy forces better",
    )
    parser.add_argument(
        "--interaction-range",
        type=length,
        metavar="Å",
        help="moving an atom changes no force beyond it, or little, which goes into ±: distant "
        "atoms are displaced together",
    )
    parser.add_argument(
        "--cache",
        metavar="FOLDER",
        help="keeps every finished displacement, for the next run too; vibent label keeps slow "
        "ones by itself until their structure is done",
    )
    parser.add_argument(
        "--no-symmetry",
        action="store_true",
        help="displace every atom; for calculators that tell atoms apart by more than species and "
        "arrays",
    )


def add_mesh(parser: argparse.ArgumentParser) -> None:
    """Add --mesh, of exact entropies."""
    parser.add_argument(
        "--mesh",
        type=mesh,
        default="auto",
        metavar="MESH",
        help="of the cell's own Brillouin zone, over which exact entropies are averaged, as of the "
        "cell repeated for ever: 2x2x2, say, 'gamma' for the cell alone; default: by its width",
    )


def add_bulk_width(parser: argparse.ArgumentParser) -> None:
    """Add --bulk-width, of values of infinite crystals."""
    from ase_vibent.crystal.bulk import WIDTH

    parser.add_argument(
        "--bulk-width",
        type=length,
        default=WIDTH,
        metavar="Å",
        help="width of the supercell behind the crystal's converged values, twice the range of the "
        f"interaction: it may have far more atoms than the structure; default {WIDTH:g}",
    )


def add_report(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --report, of a page."""
    parser.add_argument(
        "--report", metavar="FILE.html", help=f"all of it as a page in one file, {what}"
    )


def add_workers(parser: argparse.ArgumentParser, what: str) -> None:
    """Where work is done, and how long it may take."""
    parser.add_argument(
        "-j",
        type=positive_number,
        default=-1,
        metavar="N",
        help="processes, one thread each; default: one for every core, or a single one if the "
        "calculator works on a graphics processor, which they would share",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="work on the workers of a Dask cluster instead: tcp://host:port, or the scheduler "
        "file; they must see this folder, and -j does not count. Both sides run what the other "
        "sends: trust it",
    )
    parser.add_argument(
        "--time-limit",
        type=length,
        metavar="SECONDS",
        help=f"give up {what} that takes longer, and list it among those that failed; not on a "
        "cluster",
    )


def add_basis(parser: argparse.ArgumentParser) -> None:
    """Options of one descriptor."""
    parser.add_argument("--cutoff", type=length, help="Å; default: suits the nearest neighbours")
    parser.add_argument(
        "--order",
        type=positive_number,
        help="correlation order; default: 2 or 3, as suits the data, and 3 with --degree",
    )
    parser.add_argument("--degree", type=length, help="total degree; default: suits the data")
    parser.add_argument(
        "--descriptor", metavar="SPEC", help=f"another than ACE, or all of it: {DESCRIPTOR}"
    )


def add_fit(parser: argparse.ArgumentParser) -> None:
    """Options of every fit."""
    parser.add_argument(
        "--solver", choices=get_args(SolverName), default="ridge", help="default: ridge"
    )
    parser.add_argument(
        "--quantities",
        nargs="+",
        choices=QUANTITIES,
        help="labels to fit; default: totals and their derivatives",
    )
    parser.add_argument(
        "--target",
        choices=tuple(TARGETS),
        default="entropy",
        help="what is learned; energies, forces, virials and force constants make a potential",
    )


def hessian_options(options: argparse.Namespace) -> HessianOptions:
    """How Hessians are made, from what `add_finite_differences` added."""
    from ase_vibent.hessian import HessianOptions

    return HessianOptions(
        displacement=options.displacement,
        interaction_range=options.interaction_range,
        cache=options.cache,
        symmetry=not options.no_symmetry,
        method=options.method,
    )


def length_or_auto(text: str) -> float | str:
    """Length in Å, or "auto"."""
    return text if text == "auto" else length(text)


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


def mesh(text: str) -> str | tuple[int, ...]:
    """Three numbers of points, or a name."""
    if text in ("auto", "gamma"):
        return text
    try:
        return repeats(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, nor auto or gamma") from error


def repeats(text: str) -> tuple[int, ...]:
    """Three numbers of cells."""
    if re.fullmatch(r"[1-9]\d*x[1-9]\d*x[1-9]\d*", text):
        return tuple(int(number) for number in text.split("x"))
    raise argparse.ArgumentTypeError(f"expected numbers as in 2x2x2, got {text!r}")


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
