"""Machine-learned potentials: batches against single calls, and an exact entropy.

    python benchmarks/ml_potentials.py [--potentials sevennet chgnet] [--displaced 42]

First, forces of displaced 64-atom silicon cells by batches and one by one, one core, seconds of the
processor. Second, the entropy of that crystal at Γ by steps of different lengths, with what the
package says of its error. Third, the exact entropy of the silicon vacancy, relaxed, on a mesh as by
default, with SevenNet-0. Needs the extras sevenn and chgnet: what is not installed is said, and
skipped.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
import argparse
import warnings
from importlib.util import find_spec
from time import perf_counter, process_time

import numpy as np
from ase.build import bulk
from ase.units import kB

from ase_vibent import HessianEntropyCalculator
from ase_vibent.errors import VibentError
from ase_vibent.hessian import DisplacedForces
from ase_vibent.hessian.batches import forces_batch
from ase_vibent.hessian.options import STEP
from ase_vibent.stationary import relax
from ase_vibent.structures import vacancies


def sevennet():
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator("7net-0", device="cpu")


def chgnet():
    from chgnet.model.dynamics import CHGNetCalculator

    return CHGNetCalculator(use_device="cpu")


#: Å, of finite differences.
STEPS = (0.0003, 0.003, 0.01, 0.02, "auto")
#: Title, package, calculator.
POTENTIALS = {
    "sevennet": ("SevenNet-0", "sevenn", sevennet),
    "chgnet": ("CHGNet", "chgnet", chgnet),
}


class OneByOne:
    """The same forces without batches, counted."""

    def __init__(self, calculator):
        self.calculator, self.calls = calculator, 0

    def get_property(self, name, atoms):
        """As of any ASE calculator."""
        self.calls += 1
        return self.calculator.get_property(name, atoms)


class Batched(OneByOne):
    """The same forces in batches; structures are counted."""

    def __init__(self, calculator):
        super().__init__(calculator)
        self.batch = forces_batch(calculator)
        self.batch_atoms = self.batch.most_atoms

    def get_forces_batch(self, structures):
        """Of the package's own batches."""
        self.calls += len(structures)
        return self.batch.forces(structures)


def crystal():
    return bulk("Si", a=5.45, cubic=True) * 2


def compare(title, calculator, n_displaced):
    """Print seconds of a number of displaced cells, by batches and one by one."""
    atoms = crystal()
    shifts = [STEP * np.eye(1, 3 * len(atoms), k).reshape(-1, 3) for k in range(n_displaced)]
    seconds, forces = [], []
    for kind in (OneByOne, Batched):
        displaced_forces = DisplacedForces(atoms, kind(calculator))
        displaced_forces(shifts[0])  # warm up
        began = process_time()
        forces.append(np.array([one.forces for one in displaced_forces.responses(shifts)]))
        seconds.append(process_time() - began)
    off = np.abs(forces[1] - forces[0]).max()
    single, batched = seconds
    print(
        f"{title:<12} {n_displaced:>12} {single:>12.1f} {batched:>12.1f} "
        f"{single / batched:>12.2f} {off:>12.1e}",
        flush=True,
    )


def compare_steps(title, calculator):
    """Print the crystal's reduced entropy by several steps, and its error, k_B."""
    for step in STEPS:
        exact = HessianEntropyCalculator(
            calculator, displacement=step, mesh="gamma", unstable="any"
        )
        try:
            with warnings.catch_warnings(action="ignore"):
                system = exact.harmonic_system(crystal())
        except VibentError as error:
            print(f"{title:<12} {step:>8}  {error}", flush=True)
            continue
        error = system.step_error
        print(
            f"{title:<12} {step:>8} {error.step:>8} {system.entropy:>10.3f} {error.entropy:>+10.3f}"
            f" {100 * error.relative:>10.2f}",
            flush=True,
        )


def vacancy_entropy(title, calculator):
    """Print the exact entropy of the vacancy with its error, structures and seconds."""
    atoms = relax(vacancies(crystal())[0], calculator, fmax=0.01)
    counted = Batched(calculator)
    exact = HessianEntropyCalculator(counted)
    began = perf_counter()
    found = exact.vibrations(atoms, [300.0])
    seconds = perf_counter() - began
    print(
        f"{title}, silicon vacancy, {len(atoms)} atoms, mesh, classical, 300 K: S = "
        f"{found.entropies[0] / kB:.3f} ± {found.entropy_std / kB:.3f} k_B; "
        f"{counted.calls} structures, {seconds:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--potentials", nargs="+", choices=list(POTENTIALS), default=[*POTENTIALS])
    parser.add_argument("--displaced", type=int, default=42, help="cells in the comparison")
    options = parser.parse_args()
    chosen = {}
    for key in options.potentials:
        title, package, make = POTENTIALS[key]
        if find_spec(package) is None:
            print(f"{title} is left out: pip install 'ase-vibent[{package}]'")
            continue
        import torch

        torch.set_num_threads(1)
        with warnings.catch_warnings(action="ignore"):  # of both, about what is not installed
            chosen[key] = title, make()
    if not chosen:
        raise SystemExit("no potential is installed")
    columns = ("displaced", "one by one/s", "batches/s", "ratio", "off by eV/Å")
    print(f"{'':<12} " + " ".join(f"{column:>12}" for column in columns))
    for title, calculator in chosen.values():
        compare(title, calculator, options.displaced)
    print(f"\n{'':<12} {'step/Å':>8} {'taken':>8} {'S (k_B)':>10} {'error':>10} {'% of H':>10}")
    for title, calculator in chosen.values():
        compare_steps(title, calculator)
    print()
    if "sevennet" in chosen:
        vacancy_entropy(*chosen["sevennet"])


if __name__ == "__main__":
    main()
