"""Events as a table of states and rates, for kinetic Monte Carlo."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import kB
from numpy.typing import ArrayLike, NDArray

from ase_vibent import dataset
from ase_vibent.errors import InvalidInputError
from ase_vibent.events.event import Event
from ase_vibent.files.writing import write_text
from ase_vibent.harmonic.thermodynamics import check_temperatures
from ase_vibent.stationary.saddles import SAME_ENERGY, same_minimum

#: What a file of a table may be.
FORMATS = (".csv", ".json")


@dataclass(frozen=True)
class EventTable:
    """Events between numbered minima.

    Attributes
    ----------
    events : list of Event
    states : list of Atoms
        Different minima; a state's number is its place.
    initial, final : ndarrays of int, shape (n_events,)
        States that every event connects.
    """

    events: Sequence[Event] = field(repr=False)
    states: Sequence[Atoms] = field(repr=False)
    initial: NDArray[np.intp] = field(repr=False)
    final: NDArray[np.intp] = field(repr=False)

    @classmethod
    def from_events(cls, events: Sequence[Event], states: Sequence[Atoms] = ()) -> EventTable:
        """Table whose minima are matched against each other, and against those known before.

        Two are one if no atom is farther than 0.1 Å from its place, but for a rigid shift of all,
        and energies agree to 1 meV.

        Parameters
        ----------
        events : sequence of Event
        states : sequence of Atoms, optional
            Known minima with energies, such as those of an earlier table: they keep their numbers.

        Returns
        -------
        EventTable
        """
        known = list(states)
        energies = [float(atoms.get_potential_energy()) for atoms in known]
        # Initial states first: those from which searches began get the lowest numbers.
        initial = [_number(event.minimum, known, energies) for event in events]
        final = [_number(event.final, known, energies) for event in events]
        return cls(list(events), known, np.array(initial, int), np.array(final, int))

    def rows(self, temperatures: ArrayLike = 300.0) -> list[dict[str, Any]]:
        """One entry per event.

        Barriers in eV, attempt frequencies in Hz, rates in 1/s at every temperature, forwards and
        in reverse.

        Parameters
        ----------
        temperatures : float or array_like, shape (n,), K

        Returns
        -------
        list of dict
        """
        chosen = check_temperatures(temperatures)
        rows = []
        for event, initial, final in zip(self.events, self.initial, self.final, strict=True):
            row: dict[str, Any] = {"event": event.key, "initial": int(initial), "final": int(final)}
            for prefix, rate in (
                ("", event.rate(chosen)),
                ("reverse_", event.reverse_rate(chosen)),
            ):
                row[f"{prefix}barrier_eV"] = rate.barrier
                row[f"{prefix}attempt_frequency_Hz"] = float(rate.attempt_frequencies[0])
                for temperature, value in zip(chosen, rate.rates, strict=True):
                    row[f"{prefix}rate_{temperature:g}K_per_s"] = float(value)
            rows.append(row | {"connected": event.connected})
        return rows

    def write(self, path: str | os.PathLike[str], temperatures: ArrayLike = 300.0) -> None:
        """Write the table: rows as CSV, or states and rows as JSON.

        Parameters
        ----------
        path : path
            `.csv` or `.json`.
        temperatures : float or array_like, shape (n,), K

        Raises
        ------
        InvalidInputError
            If the file has another ending.
        """
        kind = check_format(path)
        rows = self.rows(temperatures)
        text = io.StringIO(newline="")
        if kind == ".json":
            content = {"states": self._state_rows(), "events": rows}
            json.dump(content, text, indent=1, allow_nan=False)
        else:
            names = list(rows[0]) if rows else ["event", "initial", "final"]
            writer = csv.DictWriter(text, names)
            writer.writeheader()
            writer.writerows(rows)
        write_text(path, text.getvalue())

    def _state_rows(self) -> list[dict[str, Any]]:
        return [
            {
                "state": number,
                "energy_eV": float(atoms.get_potential_energy()),
                "entropy_300K_kB": atoms.info[dataset.ENTROPY] / kB
                if dataset.ENTROPY in atoms.info
                else None,
            }
            for number, atoms in enumerate(self.states)
        ]


def check_format(path: str | os.PathLike[str]) -> str:
    """Ending of a table's file, or an error.

    Parameters
    ----------
    path : path

    Returns
    -------
    str

    Raises
    ------
    InvalidInputError
        If it is neither .csv nor .json.
    """
    ending = Path(path).suffix.lower()
    if ending not in FORMATS:
        raise InvalidInputError(f"{path}: expected a name that ends in {' or '.join(FORMATS)}")
    return ending


def _number(minimum: Atoms, known: list[Atoms], energies: list[float]) -> int:
    """Number of a state, which is added where it is new."""
    energy = float(minimum.get_potential_energy())
    for number, atoms in enumerate(known):
        if (
            abs(energies[number] - energy) < SAME_ENERGY
            and np.array_equal(atoms.numbers, minimum.numbers)
            and np.allclose(atoms.cell.array, minimum.cell.array, atol=1e-5)
            and same_minimum(atoms, minimum)
        ):
            return number
    known.append(minimum)
    energies.append(energy)
    return len(known) - 1
