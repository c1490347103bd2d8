"""`vibent info`: header of a coefficient file."""

from __future__ import annotations

import argparse

from ase_vibent.cli.arguments import MODEL
from ase_vibent.cli.files import model_file, plain, show
from ase_vibent.model import SiteModel
from ase_vibent.training.report import format_metrics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", help=MODEL)


def run(options: argparse.Namespace) -> int:
    """`vibent info`: header of a coefficient file."""
    model = SiteModel.load(model_file(options.model))
    header = {
        **model.header,
        "target": model.target,
        "descriptor": model.descriptor.to_dict(),
        "n_features": model.descriptor.n_features,
        "constants": dict(zip(model.species, model.constants.tolist(), strict=True)),
    }
    what = f"{model.target} of {', '.join(model.species)}"
    if model.target == "entropy":
        what += ", classical" if model.moments is None else ", classical and quantum"
    lines = [f"{options.model}: {what}"]
    for key, value in header.items():
        if key not in ("errors", "card"):
            lines.append(f"  {key.replace('_', ' '):<20} {plain(value)}")
    show(
        options, header, "\n".join([*lines, format_metrics(header.get("errors", {}), model.target)])
    )
    return 0
