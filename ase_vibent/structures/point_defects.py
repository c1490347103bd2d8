"""Single point defects of a perfect crystal, one structure per symmetry-inequivalent choice."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidInputError
from ase_vibent.structures.displacements import nearest_distance
from ase_vibent.structures.symmetry import SAME, CrystalSymmetry, PointDefect
from ase_vibent.structures.voids import voids

#: Distance of the atoms of a dumbbell, in units of the nearest-neighbour distance.
SPLITTING = 0.8


def vacancies(crystal: Atoms) -> list[Atoms]:
    """Crystal with one atom missing.

    Parameters
    ----------
    crystal : Atoms
        Perfect, a supercell wide enough for the defect.

    Returns
    -------
    list of Atoms
        One per inequivalent site.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase_vibent.structures import vacancies
    >>> crystal = bulk("NaCl", "rocksalt", a=5.64) * 2
    >>> [atoms.get_chemical_formula() for atoms in vacancies(crystal)]
    ['Cl8Na7', 'Cl7Na8']
    """
    symmetry = CrystalSymmetry(crystal)
    return _structures(
        symmetry,
        [PointDefect(f"{crystal[i].symbol} vacancy", (int(i),)) for i in symmetry.sites],
    )


def divacancies(crystal: Atoms, shell: int = 1) -> list[Atoms]:
    """Crystal with two atoms missing that are neighbours of a given shell.

    Parameters
    ----------
    crystal : Atoms
    shell : int
        1 for nearest neighbours; shells of every atom are counted by distance.

    Returns
    -------
    list of Atoms
        One per inequivalent pair.

    Raises
    ------
    InvalidInputError
        If the cell is too small for that shell: pairs would meet their own images.
    """
    if shell < 1:
        raise InvalidInputError(f"shell: expected a number from 1 on, got {shell!r}")
    symmetry = CrystalSymmetry(crystal)
    pairs = []
    for site in symmetry.sites:
        for neighbour in _shell(crystal, int(site), shell):
            symbols = "-".join(crystal.symbols[[site, neighbour]])
            pairs.append(PointDefect(f"{symbols} divacancy", (int(site), int(neighbour))))
    return _structures(symmetry, pairs)


def interstitials(
    crystal: Atoms, species: Sequence[str] | None = None, *, smallest: float = 0.8
) -> list[Atoms]:
    """Crystal with one more atom, in a void.

    Parameters
    ----------
    crystal : Atoms
    species : sequence of str, optional
        Chemical symbols of atoms put in; by default all of the crystal.
    smallest : float
        As in `voids`.

    Returns
    -------
    list of Atoms
        One per species and inequivalent void, widest void first; `info["void_radius"]`
        is its distance to the nearest atom in Å.
    """
    made = []
    for position, radius in zip(*voids(crystal, smallest=smallest), strict=True):
        for number in _numbers(crystal, species):
            kind = f"{chemical_symbols[number]} interstitial"
            atoms = PointDefect(kind, (), (number,), position[None]).in_crystal(crystal)
            atoms.info["void_radius"] = float(radius)
            made.append(atoms)
    return made


def dumbbells(
    crystal: Atoms,
    directions: Sequence[Sequence[int]] = ((1, 0, 0), (1, 1, 0), (1, 1, 1)),
    species: Sequence[str] | None = None,
) -> list[Atoms]:
    """Crystal with two atoms on one site: split interstitials.

    Parameters
    ----------
    crystal : Atoms
    directions : sequence of (int, int, int)
        [u v w] in terms of the conventional cell; in a cell of lower symmetry than the
        crystal's, give every direction that is wanted.
    species : sequence of str, optional
        Chemical symbols of the atom added to the site's own; by default all of the crystal.

    Returns
    -------
    list of Atoms
        One per inequivalent site, direction, species and order of the two atoms, which are
        0.8 nearest-neighbour distances apart.
    """
    symmetry = CrystalSymmetry(crystal)
    half = SPLITTING / 2 * nearest_distance(crystal)
    defects = []
    for direction in directions:
        axis = _unit_vector(direction, symmetry.conventional)
        title = "".join(map(str, direction))
        for site in symmetry.sites:
            # Where the two differ, it matters which of them is at which end.
            for number, sign in itertools.product(_numbers(crystal, species), (1, -1)):
                pair = crystal.positions[site] + sign * np.array([half * axis, -half * axis])
                numbers = (int(crystal.numbers[site]), number)
                kind = f"{'-'.join(chemical_symbols[z] for z in numbers)} dumbbell <{title}>"
                defects.append(PointDefect(kind, (int(site),), numbers, pair))
    return _structures(symmetry, defects)


def antisites(crystal: Atoms) -> list[Atoms]:
    """Compound with one atom replaced by another species of the crystal.

    Parameters
    ----------
    crystal : Atoms

    Returns
    -------
    list of Atoms
        One per inequivalent site and other species.

    Raises
    ------
    InvalidInputError
        If the crystal has one species only.
    """
    symmetry = CrystalSymmetry(crystal)
    require_compound(crystal)
    defects = [
        PointDefect(
            f"{chemical_symbols[number]} on {crystal[site].symbol} antisite",
            (int(site),),
            (number,),
            crystal.positions[[site]],
        )
        for site in symmetry.sites
        for number in _numbers(crystal, None)
        if number != crystal.numbers[site]
    ]
    return _structures(symmetry, defects)


def require_compound(crystal: Atoms) -> None:
    """Raise InvalidInputError unless a crystal has two species or more."""
    if len(set(crystal.numbers)) < 2:
        raise InvalidInputError(
            f"crystal: antisites need two species, got {crystal.get_chemical_formula()} only"
        )


def _structures(symmetry: CrystalSymmetry, defects: Sequence[PointDefect]) -> list[Atoms]:
    return [defect.in_crystal(symmetry.crystal) for defect in symmetry.inequivalent(defects)]


def _numbers(crystal: Atoms, species: Sequence[str] | None) -> list[int]:
    """Atomic numbers of species, by default of those in the crystal."""
    if species is None:
        return sorted({int(number) for number in crystal.numbers})
    unknown = [symbol for symbol in species if not atomic_numbers.get(symbol)]  # nor the dummy X
    if unknown:
        raise InvalidInputError(f"species: {unknown[0]!r} is no chemical symbol")
    return [atomic_numbers[symbol] for symbol in species]


def _unit_vector(direction: Sequence[int], conventional: Array) -> Array:
    vector = np.asarray(direction, dtype=float)
    if vector.shape != (3,) or not np.linalg.norm(vector) > 0:
        raise InvalidInputError(
            f"directions: expected three numbers, not all zero, got {direction!r}"
        )
    cartesian = vector @ conventional
    return np.asarray(cartesian / np.linalg.norm(cartesian))


def _shell(crystal: Atoms, site: int, shell: int) -> NDArray[np.intp]:
    """Atoms in the n-th shell of neighbours around a site."""
    import vesin

    cutoff = nearest_distance(crystal)
    while True:
        cutoff *= 1.3
        centres, neighbours, distances = vesin.NeighborList(cutoff=cutoff, full_list=True).compute(
            points=crystal.positions, box=crystal.cell.array, periodic=True, quantities="ijd"
        )
        around = centres == site
        ordered = np.sort(distances[around])
        # A shell ends where the next distance is clearly longer; the last may be cut off.
        ends = ordered[:-1][np.diff(ordered) > SAME]
        if len(ends) >= shell:
            break
    start = ends[shell - 2] + SAME / 2 if shell > 1 else 0.0
    chosen = around & (distances > start) & (distances < ends[shell - 1] + SAME / 2)
    found = neighbours[chosen].astype(np.intp)
    if len(set(found)) < len(found) or site in found:
        raise InvalidInputError(
            f"crystal: shell {shell} of atom {site} reaches its own or others' images "
            f"({ends[shell - 1]:.3f} Å); use a larger supercell"
        )
    return found
