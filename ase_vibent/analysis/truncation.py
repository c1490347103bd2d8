"""Truncated site entropies: a site's entropy when only atoms within a cutoff are displaced.

S_ℓ(T u), [Torabi2024] (3.3), where T sets the displacements beyond the cutoff to zero: at once, or
smoothly as in [Torabi2026] Corollary 19. The error is at most C r_cut^-d |u|_∞ ([Torabi2024]
Theorem 3.2, [Torabi2026] Theorem 18).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from numpy.typing import ArrayLike

from ase_vibent.analysis.power_law import PowerLaw, RecommendedCutoff, fit_power_law
from ase_vibent.arrays import Array
from ase_vibent.calculators.hessian import HessianEntropyCalculator
from ase_vibent.checks import check_positive
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.harmonic.spectrum import check_sites
from ase_vibent.structures import check_structure
from ase_vibent.structures.cells import widths

#: Share of the cell's width up to which errors are fitted.
LAST = 0.25


@dataclass(frozen=True)
class TruncatedEntropies:
    """Entropies of one site under truncated displacements.

    Attributes
    ----------
    site : int
    cutoffs : ndarray, shape (n,), Å
        Ascending.
    values : ndarray, shape (n,), k_B
        S_ℓ(T u), reduced, at masses of 1 amu.
    exact : float, k_B
        S_ℓ(u).
    amplitude : float, Å
        Largest displacement of an atom, |u|_∞.
    width : float, Å
        Narrowest width of the cell, infinite for a cluster.
    """

    site: int
    cutoffs: Array
    values: Array
    exact: float
    amplitude: float
    width: float

    @property
    def errors(self) -> Array:
        """|S_ℓ(T u) - S_ℓ(u)|, shape (n,), k_B."""
        return np.abs(self.values - self.exact)

    @property
    def fit(self) -> PowerLaw | None:
        """C r_cut^-p, k_B/Å, in errors ≈ C r_cut^-p |u|_∞, or None.

        Of cutoffs up to a quarter of the cell's width, at least four of them: where a ball fills
        the cell, little is left to cut off.
        """
        used = self.cutoffs <= LAST * self.width
        return fit_power_law(self.cutoffs[used], self.errors[used] / self.amplitude)

    def recommended_cutoff(self, error: float) -> RecommendedCutoff:
        """Least cutoff from which on the error stays below a wanted one.

        Parameters
        ----------
        error : float, k_B

        Returns
        -------
        RecommendedCutoff
            From the fit where no tried cutoff is enough.

        Raises
        ------
        InvalidInputError
            If the error is not positive, or neither the tried cutoffs nor a fit reach it.
        """
        check_positive("error", error)
        too_large = np.flatnonzero(self.errors > error)
        first = 0 if len(too_large) == 0 else too_large[-1] + 1
        if first < len(self.cutoffs):
            return RecommendedCutoff(float(self.cutoffs[first]), True)
        fit = self.fit
        if fit is None or fit.exponent <= 0:
            raise InvalidInputError(
                f"error: no cutoff up to {self.cutoffs[-1]:g} Å keeps the error of site "
                f"{self.site} below {error:g} k_B, and there is no power law to extrapolate; "
                "try more and larger ones"
            )
        cutoff = (fit.prefactor * self.amplitude / error) ** (1 / fit.exponent)
        return RecommendedCutoff(max(float(cutoff), float(self.cutoffs[-1])), False)


def truncated_site_entropies(
    displaced: Atoms,
    reference: Atoms,
    calculator: HessianEntropyCalculator,
    site: int,
    cutoffs: ArrayLike,
    *,
    smooth: bool = False,
) -> TruncatedEntropies:
    """Entropy of a site with the displacements beyond each of some cutoffs taken back.

    Parameters
    ----------
    displaced, reference : Atoms
        The same atoms in the same cell, in the same order. A common shift counts as displacement.
    calculator : HessianEntropyCalculator
        Its engine evaluates that one site only, except for "dense".
    site : int
    cutoffs : array_like, shape (n,), Å
        Distances in the reference.
    smooth : bool
        Let displacements fade between half the cutoff and the cutoff.

    Returns
    -------
    TruncatedEntropies

    Raises
    ------
    InvalidStructureError
        If the structures do not match, or do not differ.
    InvalidInputError
        If the site does not exist, or a cutoff is no length or more than half the cell's width.
    UnstableStructureError
        If a structure has other unstable modes than the calculator expects.
    """
    displacements = matched_displacements(displaced, reference)
    if np.ndim(site) != 0:
        raise InvalidInputError(f"site: expected one atom, got {site!r}")
    check_sites(site, len(reference), "site")
    lengths = np.unique(np.asarray(cutoffs, dtype=float))
    width = float(widths(reference).min(initial=np.inf))
    if len(lengths) == 0 or not np.all((lengths > 0) & (lengths <= width / 2)):
        raise InvalidInputError(
            f"cutoffs: expected lengths in Å above 0 and at most {width / 2:.2f}, half the width "
            f"of the cell, got {np.asarray(cutoffs).tolist()}"
        )
    everyone = np.arange(len(reference))
    distances = reference.get_distances(site, everyone, mic=bool(reference.pbc.any()))

    def entropy(shares: Array) -> float:
        atoms = displaced.copy()
        atoms.positions = reference.positions + shares[:, None] * displacements
        return _site_entropy(calculator, atoms, site)

    values = [entropy(_shares(distances, cutoff, smooth)) for cutoff in lengths]
    return TruncatedEntropies(
        site,
        lengths,
        np.array(values),
        entropy(np.ones(len(reference))),
        float(np.linalg.norm(displacements, axis=1).max()),
        width,
    )


def matched_displacements(displaced: Atoms, reference: Atoms) -> Array:
    """Displacements of atoms from a reference, to their nearest images.

    Parameters
    ----------
    displaced, reference : Atoms

    Returns
    -------
    ndarray, shape (N, 3), Å

    Raises
    ------
    InvalidStructureError
        If number, order of species or cell differ, an atom is closer to another site, or none
        is displaced.
    """
    check_structure(displaced)
    check_structure(reference)
    same = len(displaced) == len(reference) and np.array_equal(displaced.numbers, reference.numbers)
    if not same or np.any(displaced.pbc != reference.pbc):
        raise InvalidStructureError(
            f"reference: expected the displaced structure's atoms in its order, "
            f"{displaced.get_chemical_formula()}, got {reference.get_chemical_formula()} or "
            "another order or periodicity"
        )
    if not np.allclose(displaced.cell, reference.cell, rtol=0, atol=1e-6):
        raise InvalidStructureError(
            "reference: expected the displaced structure's cell, got another one"
        )
    displacements, lengths = find_mic(
        displaced.positions - reference.positions, reference.cell, reference.pbc
    )
    largest = int(lengths.argmax())
    if lengths[largest] < 1e-9:
        raise InvalidStructureError("reference: no atom is displaced from it")
    to_sites = find_mic(
        displaced.positions[largest] - reference.positions, reference.cell, reference.pbc
    )[1]
    if to_sites.argmin() != largest:
        raise InvalidStructureError(
            f"reference: atom {largest} is {lengths[largest]:.2f} Å from its place there, nearer "
            f"to that of atom {to_sites.argmin()}; are the atoms in the same order?"
        )
    found: Array = displacements
    return found


def _shares(distances: Array, cutoff: float, smooth: bool) -> Array:
    """Share of every displacement that is kept."""
    if not smooth:
        return (distances <= cutoff).astype(float)
    x = np.clip(2 * distances / cutoff - 1, 0, 1)
    return 1 - x**3 * (10 - 15 * x + 6 * x**2)


def _site_entropy(calculator: HessianEntropyCalculator, atoms: Atoms, site: int) -> float:
    system = calculator.harmonic_system(atoms)
    if calculator.parameters["decomposition"] == "normalised":
        return float(calculator.reduced_site_entropies(system, atoms)[0][site])
    own = np.searchsorted(system.free, site)
    if own == len(system.free) or system.free[own] != site:
        raise InvalidInputError(f"site: {site} is fixed and has no entropy")
    return float(system.entropies_of([own])[0])
