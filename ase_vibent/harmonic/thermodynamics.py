"""Entropies and free energies as results, at one temperature or several."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from ase.units import kB
from numpy.typing import ArrayLike

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.entropy import classical_entropy


@dataclass(frozen=True)
class SiteThermodynamics:
    """Vibrational entropy and free energy of every atom, with derivatives of the sums.

    Attributes
    ----------
    entropies : ndarray, shape (N,), eV/K
    free_energies : ndarray, shape (N,), eV
    entropy_gradient : ndarray, shape (N, 3), eV/K/Å, or None
    free_energy_gradient : ndarray, shape (N, 3), eV/Å, or None
    entropy_strain : ndarray, shape (3, 3), eV/K, or None
        Derivative with respect to homogeneous strain.
    free_energy_strain : ndarray, shape (3, 3), eV, or None
    """

    entropies: Array
    free_energies: Array
    entropy_gradient: Array | None = None
    free_energy_gradient: Array | None = None
    entropy_strain: Array | None = None
    free_energy_strain: Array | None = None


@dataclass(frozen=True)
class Vibrations:
    """Vibrational entropy and free energy of a structure at several temperatures.

    Attributes
    ----------
    temperatures : ndarray, shape (n,), K
    entropies : ndarray, shape (n,), eV/K
    free_energies : ndarray, shape (n,), eV
    errors : ndarray, shape (3,), eV/K
        Estimates, with signs, of what the entropy is off for the reasons in `EntropyErrors`: they
        cancel in differences as the errors do. NaN where there is no estimate.
    """

    temperatures: Array
    entropies: Array
    free_energies: Array
    errors: Array = field(default_factory=lambda: np.full(3, np.nan))

    @property
    def entropy_std(self) -> float:
        """Estimated error of the entropy, eV/K; NaN where it is unknown."""
        return float(np.linalg.norm(self.errors))

    def __sub__(self, other: Vibrations) -> Vibrations:
        """Difference of two states at the same temperatures."""
        return self + other * -1

    def __add__(self, other: Vibrations) -> Vibrations:
        """Sum of two systems at the same temperatures; InvalidInputError if they are not."""
        if not np.array_equal(self.temperatures, other.temperatures):
            raise InvalidInputError(
                f"temperatures: vibrations at {self.temperatures} K and at {other.temperatures} K "
                "cannot be added"
            )
        return Vibrations(
            self.temperatures,
            self.entropies + other.entropies,
            self.free_energies + other.free_energies,
            self.errors + other.errors,
        )

    def __mul__(self, count: float) -> Vibrations:
        """So many times as much of the system."""
        return Vibrations(
            self.temperatures,
            self.entropies * count,
            self.free_energies * count,
            self.errors * count,
        )

    @classmethod
    def classical(
        cls, reduced: float, n_modes: float, temperatures: Array, errors: ArrayLike = np.nan
    ) -> Vibrations:
        """From the temperature-free core of the entropy, see `classical_entropy`.

        Parameters
        ----------
        reduced, n_modes : float
        temperatures : ndarray, shape (n,), K
        errors : float or array_like, shape (3,), k_B
            Of the core.

        Returns
        -------
        Vibrations
        """
        entropies = classical_entropy(reduced, n_modes, temperatures)
        return cls(
            temperatures,
            entropies,
            temperatures * (n_modes * kB - entropies),
            kB * np.broadcast_to(np.asarray(errors, dtype=float), (3,)),
        )


def check_temperatures(temperatures: ArrayLike, *, zero: bool = False) -> Array:
    """Temperatures, one or several, as an array of positive numbers.

    Parameters
    ----------
    temperatures : float or array_like, shape (n,), K
    zero : bool
        Whether 0 K will do, too.

    Returns
    -------
    ndarray, shape (n,), K

    Raises
    ------
    InvalidInputError
        If one is not a positive, finite number.
    """
    return np.array([check_temperature(t, zero=zero) for t in np.atleast_1d(temperatures)])


def check_temperature(temperature: float, *, zero: bool = False) -> float:
    """Temperature as a positive float.

    Parameters
    ----------
    temperature : float, K
    zero : bool
        Whether 0 K will do, too.

    Returns
    -------
    float, K

    Raises
    ------
    InvalidInputError
        If it is not a positive, finite number.
    """
    try:
        value = float("nan" if isinstance(temperature, bool | np.bool_) else temperature)
    except (TypeError, ValueError):
        value = float("nan")
    if np.isfinite(value) and (value > 0 or (zero and value == 0)):
        return value
    raise InvalidInputError(
        f"temperature: expected a number in K {'≥' if zero else '>'} 0, got {temperature!r}"
        + ("; 0 K is for quantum=True" if value == 0 else "")
    )
