"""Options of `vibent train`, `tune` and `learn`."""

from __future__ import annotations

import argparse
from typing import Any

from ase_vibent.cli import length, natural_number, positive_number
from ase_vibent.quantities import QUANTITIES, TARGETS

#: As in `ase_vibent.descriptors`, which takes a second to import.
_RESOLUTIONS = ("sublattices", "species", "nothing")
_DESCRIPTOR_HELP = (
    "'Bispectrum(cutoff=5, j_max=4)', 'AFS(n_max=10, l_max=6)', 'ACE(degree=12, l_weight=0.75)'"
)


def add_training_commands(commands: Any) -> None:
    """Add the parsers."""
    _add_train(commands)
    _add_tune(commands)
    _add_learn(commands)


def _add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train", help="fit a site model to labels; what is not given is chosen from the data"
    )
    train.add_argument("labels", help="extended XYZ from 'vibent label'")
    train.add_argument("-o", "--output", required=True, help="coefficient file (.vibent)")
    _add_basis(train)
    train.add_argument(
        "--resolve",
        choices=_RESOLUTIONS,
        default=_RESOLUTIONS[0],
        help="what the model tells apart; default: species, and sublattices where labelled",
    )
    train.add_argument(
        "--quadratic",
        type=positive_number,
        nargs="?",
        const=True,
        default=False,
        metavar="N",
        help="add a quadratic form (EQML) of N feature combinations for every kind of site",
    )
    _add_fit(train)
    train.add_argument(
        "--test-fraction", type=float, default=0.1, help="configurations held out; default 0.1"
    )
    train.add_argument("--seed", type=natural_number, default=0, help="of the split; default 0")
    train.add_argument("--plot", metavar="FILE", help="parity plot (PNG, PDF, SVG)")
    train.add_argument(
        "--budget",
        action="store_true",
        help="split the error into truncation, basis, statistics and solver, by some dozen fits",
    )


def _add_tune(commands: Any) -> None:
    tune = commands.add_parser(
        "tune", help="search cutoff, order, degree and descriptor by cross-validation"
    )
    tune.add_argument("labels", help="extended XYZ from 'vibent label'")
    tune.add_argument(
        "-o", "--output", required=True, help="trials, one JSON object in a line; a rerun continues"
    )
    for name, kind, text in (
        ("--cutoffs", length, "Å; default: 0.85, 1 and 1.15 of what suits the data"),
        ("--orders", positive_number, "correlation orders; default 2 3"),
        ("--degrees", length, "total degrees; default: 6 8 10 12"),
        ("--l-weights", length, "weights of l in the degree; default 0.75"),
    ):
        tune.add_argument(name, type=kind, nargs="+", metavar="X", help=text)
    tune.add_argument(
        "--descriptors", nargs="+", default=[], metavar="SPEC", help=f"others: {_DESCRIPTOR_HELP}"
    )
    _add_fit(tune)
    tune.add_argument(
        "-j", type=positive_number, default=-1, metavar="N", help="processes; default: all cores"
    )


def _add_learn(commands: Any) -> None:
    learn = commands.add_parser(
        "learn", help="learning curves: error against configurations, cutoff, or basis size"
    )
    learn.add_argument("labels", help="extended XYZ from 'vibent label'")
    learn.add_argument(
        "--against",
        choices=("configurations", "test-fraction", "cutoff", "basis"),
        default="configurations",
        help="what varies; default: configurations",
    )
    learn.add_argument(
        "--values",
        type=length,
        nargs="+",
        metavar="X",
        help="numbers of training configurations, fractions that are held out (default 0.1 to "
        "0.9), cutoffs (Å), or total degrees",
    )
    learn.add_argument(
        "--splits", type=positive_number, default=5, help="random splits of each; default 5"
    )
    _add_basis(learn)
    _add_fit(learn)
    learn.add_argument("-o", "--output", metavar="FILE", help="JSON of every split")
    learn.add_argument("--plot", metavar="FILE", help="figure (PNG, PDF, SVG)")
    learn.add_argument(
        "-j", type=positive_number, default=-1, metavar="N", help="processes; default: all cores"
    )


def _add_basis(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cutoff", type=length, help="Å; default: suits the nearest neighbours")
    parser.add_argument("--order", type=positive_number, help="correlation order; default 3")
    parser.add_argument("--degree", type=length, help="total degree; default: suits the data")
    parser.add_argument(
        "--descriptor", metavar="SPEC", help=f"another than ACE, or all of it: {_DESCRIPTOR_HELP}"
    )


def _add_fit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--solver", choices=("ridge", "bayesian-ridge", "ard", "rrqr"), default="ridge"
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
