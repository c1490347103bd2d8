"""Seconds and force calls of exact labels, beside ase.vibrations with the same calculator.

    python benchmarks/label_cost.py [--atoms 64 216] [--repeats 3] [--profile]

Rattled vacancy cells, so that no symmetry helps. The yardstick is ase.vibrations.Vibrations:
central differences, its Hessian alone, with its own cache in an empty folder. Ours are labels,
total entropy alone and with its gradient, of a mesh as by default, and at Γ. Seconds are those of
the processor, one thread, which other processes disturb least, and medians; ratios are to the
yardstick. Outside is the time outside of the calculator's own `calculate`, its share of all, and
what it is for every calculation: our code, and ASE's `get_property`, which compares and copies
structures before. "EMT+20ms" waits that long in every call, as most potentials do.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
import cProfile
import pstats
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time, sleep

import potentials
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.vibrations import Vibrations

from ase_vibent import (
    FiniteDifferenceEntropyCalculator,
    HessianEntropyCalculator,
    attach_labels,
)
from ase_vibent.hessian import has_analytic_hessian
from ase_vibent.potentials import stillinger_weber_silicon


class SlowEMT(EMT):
    """Effective-medium theory at the price of a larger potential."""

    delay = 0.02

    def calculate(self, *args, **keywords):
        """Wait, seconds that no processor counts."""
        sleep(self.delay)
        super().calculate(*args, **keywords)


#: Crystal, repeats along an edge for 64 and 216 atoms, calculator.
MATERIALS = {
    "emt": ("EMT Cu", bulk("Cu", "fcc", a=3.5898), {64: 4, 216: 6}, EMT),
    "sw": (
        "SW Si",
        bulk("Si", "diamond", a=5.431, cubic=True),
        {64: 2, 216: 3},
        stillinger_weber_silicon,
    ),
    "eam": ("EAM Cu", bulk("Cu", "fcc", a=3.615), {64: 4, 216: 6}, potentials.copper),
    "slow": ("EMT+20ms", bulk("Cu", "fcc", a=3.5898), {64: 4, 216: 6}, SlowEMT),
}


def vacancy(crystal, repeats):
    atoms = crystal * (repeats, repeats, repeats)
    del atoms[0]
    atoms.rattle(0.03, seed=1)
    return atoms


class Counted:
    """A fresh calculator, its calculations, and the seconds of the processor in them."""

    def __init__(self, make):
        self.calculator = make()
        self.calls, self.seconds = 0, 0.0
        calculate = self.calculator.calculate

        def counting(*args, **keywords):
            self.calls += 1
            began = process_time()
            try:
                return calculate(*args, **keywords)
            finally:
                self.seconds += process_time() - began

        self.calculator.calculate = counting


def yardstick(atoms, calculator):
    with TemporaryDirectory() as folder:
        atoms = atoms.copy()
        atoms.calc = calculator
        vibrations = Vibrations(atoms, name=f"{folder}/vib", delta=0.01, nfree=2)
        vibrations.run()
        vibrations.get_vibrations().get_hessian_2d()


def label(entropy_calculator, gradient, mesh="auto"):
    def work(atoms, calculator):
        exact = entropy_calculator(calculator, unstable="any", mesh=mesh)
        attach_labels(atoms, exact, labels=["gradient"] if gradient else ["total"])

    return work


def timed(work, atoms, make):
    """Seconds with all waiting, those outside of the calculator, and its calculations."""
    counted = Counted(make)
    began = process_time()
    work(atoms, counted.calculator)
    seconds = process_time() - began
    waited = counted.calls * getattr(counted.calculator, "delay", 0.0)
    return seconds + waited, seconds - counted.seconds, counted.calls


def profiled(work, atoms, make):
    profile = cProfile.Profile()
    profile.runcall(work, atoms, make())
    pstats.Stats(profile).sort_stats("cumulative").print_stats(30)


def rows(make):
    yield "ase.vibrations", yardstick
    for gradient in (False, True):
        name = "total + gradient" if gradient else "total"
        yield f"{name}, by forces", label(FiniteDifferenceEntropyCalculator, gradient)
        yield f"{name}, by forces, Γ", label(FiniteDifferenceEntropyCalculator, gradient, "gamma")
        if has_analytic_hessian(make()):
            yield f"{name}, analytic", label(HessianEntropyCalculator, gradient)
            yield f"{name}, analytic, Γ", label(HessianEntropyCalculator, gradient, "gamma")


def compare(name, atoms, make, repeats):
    """Print calls, seconds and their ratio to the yardstick for one cell."""
    # Rounds, not blocks, so that a busy machine slows every row alike.
    rounds = [[timed(work, atoms, make) for _, work in rows(make)] for _ in range(repeats)]
    columns = list(zip(*rounds, strict=True))
    base = median(seconds for seconds, *_ in columns[0])
    for (title, _), results in zip(rows(make), columns, strict=True):
        seconds, outside = (median(result[k] for result in results) for k in (0, 1))
        print(
            f"{name:<8} {len(atoms):>4}  {title:<28} {results[0][2]:>6} {seconds:>8.2f} "
            f"{seconds / base:>6.2f} {outside:>8.2f} {outside / seconds:>6.1%} "
            f"{1e6 * outside / results[0][2]:>8.0f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--atoms", type=int, nargs="+", choices=[64, 216], default=[64, 216])
    parser.add_argument("--potentials", nargs="+", choices=list(MATERIALS), default=list(MATERIALS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="where the seconds of ours go")
    options = parser.parse_args()
    print(f"one thread, CPU seconds, median of {options.repeats}")
    print(
        f"{'':<8} {'atoms':>4}  {'':<28} {'calls':>6} {'s':>8} {'ratio':>6} {'outside':>8} {'':>6} "
        f"{'µs/call':>8}"
    )
    for key in options.potentials:
        name, crystal, repeats, make = MATERIALS[key]
        timed(label(FiniteDifferenceEntropyCalculator, True), vacancy(crystal, 2), make)  # warm up
        for atoms in (vacancy(crystal, repeats[n]) for n in options.atoms):
            compare(name, atoms, make, options.repeats)
            if options.profile:
                for title, work in rows(make):
                    print(f"\n{name}, {len(atoms)} atoms: {title}")
                    profiled(work, atoms, make)


if __name__ == "__main__":
    main()
