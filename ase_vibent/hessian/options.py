"""How a Hessian is made: one object that travels from whoever asks to whoever displaces."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from ase_vibent.checks import check_positive
from ase_vibent.errors import InvalidInputError

#: Displacement of finite differences, Å.
STEP = 0.01
METHODS = ("auto", "analytic", "finite-differences")


@dataclass(frozen=True)
class HessianOptions:
    """How Hessians are made from a calculator.

    Parameters
    ----------
    displacement : float, Å, or "auto"
        Of the central finite differences. "auto" is 0.01 Å; a dense Hessian that turns out to be
        off by more than 1 % is made again with 0.003 and 0.03 Å.
    interaction_range : float, Å, optional
        Distance beyond which an atom's displacement changes no force: the cutoff of pair
        potentials, twice that of most others (see `measured_interaction_range`). Atoms that
        no third one feels at once, which are twice as far apart, then share force calls,
        whose number stops growing with N; two more test the range. Of graph networks it may be
        shorter: dense Hessians leave out what lies beyond, up to 1 % of the largest force
        constant, and what that matters is in the error of the entropy. Too short a one is an error.
    symmetry : bool
        Displace only what differs by symmetry, where that saves calls: dense Hessians of
        structures of at most 1000 atoms, all free, periodic along three directions. Atoms that
        any of their arrays tells apart (moments, charges, tags, …) differ. Say no where the
        calculator tells atoms apart in other ways, as by their place in the list.
    cache : path of a folder, optional
        Finished displacements are kept there, and not done again when a run is repeated.
    cache_threshold : float, s
        Calls that take less are not kept there.
    method : {"auto", "analytic", "finite-differences"}
        "auto" takes the calculator's analytic Hessian where it has one. Differences may
        cost less: automatic differentiation takes a pass for each of 3N rows, a symmetric crystal
        a few force calls. Take one kind for a defect and its crystal: errors then cancel.

    Raises
    ------
    InvalidInputError
        If one is unusable.
    """

    displacement: float | Literal["auto"] = "auto"
    interaction_range: float | None = None
    symmetry: bool = True
    cache: str | os.PathLike[str] | None = None
    cache_threshold: float = 0.0
    method: Literal["auto", "analytic", "finite-differences"] = "auto"

    @classmethod
    def among(cls, parameters: Mapping[str, Any]) -> HessianOptions:
        """Those of an ASE calculator's parameters that say how Hessians are made.

        Parameters
        ----------
        parameters : mapping

        Returns
        -------
        HessianOptions
            Defaults for what is not among the parameters.
        """
        names = (field.name for field in fields(cls))
        return cls(**{name: parameters[name] for name in names if name in parameters})

    @property
    def step(self) -> float:
        """Displacement of finite differences, the first that "auto" tries, Å."""
        return STEP if self.displacement == "auto" else self.displacement

    @property
    def decisive(self) -> dict[str, Any]:
        """Those that change numbers, where they are set; all but those of the cache."""
        names = [f.name for f in fields(self) if not f.name.startswith("cache")]
        values = {name: getattr(self, name) for name in names}
        return {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in values.items()
            if value is not None
        }

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InvalidInputError(
                f"method: expected 'auto', 'analytic' or 'finite-differences', got {self.method!r}"
            )
        if not (isinstance(self.displacement, str) and self.displacement == "auto"):
            check_positive("displacement", self.displacement, "Å")
        if self.interaction_range is not None:
            check_positive("interaction_range", self.interaction_range, "Å")
        if not isinstance(self.symmetry, bool | np.bool_):
            raise InvalidInputError(f"symmetry: expected True or False, got {self.symmetry!r}")
        if not isinstance(self.cache, str | os.PathLike | None):
            raise InvalidInputError(
                f"cache: expected a folder that can be written, or None, got {self.cache!r}"
            )
        if self.cache_threshold != 0:
            check_positive("cache_threshold", self.cache_threshold, "s")
