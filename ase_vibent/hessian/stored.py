"""Hessians that were computed elsewhere, each with the structure that it belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from ase import Atoms
from ase.geometry import find_mic

from ase_vibent.arrays import Array, IntArray, coordinates
from ase_vibent.errors import InvalidStructureError
from ase_vibent.harmonic.spectrum import as_dense
from ase_vibent.hessian.matrices import Matrix, net_force
from ase_vibent.structures.cells import same_cell
from ase_vibent.structures.validity import free_atoms

#: Å: an atom this close to the place of another one is that one.
SAME_PLACE = 1e-3


@dataclass(frozen=True)
class Polarity:
    """What long-wavelength vibrations of a polar crystal take, beside its force constants.

    Attributes
    ----------
    charges : ndarray, shape (N, 3, 3), e
        Born effective charges of all atoms; rows along the field, columns along the displacement.
    dielectric : ndarray, shape (3, 3)
        High-frequency dielectric constant.
    """

    charges: Array
    dielectric: Array


@dataclass(frozen=True)
class StoredHessian:
    """Second derivatives of the energy of one structure, as read from a file.

    Attributes
    ----------
    atoms : Atoms
        All atoms of the cell that the Hessian is of, a supercell as a rule. Atoms under FixAtoms
        are not in it.
    matrix : ndarray or csr_array, shape (3n, 3n), eV/Å²
        Of the n free atoms, rows ordered x1 y1 z1 x2 …
    origin : str
        Format and file.
    polarity : Polarity or None
        Where the file, or another beside it, tells Born charges.
    images_error : float, k_B
        Of the reduced entropy, estimated: what is unknown beyond the cell that it was taken from.
    """

    atoms: Atoms
    matrix: Matrix = field(repr=False)
    origin: str = ""
    polarity: Polarity | None = field(default=None, repr=False)
    images_error: float = 0.0

    @property
    def sum_rule_violation(self) -> float:
        """Largest force that a translation of all atoms costs, eV/Å²; it should be none.

        NaN where atoms are fixed, which then hold the others.
        """
        if len(free_atoms(self.atoms)) < len(self.atoms):
            return float("nan")
        return net_force(self.matrix)

    @property
    def fingerprint(self) -> bytes:
        """Digest of the numbers of the matrix."""
        return hashlib.sha256(np.ascontiguousarray(as_dense(self.matrix)).tobytes()).digest()

    def places(self, atoms: Atoms) -> IntArray | None:
        """Which of its atoms every atom of a structure is, shape (N,); None if it is another.

        Parameters
        ----------
        atoms : Atoms
            Perhaps in another order, or with atoms in other images of the cell.
        """
        own = self.atoms
        if len(atoms) != len(own) or not same_cell(atoms, own):
            return None
        if np.array_equal(atoms.numbers, own.numbers):
            _, distances = find_mic(atoms.positions - own.positions, own.cell, own.pbc)
            if distances.max() < SAME_PLACE:
                return np.arange(len(atoms))
        order = np.empty(len(atoms), dtype=np.int64)
        for k, position in enumerate(atoms.positions):
            _, distances = find_mic(own.positions - position, own.cell, own.pbc)
            order[k] = int(distances.argmin())
            if distances.min() >= SAME_PLACE or own.numbers[order[k]] != atoms.numbers[k]:
                return None
        return order if len(np.unique(order)) == len(order) else None

    def holds(self, atoms: Atoms) -> bool:
        """Whether it is the Hessian of a structure.

        Parameters
        ----------
        atoms : Atoms
        """
        return self.places(atoms) is not None

    def of(self, atoms: Atoms) -> Matrix:
        """Hessian in the order of a structure's atoms.

        Parameters
        ----------
        atoms : Atoms

        Returns
        -------
        ndarray or csr_array, shape (3n, 3n), eV/Å²
            Of its own free atoms.

        Raises
        ------
        InvalidStructureError
            If it belongs to another structure.
        """
        places = self.places(atoms)
        if places is None:
            raise InvalidStructureError(_difference(atoms, self))
        if np.array_equal(places, np.arange(len(places))):
            return self.matrix
        free = free_atoms(self.atoms)
        rank = np.full(len(places), -1)
        rank[free] = np.arange(len(free))
        chosen = rank[places][rank[places] >= 0]
        rows = coordinates(chosen)
        return self.matrix[rows][:, rows]

    def reordered(self, atoms: Atoms) -> StoredHessian:
        """The same with the atoms of a structure, its order and whatever it says of them.

        Parameters
        ----------
        atoms : Atoms

        Raises
        ------
        InvalidStructureError
            If it belongs to another structure.
        """
        matrix, polarity = self.of(atoms), self.polarity
        places = self.places(atoms)
        if polarity is not None:
            polarity = replace(polarity, charges=polarity.charges[places])
        return replace(self, atoms=atoms.copy(), matrix=matrix, polarity=polarity)


class StoredHessians:
    """Function (atoms) -> Hessian that knows some structures.

    Parameters
    ----------
    hessians : sequence of StoredHessian
    """

    def __init__(self, hessians: Sequence[StoredHessian]):
        self.hessians = list(hessians)

    def find(self, atoms: Atoms) -> StoredHessian | None:
        """That of a structure, if it is among them.

        Parameters
        ----------
        atoms : Atoms
        """
        return next((stored for stored in self.hessians if stored.holds(atoms)), None)

    def __call__(self, atoms: Atoms) -> Matrix:
        """Hessian of a structure, InvalidStructureError if there is none."""
        found = self.find(atoms)
        if found is not None:
            return found.of(atoms)
        raise InvalidStructureError(
            "; ".join(_difference(atoms, stored) for stored in self.hessians)
        )


def _difference(atoms: Atoms, stored: StoredHessian) -> str:
    """What tells a structure from that of a Hessian."""
    own, name = stored.atoms, stored.origin or "hessian"
    if len(atoms) != len(own):
        return f"{name}: it is of {len(own)} atoms ({own.symbols}), the structure has {len(atoms)}"
    if sorted(atoms.numbers) != sorted(own.numbers):
        return f"{name}: it is of {own.symbols}, the structure is {atoms.symbols}"
    if not same_cell(atoms, own):
        return (
            f"{name}: its cell {np.round(own.cell.cellpar(), 4).tolist()} is not the structure's, "
            f"{np.round(atoms.cell.cellpar(), 4).tolist()}"
        )
    nearest = [
        find_mic(own.positions[own.numbers == z] - x, own.cell, own.pbc)[1].min()
        for z, x in zip(atoms.numbers, atoms.positions, strict=True)
    ]
    worst = int(np.argmax(nearest))
    return (
        f"{name}: atom {worst} ({atoms.symbols[worst]}) of the structure stands "
        f"{nearest[worst]:.3g} Å from the nearest such atom of the Hessian's; both must be one "
        "structure, at rest in the same places"
    )
