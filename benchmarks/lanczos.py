"""Site entropies of Stillinger-Weber silicon: diagonalisation, Lanczos, and Lanczos in balls.

    python benchmarks/lanczos.py [--threads 1] [--radius 10] [--steps 30]

Accuracy: a relaxed vacancy, all sites. Errors are those of y = Σ (s_i - s_bulk), the vacancy
formation entropy, against the diagonalised Hessian; bulk values are of the same cell and method.
Scaling: balls around a sample of sites of rattled crystals.
"""

from __future__ import annotations

import argparse
import os


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1, help="of BLAS and of the balls")
    parser.add_argument("--tolerance", type=float, default=1e-6, help="of whole-matrix Lanczos")
    parser.add_argument("--radius", type=float, nargs="+", default=[7.9, 10.0, 12.2], help="Å")
    parser.add_argument("--steps", type=int, default=20, help="Lanczos steps in a ball")
    parser.add_argument("--accuracy", type=int, nargs="*", default=[3, 5], help="cells per edge")
    parser.add_argument("--scaling", type=int, nargs="*", default=[5, 6, 8, 10])
    parser.add_argument("--sample", type=int, default=200, help="sites timed per cell")
    return parser.parse_args()


options = parse()
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(options.threads)
os.environ["NUMBA_NUM_THREADS"] = str(options.threads)

# Numerical libraries read their thread counts when they are loaded.
from time import perf_counter  # noqa: E402

import numpy as np  # noqa: E402
from ase.build import bulk  # noqa: E402
from ase.optimize import FIRE  # noqa: E402

from ase_vibent.harmonic.ball import ball_site_entropies  # noqa: E402
from ase_vibent.harmonic.entropy import reduced_entropy  # noqa: E402
from ase_vibent.harmonic.lanczos import lanczos_site_entropies  # noqa: E402
from ase_vibent.harmonic.modes import rigid_body_motions  # noqa: E402
from ase_vibent.harmonic.system import HarmonicSystem  # noqa: E402
from ase_vibent.potentials import stillinger_weber_silicon  # noqa: E402


def crystal(n):
    return bulk("Si", "diamond", a=5.4310, cubic=True) * (n, n, n)


def vacancy(n):
    atoms = crystal(n)
    del atoms[0]
    atoms.rattle(0.01, seed=1)
    atoms.calc = stillinger_weber_silicon()
    FIRE(atoms, logfile=None).run(fmax=1e-3, steps=1000)
    return atoms


def sparse_hessian(atoms):
    calculator = stillinger_weber_silicon()
    calculator.get_potential_energy(atoms)
    return calculator.get_hessian(atoms, format="sparse")


def timed(function):
    start = perf_counter()
    result = function()
    return result, perf_counter() - start


def dense(atoms, hessian):
    modes = HarmonicSystem(atoms, hessian.toarray()).hessian_modes
    return modes.site_sums(reduced_entropy)


def whole(atoms, hessian, sites):
    motions = rigid_body_motions(atoms, mass_weighted=False)
    return lanczos_site_entropies(
        hessian, sites, motions=motions, tolerance=options.tolerance
    ).values


def compare(n):
    """Print errors and seconds of every method for one cell."""
    perfect, atoms = crystal(n), vacancy(n)
    perfect_hessian, hessian = sparse_hessian(perfect), sparse_hessian(atoms)
    sites = range(len(atoms))
    reference, seconds = timed(lambda: dense(atoms, hessian))
    reference = reference - dense(perfect, perfect_hessian).mean()
    row = "{:>6} {:<16} {:>10} {:>10} {:>9}"
    print(row.format(len(atoms), "dense", "", "", f"{seconds:.2f}"), f" y = {reference.sum():.4f}")

    def report(name, method):
        found, seconds = timed(lambda: method(atoms, hessian, sites))
        error = found - method(perfect, perfect_hessian, [0])[0] - reference
        numbers = f"{error.sum():.1e}", f"{np.abs(error).max():.1e}", f"{seconds:.2f}"
        print(row.format(len(atoms), name, *numbers))

    report("whole matrix", whole)
    for radius in options.radius:
        report(f"ball of {radius} Å", balls(radius))


def balls(radius):
    return lambda atoms, hessian, sites: ball_site_entropies(
        atoms, hessian, sites, radius=radius, steps=options.steps
    )


def scaling(radius):
    """Print the cost of balls in growing cells, and its exponent."""
    print(f"\nballs of {radius} Å, {options.steps} steps, {options.sample} sites a cell")
    print(f"{'atoms':>6} {'ms/site':>8} {'s/cell':>8}")
    sizes, costs = [], []
    for n in options.scaling:
        atoms = crystal(n)
        atoms.rattle(0.01, seed=1)
        hessian = sparse_hessian(atoms)
        sites = np.random.default_rng(0).choice(len(atoms), options.sample, replace=False)
        _, once = timed(lambda: balls(radius)(atoms, hessian, sites[:1]))  # noqa: B023
        _, seconds = timed(lambda: balls(radius)(atoms, hessian, sites))  # noqa: B023
        # The Hessian is prepared once, however many sites follow.
        per_site = (seconds - once) / (options.sample - 1)
        sizes.append(len(atoms))
        costs.append(once + per_site * (len(atoms) - 1))
        print(f"{sizes[-1]:>6} {1e3 * per_site:>8.3f} {costs[-1]:>8.2f}", flush=True)
    slope = np.polyfit(np.log(sizes), np.log(costs), 1)[0]
    print(f"seconds per cell ~ N^{slope:.2f}")


def main() -> None:
    print(f"threads {options.threads}; errors in k_B, of y and of the worst site")
    print(f"{'atoms':>6} {'method':<16} {'y':>10} {'site':>10} {'seconds':>9}")
    balls(4.0)(crystal(2), sparse_hessian(crystal(2)), [0])  # compile
    for n in options.accuracy:
        compare(n)
    if options.scaling:
        scaling(options.radius[1] if len(options.radius) > 1 else options.radius[0])


if __name__ == "__main__":
    main()
