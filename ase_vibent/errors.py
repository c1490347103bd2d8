"""Exceptions of the package: all derive from `VibentError`."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line says its version without numpy
    import numpy as np
    from numpy.typing import NDArray


class VibentError(Exception):
    """Base class of every exception that ase_vibent raises on purpose."""


class InvalidInputError(VibentError, ValueError):
    """An argument has the wrong shape, unit, range or type."""


class InvalidStructureError(VibentError, ValueError):
    """A structure cannot be evaluated: NaN positions, coincident or isolated atoms."""


class CoincidentAtomsError(InvalidStructureError):
    """Two atoms sit on one spot.

    Attributes
    ----------
    pair : (int, int)
        Their numbers.
    """

    def __init__(self, message: str, pair: tuple[int, int]):
        super().__init__(message)
        self.pair = pair

    def __reduce__(self) -> tuple:
        """Keep the extra attribute when the error crosses a process boundary."""
        return type(self), (self.args[0], self.pair)


class UnknownSpeciesError(VibentError, ValueError):
    """A structure holds a chemical species that the descriptor or model does not know."""


class CalculatorError(VibentError):
    """The wrapped calculator failed, lacks a property, or returned NaN."""


class UnstableStructureError(VibentError):
    """The number of unstable modes is not the one that was promised.

    Attributes
    ----------
    frequencies : ndarray, shape (n_modes,), eV
        ħω of all modes but the rigid ones; imaginary frequencies are negative.
    n_unstable : int
        Number of modes with a negative eigenvalue.
    """

    def __init__(self, message: str, frequencies: NDArray[np.float64], n_unstable: int):
        super().__init__(message)
        self.frequencies = frequencies
        self.n_unstable = n_unstable

    def __reduce__(self) -> tuple:
        """Keep the extra attributes when the error crosses a process boundary."""
        return type(self), (self.args[0], self.frequencies, self.n_unstable)


class RelaxationError(VibentError):
    """A relaxation or saddle search ended before the force it was to reach.

    Attributes
    ----------
    steps : int
        Steps taken.
    force : float, eV/Å
        Largest force on an atom that was left.
    """

    def __init__(self, message: str, steps: int, force: float):
        super().__init__(message)
        self.steps = steps
        self.force = force

    def __reduce__(self) -> tuple:
        """Keep the extra attributes when the error crosses a process boundary."""
        return type(self), (self.args[0], self.steps, self.force)


class LostStateError(VibentError):
    """A model relaxed a structure into another state than its reference does."""


class LabelError(VibentError):
    """A dataset lacks a label, a reference crystal, or holds contradictory frames."""


class TrainingError(VibentError):
    """A fit is impossible: no rows, or a constant that nothing determines."""


class ModelFileError(VibentError):
    """A coefficient file is truncated, altered, foreign or from a newer version."""


class ExtrapolationError(VibentError):
    """Atoms have environments far from those that the model was trained on.

    Attributes
    ----------
    grades : ndarray, shape (N,)
        Extrapolation grade of every atom; 1 is the edge of the training set.
    """

    def __init__(self, message: str, grades: NDArray[np.float64]):
        super().__init__(message)
        self.grades = grades

    def __reduce__(self) -> tuple:
        """Keep the extra attribute when the error crosses a process boundary."""
        return type(self), (self.args[0], self.grades)


class ExtrapolationWarning(UserWarning):
    """What `ExtrapolationError` says, as a warning."""


class NarrowCellWarning(UserWarning):
    """A cell is narrower than its Hessian reaches: what a mesh of it says is partly a guess."""


class VacuumWarning(UserWarning):
    """Vacuum between periodic images is too narrow to be sure of, or holds several bodies."""


class CutRecordWarning(UserWarning):
    """The last record of a file was unfinished, and was cut off: a run had been killed."""


class LeftOutWarning(UserWarning):
    """Something of a structure has no place in the format of a file, and is not in it."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """A question at the end of a message, if a name is much like one that there is.

    Parameters
    ----------
    given : str
    known : iterable of str

    Returns
    -------
    str
    """
    near = get_close_matches(given.lower(), list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def reason(error: BaseException) -> str:
    """What went wrong, in one line.

    Parameters
    ----------
    error : BaseException
        Its type is named, unless it is one of ours.

    Returns
    -------
    str
    """
    text = str(error) if isinstance(error, VibentError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())
