"""`vibent verify`: exact site entropies beside a model's."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from ase_vibent.cli.shared.arguments import (
    MODEL,
    add_finite_differences,
    hessian_options,
    length,
    natural_number,
    positive_number,
)
from ase_vibent.cli.shared.files import add_format, model_file, read_structures, show
from ase_vibent.model import SiteModel
from ase_vibent.potentials import CalculatorSpec
from ase_vibent.tables import error_bar, format_table
from ase_vibent.verification.verify import Verification, verify


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", help=MODEL)
    parser.add_argument("structure", help="file that ASE reads, its last frame")
    add_format(parser)
    parser.add_argument("--calculator", required=True, metavar="SPEC", help="as of 'vibent label'")
    parser.add_argument(
        "--n-sites",
        type=positive_number,
        default=60,
        metavar="N",
        help="sites to measure, half of them the least certain, half at random; default 60",
    )
    parser.add_argument(
        "--radius",
        type=length,
        metavar="Å",
        help="of the balls around the sites; default 10, or a third of the cell's width",
    )
    parser.add_argument(
        "--reference", metavar="CRYSTAL", help="perfect crystal, a unit cell or a supercell"
    )
    parser.add_argument("--seed", type=natural_number, default=0, help="of the random sites")
    add_finite_differences(parser)


def run(options: argparse.Namespace) -> int:
    """`vibent verify`: measure some sites of a structure, most uncertain first, and compare."""
    model = SiteModel.load(model_file(options.model))
    _, structures = read_structures([options.structure], options.format)
    crystal = (
        read_structures([options.reference], options.format)[1][0] if options.reference else None
    )
    found = verify(
        model,
        structures[-1],
        CalculatorSpec(options.calculator),
        n_sites=options.n_sites,
        crystal=crystal,
        radius=options.radius,
        seed=options.seed,
        options=hessian_options(options),
    )
    show(options, _as_data(found), _table(found, options.n_sites))
    return 0


def _as_data(found: Verification) -> dict[str, Any]:
    error, std = found.total_error()
    n_first = found.sample.n_first
    columns = (
        found.sample.weights, found.sites, found.measured, found.predicted, found.errors,
        found.std, found.grades, found.truncation,
    )  # fmt: skip
    names = ("site", "measured", "predicted", "error", "std", "grade", "truncation")
    sites = [
        {**dict(zip(names, row, strict=True)), "stands_for": weight, "at_random": number >= n_first}
        for number, (weight, *row) in enumerate(zip(*(c.tolist() for c in columns), strict=True))
    ]
    return {
        "unit": "k_B",
        "n_atoms": found.n_atoms,
        "method": found.method,
        "ranking": found.ranking,
        "sites": sites,
        "summary": found.summary(),
        "total": {"error": error, "error_std": std or None, "predicted_std": found.total_std},
        "remarks": list(found.remarks),
    }


def _table(found: Verification, n_rows: int) -> str:
    lines = [
        f"{len(found.sites)} of {found.n_atoms} sites measured by {found.method}; those ranked "
        f"first by {found.ranking}. k_B, classical, 300 K"
    ]
    columns = {
        "site": ">",
        "": "<",
        "measured": ">.6f",
        "predicted": ">.6f",
        "error": ">.1e",
        "std": ">.1e",
        "grade": ">.2f",
    }
    chosen = ["uncertain" if k < found.sample.n_first else "random" for k in range(n_rows)]
    values = (found.measured, found.predicted, found.errors, found.std, found.grades)
    # No more sites than were asked for.
    lines += format_table(columns, zip(found.sites, chosen, *values, strict=False))
    lines += format_table(
        {"sites": "<", "n": ">.0f", "RMSE": ">.1e", "mean error": ">.1e", "within 2 std": ">.0%"},
        [
            (name, group["n"], group["rmse"], group["mean"], group["within_2_std"])
            for name, group in found.summary().items()
        ],
    )
    error, std = found.total_error()
    # Nothing is known then of what the measured values themselves are off.
    sampling = f" ± {error_bar(std, '.1e')} by the choice of sites" if std else ", of all sites"
    lines.append(
        f"error of the total: {error:.2e}{sampling}, predicted standard deviation "
        f"{error_bar(found.total_std, '.1e')}"
    )
    if np.any(found.truncation):
        change = np.abs(found.truncation).max()
        lines.append(f"smaller balls change the measured sites by {change:.0e} at most")
    return "\n".join([*lines, *(f"Note: {remark}." for remark in found.remarks)])
