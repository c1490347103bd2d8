"""A model's prediction beside exact site entropies, in structures of any size.

Where a cell is wide enough, some sites are measured in balls around them, beside the same in
the perfect crystal: what that costs does not grow with the structure. Small cells are diagonalised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from ase import Atoms

from ase_vibent.arrays import Array, IntArray
from ase_vibent.checks import check_integer
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.entropy import mass_entropy
from ase_vibent.hessian import HessianOptions
from ase_vibent.model import SiteModel
from ase_vibent.quantities import ENTROPY, OF_SITES
from ase_vibent.structures.validity import check_structure, strip_labels
from ase_vibent.verification.exact_sites import ExactSites, ball_radius
from ase_vibent.verification.sample import SiteSample, ranked_sites


@dataclass(frozen=True)
class Verification:
    """Measured and predicted entropies of some sites: classical, at 300 K, masses included.

    Attributes
    ----------
    sample : SiteSample
        The sites: first those that the model is least sure of, then those at random.
    measured, predicted : ndarray, shape (n,), k_B
    std : ndarray, shape (n,), k_B
        Predicted standard deviations; NaN if the model has no posterior covariance.
    grades : ndarray, shape (n,)
        Extrapolation grades; NaN if the model does not know its training set.
    truncation : ndarray, shape (n,), k_B
        Value in the ball less that in a smaller one: what is measured is known better than that.
    total_std : float, k_B
        Predicted standard deviation of the structure's total.
    ranking : str
        What "uncertain" means: "standard deviation", "extrapolation grade" or "nothing".
    method : str
        How the sites were measured.
    remarks : tuple of str
        What to bear in mind when reading the numbers.
    """

    sample: SiteSample
    measured: Array
    predicted: Array
    std: Array
    grades: Array
    truncation: Array
    total_std: float
    ranking: str
    method: str
    remarks: tuple[str, ...]

    @property
    def errors(self) -> Array:
        """Predicted less measured, shape (n,), k_B."""
        return self.predicted - self.measured

    @property
    def sites(self) -> IntArray:
        """Sites that were measured, shape (n,)."""
        return self.sample.sites

    @property
    def n_atoms(self) -> int:
        """Number of atoms of the structure."""
        return int(self.sample.sizes.sum())

    def summary(self) -> dict[str, dict[str, float]]:
        """Errors of the uncertain sites, of those at random, and of all sites of the structure.

        Returns
        -------
        dict of str to dict
            For "uncertain", "random" and "all" (estimated): the number of sites `n`, `rmse` and
            `mean` signed error in k_B, and the share `within_2_std` of errors up to two standard
            deviations. Groups without a site are left out, and "all" if none was drawn at random.
        """
        first = np.arange(len(self.sites)) < self.sample.n_first
        groups: dict[str, Array] = {
            "uncertain": first.astype(float),
            "random": (~first).astype(float),
            "all": self.sample.weights,
        }
        return {
            name: {
                "n": self.n_atoms if name == "all" else int(weights.sum()),
                "rmse": float(np.sqrt(np.average(self.errors**2, weights=weights))),
                "mean": float(np.average(self.errors, weights=weights)),
                "within_2_std": self._coverage(weights),
            }
            for name, weights in groups.items()
            if weights.any()
        }

    def total_error(self) -> tuple[float, float]:
        """Error of the predicted total, estimated from the sites, and its standard deviation.

        How a total is split between the sites does not matter to it.

        Returns
        -------
        error : float, k_B
            Predicted less measured; NaN unless other sites were drawn at random.
        std : float, k_B
            Of the sampling, a rough one where few sites were drawn, and what smaller balls change.
        """
        error, std = self.sample.total(self.errors)
        return error, float(np.hypot(std, self.sample.total(self.truncation)[0]))

    def _coverage(self, weights: Array) -> float:
        if np.isnan(self.std).any():
            return np.nan
        return float(np.average(np.abs(self.errors) <= 2 * self.std, weights=weights))


def verify(
    model: SiteModel,
    atoms: Atoms,
    calculator: object,
    *,
    n_sites: int = 60,
    crystal: Atoms | None = None,
    radius: float | None = None,
    seed: int = 0,
    options: HessianOptions = HessianOptions(),
) -> Verification:
    """Measure some sites of a structure, and compare.

    Half of them are those of the largest predicted standard deviation (without a posterior
    covariance: of the largest extrapolation grade), half are drawn at random from the others, more
    densely where the model is less sure; see `SiteSample`.

    Parameters
    ----------
    model : SiteModel
        Of entropies.
    atoms : Atoms
        At a minimum, if it is wide; constraints are ignored.
    calculator : ASE calculator or factory
        Without an analytic Hessian, all atoms in balls are displaced, six force calls each.
    n_sites : int
        Where a small structure is diagonalised, all sites are measured.
    crystal : Atoms, optional
        Perfect crystal, a unit cell or any supercell. Without it, measured values are those of
        balls by themselves, or lack what the size of a small periodic cell costs.
    radius : float, Å, optional
        Of the balls; see `ball_radius`.
    seed : int
        Of the random sites.
    options : HessianOptions
        With an interaction range, only the surroundings of balls are calculated.

    Returns
    -------
    Verification

    Raises
    ------
    InvalidInputError
        If an argument is out of range, or balls are too wide for the cell.
    LabelError
        If a small cell is no repetition of the crystal's.
    UnstableStructureError
        If a ball is unstable, and with it the structure.
    """
    if model.target != ENTROPY.name:
        raise InvalidInputError(f"model: expected one of entropies, got one of {model.target}")
    model.require_no_floor("single sites are verified whole")
    check_integer("n_sites", n_sites, 1)
    check_structure(atoms)
    atoms = strip_labels(atoms)
    atoms.set_constraint()
    exact = ExactSites(calculator, crystal, options)
    values = model.evaluate(atoms, gradient=False).values
    uncertainties = _Uncertainties.of(model, atoms)
    size = ball_radius(atoms, radius)
    n_first = len(atoms) if size is None else uncertainties.n_uncertain(n_sites)
    sample = SiteSample.drawn(
        ranked_sites(atoms, uncertainties.ranks, n_first),
        n_first,
        max(n_sites, n_first),
        np.random.default_rng(seed),
    )
    sites = sample.sites
    if size is None:
        found, method = exact.diagonalise(atoms), "diagonalisation of the whole cell"
        found = found._replace(values=found.values[sites])
    else:
        found, method = exact.in_balls(atoms, sites, size), f"balls of {size:.3g} Å"
    masses = mass_entropy(atoms.get_masses())[sites] + 3.0
    return Verification(
        sample=sample,
        measured=found.values + masses,
        predicted=values[sites] + masses,
        std=uncertainties.std[sites],
        grades=uncertainties.grades[sites],
        truncation=found.truncation,
        total_std=uncertainties.total_std,
        ranking=uncertainties.ranking,
        method=method,
        remarks=(*_split_remarks(model), *found.remarks),
    )


class _Uncertainties(NamedTuple):
    """What a model thinks of its own prediction of a structure."""

    total_std: float
    std: Array
    grades: Array

    @classmethod
    def of(cls, model: SiteModel, atoms: Atoms) -> _Uncertainties:
        found = model.predict(
            atoms,
            gradient=False,
            uncertainty=model.posterior is not None,
            grades_above=None if model.domain is None else 0.0,
        )
        unknown = np.full(len(atoms), np.nan)
        return cls(
            np.nan if found.std is None else found.std,
            unknown if found.site_stds is None else found.site_stds,
            unknown if found.grades is None else found.grades,
        )

    @property
    def ranking(self) -> str:
        """What ranks the sites."""
        if not np.isnan(self.std).any():
            return "standard deviation"
        return "nothing" if np.isnan(self.grades).any() else "extrapolation grade"

    @property
    def ranks(self) -> Array:
        """What ranks the sites, the least certain highest."""
        return np.nan_to_num(self.std if self.ranking == "standard deviation" else self.grades)

    def n_uncertain(self, n_sites: int) -> int:
        """How many of the sites are the least certain ones."""
        return 0 if self.ranking == "nothing" else min((n_sites + 1) // 2, len(self.std))


def _split_remarks(model: SiteModel) -> list[str]:
    fitted = model.header.get("quantities", ())
    if {*OF_SITES}.intersection(fitted):
        return []
    return [
        f"the model was fitted to {', '.join(fitted) or 'unknown labels'}, which leave open how a "
        "total is split between the sites: errors of single sites are no errors of the total; look "
        "at that of the total, from so many sites that a defect's surroundings are among them"
    ]
