"""How long a calculator's force calls take."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median_low
from time import perf_counter
from weakref import WeakKeyDictionary

#: What takes less, s, was no call: the calculator had the results.
REMEMBERED = 1e-3
#: Calls whose times are remembered, of each number of atoms.
RECENT = 9


class Pace:
    """Times of a calculator's force calls; the first may load or compile what the others need.

    Attributes
    ----------
    n_calls : int
        Timed so far; those of a batch count as one.
    """

    def __init__(self) -> None:
        self.n_calls = 0
        self._times: defaultdict[int, deque[float]] = defaultdict(lambda: deque(maxlen=RECENT))

    @contextmanager
    def timed(self, n_atoms: int, n_structures: int = 1) -> Iterator[None]:
        """Time a call, or a batch of so many structures of so many atoms.

        Parameters
        ----------
        n_atoms, n_structures : int
        """
        start = perf_counter()
        yield
        seconds = perf_counter() - start
        if seconds >= REMEMBERED:
            self.n_calls += 1
            self._times[n_atoms].append(seconds / n_structures)

    def seconds(self, n_atoms: int) -> float:
        """Time of a call on so many atoms; in proportion, where none was timed.

        Parameters
        ----------
        n_atoms : int

        Returns
        -------
        float, s
            0 where there was no call yet.
        """
        if not self._times:
            return 0.0
        known = min(self._times, key=lambda n: max(n, n_atoms) / min(n, n_atoms))
        return median_low(self._times[known]) * n_atoms / known


#: Of all calculators that are still in use.
_PACES: WeakKeyDictionary[object, Pace] = WeakKeyDictionary()


def pace_of(calculator: object) -> Pace:
    """Pace of a calculator, as far as this process has met it.

    Parameters
    ----------
    calculator : ASE calculator

    Returns
    -------
    Pace
    """
    try:
        return _PACES.setdefault(calculator, Pace())
    except TypeError:  # one that takes no weak reference, or has no hash
        return Pace()
