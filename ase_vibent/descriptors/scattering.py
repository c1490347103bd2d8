"""Solid-harmonic wavelet scattering: a global descriptor, for totals only, by FFTs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.fft import irfftn

from ase_vibent.arrays import Array
from ase_vibent.checks import check_integer, check_positive
from ase_vibent.descriptors.density.harmonics import harmonic_recurrences
from ase_vibent.errors import InvalidInputError
from ase_vibent.structures.atom_types import ANY, bond_length, check_species, species_indices
from ase_vibent.structures.validity import check_structure

ComplexArray = NDArray[np.complex128]

#: Around a cluster, in widths of its smoothed atoms.
PADDING = 7.0
#: Atoms whose waves are summed at a time, to bound the memory.
BLOCK = 256


@dataclass(frozen=True)
class Scattering:
    """Scattering coefficients of the atomic density, [Lapointe2020] (19)-(21).

    Every species has a density, the sum of normalised Gaussians on its atoms. Features are
    its first-order coefficients

        S_jlq = ∫ (Σ_m |ρ * ψ_jlm|²)^(q/2) d³r,
        ψ_jlm = (2π)^(-3/2) s^(-3) exp(-r²/2s²) (r/s)^l Y_lm,   s = 2^j · width,

    for all scales j, l ≤ l_max and powers q. [Lapointe2020]'s wavelets lack the factor s^(-3),
    which makes coefficients with q = 1 plain numbers. These count atoms for l = 0, where nothing
    cancels: S_j01 = N_z/√(4π).

    Coefficients of a supercell are those of the cell, times the number of cells. They do not
    belong to atoms, hence give no site models.

    Parameters
    ----------
    species : sequence of str
        Atom types, as in `ACE`.
    scales : sequence of float
        j of every scale; fractions and negative numbers are allowed.
    l_max : int
    powers : sequence of float
        q of the integrals; [Lapointe2020]'s is 1.
    width : float, Å, optional
        Standard deviation of the Gaussians, the unit of the wavelets' scales. [Lapointe2020] leaves
        it open; by default d/√(8 ln 10), with d twice the mean covalent radius, at which Gaussians
        in contact overlap by 10 %.
    resolution : float
        Wave numbers that the grids hold, times the width of an atom smoothed by the wavelet:
        the spectrum ends with k^l exp(-k²/2). Grids have a spacing of π/resolution widths.

    Raises
    ------
    InvalidInputError
        If a parameter is out of range.
    """

    species: Sequence[str]
    scales: Sequence[float] = (0, 0.25, 0.5, 0.75, 1, 2, 3, 4, 5)
    l_max: int = 9
    powers: Sequence[float] = (1,)
    width: float | None = None
    resolution: float = 7.0

    def __post_init__(self) -> None:
        species = check_species(self.species)
        object.__setattr__(self, "species", species)
        if self.width is None:
            if all(kind.startswith(ANY) for kind in species):
                raise InvalidInputError(f"width: expected a length in Å beside species {ANY!r}")
            width = bond_length(species) / float(np.sqrt(8 * np.log(10)))
            object.__setattr__(self, "width", round(width, 9))
        check_positive("width", self.width)
        check_positive("resolution", self.resolution)
        for name in ("scales", "powers"):
            values = np.array(getattr(self, name), dtype=float)
            if values.ndim != 1 or not values.size or not np.all(np.isfinite(values)):
                raise InvalidInputError(f"{name}: expected numbers, got {getattr(self, name)!r}")
            object.__setattr__(self, name, tuple(values.tolist()))
        if min(self.powers) <= 0:
            raise InvalidInputError(f"powers: expected numbers > 0, got {list(self.powers)}")
        check_integer("l_max", self.l_max, 0)

    @property
    def n_features(self) -> int:
        """Number of features of a structure."""
        return len(self.species) * len(self.scales) * (self.l_max + 1) * len(self.powers)

    def to_dict(self) -> dict[str, Any]:
        """Name and hyperparameters."""
        names = ("species", "scales", "l_max", "powers", "width", "resolution")
        return {"name": type(self).__name__, **{name: getattr(self, name) for name in names}}

    def compute_total(self, atoms: Atoms) -> Array:
        """Features of a structure.

        Parameters
        ----------
        atoms : Atoms
            Periodic along any of its directions; along the others there is empty space.

        Returns
        -------
        ndarray, shape (n_features,)
            By species, then scale, l and power; S in Å^(3 - 3q).

        Raises
        ------
        UnknownSpeciesError
            If another species occurs.
        InvalidStructureError
            If there is no atom, positions are not finite, or the cell is degenerate.
        """
        check_structure(atoms)
        indices = species_indices(atoms, self.species)
        features = np.empty((len(self.species), len(self.scales), self.l_max + 1, len(self.powers)))
        for k, scale in enumerate(self.scales):
            size = 2**scale * float(self.width or 0)
            smoothed = float(np.hypot(size, self.width or 0))
            grid = _Grid(_box(atoms, PADDING * smoothed), self.resolution / smoothed)
            for z in range(len(self.species)):
                fields = grid.density(atoms.positions[indices == z])
                fields = fields * np.exp(-0.5 * (grid.lengths * smoothed) ** 2)
                for l, harmonics in enumerate(grid.harmonics(self.l_max)):
                    wavelets = (grid.lengths * size) ** l * harmonics
                    squares = np.sum(grid.to_space(fields * wavelets, l) ** 2, axis=0)
                    for p, power in enumerate(self.powers):
                        features[z, k, l, p] = np.mean(squares ** (power / 2)) * grid.volume
        return features.ravel()


def _box(atoms: Atoms, padding: float) -> Array:
    """Cell, with empty space around the atoms along directions that are not periodic."""
    cell = atoms.cell.copy()
    cell[~atoms.pbc] = 0
    cell = cell.complete()
    for axis in np.flatnonzero(~atoms.pbc):
        # Completed vectors have unit length and stand upright on the others.
        cell[axis] *= np.ptp(atoms.positions @ cell[axis]) + 2 * padding
    return cell.array


def _grid_size(least: int) -> int:
    """Number of points that FFTs like, prime to 2 and 3, the usual repeats of a crystal's cell.

    Every cell then meets the grid at another place, so that the cusps of the modulus, where
    all fields of one l vanish, are sampled evenly.
    """
    size = least
    while True:
        rest = size
        for factor in (5, 7, 11, 13):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 1


class _Grid:
    """Wave vectors of a box within a sphere, and the points they belong to.

    Parameters
    ----------
    box : ndarray, shape (3, 3), Å
    longest : float, 1/Å
        Radius of the sphere.

    Attributes
    ----------
    volume : float, Å³
    lengths : ndarray, shape (n,), 1/Å
        Wave numbers.
    """

    def __init__(self, box: Array, longest: float):
        self.volume = abs(float(np.linalg.det(box)))
        self._reciprocal = 2 * np.pi * np.linalg.inv(box).T
        # Largest component of a wave vector in the sphere, along every axis of the grid.
        most = np.floor(longest * np.linalg.norm(box, axis=1) / (2 * np.pi)).astype(int)
        self._shape = tuple(_grid_size(int(2 * m + 1)) for m in most)
        # Half of them: the fields are real.
        self._axes = [np.arange(-most[0], most[0] + 1), np.arange(-most[1], most[1] + 1)]
        self._axes.append(np.arange(most[2] + 1))
        components = np.stack(np.meshgrid(*self._axes, indexing="ij"), axis=-1)
        vectors = components @ self._reciprocal
        lengths = np.linalg.norm(vectors, axis=-1)
        self._inside = lengths <= longest
        self._places = tuple(components[self._inside].T)
        self.lengths = lengths[self._inside]
        self._vectors = vectors[self._inside]

    def density(self, positions: Array) -> ComplexArray:
        """Fourier coefficients Σ_i exp(-i k·r_i) of points, shape (n,)."""
        sums = np.zeros(self._inside.shape, dtype=complex)
        for some in np.array_split(positions, 1 + len(positions) // BLOCK):
            x, y, z = (
                np.exp(-1j * np.outer(some @ self._reciprocal[axis], components))
                for axis, components in enumerate(self._axes)
            )
            sums += np.tensordot(x[:, :, None] * y[:, None, :], z, axes=(0, 0))
        return sums[self._inside]

    def harmonics(self, l_max: int) -> Iterator[Array]:
        """Orthonormal real spherical harmonics of l = 0, 1, …, shape (2 l + 1, n)."""
        x, y, z = self._vectors.T / np.maximum(self.lengths, 1e-300)
        table = harmonic_recurrences(l_max)
        turns = (x + 1j * y) ** np.arange(l_max + 1)[:, None]
        below = lowest = np.zeros((l_max + 1, len(x)))
        for l in range(l_max + 1):
            current = np.zeros_like(below)
            for m in range(l + 1):
                alpha, beta = table[l * (l + 1) // 2 + m, :2]
                current[m] = alpha if m == l else alpha * z * below[m] + beta * lowest[m]
            parts = current[: l + 1] * turns[: l + 1]
            yield np.concatenate([parts.real, parts.imag[1:]]) / np.sqrt(4 * np.pi)
            below, lowest = current, below

    def to_space(self, coefficients: ComplexArray, l: int) -> Array:
        """Real fields whose Fourier coefficients are i^(-l) times those given."""
        first, second, third = self._shape
        spectrum = np.zeros((len(coefficients), first, second, third // 2 + 1), dtype=complex)
        spectrum[:, *self._places] = (-1j) ** l * coefficients
        fields: Array = irfftn(spectrum, s=self._shape, axes=(1, 2, 3), overwrite_x=True)
        return fields * (np.prod(self._shape) / self.volume)
