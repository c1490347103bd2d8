"""[Lapointe2022] Figs. 3 to 5: attempt frequencies and barriers of events in amorphous silicon.

    python benchmarks/papers/lapointe2022_amorphous.py [--folder p3-amorphous] [--searches 200]

Modified Stillinger-Weber potential of Vink et al., cells of 216 atoms in place of 4096, dimers in
place of ART nouveau, connected to the inherent states that they start from. What the folder has is
not done again: with `--searches 0` events that are there are fitted, also while another process
adds to them. Models of soft modes: lapointe2022_soft_modes.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from scipy.stats import normaltest
from stillinger_weber import AmorphousSilicon
from tqdm import tqdm

from ase_vibent.descriptors import ACE, Bispectrum
from ase_vibent.events import (
    Event,
    EventSurrogate,
    SplitErrors,
    find_events,
    read_events,
    split_errors,
)
from ase_vibent.figures import compensation_plot
from ase_vibent.stationary import relax
from ase_vibent.thermo import compensation_law

Array = np.ndarray

#: g/cm³; g per u; K; steps of 1 fs.
DENSITY, DALTON = 2.192, 1.66053907e-24
HOT, COLD = 2300.0, 700.0
MELTING, COOLING, ANNEALING = 50_000, 150_000, 100_000
#: eV/Å, of inherent states.
FMAX = 1e-4
EVENTS = "events.xyz"
#: Starts of searches, Å, and most steps: of 60 searches 16 end beside their minimum, and take half
#: the time of unbounded ones. Those that wander on end elsewhere.
RADIUS, AMPLITUDE, STEPS = 4.0, 0.3, 150
#: That of the potential, Å.
CUTOFF = 3.77
#: Models that are looked at more closely: the paper's, and the best.
PAPER, OURS = "bSO(4) linear, as the paper", "ACE"


def inherent_state(calculator: AmorphousSilicon, n_atoms: int, seed: int, faster: int) -> Atoms:
    """Minimum after a melt at 2300 K, cooled to and kept at 700 K, at constant volume."""
    volume = n_atoms * Atoms("Si").get_masses()[0] * DALTON * 1e24 / DENSITY
    width = volume ** (1 / 3)
    positions = np.random.default_rng(seed).uniform(size=(n_atoms, 3)) * width
    atoms = Atoms(f"Si{n_atoms}", positions, cell=[width] * 3, pbc=True)
    dynamics = calculator.start(atoms)
    dynamics.command("minimize 0 1e-2 200 2000")  # random atoms overlap
    dynamics.command(f"velocity all create {2 * HOT} {seed + 1}")
    for begin, end, steps in (
        (2 * HOT, HOT, MELTING // 2),
        (HOT, HOT, MELTING // 2),
        (HOT, COLD, COOLING),
        (COLD, COLD, ANNEALING),
    ):
        dynamics.command(f"fix 1 all nvt temp {begin} {end} 0.1")
        dynamics.command(f"run {steps // faster}")
    places = np.ctypeslib.as_array(dynamics.gather_atoms("x", 1, 3))
    atoms.set_positions(places.reshape(-1, 3).copy())
    return relax(atoms, calculator, fmax=FMAX, steps=20_000)


def inherent_states(folder: Path, n_states: int, n_atoms: int, faster: int) -> list[Atoms]:
    """As many as wanted, kept in files."""
    states = []
    for seed in tqdm(range(n_states), desc="inherent states", disable=None):
        path = folder / f"state-{n_atoms}-{seed}.traj"
        if not path.exists():
            ase.io.write(path, inherent_state(AmorphousSilicon(folder), n_atoms, seed, faster))
        states.append(ase.io.read(path))
    return states


def search(folder: Path, states: Sequence[Atoms], searches: int, n_jobs: int) -> None:
    """Events of the inherent states themselves, into a file; what is there is not done again."""
    summary = find_events(
        states,
        partial(AmorphousSilicon, folder),
        folder / EVENTS,
        searches=searches,
        calculator_name="sw-vink",
        radius=RADIUS,
        amplitude=AMPLITUDE,
        steps=STEPS,
        mesh="gamma",
        n_jobs=n_jobs,
        progress=lambda items, total: tqdm(items, total=total, unit="search", disable=None),
    )
    print(f"searches: {dict(summary.outcomes)}, {len(summary.failed)} failed {summary.failed[:1]}")


def targets(events: Sequence[Event]) -> tuple[Array, Array]:
    """ln(ν*/THz) and barriers (eV)."""
    frequencies = np.array([event.attempt_frequency for event in events])
    return np.log(frequencies / 1e12), np.array([event.barrier for event in events])


def models() -> dict[str, tuple[Any, dict[str, bool]]]:
    """Descriptors and kinds of fits, by name: those of [Lapointe2022], and ours."""
    bispectrum = Bispectrum(["Si"], cutoff=CUTOFF, j_max=4.0)
    # The energy is a sum over pairs and triplets: linear in these up to resolution.
    spectra = ACE(["Si"], cutoff=CUTOFF, order=2, degree=16)
    bodies = ACE(["Si"], cutoff=CUTOFF, degree=12)
    paper = {"difference": False, "both_ways": False}
    return {
        PAPER: (bispectrum, paper),
        "bSO(4) quadratic, as the paper": (bispectrum, {"quadratic": True, **paper}),
        "bSO(4) linear": (bispectrum, {}),
        "bSO(4) quadratic": (bispectrum, {"quadratic": True}),
        "ACE, 3 bodies": (spectra, {}),
        OURS: (spectra + bodies, {}),
        "default": (None, {}),
    }


def fits(events: Sequence[Event], splits: int) -> dict[str, SplitErrors]:
    """Errors of all models over train and test, printed."""
    found = {}
    for name, (descriptor, options) in models().items():
        errors = split_errors(events, descriptor, splits=splits, **options)
        found[name] = errors
        if len(found) == 1:
            print(" " * 31 + "".join(f"{fraction:>15.0%}" for fraction in errors.fractions))
        for column, label in enumerate(("ln ν*", "ΔE (eV)")):
            pairs = zip(errors.train[:, column], errors.test[:, column], strict=True)
            cells = "".join(f"{train:>7.3f} /{test:>6.3f}" for train, test in pairs)
            print(f"{name:<21} {label:<9}{cells}", flush=True)
    return found


def compensation(events: Sequence[Event], errors: SplitErrors, path: Path) -> None:
    """The law of direct and of predicted events, [Lapointe2022] Fig. 5."""
    logarithms, barriers = targets(events)
    known = np.isfinite(errors.predicted).all(axis=1)
    bins = min(50, max(10, len(events) // 40))
    own = compensation_law(barriers[known], np.exp(logarithms[known]) * 1e12, bins=bins)
    predicted = errors.predicted[known]
    surrogate = compensation_law(predicted[:, 1], np.exp(predicted[:, 0]) * 1e12, bins=bins)
    laws = {"direct": own, "surrogate": surrogate}
    for name, law in laws.items():
        print(
            f"{name:<10} r {law.correlation:.2f}, {law.slope:.2f} / eV, marginal "
            f"{law.marginal_slope:.2f} / eV, marginal variance {law.mean_variance:.2f} ± "
            f"{law.variance_spread:.2f} over {bins} bins, p of a constant one {law.constancy:.1e}, "
            f"p of normal noise {law.lognormality:.0e}"
        )
    kappas = own.kappas(predicted[:, 0])
    print(
        f"κ: median {np.median(kappas):.2f}, mean {kappas.mean():.2f} ([Lapointe2022] 0.11); "
        "r in [Lapointe2022] 0.61 and 0.65"
    )
    compensation_plot(laws, path)


def plot(events: Sequence[Event], errors: SplitErrors, name: str, path: Path) -> None:
    """Held-out predictions, errors over fractions, and the noise of ln ν*.

    [Lapointe2022] Figs. 3 and 4.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.4), layout="constrained")
    panels = figure.subplots(1, 3)
    labels = ("ln(attempt frequency / THz)", "barrier (eV)")
    for panel, exact, predicted, label in zip(
        panels, targets(events), errors.predicted.T, labels, strict=False
    ):
        panel.plot(exact, predicted, ".", ms=3, alpha=0.5)
        panel.plot([exact.min(), exact.max()], [exact.min(), exact.max()], color="0.4", lw=0.8)
        panel.set(xlabel=f"exact {label}", ylabel=f"{name}, held out")
    noise = targets(events)[0] - errors.predicted[:, 0]
    panels[2].hist(noise[np.isfinite(noise)], bins=40)
    panels[2].set(xlabel="ln(exact / predicted attempt frequency)", ylabel="events")
    curve = panels[0].inset_axes((0.6, 0.12, 0.37, 0.3))
    for values, label in ((errors.train[:, 0], "training"), (errors.test[:, 0], "test")):
        curve.plot(errors.fractions, values, "o-", ms=2, lw=0.8, label=label)
    curve.set(ylim=(0, None))
    curve.tick_params(labelsize=6)
    curve.legend(frameon=False, fontsize=6)
    figure.savefig(path, dpi=150)


def transfer(events: Sequence[Event], others: Sequence[Event]) -> None:
    """Errors of models of all events on those of other cells."""
    exact = np.column_stack(targets(others))
    for name in (PAPER, OURS):
        descriptor, options = models()[name]
        model = EventSurrogate.fit(events, descriptor, soft_modes=0, **options)
        found = model.predict([e.minimum for e in others], [e.saddle for e in others])
        predicted = np.column_stack([found.logarithms, found.barriers])
        rms = np.sqrt(np.mean((predicted - exact) ** 2, axis=0))
        print(
            f"{name}, fitted to all, on {len(others)} events of {len(others[0].minimum)} atoms: "
            f"{rms[0]:.3f} (spread {exact[:, 0].std():.2f}), {rms[1]:.4f} eV"
        )


def noise(events: Sequence[Event], predicted: Array) -> None:
    """How held-out frequencies scatter: [Lapointe2022] Fig. 3b and (36)."""
    logarithms = targets(events)[0]
    known = np.isfinite(predicted)
    missed = (logarithms - predicted)[known]
    spread = missed.std()
    plain = np.exp(logarithms[known]) - np.exp(predicted[known])
    within = np.mean(np.abs(missed) < 2 * spread)
    print(
        f"residuals of ln ν*: mean {missed.mean():.3f}, standard deviation {spread:.3f}, median "
        f"size {np.median(np.abs(missed)):.2f} (normally distributed {0.6745 * spread:.2f}), "
        f"p of a normal distribution {normaltest(missed).pvalue:.0e}; {within:.1%} within 2 σ; "
        f"ν*: RMSE {np.sqrt(np.mean(plain**2)):.0f} THz, median {np.median(np.abs(plain)):.1f} "
        f"THz, from {np.exp(logarithms.min()):.1e} to {np.exp(logarithms.max()):.1e} THz"
    )


def analyse(events: Sequence[Event], folder: Path, splits: int) -> None:
    logarithms, barriers = targets(events)
    print(
        f"{len(events)} events, {sum(e.connected for e in events)} of an inherent state itself; "
        f"ln ν* {logarithms.min():.1f} to {logarithms.max():.1f}, standard deviation "
        f"{logarithms.std():.2f}; barriers {barriers.min():.2f} to {barriers.max():.2f} eV, "
        f"{barriers.std():.2f} eV"
    )
    print(
        "RMSE train / test at test fractions; [Lapointe2022], linear, all events: 0.65 and 0.09 eV"
    )
    errors = fits(events, splits)
    for name, label in ((PAPER, "paper"), (OURS, "ours")):
        print(f"{name}, predictions at 10 % test:")
        compensation(events, errors[name], folder / f"p3-figure-5-{label}.png")
        plot(events, errors[name], name, folder / f"p3-figures-3-4-{label}.png")
        noise(events, errors[name].predicted[:, 0])
    descriptor, options = models()[OURS]
    apart = split_errors(
        events, descriptor, fractions=(0.2,), splits=splits, by_minimum=True, **options
    )
    print(
        f"{OURS}, a fifth held out with all events of an initial minimum: "
        f"{apart.test[0, 0]:.3f}, {apart.test[0, 1]:.3f} eV"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("p3-amorphous"))
    parser.add_argument("--states", type=int, default=5)
    parser.add_argument("--atoms", type=int, default=216)
    parser.add_argument("--faster", type=int, default=1, help="quenches, by this factor")
    parser.add_argument("--searches", type=int, default=200, help="from every state; 0: only fit")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument(
        "--other", type=Path, help="folder with further events, which judge and are not fitted"
    )
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = options.folder.absolute()
    if options.searches:
        states = inherent_states(folder, options.states, options.atoms, options.faster)
        search(folder, states, options.searches, options.jobs)
    events = read_events(folder / EVENTS)
    analyse(events, folder, options.splits)
    if options.other:
        transfer(events, read_events(options.other / EVENTS))


if __name__ == "__main__":
    main()
