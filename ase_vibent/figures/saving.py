"""Figures in files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ase_vibent.files.writing import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Where a figure goes: a file that its ending makes PNG, PDF or SVG, or an open one, as SVG.
Place = str | os.PathLike[str] | IO[bytes]


def save(figure: Figure, place: Place) -> None:
    """Write a figure, whole or not at all.

    Parameters
    ----------
    figure : Figure
    place : path or binary file
    """
    from matplotlib import rc_context

    if not isinstance(place, str | os.PathLike):
        with rc_context({"svg.hashsalt": "vibent"}):  # the same figure, the same bytes
            figure.savefig(place, format="svg", dpi=150, metadata={"Date": None})
        return
    with whole_file(place) as file:
        figure.savefig(file, format=Path(place).suffix.lstrip("."), dpi=150)


def typeset(label: str) -> str:
    """A label of an axis or legend with its k_B as a symbol.

    Parameters
    ----------
    label : str

    Returns
    -------
    str
    """
    return label.replace("k_B", r"$k_\mathrm{B}$")


def verbatim(text: str) -> str:
    """A name as it is, in a figure: dollars are no formulas.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
    """
    return text.replace("$", r"\$")
