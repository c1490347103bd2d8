"""Random searches for events from given minima: resumable, in parallel, an event at a time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from ase_vibent import dataset
from ase_vibent.calculators.hessian import HessianEntropyCalculator
from ase_vibent.checks import check_positive
from ase_vibent.errors import InvalidInputError, RelaxationError, UnstableStructureError
from ase_vibent.events.event import CONNECTED, FREQUENCY, POINT, POINTS, Event, events_of
from ase_vibent.harmonic.system import HarmonicSystem
from ase_vibent.hessian import HessianOptions
from ase_vibent.labelling.labels import attach_labels
from ase_vibent.labelling.run import LabelTask
from ase_vibent.potentials import resolve_calculator
from ase_vibent.runs.files import append, finished_frames, in_own_folder, lock, reason, tidy
from ase_vibent.runs.workers import results_as_completed
from ase_vibent.stationary.checks import stationary_energy
from ase_vibent.stationary.saddles import Saddle, centre_indices, dimer_saddle

#: Of atoms.
Indices = Sequence[int] | NDArray[np.intp]

#: Outcomes of a search.
FOUND, DUPLICATE = "event", "duplicate"
NOT_CONVERGED, NOT_FIRST_ORDER = "not converged", "not of first order"
NOT_CONNECTED, FAILED = "not connected", "calculator failed"


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
        They change how a result is computed, not what it is.
    connected : bool
        Whether saddles of other minima are turned down.
    """

    minimum: Atoms
    number: int
    seed: int
    around: Indices | None = None
    dimer: dict[str, Any] = field(default_factory=dict)
    options: HessianOptions = HessianOptions()
    connected: bool = True

    def key(self, calculator: str) -> str:
        """Fingerprint of minimum, calculator, parameters and random numbers."""
        around = None if self.around is None else sorted(map(int, self.around))
        text = repr(
            (
                LabelTask(self.minimum).key(calculator),
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
    numbers_left : set of int
        Of these searches among all, in the names of folders that their calculators left.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    done: int = 0
    skipped: int = 0
    failed: list[tuple[int, int, str]] = field(default_factory=list)
    numbers_left: set[int] = field(default_factory=set)


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
    n_jobs: int = 1,
    scheduler: str | None = None,
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
        Must pickle unless `n_jobs` is 1.
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
    n_jobs, scheduler, progress
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
        If the file cannot be written, holds other things, or is another calculator's.
    """
    path = Path(path)
    dimer = {"radius": radius, "amplitude": amplitude, "fmax": fmax, "steps": steps}
    jobs = _jobs(minima, searches, seed, around, dimer, options, connected)
    _check(jobs, make_calculator, fmax)
    scratch = path.absolute().with_name(f"{path.name}.work")
    work = partial(
        _run_search, make_calculator=make_calculator, name=calculator_name, scratch=scratch
    )
    with lock(path):
        events = events_of(finished_frames(path, calculator_name, group=len(POINTS)), path)
        finished = _finished(search_list(path), events)
        pending, summary = [], SearchSummary()
        for number, (which, search) in enumerate(jobs):
            outcome = finished.get(search.key(calculator_name))
            if outcome is None:
                pending.append((number, which, search))
            else:
                summary.outcomes[outcome] += 1
                summary.skipped += 1
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            with closing(
                results_as_completed(work, pending, n_jobs=n_jobs, scheduler=scheduler)
            ) as results:
                for position, result in progress(results, len(pending)):
                    _take(result, pending[position], calculator_name, events, path, summary)
        finally:
            tidy(scratch, summary.numbers_left)
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
        (which, Search(minimum, number, seed, centre, dimer, options, connected))
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
    """Outcomes by key of finished searches; a line that a kill left unfinished is cut off."""
    outcomes = {event.key: FOUND for event in events}
    if not path.exists():
        return outcomes
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    if len(whole) < len(text):
        os.truncate(path, len(whole.encode()))
    for line in whole.splitlines():
        entry = json.loads(line)
        # An event counts by its frames.
        if entry["outcome"] not in (FOUND, FAILED):
            outcomes.setdefault(entry["key"], entry["outcome"])
    return outcomes


def _run_search(
    job: tuple[int, int, Search], *, make_calculator: Callable[[], Any], name: str, scratch: Path
) -> Event | tuple[str, str] | str:
    """Event, or outcome and reason, or what the calculator failed with; made by a worker."""
    number, _, search = job
    return in_own_folder(partial(_event, search, name), make_calculator, scratch, number)


def _event(search: Search, name: str, calculator: Any) -> Event | tuple[str, str]:
    try:
        found = search.run(calculator)
        if search.connected and not found.connected:
            return NOT_CONNECTED, "descents from the saddle end in other minima"
        structures = found.minimum_1, found.saddle, found.minimum_2
        systems = None, found.system, None
        frames = [
            _label_point(atoms, calculator, point, search.options, system)
            for atoms, point, system in zip(structures, POINTS, systems, strict=True)
        ]
    except RelaxationError as error:
        return NOT_CONVERGED, reason(error)
    except UnstableStructureError as error:
        return NOT_FIRST_ORDER, reason(error)
    for frame in frames:
        frame.info |= {dataset.KEY: search.key(name), dataset.CALCULATOR: name}
    frames[1].info |= {CONNECTED: found.connected, FREQUENCY: found.frequency}
    return Event(*frames)


def _label_point(
    atoms: Atoms,
    calculator: Any,
    point: str,
    options: HessianOptions,
    system: HarmonicSystem | None,
) -> Atoms:
    exact = HessianEntropyCalculator(calculator, unstable=int(point == "saddle"), **asdict(options))
    frame = attach_labels(atoms, exact, gradient=False, sites=False, system=system)
    frame.info[POINT] = point
    frame.calc = SinglePointCalculator(frame, energy=atoms.get_potential_energy())
    return frame


def _take(
    result: Any,
    job: tuple[int, int, Search],
    name: str,
    events: list[Event],
    path: Path,
    summary: SearchSummary,
) -> None:
    """Write down and count the outcome of a search."""
    number, which, search = job
    outcome, why = _outcome_of(result, events)
    if outcome == FOUND:
        frames = (result.minimum, result.saddle, result.final)
        append(path, "".join(map(_format_frame, frames)).encode())
        events.append(result)
    entry = {"key": search.key(name), "minimum": which, "search": search.number}
    entry |= {"outcome": outcome, "reason": why}
    append(search_list(path), f"{json.dumps(entry)}\n".encode())
    summary.done += 1
    if outcome == FAILED:
        summary.failed.append((which, search.number, why))
        summary.numbers_left.add(number)
    else:
        summary.outcomes[outcome] += 1


def _outcome_of(result: Any, events: Sequence[Event]) -> tuple[str, str]:
    """Outcome of a search, and the reason."""
    if isinstance(result, tuple):
        return result
    if not isinstance(result, Event):
        return FAILED, reason(result)
    known = any(result.is_same(event) for event in events)
    return (DUPLICATE if known else FOUND), ""


def _format_frame(frame: Atoms) -> str:
    """Frame whose energy ASE's reader hands to a calculator again."""
    copy = frame.copy()
    copy.info["energy"] = float(frame.get_potential_energy())
    return dataset.format_frame(copy)
