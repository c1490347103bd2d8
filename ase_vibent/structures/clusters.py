"""Small clusters of point defects, drawn at random."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.geometry import get_distances

from ase_vibent.arrays import Array
from ase_vibent.checks import check_positive
from ase_vibent.errors import InvalidInputError
from ase_vibent.structures.displacements import CLOSEST, nearest_distance
from ase_vibent.structures.point_defects import SPLITTING, require_compound
from ase_vibent.structures.symmetry import PointDefect
from ase_vibent.structures.validity import check_crystal


def clusters(
    crystal: Atoms,
    kind: str,
    size: int,
    count: int,
    rng: np.random.Generator | int = 0,
    *,
    reach: float | None = None,
) -> list[Atoms]:
    """Crystal with several point defects next to each other, such as I2 to I4 and V4.

    [Lapointe2020] IV.A.

    Sites grow from a random one, each new one a neighbour of one before. On every site, a
    vacancy, a dumbbell in a random direction, or an atom of another species. Draws may
    repeat each other: relax, then `unique`.

    Parameters
    ----------
    crystal : Atoms
        Perfect, a supercell wide enough for the cluster.
    kind : {"vacancy", "interstitial", "antisite"}
    size : int
        Number of defects.
    count : int
        Number of structures.
    rng : Generator or seed
    reach : float, Å, optional
        Greatest distance of neighbours; by default 1.2 nearest-neighbour distances, which
        is the first shell in most crystals, and the second too in bcc.

    Returns
    -------
    list of Atoms

    Raises
    ------
    InvalidInputError
        If kind or numbers are wrong, or so many sites are not connected.
    """
    check_crystal(crystal)
    if kind not in ("vacancy", "interstitial", "antisite"):
        raise InvalidInputError(
            f"kind: expected 'vacancy', 'interstitial' or 'antisite', got {kind!r}"
        )
    if not 1 <= size < len(crystal):
        raise InvalidInputError(
            f"size: expected a number from 1 to {len(crystal) - 1}, got {size!r}"
        )
    if kind == "antisite":
        require_compound(crystal)
    rng = np.random.default_rng(rng)
    spacing = nearest_distance(crystal)
    reach = 1.2 * spacing if reach is None else reach
    check_positive("reach", reach)
    draw = {"vacancy": _vacancies, "interstitial": _dumbbells, "antisite": _antisites}[kind]
    return [
        draw(crystal, _connected_sites(crystal, size, reach, rng), spacing, rng).in_crystal(crystal)
        for _ in range(count)
    ]


def _connected_sites(
    crystal: Atoms, size: int, reach: float, rng: np.random.Generator
) -> list[int]:
    everywhere = np.arange(len(crystal))
    sites = [int(rng.integers(len(crystal)))]
    near: set[int] = set()
    while len(sites) < size:
        distances = crystal.get_distances(sites[-1], everywhere, mic=True)
        near |= set(np.flatnonzero(distances <= reach * (1 + 1e-6)).tolist())
        frontier = sorted(near - set(sites))
        if not frontier:
            raise InvalidInputError(
                f"size: only {len(sites)} sites are connected to atom {sites[0]}; raise reach"
            )
        sites.append(frontier[rng.integers(len(frontier))])
    return sites


def _vacancies(
    crystal: Atoms, sites: list[int], spacing: float, rng: np.random.Generator
) -> PointDefect:
    return PointDefect(f"V{len(sites)} cluster", tuple(sites))


def _antisites(
    crystal: Atoms, sites: list[int], spacing: float, rng: np.random.Generator
) -> PointDefect:
    species = sorted({int(number) for number in crystal.numbers})
    numbers = [
        int(rng.choice([z for z in species if z != crystal.numbers[site]])) for site in sites
    ]
    name = f"A{len(sites)} cluster"
    return PointDefect(name, tuple(sites), tuple(numbers), crystal.positions[sites])


def _dumbbells(
    crystal: Atoms, sites: list[int], spacing: float, rng: np.random.Generator
) -> PointDefect:
    """On every site the atom itself and one of a species of the crystal."""
    added = [int(rng.choice(crystal.numbers)) for _ in sites]
    numbers = [int(z) for pair in zip(crystal.numbers[sites], added, strict=True) for z in pair]
    rest = np.delete(crystal.positions, sites, axis=0)
    for _ in range(1000):
        axes = rng.normal(size=(len(sites), 3))
        axes *= SPLITTING / 2 * spacing / np.linalg.norm(axes, axis=1)[:, None]
        ends = crystal.positions[sites][:, None] + np.stack([axes, -axes], axis=1)
        positions = ends.reshape(-1, 3)
        if _closest(crystal, positions, rest) >= CLOSEST * spacing:
            name = f"I{len(sites)} cluster"
            return PointDefect(name, tuple(sites), tuple(numbers), positions)
    raise InvalidInputError(
        f"size: no room for {len(sites)} dumbbells next to each other; raise reach"
    )


def _closest(crystal: Atoms, positions: Array, others: Array) -> float:
    """Smallest distance between positions, and of them to others."""
    cell, pbc = crystal.cell, crystal.pbc
    within = get_distances(positions, cell=cell, pbc=pbc)[1][~np.eye(len(positions), dtype=bool)]
    across = get_distances(positions, others, cell=cell, pbc=pbc)[1]
    return float(min(within.min(), across.min(initial=np.inf)))
