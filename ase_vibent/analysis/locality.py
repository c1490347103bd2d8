"""Locality of site entropies: how much a site feels an atom, against distance.

[Torabi2024] Theorem 3.1, [Torabi2026] Theorem 15: |∂S_ℓ/∂u_n| ≤ C r^-2d in d dimensions. What a
cutoff leaves out follows from the same numbers, and with it the cutoff for a wanted error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from ase_vibent.analysis.power_law import PowerLaw, RecommendedCutoff, fit_power_law
from ase_vibent.arrays import Array
from ase_vibent.calculators.hessian import HessianEntropyCalculator
from ase_vibent.checks import check_positive
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.harmonic.spectrum import check_sites
from ase_vibent.structures.cells import widths

#: Logarithmic bins of an envelope.
BINS = 12
#: Fits begin at so many distances of nearest neighbours, and end at this share of the cell's width:
#: nearer, single shells scatter; further out the periodic images of an atom weaken the gradient.
FIRST, LAST = 3.0, 0.4
#: Ratio of distances that an exponent takes at least.
WIDE = 1.5
#: Share of the largest mean square extent below which a direction does not count: that of a slab
#: about half as thick as the reach.
THIN = 0.1


@dataclass(frozen=True)
class SiteLocality:
    """Gradient of one site's entropy against the distance of the atom that is moved.

    Attributes
    ----------
    site : int
    distances : ndarray, shape (N,), Å
        Of all atoms, to their nearest image.
    magnitudes : ndarray, shape (N,), k_B/Å
        |∂S_ℓ/∂u_n|, mass-free unless the calculator's decomposition is "normalised".
    reach : float, Å
        Distance up to which the cell holds all atoms once, half its width; infinite for a cluster.
    dimension : int
        1, 2 or 3: directions in which the atoms within `reach` extend.
    fit_range : tuple of float, Å
    envelope : ndarray, shape (n_bins, 2)
        Distance and magnitude of the largest magnitude in every logarithmic bin of that range.
    fit : PowerLaw
        Of the envelope. In a cell too narrow for a fit, the law r^-2d of the theory, as high as the
        outer half of the range needs it; its standard error is then NaN.
    """

    site: int
    distances: Array = field(repr=False)
    magnitudes: Array = field(repr=False)
    reach: float
    dimension: int
    fit_range: tuple[float, float]
    envelope: Array = field(repr=False)
    fit: PowerLaw

    def rms_errors(self, cutoffs: ArrayLike, amplitude: float) -> Array:
        """Errors to expect of cutoffs when atoms beyond them are displaced independently.

        To first order. What displacements change in the mean of their squares adds up as r^-d and
        in the end exceeds this sum: see `largest_errors`, and `truncated_site_entropies`.

        Parameters
        ----------
        cutoffs : array_like, shape (n,), Å
        amplitude : float, Å
            Root mean square of every Cartesian component of a displacement.

        Returns
        -------
        ndarray, shape (n,), k_B
            √(Σ |∂S_ℓ/∂u_n|²) × amplitude over the atoms beyond; beyond `reach` by the fit.
        """
        return amplitude * np.sqrt(self._tails(np.atleast_1d(cutoffs), 2))

    def largest_errors(self, cutoffs: ArrayLike, amplitude: float) -> Array:
        """Bound, to first order, on the errors of cutoffs: all displacements conspire.

        Parameters
        ----------
        cutoffs : array_like, shape (n,), Å
        amplitude : float, Å
            Largest displacement of an atom.

        Returns
        -------
        ndarray, shape (n,), k_B
            Σ |∂S_ℓ/∂u_n| × amplitude over the atoms beyond; beyond `reach` by the fit.
        """
        return amplitude * self._tails(np.atleast_1d(cutoffs), 1)

    def recommended_cutoff(
        self, error: float, amplitude: float, *, worst_case: bool = False
    ) -> RecommendedCutoff:
        """Least cutoff that keeps the error of this site as small as wanted.

        Parameters
        ----------
        error : float, k_B
        amplitude : float, Å
            As of `rms_errors`, or of `largest_errors`.
        worst_case : bool
            Bound the error instead of expecting it.

        Returns
        -------
        RecommendedCutoff

        Raises
        ------
        InvalidInputError
            If an argument is not positive, or the gradient decays too slowly for any cutoff.
        """
        check_positive("error", error)
        check_positive("amplitude", amplitude)
        power = 1 if worst_case else 2
        wanted = (error / amplitude) ** power
        decay = power * self.fit.exponent - self.dimension
        if decay <= 0:
            raise InvalidInputError(
                f"error: the gradient of site {self.site} decays as r^-{self.fit.exponent:.2f} "
                "only, and no cutoff bounds what lies beyond"
            )
        beyond = float(self._tails(np.array([self.reach]), power)[0])
        if beyond > wanted:
            return RecommendedCutoff(self.reach * (beyond / wanted) ** (1 / decay), False)
        shells = np.unique(self.distances[self.distances < self.reach])
        enough = self._tails(shells, power) <= wanted
        return RecommendedCutoff(float(shells[enough][0]) if enough.any() else self.reach, True)

    def _tails(self, cutoffs: Array, power: int) -> Array:
        """Σ |∂S_ℓ/∂u_n|^power beyond cutoffs."""
        order, sums = self._measured[power]
        inside = sums[np.searchsorted(order, cutoffs, side="right")]
        # Atoms per distance grow as d n r^(d-1) with n = N(reach)/reach^d.
        d, decay = self.dimension, power * self.fit.exponent - self.dimension
        if decay <= 0:
            return np.full(len(cutoffs), np.inf)
        density = np.sum(self.distances <= self.reach) / self.reach**d
        start = np.maximum(cutoffs, self.reach)
        return inside + self.fit.prefactor**power * density * d * start**-decay / decay

    @cached_property
    def _measured(self) -> dict[int, tuple[Array, Array]]:
        """Distances up to `reach`, ascending, and sums over what is further than each."""
        near = np.flatnonzero(self.distances <= self.reach)
        near = near[np.argsort(self.distances[near], kind="stable")]
        reverse = {p: np.cumsum(self.magnitudes[near][::-1] ** p)[::-1] for p in (1, 2)}
        return {p: (self.distances[near], np.append(s, 0.0)) for p, s in reverse.items()}


def site_locality(
    atoms: Atoms,
    calculator: HessianEntropyCalculator,
    sites: ArrayLike,
    *,
    fit_range: tuple[float, float] | None = None,
) -> list[SiteLocality]:
    """Measure how the entropies of some sites depend on distant atoms.

    Parameters
    ----------
    atoms : Atoms
        A lattice model's or real ones.
    calculator : HessianEntropyCalculator
        With engine "lanczos" for thousands of atoms, "contour" for long chains of soft modes, or
        "dense". Far atoms matter by small numbers: take a tolerance of 1e-8 k_B or less.
    sites : array_like of int, shape (n_sites,)
    fit_range : (float, float), Å, optional
        By default from three distances of nearest neighbours to 0.4 of the cell's width; where
        that is less than a factor of 1.5, nothing is fitted, see `SiteLocality.fit`.

    Returns
    -------
    list of SiteLocality

    Raises
    ------
    InvalidInputError
        If a site does not exist or is fixed, the range is no range, or the engine has no site
        gradients.
    InvalidStructureError
        If the cell is too small for any distant atom, or the gradient vanishes.
    UnstableStructureError
        If the structure has other unstable modes than the calculator expects.
    """
    chosen = check_sites(sites, len(atoms))
    # Cells in which nothing is distant are refused before the work.
    ranges = [_fit_range(atoms, int(site), fit_range) for site in chosen]
    system = calculator.harmonic_system(atoms)
    fixed = np.setdiff1d(chosen, system.free)
    if len(fixed):
        raise InvalidInputError(f"sites: {fixed.tolist()} are fixed and have no entropy")
    gradients = calculator.reduced_site_gradients(
        system, atoms, np.searchsorted(system.free, chosen)
    )
    magnitudes = np.linalg.norm(gradients, axis=2)
    return [
        _locality(int(site), atoms, own, own_range)
        for site, own, own_range in zip(chosen, magnitudes, ranges, strict=True)
    ]


def upper_envelope(
    distances: Array, magnitudes: Array, fit_range: tuple[float, float], *, bins: int = BINS
) -> Array:
    """Largest magnitude in every logarithmic bin that holds an atom.

    Parameters
    ----------
    distances : ndarray, shape (N,), Å
    magnitudes : ndarray, shape (N,)
    fit_range : (float, float), Å
    bins : int

    Returns
    -------
    ndarray, shape (n_bins, 2)
        Distance and magnitude.
    """
    edges = np.geomspace(*fit_range, bins + 1)
    edges[-1] *= 1 + 1e-9
    bin_of = np.digitize(distances, edges) - 1
    largest = []
    for k in range(bins):
        members = np.flatnonzero(bin_of == k)
        if len(members):
            top = members[np.argmax(magnitudes[members])]
            largest.append((distances[top], magnitudes[top]))
    return np.array(largest).reshape(-1, 2)


def _locality(site: int, atoms: Atoms, magnitudes: Array, fit_range: _FitRange) -> SiteLocality:
    distances = _distances(atoms, site)
    # Beyond the last atom of a cluster there is nothing.
    reach = _width(atoms, distances) / 2 if atoms.pbc.any() else np.inf
    dimension = _dimension(atoms, site, reach)
    limits = fit_range.limits
    envelope = upper_envelope(distances, magnitudes, limits)
    if fit_range.wide:
        fit = fit_power_law(*envelope.T)
    else:
        fit = _law_of_theory(envelope[envelope[:, 0] >= limits[1] / 2], dimension)
    if fit is None:
        raise InvalidStructureError(
            f"atoms: no exponent can be fitted to the gradient of site {site} between "
            f"{limits[0]:.2f} and {limits[1]:.2f} Å, where too few atoms have one that "
            "differs from 0; widen the range or take a wider cell, and displace the atoms of a "
            "lattice without cubic terms"
        )
    return SiteLocality(site, distances, magnitudes, reach, dimension, limits, envelope, fit)


def _law_of_theory(envelope: Array, dimension: int) -> PowerLaw | None:
    """[Torabi2024] Theorem 3.1, above all points of an envelope; None where these vanish."""
    exponent = 2.0 * dimension
    prefactor = float(np.max(envelope[:, 1] * envelope[:, 0] ** exponent, initial=0.0))
    return PowerLaw(prefactor, exponent, float("nan")) if prefactor > 0 else None


class _FitRange(NamedTuple):
    """Distances of a fit, Å, and whether they are wide enough apart for an exponent."""

    limits: tuple[float, float]
    wide: bool


def _dimension(atoms: Atoms, site: int, reach: float) -> int:
    """Principal axes along which atoms spread; counts of atoms would hang on single shells."""
    everyone = np.arange(len(atoms))
    vectors = atoms.get_distances(site, everyone, mic=bool(atoms.pbc.any()), vector=True)
    near = vectors[np.linalg.norm(vectors, axis=1) <= reach]
    spread = np.linalg.eigvalsh(near.T @ near)
    return max(1, int(np.sum(spread > THIN * spread[-1])))


def _fit_range(atoms: Atoms, site: int, wanted: tuple[float, float] | None) -> _FitRange:
    distances = _distances(atoms, site)
    width = _width(atoms, distances)
    if wanted is not None:
        if not 0 < wanted[0] < wanted[1] <= width / 2:
            raise InvalidInputError(
                f"fit_range: expected two distances in Å, the larger one at most {width / 2:.2f}, "
                f"half the width of the cell, got {wanted}"
            )
        return _FitRange(wanted, True)
    nearest = float(np.partition(distances, 1)[1])
    first, last = FIRST * nearest, LAST * width
    if last >= WIDE * first:
        return _FitRange((first, last), True)
    if width / 2 <= WIDE * nearest:
        raise InvalidStructureError(
            f"atoms: a cell {width:.1f} Å wide is too small to say what distant atoms do: none is "
            f"further than {WIDE:g} times the nearest neighbour before its images are; take one "
            f"more than {2 * WIDE * nearest:.1f} Å wide"
        )
    return _FitRange((nearest, width / 2), False)


def _distances(atoms: Atoms, site: int) -> Array:
    if len(atoms) < 2:
        raise InvalidStructureError("atoms: a single one has no distant atoms")
    distances: Array = atoms.get_distances(site, np.arange(len(atoms)), mic=bool(atoms.pbc.any()))
    return distances


def _width(atoms: Atoms, distances: Array) -> float:
    """Narrowest width of the cell; of a cluster, twice its extent as seen from the site."""
    return float(widths(atoms).min(initial=2 * distances.max() if not atoms.pbc.any() else np.inf))
