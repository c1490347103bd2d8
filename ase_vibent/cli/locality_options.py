"""Options of `vibent locality`."""

from __future__ import annotations

from typing import Any

from ase_vibent.cli import add_finite_differences, length, natural_number, number_or_any


def add_locality_command(commands: Any) -> None:
    """Add the parser.

    Parameters
    ----------
    commands : what `add_subparsers` returned
    """
    locality = commands.add_parser(
        "locality", help="how far away atoms matter to a site's entropy, and which cutoff to take"
    )
    locality.add_argument("structure", help="file that ASE reads, its last frame")
    locality.add_argument(
        "--calculator", required=True, metavar="SPEC", help="as of 'vibent label'"
    )
    locality.add_argument(
        "--sites",
        nargs="+",
        type=natural_number,
        default=[0],
        metavar="ATOM",
        help="numbers of the atoms whose entropies are looked at, from 0; default 0",
    )
    locality.add_argument(
        "--engine",
        choices=("lanczos", "contour", "dense"),
        help="default: dense up to 300 atoms, then lanczos, which takes one site at a time; "
        "contour for chains of thousands",
    )
    locality.add_argument(
        "--unstable",
        type=number_or_any,
        default=0,
        metavar="N",
        help="expected number of unstable modes, or 'any'; default 0",
    )
    locality.add_argument(
        "--fit-range",
        nargs=2,
        type=length,
        metavar=("FROM", "TO"),
        help="distances of the fit, Å; default: three times that of nearest neighbours to 0.4 of "
        "the cell's width",
    )
    locality.add_argument(
        "--reference",
        metavar="UNDISPLACED",
        help="the same atoms before they were displaced: with --cutoffs, entropies are measured "
        "with the displacements beyond a cutoff taken back",
    )
    locality.add_argument("--cutoffs", nargs="+", type=length, metavar="Å", help="of --reference")
    locality.add_argument(
        "--smooth", action="store_true", help="let displacements fade from half the cutoff on"
    )
    locality.add_argument(
        "--error",
        type=length,
        default=1e-3,
        metavar="K_B",
        help="wanted error of a site's entropy, for which a cutoff is recommended; default 1e-3",
    )
    locality.add_argument(
        "--amplitude",
        type=length,
        default=0.1,
        metavar="Å",
        help="root mean square of every component of the displacements in mind; default 0.1",
    )
    locality.add_argument("--plot", metavar="FILE", help="figure (PNG, PDF, SVG)")
    add_finite_differences(locality)
