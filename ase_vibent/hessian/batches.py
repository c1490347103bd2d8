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

from ase_vibent.arrays import Array, from_tensor
from ase_vibent.checks import check_integer

#: Most atoms in a batch, where a calculator does not say.
BATCH_ATOMS = 2000
#: Of graph networks on processors: larger ones leave their caches, and are slower than single calls
#: (SevenNet-0, silicon, one core: 128 atoms take 0.8 to 0.95 of the time, 2000 take 1.8).
PROCESSOR_ATOMS = 128

#: Forces, eV/Å, and where asked for stresses, eV/Å³, of (structures, whether stresses are wanted).
ResponsesOfMany = Callable[[list[Atoms], bool], Sequence[tuple[Any, Any]]]


@dataclass(frozen=True)
class ForcesBatch:
    """How to compute forces, and stresses, of many structures at once.

    Attributes
    ----------
    responses : callable (list of Atoms, stress: bool) -> sequence of (forces, stress or None)
        Forces of shape (N, 3), eV/Å; stresses as ASE has them, eV/Å³.
    most_atoms : int
        That should be in one batch, of all structures together.
    has_stress : bool
        Whether stresses can be had so.
    """

    responses: ResponsesOfMany
    most_atoms: int
    has_stress: bool = True

    def forces(self, structures: list[Atoms]) -> list[Any]:
        """Forces of structures, each of shape (N, 3), eV/Å."""
        return [forces for forces, _ in self.responses(structures, False)]


class SupportsForcesBatch(Protocol):
    """Calculator that gives forces of many structures at once.

    An attribute `batch_atoms` may say how many atoms should be in a batch; default 2000, and 128
    where its `device` is the processor. A method `get_forces_and_stresses_batch` of the same
    argument may give pairs of forces and stress, the latter as ASE has it, eV/Å³, of shape (6,) or
    (3, 3): otherwise derivatives in strain take single calls.
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
        most_atoms = getattr(calculator, "batch_atoms", _most_atoms(calculator))
        check_integer("batch_atoms", most_atoms, 1)
        with_stresses = getattr(calculator, "get_forces_and_stresses_batch", None)
        offered = "stress" in getattr(calculator, "implemented_properties", ())
        has_stress = offered and with_stresses is not None
        return ForcesBatch(_own(own, with_stresses), most_atoms, has_stress)
    # The very class: what derives from it may calculate something else.
    kind = type(calculator)
    adapter = ADAPTERS.get((kind.__module__, kind.__qualname__))
    try:
        responses = None if adapter is None else adapter(calculator)
    except (ImportError, AttributeError):  # a version whose parts are elsewhere: as slow as without
        responses = None
    return None if responses is None else ForcesBatch(responses, _most_atoms(calculator))


def _most_atoms(calculator: Any) -> int:
    on_processor = str(getattr(calculator, "device", None)).startswith("cpu")
    return PROCESSOR_ATOMS if on_processor else BATCH_ATOMS


def _own(forces: Callable[[list[Atoms]], Any], with_stresses: Any) -> ResponsesOfMany:
    def responses(structures: list[Atoms], stress: bool) -> list[tuple[Any, Any]]:
        if stress:
            return [(one, other) for one, other in with_stresses(structures)]
        return [(one, None) for one in forces(structures)]

    return responses


def _chgnet(calculator: Any) -> ResponsesOfMany:
    from pymatgen.io.ase import AseAtomsAdaptor

    model, unit = calculator.model, calculator.stress_weight

    def responses(structures: list[Atoms], stress: bool) -> list[tuple[Any, Any]]:
        graphs = [model.graph_converter(AseAtomsAdaptor.get_structure(a)) for a in structures]
        found = model.predict_graph(graphs, task="efs" if stress else "ef", batch_size=len(graphs))
        found = found if len(graphs) > 1 else [found]
        return [(one["f"], unit * one["s"] if stress else None) for one in found]

    return responses


def _sevennet(calculator: Any) -> ResponsesOfMany:
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

    def responses(structures: list[Atoms], stress: bool) -> list[tuple[Any, Any]]:
        batch = Batch.from_data_list([graph(atoms) for atoms in structures])
        model.set_is_batch_data(True)
        try:
            output = model(batch.to(calculator.device))
        finally:
            model.set_is_batch_data(False)  # as the calculator has it
        # Of xx, yy, zz, xy, yz, zx.
        stresses = -from_tensor(output[key.PRED_STRESS])[:, [0, 1, 2, 4, 5, 3]] if stress else None
        return _pairs(output[key.PRED_FORCE], stresses, structures)

    return responses


def _mace(calculator: Any) -> ResponsesOfMany | None:
    """None for compiled and padded models, and for those whose forces are not a model's alone."""
    from mace.tools.torch_geometric.batch import Batch
    from mace.tools.torch_geometric.data import Data

    special = ("use_compile", "pad_num_atoms", "pad_num_edges")
    field = getattr(calculator, "external_field", None) is not None
    if calculator.model_type != "MACE" or field or any(getattr(calculator, s, 0) for s in special):
        return None
    length, energy = calculator.length_units_to_A, calculator.energy_units_to_eV

    def graph(atoms: Atoms) -> Any:
        batch = calculator._atoms_to_batch(atoms)
        batch.__data_class__ = Data  # MACE's own cannot be taken out of a batch
        return batch.get_example(0)

    def responses(structures: list[Atoms], stress: bool) -> list[tuple[Any, Any]]:
        batch = Batch.from_data_list([graph(atoms) for atoms in structures])
        found = [m(batch.clone().to_dict(), compute_stress=stress) for m in calculator.models]
        forces = energy / length * sum(one["forces"] for one in found) / len(found)
        stresses = sum(one["stress"] for one in found) / len(found) if stress else None
        scaled = energy / length**3 * from_tensor(stresses) if stress else None
        return _pairs(forces, scaled, structures)

    return responses


def _pairs(forces: Any, stresses: Any, structures: list[Atoms]) -> list[tuple[Any, Any]]:
    """Forces and stress of every structure, from a tensor of the forces on all atoms."""
    ends = np.cumsum([len(atoms) for atoms in structures])
    of_each = np.split(from_tensor(forces), ends[:-1])
    return list(zip(of_each, [None] * len(ends) if stresses is None else stresses, strict=True))


#: By module and name of a calculator's class.
ADAPTERS: dict[tuple[str, str], Callable[[Any], ResponsesOfMany | None]] = {
    ("chgnet.model.dynamics", "CHGNetCalculator"): _chgnet,
    ("mace.calculators.mace", "MACECalculator"): _mace,
    ("sevenn.calculator", "SevenNetCalculator"): _sevennet,
}
