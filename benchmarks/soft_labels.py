"""Spectra of silicon cells, and gradients of sums over parts of them: for `soft_defects.py`."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from potentials import PeriodicCell, table
from tqdm import tqdm

from ase_vibent import HessianEntropyCalculator
from ase_vibent.harmonic.floored import stiffened
from ase_vibent.harmonic.gradient import spectral_gradient
from ase_vibent.harmonic.mesh_derivatives import weighted
from ase_vibent.hessian import DisplacedForces
from ase_vibent.potentials import stillinger_weber_silicon

Array = np.ndarray
#: Of eigenvalues, eV/Å², on the mesh and at Γ; how many softest modes at Γ.
FLOORS, FLOORS_AT_GAMMA, COUNTS = (0.6, 1.0), (0.6, 1.0, 2.0), (0, 1, 2, 3, 5, 8, 12)
#: Smooth ones, of |λ| and of stable modes alone.
SMOOTH: tuple[tuple[str, float], ...] = (
    ("smooth", 1.0),
    ("smooth", 1.4),
    ("smooth", 2.0),
    ("smooth λ>0", 1.0),
)
EXACT = HessianEntropyCalculator(stillinger_weber_silicon, unstable="any")


@dataclass
class Label:
    """Spectra of a structure at Γ and on the mesh, and gradients of sums by their names."""

    gamma: Array
    points: list[Array]
    weights: Array
    gradients: dict[Any, Array] = field(default_factory=dict)

    def at_gamma(self, function: Callable[[Array], Array]) -> float:
        """-½ Σ f(λ)."""
        return -float(function(self.gamma).sum()) / 2

    def mean(self, function: Callable[[Array], Array]) -> float:
        """The same averaged over the mesh."""
        return -float(self.weights @ [function(values).sum() for values in self.points]) / 2


def whole(values: Array) -> Array:
    """Of stable modes, ln λ."""
    return np.log(np.where(values > 0, values, 1.0))


def floored(floor: float) -> Callable[[Array], Array]:
    """Of all modes, ln max(λ, floor)."""
    return lambda values: np.log(np.maximum(values, floor))


def smooth(name: tuple[str, float]) -> Callable[[Array], Array]:
    """¼ ln(λ⁴ + c⁴), see `ase_vibent.harmonic.floored`; or 0 in place of unstable λ."""
    return lambda values: np.log(stiffened(_counted(values, name[0]), name[1]))


def smooth_slopes(values: Array, name: tuple[str, float]) -> Array:
    """Of `smooth`."""
    counted = _counted(values, name[0])
    return counted**3 / stiffened(counted, name[1]) ** 4


def _counted(values: Array, kind: str) -> Array:
    return values if kind == "smooth" else np.maximum(values, 0.0)


def slopes(values: Array, floor: float = 0.0) -> Array:
    """Of ln λ above the floor, 0 below."""
    return np.where(values > floor, 1 / np.where(values > floor, values, 1.0), 0.0)


def label(atoms: Atoms, forces: Any) -> Label:
    system = EXACT.harmonic_system(atoms, gradient=True)
    values, vectors = np.linalg.eigh(system.hessian)
    # Off a minimum, too, rigid shifts are modes of their own.
    rigid = np.argsort(np.abs(vectors.reshape(-1, 3, len(values)).sum(axis=0)).max(axis=0))[-3:]
    values, vectors = np.delete(values, rigid), np.delete(vectors, rigid, axis=1)
    solved = [np.linalg.eigh(system.hessian_at(k)) for k in range(len(system.points))]
    found = Label(values, [own.eigenvalues for own in solved], system.weights)
    if not atoms.info["gradient"]:
        return found
    displaced = DisplacedForces(atoms, forces)
    for floor in (0.0, *FLOORS):
        sums = [weighted(own.eigenvectors, -slopes(own.eigenvalues, floor) / 2) for own in solved]
        found.gradients[floor] = system.derivatives.of_sums(displaced, sums, sums).positions[0]
    for name in SMOOTH:
        parts = [(own.eigenvectors, smooth_slopes(own.eigenvalues, name)) for own in solved]
        sums = [weighted(columns, -factors / 2) for columns, factors in parts]
        found.gradients[name] = system.derivatives.of_sums(displaced, sums, sums).positions[0]
    found.gradients.update(gradients_at_gamma(displaced, values, vectors))
    return found


def gradients_at_gamma(forces: Any, values: Array, vectors: Array) -> dict[Any, Array]:
    """Of all sums over modes at Γ, whose force calls are the same."""
    sums = {("gamma", floor): slopes(values, floor) for floor in (0.0, *FLOORS_AT_GAMMA)}
    places, unstable = np.arange(len(values)), int(np.sum(values < 0))
    for count in COUNTS:
        sums["less", count] = np.where(places < unstable + count, 0.0, slopes(values))
    patterns = vectors.T.reshape(len(values), -1, 3)
    found = spectral_gradient(forces, patterns, -np.array(list(sums.values())) / 2)
    return dict(zip(sums, found.positions, strict=True))


def labels(folder: Path, cells: list[Atoms]) -> list[Label]:
    """Of all cells; those of an earlier run are kept."""
    path = folder / "labels.pickle"
    found: list[Label] = pickle.loads(path.read_bytes()) if path.exists() else []
    forces = PeriodicCell("sw", f"{table('Si.sw')} Si")
    for number in tqdm(range(len(found), len(cells)), desc="labels", disable=None):
        found.append(label(cells[number], forces))
        if number % 25 == 0 or number == len(cells) - 1:
            path.write_bytes(pickle.dumps(found))
    return found
