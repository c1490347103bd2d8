"""Models that come with the package, of potentials that anyone can run, each with a card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase_vibent.errors import InvalidInputError, did_you_mean

if TYPE_CHECKING:
    from ase_vibent.model import SiteModel

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Names of the models, in alphabetical order."""
    return sorted(path.stem for path in _FOLDER.glob("*.vibent"))


def path(name: str) -> Path:
    """Coefficient file of a model.

    Parameters
    ----------
    name : str
        One of `names()`.

    Returns
    -------
    Path

    Raises
    ------
    InvalidInputError
        If there is none of that name.
    """
    if name not in names():
        raise InvalidInputError(
            f"name: expected one of {', '.join(names())}, got {name!r}; a model of your own is "
            f"loaded by its path, SiteEntropyCalculator(path){did_you_mean(name, names())}"
        )
    return _FOLDER / f"{name}.vibent"


def load(name: str) -> SiteModel:
    """The model.

    Parameters
    ----------
    name : str
        One of `names()`.

    Returns
    -------
    SiteModel

    Raises
    ------
    InvalidInputError
        If there is none of that name.
    """
    from ase_vibent.model import SiteModel

    return SiteModel.load(path(name))


def card(name: str) -> dict[str, Any]:
    """What a user should know of a model.

    Parameters
    ----------
    name : str
        One of `names()`.

    Returns
    -------
    dict
        Reference potential, where to get it, licences, its citation, data, errors and coverage
        of intervals on held-out cells, range of validity, and what the model is not for.

    Raises
    ------
    InvalidInputError
        If there is none of that name.
    """
    from ase_vibent.model.file import read_archive

    found: dict[str, Any] = read_archive(path(name))[0]["card"]
    return found
