"""Which structures to label next: those whose labels would teach a model most."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from scipy.linalg import solve_triangular

from ase_vibent.arrays import Array
from ase_vibent.checks import check_integer
from ase_vibent.errors import InvalidInputError
from ase_vibent.model import SiteModel
from ase_vibent.quantities import DEFAULT_WEIGHTS, EVALUATED, QuantityName
from ase_vibent.structures.cells import has_volume
from ase_vibent.training.problem import SiteProblem
from ase_vibent.training.targets import FrameTargets

#: Directions in which a label tells less than half of this, in nats, are left out.
NEGLIGIBLE = 1e-4
#: Two structures whose totals differ by less than this share of what is unknown are the same.
SAME = 1e-4


@dataclass(frozen=True)
class Choice:
    """A structure to label, and why.

    Attributes
    ----------
    index : int
        In the pool.
    gain : float, nats
        Information of its labels about the coefficients, beyond that of the choices before.
    std : float, k_B, or eV where energies are learned
        Standard deviation of its total, once the choices before are labelled.
    grade : float
        Largest extrapolation grade of its atoms; NaN if the model does not know its training set.
    """

    index: int
    gain: float
    std: float
    grade: float


def select(
    model: SiteModel,
    structures: Sequence[Atoms],
    budget: int,
    *,
    unit: str = "structures",
    quantities: Sequence[QuantityName] | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = lambda items: items,
) -> list[Choice]:
    """Choose from a pool by expected information, one after the other (D-optimality).

    The labels of a structure with rows X, weighted as in the fit, tell ½ ln det(1 + X Σ Xᵀ/σ²) of
    the coefficients, whose posterior covariance is Σ; each choice shrinks Σ for the next, so that
    likes of it are passed over. No label need be known. The greedy choice is within 1 - 1/e
    of the best (Krause, Singh, Guestrin 2008).

    Parameters
    ----------
    model : SiteModel
        With a posterior covariance.
    structures : sequence of Atoms
        The pool. Of structures with equal features one is chosen at most.
    budget : int
        What may be labelled: a number of structures or of atoms.
    unit : {"structures", "atoms"}
        Of the budget. For atoms, the information per atom counts.
    quantities : sequence of {"total", "gradient", "strain", "sites"}, optional
        Labels that there will be; by default those that the model was fitted to.
    progress : callable (items) -> items
        Progress bar around the structures.

    Returns
    -------
    list of Choice
        In the order of the choice; fewer than the budget allows if the pool ends.

    Raises
    ------
    InvalidInputError
        If an argument is out of range, or the model keeps no posterior covariance.
    UnknownSpeciesError
        If a structure holds what the model does not know.
    """
    check_integer("budget", budget, 1)
    if unit not in ("structures", "atoms"):
        raise InvalidInputError(f"unit: expected 'structures' or 'atoms', got {unit!r}")
    knowledge = _Knowledge(model, quantities)
    pool = [knowledge.candidate(atoms) for atoms in progress(structures)]
    costs = [1 if unit == "structures" else len(atoms) for atoms in structures]
    return [
        Choice(k, gain, std, _largest_grade(model, structures[k]))
        for k, gain, std in _greedy(knowledge, pool, costs, budget)
    ]


class _Candidate(NamedTuple):
    """Rows of a structure's labels, and of its total, in units of what is known already.

    Attributes
    ----------
    labels : ndarray, shape (m, rank)
        X L / σ, but for an orthogonal transformation of the rows.
    total : ndarray, shape (rank,)
        The row of the total alone.
    stretch : float
        Calibrated over posterior standard deviation of the total, as the model has them.
    """

    labels: Array
    total: Array
    stretch: float


class _Knowledge:
    """Posterior of a model, Σ = L (1 + Σ_k Z_kᵀ Z_k)⁻¹ Lᵀ after labels Z_k.

    Parameters
    ----------
    model : SiteModel
    quantities : sequence of str, optional
    """

    def __init__(self, model: SiteModel, quantities: Sequence[QuantityName] | None):
        posterior = model.posterior
        if posterior is None:
            raise InvalidInputError(
                "model: keeps no posterior covariance to choose by; train it on more rows than "
                "it has coefficients"
            )
        self._posterior = posterior
        self._problem = SiteProblem(model.descriptor, model.shift, known={})
        rank = posterior.factor.shape[2]
        parts = posterior.constants, posterior.factor.reshape(-1, rank)
        self._weights = {**DEFAULT_WEIGHTS, **model.header.get("row_weights", {})}
        # What the fit takes for noise; that of calibration stands for errors of other kinds too.
        noise = model.header.get("solver", {}).get("noise", np.nan)
        if not noise > 0:
            raise InvalidInputError(
                "model: does not say how large the noise of its fit was; train it again"
            )
        self._noise = float(noise)
        self._factor: Array = np.concatenate(parts).astype(float) / self._noise
        self._quantities = _checked_quantities(model, quantities)
        self._information: Array = np.eye(rank)
        self._root: Array = np.eye(rank)

    def candidate(self, atoms: Atoms) -> _Candidate:
        """What a structure's labels depend on."""
        wanted = {*self._quantities, "total", "sites"}
        rows = {k: m for k, m, _ in self._problem.rows(atoms, _blank(atoms), tuple(wanted))}
        total = rows["total"][0] @ self._factor
        labels = [self._weights[q] * rows[q] for q in self._quantities if q in rows]
        whitened = np.concatenate(labels) @ self._factor
        _, singular, right = np.linalg.svd(whitened, full_matrices=False)
        kept = singular**2 > NEGLIGIBLE
        stretch = self._posterior.stretch(
            self._noise * float(np.linalg.norm(total)),
            self._noise * float(np.linalg.norm(rows["sites"] @ self._factor)),
        )
        return _Candidate(singular[kept, None] * right[kept], total, stretch)

    def gain(self, candidate: _Candidate) -> float:
        """Information of the labels, nats."""
        told = solve_triangular(self._root, candidate.labels.T, lower=True, check_finite=False)
        return 0.5 * float(np.linalg.slogdet(np.eye(told.shape[1]) + told.T @ told)[1])

    def std(self, candidate: _Candidate) -> float:
        """Standard deviation of the total, k_B."""
        spread = solve_triangular(self._root, candidate.total, lower=True, check_finite=False)
        fitted = np.linalg.norm(spread) * self._noise
        return float(np.hypot(candidate.stretch * fitted, self._posterior.noise))

    def learn(self, candidate: _Candidate) -> None:
        """Take a structure's labels as known."""
        self._information = self._information + candidate.labels.T @ candidate.labels
        self._root = np.asarray(np.linalg.cholesky(self._information))


def _greedy(
    knowledge: _Knowledge, pool: Sequence[_Candidate], costs: Sequence[int], budget: int
) -> Iterable[tuple[int, float, float]]:
    """Index, gain and standard deviation of one choice after the other.

    Gains only shrink as more is known, so that an old one is an upper bound: a candidate whose
    fresh gain exceeds all old ones is the best (Minoux 1978).
    """
    queue = [(-knowledge.gain(c) / costs[k], k, 0) for k, c in enumerate(pool)]
    heapq.heapify(queue)
    chosen: list[int] = []
    while queue:
        bid, k, known = heapq.heappop(queue)
        if costs[k] > budget or any(_same(pool[k], pool[other]) for other in chosen):
            continue
        if known < len(chosen):
            gain = knowledge.gain(pool[k])
            heapq.heappush(queue, (-gain / costs[k], k, len(chosen)))
            continue
        yield k, -bid * costs[k], knowledge.std(pool[k])
        knowledge.learn(pool[k])
        chosen.append(k)
        budget -= costs[k]


def _same(one: _Candidate, other: _Candidate) -> bool:
    """Whether two structures have the same features in sum, as twins and supercells have.

    Their labels differ by nothing that a model could learn, but gains ascribe the rest to noise.
    """
    difference = np.linalg.norm(one.total - other.total)
    return bool(difference <= SAME * np.hypot(np.linalg.norm(other.total), 1.0))


def _blank(atoms: Atoms) -> FrameTargets:
    """Labels of any value, for their rows."""
    shape = (len(atoms), 3)
    strain = np.zeros((3, 3)) if has_volume(atoms) else None
    return FrameTargets(0.0, np.zeros(shape), strain, np.zeros(len(atoms)))


def _checked_quantities(
    model: SiteModel, wanted: Sequence[QuantityName] | None
) -> list[QuantityName]:
    if wanted is None:
        fitted = [q for q in model.header.get("quantities", ()) if q in EVALUATED]
        return fitted or ["total"]
    for quantity in wanted:
        if quantity not in EVALUATED:
            raise InvalidInputError(
                f"quantities: expected some of {', '.join(EVALUATED)}, got {quantity!r}"
            )
    if not wanted:
        raise InvalidInputError("quantities: expected at least one, got none")
    return list(wanted)


def _largest_grade(model: SiteModel, atoms: Atoms) -> float:
    return np.nan if model.domain is None else float(model.extrapolation_grades(atoms).max())
