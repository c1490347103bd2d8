"""The surrogate inside ASE: optimizers, bands, cell filters, sums, caches and files."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.calculators.mixing import SumCalculator
from ase.filters import FrechetCellFilter
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from ase.units import kB
from scipy.optimize import minimize_scalar
from scipy.spatial.transform import Rotation

from ase_vibent import ACE, HessianEntropyCalculator, SiteEntropyCalculator, SiteModel
from ase_vibent.potentials import stillinger_weber_silicon

# The small models are asked about much that they have not seen.
pytestmark = pytest.mark.filterwarnings("ignore::ase_vibent.errors.ExtrapolationWarning")

SYSTEMS = {
    "silicon": (stillinger_weber_silicon, bulk("Si", "diamond", a=5.4310, cubic=True) * (2, 1, 1)),
    "copper": (EMT, bulk("Cu", "fcc", a=3.5898, cubic=True) * (2, 2, 1)),
}


@pytest.fixture(scope="module", params=SYSTEMS)
def system(request) -> SimpleNamespace:
    """A potential, its surrogate, a crystal, and both ends of a vacancy jump, relaxed."""
    potential, crystal = SYSTEMS[request.param]
    model = request.getfixturevalue(f"{request.param}_model")
    neighbour = 1 + int(np.argmin(crystal.get_distances(0, range(1, len(crystal)), mic=True)))
    ends = [crystal.copy(), crystal.copy()]
    ends[1].positions[neighbour] = crystal.positions[0]
    for end in ends:
        del end[0]
        end.calc = potential()
        assert BFGS(end, logfile=None).run(fmax=1e-4, steps=200)
        end.calc = None

    def total(temperature: float) -> SumCalculator:
        return SumCalculator([potential(), SiteEntropyCalculator(model, temperature=temperature)])

    return SimpleNamespace(
        potential=potential, model=model, crystal=crystal, ends=ends, total=total
    )


@pytest.fixture
def rough(system) -> Atoms:
    """The vacancy cell off its minimum and sheared, so that nothing vanishes by symmetry."""
    atoms = system.ends[0].copy()
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.01 * np.eye(3)[[1, 2, 0]]), scale_atoms=True)
    atoms.rattle(0.03, seed=1)
    return atoms


@pytest.fixture
def alloy_model() -> SiteModel:
    """A model of two species with random coefficients; caches and derivatives need no more."""
    rng = np.random.default_rng(0)
    ace = ACE(["Cu", "Ni"], cutoff=4.0, order=2, degree=5)
    shape = (2, ace.n_features)
    weights, shift = rng.normal(size=shape), rng.normal(size=shape)
    return SiteModel(ace, rng.normal(size=2), weights, shift, np.ones(shape))


def slope(function, step: float = 1e-5) -> float:
    """Central difference; short, because the model's cutoff is smooth to first order only.

    Rounding of F, 1e-16 eV / 1e-5, and step² both stay below 1e-9.
    """
    return (function(step) - function(-step)) / (2 * step)


def slope_along(calculator, atoms: Atoms, direction: np.ndarray) -> float:
    """Numerical derivative of the energy along a displacement pattern."""

    def energy(amount: float) -> float:
        copy = atoms.copy()
        copy.positions += amount * direction
        return calculator.get_property("energy", copy)

    return slope(energy)


def apply_strain(atoms: Atoms, voigt: int, amount: float) -> Atoms:
    """Copy under one component of symmetric strain."""
    a, b = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))[voigt]
    deformation = np.eye(3)
    deformation[a, b] += amount / 2
    deformation[b, a] += amount / 2
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    return copy


# --- Optimizers, bands, cells ---------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [BFGS, FIRE])
def test_optimizers_find_the_minimum_of_the_free_energy(system, optimizer, tmp_path):
    start = system.ends[0]
    atoms = start.copy()
    atoms.calc = system.total(600)
    fmax, before = 1e-3, atoms.get_potential_energy()
    assert np.abs(atoms.get_forces()).max() > 10 * fmax  # the minimum of E is none of E + F
    path = tmp_path / "relax.traj"
    assert optimizer(atoms, logfile=None, trajectory=str(path)).run(fmax=fmax, steps=300)
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() < fmax
    assert atoms.get_potential_energy() < before
    # fmax over the softest stiffness, about 1 eV/Å², is the uncertainty of either minimum.
    assert np.abs(atoms.positions - start.positions).max() > 3 * fmax
    assert ase.io.read(path).get_potential_energy() == atoms.get_potential_energy()


def band(system, *, shared: bool) -> list[Atoms]:
    images = [system.ends[k].copy() for k in (0, 0, 0, 0, 1)]
    common = system.total(600)
    for image in images:
        image.calc = common if shared else system.total(600)
    neb = NEB(images, allow_shared_calculator=shared, method="improvedtangent")
    neb.interpolate("idpp", mic=True)
    return images


def test_elastic_band_converges_and_may_share_one_calculator(system):
    bands = {}
    for shared in (False, True):
        images = bands[shared] = band(system, shared=shared)
        neb = NEB(images, allow_shared_calculator=shared, method="improvedtangent")
        assert FIRE(neb, logfile=None).run(fmax=0.05, steps=300)
        assert neb.get_residual() < 0.05
    # The two run through the same numbers; only rounding in the potential may differ.
    for own, common in zip(*bands.values(), strict=True):
        np.testing.assert_allclose(own.positions, common.positions, rtol=0, atol=1e-6)
        fresh = system.total(600).get_property("energy", own)
        for image in (own, common):
            assert image.get_potential_energy() == pytest.approx(fresh, abs=1e-6)


@pytest.mark.parametrize("shared", [False, True])
def test_forces_on_a_band_are_the_gradient_of_its_energies(system, shared):
    rng = np.random.default_rng(2)
    for image in band(system, shared=shared):
        direction = rng.normal(size=image.positions.shape)
        surrogate, total = image.calc.mixer.calcs[1], image.calc
        # 1e2 eV rounded to 1e-14 and divided by the step: no better than 1e-5 for the sum.
        for calculator, tolerance in ((surrogate, 1e-6), (total, 1e-5)):
            forces = calculator.get_property("forces", image)
            expected = slope_along(calculator, image, direction)
            scale = np.linalg.norm(forces) * np.linalg.norm(direction)
            assert -np.vdot(forces, direction) == pytest.approx(expected, abs=tolerance * scale)


def test_cell_filter_finds_the_lattice_constant_of_each_temperature(system):
    """Judge: a scan of E + F(a), independent of stresses."""
    relaxed = {}
    for temperature in (300, 900):
        atoms = system.crystal.copy()
        atoms.calc = system.total(temperature)
        assert BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-4, steps=100)
        relaxed[temperature] = atoms.cell.lengths()[0] / system.crystal.cell.lengths()[0]

        def free_energy(scale: float, calculator=atoms.calc, crystal=atoms) -> float:
            copy = crystal.copy()
            copy.set_cell(system.crystal.cell * scale, scale_atoms=True)
            return calculator.get_property("free_energy", copy)

        best = minimize_scalar(free_energy, bounds=(0.97, 1.05), method="bounded").x
        # 9 B V > 500 eV turns 1e-4 eV into 2e-7; the scan itself stops at 1e-5.
        assert relaxed[temperature] == pytest.approx(best, abs=3e-5)
    assert abs(relaxed[900] - relaxed[300]) > 1e-3


def test_sum_with_a_potential_adds_up(system, rough):
    total = system.total(600)
    parts = [system.potential(), SiteEntropyCalculator(system.model, temperature=600)]
    names = ("energy", "free_energy", "forces", "stress")
    assert set(names) <= set(total.implemented_properties)
    for name in names:
        expected = sum(np.asarray(part.get_property(name, rough)) for part in parts)
        # Contributions of up to 1e2 eV are added in another order.
        np.testing.assert_allclose(total.get_property(name, rough), expected, rtol=0, atol=1e-10)
    assert parts[1].get_property("free_energy", rough) != 0


def test_sum_without_a_cache_follows_temperature_and_masses(system, rough):
    """ASE's SumCalculator cannot see either change; `use_cache = False` makes it ask again."""
    total, fresh = system.total(300), system.total(900)
    total.use_cache = False
    before = total.get_property("energy", rough)
    total.mixer.calcs[1].temperature = 900
    hot = total.get_property("energy", rough)
    assert hot == pytest.approx(fresh.get_property("energy", rough), abs=1e-10)
    assert hot < before
    rough.set_masses(2 * rough.get_masses())
    heavy = total.get_property("energy", rough)
    expected = 900 * kB * 1.5 * np.log(2) * len(rough)
    assert hot - heavy == pytest.approx(expected, rel=1e-9)


def test_energy_is_the_free_energy_as_a_python_float(system, rough):
    calculator = SiteEntropyCalculator(system.model)
    energy = calculator.get_property("energy", rough)
    free_energy = calculator.get_property("free_energy", rough)
    assert type(energy) is type(free_energy) is float
    assert energy == free_energy
    for sites, whole in (("energies", "energy"), ("entropies", "entropy")):
        values = calculator.get_property(sites, rough)
        assert values.shape == (len(rough),)
        assert values.sum() == pytest.approx(calculator.get_property(whole, rough), rel=1e-13)


def test_get_properties_of_atoms(system, rough):
    rough.calc = SiteEntropyCalculator(system.model)
    properties = rough.get_properties(["energy", "free_energy", "forces", "stress"])
    assert properties["energy"] == rough.get_potential_energy()
    np.testing.assert_array_equal(properties["forces"], rough.get_forces())
    np.testing.assert_array_equal(properties["stress"], rough.get_stress())


def test_temperature_enters_as_the_classical_formula_says(system, rough):
    """S = k_B [s + 3N (1 + ln T/T0)], F = 3N k_B T - T S, and forces scale with T."""
    calculator = SiteEntropyCalculator(system.model, temperature=300)
    cold = calculator.get_property("entropy", rough)
    slope_of_entropy = calculator.get_property("entropy_gradient", rough)
    calculator.temperature, n_modes = 750, 3 * len(rough)
    warm = cold + n_modes * kB * np.log(750 / 300)
    assert calculator.get_property("entropy", rough) == pytest.approx(warm, rel=1e-13)
    expected = 750 * (n_modes * kB - warm)
    assert calculator.get_property("energy", rough) == pytest.approx(expected, rel=1e-12)
    forces = calculator.get_property("forces", rough)
    np.testing.assert_allclose(forces, 750 * slope_of_entropy, rtol=1e-12, atol=1e-15)


def test_forces_and_stress_are_derivatives_of_the_free_energy(system, rough):
    calculator = SiteEntropyCalculator(system.model, temperature=600)
    units = np.eye(rough.positions.size).reshape(-1, *rough.positions.shape)
    forces = -np.array([slope_along(calculator, rough, unit) for unit in units])
    error = calculator.get_property("forces", rough).ravel() - forces
    assert np.linalg.norm(error) < 1e-6 * np.linalg.norm(forces)

    def energy(voigt: int, amount: float) -> float:
        return calculator.get_property("energy", apply_strain(rough, voigt, amount))

    stress = np.array([slope(partial(energy, k)) for k in range(6)]) / rough.get_volume()
    error = calculator.get_property("stress", rough) - stress
    assert np.linalg.norm(error) < 1e-6 * np.linalg.norm(stress)


@pytest.mark.parametrize("cell", [None, [20, 20, 20]], ids=["no cell", "box"])
@pytest.mark.parametrize("before", [None, "energy", "forces"])
def test_cluster_has_forces_and_no_stress(system, rough, cell, before):
    """Neither first nor after another property; a box around a cluster is no volume."""
    rough.pbc, rough.cell = False, cell
    calculator = SiteEntropyCalculator(system.model)
    if before is not None:
        calculator.get_property(before, rough)
    with pytest.raises(PropertyNotImplementedError):
        calculator.get_property("stress", rough)
    direction = np.random.default_rng(3).normal(size=rough.positions.shape)
    forces = calculator.get_property("forces", rough)
    expected = slope_along(calculator, rough, direction)
    assert -np.vdot(forces, direction) == pytest.approx(expected, rel=1e-6)


# --- Symmetries -----------------------------------------------------------------------------


def test_entropy_is_extensive(system, rough):
    calculator = SiteEntropyCalculator(system.model)
    single = calculator.get_property("entropies", rough)
    for repeats, copies in (((2, 1, 1), 2), ((1, 2, 2), 4)):
        repeated = rough.repeat(repeats)
        entropy = calculator.get_property("entropy", repeated)
        assert entropy == pytest.approx(copies * single.sum(), rel=1e-10)
        entropies = calculator.get_property("entropies", repeated)
        np.testing.assert_allclose(entropies, np.tile(single, copies), rtol=1e-9)


def test_rotation_translation_and_permutation_change_nothing(system, rough):
    calculator = SiteEntropyCalculator(system.model)
    names = ("entropies", "forces")
    entropies, forces = (calculator.get_property(name, rough) for name in names)
    turn = Rotation.random(random_state=4).as_matrix()
    moved = rough.copy()
    moved.set_cell(rough.cell.array @ turn.T, scale_atoms=True)
    moved.positions += [0.3, -7.0, 11.0]
    moved.wrap()
    order = np.random.default_rng(5).permutation(len(rough))
    for atoms, rows, matrix in ((moved, slice(None), turn), (rough[order], order, np.eye(3))):
        new, turned = calculator.get_property("forces", atoms), (forces @ matrix.T)[rows]
        np.testing.assert_allclose(new, turned, rtol=0, atol=1e-10 * np.abs(forces).max())
        new = calculator.get_property("entropies", atoms)
        np.testing.assert_allclose(new, entropies[rows], rtol=1e-10)


@pytest.mark.parametrize("mesh", ["auto", "gamma"])
def test_masses_enter_exactly(silicon, silicon_model, mesh):
    """The Γ sum lacks three translations, hence (3/2) ln of the mean mass; nothing else."""
    heavy = silicon.copy()
    masses = heavy.get_masses()
    masses[[0, 3, 4]] = [1.0, 30.0, 200.0]
    heavy.set_masses(masses)
    changes = [
        (c.get_property("entropy", heavy) - c.get_property("entropy", silicon)) / kB
        for c in (
            SiteEntropyCalculator(silicon_model),
            HessianEntropyCalculator(stillinger_weber_silicon(), mesh=mesh),
        )
    ]
    translations = 1.5 * np.log(masses.mean() / silicon.get_masses().mean())
    assert changes[0] - (translations if mesh == "gamma" else 0) == pytest.approx(
        changes[1], abs=1e-8
    )


# --- Caches ---------------------------------------------------------------------------------


CHANGES = {
    "position": lambda atoms: atoms.positions.__setitem__((0, 0), 0.01),
    "cell": lambda atoms: atoms.set_cell(atoms.cell * 1.01),
    "pbc": lambda atoms: atoms.set_pbc([True, True, False]),
    "species": lambda atoms: atoms.symbols.__setitem__(1, "Ni"),
    "mass": lambda atoms: atoms.set_masses([70.0, None, None, 1.0]),
    "removal": lambda atoms: atoms.pop(),
    "temperature": lambda atoms: setattr(atoms.calc, "temperature", 450),
    "temperature, by set": lambda atoms: atoms.calc.set(temperature=450),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_never_return_stale_results(change, alloy_model):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=6)
    atoms.calc = SiteEntropyCalculator(alloy_model, temperature=300)
    before = atoms.get_potential_energy()
    for name in ("forces", "stress"):
        atoms.calc.get_property(name, atoms)
    CHANGES[change](atoms)
    temperature = 450 if "temperature" in change else 300
    fresh = SiteEntropyCalculator(alloy_model, temperature=temperature)
    for name in ("energy", "free_energy", "forces", "stress", "entropies"):
        got, expected = (c.get_property(name, atoms) for c in (atoms.calc, fresh))
        # Kept neighbours are summed in another order than fresh ones: rounding, no more.
        size = np.abs(expected).max()
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-13 * size)
    assert abs(atoms.get_potential_energy() - before) > 1e-9


def test_one_calculator_alternates_between_structures(alloy_model):
    structures = [bulk("Cu", cubic=True), bulk("Cu") * (3, 1, 1), bulk("Ni", cubic=True)]
    for number, atoms in enumerate(structures):
        atoms.rattle(0.05, seed=number)
    shared = SiteEntropyCalculator(alloy_model)
    for atoms in (structures[k] for k in (0, 1, 2, 1, 0, 0, 2)):
        fresh = SiteEntropyCalculator(alloy_model)
        for name in ("energy", "forces", "stress", "entropies"):
            np.testing.assert_array_equal(
                shared.get_property(name, atoms), fresh.get_property(name, atoms.copy())
            )


# --- Files ----------------------------------------------------------------------------------


def test_model_as_path_or_object_is_the_same(system, rough, tmp_path):
    path = tmp_path / "model.vibent"
    system.model.save(path)
    for name in ("energy", "forces", "stress", "entropies"):
        values = [
            SiteEntropyCalculator(model, temperature=450).get_property(name, rough)
            for model in (system.model, path, str(path))
        ]
        np.testing.assert_array_equal(values[1], values[0])
        np.testing.assert_array_equal(values[2], values[0])


@pytest.mark.parametrize("kind", ["traj", "extxyz", "json", "db"])
@pytest.mark.parametrize("source", ["object", "path"])
def test_atoms_with_the_calculator_survive_ase_files(
    silicon, silicon_model, kind, source, tmp_path
):
    silicon_model.save(tmp_path / "model.vibent")
    model = silicon_model if source == "object" else tmp_path / "model.vibent"
    silicon.rattle(0.05, seed=7)
    silicon.calc = SiteEntropyCalculator(model, temperature=450)
    energy, forces, stress = (
        silicon.get_potential_energy(),
        silicon.get_forces(),
        silicon.get_stress(),
    )
    silicon.calc.get_property("entropy_strain", silicon)
    ase.io.write(tmp_path / f"atoms.{kind}", silicon)
    back = ase.io.read(tmp_path / f"atoms.{kind}")
    # ASE writes extended XYZ with 8 decimals.
    atol = 1e-8 if kind == "extxyz" else 1e-14
    np.testing.assert_allclose(back.positions, silicon.positions, rtol=0, atol=atol)
    np.testing.assert_allclose(back.get_forces(), forces, rtol=0, atol=atol)
    np.testing.assert_allclose(back.get_stress(), stress, rtol=0, atol=atol)
    assert back.get_potential_energy() == pytest.approx(energy, abs=atol)
