"""Citation keys, and files that the documents name, lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import ase_vibent

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "benchmarks" / "RESULTS.md", *ROOT.glob("docs/*.md")]
#: Sources by name, from any folder on, and links to files.
NAMED = re.compile(r"[\w/.-]+\.(?:py|md)\b")
LINK = re.compile(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)")
#: Folders that `bash run docs` makes.
MADE = ("gallery/", "models/")
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


def test_files_that_documents_name_exist():
    folders = ("ase_vibent", "benchmarks", "docs", "examples", "tests")
    files = [str(path) for folder in folders for path in (ROOT / folder).rglob("*.*")]
    found, lost = 0, []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        links = set(LINK.findall(text))
        named = set(NAMED.findall(text)) - links - {"benchmarks/pretrained/NAME.py"}
        found += len(links | named)
        missing = [
            name
            for name in links | named
            if not name.startswith(MADE) and not (document.parent / name).is_file()
        ]
        lost += [
            name
            for name in missing
            if name in links or not any(file.endswith(f"/{name}") for file in files)
        ]
    assert found > 50
    assert not lost
