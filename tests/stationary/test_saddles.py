"""Relaxation and saddles: stated forces, judged by forces and curvatures of their own."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.geometry import find_mic
from ase.optimize import BFGS
from ase.vibrations import Vibrations

from ase_vibent import HessianEntropyCalculator, attach_labels, dataset
from ase_vibent.errors import (
    CalculatorError,
    InvalidInputError,
    InvalidStructureError,
    RelaxationError,
)
from ase_vibent.hessian import HessianOptions, compute_hessian
from ase_vibent.potentials import effective_medium, stillinger_weber_silicon
from ase_vibent.stationary import Saddle, dimer_saddle, path_saddle, relax
from ase_vibent.stationary.saddles import climb
from ase_vibent.structures import apply_strain, rattle, vacancies, wigner_seitz_defects
from ase_vibent.structures.wigner_seitz import defect_atoms


class Broken(Calculator):
    """Gives NaN, or raises."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if self.parameters.get("raises"):
            raise RuntimeError("out of memory")
        self.results = {"energy": 0.0, "forces": np.full((len(atoms), 3), np.nan)}


def forces_of(atoms: Atoms, calculator: Calculator) -> np.ndarray:
    copy = atoms.copy()
    copy.calc = calculator
    return copy.get_forces()


def longest(forces: np.ndarray) -> float:
    return float(np.linalg.norm(forces, axis=1).max())


@pytest.mark.parametrize("fmax", [1e-2, 1e-5])
def test_relaxed_to_the_stated_force(silicon, fmax):
    start = rattle(vacancies(silicon)[0], 0.1, 1, 0)[0]
    before = start.copy()
    atoms = relax(start, stillinger_weber_silicon, fmax=fmax)
    forces = forces_of(atoms, stillinger_weber_silicon())
    assert longest(forces) <= fmax
    assert atoms.get_forces() == pytest.approx(forces, abs=1e-10)
    assert start == before
    assert np.array_equal(atoms.cell, start.cell)


def test_relaxed_cell_has_no_stress():
    crystal = bulk("Si", "diamond", a=5.431)
    atoms = relax(apply_strain(crystal, 0.02), stillinger_weber_silicon, fmax=1e-4, relax_cell=True)
    # 1e-4 eV of the cell's degrees of freedom over some 40 eV of V·B.
    assert atoms.cell.lengths() == pytest.approx(crystal.cell.lengths(), rel=1e-5)


def test_cell_of_a_molecule_does_not_relax():
    pair = Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2.3]])
    with pytest.raises(InvalidStructureError, match="relax_cell"):
        relax(pair, EMT(), relax_cell=True)


def test_fixed_atoms_stay(silicon):
    start = rattle(silicon, 0.2, 1, 0)[0]
    start.set_constraint(FixAtoms([0, 3]))
    atoms = relax(start, stillinger_weber_silicon, fmax=1e-3)
    assert np.array_equal(atoms.positions[[0, 3]], start.positions[[0, 3]])
    forces = forces_of(atoms, stillinger_weber_silicon())
    free = np.setdiff1d(np.arange(len(atoms)), [0, 3])
    assert longest(forces[free]) <= 1e-3


def test_what_does_not_relax_says_how_far_it_came(silicon):
    start = rattle(silicon, 0.5, 1, 0)[0]
    with pytest.raises(RelaxationError, match="3 steps") as caught:
        relax(start, stillinger_weber_silicon, steps=3)
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.steps, error.force > 1e-3) == (3, True)
    for broken, message in ((Broken(), "not finite"), (Broken(raises=True), "out of memory")):
        with pytest.raises(CalculatorError, match=message):
            relax(start, broken)
    with pytest.raises(InvalidInputError, match="fmax"):
        relax(start, stillinger_weber_silicon, fmax=0)


# --- the jump of a vacancy in copper --------------------------------------------------


@pytest.fixture(scope="module")
def ends() -> tuple[Atoms, Atoms, Atoms]:
    """Perfect copper, a vacancy at atom 0, and the same after a neighbour's jump into it."""
    crystal = bulk("Cu", "fcc", a=3.5898, cubic=True) * (2, 2, 2)
    initial = vacancies(crystal)[0]
    neighbour = int(defect_atoms(initial, crystal)[0])
    final = initial.copy()
    final.positions[neighbour] = crystal.positions[0]
    return crystal, initial, final


def test_a_dimer_ends_at_the_stated_force():
    # What the dimer itself looks at, its turned forces, ends here at 0.05 where these are at 0.069.
    crystal = bulk("Si", "diamond", a=5.431, cubic=True) * 2
    calculator, fmax = stillinger_weber_silicon(), 0.05
    guess = relax(vacancies(crystal)[0], calculator, fmax=1e-3)
    ways, distances = find_mic(crystal.positions[0] - guess.positions, guess.cell, guess.pbc)
    mover = int(np.argmin(distances))
    mode = np.zeros((len(guess), 3))
    mode[mover] = ways[mover]
    guess.positions += mode / 2 + np.random.default_rng(0).normal(0, 0.03, mode.shape)
    saddle = climb(guess, mode, calculator, fmax=fmax)
    assert longest(forces_of(saddle, calculator)) <= fmax


@pytest.fixture(scope="module")
def path(ends) -> Saddle:
    return path_saddle(ends[1], ends[2], effective_medium, images=3, fmax=1e-3)


def half_way(initial: Atoms, final: Atoms) -> float:
    """Energy of the saddle, which symmetry puts half-way: an ordinary relaxation finds it."""
    atoms = initial.copy()
    jump = final.positions - initial.positions
    jump -= np.round(jump @ np.linalg.inv(atoms.cell)) @ atoms.cell
    atoms.positions += jump / 2
    atoms.calc = EMT()
    BFGS(atoms, logfile=None).run(fmax=1e-5)
    return float(atoms.get_potential_energy())


def test_vacancy_jump_by_band_dimer_and_symmetry(ends, path):
    crystal, initial, final = ends
    minimum = relax(initial, effective_medium, fmax=1e-5)
    barrier = half_way(initial, final) - minimum.get_potential_energy()
    around = defect_atoms(initial, crystal)
    searches = (dimer_saddle(minimum, effective_medium, around=around, rng=k) for k in range(5))
    found = next(saddle for saddle in searches if saddle.connected)
    for saddle in (path, found):
        assert saddle.connected
        # Forces of 1e-3 eV/Å over soft modes: second order, some 1e-6 eV.
        assert saddle.barrier_forward == pytest.approx(barrier, abs=2e-5)
        assert saddle.barrier_backward == pytest.approx(barrier, abs=2e-5)
        for atoms in (saddle.saddle, saddle.minimum_1, saddle.minimum_2):
            assert longest(forces_of(atoms, EMT())) <= 1e-3
        for atoms in (saddle.minimum_1, saddle.minimum_2):
            assert wigner_seitz_defects(atoms, crystal).n_vacancies == 1


def test_saddle_has_one_imaginary_mode(path, tmp_path):
    atoms = path.saddle.copy()
    atoms.calc = EMT()
    vibrations = Vibrations(atoms, name=str(tmp_path / "vibrations"))
    vibrations.run()
    energies = vibrations.get_energies()
    # The three translations are imaginary by rounding, or not, but small.
    assert np.sum(energies.imag > 2e-3) == 1
    assert path.frequency == pytest.approx(-energies.imag.max(), rel=1e-3)
    downhill = path.minimum_2.positions - path.minimum_1.positions
    downhill -= np.round(downhill @ np.linalg.inv(atoms.cell)) @ atoms.cell
    assert np.sum(path.mode * downhill) > 0


def test_saddle_shows_its_numbers(path):
    shown = repr(path)
    assert f"barrier_forward={path.barrier_forward:.4f}" in shown
    assert f"frequency={path.frequency:.5f}" in shown
    assert len(shown) < 120


def test_large_saddles_are_proved_too(ends, path, monkeypatch):
    """Also where "auto" would rather iterate than diagonalise."""
    monkeypatch.setattr("ase_vibent.calculators.hessian.DENSE_LIMIT", 20)
    found = path_saddle(*ends[1:], effective_medium, images=1, fmax=0.01)
    assert found.frequency == pytest.approx(path.frequency, rel=1e-2)


@pytest.mark.filterwarnings("ignore::ase_vibent.errors.NarrowCellWarning")
@pytest.mark.parametrize("mesh", ["gamma", (1, 1, 2)])
def test_label_of_a_saddle_from_what_proved_it(path, mesh):
    """Bit by bit that of another Hessian, which it does not make."""

    class Counting(EMT):
        calls = 0

        def calculate(self, *args, **kwargs):
            self.calls += 1
            super().calculate(*args, **kwargs)

    plain, spared = Counting(), Counting()
    expected, label = (
        attach_labels(
            path.saddle,
            HessianEntropyCalculator(emt, hessian=own, unstable=1, mesh=mesh),
            labels=["gradient", "sites", "moments"],
        )
        for emt, own in ((plain, None), (spared, path.hessian))
    )
    assert plain.calls - spared.calls == 6 * len(path.saddle) + 2  # that judge the step
    assert label.info.keys() == expected.info.keys()
    for name, value in expected.info.items():
        if name != dataset.ERRORS:  # of a Hessian from elsewhere the step is not known
            np.testing.assert_array_equal(label.info[name], value)
    assert set(label.arrays) == set(expected.arrays)
    for name, values in expected.arrays.items():
        # Of force calls of its own, in which EMT's sums follow the order of its neighbours.
        rounding = 1e-12 if name == dataset.GRADIENT else 0
        np.testing.assert_allclose(label.arrays[name], values, rtol=0, atol=rounding)


def test_options_reach_the_proof(ends):
    """A wide step, which truncation tells from the usual one."""
    options = HessianOptions(displacement=0.08)
    found = path_saddle(*ends[1:], effective_medium, images=1, fmax=0.01, options=options)
    hessians = [
        compute_hessian(found.saddle, EMT(), options=own) for own in (options, HessianOptions())
    ]
    np.testing.assert_allclose(found.hessian, hessians[0], atol=1e-9)
    assert np.abs(found.hessian - hessians[1]).max() > 1e-3


def test_paths_that_are_none(ends):
    crystal, initial, _ = ends
    with pytest.raises(InvalidInputError, match="same minimum"):
        path_saddle(initial, rattle(initial, 0.1, 1, 0)[0], effective_medium)
    with pytest.raises(InvalidInputError, match="same order"):
        path_saddle(initial, crystal, effective_medium)
    with pytest.raises(InvalidInputError, match="around"):
        dimer_saddle(initial, effective_medium, around=[99])
    with pytest.raises(RelaxationError, match="dimer"):
        dimer_saddle(initial, effective_medium, rng=1, steps=60)
