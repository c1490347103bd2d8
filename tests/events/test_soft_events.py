"""Attempt frequencies whose softest modes are exact, and all others learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import kB

from ase_vibent import dataset
from ase_vibent.descriptors import AFS
from ase_vibent.errors import InvalidInputError, TrainingError
from ase_vibent.events import Event, EventSurrogate, split_errors
from ase_vibent.events.bases import candidate_bases
from ase_vibent.events.soft import ModelledPart, SoftPartFinder, labelled_soft_part
from ase_vibent.harmonic.modes import lowest_eigenvalues
from ase_vibent.hessian import ValenceForceField, compute_hessian
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.thermo.rates import PLANCK

DESCRIPTOR = AFS(["Si"], cutoff=4.0, n_max=2, l_max=1)


def displaced(distance: float) -> Atoms:
    """Silicon with one atom off its site: from 0.45 Å on one mode is unstable."""
    atoms = bulk("Si", cubic=True)
    atoms.positions[0] += distance * np.array([1.0, 0.1, 0.0])
    return atoms


def event(minimum: Atoms, saddle: Atoms, logarithm: float, soft: np.ndarray) -> Event:
    """An event of that ln(ν*/THz), whose frames have labels of soft modes, shape (2, n)."""
    above = kB * (logarithm - np.log(kB * 300 / PLANCK / 1e12) - 1)
    frames = []
    for atoms, entropy, n_modes, own in (
        (minimum, 0.0, 21, soft[0]),
        (saddle, above, 20, np.append(-1.0, soft[1])),
        (minimum, 0.0, 21, soft[0]),
    ):
        frame = atoms.copy()
        frame.info |= {dataset.ENTROPY: entropy, dataset.N_MODES: n_modes}
        frame.info[dataset.SOFT_EIGENVALUES] = own
        frame.calc = SinglePointCalculator(frame, energy=0.0)
        frames.append(frame)
    return Event(*frames)


@pytest.fixture(scope="module")
def events(rattle) -> list[Event]:
    """A linear function of summed features, and soft modes that no feature knows of."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=DESCRIPTOR.n_features) / 10
    made = []
    for seed in range(40):
        pair = [rattle(bulk("Si", cubic=True), 0.4, 2 * seed + k) for k in range(2)]
        below, above = (DESCRIPTOR.compute(atoms).sum(axis=0) @ weights for atoms in pair)
        soft = np.sort(np.exp(rng.normal(size=(2, 3))), axis=1)
        logarithm = above - below + np.log(soft[0, :2] / soft[1, :2]).sum() / 2
        made.append(event(*pair, logarithm, soft))
    return made


def test_labels_of_soft_modes_leave_what_is_smooth(events):
    options = {"fractions": (0.3,), "splits": 3, "both_ways": False}
    errors = [
        split_errors(events, DESCRIPTOR, soft_modes=count, **options).test[0, 0]
        for count in range(3)
    ]
    assert errors[2] < 1e-8  # two are missing, and two are exact
    assert errors[0] > 0.3
    assert errors[1] > 0.1


def test_held_out_predictions_have_their_soft_modes_back(events):
    found = split_errors(
        events, DESCRIPTOR, soft_modes=2, fractions=(0.3,), splits=4, both_ways=False
    )
    known = ~np.isnan(found.predicted[:, 0])
    exact = np.log([e.attempt_frequency / 1e12 for e in events])
    np.testing.assert_allclose(found.predicted[known, 0], exact[known], atol=1e-8)


def test_soft_parts_by_forces_are_those_of_hessians():
    calculator = stillinger_weber_silicon()
    minimum, saddle = displaced(0.3), displaced(0.6)
    soft = [
        lowest_eigenvalues(a, compute_hessian(a, calculator), np.arange(8), 4)
        for a in (minimum, saddle)
    ]
    exact = labelled_soft_part(event(minimum, saddle, 1.0, np.array([soft[0][:3], soft[1][1:]])), 2)
    find = SoftPartFinder(calculator, 2, 80)
    first, again = find(minimum, saddle), find(minimum, saddle)
    # Each of four values is wanted to 5 %.
    assert first.logarithm == pytest.approx(exact, abs=0.05)
    assert 0 < first.error < 0.05
    assert again.logarithm == first.logarithm
    assert 8 <= again.force_calls < first.force_calls <= 80  # the minimum is known
    labelled = minimum.copy()
    labelled.info[dataset.SOFT_EIGENVALUES] = soft[0]
    other = SoftPartFinder(calculator, 2, 80)(labelled, saddle)
    assert other.error < first.error  # only the saddle's
    assert other.logarithm == pytest.approx(exact, abs=0.05)


def test_predictions_say_what_soft_modes_cost(events):
    surrogate = EventSurrogate.fit(events, DESCRIPTOR, soft_modes=1)
    pair = displaced(0.3), displaced(0.6)
    found = surrogate.predict(*pair, stillinger_weber_silicon(), max_force_calls=40)
    bare = replace(surrogate, soft_modes=0)
    part = SoftPartFinder(stillinger_weber_silicon(), 1, 40)(*pair)
    assert found.logarithms[0] == bare.predict(*pair).logarithms[0] + part.logarithm
    assert found.force_calls.tolist() == [part.force_calls]
    assert found.soft_errors.tolist() == [part.error]
    left_out = surrogate.left_out_errors[0]
    assert found.logarithm_std[0] == pytest.approx(np.hypot(left_out, part.error), rel=1e-12)


def test_what_a_force_field_knows_is_not_learned(rattle):
    """Events whose ln ν* is that of the force field beside an exact soft mode."""
    calculator = stillinger_weber_silicon()
    force_field = ValenceForceField.fit([displaced(0.3), displaced(0.6)], calculator)
    model, rng, made = ModelledPart(force_field, 1), np.random.default_rng(0), []
    for seed in range(12):
        pair = [rattle(bulk("Si", cubic=True), 0.2, 2 * seed + k) for k in range(2)]
        soft = np.exp(rng.normal(size=(2, 1)))
        logarithm = model(*pair) + np.log(soft[0, 0] / soft[1, 0]) / 2
        made.append(event(*pair, logarithm, soft))
    options = {"soft_modes": 1, "fractions": (0.3,), "splits": 2, "both_ways": False}
    errors = [
        split_errors(made, DESCRIPTOR, force_field=own, **options).test[0, 0]
        for own in (force_field, None)
    ]
    assert errors[0] < 1e-8 < 1e-3 < errors[1]
    surrogate = EventSurrogate.fit(made, DESCRIPTOR, force_field=force_field, soft_modes=1)
    pair = displaced(0.3), displaced(0.6)
    found = surrogate.predict(*pair, calculator, max_force_calls=40)
    part = SoftPartFinder(calculator, 1, 40, force_field=force_field)(*pair)
    assert found.logarithms[0] == pytest.approx(model(*pair) + part.logarithm, abs=1e-8)
    assert found.force_calls[0] == part.force_calls <= 40


def test_a_force_field_leaves_five_modes_to_be_found():
    force_field = ValenceForceField.fit([displaced(0.3)], stillinger_weber_silicon())
    soft = np.ones((2, 5))
    made = [event(displaced(x), displaced(0.6), x, soft) for x in (0.1, 0.2, 0.3)]
    assert EventSurrogate.fit(made, DESCRIPTOR, force_field=force_field).soft_modes == 5
    assert EventSurrogate.fit(made, DESCRIPTOR).soft_modes == 0


def test_what_soft_modes_need(events):
    surrogate = EventSurrogate.fit(events, DESCRIPTOR, soft_modes=1)
    with pytest.raises(InvalidInputError, match="calculator: the surrogate was fitted without 1"):
        surrogate.predict(events[0].minimum, events[0].saddle)
    with pytest.raises(TrainingError, match="labels of 4 soft modes at least, got 3"):
        EventSurrogate.fit(events, DESCRIPTOR, soft_modes=4)
    for atoms in (events[0].minimum, events[0].saddle):
        bare = atoms.copy()
        del bare.info[dataset.SOFT_EIGENVALUES]
        bare.calc = atoms.calc
        with pytest.raises(TrainingError, match="got 0; find_events makes twelve"):
            labelled_soft_part(Event(bare, bare, bare), 1)


def test_a_basis_is_chosen_from_the_data(events):
    surrogate = EventSurrogate.fit(events[:12], both_ways=False)
    bases = candidate_bases([a for e in events[:12] for a in (e.minimum, e.saddle)])
    assert surrogate.features.descriptor in bases
    assert [d.order for d in surrogate.features.descriptor.parts] == [2, 3]
    assert surrogate.features.difference


def test_bases_of_several_species_stay_small():
    cell = bulk("GaAs", "zincblende", a=5.65, cubic=True)
    for basis in candidate_bases([cell]):
        assert 2 * basis.n_features <= 1500
