"""FrameTargets, rows and fits: what is learned, and what is refused."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones
from ase.cluster import Icosahedron
from ase.optimize import BFGS
from ase.units import kB

from ase_vibent import (
    ACE,
    HessianEntropyCalculator,
    SiteEntropyCalculator,
    attach_labels,
    dataset,
    train,
)
from ase_vibent.errors import InvalidInputError, LabelError, TrainingError, UnknownSpeciesError
from ase_vibent.harmonic.entropy import mass_entropy
from ase_vibent.potentials import CalculatorSpec, stillinger_weber_silicon
from ase_vibent.training.report import evaluate_frames
from ase_vibent.training.targets import ReferenceCrystals
from ase_vibent.training.trainer import split_frames

LATTICE_SI = 5.431

SMALL = ACE(["Si"], cutoff=4.2, order=3, degree=8)
STRAIN_LABELS = ("gradient", "sites", "strain")


def without(frames, *names):
    """Copies of frames without some labels."""
    copies = [atoms.copy() for atoms in frames]
    for atoms in copies:
        for name in names:
            atoms.info.pop(name, None)
            atoms.arrays.pop(name, None)
    return copies


def test_differences_to_the_crystal_are_the_exact_ones(silicon_frames, silicon_model):
    """The surrogate is extensive, the label a Γ sum: differences agree, with the bulk value."""
    crystal, vacancy = silicon_frames[0], silicon_frames[2]
    calculator = SiteEntropyCalculator(silicon_model)
    predicted = [calculator.get_property("entropy", a) / kB for a in (crystal, vacancy)]
    exact = [a.info[dataset.ENTROPY] / kB for a in (crystal, vacancy)]
    bulk_value = crystal.arrays[dataset.BULK] / kB
    # The crystal itself is exact by construction: its constant is the converged bulk value.
    assert predicted[0] == pytest.approx(bulk_value.sum(), abs=1e-9)
    difference = exact[1] - exact[0] + bulk_value[0]
    model_difference = predicted[1] - predicted[0] + bulk_value[0]
    rmse = silicon_model.header["errors"]["train"]["total"]["max"]
    # Mode counts: 3 per atom against 3 per atom of the cell less 3, so no T0 enters.
    assert model_difference == pytest.approx(difference, abs=1.01 * rmse)


def test_targets_do_not_depend_on_masses(sw, silicon_frames):
    """Labels of a cell with isotopes train the very same model."""
    reference = HessianEntropyCalculator(sw, unstable="any")
    plain, crystal = silicon_frames[2], silicon_frames[0]
    heavy = plain.copy()
    masses = np.linspace(10, 60, len(heavy))
    heavy.set_masses(masses)
    for key in (dataset.GRADIENT, dataset.SITES):
        del heavy.arrays[key]
    heavy = attach_labels(heavy, reference, reference="si16")
    references = ReferenceCrystals([crystal])
    one, other = references.targets(plain), references.targets(heavy)
    assert heavy.info[dataset.ENTROPY] != pytest.approx(plain.info[dataset.ENTROPY], rel=1e-3)
    assert other.total == pytest.approx(one.total, abs=1e-8)
    np.testing.assert_allclose(other.sites, one.sites, atol=1e-8)
    # Gradients come from other displacement patterns: finite differences of 0.01 Å.
    np.testing.assert_allclose(other.gradient, one.gradient, atol=1e-3)


def test_site_targets_sum_to_the_total(silicon_frames):
    references = ReferenceCrystals(silicon_frames)
    for atoms in silicon_frames:
        targets = references.targets(atoms)
        assert targets.sites.sum() == pytest.approx(targets.total, abs=1e-9)


def test_finite_size_correction_speeds_up_convergence(sw):
    """Unrelaxed vacancy at Γ: corrected differences of two cells agree better than plain ones."""
    from ase_vibent.crystal.bulk import bulk_site_entropies

    reference = HessianEntropyCalculator(sw, unstable="any", mesh="gamma")
    site = bulk_site_entropies(bulk("Si", "diamond", a=LATTICE_SI), sw)[0]
    plain, corrected = [], []
    for repeats in ((2, 2, 2), (3, 3, 3)):
        crystal = bulk("Si", "diamond", a=LATTICE_SI, cubic=True) * repeats
        vacancy = crystal.copy()
        del vacancy[0]
        s_crystal = reference.harmonic_system(crystal).entropy
        s_vacancy = reference.harmonic_system(vacancy).entropy
        n = len(crystal)
        plain.append(s_vacancy - (n - 1) / n * s_crystal)
        corrected.append(s_vacancy - s_crystal + site)
    assert abs(corrected[1] - corrected[0]) < abs(plain[1] - plain[0])


@pytest.mark.parametrize(
    "quantities",
    [["total"], ["gradient"], ["sites"], ["total", "gradient", "sites"]],
)
def test_any_mix_of_rows_is_fitted(silicon_frames, quantities):
    # The projected sites of so small a cell are not local: light rows beside the others.
    weights = {"sites": 600.0 if quantities == ["sites"] else 1.0}
    model = train(silicon_frames, SMALL, quantities=quantities, weights=weights)
    errors = model.header["errors"]["train"]
    for quantity in quantities:
        assert errors[quantity]["rmse"] < 0.5 * errors[quantity]["spread"]
    sites = 140 if "sites" in quantities else 0
    gradient = 3 * 140 if "gradient" in quantities else 0
    assert model.header["n_rows"] == gradient + sites + 9 * ("total" in quantities)


def test_sites_are_left_out_unless_asked_for_or_alone(silicon_frames):
    model = train(silicon_frames, SMALL)
    assert model.header["quantities"] == ["total", "gradient"]
    only_sites = without(silicon_frames, dataset.GRADIENT)
    for atoms in only_sites[1:]:
        del atoms.info[dataset.ENTROPY]
    model = train(only_sites[1:] + only_sites[:1], SMALL, quantities=["sites"])
    assert model.header["quantities"] == ["sites"]


@pytest.mark.parametrize("solver", ["ridge", "bayesian-ridge", "ard", "rrqr"])
def test_solvers_agree_on_what_is_predicted(silicon_frames, silicon_model, solver):
    model = train(silicon_frames, SMALL, solver=solver)
    atoms = silicon_frames[3]
    ours, theirs = (m.evaluate(atoms).gradient for m in (silicon_model, model))
    assert np.abs(ours - theirs).max() < 0.2 * np.abs(ours).max()
    assert model.header["solver"]["name"] == solver


def test_smoothness_makes_rough_features_pay(silicon_frames):
    """Two minima of residual + penalty, which differ by the penalty: each is best in its own."""
    roughness = SMALL.roughness(2)
    options = [{"strength": 1.0}, {"strength": 1.0, "smoothness": 2}]
    plain, smooth = (
        train(silicon_frames, SMALL, solver_options=one).scale
        * train(silicon_frames, SMALL, solver_options=one).weights
        for one in options
    )
    assert np.sum((roughness * smooth) ** 2) < 0.5 * np.sum((roughness * plain) ** 2)
    # Of a rank-revealing QR too, where it leaves directions out: rough ones go first.
    plain, smooth = (
        one.scale * one.weights
        for power in (0, 2)
        for one in [
            train(
                silicon_frames,
                SMALL,
                solver="rrqr",
                solver_options={"tolerance": 1e-2, "smoothness": power},
            )
        ]
    )
    assert np.sum((roughness * smooth) ** 2) < 0.5 * np.sum((roughness * plain) ** 2)


def test_a_representable_target_is_recovered(silicon_frames, rattle):
    """Labels made by a known model are learned back: rows, shifts and scales are consistent."""
    crystal = silicon_frames[0]
    rng = np.random.default_rng(0)
    truth = train(silicon_frames, SMALL)
    features = np.concatenate([SMALL.compute(a) for a in silicon_frames])
    weights = rng.normal(size=truth.weights.shape) / features.std(axis=0)
    truth = type(truth)(SMALL, truth.constants, weights, truth.shift, truth.scale)
    frames = []
    references = ReferenceCrystals([crystal])
    for atoms in silicon_frames[1:]:
        copy = without([atoms], dataset.SITES, dataset.SITE_MODES)[0]
        sums, target = truth.evaluate(atoms), references.targets(atoms)
        copy.info[dataset.ENTROPY] += kB * (sums.values.sum() - target.total)
        copy.arrays[dataset.GRADIENT] = kB * sums.gradient
        frames.append(copy)
    model = train([crystal, *frames], SMALL, solver_options={"strength": 1e-16})
    held_out = rattle(crystal, 0.1, seed=99)
    np.testing.assert_allclose(
        model.evaluate(held_out).gradient,
        truth.evaluate(held_out).gradient,
        atol=1e-3 * np.abs(truth.evaluate(held_out).gradient).max(),
    )
    assert model.header["errors"]["train"]["total"]["rmse"] < 1e-5 * np.ptp(weights)


def test_strained_crystals_are_references_of_their_own(sw):
    """Two strains, two references: the model learns how the bulk value changes with strain."""
    reference = HessianEntropyCalculator(sw, mesh="gamma")  # compressed, too narrow for a mesh
    frames = []
    for k, scale in enumerate((1.0, 0.985, 1.015)):
        crystal = bulk("Si", "diamond", a=scale * LATTICE_SI, cubic=True)
        frames.append(attach_labels(crystal, reference, name=f"si-{k}", labels=["sites"]))
    bulk_values = [a.arrays[dataset.BULK].sum() / kB for a in frames]
    model = train(frames, ACE(["Si"], cutoff=4.2, order=2, degree=6), quantities=["total"])
    calculator = SiteEntropyCalculator(model)
    predicted = [calculator.get_property("entropy", a) / kB for a in frames]
    # Three values, more functions: interpolation, up to the regularisation.
    np.testing.assert_allclose(predicted, bulk_values, atol=1e-3)
    assert abs(bulk_values[1] - bulk_values[0]) > 0.1


def test_strain_rows(sw, rattle):
    """The strain derivative of the perfect crystal's model is its converged one."""
    reference = HessianEntropyCalculator(sw, unstable="any", bulk_width=10)
    crystal = bulk("Si", "diamond", a=LATTICE_SI, cubic=True)
    frames = [attach_labels(crystal, reference, name="si8", labels=STRAIN_LABELS)]
    frames += [
        attach_labels(rattle(crystal, 0.1, k), reference, reference="si8", labels=STRAIN_LABELS)
        for k in range(2)
    ]
    model = train(frames, SMALL, weights={"strain": 10.0})
    assert model.header["quantities"] == ["total", "gradient", "strain"]
    converged = frames[0].info[dataset.BULK_STRAIN] / kB
    predicted = model.evaluate(crystal).strain
    np.testing.assert_allclose(predicted, converged, atol=0.02 * np.abs(converged).max())
    missing = without(frames, dataset.BULK_STRAIN)
    with pytest.raises(LabelError, match=dataset.BULK_STRAIN):
        train(missing, SMALL)


def test_compounds_have_constants_of_their_own(rattle):
    """Silicon carbide: constants are the converged site values, species by species."""
    crystal = bulk("SiC", "zincblende", a=4.32, cubic=True)
    # Too narrow a cell for a mesh; the constants come from a wider one.
    reference = HessianEntropyCalculator(
        CalculatorSpec("tersoff-sic"), unstable="any", mesh="gamma", bulk_width=9.0
    )
    frames = [attach_labels(crystal, reference, name="sic")]
    antisite = crystal.copy()
    antisite.symbols[0] = "C"
    for k, start in enumerate((crystal, crystal, antisite, antisite)):
        frames.append(attach_labels(rattle(start, 0.05, k), reference, reference="sic"))
    model = train(frames, ACE(["Si", "C"], cutoff=3.5, order=2, degree=6))
    bulk_values = frames[0].arrays[dataset.BULK] / kB - 3 - mass_entropy(crystal.get_masses())
    for z, symbol in enumerate(("Si", "C")):
        own = bulk_values[crystal.symbols == symbol]
        assert np.ptp(own) < 1e-6
        assert model.constants[z] == pytest.approx(own.mean(), abs=1e-12)
    assert abs(model.constants[0] - model.constants[1]) > 0.1
    assert model.header["errors"]["train"]["total"]["rmse"] < 0.02


def test_clusters_need_no_crystal(rattle):
    """LJ clusters: constants are fitted, features centred on their mean, no stress needed."""
    cluster = Icosahedron("Ar", noshells=2)
    calculator = LennardJones(sigma=1.0, epsilon=1.0, rc=50.0)
    cluster.positions *= 1.1 / np.linalg.norm(cluster.positions[1] - cluster.positions[0])
    cluster.calc = calculator
    BFGS(cluster, logfile=None).run(fmax=1e-6)
    cluster.calc = None
    smaller = cluster[:-1]
    smaller.calc = calculator
    BFGS(smaller, logfile=None).run(fmax=1e-6)
    smaller.calc = None
    reference = HessianEntropyCalculator(calculator, unstable="any", displacement=2e-3)
    frames = [attach_labels(a, reference) for a in (cluster, smaller)]
    frames += [attach_labels(rattle(cluster, 0.02, k), reference) for k in range(2)]
    model = train(frames, ACE(["Ar"], cutoff=2.5, order=2, degree=8, r0=1.1))
    assert model.header["reference_crystals"] == []
    assert model.header["errors"]["train"]["total"]["rmse"] < 0.05


def test_split_keeps_configurations_whole_and_crystals_in_training(silicon_frames):
    fitted, held_out = split_frames(silicon_frames, 0.5, seed=3)
    assert len(fitted) + len(held_out) == len(silicon_frames)
    assert len(held_out) == 4
    assert silicon_frames[0] in fitted
    model = train(silicon_frames, SMALL, test=0.5, seed=3)
    assert model.header["errors"]["test"]["total"]["n"] == 4
    same = evaluate_frames(model, held_out, ReferenceCrystals(silicon_frames))
    assert same["total"].metrics() == model.header["errors"]["test"]["total"]
    with pytest.raises(InvalidInputError, match="fraction"):
        train(silicon_frames, SMALL, test=1.5)


def test_metrics_by_hand():
    from ase_vibent.training.report import Comparison

    metrics = Comparison(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 5.0])).metrics()
    assert metrics["rmse"] == pytest.approx(3**0.5)
    assert metrics["mae"] == pytest.approx(1)
    assert metrics["max"] == pytest.approx(3)
    assert metrics["r2"] == pytest.approx(1 - 9 / 2)


def test_bad_data_is_refused_with_one_sentence(silicon_frames):
    crystal, *rest = silicon_frames
    with pytest.raises(TrainingError, match="no labelled structure"):
        train([], SMALL)
    with pytest.raises(LabelError, match="none of the labels"):
        train([crystal, molecule("SiH4")], ACE(["Si", "H"], order=1, degree=4))
    with pytest.raises(LabelError, match="strain"):
        train(silicon_frames, SMALL, quantities=["strain"])
    with pytest.raises(InvalidInputError, match="quantities"):
        train(silicon_frames, SMALL, quantities=["energy"])
    with pytest.raises(TrainingError, match="none asked for"):
        train(silicon_frames, SMALL, quantities=[])
    with pytest.raises(InvalidInputError, match="solver"):
        train(silicon_frames, SMALL, solver="magic")
    with pytest.raises(InvalidInputError, match="weights"):
        train(silicon_frames, SMALL, weights={"total": -1})
    with pytest.raises(LabelError, match="si16"):
        train(rest, SMALL)
    with pytest.raises(UnknownSpeciesError, match="Si"):
        train(silicon_frames, ACE(["Ge"]))
    with pytest.raises(TrainingError, match="Ge"):
        train(silicon_frames, ACE(["Si", "Ge"], order=1, degree=4))


def test_reference_of_another_cell_is_refused(silicon_frames):
    frames = [a.copy() for a in silicon_frames]
    frames[3].set_cell(frames[3].cell.array * 1.01, scale_atoms=True)
    with pytest.raises(LabelError, match="frame 3"):
        train(frames, SMALL)


def test_a_crystal_of_another_periodicity_or_none_at_all_is_refused(silicon_frames):
    frames = [a.copy() for a in silicon_frames]
    frames[2].pbc = (True, True, False)
    with pytest.raises(LabelError, match=r"frame 2.*pbc"):
        train(frames, SMALL)
    with pytest.raises(LabelError, match="frame 1: names no reference"):
        train(silicon_frames[:1] + without(silicon_frames[1:], dataset.REFERENCE), SMALL)


def test_two_crystals_of_one_name_are_refused(silicon_frames):
    other = silicon_frames[1].copy()
    other.info[dataset.NAME] = "si16"
    with pytest.raises(LabelError, match="two different"):
        train([*silicon_frames, other], SMALL)


def test_relabelling_inherits_nothing(sw, silicon_frames, rattle):
    """A rattled copy of a labelled crystal is no crystal, and keeps no label of another run."""
    moved = rattle(silicon_frames[0], 0.1, seed=5)
    reference = HessianEntropyCalculator(sw, unstable="any")
    fresh = attach_labels(moved, reference, reference="si16", labels=["total"])
    names = {k for k in {**fresh.info, **fresh.arrays} if k.startswith(dataset.PREFIX)}
    assert names == {
        *(dataset.ENTROPY, dataset.N_MODES, dataset.N_UNSTABLE),
        *(dataset.MESH, dataset.GUESSED, dataset.ERRORS, dataset.REFERENCE),
        *(dataset.DISPLACEMENT, dataset.SYMMETRY, dataset.METHOD),
    }


def test_unstable_targets_of_equal_masses_do_not_depend_on_the_mass(sw, silicon_frames, rattle):
    crystal = silicon_frames[0]
    atoms = rattle(crystal, 1.2, seed=3)
    reference = HessianEntropyCalculator(sw, unstable="any")
    references = ReferenceCrystals([crystal])
    entropies = []
    for mass in (28.0, 56.0):
        atoms.set_masses(np.full(len(atoms), mass))
        labelled = attach_labels(atoms, reference, reference="si16", labels=["sites"])
        assert labelled.info[dataset.N_UNSTABLE] > 0
        entropies.append(references.targets(labelled).total)
    assert entropies[0] == pytest.approx(entropies[1], abs=1e-9)


def test_reference_without_bulk_values_is_refused(silicon_frames):
    with pytest.raises(LabelError, match=dataset.BULK):
        train(without(silicon_frames, dataset.BULK), SMALL)


def test_undetermined_constants_are_named(silicon_frames):
    """Gradients alone, without a crystal, leave the constant open."""
    frames = without(
        silicon_frames[1:], dataset.REFERENCE, dataset.ENTROPY, dataset.SITES, dataset.SITE_MODES
    )
    with pytest.raises(TrainingError, match="constants of Si"):
        train(frames, SMALL)
    perfect_only = without(silicon_frames[:1], dataset.GRADIENT)
    with pytest.raises(TrainingError, match="rattled or defective"):
        train(perfect_only, SMALL)


def test_fixed_atoms_cannot_train(silicon_frames):
    from ase.constraints import FixAtoms

    atoms = silicon_frames[1].copy()
    atoms.set_constraint(FixAtoms([0]))
    reference = HessianEntropyCalculator(stillinger_weber_silicon(), unstable="any")
    labelled = attach_labels(atoms, reference, reference="si16", labels=["sites"])
    assert labelled.info[dataset.N_MODES] == 3 * (len(atoms) - 1)
    with pytest.raises(LabelError, match="fixed atoms"):
        train([*silicon_frames, labelled], SMALL)


def test_training_from_a_file(tmp_path, silicon_frames, silicon_model):
    path = tmp_path / "labels.xyz"
    dataset.write_labels(path, silicon_frames)
    model = train(path, SMALL)
    np.testing.assert_allclose(model.weights, silicon_model.weights, rtol=1e-6)
    assert isinstance(dataset.read_labels(path)[0], Atoms)
