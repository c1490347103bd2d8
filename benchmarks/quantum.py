"""Quantum corrections of silicon from learned moments, on held-out defective cells.

    python benchmarks/quantum.py [--seed 0] [--frames 30] [--cutoff 5.0] [--degree 12]

Stillinger-Weber silicon, 2 × 2 × 2 cubic cells. Training: the perfect crystal, the relaxed vacancy,
and rattled cells of both, displacements uniform in ± 0.05 Å. Held out: other rattled cells, a
larger cell with a vacancy, and a divacancy, which is of no kind seen. Measured beside
predicted: F_q - F_cl over all modes of the cell, at Γ, by diagonalisation; beside it what the
exact moments give, which is the error of the two-point quadrature alone.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.optimize import BFGS
from ase.units import kB

from ase_vibent import ACE, HessianEntropyCalculator, SiteEntropyCalculator, attach_labels, train
from ase_vibent.harmonic.entropy import quantum, quantum_correction
from ase_vibent.model import SiteModel
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.training.moments import labelled_correction

LATTICE = 5.4310
AMPLITUDE = 0.1  # Å, peak to peak
TEMPERATURES = (50, 100, 200, 300, 600)
#: Largest relative error of F_q - F_cl.
GOALS = {100: 0.02, 300: 0.005}


@dataclass
class Measurement:
    """One cell: eigenvalues of its dynamical matrix and its labels."""

    kind: str
    atoms: Atoms
    eigenvalues: np.ndarray


def crystal(repeats: int = 2) -> Atoms:
    return bulk("Si", "diamond", a=LATTICE, cubic=True) * repeats


def relaxed_without(atoms: Atoms, removed: list[int]) -> Atoms:
    del atoms[removed]
    atoms.calc = stillinger_weber_silicon()
    if not BFGS(atoms, logfile=None).run(fmax=1e-3, steps=500):
        raise SystemExit("a defect did not relax to 1e-3 eV/Å")
    atoms.calc = None
    return atoms


def rattle(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    copy = atoms.copy()
    copy.positions += rng.uniform(-AMPLITUDE / 2, AMPLITUDE / 2, copy.positions.shape)
    return copy


def labelled(atoms: Atoms, **names: str) -> Atoms:
    exact = HessianEntropyCalculator(stillinger_weber_silicon(), unstable="any", mesh="gamma")
    return attach_labels(atoms, exact, labels=["sites", "moments"], **names)


def measured(kind: str, atoms: Atoms) -> Measurement:
    exact = HessianEntropyCalculator(stillinger_weber_silicon(), mesh="gamma")
    modes = exact.harmonic_system(atoms).modes
    return Measurement(kind, labelled(atoms), modes.eigenvalues)


def held_out(vacancy: Atoms, rng: np.random.Generator) -> list[Measurement]:
    pair = crystal()
    near = int(np.argsort(pair.get_distances(0, range(len(pair)), mic=True))[1])
    divacancy = relaxed_without(pair, [0, near])
    large = relaxed_without(crystal(3), [0])
    cells = [("rattled bulk", rattle(crystal(), rng)) for _ in range(5)]
    cells += [("rattled vacancy", rattle(vacancy, rng)) for _ in range(5)]
    cells += [("vacancy, 215 atoms", rattle(large, rng))]
    cells += [("rattled divacancy", rattle(divacancy, rng)) for _ in range(3)]
    return [measured(kind, atoms) for kind, atoms in cells]


def predicted(model: SiteModel, atoms: Atoms, temperature: float) -> tuple[float, float]:
    """Free energy in eV and entropy in eV/K, quantum minus classical."""
    entropy, free_energy = model.quantum_correction(atoms, temperature, gradient=False)
    return float(free_energy.values.sum()), float(entropy.values.sum())


def print_table(model: SiteModel, cells: list[Measurement]) -> None:
    print(
        "largest relative error of F_q - F_cl, and error of S_q - S_cl in k_B per atom\n"
        f"{'cells':<20}{'T/K':>5}{'F_q-F_cl':>10}{'learned':>10}{'exact M':>10}{'goal':>7}"
        f"{'entropy':>10}{'S_q':>8}"
    )
    for kind in dict.fromkeys(cell.kind for cell in cells):
        for temperature in TEMPERATURES:
            rows = []
            for cell in (c for c in cells if c.kind == kind):
                exact = quantum_correction(cell.eigenvalues, temperature)
                total, n = exact.free_energy.sum(), len(cell.atoms)
                free_energy, entropy = predicted(model, cell.atoms, temperature)
                by_moments = labelled_correction(cell.atoms, temperature).sum()
                missed = (entropy - exact.entropy.sum()) / (n * kB)
                whole = quantum(cell.eigenvalues, temperature).entropy.sum() / (n * kB)
                errors = (free_energy / total - 1, by_moments / total - 1, missed)
                rows.append((1e3 * total / n, *np.abs(errors), whole))
            mean, largest = np.mean(rows, axis=0), np.max(rows, axis=0)
            goal = f"{GOALS[temperature]:.1%}" if temperature in GOALS else ""
            print(
                f"{kind:<20}{temperature:>5}{mean[0]:>7.2f}meV{largest[1]:>10.1e}"
                f"{largest[2]:>10.1e}{goal:>7}{largest[3]:>10.1e}{mean[4]:>8.3f}"
            )


def print_forces(model: SiteModel, atoms: Atoms, temperature: float) -> None:
    exact, learned = (
        calculator(True).get_property("forces", atoms)
        - calculator(False).get_property("forces", atoms)
        for calculator in (
            lambda q: HessianEntropyCalculator(
                stillinger_weber_silicon(), temperature=temperature, quantum=q, mesh="gamma"
            ),
            lambda q: SiteEntropyCalculator(model, temperature=temperature, quantum=q),
        )
    )
    size, error = (np.sqrt(np.mean(f**2)) for f in (exact, learned - exact))
    print(
        f"forces of F_q - F_cl at {temperature:g} K on a {len(atoms)}-atom vacancy cell: "
        f"RMS {1e3 * size:.3f} meV/Å, RMSE {1e3 * error:.4f} meV/Å"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=30, help="rattled cells in training")
    parser.add_argument("--cutoff", type=float, default=5.0, help="Å")
    parser.add_argument("--degree", type=float, default=12)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    vacancy = relaxed_without(crystal(), [0])
    frames = [labelled(crystal(), name="si64"), labelled(vacancy, reference="si64")]
    for number in range(options.frames):
        start = (crystal(), vacancy)[number % 2]
        frames.append(labelled(rattle(start, rng), reference="si64"))
    descriptor = ACE(["Si"], cutoff=options.cutoff, order=3, degree=options.degree)
    model = train(frames, descriptor, quantities=["sites"])
    print(f"{descriptor.n_features} functions, {len(frames)} cells, {sum(map(len, frames))} sites")
    cells = held_out(vacancy, rng)
    print_table(model, cells)
    rattled_vacancy = next(cell.atoms for cell in cells if cell.kind == "rattled vacancy")
    for temperature in (100, 300):
        print_forces(model, rattled_vacancy, temperature)


if __name__ == "__main__":
    main()
