"""Where the time of the ACE kernels goes, and how far that is from what the machine can do.

    python benchmarks/kernel.py [--atoms 8000] [--degrees 10 16 20]

Phases: microseconds per atom on one thread, each phase repeated within the kernel. Floating-point
operations, and bytes loaded and stored, are counted from the sizes of the loops; the peaks of the
machine (fused multiply-adds of registers, loads from the first cache) are measured in the same run.
The larger fraction of a peak bounds the phase.

Totals: microseconds per atom by size of the basis and number of neighbours, one thread and two.
"scaling" is the ratio of the two, beside what multiply-adds of registers alone reach at that
moment: cores that are shared with others give less than 2. vesin's neighbour list is timed too.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("NUMBA_NUM_THREADS", "2")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numba
import numpy as np
import vesin
from ase import Atoms
from ase.build import bulk

from ase_vibent import ACE
from ase_vibent.compiled.simd import LANES, WIDTH, load, splat, store
from ase_vibent.descriptors.density import expansion
from ase_vibent.descriptors.density.polynomials import weighted_sum
from ase_vibent.descriptors.density.site_kernel import scatter_pulls
from ase_vibent.descriptors.density.work_arrays import work_arrays
from ase_vibent.neighbours.lists import NeighbourLists, find_neighbours

timed = numba.njit(nogil=True, fastmath={"reassoc", "contract", "nsz", "arcp"})

PHASES = (
    "gather neighbours", "radial functions", "harmonics", "project on channels",
    "products and slopes", "radial slopes", "combine radial", "pair gradients", "scatter",
)  # fmt: skip


@timed
def multiply_adds(n: int) -> float:
    """Fill both pipelines with 10 independent chains: 80 operations a step."""
    a, b, out = splat(0.5), splat(0.1), np.zeros(WIDTH)
    c, d, e, f, g = splat(0.0), splat(0.1), splat(0.2), splat(0.3), splat(0.4)
    h, i, j, k, l = splat(0.5), splat(0.6), splat(0.7), splat(0.8), splat(0.9)
    for _ in range(n):
        c, d, e, f, g = c * a + b, d * a + b, e * a + b, f * a + b, g * a + b
        h, i, j, k, l = h * a + b, i * a + b, j * a + b, k * a + b, l * a + b
    store(out, 0, c + d + e + f + g + h + i + j + k + l)
    return out[0]


@timed
def read_cache(n: int, numbers: np.ndarray) -> float:
    """Sum 8 KiB again and again: 256 loads of 32 bytes a step."""
    a, b, c, d, out = splat(0.0), splat(0.0), splat(0.0), splat(0.0), np.zeros(WIDTH)
    e, f, g, h = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
    for _ in range(n):
        for k in range(0, 1024, 32):
            a, b = a + load(numbers, k), b + load(numbers, k + 4)
            c, d = c + load(numbers, k + 8), d + load(numbers, k + 12)
            e, f = e + load(numbers, k + 16), f + load(numbers, k + 20)
            g, h = g + load(numbers, k + 24), h + load(numbers, k + 28)
    store(out, 0, a + b + c + d + e + f + g + h)
    return out[0]


@timed
def repeated(phase, times, chunk, points, tables, products, weights, gradient, strain):
    """The kernel of a chunk, one phase of it done several times over."""
    work = work_arrays(tables, 1, chunk.most)
    n_channels, n_shared = len(tables.places), len(products.shared_left)
    density, slope = np.zeros((n_channels, LANES)), np.empty((n_channels, LANES))
    shared, adjoint = np.empty((n_shared, LANES)), np.empty((n_shared + 1, LANES))
    size = work.packs.shape[2] * LANES
    for block in range(len(chunk.blocks) - 1):
        start, stop = chunk.blocks[block], chunk.blocks[block + 1]
        for lane in range(stop - start):
            centre, offsets = chunk.centres[start + lane], chunk.offsets[start + lane]
            for _ in range(times if phase == 0 else 1):
                expansion.gather_neighbours(
                    lane, centre, points, chunk.candidates, offsets, tables.radial[3], work
                )
            for _ in range(times if phase == 1 else 1):
                expansion.radial_functions(lane, tables, work)
            for _ in range(times if phase == 2 else 1):
                expansion.spherical_harmonics(lane, tables, work)
            for _ in range(times if phase == 3 else 1):
                expansion.project_all(lane, tables, work, density)
        for _ in range(times if phase == 4 else 1):
            weighted_sum(products, weights, density, shared, adjoint, slope)
        for lane in range(stop - start):
            centre, count = chunk.centres[start + lane], work.columns[lane, 1]
            for _ in range(times if phase == 8 else 1):
                scatter_pulls(lane, centre, chunk.first, slope, tables, work, gradient, strain)
            first = lane * work.packs.shape[1] * size
            for k in range(0, count if phase in (5, 6, 7) else 0, LANES):
                pack = first + k // LANES * size
                for _ in range(times - 1):
                    if phase == 5:
                        expansion.radial_slopes(pack, tables, work)
                    elif phase == 6:
                        expansion.combine_radial(pack, 0, 0, tables, work)
                        expansion.combine_radial(pack, WIDTH, 0, tables, work)
                    else:
                        x, y, z = expansion.pair_forces(pack, tables, work)
                        store(work.forces, 0, x + y + z)


def best_of(repeats: int, work: Callable[[], object]) -> float:
    """Shortest of several times, in s, after one that does not count."""
    work()
    times = []
    for _ in range(repeats):
        began = perf_counter()
        work()
        times.append(perf_counter() - began)
    return min(times)


def peaks() -> tuple[float, float]:
    """Operations and bytes from the first cache per µs, one thread."""
    numbers = np.zeros(1024 + 8)
    numbers = numbers[-numbers.ctypes.data // 8 % 8 :][:1024]
    operations = 80 * 200_000 / best_of(60, lambda: multiply_adds(200_000))
    loads = 256 * 32 * 5_000 / best_of(60, lambda: read_cache(5_000, numbers))
    return operations / 1e6, loads / 1e6


def counted(ace: ACE, pairs: float, candidates: float) -> list[tuple[float, float]]:
    """Floating-point operations, and bytes loaded and stored, of each phase per atom.

    Only what the method needs: no filling of vectors, no places in tiles that are no channel.
    """
    n, lm, half = len(ace.radial.recursion), ace.basis.n_harmonics, len(ace.basis.harmonics)
    channels, products = len(ace.channels), ace.products
    n_nodes, n_leaves = len(products.n_leaves), products.n_leaves.sum()
    # A tile of 3 x 4 channels loads 7 numbers for 12 multiply-adds.
    project = 2 * channels * pairs, 8 * (7 / 12 * channels * pairs + 3 * channels)
    # A tile of 4 harmonics loads 6 numbers for 8 multiply-adds.
    combine = 4 * channels * pairs, 8 * (6 / 8 * 2 * channels + 2 * lm) * pairs
    return [
        (8 * candidates, 60 * candidates),
        ((5 * n + 20) * pairs, 8 * (n + 15) * pairs),
        ((4 * half + lm) * pairs, 8 * (2 * half + lm + 10) * pairs),
        project,
        (4 * n_leaves + 6 * n_nodes, 8 * (3.25 * n_leaves + 5 * n_nodes)),
        (8 * n * pairs, 8 * 2 * n * pairs),
        combine,
        ((10 * lm + 8 * half) * pairs, 8 * (6 * lm) * pairs),
        ((12 + 3) * pairs, 8 * 20 * pairs),
    ]


def phase_table(symbol: str, atoms: Atoms) -> None:
    ace = ACE([symbol], cutoff=5.0, order=3, degree=16)
    near = find_neighbours(atoms, ace.species, ace.cutoff, 0.4)
    points, weights = near.points(atoms).ravel(), np.ones(len(ace.products.last))
    pairs = sum(len(c.candidates) for c in find_neighbours(atoms, ace.species, 5.0).chunks)
    candidates = sum(len(c.candidates) for c in near.chunks)
    strain = np.zeros((6, LANES))

    def work(phase: int, times: int) -> None:
        for chunk in near.chunks:
            gradient = np.zeros((chunk.last - chunk.first, WIDTH))
            repeated(
                phase,
                times,
                chunk,
                points,
                ace.basis.tables,
                ace.products,
                weights,
                gradient,
                strain,
            )

    operations, loads = peaks()
    n_atoms = len(atoms)
    # Twenty times more than once, so that the noise of the rest does not matter.
    more = [best_of(15, lambda p=p: work(p, 21)) for p in range(9)]
    base = best_of(30, lambda: work(-1, 1))
    us = [1e6 * (time - base) / 20 / n_atoms for time in more]
    us[8] -= sum(us[5:8])
    print(
        f"\n{symbol}, {n_atoms} atoms, {pairs / n_atoms:.1f} pairs and "
        f"{candidates / n_atoms:.1f} candidates each, {ace.n_features} functions, one thread"
    )
    print(f"peak: {operations / 1e3:.1f} GFlop/s, {loads / 1e3:.0f} GB/s from the first cache")
    print(f"{'phase':<20} {'µs':>6} {'kFlop':>6} {'kB':>6} {'Flop of peak':>12} {'B of peak':>9}")
    rows = list(zip(PHASES, us, counted(ace, pairs / n_atoms, candidates / n_atoms), strict=True))
    flops, moved = sum(c[0] for _, _, c in rows), sum(c[1] for _, _, c in rows)
    for name, time, (flop, size) in [*rows, ("all", 1e6 * base / n_atoms, (flops, moved))]:
        print(
            f"{name:<20} {time:>6.2f} {flop / 1e3:>6.1f} {size / 1e3:>6.1f} "
            f"{flop / time / operations:>12.0%} {size / time / loads:>9.0%}"
        )


def scaling_of_machine() -> float:
    """How much two threads of multiply-adds do in the time of one."""
    one = best_of(5, lambda: multiply_adds(2_000_000))
    with ThreadPoolExecutor(2) as pool:
        two = best_of(5, lambda: list(pool.map(multiply_adds, [2_000_000] * 2)))
    return 2 * one / two


def both_threads(repeats: int, work: Callable[[], object]) -> tuple[float, float]:
    """Shortest times with one thread and with two, taken in turn."""
    times: dict[int, list[float]] = {1: [], 2: []}
    work()
    for _ in range(repeats):
        for threads, taken in times.items():
            numba.set_num_threads(threads)
            began = perf_counter()
            work()
            taken.append(perf_counter() - began)
    return min(times[1]), min(times[2])


Job = tuple[str, int, Atoms, Callable[[], object]]


def jobs_of_lists(symbol: str, atoms: Atoms) -> list[Job]:
    finder = vesin.NeighborList(cutoff=5.0, full_list=True, sorted=False)
    box = {"points": atoms.positions, "box": atoms.cell.array, "periodic": True}
    return [
        ("vesin's list, unsorted", 0, atoms, lambda: finder.compute(quantities="ijD", **box)),
        ("our list", 0, atoms, lambda: find_neighbours(atoms, [symbol], 5.0)),
    ]


def jobs_of_basis(ace: ACE, atoms: Atoms, small: Atoms) -> list[Job]:
    weights, lists, n = np.ones((1, ace.n_features)), NeighbourLists(), ace.n_features

    def model(**options: object) -> Callable[[], object]:
        return lambda: ace.linear_model(atoms, weights, **options)

    return [
        ("values, list kept", n, atoms, model(gradient=False, lists=lists)),
        ("+ gradient and virial, list kept", n, atoms, model(lists=lists)),
        ("+ gradient and virial, list made", n, atoms, model()),
        ("features, list made", n, atoms, lambda: ace.compute(atoms)),
        ("features + gradients, list made", n, small, lambda: ace.compute_with_gradients(small)),
    ]


def total_table(cells: dict[str, Atoms], n_atoms: int, degrees: list[int]) -> None:
    print(
        f"\n{'':<3} {'functions':>9} {'atoms':>6} {'what':<34} {'1 thread':>8} {'2 threads':>9} "
        f"{'scaling':>7} {'machine':>7}   µs per atom"
    )
    for symbol, cell in cells.items():
        edge = max(2, round((n_atoms / len(cell)) ** (1 / 3)))
        atoms, small = cell * (edge, edge, edge), cell * (3, 3, 3)
        atoms.rattle(0.05, seed=0)
        small.rattle(0.05, seed=0)
        jobs = jobs_of_lists(symbol, atoms)
        for degree in degrees:
            ace = ACE([symbol], cutoff=5.0, order=3, degree=degree)
            jobs += jobs_of_basis(ace, atoms, small)
        for name, functions, where, job in jobs:
            one, two = (1e6 * time / len(where) for time in both_threads(15, job))
            print(
                f"{symbol:<3} {functions or '':>9} {len(where):>6} {name:<34} "
                f"{one:>8.2f} {two:>9.2f} {one / two:>7.2f} {scaling_of_machine():>7.2f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--atoms", type=int, default=8000, help="about this many")
    parser.add_argument("--degrees", type=int, nargs="*", default=[10, 16, 20])
    options = parser.parse_args()
    cells = {
        "Fe": bulk("Fe", "bcc", a=2.86, cubic=True),
        "Si": bulk("Si", "diamond", a=5.431, cubic=True),
    }
    for symbol, cell in cells.items():
        atoms = cell * (10, 10, 10) if len(cell) < 4 else cell * (6, 6, 6)
        atoms.rattle(0.05, seed=0)
        phase_table(symbol, atoms)
    total_table(cells, options.atoms, options.degrees)


if __name__ == "__main__":
    main()
