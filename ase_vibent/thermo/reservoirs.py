"""Chemical potentials: where atoms go that a defect lacks, and come from that it has more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from math import gcd

from ase import Atoms

from ase_vibent.arrays import Array
from ase_vibent.calculators.base import EntropyCalculator
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.thermodynamics import Vibrations

#: Given chemical potentials of all species may differ by so much from the crystal's energy, eV.
BALANCE = 1e-2


@dataclass(frozen=True)
class Reservoir:
    """Energy, entropy and vibrational free energy of atoms in equilibrium with their surroundings.

    Attributes
    ----------
    energy : float, eV
        NaN where no energies are known.
    vibrations : Vibrations
    """

    energy: float
    vibrations: Vibrations

    def __add__(self, other: Reservoir) -> Reservoir:
        """Atoms of both."""
        return Reservoir(self.energy + other.energy, self.vibrations + other.vibrations)

    def __mul__(self, count: float) -> Reservoir:
        """So many times the atoms."""
        return Reservoir(self.energy * count, self.vibrations * count)


class Surroundings:
    """Reservoirs of a crystal's species, as far as they are known.

    Parameters
    ----------
    crystal : Atoms
    energy : float, eV
        Of the crystal; NaN if no energies are known.
    calculator : EntropyCalculator
    temperatures : ndarray, shape (n,), K
    chemical_potentials : mapping of str to float or Reservoir
        By symbol; a number stands for a static energy (eV), its vibrations are then those of an
        average atom of the crystal. Of the crystal's species one may be left out: the crystal's
        equilibrium gives it.
    """

    def __init__(
        self,
        crystal: Atoms,
        energy: float,
        calculator: EntropyCalculator,
        temperatures: Array,
        chemical_potentials: Mapping[str, float | Reservoir] | None = None,
    ):
        counts = Counter(crystal.get_chemical_symbols())
        units = reduce(gcd, counts.values())
        self.composition = {symbol: count // units for symbol, count in counts.items()}
        self.given = dict(chemical_potentials or {})
        self._nothing = Reservoir(0.0, Vibrations.classical(0.0, 0.0, temperatures, 0.0))
        self._crystal, self._units, self._energy = crystal, units, energy
        self._calculator, self._temperatures = calculator, temperatures
        self._unit: Reservoir | None = None

    @property
    def formula_unit(self) -> Reservoir:
        """One formula unit of the infinite crystal."""
        if self._unit is None:
            whole = self._calculator.bulk_vibrations(self._crystal, self._temperatures)
            self._unit = Reservoir(self._energy / self._units, whole * (1 / self._units))
        return self._unit

    def of(self, excess: Mapping[str, int]) -> Reservoir:
        """Reservoir of some atoms.

        Parameters
        ----------
        excess : mapping of str to int
            How many of each species; negative where the defect has too few.

        Returns
        -------
        Reservoir

        Raises
        ------
        InvalidInputError
            If a chemical potential that is needed is missing, or those given contradict the
            crystal's energy.
        """
        wanted = {symbol: count for symbol, count in excess.items() if count}
        if not wanted:
            return self._nothing
        first, share = next(iter(self.composition.items()))
        units = wanted.get(first, 0) / share
        whole = {s: units * n for s, n in self.composition.items() if units}
        if wanted == whole and not set(self.composition) <= set(self.given):
            return self.formula_unit * units
        potentials = self._potentials(wanted)
        return reduce(
            lambda total, item: total + potentials[item[0]] * item[1],
            wanted.items(),
            self._nothing,
        )

    def _potentials(self, wanted: Mapping[str, int]) -> dict[str, Reservoir]:
        """Chemical potentials of all species that are wanted."""
        unknown = [symbol for symbol in self.composition if symbol not in self.given]
        sets = self._sets_that_do(wanted, unknown)
        if sets[0]:
            raise InvalidInputError(
                f"chemical_potentials: missing for {', or '.join(map(' and '.join, sets))}; the "
                f"defect has another number of atoms than the crystal ({_format_counts(wanted)}), "
                "so say in equilibrium with what: {symbol: energy per atom in eV}"
            )
        given = {symbol: self._reservoir(value) for symbol, value in self.given.items()}
        if len(unknown) > 1:  # none of them is wanted
            return given
        rest = reduce(
            lambda total, symbol: total + given[symbol] * -self.composition[symbol],
            [symbol for symbol in self.composition if symbol in self.given],
            self.formula_unit,
        )
        if unknown:
            return {**given, unknown[0]: rest * (1 / self.composition[unknown[0]])}
        if abs(rest.energy) > BALANCE:
            raise InvalidInputError(
                f"chemical_potentials: those of {', '.join(self.composition)} add up to "
                f"{-rest.energy:+.3f} eV per formula unit beside the crystal's energy; it would "
                "grow or dissolve: leave one of them out"
            )
        return given

    def _sets_that_do(self, wanted: Mapping[str, int], unknown: list[str]) -> list[list[str]]:
        """Smallest sets of species of which any one would do beside those given; one if none is.

        Either all that are wanted, or all of the crystal's but one, which its equilibrium gives.
        """
        needed = [symbol for symbol in wanted if symbol not in self.given]
        foreign = [symbol for symbol in needed if symbol not in self.composition]
        sets = [needed]
        if foreign != needed:
            sets += [foreign + [s for s in unknown if s != last] for last in unknown]
        smallest = [one for one in sets if not any(set(other) < set(one) for other in sets)]
        return list({frozenset(one): one for one in smallest}.values())

    def _reservoir(self, value: float | Reservoir) -> Reservoir:
        if isinstance(value, Reservoir):
            return value
        # As many modes as atoms are exchanged for, so that nothing depends on the temperature.
        share = 1 / sum(self.composition.values())
        return Reservoir(float(value), self.formula_unit.vibrations * share)


def excess_atoms(defect: Atoms, crystal: Atoms) -> dict[str, int]:
    """How many atoms of each species the defective structure has more than the crystal.

    Parameters
    ----------
    defect, crystal : Atoms

    Returns
    -------
    dict of str to int
        Negative where it has fewer, without zeros.
    """
    counts = Counter(defect.get_chemical_symbols())
    counts.subtract(crystal.get_chemical_symbols())
    return {symbol: count for symbol, count in sorted(counts.items()) if count}


def _format_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:+d} {symbol}" for symbol, count in counts.items())
