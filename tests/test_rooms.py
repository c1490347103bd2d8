"""Architecture: rooms of the package from top to bottom, each importing only from below."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

import ase_vibent

#: Rooms of one row do not know each other. A room is a folder, or a file beside them.
ROWS = [
    ["cli"],
    ["report"],
    ["figures"],
    ["events"],
    ["thermo", "analysis", "verification"],
    ["stationary"],
    ["labelling", "lammps"],
    ["calculators"],
    ["training"],
    ["export"],
    ["pretrained"],
    ["model"],
    ["crystal"],
    ["runs"],
    ["descriptors"],
    ["neighbours"],
    ["hessian"],
    ["structures"],
    ["harmonic"],
    ["regression"],
    ["potentials"],
    ["dataset"],
    ["checks", "quantities", "files", "tables"],
    ["compiled"],
    ["arrays", "errors", "_version"],
]
ROW = {room: number for number, rooms in enumerate(ROWS) for room in rooms}

#: Python files beside the folders of the package, its own __init__ included.
MOST_ROOT_FILES = 8


class Import(NamedTuple):
    """One file needs another; both named within the package."""

    importer: str
    target: str
    line: str


class Package:
    """Modules of a package, and what they import of it.

    Names are those within the package. Its own __init__, "", is the front door: that may show
    everything, and no file inside goes through it.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.files = {}
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            self.files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        self.imports = [step for name in self.files if name for step in self._imports(name)]

    def _imports(self, importer: str) -> list[Import]:
        path = self.files[importer]
        where = path.relative_to(self.folder.parent)
        return [
            Import(importer, target, f"{where}:{line} imports {target or 'the front door'}")
            for line, target in sorted(set(self._targets(importer, path)))
        ]

    def _targets(self, importer: str, path: Path) -> Iterator[tuple[int, str]]:
        """Lines and modules of all imports, deferred ones and those for types included."""
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                named = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node, importer, path)
                named = [f"{base}.{alias.name}" for alias in node.names]
            else:
                continue
            for name in named:
                if name.split(".")[0] == self.folder.name:
                    for target in self._loaded(name, importer):
                        yield node.lineno, target

    def _base(self, node: ast.ImportFrom, importer: str, path: Path) -> str:
        """Absolute name of what follows `from`."""
        if not node.level:
            return node.module or ""
        parts = [self.folder.name, *importer.split(".")]
        parts = parts[: len(parts) - node.level + (path.name == "__init__.py")]
        return ".".join([*parts, node.module] if node.module else parts)

    def _loaded(self, name: str, importer: str) -> Iterator[str]:
        """Modules that an import of `name` runs: itself, and the __init__ of every folder.

        Not of a folder in which the importer lies itself: that one has begun already.
        """
        parts = name.split(".")[1:]
        if ".".join(parts) not in self.files:  # a function or class
            parts = parts[:-1]
        yield ".".join(parts)
        for count in range(1, len(parts)):
            folder = ".".join(parts[:count])
            if not f"{importer}.".startswith(f"{folder}."):
                yield folder


def room(module: str) -> str:
    return module.split(".")[0]


def crowded_root(package: Package) -> list[str]:
    names = [path.name for path in package.files.values() if path.parent == package.folder]
    return [f"{len(names)} files: {', '.join(names)}"] if len(names) > MOST_ROOT_FILES else []


def unknown_rooms(package: Package) -> list[str]:
    return [str(path) for name, path in package.files.items() if name and room(name) not in ROW]


def upward_imports(package: Package) -> list[str]:
    """To a higher room, to another room of the same row, or through the front door."""

    def allowed(importer: str, target: str) -> bool:
        return importer == target or ROW.get(importer, -1) < ROW.get(target, -1)

    return [
        step.line for step in package.imports if not allowed(room(step.importer), room(step.target))
    ]


def circles(package: Package) -> list[str]:
    """Every set of files that need each other, as the imports that tie them."""
    number = {name: k for k, name in enumerate(package.files)}
    rows = [number[step.importer] for step in package.imports]
    columns = [number[step.target] for step in package.imports]
    graph = csr_array(([1] * len(rows), (rows, columns)), shape=(len(number), len(number)))
    _, circle = connected_components(graph, connection="strong")
    ties: dict[int, list[str]] = {}
    for step, row, column in zip(package.imports, rows, columns, strict=True):
        if circle[row] == circle[column]:
            ties.setdefault(circle[row], []).append(step.line)
    return ["\n".join(steps) for steps in ties.values()]


RULES = [crowded_root, unknown_rooms, upward_imports, circles]


@pytest.mark.parametrize("rule", RULES)
def test_house_is_in_order(rule):
    offences = rule(Package(Path(ase_vibent.__file__).parent))
    assert not offences, "\n\n".join(["", *offences])


def test_every_offence_is_named(tmp_path):
    house = {
        "__init__.py": "from house.cli import main",
        "cli/__init__.py": "from house.thermo import rates",
        "thermo/__init__.py": "",
        "thermo/rates.py": "def rate():\n    from ..analysis.locality import reach",
        "analysis/__init__.py": "import house.errors, house.analysis.locality",
        "analysis/locality.py": "from house.analysis import reach\nfrom house.thermo import rates",
        "errors.py": "if TYPE_CHECKING:\n    from house import main",
        "attic.py": "import house_of_others",
        **{f"cellar{k}.py": "" for k in range(6)},
    }
    for name, content in house.items():
        path = tmp_path / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    package = Package(tmp_path / "house")
    (crowd,) = crowded_root(package)
    assert crowd.startswith("9 files: ")
    assert len(unknown_rooms(package)) == 7
    assert upward_imports(package) == [
        "house/analysis/locality.py:2 imports thermo",
        "house/analysis/locality.py:2 imports thermo.rates",
        "house/errors.py:2 imports the front door",
        "house/thermo/rates.py:2 imports analysis",
        "house/thermo/rates.py:2 imports analysis.locality",
    ]
    assert circles(package) == [
        "house/analysis/__init__.py:1 imports analysis.locality\n"
        "house/analysis/locality.py:1 imports analysis\n"
        "house/analysis/locality.py:2 imports thermo.rates\n"
        "house/thermo/rates.py:2 imports analysis\n"
        "house/thermo/rates.py:2 imports analysis.locality"
    ]
