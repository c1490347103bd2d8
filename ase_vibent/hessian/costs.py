"""What many force calls cost, said as soon as it can be known."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

#: Seconds from which on costs are worth a word.
LONG = 60.0
#: Units of time and their lengths, s; each serves for twice its length and more.
_UNITS = (("h", 3600.0), ("min", 60.0), ("s", 1.0))
#: What this process has said: many structures of one size are one word.
_SAID: set[tuple[str, str]] = set()


class Costs:
    """Force calls to come, which say how long they take where that is long.

    The first call may load or compile what the others need, so that two are timed, unless the
    first alone takes long.

    Parameters
    ----------
    what : str
        Needs the calls.
    n_calls : int
    n_atoms : int
        In each of them.
    advice : str
        What makes them cost less.
    """

    def __init__(self, what: str, n_calls: int, n_atoms: int, advice: str = ""):
        self._text = f"{what}: {n_calls} force calls on {n_atoms} atoms", advice
        self._n_calls, self._n_timed, self._fastest = n_calls, 0, float("inf")

    @contextmanager
    def timed(self, n_calls: int = 1) -> Iterator[None]:
        """Time a call, or a batch of so many."""
        start = perf_counter()
        yield
        seconds = (perf_counter() - start) / n_calls
        self._n_timed += 1
        self._fastest = min(self._fastest, seconds)
        total = self._n_calls * self._fastest
        if total >= LONG and (self._n_timed == 2 or (self._n_timed == 1 and seconds >= LONG)):
            self._say(duration(total))

    def _say(self, time: str) -> None:
        if self._text in _SAID:
            return
        _SAID.add(self._text)
        text, advice = self._text
        # Of a logger: on standard error, unless the user wants it elsewhere.
        logging.getLogger("ase_vibent").warning("ase_vibent: %s, about %s%s", text, time, advice)


def duration(seconds: float) -> str:
    """A time in its proper unit, to a digit or two."""
    unit, length = next((u for u in _UNITS if seconds >= 2 * u[1]), _UNITS[-1])
    return f"{seconds / length:.0f} {unit}"
