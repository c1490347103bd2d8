"""What many force calls cost, said as soon as it can be known."""

from __future__ import annotations

import logging
from time import perf_counter

from ase_vibent.potentials import Pace

#: Seconds from which on costs are worth a word.
LONG = 60.0
#: Seconds from which on a call is worth keeping.
SLOW = 1.0
#: Seconds between two words on how far a structure is; or a tenth of its time, if that is more.
SPARSELY = 1800.0
#: A structure's costs are said if they are as many times what was said before: a long run is a few
#: words.
NOTABLE = 2.0
#: Units of time and their lengths, s; each serves for twice its length and more.
_UNITS = (("h", 3600.0), ("min", 60.0), ("s", 1.0))
#: Longest time that this process has said, s, of everything that takes calls.
_SAID: dict[str, float] = {}


class Costs:
    """Force calls to come, which say how long they take where that is long.

    It is said at once if the pace is known, or else after two calls, unless the first alone takes
    long.

    Parameters
    ----------
    what : str
        Needs the calls.
    n_calls : int
    n_atoms : int
        In each of them.
    pace : Pace
    advice : str
        What makes them cost less.
    kept : bool
        Whether results go into a cache.
    """

    def __init__(
        self,
        what: str,
        n_calls: int,
        n_atoms: int,
        pace: Pace,
        *,
        advice: str = "",
        kept: bool = False,
    ):
        self._what, self._n_atoms, self._advice, self._kept = what, n_atoms, advice, kept
        self._pace, self._n_calls = pace, n_calls
        self._n_done = self._n_stored = 0
        self._start = self._last = perf_counter()
        if pace.n_calls > 1:
            self._foretell()

    def stored(self, n_calls: int) -> None:
        """Count calls whose results were found."""
        self._n_stored += n_calls

    def done(self, n_calls: int = 1) -> None:
        """Count calls that were made."""
        self._n_done += n_calls
        if self._pace.n_calls > 1 or self._pace.seconds(self._n_atoms) >= LONG:
            self._foretell()
            self._report()

    def _foretell(self) -> None:
        seconds = self._pace.seconds(self._n_atoms)
        total = seconds * (self._n_calls - self._n_stored)
        if total < max(LONG, NOTABLE * _SAID.get(self._what, 0.0)):
            return
        _SAID[self._what] = total
        lost = "" if self._kept or seconds < SLOW else "; --cache (cache=) keeps finished ones"
        self._say(
            f"{self._n_calls} force calls on {self._n_atoms} atoms, about {duration(total)}"
            f"{self._advice}{lost}"
        )

    def _report(self) -> None:
        now = perf_counter()
        spent, left = now - self._start, self._n_calls - self._n_stored - self._n_done
        pace = spent / self._n_done
        if left > 0 and now - self._last >= max(SPARSELY, pace * (self._n_done + left) / 10):
            self._last = now
            finished = self._n_calls - left
            self._say(f"{finished} of {self._n_calls} done, about {duration(pace * left)} left")

    def _say(self, text: str) -> None:
        # Of a logger: on standard error, unless the user wants it elsewhere.
        logging.getLogger("ase_vibent").warning("ase_vibent: %s: %s", self._what, text)


def duration(seconds: float) -> str:
    """A time in its proper unit, to a digit or two."""
    unit, length = next((u for u in _UNITS if seconds >= 2 * u[1]), _UNITS[-1])
    return f"{seconds / length:.0f} {unit}"
