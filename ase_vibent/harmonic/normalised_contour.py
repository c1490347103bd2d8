"""The decomposition that is normalised by the perfect crystal, for sparse Hessians.

What `NormalisedSystem` is by diagonalisation, by the pencil of both Hessians: see `PencilSolver`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms

from ase_vibent.arrays import Array, IntArray
from ase_vibent.errors import InvalidInputError, UnstableStructureError
from ase_vibent.harmonic.bloch import translations
from ase_vibent.harmonic.contour import ContourSpectrum
from ase_vibent.harmonic.gradient import SupportsCurvature
from ase_vibent.harmonic.mesh_system import MeshSystem, Vibrating, real_form
from ase_vibent.harmonic.pencil import CrystalRoot, PencilSolver, half_log
from ase_vibent.harmonic.site_gradient import site_gradients


def crystal_roots(crystal: Vibrating, sites: Atoms) -> list[CrystalRoot]:
    """Square roots of a crystal's Hessian, at Γ or at every point of its mesh.

    Parameters
    ----------
    crystal : HarmonicSystem or MeshSystem
        Engine "contour".
    sites : Atoms
        The crystal, all atoms.

    Returns
    -------
    list of CrystalRoot
    """
    kinds = np.unique(sites.numbers, return_inverse=True)[1]
    whole = len(crystal.free) == len(sites)
    moves = translations(sites, kinds) if whole and sites.pbc.any() else None
    scaled = sites.cell.scaled_positions(sites.positions)[crystal.free]
    points = crystal.points if isinstance(crystal, MeshSystem) else np.zeros((1, 3))
    roots = []
    for number, q in enumerate(points):
        matrix, copies = _matrix(crystal, number)
        motions = np.asarray(np.kron(np.eye(copies), crystal.left_out(False)))
        roots.append(
            CrystalRoot(
                matrix,
                motions,
                translations=moves,
                phases=np.exp(2j * np.pi * scaled @ q),
                tolerance=crystal.tolerance,
            )
        )
    return roots


def _matrix(system: Vibrating, number: int) -> tuple[Any, int]:
    at_point = system.hessian_at(number) if isinstance(system, MeshSystem) else system.hessian
    return real_form(at_point)


class NormalisedContour:
    """A structure's vibrations beside those of the crystal, without diagonalisation.

    Parameters
    ----------
    system : HarmonicSystem or MeshSystem
        Of the structure, engine "contour".
    roots : list of CrystalRoot
        Of the crystal on its sites, one for Γ or for every point of the same mesh.
    """

    def __init__(self, system: Vibrating, roots: list[CrystalRoot]):
        self._system = system
        self._roots = roots

    @cached_property
    def _spectra(self) -> list[ContourSpectrum]:
        return [self._spectrum(number) for number in range(len(self._roots))]

    def _solver(self, number: int, unstable: int | str) -> PencilSolver:
        matrix, _ = _matrix(self._system, number)
        return PencilSolver(
            matrix, self._roots[number], unstable=unstable, tolerance=self._system.tolerance
        )

    def _spectrum(self, number: int) -> ContourSpectrum:
        system = self._system
        sites = np.arange(len(system.free))
        if not isinstance(system, MeshSystem):
            return self._solver(number, system.unstable).spectrum(sites)
        with system.at_point(number):
            # The real form of a complex matrix has every mode twice.
            found = self._solver(number, 0 if system.unstable == 0 else "any").spectrum(sites)
            count = found.n_unstable // _matrix(system, number)[1]
            if system.unstable not in ("any", count):
                raise UnstableStructureError(
                    f"unstable: expected {system.unstable} unstable modes, found {count}",
                    np.empty(0),
                    count,
                )
        return found

    @property
    def site_entropies(self) -> Array:
        """S_ℓ, shape (n,), units of k_B: what the site has more than the crystal's.

        Raises UnstableStructureError if the system was promised another number of unstable modes.
        """
        of_points = [spectrum.site_sums(half_log) for spectrum in self._spectra]
        if isinstance(self._system, MeshSystem):
            return self._system.average(of_points)
        return of_points[0]

    @property
    def error(self) -> float:
        """Bound on the error of a site, k_B, without that of the crystal's own value."""
        return max(spectrum.error for spectrum in self._spectra)

    def site_gradients(
        self,
        displaced_forces: SupportsCurvature,
        sites: IntArray,
        *,
        displacement: float = 0.01,
    ) -> Array:
        """Gradients of chosen S_ℓ, [Torabi2024] (C.8); at Γ.

        Parameters
        ----------
        displaced_forces : SupportsCurvature
            Of the structure.
        sites : ndarray of int, shape (n_sites,)
        displacement : float, Å

        Returns
        -------
        ndarray, shape (n_sites, N, 3), k_B/Å

        Raises
        ------
        InvalidInputError
            On a mesh.
        """
        if isinstance(self._system, MeshSystem):
            raise InvalidInputError(
                "mesh: without diagonalisation, gradients of sites are those at Γ; pass "
                "mesh='gamma', or engine='dense'"
            )
        return site_gradients(
            displaced_forces,
            self._solver(0, self._system.unstable).derivative_factors(sites),
            self._system.patterns,
            displacement=displacement,
        )
