"""Gradients of site entropies in every decomposition, against finite differences."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms
from ase.units import kB

from ase_vibent import HessianEntropyCalculator
from ase_vibent.errors import InvalidInputError, InvalidStructureError, UnstableStructureError
from ase_vibent.potentials import stillinger_weber_silicon

#: Central differences of site entropies; and of forces, which limit the gradients' accuracy.
STEP, DISPLACEMENT = 3e-4, 1e-3


def silicon():
    return bulk("Si", "diamond", a=5.431, cubic=True)


def vacancy():
    atoms = silicon()[1:]
    atoms.rattle(0.03, seed=0)
    return atoms


def mixture():
    """Atoms of different masses; the cutoff lies between two shells of neighbours."""
    atoms = bulk("Ar", "fcc", a=3.95, cubic=True) * (2, 1, 1)
    atoms.symbols[2] = "Kr"
    atoms.rattle(0.06, seed=1)
    return atoms


def fixed_slab():
    slab = fcc111("Cu", (1, 2, 3), a=3.59, vacuum=6)
    slab.rattle(0.03, seed=2)
    slab.set_constraint(FixAtoms([0, 1]))
    return slab


def cluster():
    """A little off its minimum, where the rotations carry a torque."""
    edges = np.vstack([np.eye(3), -np.eye(3)])
    octahedron = Atoms("ArNeArKrArAr", positions=2.8 / 2**0.5 * edges)
    octahedron.rattle(0.03, seed=3)
    return octahedron


def strongly_rattled():
    """Four unstable modes, none of them soft."""
    atoms = silicon()
    atoms.rattle(0.2, seed=3)
    return atoms


def lennard_jones():
    return LennardJones(sigma=2.5, epsilon=0.4, rc=20)


CASES = {
    "vacancy": lambda: (vacancy(), stillinger_weber_silicon()),
    "mixture": lambda: (mixture(), LennardJones(sigma=2.5, epsilon=0.4, rc=5.2)),
    "fixed atoms": lambda: (fixed_slab(), EMT()),
    "cluster": lambda: (cluster(), lennard_jones()),
    "unstable modes": lambda: (strongly_rattled(), stillinger_weber_silicon()),
}
# Small cells are too narrow for their meshes to mean much; derivatives are right all the same.
too_narrow_to_mean_much = pytest.mark.filterwarnings("ignore::ase_vibent.errors.NarrowCellWarning")


def site_slopes(exact, atoms, atom, axis):
    """Central differences of all site entropies, in eV/K/Å."""
    values = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.set_constraint()
        moved.positions[atom, axis] += sign * STEP
        moved.set_constraint(atoms.constraints)
        values.append(exact.get_property("entropies", moved).copy())
    return (values[0] - values[1]) / (2 * STEP)


def check(exact, atoms, *, tolerance=2e-4):
    """Every site, three components, relative to the largest."""
    free = exact.harmonic_system(atoms).free
    gradients = exact.get_site_entropy_gradients(atoms)
    assert gradients.shape == (len(free), len(atoms), 3)
    for atom, axis in ((free[0], 0), (free[-1], 1), (free[1], 2)):
        expected = site_slopes(exact, atoms, atom, axis)[free]
        scale = np.abs(gradients).max()
        np.testing.assert_allclose(gradients[:, atom, axis], expected, atol=tolerance * scale)
    return gradients


@too_narrow_to_mean_much
@pytest.mark.parametrize("decomposition", ["mass-weighted", "mass-free"])
@pytest.mark.parametrize(
    ("case", "mesh"),
    [
        *((case, "gamma") for case in CASES),
        *((case, (1, 1, 2)) for case in CASES if case != "cluster"),
    ],
)
def test_gradients_against_finite_differences(case, mesh, decomposition):
    atoms, calculator = CASES[case]()
    exact = HessianEntropyCalculator(
        calculator,
        unstable="any",
        decomposition=decomposition,
        displacement=DISPLACEMENT,
        temperature=500,
        mesh=mesh,
    )
    if case == "unstable modes":
        assert exact.harmonic_system(atoms).n_unstable > 0
    if decomposition == "mass-free":  # its sites share the masses' part of the whole
        atoms.set_masses(np.full(len(atoms), 20.0))
    gradients = check(exact, atoms)
    total = exact.get_property("entropy_gradient", atoms)
    np.testing.assert_allclose(gradients.sum(axis=0), total, atol=2e-4 * np.abs(total).max())


@too_narrow_to_mean_much
@pytest.mark.parametrize("mesh", ["gamma", (1, 2, 1), (1, 2, 2)])
@pytest.mark.parametrize("amplitude", [0.1, 0.8], ids=["stable", "unstable modes"])
def test_normalised_decomposition(amplitude, mesh, rattle):
    """Its total, unstable modes left out, is none of the other decompositions'."""
    crystal = silicon()
    atoms = rattle(crystal, amplitude, seed=3)
    exact = HessianEntropyCalculator(
        stillinger_weber_silicon(),
        crystal=crystal,
        decomposition="normalised",
        unstable="any",
        displacement=DISPLACEMENT,
        mesh=mesh,
    )
    assert (exact.harmonic_system(atoms).n_unstable > 0) == (amplitude > 0.1)
    gradients = check(exact, atoms)
    total = exact.get_property("entropy_gradient", atoms)
    np.testing.assert_allclose(gradients.sum(axis=0), total, atol=5e-4 * np.abs(total).max())


@pytest.mark.parametrize("mesh", ["gamma", (2, 1, 1)])
def test_translation_changes_no_site(mesh):
    atoms, calculator = CASES["vacancy"]()
    exact = HessianEntropyCalculator(calculator, mesh=mesh)
    gradients = exact.get_site_entropy_gradients(atoms, [0, 3])
    np.testing.assert_allclose(gradients.sum(axis=1), 0, atol=1e-6 * np.abs(gradients).max())


def test_contour_engine_agrees():
    atoms, calculator = CASES["vacancy"]()
    dense, contour = (
        HessianEntropyCalculator(calculator, engine=engine, tolerance=1e-9, mesh="gamma")
        for engine in ("dense", "contour")
    )
    expected = dense.get_site_entropy_gradients(atoms, [1, 4])
    found = contour.get_site_entropy_gradients(atoms, [1, 4])
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("mesh", ["gamma", "auto", (1, 1, 1)])
def test_normalised_sites_sum_to_the_total(mesh, rattle):
    """[Torabi2024] (2.12): while no mode is unstable; the crystal's own sites stay as they are."""
    crystal = silicon()
    atoms = rattle(crystal, 0.1, seed=5)
    masses = atoms.get_masses()
    masses[2] = 60.0
    atoms.set_masses(masses)
    normalised, plain = (
        HessianEntropyCalculator(
            stillinger_weber_silicon(), crystal=crystal, decomposition=d, mesh=mesh
        )
        for d in ("normalised", "mass-free")
    )
    for structure in (atoms, crystal):
        total = plain.get_property("entropy", structure)
        assert normalised.get_property("entropy", structure) == pytest.approx(total, rel=1e-9)
    sites = normalised.get_property("entropies", crystal)
    np.testing.assert_allclose(sites, plain.get_property("entropies", crystal), rtol=1e-9)
    differences = normalised.get_property("entropies", atoms) - plain.get_property(
        "entropies", atoms
    )
    assert np.abs(differences).max() > 1e-8  # it is another split, eV/K


@pytest.mark.parametrize(
    ("atoms", "error", "message"),
    [
        (silicon()[1:], InvalidInputError, "same atoms"),
        (cluster(), InvalidStructureError, "cells and slabs"),
    ],
    ids=["vacancy", "cluster"],
)
def test_no_normalised_decomposition(atoms, error, message):
    calculator = lennard_jones() if not atoms.pbc.any() else stillinger_weber_silicon()
    exact = HessianEntropyCalculator(
        calculator, crystal=silicon(), decomposition="normalised", unstable="any"
    )
    with pytest.raises(error, match=message):
        exact.get_property("entropies", atoms)


def test_normalised_sites_of_a_supercell_are_the_cells(rattle):
    """At half the mesh, along a direction in which half the cell is wider than the interaction."""
    crystal = silicon() * (2, 1, 1)
    atoms = rattle(crystal, 0.2, seed=5)
    cell, double = (
        HessianEntropyCalculator(
            stillinger_weber_silicon(),
            crystal=crystal * (k, 1, 1),
            decomposition="normalised",
            mesh=(2 // k, 2, 2),
        )
        for k in (1, 2)
    )
    expected = np.tile(cell.get_property("entropies", atoms), 2)
    found = double.get_property("entropies", atoms * (2, 1, 1))
    np.testing.assert_allclose(found, expected, atol=1e-8 * kB)


@too_narrow_to_mean_much
@pytest.mark.parametrize("mesh", ["gamma", "auto"])
def test_normalised_decomposition_keeps_the_promise_about_unstable_modes(mesh, rattle):
    crystal = silicon()
    atoms = rattle(crystal, 1.2, seed=2)
    options = {"crystal": crystal, "decomposition": "normalised", "mesh": mesh}
    exact = HessianEntropyCalculator(stillinger_weber_silicon(), **options)
    with pytest.raises(UnstableStructureError, match="expected 0 unstable modes"):
        exact.get_property("entropies", atoms)


@pytest.mark.parametrize("decomposition", ["mass-free", "mass-weighted", "normalised"])
def test_no_sites(decomposition):
    exact = HessianEntropyCalculator(
        stillinger_weber_silicon(), crystal=silicon(), decomposition=decomposition
    )
    assert exact.get_site_entropy_gradients(silicon(), []).shape == (0, len(silicon()), 3)
    exact = HessianEntropyCalculator(lennard_jones(), unstable="any")
    assert exact.get_site_entropy_gradients(cluster(), []).shape == (0, len(cluster()), 3)


@pytest.mark.parametrize("case", ["vacancy", "mixture"])
def test_lanczos_and_dense_give_the_same_gradients(case):
    """Also beside unstable modes; differences of forces limit the agreement."""
    atoms, calculator = CASES[case]()
    gradients = [
        HessianEntropyCalculator(
            calculator,
            engine=engine,
            unstable="any",
            decomposition="mass-free",
            tolerance=1e-9,
            mesh="gamma",
        ).get_site_entropy_gradients(atoms, [0, 3])
        for engine in ("dense", "lanczos")
    ]
    scale = np.abs(gradients[0]).max()
    np.testing.assert_allclose(gradients[1], gradients[0], atol=1e-6 * scale)


def test_structures_that_turn_need_diagonalisation():
    exact = HessianEntropyCalculator(lennard_jones(), engine="lanczos", unstable="any")
    with pytest.raises(InvalidInputError, match="'dense'"):
        exact.get_site_entropy_gradients(cluster())


@pytest.mark.parametrize("engine", ["lanczos", "contour"])
def test_sites_on_a_mesh_need_diagonalisation(engine):
    exact = HessianEntropyCalculator(stillinger_weber_silicon(), engine=engine)
    with pytest.raises(InvalidInputError, match="pass mesh='gamma', or engine='dense'"):
        exact.get_site_entropy_gradients(silicon(), [0])
