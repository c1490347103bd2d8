"""Constraints that a relaxation has left do no harm where structures are repeated or cut."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixCom, FixSymmetry
from hypothesis import given
from hypothesis import strategies as st

from ase_vibent import PhonopyEntropyCalculator, structures
from ase_vibent.errors import InvalidStructureError
from ase_vibent.hessian import repeated_hessian
from ase_vibent.structures import cells, symmetry

LEFT_OVER = {"FixSymmetry": FixSymmetry, "FixCom": lambda atoms: FixCom()}


def crystals(leftover, *, left_handed=False):
    """Unit cell, supercell and vacancy, each under a constraint of its own, if any."""
    unit = bulk("Cu", cubic=True)
    if left_handed:
        unit.set_cell(unit.cell.array[[1, 0, 2]])
    whole = unit * 2
    vacancy = whole.copy()
    del vacancy[0]
    if leftover is not None:
        for atoms in (unit, whole, vacancy):
            atoms.set_constraint(LEFT_OVER[leftover](atoms))
    return unit, whole, vacancy


MAKERS = {
    "match_references": lambda u, w, v: cells.match_references([v], [u]),
    "next_supercell": lambda u, w, v: cells.next_supercell(v, [u]),
    "closest_supercell": lambda u, w, v: cells.closest_supercell(v, [u]),
    "vacancies": lambda u, w, v: structures.vacancies(w),
    "divacancies": lambda u, w, v: structures.divacancies(w),
    "interstitials": lambda u, w, v: structures.interstitials(w),
    "dumbbells": lambda u, w, v: structures.dumbbells(w),
    "clusters": lambda u, w, v: structures.clusters(w, "interstitial", 2, 1),
    "apply_strain": lambda u, w, v: structures.apply_strain(v, 0.01),
    "rattle": lambda u, w, v: structures.rattle(v, 0.1, 1),
    "damage": lambda u, w, v: structures.damage(w, 0.2, 0.3, 1),
    "embed": lambda u, w, v: structures.embed(v, u, cells.repeated(w, (2, 1, 1))),
    "wigner_seitz_defects": lambda u, w, v: structures.wigner_seitz_defects(v, u).sites,
    "label_sublattices": lambda u, w, v: structures.label_sublattices(v, u),
    "multiplicity": lambda u, w, v: symmetry.defect_multiplicity(v, w),
    "repeated_hessian": lambda u, w, v: repeated_hessian(u, (2, 2, 2), EMT()).toarray(),
    "phonopy": lambda u, w, v: PhonopyEntropyCalculator(EMT()).get_property("entropy", w),
}


@pytest.mark.parametrize("left_handed", [False, True])
@pytest.mark.parametrize("leftover", LEFT_OVER)
def test_nothing_changes(leftover, left_handed):
    plain, left = (crystals(name, left_handed=left_handed) for name in (None, leftover))
    for name, make in MAKERS.items():
        if name == "repeated_hessian" and left_handed:
            continue
        expected, found = make(*plain), make(*left)
        if isinstance(expected, float | np.ndarray):
            np.testing.assert_array_equal(found, expected, err_msg=name)
            continue
        for one, other in zip(
            *([x] if not isinstance(x, list) else x for x in (found, expected)), strict=True
        ):
            np.testing.assert_array_equal(one.positions, other.positions, err_msg=name)
            np.testing.assert_array_equal(one.cell, other.cell, err_msg=name)


@given(
    st.floats(1e-9, 0.09),
    st.permutations(range(3)),
    st.tuples(*3 * [st.floats(-50, 50)]),
)
def test_thin_cells_are_refused_at_once(thickness, axes, slant):
    cell = np.diag([4.0, 5.0, thickness])
    cell[0, 1:], cell[1, 2] = slant[:2], slant[2]
    atoms = bulk("Cu")
    atoms.set_cell(cell[:, axes])
    with pytest.raises(InvalidStructureError, match="closer than"):
        structures.check_structure(atoms)
