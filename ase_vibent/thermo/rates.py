"""Attempt frequencies and rates of harmonic transition state theory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.units import _e, _hplanck, kB
from numpy.typing import ArrayLike

from ase_vibent.arrays import Array
from ase_vibent.calculators.base import EntropyCalculator
from ase_vibent.calculators.surrogate import SiteEntropyCalculator
from ase_vibent.errors import InvalidInputError, UnstableStructureError
from ase_vibent.harmonic.thermodynamics import Vibrations, check_temperatures
from ase_vibent.stationary.checks import (
    FMAX,
    potential_behind,
    require_same_system,
    require_unstable_modes,
    stationary_energy,
)
from ase_vibent.structures.validity import check_structure
from ase_vibent.thermo.dilute import barrier_in_larger_cell, check_dilute
from ase_vibent.thermo.formation import known_std

#: Planck's constant, eV s.
PLANCK = _hplanck / _e


@dataclass(frozen=True)
class TransitionRate:
    """Rate from a minimum over a saddle, Vineyard's, [Lapointe2022] (23)-(25), with its parts.

    Attributes
    ----------
    barrier : float, eV
        Energy of the saddle above the minimum; NaN where no energies are known.
    vibrations : Vibrations
        Saddle less minimum; the saddle has one mode fewer.
    log_std : float
        Standard deviation of ln ν*, from that of the entropies, see `DefectFormation`; NaN where it
        is unknown.
    small_cell : TransitionRate or None
        What this one was taken to the dilute limit from.
    """

    barrier: float
    vibrations: Vibrations = field(repr=False)
    log_std: float
    small_cell: TransitionRate | None = field(default=None, repr=False)

    @property
    def temperatures(self) -> Array:
        """Shape (n,), K."""
        return self.vibrations.temperatures

    @property
    def attempt_frequencies(self) -> Array:
        """ν* = (k_B T/h) exp(-ΔF_vib/(k_B T)), shape (n,), Hz.

        Classically Vineyard's ratio of products of frequencies at all temperatures.
        """
        factors = np.exp(-self.vibrations.free_energies / (kB * self.temperatures))
        return kB * self.temperatures / PLANCK * factors

    @property
    def entropies(self) -> Array:
        """Entropy of the saddle less that of the minimum, shape (n,), eV/K."""
        return self.vibrations.entropies

    @property
    def free_energy_barriers(self) -> Array:
        """Barrier with vibrational free energies, shape (n,), eV: rate = (k_B T/h) exp(-ΔF/k_B T).

        The saddle's mode along the path is not in it.
        """
        return self.barrier + self.vibrations.free_energies

    @property
    def rates(self) -> Array:
        """ν* exp(-ΔE/(k_B T)), shape (n,), 1/s."""
        return self.attempt_frequencies * np.exp(-self.barrier / (kB * self.temperatures))

    def band(self, deviations: float = 1.0) -> tuple[Array, Array]:
        """Rates so many standard deviations of ln ν* below and above, 1/s.

        Parameters
        ----------
        deviations : float

        Returns
        -------
        lower, upper : ndarrays, shape (n,)
        """
        factor = np.exp(deviations * self.log_std)
        return self.rates / factor, self.rates * factor


def transition_rate(
    minimum: Atoms,
    saddle: Atoms,
    calculator: EntropyCalculator,
    temperatures: ArrayLike = 300.0,
    *,
    potential: object | None = None,
    check_modes: bool = True,
    surrogate: SiteEntropyCalculator | None = None,
    crystal: Atoms | None = None,
    cell: Atoms | None = None,
    fmax: float = FMAX,
) -> TransitionRate:
    """Rate of harmonic transition state theory, from exact entropies or a surrogate's.

    Of clusters, the moments of inertia of minimum and saddle are left out. With quantum
    statistics a surrogate counts the unstable mode as a parabolic barrier (Wigner's factor), an
    exact calculator leaves it out.

    Parameters
    ----------
    minimum, saddle : Atoms
        Relaxed; the same atoms in the same cell.
    calculator : EntropyCalculator
    temperatures : float or array_like, shape (n,), K
    potential : ASE calculator or factory, optional
        For energies and forces. By default the one behind an exact calculator, or energies and
        forces that both structures carry, as those of a `Saddle` do.
    check_modes : bool
        Whether a surrogate's saddle is proved to have one unstable mode, and its minimum none, by
        some hundred force calls each. An exact calculator sees them anyway; without a potential
        nobody does.
    surrogate : SiteEntropyCalculator, optional
        Takes exact entropies from this cell to a larger one, in which the potential relaxes the
        minimum and finds the saddle again; see `defect_formation`.
    crystal, cell : Atoms, optional
        Perfect crystal of this cell, or one that repeats to it, and of the larger supercell.
    fmax : float, eV/Å
        Largest force that either structure may have.

    Returns
    -------
    TransitionRate

    Raises
    ------
    InvalidStructureError
        If a structure is not at rest, or the two have other atoms or cells.
    UnstableStructureError
        If the minimum is none, or the saddle is not of first order.
    RelaxationError
        If minimum or saddle are not reached in the larger cell.
    """
    _check_pair(minimum, saddle)
    chosen = check_temperatures(temperatures)
    behind = potential_behind(calculator, potential)
    check_dilute(surrogate, cell, calculator, behind)
    if surrogate is not None and crystal is None:
        raise InvalidInputError("crystal: the dilute limit needs the perfect crystal of this cell")
    energies, states = [], []
    for atoms, name, n_unstable in ((minimum, "minimum", 0), (saddle, "saddle", 1)):
        energies.append(stationary_energy(atoms, behind, name, fmax)[0])
        try:
            if check_modes and behind is not None and not calculator.sees_modes:
                require_unstable_modes(atoms, behind, n_unstable)
            states.append(calculator.vibrations(atoms, chosen, n_unstable=n_unstable))
        except UnstableStructureError as error:
            raise UnstableStructureError(
                f"{name}: {_complaint(name, error.n_unstable)}; {error}",
                error.frequencies,
                error.n_unstable,
            ) from error
    vibrations = states[1] - states[0]
    found = TransitionRate(
        barrier=energies[1] - energies[0],
        vibrations=vibrations,
        log_std=known_std(calculator.predicted_std(saddle, chosen, minimum), vibrations) / kB,
    )
    if surrogate is None or cell is None or crystal is None:
        return found
    change = barrier_in_larger_cell(minimum, saddle, crystal, cell, surrogate, behind, chosen)
    return TransitionRate(
        barrier=change.energy,
        vibrations=vibrations + change.vibrations,
        log_std=float(np.hypot(found.log_std, change.entropy_std / kB)),
        small_cell=found,
    )


def attempt_frequency(
    minimum: Atoms, saddle: Atoms, calculator: EntropyCalculator, **options: object
) -> float:
    """Vineyard's attempt frequency.

    [Lapointe2022] (24): ν* = Π ν_minimum / Π ν_saddle over stable modes.

    Parameters
    ----------
    minimum, saddle : Atoms
    calculator : EntropyCalculator
        Its temperature matters for quantum statistics only.
    **options
        As of `transition_rate`.

    Returns
    -------
    float, Hz

    Raises
    ------
    InvalidStructureError, UnstableStructureError
        As in `transition_rate`.
    """
    rate = transition_rate(minimum, saddle, calculator, calculator.temperature, **options)  # type: ignore[arg-type]
    return float(rate.attempt_frequencies[0])


def _check_pair(minimum: Atoms, saddle: Atoms) -> None:
    check_structure(minimum)
    check_structure(saddle)
    require_same_system(minimum, saddle, "saddle")


def _complaint(name: str, n_unstable: int) -> str:
    count = f"{n_unstable} mode{' is' if n_unstable == 1 else 's are'} unstable"
    if name == "minimum":
        return f"it is none, {count}"
    if n_unstable == 0:
        return "it is a minimum, no mode is unstable"
    return f"it is not of first order, {count}"
