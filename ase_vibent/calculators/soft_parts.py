"""Soft parts of the structures that a model with a floor is asked for."""

from __future__ import annotations

from ase import Atoms
from ase.calculators.calculator import compare_atoms

from ase_vibent.arrays import Array
from ase_vibent.crystal.bulk import InfiniteCrystal
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.harmonic.mesh import choose_mesh
from ase_vibent.harmonic.thermodynamics import Vibrations
from ase_vibent.hessian import SoftPart
from ase_vibent.model import SiteModel

#: Structures whose soft parts are kept: a defect and its crystal in two cells, and some more.
KEPT = 6


class SoftParts:
    """What the soft modes that a model leaves out add, found by force calls; see `soft_part`.

    Parameters
    ----------
    model : SiteModel
    calculator : ASE calculator or factory, or None
        Whose forces they are found with; None for a model without a floor.

    Raises
    ------
    InvalidInputError
        If the model and the calculator do not go together.
    """

    def __init__(self, model: SiteModel, calculator: object):
        if model.floor is None and calculator is not None:
            raise InvalidInputError(
                "soft_modes_of: the model leaves no soft modes out; it is for models trained on "
                "labels with a floor"
            )
        if model.floor is not None and calculator is None:
            raise InvalidInputError(
                f"soft_modes_of: the model leaves modes below {model.floor.value:g} eV/Å² out; "
                "pass the calculator whose forces find them (on the command line --calculator)"
            )
        self._floor, self._calculator = model.floor, calculator
        self._known: list[tuple[Atoms, int, SoftPart]] = []
        #: Force calls that all of them took.
        self.force_calls = 0

    def __bool__(self) -> bool:
        """Whether there are any to be found."""
        return self._floor is not None

    def of(self, atoms: Atoms, unstable: int = 0) -> SoftPart:
        """Soft part of a structure at rest.

        Parameters
        ----------
        atoms : Atoms
            All of which vibrate, as in the model, whatever constraints a relaxation has left.
        unstable : int
            How many unstable modes there must be.

        Returns
        -------
        SoftPart

        Raises
        ------
        UnstableStructureError
            If the number of unstable modes is another one.
        InvalidStructureError
            If it is periodic along no direction, as no label with a floor is.
        """
        assert self._floor is not None
        if choose_mesh(atoms) is None:
            raise InvalidStructureError(
                "atoms: periodic along no direction, and no label with a floor is of such a "
                "structure; set pbc, or take HessianEntropyCalculator"
            )
        known = self._known_of(atoms)
        if unstable in known:
            return known[unstable]
        bare = atoms.copy()
        bare.set_constraint()
        part = self._floor.soft_part(bare, self._calculator, unstable)
        self.force_calls += part.modes.force_calls
        self._known = [(bare, unstable, part), *self._known[: KEPT - 1]]
        return part

    def bulk_vibrations(self, crystal: Atoms, temperatures: Array) -> Vibrations:
        """See `EntropyCalculator.bulk_vibrations`: exact, where the potential is at hand anyway."""
        return InfiniteCrystal(crystal, self._calculator).vibrations(temperatures)

    def error(self, atoms: Atoms) -> float:
        """Estimated error of a structure's soft part, k_B: of the last time it was asked for."""
        known = list(self._known_of(atoms).values())
        return (known[0] if known else self.of(atoms)).error

    def _known_of(self, atoms: Atoms) -> dict[int, SoftPart]:
        """What is kept of a structure, by the number of unstable modes, the latest first."""
        same = [(n, part) for known, n, part in self._known if not compare_atoms(known, atoms)]
        return dict(same)
