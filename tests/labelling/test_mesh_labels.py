"""Labels of the infinite crystal from small cells, and what is trained on them."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import kB

from ase_vibent import (
    ACE,
    HessianEntropyCalculator,
    attach_labels,
    bulk_site_entropies,
    dataset,
    train,
)
from ase_vibent.errors import InvalidInputError, LabelError, NarrowCellWarning
from ase_vibent.harmonic.entropy import classical_entropy, mass_entropy
from ase_vibent.labelling.run import LabelTask


def vacancy_of(crystal, rattle, seed):
    atoms = crystal.copy()
    del atoms[0]
    return rattle(atoms, 0.1, seed)


@pytest.fixture
def crystal() -> Atoms:
    return bulk("Si", "diamond", a=5.431, cubic=True)


def test_by_default_cells_are_those_of_the_infinite_crystal(sw, copper):
    """Converged bulk values to 1e-3 k_B, from cells whose Γ is 0.1 k_B and more off.

    Copper's interaction reaches a little beyond half of this cell, silicon's does not.
    """
    for atoms, calculator in (
        (bulk("Si", "diamond", a=5.431, cubic=True) * 2, sw),
        (copper, EMT()),
    ):
        converged = classical_entropy(bulk_site_entropies(atoms, calculator)[0], 3, 300.0) / kB
        on_mesh, at_gamma = (
            HessianEntropyCalculator(calculator, mesh=mesh).get_property("entropies", atoms) / kB
            for mesh in ("auto", "gamma")
        )
        np.testing.assert_allclose(on_mesh, converged, atol=1e-3)
        assert np.abs(at_gamma - converged).min() > 0.1


def test_narrow_cells_are_warned_of():
    copper = bulk("Cu", "fcc", a=3.59, cubic=True)
    with pytest.warns(NarrowCellWarning, match="100% of the Hessian"):
        HessianEntropyCalculator(EMT()).get_property("entropy", copper)
    HessianEntropyCalculator(EMT(), mesh="gamma").get_property("entropy", copper)


def test_labels_say_their_mesh(crystal, rattle, sw):
    exact = HessianEntropyCalculator(sw, unstable="any")
    label = attach_labels(vacancy_of(crystal, rattle, 0), exact, labels=["sites", "moments"])
    assert label.info[dataset.MESH].tolist() == [4, 4, 4]
    assert label.info[dataset.N_MODES] == 21
    gamma = HessianEntropyCalculator(sw, mesh="gamma")
    assert dataset.MESH not in attach_labels(crystal, gamma).info
    at_gamma, on_mesh, by_name = (
        LabelTask(crystal, mesh=mesh) for mesh in ("gamma", "auto", (4, 4, 4))
    )
    assert at_gamma.key("sw-si") != on_mesh.key("sw-si") == by_name.key("sw-si")
    assert on_mesh.run(sw).info[dataset.MESH].tolist() == [4, 4, 4]
    with pytest.raises(InvalidInputError, match="mesh: expected"):
        LabelTask(crystal, mesh="fine").run(sw)


def test_moments_of_labels_are_those_of_a_wider_cell(crystal, sw):
    """Three steps between second neighbours close through an image at Γ, on a mesh they do not."""
    narrow = bulk("Si", "diamond", a=5.431) * 3
    moments = [
        attach_labels(atoms, HessianEntropyCalculator(sw, mesh=mesh), labels=["moments"]).arrays[
            dataset.MOMENTS
        ][0]
        for atoms, mesh in ((narrow, "auto"), (narrow, "gamma"), (crystal * 3, "gamma"))
    ]
    np.testing.assert_allclose(moments[0], moments[2], rtol=1e-10)
    np.testing.assert_allclose(moments[1][:2], moments[2][:2], rtol=1e-10)
    assert abs(moments[1][2] / moments[2][2] - 1) > 1e-7


def test_models_of_labels_on_a_mesh(crystal, rattle, sw):
    """The crystal's constant is met, whatever the masses; meshes are not mixed."""
    options = {"calculator": sw, "unstable": "any"}
    exact = HessianEntropyCalculator(**options, mesh=(3, 3, 3))
    frames = [attach_labels(crystal, exact, name="si8", labels=["sites"])]
    for seed in range(3):
        atoms = vacancy_of(crystal, rattle, seed)
        atoms.set_masses(np.linspace(20, 40, len(atoms)))
        frames.append(attach_labels(atoms, exact, reference="si8"))
    descriptor = ACE(["Si"], cutoff=4.0, order=2, degree=5)
    model = train(frames, descriptor)
    bulk_values = model.evaluate(crystal).values
    converged = frames[0].arrays[dataset.BULK].mean() / kB
    expected = converged - 3 - mass_entropy(crystal.get_masses())[0]
    np.testing.assert_allclose(bulk_values, expected, atol=1e-6)
    for mesh, message in (
        ("gamma", "Γ alone, others of a mesh"),
        ((2, 2, 2), r"of a mesh \[2, 2, 2\], that of its reference"),
    ):
        other = HessianEntropyCalculator(**options, mesh=mesh)
        with pytest.raises(LabelError, match=message):
            train([*frames, attach_labels(atoms, other, reference="si8")], descriptor)
