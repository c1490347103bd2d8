"""A defect taken out of its cell and put into a larger one."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.geometry import find_mic

from ase_vibent.arrays import Array, IntArray
from ase_vibent.errors import InvalidStructureError
from ase_vibent.structures.cells import repeated, repeats_to
from ase_vibent.structures.validity import check_crystal, strip_labels
from ase_vibent.structures.wigner_seitz import SiteOccupation, nearest_sites, wigner_seitz_defects

#: Sites of two supercells of one crystal agree to this, Å.
SAME_SITE = 0.05


def embed(defect: Atoms, crystal: Atoms, larger: Atoms) -> Atoms:
    """A defect with the atoms around it, as far as its cell reaches, in a larger supercell.

    Every atom keeps its displacement from its site of the perfect crystal.

    Parameters
    ----------
    defect : Atoms
    crystal : Atoms
        Perfect crystal of the defect's cell.
    larger : Atoms
        Perfect crystal in a wider supercell, in the same orientation and at the same strain.

    Returns
    -------
    Atoms
        Unrelaxed; atoms of the larger crystal first.

    Raises
    ------
    InvalidStructureError
        If the larger cell does not hold the smaller one, or its sites are others.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase_vibent.structures import embed, vacancies
    >>> crystal = bulk("Cu", cubic=True) * (2, 2, 2)
    >>> len(embed(vacancies(crystal)[0], crystal, crystal * (2, 2, 2)))
    255
    """
    check_crystal(larger)
    found = wigner_seitz_defects(defect, crystal)
    sites = repeated(crystal, repeats_to(crystal, defect))
    centre = _centre(found)
    around = find_mic(sites.positions - sites.positions[centre], sites.cell)[0]
    places = _shift(sites, larger) + sites.positions[centre] + around
    taken, distances = nearest_sites(places, larger)
    fits = np.linalg.norm(distances, axis=1).max() < SAME_SITE
    fits = fits and np.array_equal(larger.numbers[taken], sites.numbers)
    if not fits or len(set(taken.tolist())) < len(sites):
        raise InvalidStructureError(
            f"cell: {larger.get_chemical_formula()} does not hold the sites of "
            f"{sites.get_chemical_formula()}; expected a wider supercell of the same crystal, in "
            "the same orientation and at the same strain"
        )
    own = strip_labels(defect)
    own.set_constraint()
    own.positions = places[found.site_of_atom] + found.vectors
    rest = strip_labels(larger)
    rest.set_constraint()
    del rest[taken]
    rest.extend(own)
    return rest


def is_perfect(atoms: Atoms, crystal: Atoms) -> bool:
    """Whether every atom is on its own site of the crystal, displaced or not.

    Parameters
    ----------
    atoms, crystal : Atoms

    Returns
    -------
    bool
    """
    return not len(wigner_seitz_defects(atoms, crystal).odd_sites)


def _centre(found: SiteOccupation) -> int:
    """The site, of those that are not as in the crystal, that is closest to all of them."""
    chosen = found.odd_sites
    if not len(chosen):
        raise InvalidStructureError("defect: every atom is on its site of the crystal; it is none")
    spread = [found.sites.get_distances(site, chosen, mic=True).sum() for site in chosen]
    return int(chosen[np.argmin(spread)])


def _shift(sites: Atoms, larger: Atoms) -> Array:
    """Translation that brings the sites of a crystal onto those of a larger supercell."""
    best, least = np.zeros(3), np.inf
    same: IntArray = np.flatnonzero(larger.numbers == sites.numbers[0])
    origins = larger.positions[same] - sites.positions[0]
    for shift in (np.zeros(3), *origins[np.argsort(np.linalg.norm(origins, axis=1))]):
        nearest, vectors = nearest_sites(sites.positions + shift, larger)
        off = np.linalg.norm(vectors, axis=1).max()
        if off < least and np.array_equal(larger.numbers[nearest], sites.numbers):
            best, least = shift, off
        if least < SAME_SITE:
            break
    return best
