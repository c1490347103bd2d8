"""Attempt frequencies of events: softest modes exactly, all others learned.

    python benchmarks/papers/lapointe2022_soft_modes.py --folder DIR [--by-forces 7 60 --taught 12]

Beyond [Lapointe2022]. Fits what lapointe2022_amorphous.py has put into the folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from lapointe2022_amorphous import EVENTS, OURS, models
from stillinger_weber import AmorphousSilicon
from tqdm import tqdm

from ase_vibent import dataset
from ase_vibent.events import Event, EventTable, read_events, split_errors
from ase_vibent.events.fitting import EventData, designs_of, fit_weights, predict_from
from ase_vibent.events.soft import SoftPartFinder, labelled_soft_part
from ase_vibent.hessian import ValenceForceField

Array = np.ndarray

#: Most softest modes that are looked at.
SOFT = 8


def soft_modes(events: Sequence[Event], splits: int) -> None:
    """Errors of ln ν* beside exact softest modes, all others predicted."""
    descriptor, options = models()[OURS]
    print(f"{OURS}, a fifth held out: RMSE of ln ν* beside exact softest modes, train / test; ")
    print("events at random, and all of an initial minimum together")
    for count in range(SOFT + 1):
        found = [
            split_errors(
                events,
                descriptor,
                soft_modes=count,
                fractions=(0.2,),
                splits=splits,
                by_minimum=by_minimum,
                **options,
            )
            for by_minimum in (False, True)
        ]
        cells = "".join(f"{e.train[0, 0]:>9.3f} /{e.test[0, 0]:>6.3f}" for e in found)
        print(f"{count:>4} modes {cells}", flush=True)
    default_basis(events, splits)


def default_basis(events: Sequence[Event], splits: int) -> None:
    """Errors of the default, whose cutoff is chosen within each training part."""
    found = split_errors(events, soft_modes=2, fractions=(0.2,), splits=splits)
    print(
        f"   2 modes, default basis, at random: {found.train[0, 0]:.3f} / {found.test[0, 0]:.3f}, "
        f"ΔE {found.test[0, 1]:.4f} eV"
    )


def without_label(atoms: Atoms) -> Atoms:
    """The same structure, whose soft modes are not known."""
    copy = atoms.copy()
    copy.info.pop(dataset.SOFT_EIGENVALUES, None)
    return copy


def held_out_residuals(
    data: EventData, columns: Array, splits: int, by_minimum: bool, n_taught: int
) -> tuple[list[np.ndarray], list[Array]]:
    """Events of every fifth that is held out, and what fits to the others miss of ln ν*.

    The first ones, which taught a force field, are always fitted.
    """
    own = len(data.initial)
    groups = data.initial if by_minimum else np.arange(own)
    labels, sizes = np.unique(groups[n_taught:], return_counts=True)
    rng = np.random.default_rng(0)
    held, residuals = [], []
    for _ in range(splits):
        order = rng.permutation(len(labels))
        before = np.cumsum(sizes[order]) - sizes[order]
        test = np.isin(groups, labels[order[before < (own - n_taught) / 5]])
        train = np.tile(~test, data.n_ways)
        fitted = fit_weights(columns[train], data.targets[train], "ridge", {})
        held.append(np.flatnonzero(test))
        missed = predict_from(columns[held[-1]], *fitted) - data.targets[held[-1]]
        residuals.append(missed[:, 0])
    return held, residuals


def soft_modes_by_forces(
    events: Sequence[Event], folder: Path, count: int, calls: int, splits: int, n_taught: int
) -> None:
    """Errors of held-out events whose soft modes come from force calls, directed by a force field.

    No Hessian of theirs is known: the force field was fitted to minimum and saddle of a few
    events, which are never held out; all others of their minima are left out of everything.
    """
    initial = EventTable.from_events(events).initial
    first = np.argsort(initial, kind="stable")[:n_taught]
    calculator = AmorphousSilicon(folder)
    taught = [events[k] for k in first]
    force_field = ValenceForceField.fit(
        [atoms for event in taught for atoms in (event.minimum, event.saddle)], calculator
    )
    rest = [events[k] for k in np.flatnonzero(~np.isin(initial, initial[first]))]
    all_events = [*taught, *rest]
    data = {
        f"{count} known": EventData.of(all_events, count, None, True),
        f"{count} known, force field": EventData.of(all_events, count, force_field, True),
        "all learned": EventData.of(all_events, 0, None, True),
    }
    print(f"{OURS}, force field of {len(taught)} events; a fifth of {len(rest)} others held out")
    print(f"{splits} times: RMSE of ln ν*,")
    print("events at random, and all of an initial minimum together")
    columns = designs_of(data["all learned"], models()[OURS][0], False, True)[0].columns
    tried = {
        name: [
            held_out_residuals(own, columns, splits, together, len(taught))
            for together in (False, True)
        ]
        for name, own in data.items()
    }
    for name, both in tried.items():
        print(f"{name:<28}" + "".join(_spread(missed) for _, missed in both), flush=True)
    errors, stated, used = np.array(
        [
            # A finder each: no minimum is known from another event.
            _by_forces(SoftPartFinder(calculator, count, calls, force_field=force_field), event)
            for event in tqdm(rest, desc="soft modes by forces", disable=None)
        ]
    ).T
    cells = [
        _spread([m + errors[h - len(taught)] for h, m in zip(*found, strict=True)])
        for found in tried[f"{count} known, force field"]
    ]
    print(
        f"{'by forces, force field':<28}{''.join(cells)}\n"
        f"     off by {np.sqrt(np.mean(errors**2)):.3f} (median {np.median(np.abs(errors)):.3f}), "
        f"stated {np.sqrt(np.mean(stated**2)):.3f}; {used.mean():.1f} force calls an event, "
        f"{used.max():.0f} at most",
        flush=True,
    )


def _by_forces(find: SoftPartFinder, event: Event) -> tuple[float, float, int]:
    """Error of an event's soft part, what it states, and force calls."""
    part = find(without_label(event.minimum), event.saddle)
    exact = labelled_soft_part(event, find.count)
    return part.logarithm - exact, part.error, part.force_calls


def _spread(residuals: Sequence[Array]) -> str:
    """Mean RMSE over splits, and its standard deviation."""
    errors = [np.sqrt(np.mean(own**2)) for own in residuals]
    return f"{np.mean(errors):>9.3f} ± {np.std(errors):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("p3-amorphous"))
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument(
        "--by-forces",
        type=int,
        nargs=2,
        metavar=("MODES", "CALLS"),
        help="soft modes of held-out events by at most so many force calls an event",
    )
    parser.add_argument(
        "--taught", type=int, default=2, help="events to whose Hessians a force field is fitted"
    )
    options = parser.parse_args()
    folder = options.folder.absolute()
    events = read_events(folder / EVENTS)
    if options.by_forces:
        soft_modes_by_forces(events, folder, *options.by_forces, options.splits, options.taught)
    else:
        soft_modes(events, options.splits)


if __name__ == "__main__":
    main()
