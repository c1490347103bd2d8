"""What soft modes add to the entropy of a model that counts none below a floor.

Each mode of the Hessian with an eigenvalue λ below the floor c adds ½ ln(c/λ). At Γ these modes are
found by force calls. The average over a mesh of the cell's Brillouin zone is that of a force field
whose soft modes at Γ are replaced by those found: what images do to a soft mode is a small change,
and that is all that is left to the force field.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from scipy.linalg import eigh

from ase_vibent.arrays import Array
from ase_vibent.harmonic.entropy import reduced_entropy
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
#: Error of what images do: in differences of the two ways, and as a share of it for the force field
#: itself. Those of defects of silicon and copper, see benchmarks/soft_defects.py.
OF_WAYS, OF_FORCE_FIELD = 2.0, 0.01


@dataclass(frozen=True)
class SoftPart:
    """Entropy that modes below a floor have beyond that of the floor.

    Attributes
    ----------
    sites : ndarray, shape (N,), k_B
        By the modes' weights on the atoms; averaged over a mesh of the cell.
    at_gamma : float, k_B
        The sum over the cell's own modes.
    error : float, k_B
        Estimated of the sum: of the modes, and of what images do to them.
    modes : SoftModes
        At Γ.
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
        How many unstable modes there must be. They are left out: each takes the floor's entropy
        away.

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
    free = free_atoms(atoms)
    columns = modes.patterns[:, free].reshape(len(modes.eigenvalues), 3 * len(free)).T
    own = site_weights(columns) @ excess_entropy(modes.eigenvalues, floor)
    own_errors = modes.log_errors[modes.eigenvalues > 0] / 2
    if choose_mesh(atoms) is None:
        sites, images = own, 0.0
    else:
        plain = approximate.toarray()
        inside = (columns * modes.eigenvalues) @ columns.T
        inside -= columns @ (columns.T @ (plain @ columns)) @ columns.T
        change = images_change(atoms, plain + inside, floor)
        ways = (change - images_change(atoms, plain, floor)).sum()
        images = float(np.hypot(OF_WAYS * ways, OF_FORCE_FIELD * change.sum()))
        sites = own + change
    return SoftPart(
        on_all_atoms(sites, free, len(atoms)),
        float(own.sum()),
        float(np.hypot(own_errors.sum(), images)),
        modes,
    )


def excess_entropy(eigenvalues: Array, floor: float) -> Array:
    """What modes below a floor add to its entropy, k_B: ½ ln(c/λ); unstable ones take it away.

    Parameters
    ----------
    eigenvalues : ndarray, shape (n,), eV/Å²
    floor : float, eV/Å²

    Returns
    -------
    ndarray, shape (n,)
    """
    at_floor = float(reduced_entropy(np.array(floor)))
    stable = eigenvalues > 0
    found = reduced_entropy(np.where(stable, eigenvalues, 1.0)) - at_floor
    return np.where(stable, found, -at_floor)


def images_change(atoms: Atoms, hessian: Array, floor: float) -> Array:
    """Soft part of sites on the cell's mesh beyond that at Γ, of an approximate Hessian.

    Parameters
    ----------
    atoms : Atoms
        Periodic.
    hessian : ndarray, shape (3n, 3n), eV/Å²
        Of the free atoms.
    floor : float, eV/Å²

    Returns
    -------
    ndarray, shape (n,), k_B
    """
    mesh, free = choose_mesh(atoms), free_atoms(atoms)
    assert mesh is not None
    system = MeshSystem(atoms, hessian, mesh, free=free, unstable="any")
    complement = RigidComplement(free_motions(atoms, free, mass_weighted=False))
    values, vectors = _below(complement.restrict(system.hessian), floor)
    at_gamma = _sites(values, complement.expand(vectors), floor)
    on_mesh = [
        _sites(*_below(system.hessian_at(k), floor), floor) for k in range(len(system.points))
    ]
    return system.average(on_mesh) - at_gamma


def _below(matrix: Any, floor: float) -> tuple[Array, Any]:
    """Eigenpairs below the floor."""
    return eigh(matrix, subset_by_value=(-np.inf, floor), driver="evr")


def _sites(values: Array, vectors: Any, floor: float) -> Array:
    return site_weights(vectors) @ excess_entropy(np.maximum(values, LEAST * floor), floor)
