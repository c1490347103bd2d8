"""What a model owes to the size of the cells that it was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ase_vibent.arrays import Array
from ase_vibent.model.parts import ModelPart


@dataclass(frozen=True)
class FiniteSize(ModelPart):
    """Error of a model in cells larger than those of its training.

    Labels of a defect in a small cell keep what its images do to each other, and a model repeats it
    in cells of any size: held-out cells of the same size cannot show it. Measured, it is a share of
    what the sites have beyond the crystal's, which grows to its full size as the images part:

        σ = relative · Σ_i |s_i - s_crystal| · (1 - n_atoms/N).

    Attributes
    ----------
    relative : ndarray, shape ()
        From labels in larger cells, or what is usual.
    n_atoms : ndarray, shape ()
        Of the largest cell of the training.
    """

    positive: ClassVar[tuple[str, ...]] = ("n_atoms",)
    not_negative: ClassVar[tuple[str, ...]] = ("relative",)

    relative: Array
    n_atoms: Array

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """See `ModelPart`."""
        return {"relative": (), "n_atoms": ()}

    def fits(self, n_kinds: int, n_features: int) -> bool:
        """See `ModelPart`."""
        return True

    def site_stds(self, deviations: Array) -> Array:
        """Standard deviations of sites; they are fully correlated, and sum up to the total's.

        Parameters
        ----------
        deviations : ndarray, shape (N,), k_B
            Of the sites from the crystal's, or of the sites of two structures.

        Returns
        -------
        ndarray, shape (N,), k_B
        """
        grown = max(0.0, 1 - float(self.n_atoms) / max(len(deviations), 1))
        return np.asarray(self.relative * grown * np.abs(deviations))

    @classmethod
    def measured(cls, n_atoms: int, errors: Array, deviations: list[Array]) -> FiniteSize:
        """From labels in larger cells.

        Parameters
        ----------
        n_atoms : int
            Of the largest cell of the training.
        errors : ndarray, shape (n,), k_B
            Of the totals in larger cells.
        deviations : list of ndarray, shape (N,), k_B
            What the sites of these cells have beyond the crystal's.

        Returns
        -------
        FiniteSize
        """
        unit = cls(np.array(1.0), np.array(float(n_atoms)))
        scales = np.array([unit.site_stds(own).sum() for own in deviations])
        relative = np.sqrt(np.mean((errors / scales) ** 2))
        return cls(np.array(relative), np.array(float(n_atoms)))
