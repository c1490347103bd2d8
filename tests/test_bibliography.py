"""Citation keys lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import ase_vibent

ROOT = Path(__file__).parent.parent
KEY = re.compile(r"\[([A-Z][a-z]+(?:19|20)\d\d)\]")


def test_every_citation_key_is_in_the_bibliography():
    known = set(KEY.findall((ROOT / "docs" / "bibliography.md").read_text(encoding="utf-8")))
    package = Path(ase_vibent.__file__).parent
    cited = {
        key: path.relative_to(package)
        for path in package.rglob("*.py")
        for key in KEY.findall(path.read_text(encoding="utf-8"))
    }
    assert {"Torabi2024", "Lapointe2022"} <= cited.keys()
    assert not {key: path for key, path in cited.items() if key not in known}
