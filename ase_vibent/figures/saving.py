"""Figures in files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ase_vibent.files.writing import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure, whole or not at all.

    Parameters
    ----------
    figure : Figure
    path : path
        PNG, PDF or SVG by its ending.
    """
    with whole_file(path) as file:
        figure.savefig(file, format=Path(path).suffix.lstrip("."), dpi=150)
