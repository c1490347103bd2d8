"""Free energy along a path: vibrations orthogonal to it, and where it is hardest to pass.

The plain harmonic entropy diverges on the way from a minimum to a saddle, where the reaction
mode turns unstable. Motion along the path is therefore left out: 3N - 4 modes of a periodic
cell, which change smoothly and at the saddle are those of transition state theory. (With several
species this holds for bands in mass-weighted coordinates; others arrive a little aside of the
unstable mode, and rates are upper bounds by a few per cent.)
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from ase.units import kB
from numpy.typing import ArrayLike
from scipy.interpolate import CubicHermiteSpline, CubicSpline

from ase_vibent.arrays import Array
from ase_vibent.calculators.base import EntropyCalculator
from ase_vibent.calculators.hessian import HessianEntropyCalculator
from ase_vibent.errors import (
    ExtrapolationWarning,
    InvalidInputError,
    InvalidStructureError,
    UnstableStructureError,
)
from ase_vibent.harmonic.thermodynamics import Vibrations, check_temperatures
from ase_vibent.labelling.labels import attach_labels
from ase_vibent.stationary.checks import (
    FMAX,
    potential_behind,
    require_same_system,
    stationary_energy,
)
from ase_vibent.structures.validity import check_structure
from ase_vibent.thermo.rates import PLANCK

#: Places between two images at which a bottleneck is looked for.
FINENESS = 100


@dataclass(frozen=True)
class PathProfile:
    """Energies and vibrations of the images of a path.

    Attributes
    ----------
    coordinates : ndarray, shape (n_images,), Å
        Length of the path up to every image.
    energies, slopes : ndarrays, shape (n_images,), eV and eV/Å
        Energies above the first image, and their derivatives along the path.
    orthogonal : list of Vibrations
        Of every image, without motion along the path.
    minimum : Vibrations
        Of the first image, all modes.
    """

    coordinates: Array
    energies: Array
    slopes: Array = field(repr=False)
    orthogonal: list[Vibrations] = field(repr=False)
    minimum: Vibrations = field(repr=False)

    @property
    def temperatures(self) -> Array:
        """Shape (n,), K."""
        return self.minimum.temperatures

    @property
    def free_energies(self) -> Array:
        """E + F_vib of the orthogonal modes above the first image, shape (n_images, n), eV."""
        return self._across - self._across[0]

    @property
    def activation(self) -> Array:
        """Free energy of the surface across the path at every image, above the minimum's.

        All modes of the minimum count, so that (k_B T/h) exp(-activation/(k_B T)) is the rate of
        crossing that surface. Shape (n_images, n), eV.
        """
        return self._across - self.minimum.free_energies

    @property
    def _across(self) -> Array:
        """E + F_vib of the orthogonal modes, E above the first image's, shape (n_images, n), eV."""
        return self.energies[:, None] + [state.free_energies for state in self.orthogonal]

    @property
    def fine(self) -> tuple[Array, Array, Array]:
        """Interpolated: coordinates (Å), energies (eV), both shape (n,), and activation (eV).

        The last has shape (n, n_temperatures).
        """
        parts = [
            np.linspace(a, b, FINENESS, endpoint=False)
            for a, b in zip(self.coordinates[:-1], self.coordinates[1:], strict=True)
        ]
        places = np.append(np.concatenate(parts), self.coordinates[-1])
        energy = CubicHermiteSpline(self.coordinates, self.energies, self.slopes)(places)
        rest = CubicSpline(self.coordinates, self.activation - self.energies[:, None])(places)
        return places, energy, energy[:, None] + rest

    @property
    def barrier(self) -> float:
        """Highest energy along the path, interpolated, eV."""
        return float(self.fine[1].max())

    @property
    def bottlenecks(self) -> Array:
        """Coordinates at which the free energy is highest, shape (n,), Å."""
        places, _, activation = self.fine
        return places[activation.argmax(axis=0)]

    @property
    def free_energy_barriers(self) -> Array:
        """Activation free energies at the bottlenecks, shape (n,), eV."""
        return self.fine[2].max(axis=0)

    @property
    def rates(self) -> Array:
        """Canonical variational transition state theory, shape (n,), 1/s.

        The least of the rates of crossing any surface across the path.
        """
        thermal = kB * self.temperatures
        return thermal / PLANCK * np.exp(-self.free_energy_barriers / thermal)

    @property
    def attempt_frequencies(self) -> Array:
        """ν*(T) = rate · exp(barrier/(k_B T)), shape (n,), Hz."""
        return self.rates * np.exp(self.barrier / (kB * self.temperatures))


def path_coordinates(images: Sequence[Atoms]) -> Array:
    """Length of the path up to every image, shape (n_images,), Å.

    Parameters
    ----------
    images : sequence of Atoms

    Returns
    -------
    ndarray
    """
    steps = np.linalg.norm(np.diff(_unwrap(images), axis=0), axis=(1, 2))
    return np.concatenate([[0.0], np.cumsum(steps)])


def path_tangents(images: Sequence[Atoms]) -> Array:
    """Directions of a path at its images, those of a cubic spline through them.

    Parameters
    ----------
    images : sequence of Atoms
        Of a nudged elastic band, say; three at least.

    Returns
    -------
    ndarray, shape (n_images, N, 3)
        Normalised.

    Raises
    ------
    InvalidStructureError
        If the images have other atoms or cells, or two neighbours coincide.
    """
    _check_path(images)
    spline = CubicSpline(path_coordinates(images), _unwrap(images))
    tangents = spline(path_coordinates(images), 1)
    return np.asarray(tangents / np.linalg.norm(tangents, axis=(1, 2))[:, None, None])


def path_profile(
    images: Sequence[Atoms],
    calculator: EntropyCalculator,
    temperatures: ArrayLike = 300.0,
    *,
    potential: object | None = None,
    minimum_calculator: EntropyCalculator | None = None,
    fmax: float = FMAX,
) -> PathProfile:
    """Free energy along a path, and its bottleneck at every temperature.

    Parameters
    ----------
    images : sequence of Atoms
        Converged path; the first image is a minimum.
    calculator : EntropyCalculator
        Exact, or a model trained on labels of paths (`label_path`).
    temperatures : float or array_like, shape (n,), K
    potential : ASE calculator or factory, optional
        By default the one behind an exact calculator, or results that the images carry.
    minimum_calculator : EntropyCalculator, optional
        For all modes of the first image; by default the same. A model of paths does not know
        minima; take a model of minima then, whose totals are extensive like its own.
    fmax : float, eV/Å
        Largest force that the first image may have.

    Returns
    -------
    PathProfile

    Raises
    ------
    InvalidStructureError
        If the images do not make a path, or the first is not at rest.
    UnstableStructureError
        If the first image is no minimum, or motion across the path is unstable.
    ExtrapolationError
        Where a model's policy is to raise; the message names every image.
    """
    tangents = path_tangents(images)
    chosen = check_temperatures(temperatures)
    behind = potential_behind(calculator, potential)
    calculator.check_extrapolation({f"image {k}": image for k, image in enumerate(images)})
    energies, slopes, orthogonal = [], [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)  # just reported
        for k, (image, tangent) in enumerate(zip(images, tangents, strict=True)):
            limit = fmax if k == 0 else np.inf
            energy, resting = stationary_energy(image, behind, f"image {k}", limit)
            if np.isnan(energy):
                raise InvalidInputError(f"potential: image {k} carries no energy; pass a potential")
            energies.append(energy)
            slopes.append(-np.sum(resting.get_forces(apply_constraint=False) * tangent))
            orthogonal.append(_across(image, tangent, calculator, chosen, k))
        minimum = (minimum_calculator or calculator).vibrations(images[0], chosen)
    return PathProfile(
        path_coordinates(images),
        np.array(energies) - energies[0],
        np.array(slopes),
        orthogonal,
        minimum,
    )


def _across(
    image: Atoms, tangent: Array, calculator: EntropyCalculator, temperatures: Array, number: int
) -> Vibrations:
    try:
        return calculator.vibrations(image, temperatures, tangent=tangent)
    except UnstableStructureError as error:
        raise UnstableStructureError(
            f"image {number}: the path is no valley there, motion across it is unstable; converge "
            f"it, or use more images ({error})",
            error.frequencies,
            error.n_unstable,
        ) from error


def label_path(
    images: Sequence[Atoms], calculator: HessianEntropyCalculator, *, reference: str | None = None
) -> list[Atoms]:
    """Labelled copies of a path's images, motion along the path left out.

    A model that is trained on them predicts the vibrations that `path_profile` takes. Labels of
    saddles are of the same kind, those of minima are not.

    Parameters
    ----------
    images : sequence of Atoms
    calculator : HessianEntropyCalculator
    reference : str, optional
        Name of the perfect crystal of the same cell.

    Returns
    -------
    list of Atoms
    """
    return [
        attach_labels(image, calculator, reference=reference, tangent=tangent, labels=["total"])
        for image, tangent in zip(images, path_tangents(images), strict=True)
    ]


def _unwrap(images: Sequence[Atoms]) -> Array:
    """Positions without jumps across the cell, shape (n_images, N, 3)."""
    positions = [images[0].positions]
    for before, after in pairwise(images):
        step = find_mic(after.positions - before.positions, after.cell, after.pbc)[0]
        positions.append(positions[-1] + step)
    return np.array(positions)


def _check_path(images: Sequence[Atoms]) -> None:
    if len(images) < 3:
        raise InvalidStructureError(f"images: expected three at least, got {len(images)}")
    for k, image in enumerate(images):
        check_structure(image)
        require_same_system(images[0], image, f"image {k}")
    if np.any(np.diff(path_coordinates(images)) < 1e-6):
        raise InvalidStructureError("images: two neighbours are the same structure")
