"""A page for every model that comes with the package, from its card."""

from itertools import starmap
from pathlib import Path
from typing import Any

from ase_vibent import pretrained
from ase_vibent.cli.models import card_entries, card_tables
from ase_vibent.tables import plain

INDEX = """# Models that come with the package

    SiteEntropyCalculator.from_pretrained("si-sw", temperature=600)

or `--model si-sw` on the command line. A card says what the model was trained on, its errors on
held-out structures, what it is not for, where its potential is to be had, and under which
licences; `vibent models NAME` prints it.

| model | | potential |
|---|---|---|
"""


def write_cards(folder: Path) -> None:
    """Write the pages of all models, and their index."""
    folder.mkdir(exist_ok=True)
    rows, names = [], pretrained.names()
    for name in names:
        card = pretrained.card(name)
        rows.append(f"| [{name}]({name}.md) | {card['title']} | {card['potential']} |")
        (folder / f"{name}.md").write_text(_page(card), encoding="utf-8")
    toctree = "\n".join(["```{toctree}", ":hidden:", "", *(f"{n} <{n}>" for n in names), "```"])
    page = "\n".join([INDEX + "\n".join(rows), "", toctree, ""])
    (folder / "index.md").write_text(page, encoding="utf-8")


def _page(card: dict[str, Any]) -> str:
    """Words as tables, whose lines break where a page is narrow; tables of numbers as printed."""
    sections = [
        (title, ["| | |", "|---|---|", *starmap(_row, entries.items())])
        for title, entries in card_entries(card).items()
    ]
    sections += [(title, ["```text", *rows, "```"]) for title, rows in card_tables(card).items()]
    (heading, words), *others = sections
    lines = [f"# {heading}", "", *words, ""]
    for title, body in others:
        lines += [f"## {title[0].upper()}{title[1:]}", "", *body, ""]
    return "\n".join(lines)


def _row(name: str, value: Any) -> str:
    # Angle brackets are directions of a crystal, not HTML.
    text = plain(value).replace("<", "\\<").replace("|", "\\|")
    return f"| {name.replace('_', ' ')} | {text} |"
