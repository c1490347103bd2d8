"""Site entropies relative to the perfect crystal: normalised by it, or balls compared with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from ase_vibent.arrays import Array
from ase_vibent.crystal.bulk import WIDTH, bulk_site_entropies
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.harmonic.entropy import mass_entropy
from ase_vibent.harmonic.mesh_system import MeshSystem, Vibrating
from ase_vibent.harmonic.normalised import NormalisedSystem
from ase_vibent.harmonic.normalised_contour import NormalisedContour, crystal_roots
from ase_vibent.harmonic.pencil import CrystalRoot
from ase_vibent.harmonic.rigid_motions import rotation_axes
from ase_vibent.harmonic.spectrum import check_sites
from ase_vibent.harmonic.system import HarmonicSystem
from ase_vibent.hessian import HessianOptions
from ase_vibent.structures.cells import repeated, widths
from ase_vibent.structures.validity import check_crystal, free_atoms

Normalised = NormalisedSystem | NormalisedContour


class PerfectCrystal:
    """The crystal beside which site entropies of other structures are put.

    What has been computed of it is kept.

    Parameters
    ----------
    atoms : Atoms
        Perfect crystal; for the normalised decomposition with the sites of the structures, in
        their order, for balls any cell of it.
    hessian_of : callable (atoms, sparse) -> matrix
        Hessian of the free atoms of a structure, eV/Å².
    """

    def __init__(self, atoms: Atoms, hessian_of: Callable[[Atoms, bool], Any]):
        self.atoms: Atoms = atoms.copy()
        self._hessian_of = hessian_of
        self._same_sites: Vibrating | None = None
        #: Square roots of its Hessian, for sparse ones.
        self._roots: list[CrystalRoot] | None = None
        #: What was normalised last.
        self._normalised: tuple[Vibrating, Normalised] | None = None
        #: Repeats, atoms and Hessian of the widest supercell so far.
        self._supercell: tuple[NDArray[np.int64], Atoms, Any] | None = None
        self._bulk: dict[str, float] | None = None

    def normalise(self, system: Vibrating, atoms: Atoms) -> Normalised:
        """A structure's vibrations normalised by the crystal's.

        Parameters
        ----------
        system : HarmonicSystem or MeshSystem
            Of the structure; engine "dense" or "contour".
        atoms : Atoms

        Returns
        -------
        NormalisedSystem or NormalisedContour

        Raises
        ------
        InvalidInputError
            If the crystal has other sites.
        UnstableStructureError
            If the number of unstable modes is not the one that the system was promised.
        """
        crystal = self._on_the_sites_of(atoms, system)
        if self._normalised is None or self._normalised[0] is not system:
            found: Normalised
            if system.engine == "dense":
                found = NormalisedSystem(system, crystal)
            else:
                self._roots = self._roots or crystal_roots(crystal, self.atoms)
                found = NormalisedContour(system, self._roots)
            self._normalised = system, found
        return self._normalised[1]

    def site_entropies(self, system: Vibrating, atoms: Atoms) -> tuple[Array, Array]:
        """Mass-free reduced site entropies of the crystal with a structure's masses.

        Parameters
        ----------
        system : HarmonicSystem or MeshSystem
            Of the structure: what is asked for is at Γ, or on its mesh.
        atoms : Atoms
            On the same sites.

        Returns
        -------
        entropies : ndarray, shape (N,), units of k_B
        modes : ndarray, shape (N,)
            Number of modes per site.
        """
        crystal = self._on_the_sites_of(atoms, system)
        return crystal.site_entropies, crystal.site_modes

    def site_error(self, system: Vibrating, atoms: Atoms) -> float:
        """Bound on the error of a reduced site entropy, the crystal's own value included, k_B.

        Parameters
        ----------
        system : HarmonicSystem or MeshSystem
        atoms : Atoms
        """
        return self._on_the_sites_of(atoms, system).error + self.normalise(system, atoms).error

    def _on_the_sites_of(self, atoms: Atoms, system: Vibrating) -> Vibrating:
        if len(rotation_axes(atoms)):
            raise InvalidStructureError(
                "atoms: the normalised decomposition is for cells and slabs, not for what can turn"
            )
        if not np.array_equal(self.atoms.numbers, atoms.numbers):
            raise InvalidInputError(
                f"crystal: {self.atoms.get_chemical_formula()} has other sites than "
                f"{atoms.get_chemical_formula()}; the normalised decomposition needs the same "
                "atoms in the same order, so it does not exist for vacancies"
            )
        crystal, free = self.atoms.copy(), free_atoms(atoms)
        crystal.set_constraint([c for c in atoms.constraints if hasattr(c, "index")])
        crystal.set_masses(atoms.get_masses())
        known, mesh = self._same_sites, getattr(system, "mesh", None)
        same = (
            known is not None
            and (known.engine, known.tolerance) == (system.engine, system.tolerance)
            and getattr(known, "mesh", None) == mesh
            and np.array_equal(known.free, free)
            and np.array_equal(known.masses, crystal.get_masses()[free])
        )
        if not same:
            hessian = self._hessian_of(crystal, system.engine != "dense")
            options: dict[str, Any] = {
                "free": free,
                "engine": system.engine,
                "tolerance": system.tolerance,
            }
            self._roots = None
            known = self._same_sites = (
                HarmonicSystem(crystal, hessian, **options)
                if mesh is None
                else MeshSystem(crystal, hessian, mesh, **options)
            )
        assert known is not None
        return known

    def ball_site_entropies(
        self,
        atoms: Atoms,
        hessian: Any,
        calculator: object,
        *,
        radius: float,
        steps: int,
        sites: ArrayLike | None = None,
        bulk_width: float = WIDTH,
        options: HessianOptions = HessianOptions(),
    ) -> Array:
        """Extensive reduced site entropies from balls, masses included.

        Parameters
        ----------
        atoms : Atoms
            What the balls around the sites hold is enough, in the cell of the whole structure.
        hessian : sparse matrix, shape (3N, 3N), eV/Å²
        calculator : ASE calculator
            For the crystal's converged value.
        radius : float, Å
        steps : int
            See `ball_site_differences`.
        sites : array_like of int, shape (n_sites,), optional
            All by default.
        bulk_width : float, Å
        options : HessianOptions
            Of the converged value, see `bulk_site_entropies`.

        Returns
        -------
        ndarray, shape (n_sites,), units of k_B

        Raises
        ------
        InvalidInputError
            If a ball is wider than the structure's cell.
        InvalidStructureError
            If the crystal is not periodic along three directions.
        """
        from ase_vibent.harmonic.ball import ball_site_differences  # numba, slow to import

        check_crystal(self.atoms)
        # Wide enough for a ball, and for what its border atoms feel beyond it.
        repeats = np.ceil(3 * radius / widths(self.atoms) - 1e-9).astype(int)
        if self._supercell is None or np.any(repeats > self._supercell[0]):
            crystal = repeated(self.atoms, repeats)
            self._supercell = repeats, crystal, self._hessian_of(crystal, True)
        _, crystal, crystal_hessian = self._supercell
        needed = 2 * radius + _reach(crystal, crystal_hessian, len(self.atoms))
        for width in widths(atoms):
            if width < needed:
                raise InvalidInputError(
                    f"radius: a ball of {radius} Å would feel its own images in a cell that is "
                    f"{width:.2f} Å wide, it needs {needed:.2f} Å; take a smaller ball, or "
                    "engine='dense'"
                )
        if self._bulk is None:
            values = bulk_site_entropies(self.atoms, calculator, width=bulk_width, options=options)
            values = values - mass_entropy(self.atoms.get_masses())
            symbols = np.array(self.atoms.get_chemical_symbols())
            self._bulk = {s: float(values[symbols == s].mean()) for s in set(symbols.tolist())}
        chosen = check_sites(sites, len(atoms))
        values = ball_site_differences(
            atoms,
            hessian,
            chosen,
            crystal,
            crystal_hessian,
            radius=radius,
            steps=steps,
            bulk_value=self._bulk,
            crystal_sites=np.arange(len(self.atoms)),
        )
        return values + mass_entropy(atoms.get_masses())[chosen]


def _reach(crystal: Atoms, hessian: Any, n_sites: int) -> float:
    """Largest distance of two atoms that a Hessian connects, from the first few atoms, Å."""
    reach = 0.0
    for site in range(n_sites):
        columns = np.unique(hessian[[3 * site]].nonzero()[1] // 3)
        reach = max(reach, float(crystal.get_distances(site, columns, mic=True).max(initial=0)))
    return reach
