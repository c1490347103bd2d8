"""Entropies of which no mode is softer than a floor."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import kB

from ase_vibent import HessianEntropyCalculator, attach_labels, bulk_site_entropies, dataset
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.entropy import T0, classical_entropy, mass_entropy, reduced_entropy

#: Such narrow cells have a mesh of their own just as well.
pytestmark = pytest.mark.filterwarnings("ignore::ase_vibent.errors.NarrowCellWarning")
#: Some modes of the cells here are softer, eV/Å².
FLOOR = 1.0
MESH = (2, 2, 2)


def floored(floor: float = FLOOR, **options) -> HessianEntropyCalculator:
    return HessianEntropyCalculator(
        EMT(), decomposition="mass-free", floor=floor, mesh=MESH, unstable="any", **options
    )


@pytest.fixture(scope="module")
def alloy(rattle) -> Atoms:
    """Two species, off their sites, some unstable modes."""
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.symbols[3] = "Au"
    return rattle(atoms, 1.0, 4)


def test_every_mode_counts_as_no_softer_than_the_floor(alloy):
    system = floored().harmonic_system(alloy)
    spectra = [np.linalg.eigvalsh(system.hessian_at(k)) for k in range(len(system.points))]
    assert min(values.min() for values in spectra) < 0
    raised = [reduced_entropy((values**4 + FLOOR**4) ** 0.25).sum() for values in spectra]
    expected = system.weights @ raised + mass_entropy(alloy.get_masses()).sum()
    assert system.entropy == pytest.approx(expected, abs=1e-9)
    assert (system.n_modes, system.n_unstable) == (3 * len(alloy), 0)
    assert system.site_entropies.sum() == pytest.approx(expected, abs=1e-9)
    assert np.allclose(system.site_modes, 3)


def test_without_soft_modes_nothing_changes():
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    plain = HessianEntropyCalculator(EMT(), mesh=MESH).harmonic_system(atoms)
    low = floored(1e-2).harmonic_system(atoms)
    assert low.entropy == pytest.approx(plain.entropy, abs=1e-9)
    assert np.allclose(low.site_entropies, plain.site_entropies, atol=1e-9)


def test_gradient_is_the_slope_of_the_entropy(alloy):
    labelled = attach_labels(alloy, floored(displacement=1e-3), labels=["gradient"])
    assert labelled.info[dataset.FLOOR] == FLOOR
    direction = np.random.default_rng(0).normal(size=(len(alloy), 3))
    values = []
    for step in (3e-4, -3e-4):
        moved = alloy.copy()
        moved.positions += step * direction
        values.append(floored(displacement=1e-3).harmonic_system(moved).entropy)
    slope = (values[0] - values[1]) / 6e-4
    gradient = labelled.arrays[dataset.GRADIENT] / kB
    assert np.sum(gradient * direction) == pytest.approx(slope, rel=1e-4)


def test_label_and_calculator_agree(alloy):
    calculator = floored(temperature=T0)
    labelled = attach_labels(alloy, calculator, labels=["sites"])
    alloy.calc = calculator
    assert calculator.get_property("entropy", alloy) == pytest.approx(
        labelled.info[dataset.ENTROPY]
    )
    expected = classical_entropy(calculator.harmonic_system(alloy).entropy, 3 * len(alloy), T0)
    assert labelled.info[dataset.ENTROPY] == pytest.approx(float(expected))
    assert np.all(np.isfinite(labelled.info[dataset.ERRORS]))


def test_infinite_crystal_is_the_limit_of_fine_meshes():
    crystal = bulk("Cu", cubic=True)
    wide = crystal * 2  # as wide as the interaction reaches on both sides
    exact = HessianEntropyCalculator(
        EMT(), decomposition="mass-free", floor=FLOOR, mesh=(8, 8, 8)
    ).harmonic_system(wide)
    bulk_sites = bulk_site_entropies(crystal, EMT(), floor=FLOOR)
    assert bulk_sites.mean() == pytest.approx(exact.entropy / len(wide), abs=2e-4)
    assert bulk_sites.mean() < bulk_site_entropies(crystal, EMT()).mean()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"decomposition": "mass-weighted"}, "decomposition='mass-free'"),
        ({"decomposition": "mass-free", "engine": "lanczos"}, "engine='auto'"),
        ({"floor": -1.0}, "floor: expected"),
    ],
)
def test_what_does_not_go_with_a_floor_is_refused(options, name):
    with pytest.raises(InvalidInputError, match=name):
        HessianEntropyCalculator(EMT(), **{"floor": FLOOR, **options})


def test_a_floor_is_for_meshes_and_whole_cells(alloy):
    calculator = floored()
    calculator.set(mesh="gamma")
    with pytest.raises(InvalidInputError, match="floor: it is for averages over the mesh"):
        calculator.harmonic_system(alloy)
    with pytest.raises(InvalidInputError, match="floor: moments"):
        attach_labels(alloy, floored(), labels=["moments"])
    with pytest.raises(InvalidInputError, match="floor: gradients of sites"):
        attach_labels(alloy, floored(), labels=["site_gradients"])
