"""`vibent label --select`: which structures of a pool are labelled, and why."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict

from ase import Atoms

from ase_vibent.cli.files import model_file, progress_bar
from ase_vibent.errors import InvalidInputError
from ase_vibent.model import SiteModel
from ase_vibent.quantities import ENERGY, EVALUATED
from ase_vibent.training.selection import Choice, select


def selected(options: argparse.Namespace, structures: Sequence[Atoms]) -> list[Choice] | None:
    """What `--select` chooses from a pool; None where it is not asked for."""
    budgets = [b for b in (options.budget, options.budget_atoms) if b is not None]
    if options.select is None:
        if budgets:
            raise InvalidInputError("budget: it belongs to --select MODEL")
        return None
    if not budgets:
        raise InvalidInputError("select: say how much may be labelled, --budget or --budget-atoms")
    model = SiteModel.load(model_file(options.select))
    fitted = model.header.get("quantities", ())
    # Totals are labelled anyway, and forces with energies; of the others, training will use what it
    # used before.
    given = EVALUATED if model.target == ENERGY.name else options.labels
    wanted = [q for q in EVALUATED if q == "total" or (q in given and q in fitted)]
    return select(
        model,
        structures,
        budgets[0],
        unit="structures" if options.budget is not None else "atoms",
        quantities=wanted,
        progress=lambda items: progress_bar(items, len(structures), "choosing"),
    )


def choice_table(choices: Sequence[Choice], sources: Sequence[str]) -> str:
    """Choices for people."""
    lines = [
        f"{len(choices)} of {len(sources)} structures chosen, in this order",
        f"{'structure':<32} {'gain (nats)':>11} {'std of total*':>19} {'grade':>6}",
    ]
    lines += [
        f"{sources[c.index]:<32} {c.gain:>11.2f} {c.std:>19.3g} {c.grade:>6.2f}" for c in choices
    ]
    return "\n".join([*lines, "* k_B, or eV where the model predicts energies"])


def choice_data(choices: Sequence[Choice], sources: Sequence[str]) -> list[dict[str, object]]:
    """Choices for machines."""
    return [{"structure": sources[c.index], **asdict(c)} for c in choices]
