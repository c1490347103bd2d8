"""Vibrational densities of states, of a whole structure and of its sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms

from ase_vibent.arrays import Array
from ase_vibent.checks import check_positive
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.mesh_system import Vibrating
from ase_vibent.harmonic.modes import HBAR_OMEGA

#: Width of a line by default, as a share of the highest ħω.
WIDTH = 0.02
#: Energies by default, and how far beyond the highest ħω they go, in widths.
POINTS, BEYOND = 400, 5
#: Energies at a time, for the sake of memory.
CHUNK = 50


@dataclass(frozen=True)
class DensityOfStates:
    """Number of modes per energy, every line a Gaussian.

    Attributes
    ----------
    energies : ndarray, shape (n,), eV
        ħω.
    sites : ndarray, shape (N, n), 1/eV
        Of every atom: |e_νi|² of every mode. Zero on fixed atoms.
    width : float, eV
        Standard deviation of the lines.
    """

    energies: Array
    sites: Array = field(repr=False)
    width: float

    @property
    def total(self) -> Array:
        """Of the whole structure, shape (n,), 1/eV; its integral is the number of modes."""
        return self.sites.sum(axis=0)

    def curves(
        self, name: str, atoms: Atoms, sites: Sequence[int]
    ) -> dict[str, tuple[Array, Array]]:
        """Energies and densities per atom, of all on average and of chosen sites, by label.

        Parameters
        ----------
        name : str
            Of the structure.
        atoms : Atoms
        sites : sequence of int

        Returns
        -------
        dict of str to (ndarray, ndarray), eV and 1/eV
            As `ase_vibent.figures.states_plot` draws them.
        """
        found = {name: (self.energies, self.total / len(atoms))}
        for site in sites:
            found[f"{name}: {atoms.symbols[site]} {site}"] = self.energies, self.sites[site]
        return found


def density_of_states(
    system: Vibrating, *, width: float | None = None, energies: Array | None = None
) -> DensityOfStates:
    """Densities of states of all sites.

    [Lapointe2020] (5)-(12): what entropies are integrals over.

    Parameters
    ----------
    system : HarmonicSystem or MeshSystem
        With the dense engine, or "lanczos", whose few nodes per site want a larger width. Unstable
        modes are left out.
    width : float, eV, optional
        By default 2 % of the highest ħω.
    energies : ndarray, shape (n,), eV, optional
        By default 400, from 0 to beyond the highest.

    Returns
    -------
    DensityOfStates

    Raises
    ------
    InvalidInputError
        If the engine tells no modes apart, or there are none.
    """
    if system.engine == "contour":
        raise InvalidInputError(
            "engine: contour integrals tell no modes apart; use 'dense' or 'lanczos'"
        )
    highest = 0.0

    def note(eigenvalues: Array) -> Array:
        nonlocal highest
        highest = max(highest, float(HBAR_OMEGA * np.sqrt(eigenvalues.max(initial=0.0))))
        return np.ones_like(eigenvalues)

    system.physical_site_sums(note)
    if highest == 0:
        raise InvalidInputError("atoms: nothing vibrates, so that there are no states")
    if width is None:
        width = WIDTH * highest
    check_positive("width", width, "eV")
    if energies is None:
        energies = np.linspace(0.0, highest + BEYOND * width, POINTS)
    grid = np.asarray(energies, dtype=float)
    if grid.ndim != 1 or not len(grid) or not np.all(np.isfinite(grid)):
        raise InvalidInputError(f"energies: expected a list of numbers in eV, got {energies!r}")

    def sites(some: Array) -> Array:
        def lines(eigenvalues: Any) -> Array:
            distance = (HBAR_OMEGA * np.sqrt(eigenvalues)[..., None] - some) / width
            return np.exp(-(distance**2) / 2) / (width * np.sqrt(2 * np.pi))

        return system.physical_site_sums(lines)

    parts = [sites(grid[first : first + CHUNK]) for first in range(0, len(grid), CHUNK)]
    return DensityOfStates(grid, np.concatenate(parts, axis=1), width)
