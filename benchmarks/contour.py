"""Contour integrals against diagonalisation: error and cost over the number of nodes.

    python benchmarks/contour.py [--cells 2 3] [--plot contour.png]

Site entropies of a rattled vacancy in Stillinger-Weber silicon. "Bound" is what the engine states
before it factorises anything, "error" that of the worst site against the diagonalised Hessian.

    python benchmarks/contour.py --normalised [--cells 1 2 3] [--lengths 8 32 128]

Nodes for 1e-6 k_B, of log H and of log F H F, F = H_hom^(-½), in rattled crystals: n × n × n cubic
cells, then bars of 1 × 1 × n of them. Seconds are for all sites in the cells (the first column of
log F H F makes the square root of the crystal, once), for two sites in the bars.
"""

from __future__ import annotations

import argparse
import os
from time import perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
import numpy as np
from ase import Atoms
from ase.build import bulk
from matplotlib.figure import Figure

from ase_vibent.harmonic.bloch import translations
from ase_vibent.harmonic.contour import ContourSolver
from ase_vibent.harmonic.entropy import reduced_entropy
from ase_vibent.harmonic.normalised import NormalisedSystem
from ase_vibent.harmonic.pencil import CrystalRoot, PencilSolver, half_log
from ase_vibent.harmonic.rigid_motions import rigid_body_motions
from ase_vibent.harmonic.system import HarmonicSystem
from ase_vibent.hessian import compute_hessian
from ase_vibent.potentials import stillinger_weber_silicon


def convergence(n_cells: int) -> tuple[int, list[tuple[int, float, float]]]:
    """Print a table; number of atoms, and (nodes, bound, error) of every tolerance."""
    atoms = bulk("Si", "diamond", a=5.4310, cubic=True) * (n_cells, n_cells, n_cells)
    del atoms[0]
    atoms.rattle(0.02, seed=1)
    hessian = compute_hessian(atoms, stillinger_weber_silicon(), sparse=True)
    began = perf_counter()
    exact = HarmonicSystem(atoms, hessian).hessian_spectrum.site_sums(reduced_entropy)
    print(f"{len(atoms)} atoms, diagonalisation {perf_counter() - began:.2f} s")
    print(f"{'nodes':>6} {'bound k_B':>10} {'error k_B':>10} {'seconds':>8}")
    points = []
    for exponent in range(1, 12):
        began = perf_counter()
        motions = rigid_body_motions(atoms, mass_weighted=False)
        spectrum = ContourSolver(hessian, motions=motions, tolerance=10.0**-exponent).spectrum()
        seconds = perf_counter() - began
        error = np.abs(spectrum.site_sums(reduced_entropy) - exact).max()
        points.append((len(spectrum.contour.nodes), spectrum.error, float(error)))
        print(
            f"{points[-1][0]:>6} {spectrum.error:>10.1e} {error:>10.1e} {seconds:>8.2f}", flush=True
        )
    return len(atoms), points


def beside_the_crystal(crystal: Atoms, n_sites: int | None) -> None:
    """Print a row: nodes, bounds, errors and seconds of both logarithms."""
    atoms = crystal.copy()
    atoms.rattle(0.02, seed=1)
    sites = None if n_sites is None else np.arange(n_sites)
    potential, tolerance = stillinger_weber_silicon(), 1e-6
    reference, hessian = (compute_hessian(a, potential, sparse=True) for a in (crystal, atoms))
    motions = rigid_body_motions(atoms, mass_weighted=False)
    systems = [HarmonicSystem(a, h) for a, h in ((crystal, reference), (atoms, hessian))]
    began = perf_counter()
    plain = ContourSolver(hessian, motions=motions, tolerance=tolerance).spectrum(sites)
    row = [f"{len(atoms):>6} {len(plain.contour.nodes):>8} {perf_counter() - began:>8.1f}"]
    began = perf_counter()
    root = CrystalRoot(
        reference,
        motions,
        translations=translations(crystal, crystal.numbers),
        phases=np.ones(len(crystal), dtype=complex),
        tolerance=tolerance,
    )
    root(np.arange(min(8, len(crystal))))
    row.append(f"{perf_counter() - began:>8.1f}")
    began = perf_counter()
    found = PencilSolver(hessian, root, unstable=0, tolerance=tolerance).spectrum(sites)
    row.append(f"{len(found.contour.nodes):>8} {perf_counter() - began:>8.1f} {found.error:>9.1e}")
    if len(atoms) <= 700:
        exact = NormalisedSystem(systems[1], systems[0]).site_entropies[:n_sites]
        row.append(f"{np.abs(found.site_sums(half_log) - exact).max():>9.1e}")
    print(" ".join(row), flush=True)


def plot(results: dict[int, list[tuple[int, float, float]]], path: str) -> None:
    figure = Figure(figsize=(4.5, 3.4), layout="constrained")
    axes = figure.subplots()
    for (n_atoms, points), colour in zip(results.items(), ("C0", "C1", "C2"), strict=False):
        nodes, bounds, errors = zip(*points, strict=True)
        axes.semilogy(nodes, errors, "o-", color=colour, label=f"{n_atoms} atoms")
        axes.semilogy(nodes, bounds, "--", color=colour, label=f"{n_atoms} atoms, stated bound")
    axes.set_xlabel("nodes of the contour")
    axes.set_ylabel("largest error of a site entropy ($k_B$)")
    axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cells", type=int, nargs="+", default=[2, 3], help="per edge")
    parser.add_argument("--plot", metavar="FILE")
    parser.add_argument("--normalised", action="store_true", help="log F H F beside log H")
    parser.add_argument("--lengths", type=int, nargs="*", default=[], help="of the bars")
    options = parser.parse_args()
    if options.normalised:
        cube = bulk("Si", "diamond", a=5.4310, cubic=True)
        print(f"{'atoms':>6} {'log H':>8} {'s':>8} {'root, s':>8} {'log FHF':>8} {'s':>8} ", end="")
        print(f"{'bound':>9} {'error':>9}")
        for n in options.cells:
            beside_the_crystal(cube * (n, n, n), None)
        for n in options.lengths:
            beside_the_crystal(cube * (1, 1, n), 2)
        return
    results = dict(convergence(n) for n in options.cells)
    if options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
