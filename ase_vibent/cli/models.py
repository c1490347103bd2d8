"""`vibent models`: the models that come with the package, and their cards."""

from __future__ import annotations

import argparse
from typing import Any

from ase_vibent import pretrained
from ase_vibent.cli.files import plain, show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("name", nargs="?", help="show the card of this one")


def run(options: argparse.Namespace) -> int:
    """`vibent models [NAME]`: a table of all, or the card of one."""
    if options.name is not None:
        card = pretrained.card(options.name)
        show(options, card, _card_text(card))
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
    lines = [f"{'name':<12} {'species':<8} {'S (k_B)':>9} {'∇S (k_B/Å)':>11} {'kB':>5}  potential"]
    for row in rows:
        errors = row["held_out_errors"]
        lines += [
            f"{row['name']:<12} {', '.join(row['species']):<8} {errors['entropy_rmse_kB']:>9.1e} "
            f"{errors['gradient_rmse_kB_per_A']:>11.1e} {row['bytes'] / 1000:>5.0f}  "
            f"{row['potential']}",
            f"{'':<13}{', '.join(row['structures'])}",
        ]
    return "\n".join([*lines, "RMSE on held-out cells. The card of one model: vibent models NAME"])


def _card_text(card: dict[str, Any]) -> str:
    errors = card["held_out_errors"]
    lines = [f"{card['name']}: {card['title']}"]
    for key in ("potential", "citation", "crystal", "validity", "not_for"):
        lines.append(f"  {key.replace('_', ' '):<12} {card[key]}")
    lines.append("data")
    for key, value in card["data"].items():
        if key != "cells":
            lines.append(f"  {key.replace('_', ' '):<16} {plain(value)}")
    lines += [
        "errors (RMSE) on held-out cells",
        f"  {'kind':<28} {'cells':>5} {'fitted too':>10} {'S (k_B)':>9} {'∇S (k_B/Å)':>11}",
    ]
    for kind, row in errors["by_kind"].items():
        fitted = card["data"]["cells"][kind] - row["cells"]
        lines.append(
            f"  {kind:<28} {row['cells']:>5} {fitted:>10} {_error(row['entropy']):>9} "
            f"{_error(row['gradient']):>11}"
        )
    relaxed = errors["relaxed"]
    lines += [
        f"  {'relaxed, of all kinds':<28} {relaxed['cells']:>5} {'':>10} "
        f"{_error(relaxed['entropy']):>9} {_error(relaxed['gradient']):>11}",
        f"  {'all':<28} {card['data']['held_out']:>5} {card['data']['fitted']:>10} "
        f"{errors['entropy_rmse_kB']:>9.1e} {errors['gradient_rmse_kB_per_A']:>11.1e}",
        f"  {'spread of the exact values':<46}{errors['formation_entropy_spread_kB']:>9.1e} "
        f"{errors['gradient_spread_kB_per_A']:>11.1e}",
        f"  largest error of an entropy {errors['entropy_max_kB']:.1e} k_B; quantum corrections of "
        f"a site {errors['quantum_rmse_kB_T0']:.1e} k_B T at 300 K, refused for "
        f"{errors['quantum_refused']:.0%} of sites",
        "  within intervals of entropy_std: "
        + ", ".join(f"{v:.0%} where {k} are promised" for k, v in card["coverage"].items()),
    ]
    return "\n".join(lines)


def _error(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"
