"""Free energy along a path: modes orthogonal to it, judged by transition state theory."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.units import kB

from ase_vibent import HessianEntropyCalculator, SiteEntropyCalculator, attach_labels, train
from ase_vibent.errors import (
    ExtrapolationError,
    InvalidInputError,
    InvalidStructureError,
    UnstableStructureError,
)
from ase_vibent.structures import rattle
from ase_vibent.thermo import (
    label_path,
    path_coordinates,
    path_profile,
    path_tangents,
    transition_rate,
)

TEMPERATURES = [300.0, 600.0]


@pytest.fixture(scope="module")
def crystal() -> Atoms:
    return bulk("Cu", "fcc", a=3.5898, cubic=True) * (2, 2, 1)


@pytest.fixture(scope="module")
def path(copper_jump) -> list[Atoms]:
    return copper_jump


@pytest.fixture(scope="module")
def exact() -> HessianEntropyCalculator:
    """At Γ: so small a cell is too narrow for a mesh."""
    return HessianEntropyCalculator(EMT(), mesh="gamma")


@pytest.fixture(scope="module")
def profile(path, exact):
    return path_profile(path, exact, TEMPERATURES)


def test_the_barrier_is_that_of_transition_state_theory(path, exact, profile):
    rate = transition_rate(path[0], path[3], exact, TEMPERATURES)
    thermal = kB * np.array(TEMPERATURES)
    assert np.all(abs(profile.activation[3] - rate.free_energy_barriers) < 0.05 * thermal)
    assert profile.barrier == pytest.approx(rate.barrier, abs=2e-3)
    # The surface that is hardest to pass is no easier to pass than the one at the saddle.
    assert np.all(profile.rates < rate.rates * 1.05)
    assert np.all(profile.rates > rate.rates * 0.5)
    half = profile.coordinates[-1] / 2
    assert profile.bottlenecks == pytest.approx(half, abs=0.1 * half)
    np.testing.assert_allclose(
        profile.attempt_frequencies,
        profile.rates * np.exp(profile.barrier / thermal),
        rtol=1e-12,
    )


@pytest.mark.filterwarnings("ignore::ase_vibent.errors.NarrowCellWarning")
def test_the_barrier_on_a_mesh(path):
    """So narrow a cell's unstable mode turns with q, where the tangent does not: 0.1 k_B T."""
    exact = HessianEntropyCalculator(EMT(), mesh=(1, 2, 1))
    rate = transition_rate(path[0], path[3], exact, TEMPERATURES)
    profile = path_profile(path, exact, TEMPERATURES)
    thermal = kB * np.array(TEMPERATURES)
    assert np.all(abs(profile.activation[3] - rate.free_energy_barriers) < 0.1 * thermal)
    np.testing.assert_allclose(profile.free_energies, profile.free_energies[::-1], atol=6e-3)
    labels = label_path(path, exact)
    assert [frame.info["vibent_n_modes"] for frame in labels] == [3 * 15 - 1] * 7


def test_both_directions_are_alike(profile):
    # The jump is symmetric, and so are its energies, slopes and vibrations.
    np.testing.assert_allclose(profile.energies, profile.energies[::-1], atol=2e-3)
    np.testing.assert_allclose(profile.free_energies, profile.free_energies[::-1], atol=3e-3)
    assert profile.free_energies[0] == pytest.approx(0)
    assert profile.slopes[1] > 0.1
    assert profile.slopes[5] < -0.1
    # Orthogonal vibrations change smoothly, where the plain entropy diverges.
    entropies = np.array([state.entropies[0] for state in profile.orthogonal]) / kB
    assert np.all(abs(np.diff(entropies, 2)) < 1.5)


def test_the_unstable_mode_is_the_tangent_at_a_saddle(path, exact):
    system = exact.harmonic_system(path[3], unstable=1)
    mode = system.modes.eigenvectors[:, 0].reshape(-1, 3) / np.sqrt(system.masses)[:, None]
    without = exact.harmonic_system(path[3], tangent=mode)
    assert without.n_modes == system.n_modes
    assert without.entropy == pytest.approx(system.entropy, abs=1e-9)
    assert without.site_entropies.sum() == pytest.approx(without.entropy, abs=1e-9)
    with pytest.raises(InvalidInputError, match="no gradients of vibrations orthogonal"):
        without.site_gradients(exact.displaced_forces(path[3]))
    with pytest.raises(InvalidInputError, match="expected a direction of shape"):
        exact.harmonic_system(path[3], tangent=np.zeros((15, 3)))


def test_tangents_follow_the_path(crystal):
    direction = np.zeros((len(crystal), 3))
    direction[4] = [0.6, 0.0, 0.8]
    images = []
    for length in (0.0, 0.3, 0.5, 1.1):
        image = crystal.copy()
        image.positions += length * direction
        image.wrap()
        images.append(image)
    assert path_coordinates(images) == pytest.approx([0, 0.3, 0.5, 1.1])
    np.testing.assert_allclose(path_tangents(images), [direction] * 4, atol=1e-12)


def test_models_of_paths(path, exact, profile, crystal):
    perfect = attach_labels(crystal, exact, name="perfect", labels=["total"])
    labels = [perfect, *label_path(path, exact, reference="perfect")]
    assert [frame.info["vibent_n_modes"] for frame in labels[1:]] == [3 * 15 - 4] * 7
    minimum = attach_labels(path[0], exact, reference="perfect", labels=["total"])
    model, other = (
        train(frames, {"cutoff": 4.5, "degree": 6}, quantities=("total",))
        for frames in (labels, [perfect, minimum])
    )
    calculator, minima = (SiteEntropyCalculator(m, extrapolation="ignore") for m in (model, other))
    found = path_profile(path, calculator, TEMPERATURES, potential=EMT(), minimum_calculator=minima)
    thermal = kB * np.array(TEMPERATURES)
    assert np.all(abs(found.activation - profile.activation) < 0.1 * thermal)
    # Energies that images carry serve as well.
    carried = path_profile(path, calculator, 300.0, minimum_calculator=minima)
    np.testing.assert_allclose(carried.energies, found.energies, atol=1e-9)
    strict = SiteEntropyCalculator(model, extrapolation="raise")
    far = [image.copy() for image in path]
    for number in (2, 4):
        far[number].positions = rattle(path[number], 0.8, 1, number)[0].positions
    with pytest.raises(ExtrapolationError, match=r"image 2: \d+ of 15 atoms .*; image 4: "):
        path_profile(far, strict, 300.0, potential=EMT(), minimum_calculator=minima)


def test_what_is_no_path(path, exact):
    with pytest.raises(InvalidStructureError, match="three at least"):
        path_profile(path[:2], exact)
    with pytest.raises(InvalidStructureError, match="neighbours are the same"):
        path_profile([path[0], path[0], path[1]], exact)
    with pytest.raises(InvalidStructureError, match="image 1: expected the atoms"):
        path_profile([path[0], path[1][:-1], path[2]], exact)
    with pytest.raises(InvalidStructureError, match="image 0: not at rest"):
        path_profile(path[1:], exact)
    # Across the valley, the other way round: the reaction mode is not left out.
    across = np.zeros((15, 3))
    across[0, 0] = 1
    aside = [path[3].copy() for _ in range(3)]
    for number, image in enumerate(aside):
        image.positions += 0.01 * (number - 1) * across
    with pytest.raises(UnstableStructureError, match="image 0: the path is no valley there"):
        path_profile(aside, exact, fmax=10)
    with pytest.raises(InvalidInputError, match="cannot leave out modes"):
        HessianEntropyCalculator(LennardJones(), engine="ball", crystal=path[0]).vibrations(
            path[0], 300.0, tangent=across
        )
