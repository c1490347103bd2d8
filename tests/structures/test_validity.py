"""Structures that nothing can be said of are refused, at once and at every door."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from ase_vibent import HessianEntropyCalculator, PhonopyEntropyCalculator, bulk_site_entropies
from ase_vibent.errors import InvalidStructureError, LabelError
from ase_vibent.labelling.run import LabelTask, label_structures
from ase_vibent.stationary import relax
from ase_vibent.structures import vacancies
from ase_vibent.structures.cells import closest_supercell, match_references


def pair(cell=(5, 5, 5), numbers=(29, 29), pbc=True):
    atoms = Atoms("Cu2", [[0, 0, 0], [2, 0, 0]], cell=cell, pbc=pbc)
    atoms.numbers[:] = numbers
    return atoms


UNUSABLE = {
    "thin": pair([5, 5, 1e-7]),
    "thin wire": pair([1e-7, 1, 1], pbc=(True, False, False)),
    "thin all round": pair([1e-7, 1e-7, 1e-7]),
    "flat": pair([[5, 0, 0], [5, 1e-7, 0], [0, 0, 5]]),
    "flat and skew": pair([[5, 0, 0], [17**0.5, 3, 0], [5 * 3**0.5, 2, 1e-7]]),
    "no cell": pair([0, 0, 0]),
    "number 119": pair(numbers=(119, 29)),
    "number -1": pair(numbers=(29, -1)),
    "NaN cell": pair([np.nan, 5, 5]),
}
DOORS = {
    "entropy": lambda a: HessianEntropyCalculator(EMT()).get_property("entropy", a),
    "Hessian": lambda a: HessianEntropyCalculator(hessian=np.eye(6)).get_property("entropy", a),
    "phonons": lambda a: PhonopyEntropyCalculator(EMT()).get_property("entropy", a),
    "bulk": lambda a: bulk_site_entropies(a, EMT()),
    "vacancies": vacancies,
    "relax": lambda a: relax(a, EMT()),
    "reference": lambda a: match_references([bulk("Cu") * 2], [a]),
    "closest": lambda a: closest_supercell(bulk("Cu") * 2, [a]),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("fault", UNUSABLE)
def test_unusable_structures(fault, door):
    with pytest.raises((InvalidStructureError, LabelError)):
        DOORS[door](UNUSABLE[fault].copy())


def test_number_beyond_the_table_is_named():
    with pytest.raises(InvalidStructureError, match="atom 0 has the atomic number 119"):
        relax(UNUSABLE["number 119"], EMT())


def test_unusable_structures_fail_alone(tmp_path):
    """Beside good ones in a run."""
    good = bulk("Cu", cubic=True)
    tasks = [LabelTask(a, labels=[], mesh="gamma") for a in [*UNUSABLE.values(), good]]
    summary = label_structures(tasks, tmp_path / "labels.xyz", EMT, calculator_name="emt", n_jobs=1)
    assert summary.done == 1
    assert [number for number, _ in summary.failed] == list(range(len(UNUSABLE)))
