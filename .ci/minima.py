"""Constraints for pip: every dependency of the project at its stated minimum."""

import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
for dependency in project["dependencies"]:
    print(dependency.replace(">=", "=="))
