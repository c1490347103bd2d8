"""Errors of surrogates: norms against direct sums, known surrogates, and what is refused."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from scipy.linalg import eigh

from ase_vibent.analysis import (
    EnergyNorm,
    MatchingConditions,
    TrainingCell,
    convergence_rate,
    defect_errors,
    displaced_samples,
    theorem_bounds,
)
from ase_vibent.errors import InvalidInputError, InvalidStructureError, LostStateError, VibentError
from ase_vibent.hessian import compute_hessian
from ase_vibent.stationary import relax

#: EMT's lattice constant of copper.
LATTICE = 3.5898
SPACING = LATTICE / np.sqrt(2)


class Scaled(Calculator):
    """(1 + share) times EMT, a constant of every atom, and a force on one atom."""

    implemented_properties = ("energy", "free_energy", "forces")

    def __init__(self, share: float = 0.0, constant: float = 0.0, pull: float = 0.0):
        super().__init__()
        self.share, self.constant, self.pull = share, constant, pull
        self.inner = EMT()

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        inner = self.atoms.copy()
        inner.calc = self.inner
        energy = (1 + self.share) * inner.get_potential_energy() + self.constant * len(inner)
        forces = (1 + self.share) * inner.get_forces()
        energy -= self.pull * (inner.positions[0, 0] - inner.positions[1, 0])
        forces[0, 0] += self.pull
        forces[1, 0] -= self.pull
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}


@pytest.fixture(scope="module")
def crystal() -> Atoms:
    return bulk("Cu", a=LATTICE, cubic=True) * (2, 2, 2)


@pytest.fixture(scope="module")
def minimum(crystal) -> Atoms:
    vacancy = crystal.copy()
    del vacancy[0]
    return relax(vacancy, EMT, fmax=1e-5)


@pytest.fixture(scope="module")
def cell(crystal, minimum) -> TrainingCell:
    samples = displaced_samples(minimum, 0.02, 4, rng=1)
    return TrainingCell(minimum, crystal, samples, reference=EMT)


def with_emt(atoms: Atoms) -> Atoms:
    atoms = atoms.copy()
    atoms.calc = EMT()
    return atoms


def random_vectors(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3))


def test_norm_is_the_sum_over_neighbours(minimum):
    u = random_vectors(len(minimum))
    distances = minimum.get_all_distances(mic=True)
    pairs = itertools.permutations(range(len(minimum)), 2)
    direct = sum(np.sum((u[i] - u[j]) ** 2) for i, j in pairs if distances[i, j] < 1.2 * SPACING)
    assert EnergyNorm(minimum, 1.2 * SPACING)(u) == pytest.approx(np.sqrt(direct), rel=1e-12)


def test_norm_is_its_stiffness(minimum):
    norm = EnergyNorm(minimum, 1.2 * SPACING, components=(0, 2))
    u = random_vectors(len(minimum))
    flat = u[:, [0, 2]].ravel()
    assert norm(u) ** 2 == pytest.approx(flat @ norm.stiffness @ flat, rel=1e-12)
    u[:, 1] += 7.0  # does not count
    assert norm(u) ** 2 == pytest.approx(flat @ norm.stiffness @ flat, rel=1e-12)


def test_norm_sees_neither_translations_nor_the_order_of_atoms(minimum):
    u = random_vectors(len(minimum))
    order = np.random.default_rng(3).permutation(len(minimum))
    moved = minimum[order]
    moved.positions += [0.3, -1.2, 5.0]
    moved.wrap()
    norm, other = EnergyNorm(minimum, 3.0), EnergyNorm(moved, 3.0)
    assert other(u[order] + [100.0, 0.0, 0.0]) == pytest.approx(norm(u), rel=1e-12)
    assert other.dual(u[order]) == pytest.approx(norm.dual(u), rel=1e-12)
    assert norm(np.ones((len(minimum), 3))) == pytest.approx(0, abs=1e-12)


def test_dual_norm_is_attained_and_not_passed(minimum):
    norm = EnergyNorm(minimum, 3.0)
    f = random_vectors(len(minimum))
    f -= f.mean(axis=0)
    best = (np.linalg.pinv(norm.stiffness.toarray()) @ f.ravel()).reshape(-1, 3)
    assert np.vdot(f, best) / norm(best) == pytest.approx(norm.dual(f), rel=1e-10)
    for seed in range(20):
        u = best + 0.1 * random_vectors(len(minimum), seed)
        assert abs(np.vdot(f, u)) < norm.dual(f) * norm(u)


@pytest.mark.parametrize("components", [(0, 1, 2), (0, 1)])
def test_extremes_are_those_of_the_dense_pencil(crystal, components, monkeypatch):
    hessian = compute_hessian(crystal, EMT)
    norm = EnergyNorm(crystal, 3.0, components)
    rows = np.arange(3 * len(crystal)).reshape(-1, 3)[:, components].ravel()
    # On the complement of translations, without taking out an atom.
    stiffness = norm.stiffness.toarray()
    values, vectors = np.linalg.eigh(stiffness)
    basis = vectors[:, values > 1e-8]
    assert basis.shape[1] == len(rows) - len(components)
    pencil = eigh(
        basis.T @ hessian[np.ix_(rows, rows)] @ basis,
        basis.T @ stiffness @ basis,
        eigvals_only=True,
    )
    expected = pytest.approx((pencil[0], pencil[-1]), rel=1e-5)
    assert norm.extremes(hessian) == expected
    monkeypatch.setattr("ase_vibent.analysis.energy_norm.DENSE", 0)
    assert norm.extremes(hessian) == expected


def test_reference_matches_itself(cell, minimum, crystal):
    found = cell.matching_conditions(EMT())
    # To rounding of energies of some 10 eV.
    assert (found.energy, found.forces, found.force_constants, found.homogeneous) == pytest.approx(
        (0, 0, 0, 0), abs=1e-9
    )
    errors = defect_errors(minimum, with_emt(crystal), EMT(), fmax=1e-4)
    assert (errors.geometry, errors.energy) == pytest.approx((0, 0), abs=1e-9)


def test_surrogate_of_a_known_share(cell, minimum, crystal):
    share = 0.03
    found = cell.matching_conditions(lambda: Scaled(share, constant=0.7))
    assert found.relative_force_constants == pytest.approx(share, rel=1e-6)
    assert found.relative_homogeneous == pytest.approx(share, rel=1e-6)
    assert found.force_constants == pytest.approx(
        share * cell.norm.operator(compute_hessian(minimum, EMT)), rel=1e-6
    )
    forces = [with_emt(sample).get_forces() for sample in cell.samples]
    assert found.forces_rmse == pytest.approx(share * np.sqrt(np.mean(np.square(forces))), rel=1e-9)
    assert found.forces == pytest.approx(share * max(map(cell.norm.dual, forces)), rel=1e-9)
    per_atom = with_emt(crystal).get_potential_energy() / len(crystal)
    formation = [with_emt(s).get_potential_energy() - len(s) * per_atom for s in cell.samples]
    assert found.energy == pytest.approx(share * max(map(abs, formation)), rel=1e-8)
    errors = defect_errors(minimum, with_emt(crystal), Scaled(share, constant=0.7))
    assert errors.geometry < 1e-4  # the same minimum
    assert errors.energy == pytest.approx(
        share * (minimum.get_potential_energy() - len(minimum) * per_atom), rel=1e-6
    )


def test_geometry_error_is_the_response_to_a_small_force(cell, minimum, crystal):
    pull = 1e-3
    f = np.zeros((len(minimum), 3))
    f[0, 0], f[1, 0] = pull, -pull
    response = np.linalg.pinv(compute_hessian(minimum, EMT), rcond=1e-8) @ f.ravel()
    errors = defect_errors(minimum, with_emt(crystal), Scaled(pull=pull), fmax=1e-6)
    assert errors.geometry == pytest.approx(cell.norm(response.reshape(-1, 3)), rel=2e-3)
    # Relaxation gains half the work of the force.
    gained = errors.static_energy - errors.energy
    assert gained == pytest.approx(f.ravel() @ response / 2, rel=5e-3)


def test_force_error_bounds_the_geometry_error(cell, minimum, crystal):
    """[Ortner2022]'s argument: ‖Dū - Dũ‖ ≤ ε^F / stability, to first order."""
    errors = defect_errors(minimum, with_emt(crystal), Scaled(pull=1e-3), fmax=1e-6)
    found = cell.matching_conditions(Scaled(pull=1e-3))
    assert 0 < cell.stability < cell.norm.operator(compute_hessian(minimum, EMT))
    assert errors.geometry <= 1.01 * found.forces / cell.stability


def test_carried_results_stand_for_the_reference(minimum, crystal):
    samples = displaced_samples(minimum, 0.02, 2, rng=1)
    carried = TrainingCell(minimum, with_emt(crystal), [with_emt(s) for s in samples])
    computed = TrainingCell(minimum, crystal, samples, reference=EMT)
    surrogate = Scaled(0.1)
    one, other = (c.matching_conditions(surrogate) for c in (carried, computed))
    assert (one.energy, one.forces) == pytest.approx((other.energy, other.forces), rel=1e-9)
    assert np.isnan(one.force_constants)
    assert "homogeneous" in str(other)


def test_samples_keep_to_the_ball_and_the_plane(minimum):
    samples = displaced_samples(minimum, 0.05, 30, rng=2, components=(0, 1))
    shifts = np.array([sample.positions - minimum.positions for sample in samples])
    assert np.abs(shifts).max() <= 0.05 * (1 + 1e-9)
    assert not shifts[:, :, 2].any()
    # Uniform: variance radius² / 3; 1800 numbers, two percent of standard error.
    assert shifts[:, :, :2].var() == pytest.approx(0.05**2 / 3, rel=0.1)


def test_convergence_rate():
    sizes = np.array([4.0, 5, 6, 8])
    law = convergence_rate(sizes, -2.5 * sizes**-1.5)
    assert (law.exponent, law.prefactor) == pytest.approx((1.5, 2.5))
    assert law.exponent_std < 1e-7
    noise = np.array([1, -1, 1, -1])
    noisy = convergence_rate(sizes, sizes**-1.5 * np.exp(0.1 * noise))
    slope, covariance = np.polyfit(np.log(sizes), 0.1 * noise - 1.5 * np.log(sizes), 1, cov=True)
    assert noisy.exponent == pytest.approx(-slope[0])
    assert noisy.exponent_std == pytest.approx(np.sqrt(covariance[0, 0]))
    assert np.isnan(convergence_rate([1, 2], [1, 2]).exponent_std)
    with pytest.raises(InvalidInputError, match="two at least"):
        convergence_rate([4], [1.0])
    with pytest.raises(InvalidInputError, match="other than 0"):
        convergence_rate([4, 5], [1.0, 0.0])


def test_what_does_not_belong_together_is_refused(minimum, crystal):
    samples = displaced_samples(minimum, 0.02, 1)
    with pytest.raises(InvalidStructureError, match="both need the same supercell"):
        TrainingCell(minimum, crystal * (2, 1, 1), samples, reference=EMT)
    with pytest.raises(InvalidStructureError, match="not those of the minimum"):
        TrainingCell(minimum, crystal, [crystal], reference=EMT)
    silver = minimum.copy()
    silver.symbols[0] = "Ag"
    with pytest.raises(InvalidStructureError, match="same species"):
        TrainingCell(silver, crystal, samples, reference=EMT)
    with pytest.raises(InvalidInputError, match="got none"):
        TrainingCell(minimum, crystal, [], reference=EMT)
    with pytest.raises(InvalidInputError, match="carries no energy"):
        defect_errors(minimum, crystal, EMT())


def test_too_narrow_a_cell_is_refused(minimum, crystal):
    samples = displaced_samples(minimum, 0.02, 1)
    with pytest.raises(InvalidStructureError, match="meets its own image"):
        TrainingCell(minimum, crystal, samples, reference=EMT, cutoff=4.0)
    TrainingCell(minimum, crystal, samples, reference=EMT, cutoff=3.5)
    with pytest.raises(InvalidStructureError, match="neighbour themselves"):
        EnergyNorm(bulk("Cu", a=LATTICE), 3.0)


def test_norm_needs_connected_atoms(minimum):
    with pytest.raises(InvalidStructureError, match="not connected"):
        EnergyNorm(minimum, 2.0)
    norm = EnergyNorm(minimum, 3.0)
    with pytest.raises(InvalidInputError, match="expected shape"):
        norm(np.zeros((3, 3)))
    with pytest.raises(InvalidInputError, match="components"):
        EnergyNorm(minimum, 3.0, components=(0, 3))


def test_a_lost_state_is_told(minimum, crystal):
    """Copper pulled apart by two opposite forces beyond its strength."""
    with pytest.raises(VibentError) as raised:
        defect_errors(minimum, with_emt(crystal), Scaled(pull=3.0), steps=300)
    assert isinstance(raised.value, LostStateError)
    assert "lost the state: atom" in str(raised.value)


def test_unstable_lattices_are_refused(minimum, crystal):
    samples = displaced_samples(minimum, 0.02, 1)
    cell = TrainingCell(minimum, crystal, samples, reference=EMT)
    with pytest.raises(InvalidStructureError, match="surrogate's lattice is unstable"):
        cell.matching_conditions(Scaled(share=-2.0))
    stretched = bulk("Cu", a=1.25 * LATTICE, cubic=True) * (2, 2, 2)
    unstable = TrainingCell(stretched, stretched, [stretched], reference=EMT)
    with pytest.raises(InvalidStructureError, match="reference's structure is unstable"):
        unstable.matching_conditions(EMT())


def test_bounds_of_the_theorem():
    """[Ortner2022] Table 1: what is left where conditions vanish, and in wide cells."""
    none = MatchingConditions(*[0.0] * 8)
    for dimension in (2, 3):
        geometry, energy = (
            convergence_rate(
                [4, 8, 16], [theorem_bounds(none, L, dimension=dimension)[k] for L in (4, 8, 16)]
            ).exponent
            for k in (0, 1)
        )
        assert geometry == pytest.approx(1.5 * dimension)
        assert energy == pytest.approx(dimension, rel=0.02)  # beside its square
    fitted = dataclasses.replace(none, forces=0.1, energy=0.02, homogeneous=5.0)
    wide = theorem_bounds(fitted, 1e6, n_defects=4)
    assert wide == pytest.approx((0.2, 4 * (0.1**2 + 0.02)), rel=1e-6)
    with pytest.raises(InvalidInputError, match="width"):
        theorem_bounds(none, 0.0)
