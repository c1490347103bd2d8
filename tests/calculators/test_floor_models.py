"""Models that leave soft modes to force calls: labels, training, file, calculator, command line."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.constraints import FixAtoms
from ase.units import kB

from ase_vibent import (
    ACE,
    HessianEntropyCalculator,
    SiteEntropyCalculator,
    SiteModel,
    attach_labels,
    dataset,
    train,
)
from ase_vibent.cli.shared.thermodynamics import surrogate_of
from ase_vibent.errors import InvalidInputError, InvalidStructureError, LabelError, TrainingError
from ase_vibent.export import write_yace
from ase_vibent.hessian import ValenceForceField, compute_hessian
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.report.site_values import site_values
from ase_vibent.report.structure import conditions
from ase_vibent.stationary import relax
from ase_vibent.structures import interstitials
from ase_vibent.thermo import defect_formation
from ase_vibent.training.coverage import check_calibration
from ase_vibent.training.floors import floor_of
from ase_vibent.training.report import evaluate_frames
from ase_vibent.training.targets import ReferenceCrystals

POTENTIAL = stillinger_weber_silicon()
#: Below it are three modes of the interstitial at Γ, eV/Å².
FLOOR = 1.0
BASIS = ACE(["Si"], cutoff=4.5, order=2, degree=8)


@pytest.fixture(scope="module")
def crystal() -> Atoms:
    return bulk("Si", cubic=True) * 2


@pytest.fixture(scope="module")
def interstitial(crystal, rattle) -> Atoms:
    """At rest, 65 atoms."""
    return relax(rattle(interstitials(crystal)[0], 0.1, 1), POTENTIAL, fmax=1e-3)


@pytest.fixture(scope="module")
def frames(crystal, interstitial, rattle) -> list[Atoms]:
    exact = HessianEntropyCalculator(POTENTIAL, decomposition="mass-free", floor=FLOOR)
    cells = [
        *(rattle(crystal, 0.1, seed) for seed in range(4)),
        *(rattle(interstitial, 0.1, seed) for seed in range(10)),
    ]
    return [
        attach_labels(crystal, exact, name="si", labels=["total"]),
        attach_labels(interstitial, exact, reference="si", labels=["total", "force_constants"]),
        *(attach_labels(atoms, exact, reference="si", labels=["total"]) for atoms in cells),
    ]


@pytest.fixture(scope="module")
def model_file(frames, tmp_path_factory):
    path = tmp_path_factory.mktemp("floor") / "soft.vibent"
    train(frames, BASIS).save(path)
    return path


@pytest.fixture(scope="module")
def calculator(model_file) -> SiteEntropyCalculator:
    return SiteEntropyCalculator(model_file, soft_modes_of=POTENTIAL)


def test_frames_with_their_hessian_make_the_force_field(model_file, frames, interstitial):
    floor = SiteModel.load(model_file).floor
    assert floor is not None
    assert floor.value == frames[0].info[dataset.FLOOR] == FLOOR
    expected = ValenceForceField.of_hessians(
        [interstitial], [compute_hessian(interstitial, POTENTIAL)]
    )
    assert floor.force_field.species == ("Si",)
    difference = floor.force_field.hessian(interstitial) - expected.hessian(interstitial)
    assert abs(difference).max() < 1e-6


def test_formation_entropy_is_whole(calculator, crystal, interstitial):
    """The exact one has its soft modes, to what the model and the force field state."""
    exact = HessianEntropyCalculator(POTENTIAL)
    found, whole = (
        defect_formation(interstitial, crystal, c, potential=POTENTIAL) for c in (calculator, exact)
    )
    std = calculator.predicted_std(interstitial, 300.0)
    part = calculator.soft_parts.of(interstitial)
    assert part.modes.eigenvalues.max() < FLOOR
    assert abs(found.entropies - whole.entropies)[0] < 3 * std < 0.3 * kB
    # Without its soft modes it would not do.
    assert part.total - calculator.soft_parts.of(crystal).total > 10 * std / kB


def test_sites_and_totals_agree(calculator, interstitial):
    atoms = interstitial.copy()
    atoms.calc = calculator
    calculator.temperature = 500
    entropies = calculator.get_property("entropies", atoms)
    assert entropies.sum() == pytest.approx(calculator.get_property("entropy", atoms))
    vibrations = calculator.vibrations(atoms, 500.0)
    assert entropies.sum() == pytest.approx(vibrations.entropies[0])
    assert atoms.get_potential_energy() == pytest.approx(vibrations.free_energies[0])
    std = calculator.get_property("entropy_std", atoms)
    assert std == pytest.approx(calculator.predicted_std(atoms, 500.0))


def test_crystals_are_infinite_where_that_is_asked_for(calculator, crystal):
    small = bulk("Si", cubic=True)
    exact = HessianEntropyCalculator(POTENTIAL).bulk_vibrations(small, 300.0)
    found = calculator.bulk_vibrations(small, 300.0)
    assert found.entropies == pytest.approx(exact.entropies)


@pytest.mark.filterwarnings("ignore::ase_vibent.errors.ExtrapolationWarning")
def test_clusters_are_refused(calculator, interstitial):
    cluster = interstitial.copy()
    cluster.pbc = False
    with pytest.raises(InvalidStructureError, match="periodic along no direction"):
        calculator.vibrations(cluster, 300.0)


def test_force_calls_are_counted_and_not_repeated(model_file, interstitial):
    calculator = SiteEntropyCalculator(model_file, soft_modes_of=POTENTIAL)
    calculator.vibrations(interstitial, 300.0)
    calls = calculator.soft_parts.force_calls
    assert 6 <= calls < 6 * len(interstitial) / 4
    calculator.vibrations(interstitial, 600.0)
    assert calculator.soft_parts.force_calls == calls


def test_all_atoms_vibrate_whatever_constraints_are_left(model_file, crystal):
    """As in the model: what a relaxation has left does not change the entropy."""
    fixed, entropies = crystal.copy(), []
    fixed.set_constraint(FixAtoms(range(30)))
    for order in ((fixed, crystal), (crystal, fixed)):
        calculator = SiteEntropyCalculator(model_file, soft_modes_of=POTENTIAL)
        entropies += [calculator.get_property("entropy", atoms) for atoms in order]
    assert entropies == pytest.approx(4 * entropies[1:2], abs=1e-9 * kB)


def test_there_are_no_forces(calculator, crystal, interstitial):
    atoms = interstitial.copy()
    atoms.calc = calculator
    with pytest.raises(PropertyNotImplementedError, match="soft modes that a model leaves out"):
        atoms.get_forces()
    with pytest.raises(InvalidInputError, match="image_entropy: it takes derivatives"):
        defect_formation(interstitial, crystal, calculator, potential=POTENTIAL, image_entropy=True)


def test_model_and_calculator_must_go_together(model_file, silicon_model):
    with pytest.raises(InvalidInputError, match="soft_modes_of: the model leaves modes below"):
        SiteEntropyCalculator(model_file)
    with pytest.raises(InvalidInputError, match="soft_modes_of: the model leaves no soft modes"):
        SiteEntropyCalculator(silicon_model, soft_modes_of=POTENTIAL)


def test_a_model_without_soft_modes_is_not_taken_for_a_whole_one(model_file, tmp_path):
    with pytest.raises(InvalidInputError, match="other engines find no soft modes"):
        write_yace(SiteModel.load(model_file), tmp_path / "soft.yace", temperature=300.0)


def test_labels_of_one_kind_only(frames, crystal, model_file):
    plain = attach_labels(crystal, HessianEntropyCalculator(POTENTIAL), name="si", labels=["total"])
    with pytest.raises(LabelError, match=r"the floor of some labels is 1\.0 eV/Å², of others None"):
        train([plain, *frames[1:]], BASIS)
    for compare in (evaluate_frames, check_calibration):
        with pytest.raises(LabelError, match="floor for soft modes is none, that of the model 1"):
            compare(SiteModel.load(model_file), [plain])
    with pytest.raises(TrainingError, match="label some relaxed structures with force_constants"):
        train([frames[0], *frames[2:]], BASIS)


def test_all_species_need_a_hessian(frames, crystal):
    other = crystal.copy()
    other.symbols[0] = "Ge"
    with pytest.raises(TrainingError, match="no structure with Ge has its Hessian"):
        floor_of([*frames, other], ReferenceCrystals(frames))


def test_differences_are_to_a_crystal_with_its_soft_modes(calculator, crystal, interstitial):
    """The model knows its crystal without them, and a unit cell has others than a supercell."""
    assert site_values(interstitial, calculator).differences is None
    of_supercell, of_cell = (
        site_values(interstitial, calculator, c).differences
        for c in (crystal, bulk("Si", cubic=True))
    )
    np.testing.assert_allclose(of_cell, of_supercell, atol=1e-6 * kB)


def test_reports_find_soft_modes_and_name_the_model(vibent, model_file, tmp_path, crystal):
    structure = tmp_path / "crystal.xyz"
    ase.io.write(structure, crystal)
    common = (structure, "--model", model_file)
    refused = vibent("report", *common, "-o", tmp_path / "picture.png")
    assert refused.code == 1
    assert "--calculator" in refused.err
    result = vibent("report", *common, "-o", tmp_path / "picture.png", "--calculator", "sw-si")
    assert result.code == 0, result.err
    surrogate = surrogate_of(str(model_file), POTENTIAL)
    assert conditions(surrogate).startswith("Entropies by the model soft,")


def test_command_line_from_structures_to_formation(
    vibent, strict_json, tmp_path, crystal, interstitial, rattle
):
    structures, defect = tmp_path / "structures.xyz", tmp_path / "defect.xyz"
    ase.io.write(structures, [rattle(interstitial, 0.1, seed) for seed in range(4)])
    ase.io.write(defect, interstitial)
    ase.io.write(tmp_path / "crystal.xyz", crystal)
    common = ("--calculator", "sw-si", "--reference", tmp_path / "crystal.xyz", "--floor", "1")
    labels, hessians = tmp_path / "labels.xyz", tmp_path / "hessians.xyz"
    for files, output, kind in (
        (structures, labels, "total"),
        (defect, hessians, "force_constants"),
    ):
        result = vibent("label", files, "-o", output, *common, "--labels", kind, "-j", 1)
        assert result.code == 0, result.err
    model = tmp_path / "soft.vibent"
    result = vibent("train", labels, hessians, "-o", model, "--order", 1, "--degree", 5)
    assert result.code == 0, result.err
    assert "modes below 1 eV/Å² left to force calls" in vibent("info", model).out
    refused = vibent("predict", model, defect)
    assert refused.code == 1
    assert "--calculator" in refused.err
    assert "Traceback" not in refused.err
    result = vibent("predict", model, defect, "--calculator", "sw-si", "--json")
    assert result.code == 0, result.err
    (row,) = strict_json(result.out)
    result = vibent(
        "formation", defect, "--reference", tmp_path / "crystal.xyz", "--model", model,
        "--calculator", "sw-si", "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    (found,) = strict_json(result.out)["defects"]
    exact = defect_formation(
        interstitial, crystal, HessianEntropyCalculator(POTENTIAL), potential=POTENTIAL
    )
    assert found["formation_entropies_eV_per_K"][0] == pytest.approx(exact.entropies[0], abs=kB)
    assert row["entropy_eV_per_K"] > found["formation_entropies_eV_per_K"][0]
    assert np.isfinite(found["entropy_std_eV_per_K"])
