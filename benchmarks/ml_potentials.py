"""Machine-learned potentials: batches against single calls, and an exact entropy.

    python benchmarks/ml_potentials.py [--potentials sevennet chgnet] [--displaced 42]
        [--parts batches steps defects ranges] [--materials Si Al MgO]

*batches*: forces of displaced 64-atom silicon cells by batches and one by one, one core, seconds
of the processor. *steps*: the entropy of that crystal at Γ by steps of different lengths, with what
the package says of its error. *defects*: exact formation entropies of vacancy and interstitial with
SevenNet-0, relaxed, on a mesh and with the converged bulk value, as by default. *ranges*: how force
constants of SevenNet-0 fall with distance, and what leaving the far ones out does to the entropy.
The surrogate is `pretrained/si_sevennet0.py`. Needs the extras sevenn and chgnet: what is not
installed is said, and skipped.
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
from ase.calculators.calculator import Calculator, all_changes
from ase.units import kB

from ase_vibent import HessianEntropyCalculator
from ase_vibent.errors import VibentError
from ase_vibent.hessian import DisplacedForces, compute_hessian
from ase_vibent.hessian.batches import forces_batch
from ase_vibent.hessian.interactions import InteractionGraph
from ase_vibent.hessian.options import STEP
from ase_vibent.stationary import relax, relax_to_minimum
from ase_vibent.structures import dumbbells, interstitials, vacancies
from ase_vibent.thermo import defect_formation


def sevennet():
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator("7net-0", device="cpu")


def chgnet():
    from chgnet.model.dynamics import CHGNetCalculator

    return CHGNetCalculator(use_device="cpu")


PARTS = ["batches", "steps", "defects", "ranges"]
#: Structure, lattice constant to begin with (Å), repeats (2 of the cubic cell, 4 of the primitive).
MATERIALS = {"Si": ("diamond", 5.46, 2), "Al": ("fcc", 4.04, 4), "MgO": ("rocksalt", 4.25, 2)}
FMAX = 2e-3  # eV/Å
#: Å, that are stated for silicon.
RANGES = (6.0, 7.0, 8.0, 9.0, 10.0)
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


def supercell(material, calculator):
    """Some 64 atoms of a crystal relaxed to zero stress; all three lattices are face-centred."""
    structure, a, repeats = MATERIALS[material]
    primitive = relax(bulk(material, structure, a=a), calculator, fmax=1e-3, relax_cell=True)
    a = (4 * primitive.get_volume()) ** (1 / 3)
    return bulk(material, structure, a=a, cubic=repeats == 2) * repeats


def lowest(candidates, calculator):
    """The candidate of least energy, relaxed to a minimum."""
    rough = [relax(atoms, calculator, fmax=0.03) for atoms in candidates]
    best = min(rough, key=lambda atoms: atoms.get_potential_energy())
    kind = candidates[rough.index(best)].info["defect"]
    return kind, relax_to_minimum(best, calculator, fmax=FMAX).atoms


def exact_defects(material, calculator):
    """Print exact formation entropies, at constant volume and at no stress, with their errors."""
    crystal = supercell(material, calculator)
    species = ["O"] if material == "MgO" else [material]
    missing = [a for a in vacancies(crystal) if a.info["defect"].split()[0] in species]
    added = [*interstitials(crystal, species), *dumbbells(crystal, species=species)]
    for candidates in (missing, added):
        kind, atoms = lowest(candidates, calculator)
        formation(material, kind, atoms, crystal, calculator)
        free = relax_to_minimum(atoms, calculator, fmax=FMAX, relax_cell=True).atoms
        formation(material, f"{kind}, p = 0", free, crystal, calculator)


def formation(material, title, atoms, crystal, calculator):
    """Print one row: energy, entropy and its error, structures and seconds."""
    counted = Batched(calculator)
    began = perf_counter()
    found = defect_formation(
        *(atoms, crystal, HessianEntropyCalculator(counted)),
        potential=calculator,
        chemical_potentials={"O": 0.0} if material == "MgO" else None,
        fmax=0.01,
    )
    print(
        f"{material:<4} {title:<26} {len(atoms):>5} {found.energy:>9.3f} "
        f"{found.entropies[0] / kB:>9.3f} {found.entropy_std / kB:>7.3f} {counted.calls:>6} "
        f"{perf_counter() - began:>6.0f}",
        flush=True,
    )


class Harmonic(Calculator):
    """Forces of a Hessian."""

    implemented_properties = ("energy", "forces")

    def __init__(self, atoms, hessian):
        super().__init__()
        self.rest, self.hessian = atoms.positions.copy(), hessian

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """As of any ASE calculator."""
        super().calculate(atoms, properties, system_changes)
        shift = (self.atoms.positions - self.rest).ravel()
        forces = -self.hessian @ shift
        self.results = {"energy": -forces @ shift / 2, "forces": forces.reshape(-1, 3)}


def ranges(calculator):
    """Print force constants of silicon against distance, and entropies of truncated ones."""
    crystal = bulk("Si", a=5.4632, cubic=True) * 4
    hessian = compute_hessian(crystal, calculator)
    column = np.linalg.norm(hessian.reshape(len(crystal), 3, -1, 3)[0], axis=(0, 2))
    distances = crystal.get_distances(0, np.arange(len(crystal)), mic=True)
    for low in range(2, 14):
        size = column[(distances >= low) & (distances < low + 1)].max()
        print(f"{low:>4} to {low + 1:>2} Å: {size:.1e} eV/Å²")
    harmonic = Harmonic(crystal, hessian)
    options = {"mesh": "gamma", "method": "finite-differences"}
    whole = HessianEntropyCalculator(harmonic, **options).harmonic_system(crystal).entropy
    print(f"{'range/Å':>8} {'colours':>8} {'off (k_B)':>10} {'stated':>10} {'% of H':>8}")
    for reach in RANGES:
        exact = HessianEntropyCalculator(harmonic, interaction_range=reach, **options)
        with warnings.catch_warnings(action="ignore"):
            system = exact.harmonic_system(crystal)
        graph = InteractionGraph.within(crystal, np.arange(len(crystal)), reach)
        print(
            f"{reach:>8} {len(graph.groups):>8} {system.entropy - whole:>+10.3f} "
            f"{system.step_error.entropy:>+10.3f} {100 * system.step_error.relative:>8.2f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--potentials", nargs="+", choices=list(POTENTIALS), default=[*POTENTIALS])
    parser.add_argument("--displaced", type=int, default=42, help="cells in the comparison")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--materials", nargs="+", choices=list(MATERIALS), default=[*MATERIALS])
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
    if "batches" in options.parts:
        columns = ("displaced", "one by one/s", "batches/s", "ratio", "off by eV/Å")
        print(f"{'':<12} " + " ".join(f"{column:>12}" for column in columns))
        for title, calculator in chosen.values():
            compare(title, calculator, options.displaced)
    if "steps" in options.parts:
        print(f"\n{'':<12} {'step/Å':>8} {'taken':>8} {'S (k_B)':>10} {'error':>10} {'% of H':>10}")
        for title, calculator in chosen.values():
            compare_steps(title, calculator)
    if "sevennet" not in chosen:
        return
    if "defects" in options.parts:
        print(
            f"\n{'':<31} {'atoms':>5} {'E_f (eV)':>9} {'S_f (k_B)':>9} {'±':>7} {'calls':>6} "
            f"{'s':>6}"
        )
        for material in options.materials:
            exact_defects(material, chosen["sevennet"][1])
    if "ranges" in options.parts:
        print()
        ranges(chosen["sevennet"][1])


if __name__ == "__main__":
    main()
