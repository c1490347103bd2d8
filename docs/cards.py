"""A page for every model that comes with the package, from its card."""

from pathlib import Path

from ase_vibent import pretrained
from ase_vibent.cli.models import card_text

INDEX = """# Models that come with the package

    SiteEntropyCalculator.from_pretrained("si-sw", temperature=600)

or `--model si-sw` on the command line. A card says what the model was trained on, its errors on
held-out structures, and what it is not for; `vibent models NAME` prints it.

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
        page = f"# {name}\n\n```text\n{card_text(card)}\n```\n"
        (folder / f"{name}.md").write_text(page, encoding="utf-8")
    toctree = "\n".join(["```{toctree}", ":hidden:", "", *names, "```"])
    page = "\n".join([INDEX + "\n".join(rows), "", toctree, ""])
    (folder / "index.md").write_text(page, encoding="utf-8")
