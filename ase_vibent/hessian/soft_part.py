"""What soft modes add to the entropy of a model that counts them as stiff as a floor.

Each mode of the Hessian with an eigenvalue λ adds ½ ln(⁴√(λ⁴ + c⁴)/λ), next to nothing above a few
floors c. At Γ those below c are found by force calls. All else is that of a force field in which
these modes are put in place of its own: stiffer ones, and the average over a mesh of the cell's
Brillouin zone. What images do to a soft mode is a small change, and a force field has it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from scipy.linalg import eigh

from ase_vibent.arrays import Array
from ase_vibent.harmonic.entropy import reduced_entropy
from ase_vibent.harmonic.floored import stiffened
from ase_vibent.harmonic.mesh import choose_mesh
from ase_vibent.harmonic.mesh_system import MeshSystem
from ase_vibent.harmonic.modes import on_all_atoms, site_weights
from ase_vibent.harmonic.rigid_motions import RigidComplement, free_motions
from ase_vibent.hessian.soft_modes import SoftModes, soft_modes
from ase_vibent.hessian.valence import ValenceForceField
from ase_vibent.structures.validity import free_atoms

#: Share of the floor as which softer modes of the force field, unstable ones among them, count: how
#: soft one is there says nothing.
LEAST = 1e-2
#: In floors, up to which modes are looked at: there one adds 3e-5.
MOST = 8.0
#: Error of what is left to the force field: in differences of two ways to put modes in, and as a
#: share of it for itself. Those of defects of silicon, see benchmarks/soft_defects.py.
OF_WAYS, OF_FORCE_FIELD = 2.0, 0.003


@dataclass(frozen=True)
class SoftPart:
    """Entropy that modes have beyond what they count as beside a floor.

    Attributes
    ----------
    sites : ndarray, shape (N,), k_B
        By the modes' weights on the atoms; averaged over a mesh of the cell.
    at_gamma : float, k_B
        The sum over the modes that force calls found.
    error : float, k_B
        Estimated of the sum: of these modes, and of all that is left to the force field. NaN where
        that has unstable modes on the mesh that are stable at Γ.
    modes : SoftModes
        Those below the floor at Γ.
    """

    sites: Array = field(repr=False)
    at_gamma: float
    error: float
    modes: SoftModes

    @property
    def total(self) -> float:
        """Sum of the sites, k_B."""
        return float(self.sites.sum())


def soft_part(
    atoms: Atoms,
    calculator: object,
    floor: float,
    force_field: ValenceForceField,
    *,
    unstable: int = 0,
) -> SoftPart:
    """Soft part of a structure's entropy, by force calls.

    Parameters
    ----------
    atoms : Atoms
        At rest.
    calculator : ASE calculator or factory
    floor : float, eV/Å²
    force_field : ValenceForceField
        Fitted to such structures.
    unstable : int
        How many unstable modes there must be. They are left out: each takes away what it counts as.

    Returns
    -------
    SoftPart

    Raises
    ------
    UnstableStructureError
        If the number of unstable modes is another one.
    """
    approximate = force_field.hessian(atoms)
    modes = soft_modes(
        atoms,
        calculator,
        below=floor,
        unstable=unstable,
        similar=approximate,
        max_force_calls=None,
    )
    free, plain = free_atoms(atoms), approximate.toarray()
    columns = modes.patterns[:, free].reshape(len(modes.eigenvalues), 3 * len(free)).T
    own = site_weights(columns) @ excess_entropy(modes.eigenvalues, floor)
    own_errors = modes.log_errors[modes.eigenvalues > 0] / 2
    inside = (columns * modes.eigenvalues) @ columns.T
    inside -= columns @ (columns.T @ (plain @ columns)) @ columns.T
    count = len(modes.eigenvalues)
    others, most_unstable = _others(atoms, plain + inside, count, floor)
    ways = (others - _others(atoms, plain, count, floor)[0]).sum()
    left = np.hypot(OF_WAYS * ways, OF_FORCE_FIELD * others.sum())
    if most_unstable > modes.n_unstable:  # stable at Γ only: the exact entropy is not defined
        left = np.nan
    return SoftPart(
        on_all_atoms(own + others, free, len(atoms)),
        float(own.sum()),
        float(np.hypot(own_errors.sum(), left)),
        modes,
    )


def excess_entropy(eigenvalues: Array, floor: float) -> Array:
    """What modes have beyond what they count as, k_B; unstable ones take that away.

    Parameters
    ----------
    eigenvalues : ndarray, shape (n,), eV/Å²
    floor : float, eV/Å²

    Returns
    -------
    ndarray, shape (n,)
    """
    stable = eigenvalues > 0
    counted = reduced_entropy(stiffened(eigenvalues, floor))
    return np.where(stable, reduced_entropy(np.where(stable, eigenvalues, 1.0)), 0.0) - counted


def _others(atoms: Atoms, hessian: Array, count: int, floor: float) -> tuple[Array, int]:
    """Soft part of sites on the cell's mesh beyond that of the softest modes at Γ.

    Parameters
    ----------
    atoms : Atoms
    hessian : ndarray, shape (3n, 3n), eV/Å²
        An approximate one of the free atoms.
    count : int
        Of the softest modes.
    floor : float, eV/Å²

    Returns
    -------
    sites : ndarray, shape (n,), k_B
    most_unstable : int
        Unstable modes at a point of the mesh, the largest number.
    """
    free, mesh = free_atoms(atoms), choose_mesh(atoms)
    complement = RigidComplement(free_motions(atoms, free, mass_weighted=False))
    values, vectors = _below(complement.restrict(hessian), floor)
    vectors = complement.expand(vectors)
    softest = _sites(values[:count], vectors[:, :count], floor)
    if mesh is None:
        return _sites(values, vectors, floor) - softest, int(np.sum(values < 0))
    system = MeshSystem(atoms, hessian, mesh, free=free, unstable="any")
    pairs = [_below(system.hessian_at(k), floor) for k in range(len(system.points))]
    on_mesh = system.average([_sites(*pair, floor) for pair in pairs])
    return on_mesh - softest, max(int(np.sum(values < 0)) for values, _ in pairs)


def _below(matrix: Any, floor: float) -> tuple[Array, Any]:
    """Eigenpairs that add something."""
    return eigh(matrix, subset_by_value=(-np.inf, MOST * floor), driver="evr")


def _sites(values: Array, vectors: Any, floor: float) -> Array:
    return site_weights(vectors) @ excess_entropy(np.maximum(values, LEAST * floor), floor)
