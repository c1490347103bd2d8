"""Random searches for events from given minima: resumable, in parallel, an event at a time."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from ase_vibent import dataset
from ase_vibent.arrays import Array
from ase_vibent.calculators.hessian import HessianEntropyCalculator
from ase_vibent.checks import check_choice, check_positive
from ase_vibent.errors import InvalidInputError, RelaxationError, UnstableStructureError, reason
from ase_vibent.events.event import CONNECTED, FREQUENCY, MODE, POINT, POINTS, Event, events_of
from ase_vibent.harmonic.mesh import Mesh
from ase_vibent.hessian import HessianOptions
from ase_vibent.labelling.labels import attach_labels
from ase_vibent.labelling.run import LabelTask
from ase_vibent.potentials import resolve_calculator
from ase_vibent.runs.calculator_folders import CalculatorFolders
from ase_vibent.runs.files import append
from ase_vibent.runs.records import Frames, JsonLines, format_line, read_finished
from ase_vibent.runs.resumable import resume
from ase_vibent.stationary.checks import stationary_energy
from ase_vibent.stationary.saddles import Saddle, centre_indices, dimer_saddle

#: Of atoms.
Indices = Sequence[int] | NDArray[np.intp]

#: Outcomes of a search.
FOUND, DUPLICATE = "event", "duplicate"
NOT_CONVERGED, NOT_FIRST_ORDER = "not converged", "not of first order"
NOT_CONNECTED, FAILED = "not connected", "calculator failed"
OUTCOMES = (FOUND, DUPLICATE, NOT_CONVERGED, NOT_FIRST_ORDER, NOT_CONNECTED, FAILED)


@dataclass(frozen=True)
class Search:
    """One random search from a minimum.

    Attributes
    ----------
    minimum : Atoms
    number : int
        Of the search, which with the seed makes its random numbers.
    seed : int
    around : sequence of int or None
    dimer : dict
        Further parameters of `dimer_saddle`: `radius`, `amplitude`, `fmax`, `steps`.
    options : HessianOptions
    connected : bool
        Whether saddles of other minima are turned down.
    mesh : "auto", "gamma" or three int
        Of the labels, see `HessianEntropyCalculator`.
    """

    minimum: Atoms
    number: int
    seed: int
    around: Indices | None = None
    dimer: dict[str, Any] = field(default_factory=dict)
    options: HessianOptions = HessianOptions()
    connected: bool = True
    mesh: Mesh = "auto"

    def key(self, calculator: str) -> str:
        """Fingerprint of minimum, calculator, parameters and random numbers."""
        around = None if self.around is None else sorted(map(int, self.around))
        text = repr(
            (
                LabelTask(self.minimum, mesh=self.mesh, options=self.options).key(calculator),
                self.number,
                self.seed,
                around,
                sorted(self.dimer.items()),
                self.connected,
            )
        )
        return "k" + hashlib.sha256(text.encode()).hexdigest()[:16]

    def run(self, calculator: Any) -> Saddle:
        """The saddle, or an error of `dimer_saddle`."""
        return dimer_saddle(
            self.minimum,
            calculator,
            around=self.around,
            rng=np.random.default_rng([self.seed, self.number]),
            options=self.options,
            **self.dimer,
        )


@dataclass
class SearchSummary:
    """What a run of searches did.

    Attributes
    ----------
    outcomes : Counter of str
        Searches that are finished, in this run or before: "event", "duplicate", and why others
        gave none ("not converged", "not of first order", "not connected").
    done, skipped : int
        Searches made now, and found finished.
    failed : list of (int, int, str)
        Where the calculator failed now: minimum, number of the search, reason. A rerun tries these
        again.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    done: int = 0
    skipped: int = 0
    failed: list[tuple[int, int, str]] = field(default_factory=list)

    def add(self, outcome: str, minimum: int, number: int, why: str) -> None:
        """Count a search that was made now.

        Parameters
        ----------
        outcome : str
        minimum, number : int
            From which it began, and its number there.
        why : str
            Reason, of one that failed.
        """
        self.done += 1
        if outcome == FAILED:
            self.failed.append((minimum, number, why))
        else:
            self.outcomes[outcome] += 1


def find_events(
    minima: Sequence[Atoms],
    make_calculator: Callable[[], Any],
    path: str | os.PathLike[str],
    *,
    searches: int,
    calculator_name: str,
    seed: int = 0,
    around: Sequence[Indices | None] | None = None,
    connected: bool = True,
    radius: float = 3.0,
    amplitude: float = 0.1,
    fmax: float = 1e-3,
    steps: int = 2000,
    options: HessianOptions = HessianOptions(),
    mesh: Mesh = "auto",
    n_jobs: int = 1,
    scheduler: str | None = None,
    time_limit: float | None = None,
    progress: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, total: items,
) -> SearchSummary:
    """Search for events from minima, by dimers from random displacements, into a file.

    Every new event is three frames of extended XYZ, the minimum, the saddle and the final minimum,
    each a label of total entropy that a model can train on; see `read_events`. The outcome of every
    search is a line of `PATH.searches.jsonl`. A run that was killed, or one with more searches,
    continues where the last one stopped. A search that finds none is counted, the rest goes on.

    Parameters
    ----------
    minima : sequence of Atoms
        At rest.
    make_calculator : callable () -> ASE calculator
        Must pickle unless `n_jobs` is 1 and there is no time limit.
    path : path
        Appended to.
    searches : int
        From every minimum. All minima have had one before the first has a second.
    calculator_name : str
        Kept with every frame; a file never mixes calculators.
    seed : int
        Of all random numbers.
    around : sequence of (sequence of int or None), optional
        For every minimum, atoms from which the centre of a displacement is drawn.
    connected : bool
        Whether events are wanted of the given minima only. Otherwise an event that the search met
        between other minima is kept, too.
    radius, amplitude, fmax, steps
        Of `dimer_saddle`.
    options : HessianOptions
        Of the Hessians that prove saddles, and that labels are made of.
    mesh : "auto", "gamma" or three int
        Of the labels, see `HessianEntropyCalculator`. Saddles are proved at Γ; those with further
        branches unstable away from it are turned down, as not of first order.
    n_jobs, scheduler, time_limit, progress
        As of `label_structures`.

    Returns
    -------
    SearchSummary

    Raises
    ------
    InvalidStructureError
        If a minimum is not at rest, to `fmax`.
    InvalidInputError
        If there is no minimum, or an argument is unusable.
    LabelError
        If another run is writing to the file, it cannot be written, holds other things, or is
        another calculator's.
    """
    path = Path(path)
    dimer = {"radius": radius, "amplitude": amplitude, "fmax": fmax, "steps": steps}
    jobs = _jobs(minima, searches, seed, around, dimer, options, connected, mesh)
    _check(jobs, make_calculator, fmax)
    with resume(path, Frames(calculator_name, events_of, group=len(POINTS))) as run:
        events = list(run.finished)
        outcomes = _finished(search_list(path), events)
        keys = [search.key(calculator_name) for _, search in jobs]
        known = [outcomes[key] for key in keys if key in outcomes]
        summary = SearchSummary(Counter(known), skipped=len(known))
        pending = {n: search for n, (_, search) in enumerate(jobs) if keys[n] not in outcomes}
        for number, result in run.results(
            partial(_event, name=calculator_name),
            pending,
            folders=CalculatorFolders.beside(path, make_calculator),
            n_jobs=n_jobs,
            scheduler=scheduler,
            time_limit=time_limit,
            progress=progress,
        ):
            outcome, why = _outcome_of(result, events)
            if outcome == FOUND:
                run.append(_format_event(result))
                events.append(result)
            which, search = jobs[number]
            entry = {"key": keys[number], "minimum": which, "search": search.number}
            append(search_list(path), format_line({**entry, "outcome": outcome, "reason": why}))
            summary.add(outcome, which, search.number, why)
    summary.failed.sort()
    return summary


def search_list(path: str | os.PathLike[str]) -> Path:
    """File beside a file of events that lists all searches, one JSON object a line.

    Parameters
    ----------
    path : path
        Of the events.

    Returns
    -------
    Path
    """
    return Path(f"{os.fspath(path)}.searches.jsonl")


def _jobs(
    minima: Sequence[Atoms],
    searches: int,
    seed: int,
    around: Sequence[Indices | None] | None,
    dimer: dict[str, Any],
    options: HessianOptions,
    connected: bool,
    mesh: Mesh,
) -> list[tuple[int, Search]]:
    """Number of the minimum, and search."""
    if len(minima) == 0:
        raise InvalidInputError("minima: expected at least one, got none")
    if searches < 1:
        raise InvalidInputError(f"searches: expected a number from 1 on, got {searches!r}")
    centres = [None] * len(minima) if around is None else list(around)
    if len(centres) != len(minima):
        raise InvalidInputError(
            f"around: expected indices for each of {len(minima)} minima, got {len(centres)}"
        )
    return [
        (which, Search(minimum, number, seed, centre, dimer, options, connected, mesh))
        for number in range(searches)
        for which, (minimum, centre) in enumerate(zip(minima, centres, strict=True))
    ]


def _check(jobs: Sequence[tuple[int, Search]], make_calculator: Any, fmax: float) -> None:
    """Fail here, once, and not in every search."""
    calculator = resolve_calculator(make_calculator)
    for name, value in jobs[0][1].dimer.items():
        check_positive(name, value)
    for which, search in jobs:
        if search.number == 0:
            centre_indices(search.around, len(search.minimum))
            stationary_energy(search.minimum, calculator, f"minimum {which}", fmax)


def _finished(path: Path, events: Sequence[Event]) -> dict[str, str]:
    """Outcomes of finished searches, by key."""
    lines = read_finished(path, JsonLines("outcome", "key", _parse_outcome))
    # An event counts by its frames.
    outcomes = {key: outcome for key, outcome in lines if outcome not in (FOUND, FAILED)}
    return outcomes | {event.key: FOUND for event in events}


def _parse_outcome(entry: dict[str, Any]) -> tuple[str, str]:
    """Key and outcome of a search."""
    key, outcome = entry["key"], entry["outcome"]
    if not isinstance(key, str):
        raise ValueError(f"key {key!r} is no text")
    check_choice("outcome", outcome, OUTCOMES)
    return key, outcome


def _event(search: Search, calculator: Any, *, name: str) -> Event | tuple[str, str]:
    """Event, or outcome and reason; made by a worker."""
    try:
        found = search.run(calculator)
        if search.connected and not found.connected:
            return NOT_CONNECTED, "descents from the saddle end in other minima"
        structures = found.minimum_1, found.saddle, found.minimum_2
        hessians = None, found.hessian, None
        frames = [
            _label_point(atoms, calculator, point, search, hessian)
            for atoms, point, hessian in zip(structures, POINTS, hessians, strict=True)
        ]
    except RelaxationError as error:
        return NOT_CONVERGED, reason(error)
    except UnstableStructureError as error:
        return NOT_FIRST_ORDER, reason(error)
    for frame in frames:
        frame.info |= {dataset.KEY: search.key(name), dataset.CALCULATOR: name}
    frames[1].arrays[MODE] = found.mode
    frames[1].info |= {CONNECTED: found.connected, FREQUENCY: found.frequency}
    for frame, point in zip(frames, POINTS, strict=True):
        dataset.check_frame(frame, point)
    return Event(*frames)


def _label_point(
    atoms: Atoms,
    calculator: Any,
    point: str,
    search: Search,
    hessian: Array | None,
) -> Atoms:
    exact = HessianEntropyCalculator(
        calculator,
        hessian=hessian,
        unstable=int(point == "saddle"),
        mesh=search.mesh,
        **asdict(search.options),
    )
    frame = attach_labels(atoms, exact, labels=["total", "soft_modes"])
    frame.info[POINT] = point
    frame.calc = SinglePointCalculator(frame, energy=atoms.get_potential_energy())
    return frame


def _outcome_of(result: Any, events: Sequence[Event]) -> tuple[str, str]:
    """Outcome of a search, and the reason."""
    if isinstance(result, tuple):
        return result
    if isinstance(result, Exception):
        return FAILED, reason(result)
    known = any(result.is_same(event) for event in events)
    return (DUPLICATE if known else FOUND), ""


def _format_event(event: Event) -> str:
    """Frames whose energies ASE's reader hands to calculators again."""
    text = ""
    for frame in (event.minimum, event.saddle, event.final):
        copy = frame.copy()
        copy.info["energy"] = float(frame.get_potential_energy())
        text += dataset.format_frame(copy)
    return text
