"""Calculators that give forces of many structures at once.

Any calculator does so by a method `get_forces_batch`, see `SupportsForcesBatch`. For some
machine-learned potentials, whose own calculators do not, it is here; their packages are only
imported once one of their calculators is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from ase import Atoms

from ase_vibent.arrays import Array
from ase_vibent.checks import check_integer

#: Most atoms in a batch, where a calculator does not say.
BATCH_ATOMS = 2000
#: Of graph networks on processors: larger ones leave their caches, and are slower than single calls
#: (SevenNet-0, silicon, one core: 128 atoms take 0.8 to 0.95 of the time, 2000 take 1.8).
PROCESSOR_ATOMS = 128

ForcesOfMany = Callable[[list[Atoms]], Sequence[Array]]


@dataclass(frozen=True)
class ForcesBatch:
    """How to compute forces of many structures at once.

    Attributes
    ----------
    forces : callable (list of Atoms) -> sequence of ndarray, shape (N, 3), eV/Å
    most_atoms : int
        That should be in one batch, of all structures together.
    """

    forces: ForcesOfMany
    most_atoms: int


class SupportsForcesBatch(Protocol):
    """Calculator that gives forces of many structures at once.

    An attribute `batch_atoms` may say how many atoms should be in a batch; default 2000.
    """

    def get_forces_batch(self, structures: list[Atoms]) -> Sequence[Array]:
        """Forces of structures, whichever the calculator calculated before.

        Parameters
        ----------
        structures : list of Atoms

        Returns
        -------
        sequence of ndarray, shape (N, 3), eV/Å
            Of every structure, in order.
        """


def forces_batch(calculator: Any) -> ForcesBatch | None:
    """How a calculator gives forces of many structures at once.

    Parameters
    ----------
    calculator : ASE calculator

    Returns
    -------
    ForcesBatch or None
        None where they can only be had one by one.

    Raises
    ------
    InvalidInputError
        If its `batch_atoms` is no number of atoms.
    """
    own = getattr(calculator, "get_forces_batch", None)
    if own is not None:
        most_atoms = getattr(calculator, "batch_atoms", BATCH_ATOMS)
        check_integer("batch_atoms", most_atoms, 1)
        return ForcesBatch(own, most_atoms)
    # The very class: what derives from it may calculate something else.
    kind = type(calculator)
    adapter = ADAPTERS.get((kind.__module__, kind.__qualname__))
    try:
        forces = None if adapter is None else adapter(calculator)
    except (ImportError, AttributeError):  # a version whose parts are elsewhere: as slow as without
        forces = None
    if forces is None:
        return None
    on_processor = str(calculator.device).startswith("cpu")
    return ForcesBatch(forces, PROCESSOR_ATOMS if on_processor else BATCH_ATOMS)


def _chgnet(calculator: Any) -> ForcesOfMany:
    from pymatgen.io.ase import AseAtomsAdaptor

    model = calculator.model

    def forces(structures: list[Atoms]) -> list[Array]:
        graphs = [model.graph_converter(AseAtomsAdaptor.get_structure(a)) for a in structures]
        found = model.predict_graph(graphs, task="ef", batch_size=len(graphs))
        return [one["f"] for one in (found if len(graphs) > 1 else [found])]

    return forces


def _sevennet(calculator: Any) -> ForcesOfMany:
    import sevenn._keys as key
    from sevenn.atom_graph_data import AtomGraphData
    from sevenn.train.dataload import unlabeled_atoms_to_graph
    from torch_geometric.data import Batch

    model = calculator.model

    def graph(atoms: Atoms) -> Any:
        data = AtomGraphData.from_numpy_dict(unlabeled_atoms_to_graph(atoms, calculator.cutoff))
        if calculator.modal:
            data[key.DATA_MODALITY] = calculator.modal
        return data

    def forces(structures: list[Atoms]) -> list[Array]:
        batch = Batch.from_data_list([graph(atoms) for atoms in structures])
        model.set_is_batch_data(True)
        try:
            output = model(batch.to(calculator.device))
        finally:
            model.set_is_batch_data(False)  # as the calculator has it
        return _split(output[key.PRED_FORCE], structures)

    return forces


def _mace(calculator: Any) -> ForcesOfMany | None:
    """None for compiled and padded models, and for those whose forces are not a model's alone."""
    from mace.tools.torch_geometric.batch import Batch
    from mace.tools.torch_geometric.data import Data

    special = ("use_compile", "pad_num_atoms", "pad_num_edges")
    field = getattr(calculator, "external_field", None) is not None
    if calculator.model_type != "MACE" or field or any(getattr(calculator, s, 0) for s in special):
        return None
    unit = calculator.energy_units_to_eV / calculator.length_units_to_A

    def graph(atoms: Atoms) -> Any:
        batch = calculator._atoms_to_batch(atoms)
        batch.__data_class__ = Data  # MACE's own cannot be taken out of a batch
        return batch.get_example(0)

    def forces(structures: list[Atoms]) -> list[Array]:
        batch = Batch.from_data_list([graph(atoms) for atoms in structures])
        found = [model(batch.clone().to_dict())["forces"] for model in calculator.models]
        return _split(unit * sum(found) / len(found), structures)

    return forces


def _split(forces: Any, structures: list[Atoms]) -> list[Array]:
    """Forces of every structure, from a tensor of those of all atoms."""
    ends = np.cumsum([len(atoms) for atoms in structures])
    return np.split(forces.detach().cpu().numpy(), ends[:-1])


#: By module and name of a calculator's class.
ADAPTERS: dict[tuple[str, str], Callable[[Any], ForcesOfMany | None]] = {
    ("chgnet.model.dynamics", "CHGNetCalculator"): _chgnet,
    ("mace.calculators.mace", "MACECalculator"): _mace,
    ("sevenn.calculator", "SevenNetCalculator"): _sevennet,
}
