"""Linear ACE potentials: the trainer with energies, forces, virials and force constants.

Cells are too narrow for a mesh, of which neither energies nor force constants know.
"""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.calculators.mixing import SumCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.stress import voigt_6_to_full_3x3_stress

from ase_vibent import (
    ACE,
    HessianEntropyCalculator,
    SiteEnergyCalculator,
    SiteEntropyCalculator,
    SiteModel,
    attach_labels,
    dataset,
    read_labels,
    train,
    write_labels,
)
from ase_vibent.errors import (
    ExtrapolationError,
    InvalidInputError,
    LabelError,
    ModelFileError,
    TrainingError,
)
from ase_vibent.hessian import compute_hessian
from ase_vibent.training.energies import EnergyReferences, with_energy_labels
from ase_vibent.training.report import evaluate_frames
from ase_vibent.training.training_set import TrainingSet
from ase_vibent.training.tuning import tune

SMALL = ACE(["Cu"], cutoff=4.5, order=2, degree=6)
POTENTIAL_LABELS = ("energies", "force_constants")


def with_results(atoms: Atoms, calculator: object) -> Atoms:
    """Copy that keeps energy, forces and stress as ASE's readers would."""
    copy = atoms.copy()
    results = {k: calculator.get_property(k, atoms) for k in ("energy", "forces", "stress")}
    copy.calc = SinglePointCalculator(copy, **results)
    return copy


@pytest.fixture(scope="module")
def cells(rattle) -> list[Atoms]:
    """Rattled and strained copper with and without a vacancy."""
    crystal = bulk("Cu", "fcc", a=3.5898, cubic=True) * (2, 2, 1)
    vacancy = crystal.copy()
    del vacancy[0]
    found = []
    for seed in range(8):
        atoms = rattle((crystal, vacancy)[seed % 2], 0.15, seed)
        atoms.set_cell(atoms.cell * (1 + 0.01 * (seed % 3 - 1)), scale_atoms=True)
        found.append(atoms)
    return found


@pytest.fixture(scope="module")
def frames(cells) -> list[Atoms]:
    """The same with EMT's energies, forces and stresses."""
    return [with_results(atoms, EMT()) for atoms in cells]


@pytest.fixture(scope="module")
def model(frames) -> SiteModel:
    """A small potential of copper."""
    return train(frames, SMALL, target="energy", test=0.25)


@pytest.fixture(scope="module")
def truth() -> SiteModel:
    """A potential with random coefficients in the basis that is fitted."""
    rng = np.random.default_rng(3)
    shape = (1, SMALL.n_features)
    weights = rng.normal(size=shape) / np.arange(1, SMALL.n_features + 1)
    return SiteModel(SMALL, np.array([-3.5]), weights, np.zeros(shape), np.ones(shape), "energy")


def test_energies_and_all_derivatives_are_learned(model, frames):
    """EMT is no ACE: some per cent of the spread is what 30 functions can do with six cells."""
    assert model.target == "energy"
    spreads = {k: v["spread"] for k, v in model.header["errors"]["train"].items()}
    assert set(spreads) == {"total", "gradient", "strain"}
    for part in ("train", "test"):
        for kind, errors in model.header["errors"][part].items():
            assert errors["rmse"] < 0.15 * spreads[kind]
    assert sorted(model.header["quantities"]) == ["gradient", "strain", "total"]


@pytest.mark.parametrize(
    "quantities", [["total", "gradient"], ["total", "strain", "gradient"], ["force_constants"]]
)
def test_a_potential_in_the_basis_is_recovered(truth, cells, quantities):
    """To the regularisation: 1e-16 of the largest singular value, whose square root is 1e-8."""
    calculator = SiteEnergyCalculator(truth, extrapolation="ignore")
    exact = HessianEntropyCalculator(calculator, unstable="any", mesh="gamma")
    labelled = [
        attach_labels(atoms, exact, labels=POTENTIAL_LABELS, force_constant_atoms=[0, 7])
        for atoms in cells[:6]
    ]
    asked = sorted({*quantities, "total"})  # the constant needs a total
    options = {"strength": 1e-16}
    fitted = train(
        labelled, SMALL, target="energy", quantities=asked, solver_options=options
    ).evaluate(cells[7])
    expected = truth.evaluate(cells[7])
    scale = np.abs(expected.gradient).max()
    # Force constants are labelled by differences of 0.01 Å, good to 1e-4 or so.
    tolerance = 5e-3 if quantities == ["force_constants"] else 1e-4
    assert fitted.values.sum() == pytest.approx(expected.values.sum(), abs=tolerance * scale)
    np.testing.assert_allclose(fitted.gradient, expected.gradient, atol=tolerance * scale)


def test_labels_are_those_of_the_potential(cells):
    atoms = cells[1]
    exact = HessianEntropyCalculator(EMT(), unstable="any", mesh="gamma")
    labelled = attach_labels(atoms, exact, labels=POTENTIAL_LABELS, force_constant_atoms=[2, 5])
    expected = with_energy_labels(with_results(atoms, EMT()))
    for key in (dataset.ENERGY, dataset.ENERGY_STRAIN):
        np.testing.assert_allclose(labelled.info[key], expected.info[key], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        labelled.arrays[dataset.FORCES], expected.arrays[dataset.FORCES], atol=1e-9
    )
    hessian = compute_hessian(atoms, EMT()).reshape(15, 3, 15, 3)
    target = EnergyReferences([labelled]).targets(labelled)
    np.testing.assert_allclose(target.force_constants, hessian[[2, 5]], atol=1e-12)
    np.testing.assert_array_equal(target.displaced, [2, 5])


def test_labels_survive_a_file(cells, tmp_path):
    exact = HessianEntropyCalculator(EMT(), unstable="any", mesh="gamma")
    for chosen in ([3], [0, 4]):  # a single number comes back as one
        labelled = attach_labels(
            cells[0], exact, labels=POTENTIAL_LABELS, force_constant_atoms=chosen
        )
        write_labels(tmp_path / "labels.xyz", [labelled])
        (back,) = read_labels(tmp_path / "labels.xyz")
        ours, theirs = (EnergyReferences([a]).targets(a) for a in (labelled, back))
        assert theirs.total == ours.total
        for name in ("gradient", "strain", "force_constants", "displaced"):
            np.testing.assert_array_equal(getattr(theirs, name), getattr(ours, name))


def test_force_constants_are_of_the_atoms_that_symmetry_tells_apart():
    exact = HessianEntropyCalculator(EMT(), mesh="gamma")
    crystal = bulk("Cu", "fcc", a=3.5898, cubic=True) * (2, 2, 1)
    labelled = attach_labels(crystal, exact, labels=["force_constants"])
    assert labelled.info[dataset.DISPLACED].tolist() == [0]
    del crystal[0]
    labelled = attach_labels(crystal, exact, labels=["force_constants"])
    assert 1 < len(labelled.info[dataset.DISPLACED]) < 15


def test_derivatives_of_the_calculator(model, cells, rattle):
    atoms = rattle(cells[1], 0.1, seed=5)
    calculator = SiteEnergyCalculator(model)
    direction = np.random.default_rng(0).normal(size=atoms.positions.shape)

    sheared = np.array([[0.3, 0.7, -0.4], [0.7, 0.5, 0.9], [-0.4, 0.9, -1.1]])

    def energy(amount: float, strain: float = 0.0) -> float:
        copy = atoms.copy()
        copy.positions += amount * direction
        copy.set_cell(copy.cell.array @ (np.eye(3) + strain * sheared), scale_atoms=True)
        return calculator.get_property("energy", copy)

    step = 1e-5  # rounding 1e-15/1e-5 and step² both below 1e-8
    slope = (energy(step) - energy(-step)) / (2 * step)
    forces, stress = (calculator.get_property(k, atoms) for k in ("forces", "stress"))
    assert slope == pytest.approx(-np.sum(forces * direction), abs=1e-7)
    work = (energy(0, step) - energy(0, -step)) / (2 * step)
    virial = atoms.get_volume() * voigt_6_to_full_3x3_stress(stress)
    assert work == pytest.approx(np.sum(virial * sheared), abs=1e-6)
    assert calculator.get_property("energies", atoms).sum() == pytest.approx(energy(0), abs=1e-12)


def test_force_constants_are_the_hessian_of_the_energy(model, cells):
    atoms = cells[3]
    rows = model.force_constants(atoms, [0, 6])
    hessian = compute_hessian(atoms, SiteEnergyCalculator(model)).reshape(15, 3, 15, 3)
    # Central differences of 1e-3 and of 1e-2 Å differ by 1e-4 of third derivatives over lengths.
    np.testing.assert_allclose(rows, hessian[[0, 6]], atol=1e-3 * np.abs(hessian).max())


def test_weight_of_a_frame_is_its_number_of_copies(frames):
    options = {"solver_options": {"strength": 1e-8}, "weights": {"total": 10.0}}
    heavy = [atoms.copy() for atoms in frames]
    for copy, atoms in zip(heavy, frames, strict=True):
        copy.calc = atoms.calc
    heavy[0].info[dataset.WEIGHT] = 2.0  # rows times two are squares times four
    one = train(heavy, SMALL, target="energy", **options)
    other = train([*frames, *[frames[0]] * 3], SMALL, target="energy", **options)
    plain = train(frames, SMALL, target="energy", **options)
    # The copies shift the mean features and the columns' scales, and with them what ridge shrinks.
    scale = np.abs(one.evaluate(frames[1]).values.sum() - plain.evaluate(frames[1]).values.sum())
    difference = one.evaluate(frames[1]).values.sum() - other.evaluate(frames[1]).values.sum()
    assert abs(difference) < 0.1 * scale


@pytest.fixture(scope="module")
def compound(rattle) -> list[Atoms]:
    """Rattled cells of CuAu, which tell nothing of either element alone; the perfect one first."""
    cell = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    cell.numbers = np.where(cell.numbers == 11, 29, 79)
    return [with_results(rattle(cell, 0.2 * (k > 0), seed=k), EMT()) for k in range(12)]


ALLOY = ACE(["Au", "Cu"], cutoff=4.5, order=2, degree=5)


def test_constants_of_a_compound_differ_no_more_than_the_data_demand(compound):
    """A stoichiometric dataset fixes their mean, and that in the fit of all rows.

    The perfect crystal is the centre of the features, and far below the mean energy of the others.
    """
    crystal, *others = compound
    crystal = with_results(crystal, EMT())
    crystal.info[dataset.NAME] = "cuau"
    model = train([crystal, *others], ALLOY, target="energy")
    assert model.constants[0] == pytest.approx(model.constants[1], abs=1e-6)
    exact = [atoms.get_potential_energy() for atoms in compound]
    predicted = SiteEnergyCalculator(model).get_property("energy", crystal)
    assert predicted == pytest.approx(exact[0], abs=0.01 * np.ptp(exact))


def test_compositions_that_are_left_out_do_not_stop_a_fit(compound):
    """One frame tells the elements apart: among the held-out ones, or in one fold of eleven."""
    vacancy = compound[1].copy()
    del vacancy[0]
    vacancy = with_results(vacancy, EMT())
    equal = train(compound, ALLOY, target="energy", test=[vacancy]).constants
    assert equal[0] == pytest.approx(equal[1], abs=1e-6)
    fitted = train([*compound, vacancy], ALLOY, target="energy").constants
    assert abs(fitted[0] - fitted[1]) > 0.1


def test_crystal_in_the_data_is_the_centre_of_the_features(frames):
    crystal = with_results(bulk("Cu", "fcc", a=3.5898, cubic=True) * (2, 2, 1), EMT())
    crystal.info[dataset.NAME] = "cu"
    model = train([crystal, *frames], SMALL, target="energy")
    np.testing.assert_allclose(model.shift[0], SMALL.compute(crystal)[0], atol=1e-12)
    predicted = SiteEnergyCalculator(model).get_property("energy", crystal)
    assert predicted == pytest.approx(16 * model.constants[0], abs=1e-9)


def test_two_fitted_models_make_the_free_energy(model, copper_model, cells):
    """E + F_vib(T) in an optimizer with cell filter, its stress and forces those of both."""
    parts = [
        SiteEnergyCalculator(model, extrapolation="ignore"),
        SiteEntropyCalculator(copper_model, temperature=600, extrapolation="ignore"),
    ]
    atoms = cells[0].copy()
    atoms.calc = SumCalculator(parts)
    for name in ("energy", "forces", "stress"):
        whole = sum(part.get_property(name, atoms) for part in parts)
        np.testing.assert_allclose(atoms.calc.get_property(name, atoms), whole, atol=1e-12)
    before = atoms.get_potential_energy()
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=0.02, steps=60)
    assert atoms.get_potential_energy() < before - 0.1


def test_uncertainty_and_extrapolation(model, cells):
    calculator = SiteEnergyCalculator(model, extrapolation="raise")
    std = calculator.get_property("energy_std", cells[0])
    assert 0 < std < 1
    assert calculator.get_property("energies_std", cells[0]).shape == (16,)
    assert calculator.get_property("extrapolation_grades", cells[0]).max() < 2
    far = cells[0].copy()
    far.positions[3] += 0.8
    with pytest.raises(ExtrapolationError, match="unlike those of the training set"):
        calculator.get_property("energy", far)


def test_energy_alone_then_forces_of_the_same_structure(model, cells):
    calculator = SiteEnergyCalculator(model)
    energy = calculator.get_property("energy", cells[2])
    assert "forces" not in calculator.results
    forces = calculator.get_property("forces", cells[2])
    assert calculator.results["energy"] == pytest.approx(energy, abs=1e-12)
    assert forces.shape == (16, 3)


def test_results_are_of_the_atoms_asked_for(model, cells):
    """`calculate` is often called directly, which nothing but its argument announces."""
    calculator = SiteEnergyCalculator(model, extrapolation="ignore")
    calculator.calculate(cells[0], ["energy", "forces"])
    calculator.calculate(cells[2])
    fresh = SiteEnergyCalculator(model, extrapolation="ignore")
    for name in ("energy", "forces", "energy_std"):
        np.testing.assert_array_equal(
            calculator.get_property(name, cells[2]), fresh.get_property(name, cells[2])
        )


def test_changed_parameters_discard_results(model, cells):
    calculator = SiteEnergyCalculator(model, extrapolation="ignore")
    far = cells[0].copy()
    far.positions[3] += 0.8
    calculator.get_property("energy", far)
    calculator.set(extrapolation="raise")
    with pytest.raises(ExtrapolationError):
        calculator.get_property("energy", far)
    with pytest.raises(InvalidInputError, match=r"temperature: no parameter.*extrapolation"):
        calculator.set(temperature=300)


def test_without_volume_there_is_no_stress(model):
    cluster = Atoms("Cu4", [[0, 0, 0], [2.5, 0, 0], [0, 2.5, 0], [0, 0, 2.5]])
    with pytest.raises(PropertyNotImplementedError, match="no volume"):
        SiteEnergyCalculator(model, extrapolation="ignore").get_property("stress", cluster)


def test_the_files_of_ase_are_labels_enough(frames, tmp_path, vibent, strict_json):
    """Energies and forces that ASE wrote train a potential on the command line."""
    path = {k: tmp_path / k for k in ("data.xyz", "cu.vibent", "fit.png", "out.xyz")}
    ase.io.write(path["data.xyz"], frames)
    options = ("--cutoff", 4.5, "--order", 2, "--degree", 6, "--target", "energy", "--json")
    trained = vibent(
        "train", path["data.xyz"], "-o", path["cu.vibent"], "--plot", path["fit.png"], *options
    )
    assert (trained.code, trained.err) == (0, "")
    assert strict_json(trained.out)["errors"]["train"]["total"]["n"] == 7
    assert path["fit.png"].stat().st_size > 10_000
    errors = vibent("evaluate", path["cu.vibent"], path["data.xyz"])
    assert "eV/Å" in errors.out
    assert "k_B" not in errors.out
    predicted = vibent(
        "predict", path["cu.vibent"], path["data.xyz"], "-o", path["out.xyz"], "--json"
    )
    energies = [row["energy_eV"] for row in strict_json(predicted.out)]
    np.testing.assert_allclose(energies, [a.get_potential_energy() for a in frames], atol=0.02)
    assert "E (eV)" in vibent("predict", path["cu.vibent"], path["data.xyz"]).out
    (first, *_) = ase.io.read(path["out.xyz"], ":")
    assert first.info["predicted_energy"] == pytest.approx(energies[0])
    assert first.arrays["predicted_forces"].shape == (16, 3)
    warm = vibent("predict", path["cu.vibent"], path["data.xyz"], "-T", 300)
    assert warm.code == 1
    assert "potential energies" in warm.err
    assert "energy of Cu" in vibent("info", path["cu.vibent"]).out


def test_one_run_of_labels_makes_both_models(tmp_path, vibent, strict_json, rattle):
    path = {k: tmp_path / k for k in ("in.traj", "crystal.traj", "labels.xyz", "m.vibent")}
    crystal = bulk("Si", "diamond", a=5.431, cubic=True)
    ase.io.write(path["crystal.traj"], crystal)
    ase.io.write(path["in.traj"], [rattle(crystal, 0.1, seed) for seed in range(4)])
    labelled = vibent(
        *("label", path["in.traj"], "-o", path["labels.xyz"], "--calculator", "sw-si", "-j", 1),
        *("--reference", path["crystal.traj"], "--labels", "gradient"),
        *("energies", "force_constants"),
    )
    assert labelled.code == 0
    for target in ("entropy", "energy"):
        result = vibent(
            *("train", path["labels.xyz"], "-o", path["m.vibent"], "--target", target, "--json"),
            *("--cutoff", 4, "--order", 2, "--degree", 5, "--test-fraction", 0),
        )
        assert result.code == 0
        rows = set(strict_json(result.out)["errors"]["train"])
        assert ("force_constants" in rows) == (target == "energy")
        assert SiteModel.load(path["m.vibent"]).target == target


def test_force_constants_are_compared_on_held_out_frames(cells):
    exact = HessianEntropyCalculator(EMT(), unstable="any", mesh="gamma")
    labelled = [
        attach_labels(atoms, exact, labels=POTENTIAL_LABELS, force_constant_atoms=[1])
        for atoms in cells
    ]
    model = train(labelled[:-1], SMALL, target="energy")
    found = evaluate_frames(model, labelled[-1:])["force_constants"].metrics()
    assert found["n"] == 9 * 15
    assert found["rmse"] < 0.1 * found["spread"]


def test_quadratic_potential_of_few_sites(rattle):
    """Few sites span few directions; the quadratic form has none beside them that could explode."""
    pair = bulk("Cu", "fcc", a=3.6) * (2, 1, 1)
    rng = np.random.default_rng(0)
    found = []
    for seed in range(10):
        atoms = rattle(pair, 0.1, seed)
        strain = np.eye(3) + rng.normal(0, 0.03, (3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        found.append(with_results(atoms, EMT()))
    near = [with_results(rattle(atoms, 0.03, seed=90 + k), EMT()) for k, atoms in enumerate(found)]
    linear, quadratic = (
        train(found, SMALL, target="energy", test=near, quadratic=q) for q in (False, True)
    )
    errors = [m.header["errors"]["test"]["gradient"]["rmse"] for m in (linear, quadratic)]
    assert errors[1] < 1.5 * errors[0]
    calculator, atoms = SiteEnergyCalculator(quadratic, extrapolation="ignore"), near[0]
    force = calculator.get_property("forces", atoms)[1, 2]
    ends = []
    for step in (1e-4, -1e-4):
        moved = atoms.copy()
        moved.positions[1, 2] += step
        ends.append(calculator.get_property("energy", moved))
    assert force == pytest.approx((ends[1] - ends[0]) / 2e-4, abs=1e-6)


def test_energies_that_are_fitted_exactly_leave_no_posterior(frames, tmp_path):
    """Fewer of them than coefficients tell nothing of the noise."""
    few = [atoms.copy() for atoms in frames[:4]]
    for copy, atoms in zip(few, frames, strict=False):
        copy.calc = SinglePointCalculator(copy, energy=atoms.get_potential_energy())
    model = train(few, SMALL, target="energy")
    assert model.posterior is None
    model.save(tmp_path / "exact.vibent")
    calculator = SiteEnergyCalculator(tmp_path / "exact.vibent", extrapolation="ignore")
    exact = few[0].get_potential_energy()
    assert calculator.get_property("energy", few[0]) == pytest.approx(exact, abs=1e-6)
    with pytest.raises(InvalidInputError, match="no posterior"):
        calculator.get_property("energy_std", few[0])


def test_labels_keep_the_weight_of_a_frame(cells):
    atoms = cells[0].copy()
    atoms.info[dataset.WEIGHT] = 0.5
    exact = HessianEntropyCalculator(EMT(), unstable="any", mesh="gamma")
    labelled = attach_labels(atoms, exact, labels=["energies"])
    assert labelled.info[dataset.WEIGHT] == 0.5


# --- Mistakes -------------------------------------------------------------------------------


def test_force_constants_without_a_hessian(frames):
    with pytest.raises(LabelError, match=r"force_constants.*labels=\['force_constants'"):
        train(frames, SMALL, target="energy", quantities=["total", "force_constants"])


@pytest.mark.parametrize(
    ("quantity", "match"),
    [
        ("gradient", r"'gradient'.*labels=\['energies'"),
        ("strain", r"'strain'.*labels=\['energies'"),
        ("sites", r"total, gradient, strain, force_constants for target 'energy', got 'sites'"),
    ],
)
def test_labels_that_are_missing_say_how_to_make_them(frames, quantity, match):
    plain = [atoms.copy() for atoms in frames]
    for copy, atoms in zip(plain, frames, strict=True):
        copy.calc = SinglePointCalculator(copy, energy=atoms.get_potential_energy())
    with pytest.raises((LabelError, InvalidInputError), match=match):
        train(plain, SMALL, target="energy", quantities=[quantity])


@pytest.mark.parametrize(
    ("key", "value", "got"),
    [
        (dataset.ENERGY, "low", "'low'"),
        (dataset.ENERGY, np.nan, "nan"),
        (dataset.ENERGY_STRAIN, np.zeros(6), r"shape \(6,\)"),
        (dataset.ENERGY_STRAIN, np.full((3, 3), np.inf), "not finite"),
    ],
)
def test_labels_that_are_no_numbers(cells, key, value, got):
    atoms = cells[0].copy()
    atoms.info |= {dataset.ENERGY: 1.0, key: value}
    with pytest.raises(LabelError, match=rf"frame 0: {key}: expected .*finite number.*{got}"):
        train([atoms], SMALL, target="energy")


def test_rows_of_other_atoms(cells):
    exact = HessianEntropyCalculator(EMT(), unstable="any", mesh="gamma")
    labelled = attach_labels(
        cells[0], exact, labels=["force_constants"], force_constant_atoms=[0, 4]
    )
    labelled.info[dataset.DISPLACED] = [0]
    with pytest.raises(LabelError, match=r"expected .* \(16, 9\), got shape \(16, 18\)"):
        train([labelled], SMALL, target="energy")
    for wrong, match in (([16], r"force_constant_atoms: .* 0 to 15, got \[16\]"), ([], "got none")):
        with pytest.raises(InvalidInputError, match=match):
            attach_labels(cells[0], exact, labels=["force_constants"], force_constant_atoms=wrong)
    held = cells[0].copy()
    held.set_constraint(FixAtoms([3]))
    with pytest.raises(InvalidInputError, match="FixAtoms"):
        attach_labels(held, exact, labels=["force_constants"])


def test_models_are_not_taken_for_each_other(model, copper_model):
    with pytest.raises(InvalidInputError, match="expected one that predicts 'energy'"):
        SiteEnergyCalculator(copper_model)
    with pytest.raises(InvalidInputError, match="expected one that predicts 'entropy'"):
        SiteEntropyCalculator(model)


def test_frames_without_energies(cells, frames):
    with pytest.raises(LabelError, match=r"frame 0: has no energy.*labels=\['energies'"):
        train(cells, SMALL, target="energy")
    moved = frames[0].copy()
    moved.calc = frames[0].calc  # results of other positions are none of this structure
    moved.positions[0] += 0.1
    with pytest.raises(LabelError, match="has no energy"):
        train([moved], SMALL, target="energy")


@pytest.mark.parametrize("weight", [0, -1.0, "heavy"])
def test_weights_of_frames_are_positive(frames, weight):
    atoms = frames[0].copy()
    atoms.calc = frames[0].calc
    atoms.info[dataset.WEIGHT] = weight
    with pytest.raises(LabelError, match="vibent_weight"):
        train([atoms, *frames[1:]], SMALL, target="energy")


def test_unknown_target(frames, truth, tmp_path):
    with pytest.raises(InvalidInputError, match=r"entropy, energy.*'enthalpy'"):
        train(frames, SMALL, target="enthalpy")
    object.__setattr__(truth, "target", "enthalpy")
    truth.save(tmp_path / "foreign.vibent")
    object.__setattr__(truth, "target", "energy")
    with pytest.raises(ModelFileError, match=r"target: expected one of entropy.*'enthalpy'"):
        SiteModel.load(tmp_path / "foreign.vibent")


def test_trials_of_the_other_target_are_not_taken_over(cells, tmp_path):
    """One set of labels has both, with the same quantities."""
    exact = HessianEntropyCalculator(EMT(), unstable="any", mesh="gamma")
    labelled = [attach_labels(a, exact, labels=["gradient", "energies"]) for a in cells[::2]]
    found = {}
    for target in ("entropy", "energy"):
        chosen = TrainingSet.of(labelled, ["total", "gradient"], target=target)
        (found[target],) = tune(chosen, [SMALL], path=tmp_path / "trials.jsonl")
    assert found["entropy"].rmse["gradient"] != found["energy"].rmse["gradient"]


def test_forces_alone_leave_the_constant_open(frames):
    with pytest.raises(TrainingError, match="constants of Cu"):
        train(frames, SMALL, target="energy", quantities=["gradient"])


def test_held_out_frames_without_labels_fail_before_the_fit(frames, cells):
    with pytest.raises(LabelError, match="frame held-out 1: has no energy"):
        train(frames[:-1], SMALL, target="energy", test=[frames[-1], cells[0]])


def test_labels_complete_the_results_of_a_calculator(frames, cells):
    exact = HessianEntropyCalculator(EMT(), unstable="any", mesh="gamma")
    labelled = attach_labels(cells[0], exact, labels=["force_constants"], force_constant_atoms=[2])
    labelled.calc = frames[0].calc
    target = EnergyReferences([labelled]).targets(labelled)
    assert target.total == pytest.approx(frames[0].get_potential_energy())
    assert target.force_constants.shape == (1, 3, 16, 3)


def test_other_formats_of_ase(frames, tmp_path):
    ase.io.write(tmp_path / "data.traj", frames)
    (tmp_path / "blank.xyz").write_text("", encoding="utf-8")
    ase.io.write(tmp_path / "blank.xyz", frames, format="extxyz")
    with open(tmp_path / "blank.xyz", "a", encoding="utf-8") as file:
        file.write("\n")
    for name in ("data.traj", "blank.xyz"):
        energies = [a.get_potential_energy() for a in read_labels(tmp_path / name)]
        np.testing.assert_allclose(energies, [a.get_potential_energy() for a in frames])
