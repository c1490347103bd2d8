"""Labels of the infinite crystal from small cells, and what is trained on them."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import kB

from ase_vibent import ACE, HessianEntropyCalculator, attach_labels, dataset, train
from ase_vibent.errors import InvalidInputError, LabelError
from ase_vibent.harmonic.entropy import mass_entropy
from ase_vibent.labelling.run import LabelTask


def vacancy_of(crystal, rattle, seed):
    atoms = crystal.copy()
    del atoms[0]
    return rattle(atoms, 0.1, seed)


@pytest.fixture(scope="module")
def crystal():
    return bulk("Cu", "fcc", a=3.59, cubic=True)


def test_calculator_gives_the_infinite_crystal(crystal, rattle):
    """Extensive, with derivatives, in ASE's way; Γ unless it is asked for."""
    exact = HessianEntropyCalculator(EMT(), mesh=(2, 2, 2))
    atoms = rattle(crystal, 0.05, 1)
    entropy = exact.get_property("entropy", atoms)
    assert exact.get_property("entropies", atoms).sum() == pytest.approx(entropy, rel=1e-12)
    assert exact.get_frequencies(atoms).shape == (4, 3 * len(atoms))
    forces = exact.get_property("forces", atoms)
    step = 1e-3
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[1, 0] += sign * step
        energies.append(exact.get_property("energy", moved))
    assert forces[1, 0] == pytest.approx((energies[1] - energies[0]) / (2 * step), rel=1e-2)
    assert HessianEntropyCalculator(EMT()).get_property("entropy", atoms) != entropy


def test_labels_say_their_mesh(crystal, rattle):
    exact = HessianEntropyCalculator(EMT(), mesh="auto", unstable="any")
    label = attach_labels(vacancy_of(crystal, rattle, 0), exact, labels=["sites", "moments"])
    assert label.info[dataset.MESH].tolist() == [6, 6, 6]
    assert label.info[dataset.N_MODES] == 9
    assert dataset.MESH not in attach_labels(crystal, HessianEntropyCalculator(EMT())).info
    at_gamma, on_mesh = (LabelTask(crystal, mesh=mesh) for mesh in ("gamma", "auto"))
    assert at_gamma.key("emt") != on_mesh.key("emt")
    assert on_mesh.run(EMT()).info[dataset.MESH].tolist() == [6, 6, 6]


def test_models_of_labels_on_a_mesh(crystal, rattle):
    """The crystal's constant is met, whatever the masses; meshes are not mixed."""
    exact = HessianEntropyCalculator(EMT(), mesh=(3, 3, 3), unstable="any")
    frames = [attach_labels(crystal, exact, name="cu4", labels=["sites"])]
    for seed in range(3):
        atoms = vacancy_of(crystal, rattle, seed)
        atoms.set_masses(np.linspace(40, 80, len(atoms)))
        frames.append(attach_labels(atoms, exact, reference="cu4"))
    model = train(frames, ACE(["Cu"], cutoff=4.0, order=2, degree=5))
    bulk_values = model.evaluate(crystal).values
    converged = frames[0].arrays[dataset.BULK].mean() / kB
    expected = converged - 3 - mass_entropy(crystal.get_masses())[0]
    np.testing.assert_allclose(bulk_values, expected, atol=1e-6)
    other = attach_labels(atoms, HessianEntropyCalculator(EMT(), unstable="any"), reference="cu4")
    with pytest.raises(LabelError, match="Γ alone, others of a mesh"):
        train([*frames, other], ACE(["Cu"], cutoff=4.0, order=2, degree=5))
    finer = HessianEntropyCalculator(EMT(), mesh=(2, 2, 2), unstable="any")
    other = attach_labels(atoms, finer, reference="cu4")
    with pytest.raises(LabelError, match=r"of a mesh \[2, 2, 2\], that of its reference"):
        train([*frames, other], ACE(["Cu"], cutoff=4.0, order=2, degree=5))


def test_meshes_that_cannot_be():
    for options in ({"engine": "lanczos"}, {"engine": "contour"}):
        with pytest.raises(InvalidInputError, match="mesh: is for engine 'dense'"):
            HessianEntropyCalculator(EMT(), mesh="auto", **options)
    with pytest.raises(InvalidInputError, match="mesh: expected"):
        HessianEntropyCalculator(EMT(), mesh="fine")
    with pytest.raises(InvalidInputError, match="mesh: expected"):
        HessianEntropyCalculator(EMT(), mesh=(2, 2))
