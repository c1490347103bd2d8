"""Atom types: chemical species, and where asked the sublattice of the crystal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from ase_vibent.errors import InvalidInputError, InvalidStructureError, UnknownSpeciesError
from ase_vibent.structures.sublattices import SUBLATTICES

#: Stands for every species.
ANY = "*"


def check_species(species: Sequence[str] | str, name: str = "species") -> tuple[str, ...]:
    """Atom types: "Si", on one sublattice only "Si:1", of any species "*".

    Parameters
    ----------
    species : sequence of str
    name : str
        Of the argument, for messages.

    Returns
    -------
    tuple of str

    Raises
    ------
    InvalidInputError
        If one of them is none, or stands there twice.
    """
    atom_types = tuple([species] if isinstance(species, str) else species)
    if (
        not atom_types
        or len(set(atom_types)) < len(atom_types)
        or not all(map(_is_kind, atom_types))
    ):
        raise InvalidInputError(
            f"{name}: expected different chemical symbols, sublattices as 'Si:1', or '*', "
            f"got {list(atom_types)}"
        )
    return atom_types


def _is_kind(kind: str) -> bool:
    symbol, colon, label = kind.partition(":")
    known = symbol in atomic_numbers or symbol == ANY
    return known and (not colon or label.removeprefix("-").isdigit())


def bond_length(species: Sequence[str]) -> float:
    """Twice the mean covalent radius, Å.

    Parameters
    ----------
    species : sequence of str

    Returns
    -------
    float, Å

    Raises
    ------
    InvalidInputError
        If no species is named.
    """
    symbols = {kind.partition(":")[0] for kind in species} - {ANY}
    if not symbols:
        raise InvalidInputError("r0: expected a nearest-neighbour distance in Å beside species '*'")
    radii = [covalent_radii[atomic_numbers[s]] for s in sorted(symbols)]
    return round(float(2 * np.mean(radii)), 6)  # as it is to be printed


def resolves_sublattices(species: Sequence[str]) -> bool:
    """Whether any of the kinds is one of a sublattice."""
    return any(":" in kind for kind in species)


def species_indices(atoms: Atoms, species: Sequence[str]) -> NDArray[np.int64]:
    """Index of every atom's kind, the first that fits it.

    Parameters
    ----------
    atoms : Atoms
        Where sublattices are resolved, with their labels.
    species : sequence of str

    Returns
    -------
    ndarray of int64, shape (N,)

    Raises
    ------
    UnknownSpeciesError
        If an atom is of no kind.
    InvalidStructureError
        If sublattice labels are missing.
    """
    sublattices = None
    if resolves_sublattices(species):
        sublattices = atoms.arrays.get(SUBLATTICES)
        if sublattices is None:
            raise InvalidStructureError(
                f"atoms: the model resolves sublattices ({', '.join(species)}), but "
                f"atoms.arrays[{SUBLATTICES!r}] is missing; label the atoms with "
                "label_sublattices(atoms, crystal)"
            )
    indices = np.full(len(atoms), -1, dtype=np.int64)
    for index, kind in reversed(list(enumerate(species))):
        symbol, _, label = kind.partition(":")
        fits = (
            np.full(len(atoms), True) if symbol == ANY else atoms.numbers == atomic_numbers[symbol]
        )
        if label:
            fits &= sublattices == int(label)
        indices[fits] = index
    if np.any(indices < 0):
        raise UnknownSpeciesError(
            f"atoms: species {', '.join(_kinds_of(atoms, indices < 0, sublattices))} not among "
            f"those known ({', '.join(species)}); train on structures that hold them"
        )
    return indices


def kinds_of(atoms: Atoms, *, sublattices: bool) -> list[str]:
    """Atom types that occur in a structure, sorted."""
    labels = atoms.arrays.get(SUBLATTICES) if sublattices else None
    return _kinds_of(atoms, np.full(len(atoms), True), labels)


def _kinds_of(
    atoms: Atoms, chosen: NDArray[np.bool_], sublattices: NDArray[np.int64] | None
) -> list[str]:
    symbols = np.array(atoms.get_chemical_symbols())[chosen]
    if sublattices is None:
        return sorted(set(symbols.tolist()))
    return sorted({f"{s}:{l}" for s, l in zip(symbols, sublattices[chosen], strict=True)})
