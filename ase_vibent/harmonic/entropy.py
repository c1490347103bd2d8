"""Entropy and free energy of harmonic modes, in total and site by site.

Classical, [Lapointe2020] (2), [Lapointe2022] (2): S = k_B Σ_ν [ln(k_B T/ħω_ν) + 1]; quantum,
[Torabi2024] (B.3), (B.8).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase.units import kB
from numpy.polynomial import Polynomial

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.modes import HBAR_OMEGA

#: Temperature in K at which the dimensionless entropy s is defined.
T0 = 300.0
#: ħω/k_B T from which on a mode is in its ground state, to the last bit.
FROZEN = 800.0


@dataclass(frozen=True)
class ModeThermodynamics:
    """Entropy and free energy of every mode, and their slopes in the eigenvalue.

    Attributes
    ----------
    entropy : ndarray, shape (n,), eV/K
    free_energy : ndarray, shape (n,), eV
    entropy_slope : ndarray, shape (n,), eV/K per eV/Å²/amu
        Derivative with respect to the eigenvalue λ = ω² of the dynamical matrix.
    free_energy_slope : ndarray, shape (n,), eV per eV/Å²/amu
    """

    entropy: Array
    free_energy: Array
    entropy_slope: Array
    free_energy_slope: Array


Statistics = Callable[[Array, float], ModeThermodynamics]


def classical(eigenvalues: Array, temperature: float) -> ModeThermodynamics:
    """Classical harmonic oscillators, [Lapointe2022] (2).

    Parameters
    ----------
    eigenvalues : ndarray, shape (n,), eV/Å²/amu
        Positive eigenvalues of the dynamical matrix.
    temperature : float, K

    Returns
    -------
    ModeThermodynamics
    """
    thermal = kB * temperature
    log_ratio = np.log(HBAR_OMEGA * np.sqrt(eigenvalues) / thermal)
    return ModeThermodynamics(
        entropy=kB * (1 - log_ratio),
        free_energy=thermal * log_ratio,
        entropy_slope=-kB / (2 * eigenvalues),
        free_energy_slope=thermal / (2 * eigenvalues),
    )


def quantum(eigenvalues: Array, temperature: float) -> ModeThermodynamics:
    """Quantum harmonic oscillators, zero-point energy included, [Torabi2024] (B.3), (B.8).

    Parameters
    ----------
    eigenvalues : ndarray, shape (n,), eV/Å²/amu
        Positive eigenvalues of the dynamical matrix.
    temperature : float, K
        At 0 K that of the ground state.

    Returns
    -------
    ModeThermodynamics
    """
    thermal = kB * temperature
    energy = HBAR_OMEGA * np.sqrt(eigenvalues)
    x = np.minimum(energy / max(thermal, 1e-300), FROZEN)
    decay = np.exp(-x)
    log_bose = np.log(-np.expm1(-x))
    occupation = decay / -np.expm1(-x)
    heat_capacity = x**2 * decay / np.expm1(-x) ** 2
    return ModeThermodynamics(
        entropy=kB * (x * occupation - log_bose),
        free_energy=energy / 2 + thermal * log_bose,
        entropy_slope=-kB * heat_capacity / (2 * eigenvalues),
        free_energy_slope=energy * (0.5 + occupation) / (2 * eigenvalues),
    )


def quantum_correction(eigenvalues: Array, temperature: float) -> ModeThermodynamics:
    """Quantum minus classical oscillators: F_q - F_cl = k_B T [ln(2 sinh(x/2)) - ln x].

    Here x = ħω/k_B T. It is smooth in λ = ω² and zero at λ = 0: rigid-body motions do not count.
    For an unstable mode it is that of a parabolic barrier, down to the crossover temperature.

    Parameters
    ----------
    eigenvalues : ndarray of any shape, eV/Å²/amu
    temperature : float, K

    Returns
    -------
    ModeThermodynamics

    Raises
    ------
    InvalidInputError
        If a mode is unstable with ħ|ω| ≥ 2π k_B T, where a barrier has no such correction.
    """
    thermal = kB * temperature
    scale = (HBAR_OMEGA / thermal) ** 2
    squares = scale * eigenvalues
    if not np.all(squares > -((2 * np.pi) ** 2)):
        raise InvalidInputError(
            f"temperature: {temperature:g} K is below the crossover ħ|ω|/(2π k_B) of an unstable "
            "mode, where its quantum correction ends"
        )
    value, slope, curvature = _log_sinh_ratio(squares)
    return ModeThermodynamics(
        entropy=kB * (2 * squares * slope - value),
        free_energy=thermal * value,
        entropy_slope=kB * scale * (slope + 2 * squares * curvature),
        free_energy_slope=thermal * scale * slope,
    )


#: Expansion of ln(sinh(√y/2)/(√y/2)) in y, to rounding where |y| < 0.5.
_SMALL = Polynomial(
    [
        0,
        1 / 24,
        -1 / 2880,
        1 / 181440,
        -1 / 9676800,
        1 / 479001600,
        -691 / 15692092416000,
        1 / 1046139494400,
    ]
)


def _log_sinh_ratio(squares: Array) -> tuple[Array, Array, Array]:
    """ln(sinh(x/2)/(x/2)) as a function of y = x² > -4π², and its derivatives in y."""
    small = np.abs(squares) < 0.5
    x = np.sqrt(np.where(small, 1.0, squares) + 0j)  # imaginary for y < 0
    decay, gap = np.exp(-x), -np.expm1(-x)
    excess = (1 + decay) / (2 * gap) - 1 / x
    bend = 1 / x**2 - decay / gap**2
    far = (
        x / 2 + np.log(gap) - np.log(x),
        excess / (2 * x),
        (bend - excess / x) / (4 * x**2),
    )
    value, slope, curvature = (
        np.where(small, _SMALL.deriv(order)(squares), function.real)
        for order, function in enumerate(far)
    )
    return value, slope, curvature


def reduced_entropy(eigenvalues: Array) -> Array:
    """Temperature-free entropy -ln(ħω/(k_B T0)) of every mode.

    Parameters
    ----------
    eigenvalues : ndarray, shape (n,), eV/Å²/amu
        Positive. Eigenvalues of a Hessian in eV/Å² stand for masses of 1 amu.

    Returns
    -------
    ndarray, shape (n,), dimensionless (units of k_B)
    """
    return -np.log(HBAR_OMEGA * np.sqrt(eigenvalues) / (kB * T0))


def reduced_entropy_of_determinant(log_determinant: float, n_modes: float) -> float:
    """Sum of `reduced_entropy` over modes of which only the determinant is known.

    Parameters
    ----------
    log_determinant : float
        Logarithm of the product of the eigenvalues in eV/Å²/amu.
    n_modes : float

    Returns
    -------
    float, dimensionless (units of k_B)
    """
    return -0.5 * log_determinant - n_modes * float(np.log(HBAR_OMEGA / (kB * T0)))


def classical_entropy(
    reduced: Array | float, n_modes: Array | float, temperature: Array | float
) -> Array:
    """S(T) = k_B [s + n_modes (1 + ln(T/T0))] from the temperature-free core s.

    Parameters
    ----------
    reduced : float or ndarray, dimensionless
    n_modes : float or ndarray of the same shape
        Number of modes behind each value; a site has Σ_ν |e_νi|² of them.
    temperature : float, or ndarray of the same shape, K

    Returns
    -------
    ndarray, eV/K
    """
    return kB * (np.asarray(reduced) + np.asarray(n_modes) * (1 + np.log(temperature / T0)))


def mass_entropy(masses: Array) -> Array:
    """What the masses add to the reduced entropy of their sites, (3/2) ln(m/amu).

    Exact for stable periodic cells up to (3/2) ln(mean mass), the share of the three
    translations.

    Parameters
    ----------
    masses : ndarray, shape (N,), amu

    Returns
    -------
    ndarray, shape (N,), dimensionless (units of k_B)
    """
    return 1.5 * np.log(masses)


def unstable_mass_entropy(masses: Array, n_unstable: float) -> float:
    """What a total lacks of `mass_entropy` where unstable modes are left out: ½ ln m each.

    Of the mean ln m, exact where all masses are equal.

    Parameters
    ----------
    masses : ndarray, shape (N,), amu
    n_unstable : float

    Returns
    -------
    float, dimensionless (units of k_B)
    """
    return -0.5 * n_unstable * float(np.log(masses).mean())


def mass_free_site_entropies(sites: Array, masses: Array, total: float) -> Array:
    """Reduced site entropies on eigenvectors of the Hessian, masses added analytically.

    s_i = -Σ_ν |e_νi|² ln(ħω_ν/(k_B T0)) + (3/2) ln m_i + rest, with modes of the Hessian
    at unit mass. The rest makes the sites sum to the total; it belongs to the rigid-body
    motions (-(3/2) ln(mean mass) in a stable periodic cell) and is shared evenly.

    Parameters
    ----------
    sites : ndarray, shape (n,), dimensionless
        Of the Hessian, at masses of 1 amu.
    masses : ndarray, shape (n,), amu
    total : float, dimensionless
        Reduced entropy of the whole system, masses included.

    Returns
    -------
    ndarray, shape (n,), dimensionless (units of k_B)
    """
    sites = sites + mass_entropy(masses)
    return sites + (total - sites.sum()) / len(masses)
