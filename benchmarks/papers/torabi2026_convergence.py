"""[Torabi2026] (24), (56), (57): labels of one site, and their derivatives, converge with the cell.

    python benchmarks/papers/torabi2026_convergence.py

The same displacements of the atoms within a few neighbours, normal with 0.1, in ever larger
periodic lattices of two sublattices (no gap), and in Stillinger-Weber silicon (normal with 0.05 Å).
Site entropies of the first of them, normalised by the crystal as [Torabi2026] (21), and their
derivative along one random direction of the displaced atoms, by central differences of exact
entropies. Errors are differences to the largest cell, whose own error is of the size of the last
one printed; at Γ, and averaged over the default mesh where there are three dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk

from ase_vibent import HessianEntropyCalculator
from ase_vibent.analysis import cscl_lattice, diatomic_chain, two_sublattice_square
from ase_vibent.potentials import stillinger_weber_silicon

#: Of the derivatives: in the units of displacements.
STEP = 1e-3
#: Cells in a row, radius of the displaced region, amplitude.
LATTICES: dict[str, tuple[Callable[..., Any], Sequence[int], float, float]] = {
    "chain": (diatomic_chain, (12, 25, 50, 100, 200, 400), 3.1, 0.1),
    "square": (two_sublattice_square, (6, 8, 12, 16, 20), 2.1, 0.1),
    "CsCl": (cscl_lattice, (4, 5, 6, 8), 1.1, 0.1),
}
SILICON = ((3, 4, 5, 6), 2.5, 0.05)


def displaced_atoms(sites: Atoms, radius: float) -> np.ndarray:
    """Indices of the first atom and those around it, in an order of places, the same everywhere."""
    vectors = sites.get_distances(0, range(len(sites)), mic=True, vector=True)
    distances = np.linalg.norm(vectors, axis=1)
    near = np.flatnonzero(distances < radius)
    return near[np.lexsort((*np.round(vectors[near].T, 6), np.round(distances[near], 6)))]


def label(atoms: Atoms, crystal: Atoms, calculator: Any, site: int, mesh: str) -> float:
    """Normalised entropy of a site, k_B."""
    exact = HessianEntropyCalculator(
        calculator,
        crystal=crystal,
        decomposition="normalised",
        engine="dense",
        mesh=mesh,
        unstable="any",
    )
    return float(exact.harmonic_system(atoms).entropies_of([site])[0])


def label_and_derivative(
    sites: Atoms,
    displace: Callable[[np.ndarray], Atoms],
    calculator: Any,
    region: tuple[float, float],
    mesh: str,
) -> np.ndarray:
    """Of the first atom: entropy, and its derivative along a random direction."""
    radius, amplitude = region
    near = displaced_atoms(sites, radius)
    rng = np.random.default_rng(0)
    shape = (len(near), *displace_shape(sites, calculator))
    u, direction = rng.normal(0, amplitude, shape), rng.normal(size=shape)
    values = []
    for step in (0, STEP, -STEP):
        field = np.zeros((len(sites), *shape[1:]))
        field[near] = u + step * direction
        values.append(label(displace(field), sites, calculator, near[0], mesh))
    return np.array([values[0], (values[1] - values[2]) / (2 * STEP)])


def displace_shape(sites: Atoms, calculator: Any) -> tuple[int, ...]:
    """Of what moves at a site: a number in the lattice models, a vector in crystals."""
    return () if hasattr(calculator, "sites") else (3,)


def report(name: str, mesh: str, sizes: Sequence[int], values: Sequence[np.ndarray]) -> None:
    errors = np.abs(np.array(values[:-1]) - values[-1])
    columns = "".join(f"{n:>6}: {a:.1e} {b:.1e}" for n, (a, b) in zip(sizes, errors, strict=False))
    print(
        f"{name:<8}{mesh:<7}{columns}   limit {values[-1][0]:.6f} {values[-1][1]:.6f}", flush=True
    )


def main() -> None:
    print("sites along a row: error of the entropy (k_B) and of its derivative (k_B per length)")
    for name, (factory, sizes, *region) in LATTICES.items():
        values = []
        for n in sizes:
            model = factory(n, gap=0.0)
            values.append(
                label_and_derivative(model.sites, model.displace, model, tuple(region), "gamma")
            )
        report(name, "Γ", sizes, values)
    sizes, *region = SILICON
    for mesh in ("gamma", "auto"):
        values = []
        for n in sizes:
            sites = bulk("Si", "diamond", a=5.431) * (n, n, n)

            def displace(field: np.ndarray, sites: Atoms = sites) -> Atoms:
                atoms = sites.copy()
                atoms.positions += field
                return atoms

            calculator = stillinger_weber_silicon()
            values.append(label_and_derivative(sites, displace, calculator, tuple(region), mesh))
        report("Si", mesh, sizes, values)


if __name__ == "__main__":
    main()
