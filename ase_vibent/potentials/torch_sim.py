"""Models of torch-sim as ASE calculators that give forces and stresses of many structures at once.

torch-sim itself is only imported once such a model is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from ase_vibent.arrays import Array, from_tensor
from ase_vibent.errors import CalculatorError, InvalidInputError

#: Module and name of the class that all models derive from.
INTERFACE = ("torch_sim.models.interface", "ModelInterface")


def is_torch_sim_model(candidate: object) -> bool:
    """Whether an object is a model of torch-sim, which need not be installed.

    Parameters
    ----------
    candidate : object

    Returns
    -------
    bool
    """
    kinds = type(candidate).__mro__
    return INTERFACE in [(kind.__module__, kind.__qualname__) for kind in kinds]


class TorchSimCalculator(Calculator):
    """A model of torch-sim as an ASE calculator; see `SupportsForcesBatch`.

    Wherever a calculator is expected, the model itself may be passed, too. Models see species,
    positions, cell and periodicity; moments and charges of atoms they do not.

    Parameters
    ----------
    model : torch_sim.models.interface.ModelInterface

    Raises
    ------
    InvalidInputError
        If it is no such model, or computes no forces.
    """

    def __init__(self, model: Any):
        if not is_torch_sim_model(model):
            raise InvalidInputError(
                f"model: expected one of torch-sim, a ModelInterface, got {type(model).__name__}"
            )
        if not model.compute_forces:
            raise InvalidInputError(
                f"model: {type(model).__name__} is told to compute no forces; make it with "
                "compute_forces=True"
            )
        super().__init__()
        self.model = model
        self.parameters = {"model": type(model).__qualname__, "dtype": str(model.dtype)}
        stress = ["stress"] if _offers_stress(model) else []
        self.implemented_properties = ["energy", "free_energy", "forces", *stress]

    @property
    def device(self) -> Any:
        """That the model works on."""
        return self.model.device

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill `results`; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        stress = "stress" in properties
        output = self._output([self.atoms], stress=stress)
        energy = float(output["energy"].item())
        self.results = {"energy": energy, "free_energy": energy, "forces": output["forces"]}
        if stress:
            self.results["stress"] = full_3x3_to_voigt_6_stress(output["stress"][0])

    def get_forces_batch(self, structures: list[Atoms]) -> list[Array]:
        """See `SupportsForcesBatch`."""
        return _split(self._output(structures, stress=False)["forces"], structures)

    def get_forces_and_stresses_batch(self, structures: list[Atoms]) -> list[tuple[Array, Array]]:
        """See `SupportsForcesBatch`."""
        output = self._output(structures, stress=True)
        forces = _split(output["forces"], structures)
        return list(zip(forces, output["stress"], strict=True))

    def _output(self, structures: list[Atoms], *, stress: bool) -> dict[str, Any]:
        """What the model says of structures, as arrays."""
        from torch_sim.io import atoms_to_state

        if stress and not self.model.compute_stress:
            self.model.compute_stress = True
        state = atoms_to_state(structures, self.model.device, self.model.dtype)
        seen = np.broadcast_to(from_tensor(state.pbc), 3).astype(bool)
        for atoms in structures:
            if not np.array_equal(seen, atoms.pbc):
                raise CalculatorError(
                    f"calculator: this version of torch-sim takes a structure periodic along "
                    f"{_axes(atoms.pbc)} for one periodic along {_axes(seen)}; install a newer "
                    "one, or use structures periodic along three directions"
                )
        names = ("energy", "forces", *(["stress"] if stress else []))
        output = self.model(state)
        return {name: from_tensor(output[name]) for name in names}


def _offers_stress(model: Any) -> bool:
    """Whether a model computes stresses, or lets itself be told to."""
    if model.compute_stress:
        return True
    try:
        model.compute_stress = False
    except (AttributeError, NotImplementedError):
        return False
    return True


def _split(of_atoms: Array, structures: list[Atoms]) -> list[Array]:
    return np.split(of_atoms, np.cumsum([len(atoms) for atoms in structures])[:-1])


def _axes(pbc: Any) -> str:
    return "".join(axis for axis, periodic in zip("xyz", pbc, strict=True) if periodic) or "none"
