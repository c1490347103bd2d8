"""Activated events: saddles over minima, searched for, labelled and kept in a file.

[Lapointe2022] IV.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from ase.units import kB
from numpy.typing import ArrayLike

from ase_vibent import dataset
from ase_vibent.arrays import Array
from ase_vibent.errors import LabelError
from ase_vibent.harmonic.entropy import T0
from ase_vibent.harmonic.thermodynamics import Vibrations, check_temperatures
from ase_vibent.stationary.saddles import SAME_ENERGY, SAME_POSITION, same_minimum
from ase_vibent.thermo.rates import TransitionRate

#: The three structures of an event, in the order of its frames.
POINTS = ("minimum", "saddle", "final")
#: In `atoms.info`: which of the three a frame is.
POINT = "vibent_point"
#: In `atoms.info` of a saddle: whether the search began in the minimum, and ħω of the unstable
#: mode, negative, eV.
CONNECTED, FREQUENCY = "vibent_connected", "vibent_unstable_frequency"
#: In `atoms.arrays` of a saddle: direction of the unstable mode, normalised, (N, 3).
MODE = "vibent_unstable_mode"


@dataclass(frozen=True)
class Event:
    """A first-order saddle with the minima on its two sides, and exact entropies of all three.

    Attributes
    ----------
    minimum, saddle, final : Atoms
        With labels of total entropies, and energies.
    """

    minimum: Atoms = field(repr=False)
    saddle: Atoms = field(repr=False)
    final: Atoms = field(repr=False)

    @property
    def key(self) -> str:
        """Fingerprint of the search that found it."""
        return str(self.saddle.info[dataset.KEY])

    @property
    def connected(self) -> bool:
        """Whether `minimum` is the one from which the search began."""
        return bool(self.saddle.info[CONNECTED])

    @property
    def frequency(self) -> float:
        """ħω of the unstable mode, negative because imaginary, eV."""
        return float(self.saddle.info[FREQUENCY])

    @property
    def barrier(self) -> float:
        """Energy of the saddle above the minimum, eV."""
        return _energy(self.saddle) - _energy(self.minimum)

    @property
    def reverse_barrier(self) -> float:
        """Energy of the saddle above the final minimum, eV."""
        return _energy(self.saddle) - _energy(self.final)

    @property
    def attempt_frequency(self) -> float:
        """Vineyard's ν*, [Lapointe2022] (24), Hz."""
        return float(self.rate().attempt_frequencies[0])

    @property
    def reverse_attempt_frequency(self) -> float:
        """ν* from the final minimum, Hz."""
        return float(self.reverse_rate().attempt_frequencies[0])

    def rate(self, temperatures: ArrayLike = T0) -> TransitionRate:
        """Classical rate from the minimum over the saddle.

        Parameters
        ----------
        temperatures : float or array_like, shape (n,), K

        Returns
        -------
        TransitionRate
        """
        return _rate(self.minimum, self.saddle, temperatures)

    def reverse_rate(self, temperatures: ArrayLike = T0) -> TransitionRate:
        """Classical rate from the final minimum back, see `rate`."""
        return _rate(self.final, self.saddle, temperatures)

    def reversed(self) -> Event:
        """The same event, from its final minimum."""
        return Event(self.final, self.saddle, self.minimum)

    def is_same(self, other: Event) -> bool:
        """Whether two events are one, forwards or backwards.

        As in [Lapointe2022] by the barrier (to 1 meV) and the displacement of the most displaced
        atom between minimum and saddle; of the displacement all components count (0.1 Å), so that
        events that symmetry makes alike stay apart.

        Parameters
        ----------
        other : Event

        Returns
        -------
        bool
        """
        return any(_same_way(self, way) for way in (other, other.reversed()))


def read_events(path: str | os.PathLike[str]) -> list[Event]:
    """Events of a file that `find_events` writes, also while it does.

    Parameters
    ----------
    path : path

    Returns
    -------
    list of Event

    Raises
    ------
    LabelError
        If the file is missing, or holds other frames.
    """
    try:
        if os.path.getsize(path) == 0:
            return []
    except OSError as error:
        raise LabelError(f"{path}: cannot read it ({error.strerror})") from error
    return events_of(dataset.read_labels(path), path)


def events_of(frames: Sequence[Atoms], path: str | os.PathLike[str]) -> list[Event]:
    """Events from the frames of a file; frames of an unfinished one at its end are left out.

    Parameters
    ----------
    frames : sequence of Atoms
    path : path
        For messages.

    Returns
    -------
    list of Event

    Raises
    ------
    LabelError
        If frames are not those of events.
    """
    events = []
    for start in range(0, len(frames), 3):
        group = frames[start : start + 3]
        if tuple(atoms.info.get(POINT) for atoms in group) != POINTS[: len(group)]:
            raise LabelError(
                f"{path}: expected frames of events (minimum, saddle, final), frame {start} begins "
                "none; was it written by find_events or vibent events?"
            )
        if len(group) == len(POINTS):
            events.append(_checked(Event(*group), path, start))
    return events


def _checked(event: Event, path: str | os.PathLike[str], start: int) -> Event:
    """The event, if it has all that rates are made of."""
    needed = (dataset.ENTROPY, dataset.N_MODES, dataset.KEY)
    for number, frame in enumerate((event.minimum, event.saddle, event.final), start=start):
        lacking = [name for name in needed if name not in frame.info]
        if frame.calc is None or "energy" not in getattr(frame.calc, "results", {}):
            lacking.append("energy")
        if frame is event.saddle:
            lacking += [name for name in (CONNECTED, FREQUENCY) if name not in frame.info]
        if lacking:
            raise LabelError(f"{path}: frame {number} of an event has no {lacking[0]}")
        if not np.array_equal(frame.numbers, event.minimum.numbers):
            raise LabelError(f"{path}: frame {number} has other atoms than its event's minimum")
    if min(event.barrier, event.reverse_barrier) < -SAME_ENERGY:
        raise LabelError(f"{path}: frame {start + 1}, a saddle, is lower in energy than a minimum")
    frequency = event.saddle.info[FREQUENCY]
    if not (isinstance(frequency, int | float | np.number) and -np.inf < frequency < 0):
        raise LabelError(
            f"{path}: frame {start + 1}: {FREQUENCY}: expected a number < 0, got {frequency!r}"
        )
    return event


def _energy(frame: Atoms) -> float:
    return float(frame.get_potential_energy())


def _rate(minimum: Atoms, saddle: Atoms, temperatures: ArrayLike) -> TransitionRate:
    chosen = check_temperatures(temperatures)
    states = [_vibrations(atoms, chosen) for atoms in (minimum, saddle)]
    vibrations = states[1] - states[0]
    barrier = _energy(saddle) - _energy(minimum)
    return TransitionRate(barrier, vibrations, log_std=vibrations.entropy_std / kB)


def _vibrations(frame: Atoms, temperatures: Array) -> Vibrations:
    """From the label at 300 K."""
    n_modes = frame.info[dataset.N_MODES]
    entropies = frame.info[dataset.ENTROPY] + n_modes * kB * np.log(temperatures / T0)
    errors = np.asarray(frame.info.get(dataset.ERRORS, [np.nan] * 3))
    return Vibrations(temperatures, entropies, temperatures * (n_modes * kB - entropies), errors)


def _same_way(one: Event, other: Event) -> bool:
    if abs(one.barrier - other.barrier) > SAME_ENERGY or len(one.saddle) != len(other.saddle):
        return False
    paths = [displacement_to(event.saddle, event.minimum) for event in (one, other)]
    most = int(np.argmax(np.linalg.norm(paths[0], axis=1)))
    close = np.linalg.norm(paths[0][most] - paths[1][most]) < SAME_POSITION
    return bool(close) and same_minimum(one.minimum, other.minimum)


def displacement_to(saddle: Atoms, minimum: Atoms) -> Array:
    """Displacement from a minimum to a saddle; of free structures without a rigid shift.

    Parameters
    ----------
    saddle, minimum : Atoms
        The same atoms in the same cell.

    Returns
    -------
    ndarray, shape (N, 3), Å
    """
    difference = saddle.positions - minimum.positions
    difference = find_mic(difference, saddle.cell, saddle.pbc)[0]
    if not saddle.constraints:
        difference -= difference.mean(axis=0)
    return np.asarray(difference)
