"""Engines beside each other on meshes: complex matrices, real ones, and both."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from scipy.sparse import csr_array

from ase_vibent.errors import InvalidInputError, UnstableStructureError
from ase_vibent.harmonic.entropy import classical, quantum
from ase_vibent.harmonic.images import Images
from ase_vibent.harmonic.mesh_system import MeshSystem
from ase_vibent.hessian import DisplacedForces, compute_hessian
from ase_vibent.potentials import stillinger_weber_silicon

# Some cells are too narrow for their meshes to mean much; engines agree all the same.
pytestmark = pytest.mark.filterwarnings("ignore::ase_vibent.errors.NarrowCellWarning")

ENGINES = ["lanczos", "contour"]


def vacancy() -> Atoms:
    """Of several masses, and silicon's short interaction: many blocks are zero."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (2, 2, 1)
    del atoms[3]
    atoms.rattle(0.04, seed=1)
    atoms.set_masses(np.linspace(20, 60, len(atoms)))
    return atoms


def torn() -> Atoms:
    """So strongly rattled that other numbers of modes are unstable at other q."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True)
    atoms.rattle(0.2, seed=4)
    atoms.set_masses(np.linspace(10, 60, len(atoms)))
    return atoms


def alloy() -> Atoms:
    atoms = bulk("Cu", "fcc", a=3.8, cubic=True) * (2, 1, 1)
    atoms.symbols[[1, 2, 6]] = ["Ag", "Au", "Ag"]
    atoms.rattle(0.03, seed=2)
    return atoms


def slab() -> Atoms:
    atoms = fcc111("Cu", (2, 2, 3), a=3.59, vacuum=6)
    atoms.symbols[[2, 7]] = "Ni"
    atoms.rattle(0.03, seed=3)
    return atoms


class Case(NamedTuple):
    atoms: Callable[[], Atoms]
    calculator: Callable
    mesh: tuple[int, int, int]
    free: list[int] | None = None
    unstable: int | str = 0
    path: bool = False


CASES = {
    "complex": Case(vacancy, stillinger_weber_silicon, (2, 2, 2)),
    "real": Case(vacancy, stillinger_weber_silicon, (1, 1, 1)),
    "species": Case(alloy, EMT, (1, 2, 2)),
    # (1/2, 1/2) is real, (1/2, 1/6) is not.
    "slab": Case(slab, EMT, (1, 3, 0)),
    "fixed atoms": Case(slab, EMT, (1, 3, 0), free=[2, 4, 5, 6, 7, 9]),
    "path": Case(vacancy, stillinger_weber_silicon, (1, 1, 2), path=True),
    "real path": Case(vacancy, stillinger_weber_silicon, (1, 1, 1), path=True),
    "fixed atoms on a path": Case(slab, EMT, (1, 3, 0), free=[2, 4, 5, 6, 7, 9], path=True),
    "unstable": Case(torn, stillinger_weber_silicon, (2, 2, 2), unstable="any"),
    "unstable path": Case(torn, stillinger_weber_silicon, (1, 1, 3), unstable="any", path=True),
}


def systems(case: Case, *engines: str, tolerance: float = 1e-9) -> list[MeshSystem]:
    """Of the dense Hessian, and of the sparse one for other engines."""
    atoms = case.atoms()
    free = np.arange(len(atoms)) if case.free is None else np.array(case.free)
    rows = (3 * free[:, None] + np.arange(3)).ravel()
    hessian = compute_hessian(atoms, case.calculator())[np.ix_(rows, rows)]
    tangent = np.random.default_rng(5).normal(size=atoms.positions.shape) if case.path else None
    return [
        MeshSystem(
            atoms,
            hessian if engine == "dense" else csr_array(hessian),
            case.mesh,
            free=free,
            unstable=case.unstable,
            engine=engine,
            tolerance=tolerance,
            tangent=tangent,
        )
        for engine in engines
    ]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", CASES)
def test_engines_agree(case, engine):
    """Totals, sites, thermodynamics and moments, to the stated tolerance of 1e-9 k_B a site."""
    atoms = CASES[case].atoms()
    dense, other = systems(CASES[case], "dense", engine)
    n = len(dense.free)
    assert other.n_unstable == dense.n_unstable
    assert other.n_modes == dense.n_modes
    assert other.entropy == pytest.approx(dense.entropy, abs=n * 1e-9)
    close = {"rtol": 0, "atol": 2e-9 * n**0.5}
    np.testing.assert_allclose(other.site_entropies, dense.site_entropies, **close)
    sites = [0, n - 1]
    np.testing.assert_allclose(other.entropies_of(sites), dense.entropies_of(sites), **close)
    # Modes per atom and quantum statistics are of other functions than the error is stated of.
    np.testing.assert_allclose(other.site_modes, dense.site_modes, atol=1e-6)
    for statistics in (classical, quantum)[: 1 if engine == "contour" else 2]:
        for found, expected in zip(
            other.site_thermodynamics(statistics, 300.0),
            dense.site_thermodynamics(statistics, 300.0),
            strict=True,
        ):
            scale = np.abs(expected).max()
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7 * scale)
    assert 0 < other.error <= 1e-9
    assert dense.error == 0
    assert other.share_at_border == pytest.approx(dense.share_at_border, abs=1e-12)
    symbols, species = np.unique(atoms.get_chemical_symbols(), return_inverse=True)
    moments = dense.moments(species, len(symbols))
    np.testing.assert_allclose(other.moments(species, len(symbols)), moments, rtol=1e-10)
    assert np.all(moments[np.setdiff1d(np.arange(len(atoms)), dense.free)] == 0)


def test_cases_are_what_they_should_be():
    for name, expected in (("unstable", {1, 2}), ("unstable path", None)):
        (dense,) = systems(CASES[name], "dense")
        numbers = {modes.n_unstable for modes in dense.modes}
        assert numbers == expected or (expected is None and max(numbers) > 0)
    for name, kinds in (("complex", {True}), ("real", {False}), ("slab", {True, False})):
        (dense,) = systems(CASES[name], "dense")
        found = {np.iscomplexobj(dense.hessian_at(k)) for k in range(len(dense.points))}
        assert found == kinds


@pytest.mark.parametrize("engine", ["dense", *ENGINES])
@pytest.mark.parametrize("case", ["real", "real path"])
def test_complex_arithmetic_is_that_of_real_numbers(case, engine, monkeypatch):
    """At the corner of the zone of a rattled cell, where the matrix happens to be real."""
    (own,) = systems(CASES[case], engine)
    real = own.entropy, own.site_entropies, *own.site_thermodynamics(classical, 300.0)
    monkeypatch.setattr(Images, "phases", complex_phases(Images.phases))
    (own,) = systems(CASES[case], engine)
    assert np.iscomplexobj(own.hessian_at(0))
    values = own.entropy, own.site_entropies, *own.site_thermodynamics(classical, 300.0)
    for found, expected in zip(values, real, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_complex_gradients_are_those_of_real_numbers(monkeypatch):
    case = Case(torn, stillinger_weber_silicon, (1, 1, 1), unstable="any")
    atoms, sides = torn(), []
    for patched in (False, True):
        if patched:
            monkeypatch.setattr(Images, "phases", complex_phases(Images.phases))
        (own,) = systems(case, "dense")
        forces = DisplacedForces(atoms, stillinger_weber_silicon(), virial=True)
        whole = own.gradient(forces, classical, 300.0)
        sides.append([*whole.positions, *whole.strain, own.site_gradients(forces, [0, 7])])
    for found, expected in zip(*sides, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


def complex_phases(phases):
    return lambda images, q: phases(images, q).astype(complex)


@pytest.mark.parametrize("engine", ["dense", *ENGINES])
def test_numbers_of_unstable_modes_are_promised(engine):
    """At every q; of complex matrices each is counted once."""
    case = Case(torn, stillinger_weber_silicon, (2, 2, 2), unstable=1)
    with pytest.raises(UnstableStructureError, match="expected 1 unstable modes, found 2") as error:
        _ = systems(case, engine)[0].entropy
    assert error.value.n_unstable == 2
    assert "at q = [" in str(error.value)
    assert "lies at the border between images" in str(error.value)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_needs_diagonalisation(engine):
    (own,) = systems(CASES["real"], engine)
    forces = DisplacedForces(vacancy(), stillinger_weber_silicon())
    for ask in (
        lambda: own.modes,
        lambda: own.frequencies,
        lambda: own.gradient(forces, classical, 300.0),
        lambda: own.site_gradients(forces, [0]),
    ):
        with pytest.raises(InvalidInputError, match="dense"):
            ask()
    if engine == "contour":
        with pytest.raises(InvalidInputError, match="classical statistics"):
            own.site_thermodynamics(quantum, 300.0)


# --- Images of pairs that interact ----------------------------------------------------------


@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True), (False, False, True)])
def test_images_of_some_pairs(pbc):
    """The same as among all pairs, in the order of the partners."""
    rng = np.random.default_rng(7)
    cell = np.diag([3.0, 4.0, 5.0]) + rng.normal(size=(3, 3)) / 2
    atoms = Atoms("H6", cell=cell, pbc=pbc, scaled_positions=rng.uniform(-1, 1, (6, 3)))
    linked = rng.random((6, 6)) < 0.5
    linked |= linked.T | np.eye(6, dtype=bool)
    linked[4] = linked[:, 4] = np.arange(6) == 4  # an atom by itself
    partners = [np.flatnonzero(row) for row in linked]
    whole, some = Images(atoms), Images(atoms, partners)
    chosen = np.flatnonzero(linked.ravel())
    for q in (np.zeros(3), np.full(3, 0.5), rng.uniform(-1, 1, 3)):
        expected = whole.phases(q)[chosen]
        np.testing.assert_allclose(some.phases(q), expected, atol=1e-14)
        assert some.phases(q).dtype == expected.dtype
    norms = rng.random(36) * linked.ravel()
    share = whole.share_at_border(norms)
    assert 0 < share < 1
    assert some.share_at_border(norms[chosen]) == pytest.approx(share)
    # Weights, slopes and strains of the pairs that share a block.
    kept = linked[tuple(whole.shared.pairs.T)]
    np.testing.assert_array_equal(some.shared.pairs, whole.shared.pairs[kept])
    np.testing.assert_array_equal(chosen[some.shared.places], whole.shared.places[kept])
    for name in ("shifts", "weights", "slopes", "strains"):
        found, expected = getattr(some.shared, name), getattr(whole.shared, name)[kept]
        np.testing.assert_allclose(found, expected, atol=1e-12)
