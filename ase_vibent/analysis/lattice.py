"""Lattice models of the papers: springs with anharmonic terms between fixed pairs of sites.

The displacement field of the papers is one number per site. Here it is one Cartesian component of
an atom; the two others have springs alone. Sites are atoms for everything else in this package:
the entropy of a site is that of the papers plus a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, diags_array, kron

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.harmonic.periodicity import PBC_IS_MEANT

#: The component of a displacement that has the anharmonic terms.
ANHARMONIC = 2


class LatticeModel(Calculator):
    """Springs between fixed pairs of sites, energies of differences of displacements.

    A bond has φ(D) = C D² + δ |D|³ + κ D⁴ in the difference D of the z components of its
    displacements, and C D² in those of x and y. Hessian and third derivatives are exact:
    `get_hessian` and `get_force_curvature` are found by `HessianEntropyCalculator`.

    Parameters
    ----------
    sites : Atoms
        The perfect lattice, periodic along three directions.
    bonds : array_like of int, shape (n_bonds, 2)
        Pairs of sites, each once; the third derivative of |D|³ at D = 0 counts as 0.
    quadratic : array_like, shape (n_bonds,), eV/Å²
        C.
    cubic, quartic : array_like, shape (n_bonds,), or float, eV/Å³ and eV/Å⁴
        δ, κ.

    Raises
    ------
    InvalidInputError
        If the bonds name sites that there are not, or constants do not fit.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - the name and the type are ASE's

    def __init__(
        self,
        sites: Atoms,
        bonds: ArrayLike,
        quadratic: ArrayLike,
        cubic: ArrayLike = 0.0,
        quartic: ArrayLike = 0.0,
    ):
        super().__init__()
        pairs = np.asarray(bonds)
        if (
            pairs.ndim != 2
            or pairs.shape[1] != 2
            or len(pairs) == 0
            or not np.issubdtype(pairs.dtype, np.integer)
            or not 0 <= pairs.min() <= pairs.max() < len(sites)
            or np.any(pairs[:, 0] == pairs[:, 1])
        ):
            raise InvalidInputError(
                f"bonds: expected pairs of different ones of the {len(sites)} sites, got shape "
                f"{pairs.shape}"
            )
        self._sites = sites.copy()
        signs, rows = np.tile([-1.0, 1.0], len(pairs)), np.repeat(np.arange(len(pairs)), 2)
        self._difference = csr_array((signs, (rows, pairs.ravel())), shape=(len(pairs), len(sites)))
        shape = (len(pairs),)
        try:
            self._constants = [
                np.broadcast_to(np.asarray(value, dtype=float), shape)
                for value in (quadratic, cubic, quartic)
            ]
        except ValueError as error:
            raise InvalidInputError(
                f"quadratic, cubic, quartic: expected one number for each of {len(pairs)} bonds"
            ) from error
        if not np.all(np.isfinite(self._constants)):
            raise InvalidInputError("quadratic, cubic, quartic: expected finite numbers")

    @property
    def sites(self) -> Atoms:
        """The perfect lattice, a copy with this calculator."""
        return self.displace(np.zeros(len(self._sites)))

    def displace(self, displacement: ArrayLike) -> Atoms:
        """The lattice with its sites displaced along z.

        Parameters
        ----------
        displacement : array_like, shape (N,), Å

        Returns
        -------
        Atoms
            With this calculator.
        """
        atoms: Atoms = self._sites.copy()
        atoms.positions[:, ANHARMONIC] += np.asarray(displacement, dtype=float)
        atoms.calc = self
        return atoms

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill `results`; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        differences = self._differences(self.atoms)
        harmonic, cubic, quartic = self._constants
        slopes = 2 * harmonic[:, None] * differences
        bonds = harmonic * np.sum(differences**2, axis=1)
        z = differences[:, ANHARMONIC]
        bonds += (cubic + quartic * np.abs(z)) * np.abs(z) ** 3
        slopes[:, ANHARMONIC] += (3 * cubic + 4 * quartic * np.abs(z)) * z * np.abs(z)
        self.results = {"energy": float(bonds.sum()), "forces": -self._difference.T @ slopes}

    def get_hessian(self, atoms: Atoms) -> Any:
        """Second derivatives of the energy.

        Parameters
        ----------
        atoms : Atoms

        Returns
        -------
        csr_array, shape (3N, 3N), eV/Å²
        """
        z = self._differences(atoms)[:, ANHARMONIC]
        harmonic, cubic, quartic = self._constants
        anharmonic = 6 * cubic * np.abs(z) + 12 * quartic * z**2
        along = np.eye(3)[ANHARMONIC]
        parts = [(2 * harmonic, 1 - along), (2 * harmonic + anharmonic, along)]
        return sum(
            kron(self._difference.T @ diags_array(springs) @ self._difference, diags_array(of))
            for springs, of in parts
        ).tocsr()

    def get_force_curvature(self, atoms: Atoms, pattern: Array) -> Array:
        """Exact second derivative d²F(u + t x)/dt² of the forces.

        Parameters
        ----------
        atoms : Atoms
        pattern : ndarray, shape (N, 3)
            x.

        Returns
        -------
        ndarray, shape (N, 3), eV/Å per square of the unit of t
        """
        z = self._differences(atoms)[:, ANHARMONIC]
        _, cubic, quartic = self._constants
        third = 6 * cubic * np.sign(z) + 24 * quartic * z
        curvature = np.zeros_like(pattern)
        stretch = self._difference @ pattern[:, ANHARMONIC]
        curvature[:, ANHARMONIC] = -self._difference.T @ (third * stretch**2)
        return curvature

    def _differences(self, atoms: Atoms) -> Array:
        """D of every bond, shape (n_bonds, 3), Å; sites may be in any periodic image."""
        sites = self._sites
        if len(atoms) != len(sites) or not np.allclose(atoms.cell, sites.cell, rtol=0, atol=1e-9):
            raise InvalidStructureError(
                f"atoms: expected the {len(sites)} sites of the lattice in its cell, which these "
                "are not"
            )
        shares = sites.cell.scaled_positions(atoms.positions - sites.positions)
        displacement = sites.cell.cartesian_positions(shares - np.rint(shares))
        return self._difference @ displacement


def pair_lattice(
    n: int, dimension: int, *, delta: float = 0.0, impurities: float = 0.0, seed: int = 0
) -> LatticeModel:
    """Chain or square lattice of [Torabi2024] (3.5), 1 Å between neighbours, masses of 1 amu.

    E = Σ_i Σ_j C_ij |u_i - u_j|² + δ |u_i - u_j|³ + |u_i - u_j|⁴ over the neighbours j of i, so
    that every bond counts twice.

    Parameters
    ----------
    n : int
        Sites along each of its directions. The cell is as wide along the others.
    dimension : {1, 2, 3}
    delta : float, eV/Å³
    impurities : float
        Share of bonds with another C than 1 eV/Å², uniform in 0.5 to 1.5.
    seed : int
        Of the impurities.

    Returns
    -------
    LatticeModel

    Raises
    ------
    InvalidInputError
        If a number is out of range.
    """
    _check_size(n, dimension)
    if not 0 <= impurities <= 1:
        raise InvalidInputError(f"impurities: expected a share from 0 to 1, got {impurities!r}")
    bonds = _bonds(n, np.eye(dimension, dtype=int))
    rng = np.random.default_rng(seed)
    springs = np.ones(len(bonds))
    changed = rng.random(len(bonds)) < impurities
    springs[changed] = rng.uniform(0.5, 1.5, changed.sum())
    return LatticeModel(_lattice(n, dimension, ["H"]), bonds, 2 * springs, 2 * delta, 2.0)


def diatomic_chain(n: int, *, gap: float = 4.0, delta: float = 0.5) -> LatticeModel:
    """[Torabi2026]'s chain of n cells with two sites each; parameters as of `cscl_lattice`."""
    return _two_sublattices(n, 1, gap, delta)


def two_sublattice_square(n: int, *, gap: float = 4.0, delta: float = 0.5) -> LatticeModel:
    """[Torabi2026]'s square lattice of n × n centred cells; parameters as of `cscl_lattice`."""
    return _two_sublattices(n, 2, gap, delta)


def cscl_lattice(n: int, *, gap: float = 4.0, delta: float = 0.5) -> LatticeModel:
    """[Torabi2026]'s lattice of the CsCl type, n × n × n cells of 1 Å, masses of 1 amu.

    Bonds between the sublattices have D² + δ |D|³ + D⁴; springs between nearest sites of the first
    sublattice open a gap between the acoustic and the optical branches. Without them the lattice
    is a Bravais lattice.

    Parameters
    ----------
    n : int
        Cells along each of its directions. In fewer than three, the cell is as wide along the
        others.
    gap : float, eV/Å²
        From the highest acoustic eigenvalue of the Hessian to the lowest optical one, from 0 to
        the highest acoustic eigenvalue: 4 in one dimension, 8 in two, 16 in three.
    delta : float, eV/Å³

    Returns
    -------
    LatticeModel

    Raises
    ------
    InvalidInputError
        If a number is out of range.
    """
    return _two_sublattices(n, 3, gap, delta)


def _two_sublattices(n: int, dimension: int, gap: float, delta: float) -> LatticeModel:
    _check_size(n, dimension)
    highest = 2 * 2**dimension
    if not 0 <= gap <= highest:
        raise InvalidInputError(f"gap: expected 0 to {highest} eV/Å², got {gap!r}")
    between = _bonds(n, -np.array(list(product((0, 1), repeat=dimension))), second=1)
    within = _bonds(n, np.eye(dimension, dtype=int), n_basis=2)
    # At the edge of the zone the sublattices part: 2^d springs hold a site, and 4 C those within.
    springs, shares = np.repeat([1.0, gap / 8], [len(between), len(within)]), np.ones(len(between))
    anharmonic = np.append(shares, np.zeros(len(within)))
    sites = _lattice(n, dimension, ["Cs", "Cl"])
    return LatticeModel(
        sites, np.vstack([between, within]), springs, delta * anharmonic, anharmonic
    )


def _check_size(n: int, dimension: int) -> None:
    if dimension not in (1, 2, 3):
        raise InvalidInputError(f"dimension: expected 1, 2 or 3, got {dimension!r}")
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 3:
        raise InvalidInputError(f"n: expected at least 3 cells, got {n!r}")


def _lattice(n: int, dimension: int, basis: Sequence[str]) -> Atoms:
    """Cells in rows of n; several sites of a cell lie at its corner and its centre."""
    corners = np.zeros((n**dimension, 3))
    corners[:, :dimension] = np.indices(dimension * (n,)).reshape(dimension, -1).T
    shift = np.where(np.arange(3) < dimension, 0.5, 0.0)
    positions = corners[:, None] + np.arange(len(basis))[:, None] * shift
    return Atoms(
        list(basis) * len(corners),
        positions.reshape(-1, 3),
        masses=np.ones(len(basis) * len(corners)),
        cell=3 * [float(n)],
        pbc=True,
        info={PBC_IS_MEANT: True},  # springs know no turn
    )


def _bonds(n: int, steps: NDArray[np.int_], *, n_basis: int = 1, second: int = 0) -> Array:
    """Pairs of sites, the first of every cell with one some cells further, shape (n_bonds, 2)."""
    n_basis = max(n_basis, second + 1)
    dimension = steps.shape[1]
    cells = np.indices(dimension * (n,)).reshape(dimension, -1)
    first = np.arange(cells.shape[1])
    others = [np.ravel_multi_index((cells + s[:, None]) % n, dimension * (n,)) for s in steps]
    pairs = [np.column_stack([n_basis * first, n_basis * other + second]) for other in others]
    return np.vstack(pairs)
