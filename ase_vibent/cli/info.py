"""`vibent info`: header of a coefficient file."""

from __future__ import annotations

import argparse

from ase_vibent.cli.shared.arguments import MODEL
from ase_vibent.cli.shared.files import model_file, show
from ase_vibent.model import SiteModel
from ase_vibent.quantities import ENTROPY
from ase_vibent.tables import format_entries
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
    if model.target == ENTROPY.name:
        what += ", classical" if model.moments is None else ", classical and quantum"
    if model.floor is not None:
        what += f", modes below {model.floor.value:g} eV/Å² left to force calls"
    entries = format_entries({k: v for k, v in header.items() if k not in ("errors", "card")})
    lines = [f"{options.model}: {what}", *(f"  {line}" for line in entries)]
    show(
        options, header, "\n".join([*lines, format_metrics(header.get("errors", {}), model.target)])
    )
    return 0
