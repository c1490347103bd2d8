"""Formation energies and entropies in the limit of large cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidInputError
from ase_vibent.thermo.formation import DefectFormation


@dataclass(frozen=True)
class Extrapolation:
    """A quantity against the size of the cell, v(N) = v(∞) + a/N, and its limit.

    A defect's images lie at distances L with elastic interactions of the order 1/L³ ~ 1/N.

    Attributes
    ----------
    n_atoms : ndarray of int, shape (n,)
        Of the perfect cells, ascending.
    values : ndarray, shape (n,)
    limit : float
        Least-squares limit.
    slope : float
        a.
    error : float
        How far the limit moves if the smallest cell is left out; with two cells the distance of
        the limit from the larger one.
    """

    n_atoms: NDArray[np.int64]
    values: Array
    limit: float
    slope: float
    error: float

    @classmethod
    def of(cls, n_atoms: Sequence[int], values: Sequence[float]) -> Extrapolation:
        """Fit to at least two sizes.

        Parameters
        ----------
        n_atoms : sequence of int
        values : sequence of float

        Returns
        -------
        Extrapolation

        Raises
        ------
        InvalidInputError
            If there are fewer than two sizes.
        """
        order = np.argsort(n_atoms)
        sizes, found = np.asarray(n_atoms)[order], np.asarray(values, dtype=float)[order]
        if len(set(sizes.tolist())) < 2:
            raise InvalidInputError(
                f"n_atoms: expected cells of two sizes at least, got {sizes.tolist()}"
            )
        slope, limit = np.polyfit(1 / sizes, found, 1)
        rest = sizes > sizes[0]
        without = (
            np.polyfit(1 / sizes[rest], found[rest], 1)[1]
            if len(set(sizes[rest].tolist())) > 1
            else found[-1]
        )
        return cls(sizes, found, float(limit), float(slope), float(abs(limit - without)))


def size_convergence(
    formations: Sequence[DefectFormation], quantity: str = "entropy"
) -> Extrapolation:
    """Formation entropy (eV/K) or energy (eV) of one defect in cells of several sizes.

    Parameters
    ----------
    formations : sequence of DefectFormation
        Of the same defect, under the same condition; entropies at their first temperature.
    quantity : {"entropy", "energy"}

    Returns
    -------
    Extrapolation

    Raises
    ------
    InvalidInputError
        If the defects differ in composition or condition, or there is only one size.
    """
    if quantity not in ("entropy", "energy"):
        raise InvalidInputError(f"quantity: expected 'entropy' or 'energy', got {quantity!r}")
    kinds = _kinds(formations)
    if len(kinds) > 1:
        raise InvalidInputError(
            "formations: expected one defect under one condition at one temperature, got "
            + "; ".join(
                f"{dict(excess)}, {g:g} a cell, at {condition}, {t:g} K"
                for excess, g, condition, t in kinds
            )
        )
    values = [f.entropies[0] if quantity == "entropy" else f.energy for f in formations]
    return Extrapolation.of([f.n_atoms for f in formations], [float(v) for v in values])


def have_a_limit(formations: Sequence[DefectFormation]) -> bool:
    """Whether these are one defect, under one condition, in cells of several sizes.

    Parameters
    ----------
    formations : sequence of DefectFormation

    Returns
    -------
    bool
    """
    return len(_kinds(formations)) == 1 and len({f.n_atoms for f in formations}) > 1


def _kinds(formations: Sequence[DefectFormation]) -> set[tuple]:
    # Unknown multiplicities are one: NaN is unlike itself.
    return {
        (
            tuple(f.excess.items()),
            0.0 if np.isnan(f.multiplicity) else round(f.multiplicity, 6),
            f.condition,
            float(f.temperatures[0]),
        )
        for f in formations
    }
