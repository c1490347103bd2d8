"""The surrogate as an ASE calculator."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import kB
from numpy.typing import NDArray

from ase_vibent.base import EntropyCalculator, SiteThermodynamics
from ase_vibent.descriptors.neighbours import NeighbourLists
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.entropy import classical_entropy, mass_entropy
from ase_vibent.harmonic.modes import check_masses
from ase_vibent.model import SiteModel

Array = NDArray[np.float64]


class SiteEntropyCalculator(EntropyCalculator):
    """Vibrational entropy and free energy of every atom from a trained site model.

    Linear in the number of atoms and strictly extensive: the values are thermodynamic
    limits with three modes per atom, S_i(T) = k_B [s_i + (3/2) ln m_i + 3 (1 + ln(T/T0))],
    so masses and isotopes are exact. Compare *differences* to the perfect crystal with
    Γ-point references. Classical statistics.

    `energy` = `free_energy` = F_vib(T): put it beside a potential in ASE's SumCalculator
    for optimizers, NEB and cell filters on E + F_vib(T). (SumCalculator keeps results of
    its own and sees neither temperature nor masses change: set its `use_cache = False`.)

    Parameters
    ----------
    model : SiteModel or path
        A trained model or its coefficient file.
    temperature : float, K
        May be set later.
    """

    default_parameters: dict[str, Any] = {  # noqa: RUF012 - the name is ASE's
        "temperature": 300.0,
        "model": None,
    }

    def __init__(self, model: SiteModel | str | os.PathLike[str], *, temperature: float = 300.0):
        # Trajectories and databases keep parameters: a path they can hold, an object not.
        source = "in memory"
        if not isinstance(model, SiteModel):
            source, model = os.fspath(model), SiteModel.load(model)
        if model.target != "entropy":
            raise InvalidInputError(
                f"model: expected one that predicts 'entropy', got {model.target!r}"
            )
        self.model = model
        self._neighbours = NeighbourLists()
        super().__init__(temperature=temperature, model=source)

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Change the temperature; another model needs another calculator."""
        if "model" in kwargs and self.parameters.get("model") is not None:
            raise InvalidInputError(
                "model: it cannot be exchanged; make a new SiteEntropyCalculator"
            )
        return super().set(**kwargs)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Changes since the last calculation; sublattice labels count where the model uses them."""
        changes = super().check_state(atoms, tol)
        if (
            self.atoms is not None
            and resolves_sublattices(self.model.kinds)
            and not np.array_equal(
                self.atoms.arrays[SUBLATTICES], atoms.arrays.get(SUBLATTICES, ())
            )
        ):
            changes.append(SUBLATTICES)
        return changes

    def _evaluate(self, atoms: Atoms, *, gradient: bool, strain: bool) -> SiteThermodynamics:
        """See `EntropyCalculator._evaluate`."""
        temperature = self.temperature
        sums = self.model.evaluate(atoms, gradient=gradient, lists=self._neighbours)
        reduced = sums.values + mass_entropy(check_masses(atoms))
        entropies = classical_entropy(reduced, np.full(len(atoms), 3.0), temperature)
        free_energies = temperature * (3 * kB - entropies)
        derivatives: list[Any] = [None] * 4
        if sums.gradient is not None and sums.strain is not None:
            slope, strain_slope = kB * sums.gradient, kB * sums.strain
            derivatives = [slope, -temperature * slope, strain_slope, -temperature * strain_slope]
        return SiteThermodynamics(entropies, free_energies, *derivatives)
