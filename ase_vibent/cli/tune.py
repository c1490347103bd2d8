"""`vibent tune`: cross-validated errors of many descriptors."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product

from ase_vibent.cli.shared.arguments import DESCRIPTOR, add_fit, length, positive_number
from ase_vibent.cli.shared.descriptors import descriptor_of_text, descriptor_text
from ase_vibent.cli.shared.files import progress_bar, require_writable, show
from ase_vibent.descriptors import Descriptor
from ase_vibent.quantities import TARGETS, TargetName
from ase_vibent.tables import format_table
from ase_vibent.training.descriptor_choice import suited_ace
from ase_vibent.training.training_set import TrainingSet
from ase_vibent.training.tuning import Trial, tune

#: Cutoffs around the one that suits the data, orders, degrees and weights of l that are tried.
CUTOFF_FACTORS = (0.85, 1.0, 1.15)
ORDERS = (2, 3)
DEGREES = (6.0, 8.0, 10.0, 12.0)
L_WEIGHTS = (0.75,)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("labels", help="extended XYZ from 'vibent label'")
    parser.add_argument(
        "-o", "--output", required=True, help="trials, one JSON object in a line; a rerun continues"
    )
    for name, kind, text in (
        ("--cutoffs", length, "Å; default: 0.85, 1 and 1.15 of what suits the data"),
        ("--orders", positive_number, "correlation orders; default 2 3"),
        ("--degrees", length, "total degrees; default: 6 8 10 12"),
        ("--l-weights", length, "weights of l in the degree; default 0.75"),
    ):
        parser.add_argument(name, type=kind, nargs="+", metavar="X", help=text)
    parser.add_argument(
        "--descriptors", nargs="+", default=[], metavar="SPEC", help=f"others: {DESCRIPTOR}"
    )
    add_fit(parser)
    parser.add_argument(
        "-j", type=positive_number, default=-1, metavar="N", help="processes; default: all cores"
    )


def run(options: argparse.Namespace) -> int:
    """`vibent tune`: cross-validated errors of many descriptors."""
    require_writable(options.output)
    training_set = TrainingSet.of(options.labels, options.quantities, target=options.target)
    candidates = _grid(options, training_set)
    trials = list(
        progress_bar(
            tune(
                training_set,
                candidates,
                solver=options.solver,
                path=options.output,
                n_jobs=options.j,
            ),
            len(candidates),
            "trials",
        )
    )
    trials.sort(key=lambda trial: trial.score)
    show(options, [asdict(trial) for trial in trials], _trial_table(trials, options.target))
    return 0


def _grid(options: argparse.Namespace, training_set: TrainingSet) -> list[Descriptor]:
    suits = suited_ace(training_set).cutoff
    cutoffs = options.cutoffs or [round(factor * suits, 2) for factor in CUTOFF_FACTORS]
    choices = {
        "cutoff": cutoffs,
        "order": options.orders or ORDERS,
        "degree": options.degrees or DEGREES,
        "l_weight": options.l_weights or L_WEIGHTS,
    }
    grid: list[Descriptor] = [
        suited_ace(training_set, **dict(zip(choices, values, strict=True)))
        for values in product(*choices.values())
    ]
    return grid + [descriptor_of_text(text, training_set, {}) for text in options.descriptors]


def _trial_table(trials: Sequence[Trial], target: TargetName) -> str:
    kinds = list(trials[0].rmse) if trials else []
    errors = {f"{kind} ({TARGETS[target][kind].unit})": ">.3e" for kind in kinds}
    lines = format_table(
        {"functions": ">"} | errors | {"descriptor": "<"},
        [
            (
                trial.n_features,
                *(trial.rmse[kind] for kind in kinds),
                descriptor_text(trial.descriptor),
            )
            for trial in trials
        ],
    )
    return "\n".join([*lines, "RMSE of configurations that were left out; the best first"])
