"""Structures worth labelling: greedy choices against determinants, twins, budgets."""

import numpy as np
import pytest
from ase.build import bulk

from ase_vibent import SiteModel, select
from ase_vibent.errors import InvalidInputError
from ase_vibent.training.problem import SiteProblem
from ase_vibent.training.targets import FrameTargets


@pytest.fixture
def pool(silicon, rattle):
    """Cells that differ in size and in what is wrong with them."""
    vacancy = silicon.copy()
    del vacancy[5]
    eight = bulk("Si", "diamond", a=5.431, cubic=True)
    starts = (silicon, vacancy, eight)
    return [rattle(atoms, 0.05 * (1 + k), seed=k) for k in range(3) for atoms in starts]


def covariance(model: SiteModel) -> np.ndarray:
    """Σ of constants and weights, in double precision."""
    posterior = model.posterior
    rank = posterior.factor.shape[2]
    factor = np.vstack([posterior.constants, posterior.factor.reshape(-1, rank)]).astype(float)
    return factor @ factor.T


def label_rows(model: SiteModel, atoms, quantities) -> np.ndarray:
    """Rows of a structure over their noise."""
    problem = SiteProblem(model.descriptor, model.shift, {})
    zeros = np.zeros((len(atoms), 3))
    target = FrameTargets(0.0, zeros, np.zeros((3, 3)), zeros[:, 0])
    weights = model.header["row_weights"]
    noise = model.header["solver"]["noise"]
    rows = problem.rows(atoms, target, quantities)
    return np.vstack([weights[kind] * matrix / noise for kind, matrix, _ in rows])


@pytest.mark.parametrize("quantities", [("total",), ("total", "gradient")])
def test_choices_maximise_the_determinant(silicon_model, pool, quantities):
    """Every choice, and its gain, by brute force on all rows chosen so far."""
    sigma = covariance(silicon_model)
    rows = [label_rows(silicon_model, atoms, quantities) for atoms in pool]

    def information(chosen):
        matrix = np.vstack([rows[k] for k in chosen]) if chosen else np.zeros((1, len(sigma)))
        return 0.5 * np.linalg.slogdet(np.eye(len(matrix)) + matrix @ sigma @ matrix.T)[1]

    choices = select(silicon_model, pool, 5, quantities=quantities)
    chosen = []
    for choice in choices:
        rest = [k for k in range(len(pool)) if k not in chosen]
        gains = {k: information([*chosen, k]) - information(chosen) for k in rest}
        assert choice.index == max(gains, key=gains.get)
        # Directions that tell next to nothing are left out.
        assert choice.gain == pytest.approx(gains[choice.index], rel=1e-4, abs=0.01)
        chosen.append(choice.index)
    assert len(set(chosen)) == 5


def test_standard_deviations_are_conditioned(silicon_model, pool):
    """The first is the model's own; the second follows from a rank-one update of Σ."""
    first, second = select(silicon_model, pool, 2, quantities=["total"])
    assert first.std == pytest.approx(silicon_model.uncertainty(pool[first.index])[0], rel=1e-4)
    sigma, model = covariance(silicon_model), silicon_model
    noise = model.header["solver"]["noise"] / model.header["row_weights"]["total"]
    one, other = (label_rows(model, pool[c.index], ["total"])[0] * noise for c in (first, second))
    known = (one @ sigma @ other) ** 2 / (one @ sigma @ one + noise**2)
    kept = 1 - known / (other @ sigma @ other)
    alone = model.uncertainty(pool[second.index])[0] ** 2 - model.posterior.noise**2
    expected = np.sqrt(kept * alone + model.posterior.noise**2)
    assert second.std == pytest.approx(float(expected), rel=1e-5)


def test_twins_are_chosen_once(silicon_model, pool, silicon):
    twin = pool[1][np.random.default_rng(0).permutation(len(pool[1]))]
    twin.rotate(40, (1, 2, 3), rotate_cell=True)
    twin.positions += 0.7
    twin.wrap()
    choices = select(silicon_model, [pool[1], twin, silicon, silicon * (1, 2, 1), pool[0]], 5)
    indices = {c.index for c in choices}
    assert len(choices) == 3
    assert len(indices & {0, 1}) == len(indices & {2, 3}) == 1


def test_atoms_as_budget(silicon_model, pool):
    choices = select(silicon_model, pool, 40, unit="atoms")
    sizes = [len(pool[c.index]) for c in choices]
    assert sum(sizes) <= 40 < sum(sizes) + min(map(len, pool))
    # Per atom, the first is the best of all.
    alone = [select(silicon_model, [atoms], 1)[0].gain / len(atoms) for atoms in pool]
    assert choices[0].index == int(np.argmax(alone))
    assert [c.index for c in select(silicon_model, pool, 7, unit="atoms")] == []


def test_what_is_known_is_chosen_last(silicon_model, silicon, pool):
    choices = select(silicon_model, [silicon, *pool], len(pool) + 1)
    assert choices[-1].index == 0
    assert choices[-1].gain == pytest.approx(0, abs=1e-2)
    grades = [c.grade for c in choices]
    assert min(grades) == grades[-1]
    assert max(grades) > 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": 0}, "budget: expected an integer ≥ 1"),
        ({"budget": 1, "unit": "hours"}, "unit: expected"),
        ({"budget": 1, "quantities": ["energy"]}, "quantities: expected some of"),
        ({"budget": 1, "quantities": []}, "quantities: expected at least one"),
    ],
)
def test_arguments_out_of_range(silicon_model, pool, arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        select(silicon_model, pool, **arguments)


def test_models_without_posterior_say_so(silicon_model, pool):
    bare = SiteModel(
        silicon_model.descriptor,
        silicon_model.constants,
        silicon_model.weights,
        silicon_model.shift,
        silicon_model.scale,
    )
    with pytest.raises(InvalidInputError, match="posterior"):
        select(bare, pool, 1)
