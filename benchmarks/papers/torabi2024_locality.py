"""[Torabi2024] Figs. 2 to 4: locality of site entropies in one and two dimensions.

    python benchmarks/papers/torabi2024_locality.py [--plot FILE]

The toy model [Torabi2024] (3.5) with 800 sites in a chain, 2025 and 4225 in a square, 5 % of the
bonds impurities, and normal displacements of 0.1 (the paper does not say which). Gradients are
pooled over sites along the diagonal; errors are root mean squares over displacements.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from ase_vibent import HessianEntropyCalculator
from ase_vibent.analysis import pair_lattice, site_locality, truncated_site_entropies
from ase_vibent.analysis.locality import upper_envelope
from ase_vibent.analysis.power_law import fit_power_law
from ase_vibent.harmonic.contour import contour

DELTAS, AMPLITUDE = (0.0, 0.1, 0.5), 0.1
LATTICES = {"1D, 800": (800, 1), "2D, 2025": (45, 2), "2D, 4225": (65, 2)}
CUTOFFS = {
    "1D, 800": np.unique(np.geomspace(4, 80, 9).round()),
    "2D, 4225": np.unique(np.geomspace(2.2, 12, 6).round(1)),
}


def displacements(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, AMPLITUDE, n)


def exact(model: Any, **options: Any) -> HessianEntropyCalculator:
    return HessianEntropyCalculator(
        model, engine="contour", mesh="gamma", tolerance=1e-10, **options
    )


def pooled(found: list[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray, Any]:
    """Distances, magnitudes, envelope and fit of several sites together."""
    r = np.concatenate([site.distances for site in found])
    g = np.concatenate([site.magnitudes for site in found])
    envelope = upper_envelope(r, g, found[0].fit_range)
    return r, g, envelope, fit_power_law(*envelope.T)


def gradients(n: int, dimension: int, delta: float) -> Any:
    model = pair_lattice(n, dimension, delta=delta, impurities=0.05)
    size = len(model.sites)
    atoms = model.displace(displacements(size, 0))
    sites = (np.linspace(0, size, 8, endpoint=False).astype(int) + n // 3) % size
    return pooled(site_locality(atoms, exact(model), sites, fit_range=(3.0, n / 3)))


def truncation(n: int, dimension: int, delta: float, cutoffs: np.ndarray, smooth: bool) -> Any:
    model = pair_lattice(n, dimension, delta=delta, impurities=0.05)
    site = n // 2 if dimension == 1 else n // 2 * n + n // 2
    errors = [
        truncated_site_entropies(
            model.displace(displacements(len(model.sites), seed)),
            model.sites,
            exact(model),
            site,
            cutoffs,
            smooth=smooth,
        ).errors
        for seed in range(20 if dimension == 1 else 3)
    ]
    rms = np.sqrt(np.mean(np.square(errors), axis=0))
    return rms, fit_power_law(cutoffs, rms)


def slope(r: np.ndarray, g: np.ndarray, first: float, last: float) -> float:
    return float(fit_power_law(*upper_envelope(r, g, (first, last)).T).exponent)


def chain_without_cubic_term() -> None:
    """Where [Torabi2024] reads r^-1 off: every way to look at the chain with δ = 0."""
    print("\nchain, δ = 0: exponent between 3 and n/3, and between 20 and n/4")
    for n in (800, 3200):
        model = pair_lattice(n, 1)
        u = displacements(n, 0)
        growing = u * np.abs((np.arange(n) - n // 2) / n)
        for name, field in (("normal displacements", u), ("growing with distance", growing)):
            atoms = model.displace(field)
            (found,) = site_locality(atoms, exact(model), [n // 2], fit_range=(3.0, n / 3))
            far = slope(found.distances, found.magnitudes, 20, n / 4)
            print(f"{n:>5} sites, {name:<40} {found.fit.exponent:>5.2f} {far:>5.2f}", flush=True)
    n = 800
    model = pair_lattice(n, 1)
    normalised = HessianEntropyCalculator(
        model, engine="dense", mesh="gamma", decomposition="normalised", crystal=model.sites
    )
    atoms = model.displace(displacements(n, 0))
    (found,) = site_locality(atoms, normalised, [n // 2], fit_range=(3.0, n / 3))
    far = slope(found.distances, found.magnitudes, 20, n / 4)
    print(f"{n:>5} sites, {'normalised by the perfect chain':<40} {found.fit.exponent:>5.2f} "
          f"{far:>5.2f}", flush=True)  # fmt: skip
    for n in (800, 1600):
        r, g = as_published(n, delta=0.0)
        near, far = slope(r, g, 3, n / 3), slope(r, g, 20, n / 4)
        print(f"{n:>5} sites, {'set-up and quadrature of the script':<40} {near:>5.2f} "
              f"{far:>5.2f}", flush=True)  # fmt: skip


def as_published(n: int, delta: float) -> tuple[np.ndarray, np.ndarray]:
    """The set-up of.

    [Torabi2024]'s public script: u = H_hom^½ x, one impurity beside the site, 15 nodes.

    The nodes enclose the spectrum of H_hom^½ H H_hom^½, many orders of magnitude wide.
    """
    bonds = np.roll(np.eye(n), 1, axis=1) - np.eye(n)
    values, vectors = np.linalg.eigh(2 * bonds.T @ bonds)
    values[np.abs(values) < 1e-10] = 1  # the translation
    root, reference = (vectors * np.sqrt(values)) @ vectors.T, (vectors * values) @ vectors.T
    d = bonds @ root @ displacements(n, 123)
    c = np.ones(n)
    c[0] = 2
    hessian = bonds.T @ ((2 * c + 6 * delta * d + 12 * d**2)[:, None] * bonds)
    ends = np.linalg.eigvalsh(root @ (hessian + 1 / n) @ root)
    nodes = contour(ends[0], ends[-1], 15)
    gradient = np.zeros(n)
    for z, weight in zip(nodes.nodes, nodes.coefficients, strict=True):
        response = bonds @ np.linalg.solve(z * reference - hessian - 1 / n, root[:, 0])
        third = (6 * delta + 24 * d) * response**2
        gradient += (weight * np.log(z) * (bonds.T @ third)).imag
    return np.minimum(np.arange(n), n - np.arange(n)).astype(float), np.abs(gradient)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plot", metavar="FILE")
    options = parser.parse_args()
    panels: dict[str, Any] = {}
    print("gradients: exponent (theory 2 in 1D, 4 in 2D), prefactor (k_B/Å)")
    for name, (n, dimension) in LATTICES.items():
        for delta in DELTAS:
            *points, fit = gradients(n, dimension, delta)
            panels.setdefault(name, {})[delta] = (points, fit)
            print(f"{name:<9} δ = {delta:<4} {fit.exponent:.2f} ± {fit.exponent_std:.2f}  "
                  f"{fit.prefactor:.3g}", flush=True)  # fmt: skip
    chain_without_cubic_term()
    print("\ntruncation: exponent (theory 1 in 1D, 2 in 2D), C (k_B/Å^(1-p), of the rms error)")
    curves: dict[str, Any] = {}
    for name, cutoffs in CUTOFFS.items():
        for delta in DELTAS:
            for smooth in (False, True):
                rms, fit = truncation(*LATTICES[name], delta, cutoffs, smooth)
                curves.setdefault(name, {})[delta, smooth] = (cutoffs, rms, fit)
                print(f"{name:<9} δ = {delta:<4} {'smooth' if smooth else 'sharp':<6} "
                      f"{fit.exponent:.2f} ± {fit.exponent_std:.2f}  {fit.prefactor:.3g}  "
                      f"errors {rms[0]:.1e} to {rms[-1]:.1e}", flush=True)  # fmt: skip
    if options.plot:
        plot(panels, curves, options.plot)


def plot(panels: dict[str, Any], curves: dict[str, Any], path: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7), layout="constrained")
    rows = figure.subplots(2, 3)
    for panel, (name, found) in zip(rows[0], panels.items(), strict=True):
        for k, (delta, ((r, g, envelope), fit)) in enumerate(found.items()):
            far = (r > 0) & (g > 0)
            panel.loglog(r[far], g[far], ".", color=f"C{k}", ms=2, mew=0, alpha=0.15)
            label = f"δ = {delta:g}: $r^{{-{fit.exponent:.2f}}}$"
            panel.loglog(*envelope.T, "o", color=f"C{k}", ms=4, label=label)
        ends = envelope[[0, -1], 0]
        power = 2 * LATTICES[name][1]
        panel.loglog(ends, 2 * envelope[0, 1] * (ends / ends[0]) ** -power, "k--", lw=1,
                     label=f"$r^{{-{power}}}$")  # fmt: skip
        panel.set(
            title=f"{name} sites", xlabel="distance", ylabel=r"$|\partial S_\ell/\partial u_n|$"
        )
        panel.legend(frameon=False, fontsize="small")
    for panel, (name, found) in zip(rows[1], curves.items(), strict=False):
        for (delta, smooth), (cutoffs, rms, fit) in found.items():
            style = "s:" if smooth else "o-"
            label = f"δ = {delta:g}{', smooth' if smooth else ''}: {fit.exponent:.2f}"
            panel.loglog(cutoffs, rms, style, color=f"C{DELTAS.index(delta)}", ms=4, lw=0.8,
                         label=label)  # fmt: skip
        power = LATTICES[name][1]
        panel.loglog(cutoffs, 2 * rms[0] * (cutoffs / cutoffs[0]) ** -power, "k--", lw=1)
        panel.set(title=f"{name} sites", xlabel="cutoff", ylabel="error ($k_B$)")
        panel.legend(frameon=False, fontsize="small")
    rows[1, 2].axis("off")
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
