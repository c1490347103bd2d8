"""What of a structure is drawn: atoms, places, sizes and colours, on a page or in a figure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import minkowski_reduce, wrap_positions
from scipy.spatial import cKDTree

from ase_vibent.arrays import Array, IntArray

#: Atoms that are drawn at most, and those of largest differences around which they are.
MOST_ATOMS, SEEDS = 3000, 100
#: Spheres as a share of covalent radii.
SIZE = 0.7
#: Colours of a map.
N_COLOURS = 64
#: Rows: right, up and towards the reader, at first; seen from aside and above.
VIEW = np.array([[0.906, 0.423, 0.0], [-0.145, 0.31, 0.94], [0.397, -0.852, 0.342]])


@dataclass(frozen=True)
class SiteQuantity:
    """Numbers of all atoms that colours stand for.

    Attributes
    ----------
    name, unit : str
        The unit is empty where there is none.
    values : ndarray, shape (N,)
        NaN where unknown.
    diverging : bool
        Whether zero is the middle.
    least : float
        Range that colours span at least: what is smaller is noise.
    """

    name: str
    unit: str
    values: Array
    diverging: bool = False
    least: float = 0.0

    @property
    def title(self) -> str:
        """Name and unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def limits(self) -> tuple[float, float]:
        """Values of the first and the last colour."""
        known = self.values[np.isfinite(self.values)]
        if self.diverging:
            most = max(float(np.abs(known).max(initial=0.0)), self.least)
            return -most, most
        low = float(known.min()) if len(known) else 0.0
        return low, max(float(known.max(initial=low)), low + self.least)

    @property
    def strengths(self) -> Array:
        """How far every atom is from usual, 0 to 1, shape (N,); unknown ones are 0."""
        low, high = self.limits
        start = 0.0 if self.diverging else low
        return np.nan_to_num(np.abs(self.values - start) / ((high - start) or 1.0))

    def colours(self, count: int = N_COLOURS) -> list[str]:
        """Colours from the lowest to the highest value; safe for colour-blind readers."""
        from matplotlib import colormaps
        from matplotlib.colors import to_hex

        colours = colormaps["RdBu_r" if self.diverging else "viridis"]
        return [to_hex(colours(place)) for place in np.linspace(0, 1, count)]


@dataclass(frozen=True)
class Scene:
    """A structure, and what its atoms are coloured by.

    Attributes
    ----------
    name : str
    atoms : Atoms
    quantities : tuple of SiteQuantity
        By the first one, atoms are chosen where there are too many.
    most : int
        Number of atoms that are drawn at most.
    """

    name: str
    atoms: Atoms
    quantities: tuple[SiteQuantity, ...]
    most: int = MOST_ATOMS

    @property
    def order(self) -> IntArray:
        """Atoms, the most unusual first."""
        return np.argsort(-self.quantities[0].strengths, kind="stable")

    @cached_property
    def shown(self) -> IntArray:
        """Indices of the atoms that are drawn: all, or the most unusual and what is around them."""
        n_atoms = len(self.atoms)
        if n_atoms <= self.most:
            return np.arange(n_atoms)
        distances = self.distances(self.order[: min(SEEDS, self.most)])
        return np.sort(np.argsort(distances, kind="stable")[: self.most])

    def distances(self, centres: IntArray) -> Array:
        """Of every atom from the nearest of some atoms and their images.

        Parameters
        ----------
        centres : ndarray of int, shape (m,)

        Returns
        -------
        ndarray, shape (N,), Å
        """
        pbc = self.atoms.pbc
        cell = minkowski_reduce(self.atoms.cell.complete(), pbc)[0]
        places = wrap_positions(self.atoms.positions, cell, pbc)
        images = np.array(list(product(*[(-1, 0, 1) if p else (0,) for p in pbc]))) @ cell
        tree = cKDTree((places[centres] + images[:, None]).reshape(-1, 3))
        return np.asarray(tree.query(places)[0])

    @property
    def remark(self) -> str:
        """Which atoms are drawn; empty if all are."""
        if len(self.shown) == len(self.atoms):
            return ""
        return (
            f"{len(self.shown)} of {len(self.atoms)} atoms are drawn: those that stand out by "
            f"{self.quantities[0].name}, and what is around them"
        )

    @cached_property
    def places(self) -> Array:
        """Where those are drawn, shape (n, 3), Å: around the most unusual atom."""
        atoms, centre = self.atoms, self.order[0]
        fractions = (
            atoms.cell.scaled_positions(atoms.positions[[centre]])[0] if any(atoms.pbc) else 0
        )
        middle = np.where(atoms.pbc, fractions, 0.5)
        return np.asarray(
            wrap_positions(atoms.positions[self.shown], atoms.cell.array, atoms.pbc, middle)
        )

    @property
    def corners(self) -> Array:
        """Of the cell as it is drawn, shape (8, 3), Å; none where it is not."""
        atoms = self.atoms
        if not all(atoms.pbc) or len(self.shown) < len(atoms):
            return np.empty((0, 3))
        ends = np.array(list(product((-0.5, 0.5), repeat=3)))
        return np.asarray(atoms.positions[self.order[0]] + ends @ atoms.cell.array)

    @property
    def radii(self) -> Array:
        """Of the atoms that are drawn, shape (n,), Å."""
        return SIZE * covalent_radii[self.atoms.numbers[self.shown]]

    def data(self) -> dict[str, Any]:
        """What the viewer of a page reads, ready for JSON."""
        shown, symbols = self.shown, np.array(self.atoms.get_chemical_symbols())
        species, kinds = np.unique(symbols[shown], return_inverse=True)
        return {
            "atoms": shown.tolist(),
            "species": species.tolist(),
            "kinds": kinds.tolist(),
            "radii": _rounded(self.radii),
            "places": _rounded(self.places),
            "positions": _rounded(self.atoms.positions[shown]),
            "view": VIEW.tolist(),
            "corners": _rounded(self.corners),
            "quantities": [
                {
                    "name": quantity.name,
                    "unit": quantity.unit,
                    "values": _rounded(quantity.values[shown]),
                    "diverging": quantity.diverging,
                    "limits": quantity.limits,
                    "colours": quantity.colours(),
                }
                for quantity in self.quantities
            ],
        }


def _rounded(values: Array) -> list[Any]:
    """Lists with seven digits, as colours and readers need; NaN is None."""
    if values.ndim > 1:
        return [_rounded(row) for row in values]
    return [float(f"{x:.7g}") if np.isfinite(x) else None for x in values]
