"""Contour integrals against diagonalisation: error and cost over the number of nodes.

    python benchmarks/contour.py [--cells 2 3] [--plot contour.png]

Site entropies of a rattled vacancy in Stillinger-Weber silicon. "Bound" is what the engine states
before it factorises anything, "error" that of the worst site against the diagonalised Hessian.
"""

from __future__ import annotations

import argparse
import os
from time import perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
import numpy as np
from ase.build import bulk
from matplotlib.figure import Figure

from ase_vibent.harmonic.contour import ContourSolver
from ase_vibent.harmonic.entropy import reduced_entropy
from ase_vibent.harmonic.modes import rigid_body_motions
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
    options = parser.parse_args()
    results = dict(convergence(n) for n in options.cells)
    if options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
