"""What an entropy calculator says of every atom, and how that differs from the crystal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import kB

from ase_vibent.arrays import Array
from ase_vibent.calculators.base import EntropyCalculator
from ase_vibent.calculators.surrogate import SiteEntropyCalculator, classical_sites
from ase_vibent.descriptors import SiteSums
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.modes import check_masses
from ase_vibent.report.scene import Scene, SiteQuantity
from ase_vibent.structures.atom_types import species_indices
from ase_vibent.structures.cells import closest_supercell
from ase_vibent.structures.validity import check_structure
from ase_vibent.structures.wigner_seitz import wigner_seitz_defects

#: Differences of entropies that are worth colours, k_B.
LEAST_DIFFERENCE = 1e-4


@dataclass(frozen=True)
class SiteValues:
    """Entropies of a structure and of its atoms.

    Attributes
    ----------
    atoms : Atoms
    entropy, free_energy : float, eV/K and eV
    entropies : ndarray, shape (N,), eV/K
    differences : ndarray or None, shape (N,), eV/K
        To the crystal; NaN of species that it lacks, None where it is unknown.
    entropy_std : float or None, eV/K
    entropies_std : ndarray or None, shape (N,), eV/K
    grades : ndarray or None, shape (N,)
        Extrapolation grades.
    beside : str
        What differences are to.
    """

    atoms: Atoms
    entropy: float
    free_energy: float
    entropies: Array = field(repr=False)
    differences: Array | None = field(default=None, repr=False)
    entropy_std: float | None = None
    entropies_std: Array | None = field(default=None, repr=False)
    grades: Array | None = field(default=None, repr=False)
    beside: str = "the crystal"

    @property
    def quantities(self) -> tuple[SiteQuantity, ...]:
        """What atoms are coloured by; differences first, where they are known."""
        found = []
        if self.differences is not None:
            name, values = f"difference to {self.beside}", self.differences / kB
            found.append(SiteQuantity(name, "k_B", values, True, LEAST_DIFFERENCE))
        values = self.entropies / kB
        found.append(SiteQuantity("site entropy", "k_B", values, False, LEAST_DIFFERENCE))
        if self.entropies_std is not None:
            found.append(SiteQuantity("standard deviation", "k_B", self.entropies_std / kB))
        if self.grades is not None:
            found.append(SiteQuantity("extrapolation grade", "", self.grades))
        return tuple(found)


def site_values(
    atoms: Atoms, calculator: EntropyCalculator, crystal: Atoms | None = None
) -> SiteValues:
    """Entropies of all atoms, with what the calculator knows of its errors.

    Parameters
    ----------
    atoms : Atoms
    calculator : EntropyCalculator
        Exact or surrogate.
    crystal : Atoms, optional
        Perfect crystal in the same orientation, a unit cell or a supercell. A classical site model
        knows its own, unless it leaves soft modes out.

    Returns
    -------
    SiteValues

    Raises
    ------
    InvalidInputError
        If the calculator gives no entropies.
    InvalidStructureError
        If a structure is unusable, or no repetition of the crystal fits the structure.
    """
    if not isinstance(calculator, EntropyCalculator):
        raise InvalidInputError(
            "calculator: expected one of entropies, such as SiteEntropyCalculator, got "
            f"{type(calculator).__name__}"
        )
    check_structure(atoms)
    wanted = ["energy", "entropy", "entropies"]
    if isinstance(calculator, SiteEntropyCalculator):
        model = calculator.model
        wanted += calculator.target.deviations if model.posterior is not None else ()
        wanted += ["extrapolation_grades"] if model.domain is not None else []
    calculator.calculate(atoms, wanted)
    found = {name: calculator.results[name] for name in wanted}
    differences = (
        _deviations(atoms, found["entropies"], calculator)
        if crystal is None
        else _differences_to(crystal, atoms, found["entropies"], calculator)
    )
    return SiteValues(
        atoms,
        found["entropy"],
        found["energy"],
        found["entropies"],
        differences,
        found.get("entropy_std"),
        found.get("entropies_std"),
        found.get("extrapolation_grades"),
    )


def _deviations(atoms: Atoms, entropies: Array, calculator: EntropyCalculator) -> Array | None:
    """Differences to the crystal that a model knows; None if it knows none."""
    if not isinstance(calculator, SiteEntropyCalculator) or calculator.parameters["quantum"]:
        return None
    if calculator.soft_parts:  # of those, the model does not know the crystal's
        return None
    model = calculator.model
    usual = SiteSums(model.constants[species_indices(atoms, model.species)], None, None)
    crystal = classical_sites(usual, check_masses(atoms), calculator.temperature)
    return entropies - crystal.entropies


def _differences_to(
    crystal: Atoms, atoms: Atoms, entropies: Array, calculator: EntropyCalculator
) -> Array:
    """Less what the crystal's atom has whose Wigner-Seitz cell an atom is in, or its species."""
    if not isinstance(calculator, SiteEntropyCalculator) or calculator.soft_parts:
        # Models repeat it by themselves, but soft modes are those of a cell.
        crystal = closest_supercell(atoms, [crystal])
    found = wigner_seitz_defects(atoms, crystal)
    of_crystal = calculator.get_property("entropies", crystal)
    usual = of_crystal[found.site_of_atom % len(crystal)]
    for number in np.unique(atoms.numbers[found.foreign]):
        same = crystal.numbers == number
        mean = of_crystal[same].mean() if np.any(same) else np.nan
        usual[found.foreign & (atoms.numbers == number)] = mean
    return np.asarray(entropies - usual)


def scene_of(name: str, values: SiteValues, **options: Any) -> Scene:
    """The structure, to be drawn.

    Parameters
    ----------
    name : str
    values : SiteValues
    **options
        Of `Scene`.

    Returns
    -------
    Scene
    """
    return Scene(name, values.atoms, values.quantities, **options)
