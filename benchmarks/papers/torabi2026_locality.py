"""[Torabi2026] Figs. 2, 3 and 6: multilattices, rates, cutoffs and timing.

    python benchmarks/papers/torabi2026_locality.py [--cells 12] [--plot FILE]

A diatomic chain of 400 cells, a two-sublattice square lattice of 32 × 32 and a CsCl-type lattice
of 12 × 12 × 12 cells; springs within one sublattice open the optical gap. Normal displacements of
0.1, gradients pooled over sites of both sublattices.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ase_vibent import (
    ACE,
    HessianEntropyCalculator,
    SiteModel,
    attach_labels,
    dataset,
    train,
)
from ase_vibent.analysis import (
    cscl_lattice,
    diatomic_chain,
    site_locality,
    truncated_site_entropies,
    two_sublattice_square,
)
from ase_vibent.analysis.locality import upper_envelope
from ase_vibent.analysis.power_law import PowerLaw, fit_power_law
from ase_vibent.harmonic.ball import ball_site_entropies

AMPLITUDE = 0.1
#: Gaps in units of the highest acoustic eigenvalue.
GAPS = (1.0, 0.25, 0.0)
#: Cells in a row, dimension, engine, cutoffs.
LATTICES: dict[str, tuple[Callable[..., Any], int, int, str, list[float]]] = {
    "chain": (diatomic_chain, 400, 1, "contour", [4, 6, 9, 13, 20, 30, 40]),
    "square": (two_sublattice_square, 32, 2, "contour", [1.6, 2.1, 2.9, 4.1, 5.4]),
    "CsCl": (cscl_lattice, 12, 3, "lanczos", [1.1, 1.6, 2.1, 2.6, 3.1]),
}


def gradients(name: str, share: float) -> tuple[Any, PowerLaw, float]:
    """Points, fit, and the prefactor at the slope of the theory."""
    factory, n, dimension, engine, _ = LATTICES[name]
    model = factory(n, gap=share * 2 ** (dimension + 1))
    size = len(model.sites)
    atoms = model.displace(np.random.default_rng(0).normal(0, AMPLITUDE, size))
    exact = HessianEntropyCalculator(model, engine=engine, mesh="gamma", tolerance=1e-10)
    sites = np.linspace(0, size, 8, endpoint=False).astype(int) + np.arange(8) % 2
    found = site_locality(atoms, exact, sites, fit_range=(1.5, n / 3))
    r = np.concatenate([site.distances for site in found])
    g = np.concatenate([site.magnitudes for site in found])
    envelope = upper_envelope(r, g, found[0].fit_range)
    scaled = envelope[:, 1] * envelope[:, 0] ** (2 * dimension)
    return (r, g, envelope), fit_power_law(*envelope.T), float(np.exp(np.log(scaled).mean()))


def fields(sites: Any, centre: int, kind: str, seed: int) -> np.ndarray:
    """Displacements that decay around a site as in [Torabi2026], a cosine, or normal ones."""
    if kind == "normal":
        return np.random.default_rng(seed).normal(0, AMPLITUDE, len(sites))
    if kind == "cosine":
        wave = 2 * np.pi * 3 * sites.get_scaled_positions()[:, 0]
        return AMPLITUDE * np.cos(wave + 0.3 * seed)
    r = sites.get_distances(centre, np.arange(len(sites)), mic=True)
    signs = np.random.default_rng(seed).normal(size=len(sites))
    return AMPLITUDE * signs / (1 + r)


def truncation(name: str, kind: str, *, smooth: bool) -> tuple[np.ndarray, np.ndarray, PowerLaw]:
    factory, n, _, engine, cutoffs = LATTICES[name]
    model = factory(n)
    centre = len(model.sites) // 2
    exact = HessianEntropyCalculator(model, engine=engine, mesh="gamma", tolerance=1e-10)
    errors = [
        truncated_site_entropies(
            model.displace(fields(model.sites, centre, kind, seed)),
            model.sites,
            exact,
            centre,
            cutoffs,
            smooth=smooth,
        ).errors
        for seed in range(8 if name == "chain" else 2)
    ]
    rms = np.sqrt(np.mean(np.square(errors), axis=0))
    return np.array(cutoffs), rms, fit_power_law(np.array(cutoffs), rms)


def labelled_chain(n: int, field: np.ndarray | None) -> Any:
    """Site entropies of a displaced chain of n cells, or of the perfect one, the reference."""
    chain, name = diatomic_chain(n), f"chain of {n} cells"
    exact = HessianEntropyCalculator(chain, engine="dense", mesh="gamma")
    if field is not None:
        return attach_labels(chain.displace(field), exact, labels=["sites"], reference=name)
    perfect = attach_labels(chain.sites, exact, labels=["sites"])
    # Of the finite chain: it is differences that are compared.
    perfect.arrays[dataset.BULK] = perfect.arrays[dataset.SITES]
    perfect.info |= {dataset.NAME: name, dataset.REFERENCE: name, dataset.KEY: name}
    return perfect


def fitted_surrogate(n: int = 200, count: int = 16) -> SiteModel:
    """ACE of order 3, fitted to the sites of short chains."""
    rng = np.random.default_rng(100)
    fields = [None, *rng.normal(0, AMPLITUDE, (count, 2 * n))]
    descriptor = ACE(["Cs", "Cl"], cutoff=3.2, order=3, degree=8, r0=0.5, inner=0.3)
    return train([labelled_chain(n, f) for f in fields], descriptor, quantities=("sites",))


def fastest(function: Callable[[], Any], calls: int) -> tuple[float, Any]:
    """Seconds of the fastest of some calls, and what it gives."""
    seconds = []
    for _ in range(calls):
        begin = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - begin)
    return min(seconds), result


def predicted_total(surrogate: SiteModel, chain: Any) -> float:
    """Entropy of a chain, k_B, but for a constant of every site."""
    # Lattices are as wide as long, and a search for neighbours goes through all of it.
    narrow = chain.copy()
    narrow.set_cell([chain.cell[0, 0], 20.0, 20.0])
    return float(surrogate.evaluate(narrow, gradient=False).values.sum())


def timing(cells: tuple[int, ...], radius: float = 10.4, steps: int = 40) -> list[Any]:
    """Seconds of diagonalisation, balls and a surrogate, and errors of the total entropy.

    [Torabi2026] Fig. 6.
    """
    surrogate, rows = fitted_surrogate(), []
    options = {"radius": radius, "steps": steps}
    for n in cells:
        model = diatomic_chain(n)
        size = len(model.sites)
        atoms = model.displace(np.random.default_rng(0).normal(0, AMPLITUDE, size))
        begin = time.perf_counter()
        exact = HessianEntropyCalculator(model, engine="dense", mesh="gamma")
        direct = exact.harmonic_system(atoms).entropies_of(range(size)).sum()
        dense_seconds = time.perf_counter() - begin
        direct -= exact.harmonic_system(model.sites).entropies_of(range(size)).sum()

        def balls(at: Any, sites: Any, model: Any = model) -> float:
            hessian = model.get_hessian(at)
            return float(ball_site_entropies(at, hessian, sites, **options).sum())

        ball_seconds, total = fastest(lambda at=atoms, of=range(size): balls(at, of), 3)
        seconds, predicted = fastest(lambda at=atoms: predicted_total(surrogate, at), 30)
        errors = (
            total - n * balls(model.sites, [0, 1]) - direct,
            predicted - predicted_total(surrogate, model.sites) - direct,
        )
        rows.append((size, dense_seconds, ball_seconds, seconds, *errors))
        print(f"{size:>6} sites: direct {dense_seconds:>7.3f} s, balls {ball_seconds:>6.3f} s, "
              f"surrogate {seconds:.4f} s, total {direct:>9.4f} k_B, errors {errors[0]:>9.1e}, "
              f"{errors[1]:>9.1e} k_B", flush=True)  # fmt: skip
    sizes, *columns = np.array(rows).T[:4]
    half = len(sizes) // 2
    for name, values in zip(("direct", "balls", "surrogate"), columns, strict=True):
        slopes = [
            -fit_power_law(sizes[k:], values[k:]).exponent for k in (0, min(half, len(sizes) - 4))
        ]
        print(f"{name}: seconds grow as N^{slopes[0]:.2f}, in the larger half N^{slopes[1]:.2f}")
    long_chains(surrogate)
    return rows


def long_chains(surrogate: SiteModel, cells: tuple[int, ...] = (4000, 8000, 16000, 32000)) -> None:
    """Seconds of the surrogate where they are more than what a call costs."""
    seconds = []
    for n in cells:
        model = diatomic_chain(n)
        field = np.random.default_rng(0).normal(0, AMPLITUDE, len(model.sites))
        atoms = model.displace(field)
        seconds.append(fastest(lambda at=atoms: predicted_total(surrogate, at), 5)[0])
    slope = -fit_power_law(2 * np.array(cells), np.array(seconds)).exponent
    print(f"surrogate, {2 * cells[0]} to {2 * cells[-1]} sites: {seconds[0]:.4f} to "
          f"{seconds[-1]:.4f} s, N^{slope:.2f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=12, help="of the CsCl lattice, in a row")
    parser.add_argument("--plot", metavar="FILE")
    options = parser.parse_args()
    LATTICES["CsCl"] = (cscl_lattice, options.cells, *LATTICES["CsCl"][2:])
    print("gradients: gap (eV/Å²), exponent, prefactor at exponent 2 d (k_B/Å × Å^2d)")
    panels: dict[str, Any] = {}
    for name, (_, _, dimension, *_) in LATTICES.items():
        for share in GAPS:
            points, fit, prefactor = gradients(name, share)
            panels.setdefault(name, {})[share] = points, fit
            print(f"{name:<7} {share * 2 ** (dimension + 1):>5.2f}  {fit.exponent:.2f} ± "
                  f"{fit.exponent_std:.2f} (theory {2 * dimension})  {prefactor:.3g}",
                  flush=True)  # fmt: skip
    print("\ntruncation: exponent, root mean square errors (k_B)")
    curves: dict[str, Any] = {}
    for name, (_, _, dimension, *_) in LATTICES.items():
        for kind in ("localised", "cosine", "normal"):
            for smooth in (False, True):
                cutoffs, rms, fit = truncation(name, kind, smooth=smooth)
                curves.setdefault(name, {})[kind, smooth] = cutoffs, rms, fit
                print(f"{name:<7} {kind:<10} {'smooth' if smooth else 'sharp':<6} "
                      f"{fit.exponent:.2f} ± {fit.exponent_std:.2f} (bound {dimension})  "
                      f"{rms[0]:.1e} to {rms[-1]:.1e}", flush=True)  # fmt: skip
    print(
        "\ntiming in one dimension, balls of 10.4 Å, 40 steps; surrogate of 16 chains of 200 cells"
    )
    rows = timing((50, 100, 200, 300, 400, 600, 800))
    if options.plot:
        plot(panels, curves, rows, options.plot)


def plot(panels: dict[str, Any], curves: dict[str, Any], rows: list[Any], path: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 7), layout="constrained")
    grid = figure.subplots(2, 4)
    for panel, (name, found) in zip(grid[0], panels.items(), strict=False):
        for k, (share, ((r, g, envelope), fit)) in enumerate(found.items()):
            far = (r > 0) & (g > 0)
            panel.loglog(r[far], g[far], ".", color=f"C{k}", ms=2, mew=0, alpha=0.1)
            label = f"gap {share:g}: $r^{{-{fit.exponent:.2f}}}$"
            panel.loglog(*envelope.T, "o", color=f"C{k}", ms=4, label=label)
        ends = envelope[[0, -1], 0]
        power = 2 * LATTICES[name][2]
        panel.loglog(ends, 2 * envelope[0, 1] * (ends / ends[0]) ** -power, "k--", lw=1,
                     label=f"$r^{{-{power}}}$")  # fmt: skip
        panel.set(title=name, xlabel="distance", ylabel=r"$|\partial S_\ell/\partial u_n|$")
        panel.legend(frameon=False, fontsize="small")
    for panel, (name, found) in zip(grid[1], curves.items(), strict=False):
        for k, ((kind, smooth), (cutoffs, rms, fit)) in enumerate(found.items()):
            label = f"{kind}{', smooth' if smooth else ''}: {fit.exponent:.2f}"
            panel.loglog(cutoffs, rms, "s:" if smooth else "o-", color=f"C{k // 2}", ms=4, lw=0.8,
                         label=label)  # fmt: skip
        panel.set(title=name, xlabel="cutoff", ylabel="error ($k_B$)")
        panel.legend(frameon=False, fontsize="small")
    sizes, *columns = np.array(rows).T
    names = ("direct", "balls", "surrogate")
    for name, marker, seconds in zip(names, "osd", columns[:3], strict=True):
        grid[0, 3].loglog(sizes, seconds, f"{marker}-", label=name)
    for k, errors in enumerate(columns[3:], 1):
        grid[1, 3].loglog(sizes, np.abs(errors), f"{'osd'[k]}-", color=f"C{k}", label=names[k])
    grid[0, 3].set(xlabel="sites", ylabel="seconds")
    grid[1, 3].set(xlabel="sites", ylabel="error of the total entropy ($k_B$)")
    for panel in grid[:, 3]:
        panel.legend(frameon=False)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
