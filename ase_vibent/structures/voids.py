"""Room for interstitial atoms: the voids of a perfect crystal, from its Voronoi cells."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.cell import Cell
from scipy.spatial import KDTree, Voronoi

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidInputError
from ase_vibent.structures.symmetry import SAME, CrystalSymmetry, PointDefect


def voids(crystal: Atoms, *, smallest: float = 0.8) -> tuple[Array, Array]:
    """Symmetry-inequivalent points far from all atoms.

    Maxima of the distance to the nearest atom, which are vertices of Voronoi cells, and
    its saddle points half-way between two atoms, such as the octahedral site of bcc.

    Parameters
    ----------
    crystal : Atoms
        Perfect, a unit cell or a supercell. Equivalent is what symmetry of this very cell
        maps on each other.
    smallest : float
        Least distance to the nearest atom, as a fraction of the largest void's. 0.8 keeps
        the tetrahedral and octahedral (in diamond, hexagonal) sites of fcc, hcp, bcc and
        diamond, and leaves out centres of bonds.

    Returns
    -------
    positions : ndarray, shape (n, 3), Å
    radii : ndarray, shape (n,), Å
        Distances to the nearest atom, largest first.

    Raises
    ------
    InvalidInputError
        If `smallest` lies outside (0, 1].
    """
    if not 0 < smallest <= 1:
        raise InvalidInputError(f"smallest: expected a number in (0, 1], got {smallest!r}")
    symmetry = CrystalSymmetry(crystal)
    candidates, radii = _critical_points(crystal.positions[symmetry.basis], symmetry.primitive)
    order = np.lexsort((*candidates.T.round(3), -radii.round(6)))
    wide = [k for k in order if radii[k] >= (smallest - 1e-6) * radii.max()]
    points = [PointDefect("void", numbers=(0,), positions=candidates[[k]]) for k in wide]
    kept = {id(point) for point in symmetry.inequivalent(points)}
    chosen = [k for k, point in zip(wide, points, strict=True) if id(point) in kept]
    return candidates[chosen], radii[chosen]


def _critical_points(basis: Array, lattice: Array) -> tuple[Array, Array]:
    """Critical points of the distance to the atoms in one cell, and that distance."""
    heights = 1 / Cell(lattice).reciprocal().lengths()
    # No point is farther from an atom than half the sum of the vectors' lengths, and the
    # Voronoi cells of one unit cell feel the atoms within twice that.
    reach = np.ceil(np.linalg.norm(lattice, axis=1).sum() / heights).astype(int) + 1
    images = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach)), axis=-1).reshape(-1, 3)
    atoms = (basis[:, None] + images @ lattice).reshape(-1, 3)
    voronoi = Voronoi(atoms)
    pairs = atoms[voronoi.ridge_points]
    points = np.concatenate([voronoi.vertices, pairs.mean(axis=1)])
    bounds = np.concatenate(
        [
            np.full(len(voronoi.vertices), np.inf),
            np.linalg.norm(pairs[:, 0] - pairs[:, 1], axis=1) / 2,
        ]
    )
    scaled = np.linalg.solve(lattice.T, (points - basis[0]).T).T
    inside = np.all((scaled > -1e-3) & (scaled < 1 - 1e-3), axis=1)
    distances = np.asarray(KDTree(atoms).query(points[inside])[0])
    # Half-way points count only where no third atom is closer.
    critical = (distances > SAME) & (np.isinf(bounds[inside]) | (distances > bounds[inside] - 1e-6))
    return points[inside][critical], distances[critical]
