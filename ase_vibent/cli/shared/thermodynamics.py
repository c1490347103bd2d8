"""What `vibent formation` and `vibent rate` share: their arguments, and their calculators."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ase_vibent.calculators.base import EntropyCalculator
from ase_vibent.calculators.hessian import HessianEntropyCalculator
from ase_vibent.calculators.surrogate import SiteEntropyCalculator
from ase_vibent.cli.shared.arguments import (
    MODEL,
    add_finite_differences,
    add_fmax,
    add_mesh,
    add_report,
    add_temperatures,
    hessian_options,
    positive_number,
)
from ase_vibent.cli.shared.files import model_file
from ase_vibent.errors import InvalidInputError
from ase_vibent.hessian import StoredHessian
from ase_vibent.model import SiteModel
from ase_vibent.potentials import CalculatorSpec


def add_thermodynamics(parser: argparse.ArgumentParser) -> None:
    """Arguments of free energies, and of where they come from."""
    parser.add_argument("--model", help=f"gives entropies: {MODEL}")
    parser.add_argument(
        "--calculator",
        metavar="SPEC",
        help="as of 'vibent label'; gives energies, and exact entropies where there is no model, "
        "or soft modes where the model leaves them out",
    )
    add_temperatures(parser)
    parser.add_argument(
        "--quantum", action="store_true", help="quantum statistics, zero-point energy included"
    )
    add_fmax(parser, 0.01)
    parser.add_argument("--plot", metavar="FILE", help="figure (PNG, PDF, SVG)")
    add_report(
        parser,
        "with structures in 3D; exact site entropies for these take the Hessians once more, or "
        "--cache",
    )
    add_mesh(parser)
    add_finite_differences(parser)


def add_dilute(parser: argparse.ArgumentParser, what: str) -> None:
    """The argument that takes exact entropies to a larger cell."""
    parser.add_argument(
        "--dilute",
        type=positive_number,
        metavar="N",
        help="exact entropies of --calculator in this cell, taken by --model to one N times as "
        f"wide, in which {what}",
    )


def calculators(
    options: argparse.Namespace,
    hessians: Sequence[StoredHessian] = (),
    **parameters: Any,
) -> tuple[EntropyCalculator, Any, SiteEntropyCalculator | None]:
    """What gives entropies, what gives energies, if anything, and what refines exact entropies.

    Parameters
    ----------
    options : Namespace
    hessians : sequence of StoredHessian
        They give entropies of their structures, whatever the calculator says.
    **parameters
        More of what gives exact entropies.
    """
    refined = options.dilute is not None
    potential = CalculatorSpec(options.calculator)() if options.calculator else None
    surrogate = None
    if options.model:
        surrogate = surrogate_of(options.model, potential, quantum=options.quantum)
    if hessians and surrogate is not None and not refined:
        raise InvalidInputError(
            "--hessian, --model: both give entropies; leave one out, or take exact ones to a "
            "larger cell with --dilute and --calculator"
        )
    if refined and (surrogate is None or potential is None):
        raise InvalidInputError("--dilute: needs both, --calculator and --model")
    if surrogate is not None and not refined:
        return surrogate, potential, None
    if potential is None and not hessians:
        raise InvalidInputError(
            "--model, --calculator: give a model, or a calculator for exact entropies, or both: "
            "entropies of the model, energies of the calculator; or --hessian"
        )
    exact = HessianEntropyCalculator(
        potential,
        hessian=list(hessians) or None,
        quantum=options.quantum,
        mesh=options.mesh,
        **parameters,
        **asdict(hessian_options(options)),
    )
    return exact, potential, surrogate


def surrogate_of(model: str, potential: object, **parameters: Any) -> SiteEntropyCalculator:
    """Site model of entropies.

    Parameters
    ----------
    model : str
        As users name it.
    potential : ASE calculator or None
        Finds soft modes if the model leaves them out.
    **parameters
        Of the calculator.

    Returns
    -------
    SiteEntropyCalculator
        Its parameters name the file, as reports do.
    """
    path = model_file(model)
    loaded = SiteModel.load(path)
    needed = None if loaded.floor is None else potential
    found = SiteEntropyCalculator(loaded, soft_modes_of=needed, **parameters)
    found.parameters["model"] = os.fspath(path)  # which a model in memory does not know
    return found


def soft_mode_calls(*found: object) -> dict[str, int]:
    """Force calls that soft modes took, for JSON, of calculators whose models leave them out."""
    calls = [c.soft_parts.force_calls for c in found if isinstance(c, SiteEntropyCalculator)]
    return {"soft_mode_force_calls": sum(calls)} if any(calls) else {}


def soft_mode_lines(*found: object) -> list[str]:
    """The same for people."""
    calls = soft_mode_calls(*found).values()
    return [f"soft modes: {count} force calls in all" for count in calls]
