"""Densities of states: sums of modes, sites, and what entropies are integrals over."""

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.units import kB

from ase_vibent import HessianEntropyCalculator
from ase_vibent.analysis import density_of_states
from ase_vibent.errors import InvalidInputError


@pytest.fixture(scope="module")
def vacancy():
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    del atoms[0]
    return atoms


def integral(states, of=1.0):
    return np.trapezoid(states.sites * of, states.energies, axis=1)


@pytest.mark.parametrize("mesh", ["gamma", "auto"])
@pytest.mark.filterwarnings("ignore::ase_vibent.errors.NarrowCellWarning")
def test_integrals_are_modes_and_entropies(vacancy, mesh):
    exact = HessianEntropyCalculator(EMT(), mesh=mesh, decomposition="mass-weighted")
    system = exact.harmonic_system(vacancy)
    # Narrow lines on a grid that resolves them, apart from 0, where the entropy diverges.
    states = density_of_states(system, width=2e-4, energies=np.linspace(1e-5, 0.05, 4000))
    assert integral(states).sum() == pytest.approx(system.n_modes, rel=1e-6)
    per_mode = 1 - np.log(states.energies / (kB * 300))
    expected = exact.get_property("entropies", vacancy) / kB
    # Lines of 0.2 meV at some 10 meV move ln ω by half their relative variance.
    np.testing.assert_allclose(integral(states, per_mode), expected, atol=2e-3)
    assert np.all(states.sites >= 0)
    np.testing.assert_allclose(states.sites.sum(axis=0), states.total)


def test_recursions_give_the_same_at_their_resolution(vacancy):
    """Quadratures know smooth functions of the spectrum."""
    dense = HessianEntropyCalculator(EMT(), mesh="gamma").harmonic_system(vacancy)
    recursion = HessianEntropyCalculator(
        EMT(), mesh="gamma", engine="lanczos", tolerance=1e-9
    ).harmonic_system(vacancy)
    grid = np.linspace(0, 0.05, 60)
    exact, found = (
        density_of_states(system, width=5e-3, energies=grid) for system in (dense, recursion)
    )
    np.testing.assert_allclose(found.sites, exact.sites, atol=1e-3 * exact.sites.max())


def test_what_has_no_states_is_refused(vacancy):
    contour = HessianEntropyCalculator(EMT(), mesh="gamma", engine="contour")
    with pytest.raises(InvalidInputError, match="contour"):
        density_of_states(contour.harmonic_system(vacancy))
    nitrogen = molecule("N2")
    nitrogen.set_distance(0, 1, 0.998)
    system = HessianEntropyCalculator(EMT()).harmonic_system(nitrogen)
    with pytest.raises(InvalidInputError, match="width"):
        density_of_states(system, width=0.0)
    for energies in ([], 0.01, [[0.01]], [0.01, np.nan]):
        with pytest.raises(InvalidInputError, match="energies"):
            density_of_states(system, energies=energies)
