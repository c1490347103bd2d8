"""`vibent evaluate`: a model against labels."""

from __future__ import annotations

import argparse
from typing import Any

from ase_vibent import dataset
from ase_vibent.cli.shared.arguments import MODEL
from ase_vibent.cli.shared.files import model_file, require_plottable, show
from ase_vibent.figures import calibration_plot, parity_plot
from ase_vibent.model import SiteModel
from ase_vibent.quantities import TARGETS
from ase_vibent.tables import format_table
from ase_vibent.training.coverage import DEFECT, LEVELS, check_calibration
from ase_vibent.training.report import Report, evaluate_frames, format_metrics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", help=MODEL)
    parser.add_argument("labels", help="extended XYZ with labels and their perfect crystals")
    parser.add_argument(
        "--calibration",
        action="store_true",
        help="whether the errors that the model states hold, by kind of defect and size of cell: "
        "share of totals within its 50, 80 and 95 %% intervals; for labels that it was not fitted "
        "to",
    )
    parser.add_argument(
        "--by",
        default=DEFECT,
        metavar="KEY",
        help="of the structures' info, that names their kind for --calibration; default: "
        f"{DEFECT}, or the composition where there is none",
    )
    parser.add_argument(
        "--plot", metavar="FILE", help="parity plot, or of the calibration (PNG, PDF, SVG)"
    )


def run(options: argparse.Namespace) -> int:
    """`vibent evaluate`: a model against labels."""
    require_plottable(options.plot)
    model = SiteModel.load(model_file(options.model))
    frames = dataset.read_labels(options.labels)
    if options.calibration:
        calibration = check_calibration(model, frames, by=options.by)
        if options.plot:
            calibration_plot(calibration, options.plot)
        metrics = calibration.metrics()
        show(options, metrics, _calibration_text(metrics, TARGETS[model.target]["total"].unit))
        return 0
    comparisons = evaluate_frames(model, frames)
    if options.plot:
        parity_plot({"": comparisons}, options.plot, model.target)
    errors = Report(train={}, test=comparisons).metrics()
    show(options, errors["test"], format_metrics({"": errors["test"]}, model.target))
    return 0


def _calibration_text(metrics: dict[str, Any], unit: str) -> str:
    columns = {"totals": "<", "cells": ">", f"RMSE ({unit})": ">.1e", "stated": ">.1e"}
    columns |= {f"in {level:.0%}": ">" for level in LEVELS} | {"ratio": ">"}
    rows = [
        (
            name,
            group["n"],
            group["rmse"],
            group["std"],
            *(_with_range(share, ".0%") for share in group["coverage"].values()),
            _with_range(group["factor"], ".2g"),
        )
        for name, group in metrics["groups"].items()
    ]
    lines = format_table(columns, rows)
    hint = (
        "in 50%, 80%, 95%: share of the cells inside intervals of that coverage; ratio: within "
        "which multiple of the stated error 68 % are. In brackets: where the true one lies (95 %), "
        "if cells are independent; copies of one minimum are less."
    )
    return "\n".join([*lines, hint, *metrics["remarks"], metrics["verdict"]])


def _with_range(values: list[float], style: str) -> str:
    share, low, high = (format(value, style) for value in values)
    return f"{share} ({low} to {high})"
