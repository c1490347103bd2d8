"""[Lapointe2020] Fig. 7: entropy of the minima of the Lennard-Jones cluster of 38 atoms.

    python benchmarks/papers/lapointe2020_lj38.py [--folder p2-lj38] [--walks 16] [--hops 100]

In place of the Cambridge database's 10,000 minima: basin hopping from random starts, minima of
different energies. Lengths in σ, taken for Å: with the paper's cutoff of 5 every atom sees
the whole cluster.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.units import kB
from scipy.optimize import minimize
from total_fits import FRACTIONS, Formation, descriptors, feature_sums, fitted, split_errors
from tqdm import tqdm

from ase_vibent import dataset
from ase_vibent.labelling.run import LabelTask, label_structures
from ase_vibent.structures import unique

Array = np.ndarray

N_ATOMS, RADIUS, STEP, TEMPERATURE = 38, 2.2, 0.4, 1.0
#: Energies of different minima differ by more, ε.
TOLERANCE = 1e-4


def springs(positions: Array) -> tuple[Array, Array, Array]:
    """Unit vectors, tangential and radial spring constants of all pairs; 0 with itself."""
    vectors = positions[:, None] - positions[None]
    squares = np.einsum("ijk,ijk->ij", vectors, vectors)
    np.fill_diagonal(squares, np.inf)
    sixth = squares**-3.0
    tangential = 4 * (-12 * sixth**2 + 6 * sixth) / squares
    radial = 4 * (156 * sixth**2 - 42 * sixth) / squares
    unit = vectors / np.sqrt(squares)[..., None]
    unit[np.arange(len(unit)), np.arange(len(unit))] = 0
    return unit, tangential, radial


def energy_and_gradient(coordinates: Array) -> tuple[float, Array]:
    positions = coordinates.reshape(-1, 3)
    vectors = positions[:, None] - positions[None]
    squares = np.einsum("ijk,ijk->ij", vectors, vectors)
    np.fill_diagonal(squares, np.inf)
    sixth = squares**-3.0
    pull = (-48 * sixth**2 + 24 * sixth) / squares
    return 2 * float(np.sum(sixth**2 - sixth)), np.einsum("ij,ijk->ik", pull, vectors).ravel()


class LennardJones(Calculator):
    """All pairs at ε = σ = 1, with the analytic Hessian."""

    implemented_properties = ("energy", "forces")

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Fill `results`; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        energy, gradient = energy_and_gradient(self.atoms.positions.ravel())
        self.results = {"energy": energy, "forces": -gradient.reshape(-1, 3)}

    def get_hessian(self, atoms: Atoms) -> Array:
        """Second derivatives, shape (3N, 3N), ε/σ²."""
        unit, tangential, radial = springs(atoms.positions)
        blocks = (radial - tangential)[..., None, None] * unit[..., :, None] * unit[..., None, :]
        blocks += tangential[..., None, None] * np.eye(3)
        matrix = -blocks
        own = np.arange(len(atoms))
        matrix[own, own] = blocks.sum(axis=1) - blocks[own, own]
        return matrix.transpose(0, 2, 1, 3).reshape(3 * len(atoms), -1)


def minimum(positions: Array) -> tuple[float, Array]:
    found = minimize(
        energy_and_gradient,
        positions.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 5000, "maxfun": 20000, "ftol": 1e-15, "gtol": 1e-7},
    )
    return float(found.fun), found.x.reshape(-1, 3)


def walk(hops: int, rng: np.random.Generator) -> Iterator[tuple[float, Array]]:
    """Minima met by basin hopping from a random start."""
    start = rng.normal(size=(N_ATOMS, 3))
    start *= (
        RADIUS
        * rng.uniform(size=(N_ATOMS, 1)) ** (1 / 3)
        / np.linalg.norm(start, axis=1, keepdims=True)
    )
    energy, here = minimum(start)
    for _ in range(hops):
        there_energy, there = minimum(here + rng.uniform(-STEP, STEP, here.shape))
        if np.linalg.norm(there, axis=1).max() > 3 * RADIUS:
            continue  # an atom has left
        if rng.uniform() < np.exp(min(0.0, (energy - there_energy) / TEMPERATURE)):
            energy, here = there_energy, there - there.mean(axis=0)
        yield there_energy, there


def minima(walks: int, hops: int) -> list[Atoms]:
    found, energies = [], []
    for seed in tqdm(range(walks), unit="walk", disable=None):
        for energy, positions in walk(hops, np.random.default_rng(seed)):
            found.append(Atoms(f"Ar{N_ATOMS}", positions, masses=np.ones(N_ATOMS)))
            energies.append(energy)
    chosen = unique(found, energies, energy_tolerance=TOLERANCE)
    print(f"{len(found)} minima, {len(chosen)} different, {min(energies):.4f} ε the lowest")
    return [found[k] for k in chosen]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("p2-lj38"))
    parser.add_argument("--walks", type=int, default=16)
    parser.add_argument("--hops", type=int, default=100)
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--descriptors", nargs="+", default=["AFS(20,10)", "ACE"])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / "minima.labels.xyz"
    if not path.exists():
        summary = label_structures(
            [LabelTask(atoms, labels=["total"]) for atoms in minima(options.walks, options.hops)],
            path,
            LennardJones,
            calculator_name="lennard-jones",
            progress=lambda items, total: tqdm(items, total=total, unit="cell", disable=None),
        )
        print(f"{summary.done} labelled, {len(summary.failed)} failed {summary.failed[:1]}")
    frames = dataset.read_labels(path)
    entropies = np.array([atoms.info[dataset.ENTROPY] for atoms in frames]) / kB
    entropies -= entropies.mean()
    print(f"{len(frames)} minima, standard deviation {entropies.std():.3f} k_B, ", end="")
    print(f"range {np.ptp(entropies):.1f} k_B; RMSE train / test at test fractions")
    print(" " * 22 + "".join(f"{fraction:>15.0%}" for fraction in FRACTIONS))
    for name in options.descriptors:
        factory = descriptors("Ar", r0=1.12, inner=0.85)[name]
        sums = feature_sums(factory(), frames, options.folder)
        data = Formation(sums - sums.mean(axis=0), entropies)
        errors = split_errors(data, splits=options.splits)
        print(
            f"{name:<12} {sums.shape[1]:>8}  "
            + "".join(f"{a:>7.3f} /{b:>6.3f}" for a, b in errors),
            flush=True,
        )
        plot(data, errors, name, options.folder / f"p2-figure-7-{name.split('(')[0]}.png")


def plot(data: Formation, errors: Array, name: str, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    train = np.arange(len(data.entropies)) % 5 > 0
    predicted = data.features[~train] @ fitted(data[train])
    exact = data.entropies[~train]
    left.plot(exact, predicted, ".", ms=4)
    left.plot([exact.min(), exact.max()], [exact.min(), exact.max()], color="0.4", lw=0.8)
    left.set(
        xlabel="exact entropy, less the mean ($k_B$)",
        ylabel="predicted ($k_B$)",
        title=f"LJ$_{{38}}$, {name}: a fifth held out",
    )
    for values, label in zip(errors.T, ("training", "test"), strict=True):
        right.plot(FRACTIONS, values, "o-", ms=4, label=label)
    right.set(xlabel="test fraction", ylabel="RMSE ($k_B$)", ylim=(0, None))
    right.legend(frameon=False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
