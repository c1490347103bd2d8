"""`vibent models`: the models that come with the package, and their cards."""

from __future__ import annotations

import argparse
from typing import Any

from ase_vibent import pretrained
from ase_vibent.cli.shared.files import show
from ase_vibent.tables import format_entries, format_table

_WORDS = ("potential", "source", "licence", "citation", "crystal", "validity", "not_for")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("name", nargs="?", help="show the card of this one")


def run(options: argparse.Namespace) -> int:
    """`vibent models [NAME]`: a table of all, or the card of one."""
    if options.name is not None:
        card = pretrained.card(options.name)
        show(options, card, card_text(card))
        return 0
    cards = {name: pretrained.card(name) for name in pretrained.names()}
    sizes = {name: pretrained.path(name).stat().st_size for name in cards}
    rows = [
        {
            "name": name,
            "species": card["species"],
            "potential": card["potential"],
            "structures": sorted(card["data"]["cells"]),
            "held_out_errors": {
                key: value for key, value in card["held_out_errors"].items() if key != "by_kind"
            },
            "bytes": sizes[name],
        }
        for name, card in cards.items()
    ]
    show(options, rows, _table(rows))
    return 0


def _table(rows: list[dict[str, Any]]) -> str:
    columns = {
        "name": "<",
        "species": "<",
        "S (k_B)": ">.1e",
        "∇S (k_B/Å)": ">.1e",
        "kB": ">.0f",
        "potential": "<",
    }
    title, *lines = format_table(
        columns,
        [
            (
                row["name"],
                ", ".join(row["species"]),
                row["held_out_errors"]["entropy_rmse_kB"],
                row["held_out_errors"]["gradient_rmse_kB_per_A"],
                row["bytes"] / 1000,
                row["potential"],
            )
            for row in rows
        ],
    )
    indent = " " * title.index("species")
    kinds = [indent + ", ".join(row["structures"]) for row in rows]
    pairs = [line for pair in zip(lines, kinds, strict=True) for line in pair]
    hint = "RMSE on held-out cells. The card of one model: vibent models NAME"
    return "\n".join([title, *pairs, hint])


def card_text(card: dict[str, Any]) -> str:
    """What a card says, for people.

    Parameters
    ----------
    card : dict
        As of `pretrained.card`.

    Returns
    -------
    str
    """
    sections = {key: format_entries(entries) for key, entries in card_entries(card).items()}
    sections |= card_tables(card)
    return "\n".join(
        text for title, body in sections.items() for text in (title, *(f"  {b}" for b in body))
    )


def card_entries(card: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What a card says in words: names and values under titles.

    Parameters
    ----------
    card : dict
        As of `pretrained.card`.

    Returns
    -------
    dict of str to dict
    """
    return {
        f"{card['name']}: {card['title']}": {key: card[key] for key in _WORDS},
        "data": {key: value for key, value in card["data"].items() if key != "cells"},
    }


def card_tables(card: dict[str, Any]) -> dict[str, list[str]]:
    """What a card says in numbers: lines of tables under titles.

    Parameters
    ----------
    card : dict
        As of `pretrained.card`.

    Returns
    -------
    dict of str to list of str
    """
    tables = {"errors (RMSE) on held-out cells": [*_error_table(card), *_remarks(card)]}
    if card["larger_cells"]:
        tables["minima in cells twice as wide, none of them fitted"] = _larger_cells(card)
    return tables


def _error_table(card: dict[str, Any]) -> list[str]:
    """Errors by kind of cell, and the spread that they are to be compared with."""
    errors, data = card["held_out_errors"], card["data"]
    relaxed = errors["relaxed"]
    rows = [
        (kind, row["cells"], data["cells"][kind] - row["cells"], row["entropy"], row["gradient"])
        for kind, row in errors["by_kind"].items()
    ]
    rows += [
        ("relaxed, of all kinds", relaxed["cells"], "", relaxed["entropy"], relaxed["gradient"]),
        (
            "all",
            data["held_out"],
            data["fitted"],
            errors["entropy_rmse_kB"],
            errors["gradient_rmse_kB_per_A"],
        ),
        (
            "spread of the exact values",
            "",
            "",
            errors["formation_entropy_spread_kB"],
            errors["gradient_spread_kB_per_A"],
        ),
    ]
    columns = {
        "kind": "<",
        "cells": ">",
        "fitted too": ">",
        "S (k_B)": ">.1e",
        "∇S (k_B/Å)": ">.1e",
    }
    return format_table(columns, rows)


def _larger_cells(card: dict[str, Any]) -> list[str]:
    """Formation entropies, exact and predicted, and force calls for modes that are left out."""
    found = card["larger_cells"]
    columns = {"kind": "<", "atoms": ">", "exact (k_B)": ">.4f", "predicted": ">.4f", "±": ">±.4f"}
    keys = ["atoms", "exact", "predicted", "std"]
    if all("force_calls" in row for row in found.values()):
        columns["force calls"] = ">"
        keys.append("force_calls")
    return format_table(columns, [(kind, *(r[key] for key in keys)) for kind, r in found.items()])


def _remarks(card: dict[str, Any]) -> list[str]:
    errors = card["held_out_errors"]
    quantum = errors["quantum_rmse_kB_T0"]
    return [
        f"largest error of an entropy {errors['entropy_max_kB']:.1e} k_B; "
        + (
            "classical, and without the modes that are left to force calls"
            if quantum is None
            else "quantum statistics from 0 K on, by moments that are off by "
            f"{quantum:.1e} k_B T a site at 300 K"
        ),
        "within intervals of entropy_std: "
        + ", ".join(f"{v:.0%} where {k} are promised" for k, v in card["coverage"].items()),
    ]
