"""Sublattice labels of structures from their perfect crystal."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent.errors import InvalidInputError
from ase_vibent.structures.symmetry import CrystalSymmetry
from ase_vibent.structures.wigner_seitz import wigner_seitz_defects

#: In `atoms.arrays`: label of every atom's sublattice.
SUBLATTICES = "sublattices"


def label_sublattices(
    atoms: Atoms, crystal: Atoms, *, by: str = "orbit", interstitials: str = "nearest"
) -> Atoms:
    """Copy of a structure whose `arrays["sublattices"]` hold labels, [Torabi2026] 4.1.

    Label once, before a run: the labels are part of the structure and follow its atoms,
    wherever they move, as masses do.

    Parameters
    ----------
    atoms : Atoms
        Rattled, strained or defective, in the crystal's orientation; the crystal itself too.
    crystal : Atoms
        Perfect crystal, a unit cell or a supercell. If it has labels of its own they are used.
    by : {"orbit", "site"}
        What makes a sublattice of an unlabelled crystal: sites that its symmetry operations
        map on each other share a label, or every site of the primitive cell has its own.
    interstitials : {"nearest", "own"}
        Atoms beyond the first in the Wigner-Seitz cell of a site: the label of this site,
        or one of their own, the largest of the crystal plus 1. Of several atoms in a cell
        the one closest to the site is no interstitial.

    Returns
    -------
    Atoms

    Raises
    ------
    InvalidInputError
        If `by` or `interstitials` is none of these.
    InvalidStructureError
        If no repetition of the crystal fits the structure's cell.
    """
    for name, value, choices in (
        ("by", by, ("orbit", "site")),
        ("interstitials", interstitials, ("nearest", "own")),
    ):
        if value not in choices:
            raise InvalidInputError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
    reference = crystal.copy()
    if not reference.has(SUBLATTICES):
        reference.set_array(SUBLATTICES, _of_crystal(crystal, by))
    found = wigner_seitz_defects(atoms, reference)
    of_sites = found.sites.arrays[SUBLATTICES]
    labels = of_sites[found.site_of_atom]
    if interstitials == "own":
        labels[found.surplus_atoms] = of_sites.max() + 1
    labelled: Atoms = atoms.copy()
    labelled.calc = atoms.calc
    labelled.set_array(SUBLATTICES, labels)
    return labelled


def _of_crystal(crystal: Atoms, by: str) -> NDArray[np.int64]:
    """Labels 0, 1, … in the order in which sublattices occur."""
    symmetry = CrystalSymmetry(crystal)
    of_atoms = symmetry.orbit_of_atom if by == "orbit" else symmetry.site_of_atom
    _, first, labels = np.unique(of_atoms, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[labels]
