"""One calculator, several engines and sources of the Hessian: the same entropies."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.units import kB
from scipy.sparse import csr_array

from ase_vibent import HessianEntropyCalculator, bulk_site_entropies
from ase_vibent.calculators import hessian as reference
from ase_vibent.errors import InvalidInputError, InvalidStructureError, UnstableStructureError
from ase_vibent.hessian import compute_hessian
from ase_vibent.hessian.step import PATTERNS
from ase_vibent.potentials import stillinger_weber_silicon

LATTICE_SI = 5.431


def crystal(n=2):
    return bulk("Si", "diamond", a=LATTICE_SI, cubic=True) * (n, n, 1)


@pytest.fixture
def vacancy(rattle):
    atoms = rattle(crystal()[1:], 0.1, seed=0)
    atoms.symbols[3] = "Si"
    masses = atoms.get_masses()
    masses[5] = 40.0
    atoms.set_masses(masses)
    return atoms


# Points that are their own pairs (real matrices), those of complex ones, and Γ.
@pytest.mark.parametrize("mesh", ["gamma", (1, 1, 1), (1, 1, 2)])
@pytest.mark.parametrize("engine", ["lanczos", "contour"])
@pytest.mark.parametrize("decomposition", ["mass-weighted", "mass-free"])
def test_engines_agree(vacancy, engine, decomposition, mesh):
    options = {"decomposition": decomposition, "temperature": 450.0, "mesh": mesh}
    dense = HessianEntropyCalculator(stillinger_weber_silicon(), **options)
    other = HessianEntropyCalculator(
        stillinger_weber_silicon(), engine=engine, tolerance=1e-9, **options
    )
    for name in ("entropies", "energies"):
        expected = dense.get_property(name, vacancy)
        np.testing.assert_allclose(
            other.get_property(name, vacancy), expected, atol=1e-8 * np.abs(expected).max()
        )
    assert 0 < other.site_error <= 1e-9
    assert dense.site_error == 0


@pytest.mark.parametrize("mesh", ["gamma", (1, 1, 2)])
def test_lanczos_with_quantum_statistics(vacancy, mesh):
    options = {"quantum": True, "temperature": 100.0, "tolerance": 1e-9, "mesh": mesh}
    dense, lanczos = (
        HessianEntropyCalculator(stillinger_weber_silicon(), engine=e, **options)
        for e in ("dense", "lanczos")
    )
    for name in ("entropies", "energies"):
        expected = dense.get_property(name, vacancy)
        np.testing.assert_allclose(
            lanczos.get_property(name, vacancy), expected, atol=1e-7 * np.abs(expected).max()
        )


@pytest.mark.filterwarnings("ignore::ase_vibent.errors.NarrowCellWarning")  # rattled so much
@pytest.mark.parametrize("mesh", ["gamma", (1, 1, 1), (1, 2, 1)])
@pytest.mark.parametrize("engine", ["lanczos", "contour"])
def test_unstable_modes(engine, mesh, rattle):
    """Unstable modes are found, counted, and left out."""
    atoms = rattle(bulk("Si", "diamond", a=LATTICE_SI, cubic=True) * (2, 1, 1), 1.2, seed=2)
    n_unstable = (
        HessianEntropyCalculator(stillinger_weber_silicon(), unstable="any", mesh=mesh)
        .harmonic_system(atoms)
        .n_unstable
    )
    assert n_unstable == int(n_unstable) > 0  # these meshes have one pair of points
    n_unstable = int(n_unstable)
    options = {"unstable": n_unstable, "tolerance": 1e-8, "mesh": mesh}
    dense, other = (
        HessianEntropyCalculator(stillinger_weber_silicon(), engine=e, **options)
        for e in ("dense", engine)
    )
    expected = dense.get_property("entropies", atoms)
    np.testing.assert_allclose(other.get_property("entropies", atoms), expected, atol=1e-7 * kB)
    other.set(unstable=n_unstable + 1)
    with pytest.raises(UnstableStructureError, match=f"expected {n_unstable + 1} unstable"):
        other.get_property("entropies", atoms)


def test_auto_changes_engine_with_size_and_for_gradients(vacancy, monkeypatch):
    monkeypatch.setattr(reference, "DENSE_LIMIT", 20)
    exact = HessianEntropyCalculator(stillinger_weber_silicon())
    exact.get_property("entropies", vacancy)
    assert exact.site_error > 0  # iterated
    forces = exact.get_property("forces", vacancy)
    assert exact.site_error == 0  # diagonalised
    monkeypatch.undo()
    plain = HessianEntropyCalculator(stillinger_weber_silicon())
    np.testing.assert_allclose(forces, plain.get_property("forces", vacancy), atol=1e-12)


def test_no_gradient_without_modes(vacancy):
    exact = HessianEntropyCalculator(stillinger_weber_silicon(), engine="lanczos")
    with pytest.raises(PropertyNotImplementedError, match="'dense'"):
        exact.get_property("forces", vacancy)
    with pytest.raises(InvalidInputError, match="'dense'"):
        exact.get_frequencies(vacancy)


@pytest.mark.parametrize("form", ["function", "array", "sparse", "ASE's shape", "phonopy's"])
def test_hessian_of_the_user(vacancy, form):
    exact = HessianEntropyCalculator(stillinger_weber_silicon())
    matrix = compute_hessian(vacancy, stillinger_weber_silicon())
    given = {
        "function": lambda atoms: compute_hessian(atoms, stillinger_weber_silicon()),
        "array": matrix,
        "sparse": csr_array(matrix),
        "ASE's shape": matrix.reshape(len(matrix), -1, 3),
        "phonopy's": matrix.reshape(len(vacancy), 3, -1, 3).transpose(0, 2, 1, 3),
    }[form]
    users = HessianEntropyCalculator(hessian=given)
    expected = exact.get_property("entropies", vacancy)
    np.testing.assert_allclose(users.get_property("entropies", vacancy), expected, rtol=1e-9)
    with pytest.raises(PropertyNotImplementedError, match="pass a calculator"):
        users.get_property("forces", vacancy)
    both = HessianEntropyCalculator(stillinger_weber_silicon(), hessian=given)
    np.testing.assert_allclose(
        both.get_property("forces", vacancy), exact.get_property("forces", vacancy), atol=1e-9
    )


def test_matrix_serves_the_structure_it_belongs_to_only(vacancy, rattle):
    matrix = compute_hessian(vacancy, stillinger_weber_silicon())
    users = HessianEntropyCalculator(hessian=matrix)
    users.get_property("entropy", vacancy)
    heavier = vacancy.copy()
    heavier.set_masses(2 * vacancy.get_masses())
    gain = users.get_property("entropy", heavier) - users.get_property("entropy", vacancy)
    assert gain == pytest.approx(kB * 1.5 * len(vacancy) * np.log(2), rel=1e-9)
    with pytest.raises(InvalidInputError, match="calculated first"):
        users.get_property("entropy", rattle(vacancy, 0.01, seed=1))
    fallback = HessianEntropyCalculator(stillinger_weber_silicon(), hessian=matrix)
    fallback.get_property("entropy", vacancy)
    moved = rattle(vacancy, 0.01, seed=1)
    expected = HessianEntropyCalculator(stillinger_weber_silicon()).get_property("entropy", moved)
    assert fallback.get_property("entropy", moved) == pytest.approx(expected, rel=1e-10)


def test_colouring_and_cache_change_nothing(tmp_path, rattle):
    atoms = rattle(bulk("Cu", "fcc", a=3.59, cubic=True) * (2, 2, 2), 0.1, seed=0)
    plain = HessianEntropyCalculator(EMT(), mesh=(1, 1, 1))
    expected = plain.get_property("entropies", atoms)
    for _ in range(2):  # the second time from the folder
        coloured = HessianEntropyCalculator(
            EMT(), interaction_range=12.0, cache=tmp_path, mesh=(1, 1, 1)
        )
        np.testing.assert_allclose(
            coloured.get_property("entropies", atoms), expected, rtol=0, atol=1e-6 * kB
        )
    # Two for each pattern that judges step and range.
    assert len(list(tmp_path.iterdir())) == 6 * len(atoms) + 2 * PATTERNS


def test_balls_give_the_infinite_crystal(sw):
    """The crystal's sites are its converged ones; an isotope enters analytically."""
    cell = bulk("Si", "diamond", a=LATTICE_SI, cubic=True) * (3, 3, 3)
    primitive = bulk("Si", "diamond", a=LATTICE_SI)
    exact = HessianEntropyCalculator(sw, crystal=primitive, engine="ball", radius=4.2, steps=12)
    bulk_value = bulk_site_entropies(primitive, sw)[0]
    sites = exact.get_property("entropies", cell) / kB - 3
    np.testing.assert_allclose(sites, bulk_value, atol=1e-9)
    masses = cell.get_masses()
    masses[3] *= 2
    cell.set_masses(masses)
    changed = exact.get_property("entropies", cell) / kB - 3 - sites
    np.testing.assert_allclose(changed, 1.5 * np.log(2) * (np.arange(216) == 3), atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "calculator: expected"),
        ({"calculator": EMT(), "engine": "fast"}, "engine: expected one of"),
        ({"calculator": EMT(), "tolerance": 0}, "tolerance: expected a number in k_B"),
        ({"calculator": EMT(), "tolerance": "high"}, "tolerance: expected a number in k_B"),
        ({"calculator": EMT(), "radius": float("nan")}, "radius: expected a number in Å"),
        ({"calculator": EMT(), "steps": 0}, "steps: expected an integer ≥ 1"),
        ({"calculator": EMT(), "interaction_range": -1.0}, "interaction_range: expected"),
        ({"calculator": EMT(), "engine": "ball"}, "needs the perfect crystal"),
        ({"calculator": EMT(), "decomposition": "normalised"}, "needs the perfect crystal"),
        ({"calculator": EMT(), "engine": "contour", "quantum": True}, "classical"),
        ({"calculator": EMT(), "engine": "ball", "crystal": crystal(), "unstable": 1}, "minima"),
        (
            {
                "calculator": EMT(),
                "engine": "lanczos",
                "crystal": crystal(),
                "decomposition": "normalised",
            },
            "'dense' or 'contour'",
        ),
    ],
)
def test_options_that_do_not_go_together(options, message):
    with pytest.raises(InvalidInputError, match=message):
        HessianEntropyCalculator(**options)


def test_ball_wider_than_the_cell(sw):
    exact = HessianEntropyCalculator(sw, crystal=crystal(), engine="ball", radius=6.0)
    with pytest.raises(InvalidInputError, match="feel its own images"):
        exact.get_property("entropies", crystal())


def test_balls_know_no_modes(sw):
    primitive = bulk("Si", "diamond", a=LATTICE_SI)
    cell = primitive * (5, 5, 5)
    exact = HessianEntropyCalculator(sw, crystal=primitive, engine="ball", radius=2.5, steps=4)
    for method in (exact.get_frequencies, exact.get_site_entropy_gradients):
        with pytest.raises(InvalidInputError, match="'ball' knows no single modes"):
            method(cell)


def test_ball_beside_a_slab_is_refused(sw):
    slab = crystal()
    slab.set_pbc([True, True, False])
    exact = HessianEntropyCalculator(sw, crystal=slab, engine="ball")
    with pytest.raises(InvalidStructureError, match="periodic along three directions"):
        exact.get_property("entropies", crystal())


@pytest.mark.parametrize("engine", ["dense", "lanczos", "contour"])
def test_single_atom(engine):
    exact = HessianEntropyCalculator(EMT(), engine=engine)
    assert exact.get_property("entropy", Atoms("Cu")) == 0


def test_error_of_the_mass_free_sites(vacancy):
    """It is that of the decomposition that is shown, and costs no diagonalisation."""
    options = {"decomposition": "mass-free", "engine": "lanczos", "tolerance": 1e-4}
    options["mesh"] = "gamma"
    exact = HessianEntropyCalculator(stillinger_weber_silicon(), **options)
    exact.get_property("entropies", vacancy)
    system = exact.harmonic_system(vacancy)
    assert exact.site_error == max(system.spectrum.error, system.hessian_spectrum.error)


@pytest.mark.parametrize(
    ("fixed", "periodic", "turns"),
    [
        ([0], False, True),
        ([0, 12], False, True),
        ([0, 1, 2], False, False),
        ([0], True, False),
        ([1], (0, 0, 1), True),
        ([1, 3], (0, 0, 1), False),
    ],
)
def test_what_turns_about_fixed_atoms(fixed, periodic, turns):
    """It would enter as spurious soft modes, of whatever sign the noise has.

    At Γ: away from it no wire turns.
    """
    atoms = bulk("Cu", "fcc", a=3.59, cubic=True) * (2, 2, 1)
    atoms.set_pbc(periodic)
    atoms.set_constraint(FixAtoms(fixed))
    exact = HessianEntropyCalculator(EMT(), unstable="any", mesh="gamma")
    if not turns:
        assert len(exact.get_frequencies(atoms)) == 3 * (len(atoms) - len(fixed))
        return
    with pytest.raises(InvalidStructureError, match="can turn about its fixed atoms"):
        exact.get_frequencies(atoms)
