"""Optional parts of a site model: dataclasses whose fields are arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ase_vibent.errors import InvalidInputError


@dataclass(frozen=True)
class ModelPart:
    """Arrays that a coefficient file holds under the name of the part.

    A part says in `shapes` what shapes its arrays must have, and which are `positive`.
    """

    #: Arrays that are divided by: of numbers > 0.
    positive: ClassVar[tuple[str, ...]] = ()
    #: Arrays of sizes: of numbers ≥ 0.
    not_negative: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        expected = self.shapes()
        for name, array in self.arrays().items():
            if array.shape != expected[name] or not np.all(np.isfinite(array)):
                raise InvalidInputError(
                    f"{name}: expected finite numbers of shape {expected[name]}, "
                    f"got shape {array.shape}"
                )
            if name in self.positive and not np.all(array > 0):
                raise InvalidInputError(f"{name}: expected numbers > 0, got {array.min()}")
            if name in self.not_negative and not np.all(array >= 0):
                raise InvalidInputError(f"{name}: expected numbers ≥ 0, got {array.min()}")

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape that every array should have, from those of the others."""
        raise NotImplementedError

    def fits(self, n_kinds: int, n_features: int) -> bool:
        """Whether the part belongs to a model with so many atom types and features."""
        raise NotImplementedError
