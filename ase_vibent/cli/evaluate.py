"""`vibent evaluate`: a model against labels."""

from __future__ import annotations

import argparse

from ase_vibent import dataset
from ase_vibent.cli.shared.arguments import MODEL
from ase_vibent.cli.shared.files import model_file, require_plottable, show
from ase_vibent.figures import parity_plot
from ase_vibent.model import SiteModel
from ase_vibent.training.report import Report, evaluate_frames, format_metrics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", help=MODEL)
    parser.add_argument("labels", help="extended XYZ with labels and their perfect crystals")
    parser.add_argument("--plot", metavar="FILE", help="parity plot (PNG, PDF, SVG)")


def run(options: argparse.Namespace) -> int:
    """`vibent evaluate`: a model against labels."""
    require_plottable(options.plot)
    model = SiteModel.load(model_file(options.model))
    frames = dataset.read_labels(options.labels)
    comparisons = evaluate_frames(model, frames)
    if options.plot:
        parity_plot({"": comparisons}, options.plot, model.target)
    errors = Report(train={}, test=comparisons).metrics()
    show(options, errors["test"], format_metrics({"": errors["test"]}, model.target))
    return 0
