"""What the calculators of site models share: the model, its uncertainties, and extrapolation."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_changes

from ase_vibent import pretrained
from ase_vibent.arrays import Array
from ase_vibent.calculators.base import StrictCalculator
from ase_vibent.checks import check_choice
from ase_vibent.errors import ExtrapolationError, ExtrapolationWarning, InvalidInputError
from ase_vibent.model import Prediction, SiteModel
from ase_vibent.neighbours.lists import NeighbourLists
from ase_vibent.quantities import Target
from ase_vibent.structures.atom_types import resolves_sublattices
from ase_vibent.structures.sublattices import SUBLATTICES

#: What to do about atoms that are unlike those of the training set.
Policy = Literal["warn", "raise", "ignore"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
#: Extrapolation grade from which an environment counts as unlike those of the training set: some
#: 1 % of cells of kinds that were in training exceed it, all of unseen defects
#: (benchmarks/uncertainty.py).
EXTRAPOLATION_LIMIT = 2.0


class SiteModelCalculator(StrictCalculator):
    """Base class of the calculators whose values come from a trained site model.

    Parameters
    ----------
    model : SiteModel or path
        A trained model or its coefficient file.
    **parameters
        Of the calculator, `extrapolation` among them.

    Raises
    ------
    InvalidInputError
        If a parameter is out of range, or the model predicts something else.
    ModelFileError
        If the file is none of ours.
    """

    #: What the model has to predict.
    target: ClassVar[Target]

    def __init__(self, model: SiteModel | str | os.PathLike[str], **parameters: Any):
        # Trajectories and databases keep parameters: a path they can hold, an object not.
        source = "in memory"
        if not isinstance(model, SiteModel):
            source, model = os.fspath(model), SiteModel.load(model)
        if model.target != self.target.name:
            raise InvalidInputError(
                f"model: expected one that predicts {self.target.name!r}, got {model.target!r}"
            )
        self.model = model
        self._neighbours = NeighbourLists()
        #: Uncertainties that the calculation under way was asked for.
        self._wanted: set[str] = set()
        super().__init__(model=source, **parameters)

    @classmethod
    def from_pretrained(cls, name: str, **options: Any) -> Self:
        """Calculator of a model that comes with the package.

        Parameters
        ----------
        name : str
            One of `ase_vibent.pretrained.names()`; 'vibent models' says what each is for.
        **options
            Parameters of the calculator.

        Returns
        -------
        SiteModelCalculator
            Of the class it is asked of.

        Raises
        ------
        InvalidInputError
            If there is no model of that name, which lists those there are, or it predicts
            something else.
        """
        return cls(pretrained.path(name), **options)

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Change parameters; another model needs another calculator."""
        check_choice("extrapolation", kwargs.get("extrapolation", "warn"), POLICIES)
        if "model" in kwargs and self.parameters.get("model") is not None:
            raise InvalidInputError(
                f"model: it cannot be exchanged; make a new {type(self).__name__}"
            )
        return super().set(**kwargs)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Changes since the last calculation; sublattice labels count where the model uses them."""
        changes: list[str] = super().check_state(atoms, tol)
        if (
            self.atoms is not None
            and resolves_sublattices(self.model.species)
            # A calculation that failed for want of labels leaves atoms without any.
            and not np.array_equal(
                self.atoms.arrays.get(SUBLATTICES, ()), atoms.arrays.get(SUBLATTICES, ())
            )
        ):
            changes.append(SUBLATTICES)
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill `results`; called by ASE. Uncertainties only where they are asked for."""
        self._wanted = set(properties) & {*self.target.deviations, "extrapolation_grades"}
        if system_changes or "energy" not in self.results or set(properties) - self._wanted:
            super().calculate(atoms, properties, system_changes)
        elif self._wanted:
            self._predict(self.atoms, gradient=False, wanted=self._wanted)

    def _predict(self, atoms: Atoms, *, gradient: bool, wanted: Collection[str] = ()) -> Prediction:
        """One pass for values and the results that are wanted, and for the warning where due."""
        near = self.model.descriptor.find_neighbours(atoms, self._neighbours)
        policy = self.parameters["extrapolation"]
        due = self.model.domain is not None and (
            policy == "raise" or (policy == "warn" and not near.extrapolation_checked)
        )
        above = EXTRAPOLATION_LIMIT if due else None
        predicted = self.model.predict(
            atoms,
            gradient=gradient,
            uncertainty=any(name in wanted for name in self.target.deviations),
            grades_above=0.0 if "extrapolation_grades" in wanted else above,
            lists=self._neighbours,
        )
        if due and predicted.grades is not None:
            near.extrapolation_checked = True
            self._follow_policy({"atoms": predicted.grades})
        if "extrapolation_grades" in wanted:
            self.results["extrapolation_grades"] = predicted.grades
        if predicted.std is not None and predicted.site_stds is not None:
            of_total, of_sites = self.target.deviations
            self.results[of_total] = self.target.scale * predicted.std
            self.results[of_sites] = self.target.scale * predicted.site_stds
        return predicted

    def check_extrapolation(self, structures: Mapping[str, Atoms]) -> None:
        """See `EntropyCalculator.check_extrapolation`."""
        if self.parameters["extrapolation"] == "ignore" or self.model.domain is None:
            return
        grades = {}
        for name, atoms in structures.items():
            predicted = self.model.predict(
                atoms, gradient=False, grades_above=EXTRAPOLATION_LIMIT, lists=self._neighbours
            )
            assert predicted.grades is not None
            grades[name] = predicted.grades
        self._follow_policy(grades)

    def _follow_policy(self, grades: Mapping[str, Array]) -> None:
        """Complain of structures whose grades, by their names, are too large."""
        far = {name: own for name, own in grades.items() if own.max() > EXTRAPOLATION_LIMIT}
        if not far:
            return
        complaints = [
            f"{name}: {np.sum(own > EXTRAPOLATION_LIMIT)} of {len(own)} atoms have environments "
            f"unlike those of the training set, the farthest is atom {own.argmax()} with an "
            f"extrapolation grade of {own.max():.3g}"
            for name, own in far.items()
        ]
        message = (
            f"{'; '.join(complaints)} (limit {EXTRAPOLATION_LIMIT}); check the structure, verify "
            "the prediction (vibent verify), or train on structures of this kind"
        )
        if self.parameters["extrapolation"] == "raise":
            raise ExtrapolationError(message, max(far.values(), key=np.max))
        warnings.warn(message, ExtrapolationWarning, stacklevel=2)
