"""From a small cell to one defect alone."""

from __future__ import annotations

import json

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import kB

from ase_vibent import HessianEntropyCalculator, SiteEntropyCalculator
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.stationary import relax
from ase_vibent.structures import vacancies
from ase_vibent.thermo import defect_formation

UNIT = bulk("Cu", "fcc", a=3.5898, cubic=True)
TEMPERATURES = np.array([300.0, 900.0])


@pytest.fixture(scope="module")
def pair():
    crystal = UNIT * 3
    return relax(vacancies(crystal)[0], EMT(), fmax=1e-4), crystal


@pytest.fixture(scope="module")
def small_pair():
    crystal = UNIT * 2
    return relax(vacancies(crystal)[0], EMT(), fmax=1e-4), crystal


@pytest.fixture(scope="module")
def model():
    return SiteEntropyCalculator.from_pretrained("cu-emt")


@pytest.fixture(scope="module")
def formation(pair, model):
    exact = HessianEntropyCalculator(EMT())
    return defect_formation(*pair, exact, TEMPERATURES, surrogate=model, cell=UNIT * 4, fmax=1e-4)


def test_it_is_the_small_cell_and_what_the_model_says_of_the_larger(formation, pair, model):
    small = formation.small_cell
    (defect, crystal), larger = pair, UNIT * 4
    moved = relax(vacancies(larger)[0], EMT(), fmax=1e-4)
    change = [
        defect_formation(a, c, model, TEMPERATURES, potential=EMT(), fmax=1e-3)
        for a, c in ((moved, larger), (defect, crystal))
    ]
    expected = small.entropies + change[0].entropies - change[1].entropies
    np.testing.assert_allclose(formation.entropies / kB, expected / kB, atol=1e-3)
    assert formation.n_atoms == len(larger)
    assert formation.energy == pytest.approx(change[0].energy, abs=1e-5)
    # Classical: one entropy for all temperatures, and F with it.
    np.testing.assert_allclose(
        formation.vibrations.free_energies, -TEMPERATURES * formation.entropies, atol=1e-12
    )


def test_its_error_has_both_parts(formation, model):
    small = formation.small_cell
    noise = np.sqrt(2) * float(model.model.posterior.noise) * kB
    # Of the small cell's mesh, by the model; images hold back less in the larger cell.
    assert 0.5 * noise < formation.entropy_std < small.entropy_std
    # What the defects of the two cells have in common cancels, but for the noise of totals.
    assert formation.entropy_std < np.hypot(small.entropy_std, noise) + 0.01 * kB


def test_images_matter_less_in_the_larger_cell(formation):
    """The elastic correction goes with 1/N."""
    ratio = formation.image_energy / formation.small_cell.image_energy
    assert ratio == pytest.approx(27 / 64, rel=0.15)


def test_what_does_not_go_together(small_pair, model):
    exact = HessianEntropyCalculator(EMT())
    quantum = SiteEntropyCalculator.from_pretrained("cu-emt", quantum=True)
    for arguments, message in (
        ({"surrogate": model}, "cell: the dilute limit needs both"),
        ({"cell": UNIT * 4}, "surrogate: the dilute limit needs both"),
        ({"surrogate": quantum, "cell": UNIT * 4}, "statistics"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            defect_formation(*small_pair, exact, **arguments)
    with pytest.raises(InvalidInputError, match="exact entropies"):
        defect_formation(*small_pair, model, potential=EMT(), surrogate=model, cell=UNIT * 4)
    with pytest.raises(InvalidStructureError, match="does not hold"):
        defect_formation(*small_pair, exact, surrogate=model, cell=UNIT * (3, 2, 1))


def test_command(small_pair, tmp_path, vibent, strict_json):
    ase.io.write(tmp_path / "cu.xyz", UNIT)
    ase.io.write(tmp_path / "v.xyz", small_pair[0].copy())
    arguments = ["formation", tmp_path / "v.xyz", "--reference", tmp_path / "cu.xyz"]
    arguments += ["--calculator", "emt", "--model", "cu-emt"]
    done = vibent(*arguments, "--dilute", 2, "--json")
    assert done.code == 0, done.err
    (found,) = strict_json(done.out)["defects"]
    assert found["n_atoms_of_crystal"] == 8 * found["small_cell"]["n_atoms_of_crystal"]
    assert found["entropy_std_eV_per_K"] > 0
    assert json.dumps(found)
    done = vibent(*arguments[:4], "--model", "cu-emt", "--dilute", 2)
    assert done.code != 0
    assert "needs both, --calculator and --model" in done.err
