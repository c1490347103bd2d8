"""What one rank of LAMMPS holds: its own atoms and ghosts, as a structure of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from ase_vibent.arrays import Array, IntArray
from ase_vibent.calculators.surrogate import classical_sites
from ase_vibent.errors import (
    CalculatorError,
    CoincidentAtomsError,
    InvalidInputError,
    InvalidStructureError,
    did_you_mean,
)
from ase_vibent.harmonic.modes import check_masses
from ase_vibent.harmonic.thermodynamics import SiteThermodynamics
from ase_vibent.lammps.ranks import Ghosts, Ranks
from ase_vibent.model import SiteModel
from ase_vibent.neighbours.lists import NeighbourList, NeighbourLists
from ase_vibent.structures.atom_types import ANY
from ase_vibent.structures.sublattices import SUBLATTICES


class AtomTypes:
    """Elements, or sublattices, of LAMMPS' atom types.

    Parameters
    ----------
    elements : sequence of str
        As in `pair_coeff`: a chemical symbol for every type, from type 1 on; for a model that
        resolves sublattices with the label, as "Cd:1".
    known : sequence of str
        Kinds of sites of the model.
    n_types : int
        LAMMPS' number of types.

    Raises
    ------
    InvalidInputError
        If they are not as many, or the model does not know one.
    """

    def __init__(self, elements: Sequence[str], known: Sequence[str], n_types: int):
        named = [elements] if isinstance(elements, str) else list(elements)
        if len(named) != n_types:
            raise InvalidInputError(
                f"elements: expected one for each of LAMMPS' {n_types} atom types, got "
                f"{len(named)} ({' '.join(map(str, named))})"
            )
        for number, kind in enumerate(named, start=1):
            symbol, _, label = str(kind).partition(":")
            fitting = {kind, f"{ANY}:{label}" if label else ANY}
            if symbol not in atomic_numbers or fitting.isdisjoint(known):
                raise InvalidInputError(
                    f"elements: atom type {number} is said to be {kind!r}; the model knows "
                    f"{', '.join(known)}{did_you_mean(str(kind), known)}"
                )
        parts = [str(kind).partition(":") for kind in named]
        # LAMMPS counts types from 1.
        self.numbers = np.array([0, *(atomic_numbers[symbol] for symbol, _, _ in parts)])
        self.labels = np.array([0, *(int(label or 0) for _, _, label in parts)])
        self.labelled = any(label for _, _, label in parts)

    def mixes_masses(self, masses: Array) -> bool:
        """Whether atoms of one element have several masses, by type from type 0 on."""
        return any(np.ptp(masses[self.numbers == number]) > 0 for number in self.numbers[1:])


class Domain:
    """The atoms of one rank of a LAMMPS, and their neighbours: followed from step to step.

    Parameters
    ----------
    engine : lammps.lammps
    ranks : Ranks
    types : AtomTypes
    """

    def __init__(self, engine: Any, ranks: Ranks, types: AtomTypes):
        self._engine, self._ranks, self._types = engine, ranks, types
        self._tags = self._of_types = np.empty(0, dtype=np.int64)
        self.n_atoms = -1
        self.atoms = Atoms()
        self.lists = NeighbourLists()
        self.ghosts: Ghosts

    @property
    def tags(self) -> IntArray:
        """IDs of the rank's own atoms."""
        return self._tags[: self.n_atoms]

    def update(self) -> bool:
        """Follow LAMMPS to its present positions; together on all ranks.

        Returns
        -------
        bool
            Whether neighbours have to be found anew: ranks do that all at once, so that it can be
            checked whether their ghosts are complete.
        """
        extract = self._engine.numpy.extract_atom
        n_atoms = self._engine.extract_setting("nlocal")
        n_all = self._engine.extract_setting("nall")
        tags, types = extract("id")[:n_all], extract("type")[:n_all]
        positions = extract("x")[:n_all]
        same = (
            n_atoms == self.n_atoms
            and np.array_equal(tags, self._tags)
            and np.array_equal(types, self._of_types)
        )
        if same:
            self.atoms.positions[:] = positions
        moved = self._ranks.any(not (same and self._list_serves()))
        if moved:
            self.n_atoms = n_atoms
            self._tags, self._of_types = tags.astype(np.int64), types.astype(np.int64)
            self.atoms = Atoms(numbers=self._types.numbers[types], positions=positions)
            if self._types.labelled:
                self.atoms.set_array(SUBLATTICES, self._types.labels[types])
            self.lists = NeighbourLists(most_lists=1, n_centres=n_atoms)
            self.ghosts = Ghosts(self._ranks, self._tags, n_atoms)
        self._update_masses()
        return moved

    def _list_serves(self) -> bool:
        near = self.lists.latest
        return (near is not None and near.serves(self.atoms)) or self.n_atoms == 0

    def _update_masses(self) -> None:
        """Masses of the rank's own atoms; those of ghosts matter only where types have theirs."""
        own, masses = self._engine.numpy.extract_atom("rmass"), np.ones(len(self.atoms))
        if own is not None:
            masses[: self.n_atoms] = own[: self.n_atoms]
        else:
            masses = self._engine.numpy.extract_atom("mass")[self._of_types]
        self.atoms.set_masses(masses)

    def evaluate(
        self, model: SiteModel, temperature: float, *, quantum: bool
    ) -> SiteThermodynamics:
        """Values of the rank's own sites; gradients of their sum, on ghosts too.

        Parameters
        ----------
        model : SiteModel
        temperature : float, K
        quantum : bool

        Returns
        -------
        SiteThermodynamics

        Raises
        ------
        VibentError
            Whatever makes an evaluation impossible.
        """
        self._check_ids()
        if quantum:
            self._check_own_masses()
        n = self.n_atoms
        if n == 0:
            none, forces, strain = np.empty(0), np.zeros((len(self.atoms), 3)), np.zeros((3, 3))
            return SiteThermodynamics(none, none, forces, forces, strain, strain)
        try:
            sums = model.evaluate(self.atoms, lists=self.lists)
        except CoincidentAtomsError as error:
            one, other = sorted(self._tags[list(error.pair)])
            raise InvalidStructureError(
                f"atoms: those of the IDs {one} and {other} sit on one spot"
            ) from error
        if quantum:
            values = model.quantum_sites(self.atoms, sums, temperature, lists=self.lists)
        else:
            values = classical_sites(sums, check_masses(self.atoms), temperature)
        entropies, free_energies = values.entropies[:n], values.free_energies[:n]
        if not np.isfinite(free_energies.sum()):
            raise CalculatorError("model: its site entropies are no numbers here")
        return replace(values, entropies=entropies, free_energies=free_energies)

    def extrapolation_grades(self, model: SiteModel) -> Array:
        """Of the rank's own atoms."""
        if self.n_atoms == 0:
            return np.empty(0)
        return model.extrapolation_grades(self.atoms, lists=self.lists)[: self.n_atoms]

    def _check_own_masses(self) -> None:
        """Raise unless all atoms of an element have one mass, as means over ranks need."""
        masses = self._engine.numpy.extract_atom("mass")
        if self._engine.numpy.extract_atom("rmass") is not None or self._types.mixes_masses(masses):
            raise InvalidInputError(
                "quantum: under LAMMPS all atoms of an element need one mass; give its types the "
                "same, or take quantum=False"
            )

    def _check_ids(self) -> None:
        """Raise where ghosts cannot be told whose images they are."""
        if self.ghosts.n_lost or (len(self._tags) and self._tags.min() < 1):
            raise InvalidStructureError(
                "atoms: LAMMPS' atoms need IDs of their own; leave out 'atom_modify id no'"
            )

    def missing_ghosts(self) -> bool:
        """Whether an atom is a neighbour of more or fewer atoms than it has neighbours.

        On whichever rank they are; then some rank lacks ghosts. To be asked on all ranks, when
        neighbours have been found anew.
        """
        near = self.lists.latest if self.n_atoms else None
        n_all = len(self.atoms)
        counts = np.zeros((n_all, 1))
        if near is not None:
            for chunk in near.chunks:
                has = np.diff(chunk.offsets[:, [0, -1]], axis=1)
                counts[near.owners[chunk.centres]] -= has
                counts[:, 0] += np.bincount(near.owners[chunk.candidates], minlength=n_all)
        odd = self.ghosts.fold(counts)[:, 0] != 0
        if not self._ranks.any(bool(odd.any())):
            return False
        # Rounding may put pairs just inside of the reach here, and just outside there.
        weights = np.zeros((n_all, 1))
        if near is not None:
            _weigh(near, self.atoms.positions, weights[:, 0])
        uneven = np.abs(self.ghosts.fold(weights)) > 1e-6
        return self._ranks.any(bool(uneven.any()))


def _weigh(near: NeighbourList, positions: Array, weights: Array) -> None:
    """As counts of neighbours, but that their weight falls to zero at the end of the reach."""
    reach = near.cutoff + near.skin
    for chunk in near.chunks:
        has = chunk.offsets[:, -1] - chunk.offsets[:, 0]
        centres = np.repeat(near.owners[chunk.centres], has)
        others = near.owners[chunk.candidates]
        distances = np.linalg.norm(positions[others] - positions[centres], axis=1)
        pairs = np.maximum(reach - distances, 0.0)
        weights += np.bincount(others, weights=pairs, minlength=len(weights))
        weights -= np.bincount(centres, weights=pairs, minlength=len(weights))
