"""A defect in a larger cell is the same defect."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from ase_vibent.errors import InvalidStructureError
from ase_vibent.stationary import relax
from ase_vibent.structures import (
    antisites,
    divacancies,
    dumbbells,
    embed,
    vacancies,
    wigner_seitz_defects,
)
from ase_vibent.structures.embedding import is_perfect

SILICON = bulk("Si", "diamond", a=5.431, cubic=True)


@pytest.mark.parametrize(
    ("make", "counts"),
    [(vacancies, (1, 0)), (lambda c: divacancies(c, 1), (2, 0)), (dumbbells, (0, 1))],
    ids=["vacancy", "divacancy", "dumbbell"],
)
def test_the_defect_is_counted_once(make, counts, rattle):
    """Also where the small cell's border cuts through what is displaced."""
    crystal = SILICON * 2
    small = rattle(make(crystal)[0], 0.2, 0)
    large = embed(small, crystal, SILICON * 4)
    assert len(large) - len(SILICON) * 64 == len(small) - len(crystal)
    found = wigner_seitz_defects(large, SILICON)
    assert (found.n_vacancies, found.n_interstitials) == counts
    # Every displacement of the small cell, and nothing else.
    before = np.sort(wigner_seitz_defects(small, crystal).distances)
    after = np.sort(found.distances)
    np.testing.assert_allclose(after[-len(before) :], before, atol=0.02)
    assert after[: len(large) - len(small)].max() < 0.02


def test_forces_at_the_core_are_those_of_the_small_cell(sw):
    """Stillinger and Weber's potential sees second neighbours, 3.8 Å; the small cell is 10.9 Å."""
    crystal = SILICON * 2
    small = vacancies(crystal)[0]
    small.rattle(0.03, seed=1)
    large = embed(small, crystal, SILICON * 3)
    own = large[len(large) - len(small) :]
    neighbours = np.linalg.norm(
        crystal.get_distances(0, range(1, len(crystal)), mic=True, vector=True), axis=1
    )
    core = np.flatnonzero(neighbours < 2.5)
    assert len(core) == 4
    forces = []
    for atoms, offset in ((small, 0), (large, len(large) - len(small))):
        atoms.calc = sw
        forces.append(atoms.get_forces()[core + offset])
    np.testing.assert_allclose(forces[1], forces[0], atol=1e-10)
    assert np.array_equal(own.numbers, small.numbers)


def test_shifted_crystals_and_strained_cells():
    """The larger supercell may begin at another site; a relaxed cell is brought back."""
    crystal = SILICON * 2
    small = vacancies(crystal)[0]
    small.set_cell(1.01 * small.cell.array, scale_atoms=True)
    larger = SILICON * 3
    larger.positions += larger.positions[3] - larger.positions[0]
    large = embed(small, crystal, larger)
    assert wigner_seitz_defects(large, larger).n_vacancies == 1
    assert wigner_seitz_defects(large, larger).distances.max() < 1e-6


def test_energy_of_formation_is_that_of_the_larger_cell(sw):
    """A defect that is put there and relaxed, beside one that is made there."""
    crystal, larger = SILICON * 2, SILICON * 3
    small = relax(vacancies(crystal)[0], sw, fmax=1e-3)
    put = relax(embed(small, crystal, larger), sw, fmax=1e-3)
    made = relax(vacancies(larger)[0], sw, fmax=1e-3)
    assert put.get_potential_energy() == pytest.approx(made.get_potential_energy(), abs=1e-4)


def test_compounds_keep_their_sublattices():
    crystal = bulk("CdTe", "zincblende", a=6.48, cubic=True) * 2
    small = next(a for a in antisites(crystal) if a.info["defect"].startswith("Cd on Te"))
    large = embed(small, crystal, crystal * (2, 1, 1))
    found = wigner_seitz_defects(large, crystal)
    assert (found.n_antisites, found.n_vacancies, found.n_interstitials) == (1, 0, 0)


def test_what_cannot_be_embedded(rattle):
    crystal = SILICON * 2
    small = vacancies(crystal)[0]
    with pytest.raises(InvalidStructureError, match="it is none"):
        embed(rattle(crystal, 0.1, 0), crystal, crystal * 2)
    turned = bulk("Si", "diamond", a=5.431, orthorhombic=True) * (4, 4, 3)
    for wrong in (turned, SILICON, (bulk("Ge", "diamond", a=5.431, cubic=True) * 4)):
        with pytest.raises(InvalidStructureError, match=r"cell: .* does not hold"):
            embed(small, crystal, wrong)
    assert is_perfect(rattle(crystal, 0.1, 0), crystal)
    assert not is_perfect(small, crystal)
