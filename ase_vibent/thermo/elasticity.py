"""What periodic images of a defect do to its energy, by linear elasticity.

A defect acts on the crystal around it like a force dipole P. In a cell of zero mean strain its
images hold back the relaxation; the elastic energy of the periodic array less that of the
defect alone,

    -1/(2V) [Σ_{k≠0} f(k̂) - V/(2π)³ ∫ d³k f(k̂)],   f(k̂) = (P k̂)·(k̂ C k̂)⁻¹·(P k̂),

is known from the cell's own stress and the crystal's elastic constants (C. Varvenne, F. Bruneval,
M.-C. Marinica, E. Clouet, Phys. Rev. B 88, 134102 (2013)).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.optimize import BFGS
from ase.stress import voigt_6_to_full_3x3_stress
from scipy.special import factorial, poch

from ase_vibent.arrays import Array
from ase_vibent.crystal.bulk import primitive_cell
from ase_vibent.crystal.phonons import prepared_crystal
from ase_vibent.errors import CalculatorError
from ase_vibent.potentials import calculator_failures
from ase_vibent.structures.cells import cell_strain

#: Strain of the finite differences of elastic constants.
STRAIN = 2e-3
#: Largest force on an atom of a strained crystal, eV/Å.
FMAX = 1e-4
#: Width in k of what makes sums converge, in 2π over the least distance of lattice planes: images
#: feel nothing of it.
SMOOTHING = 1.5
#: It is exp(-x) times so many terms of the series of exp(x), x = k²/(2 width²): flat at k = 0,
#: where f depends on the direction.
TERMS = 6


def known_constants(crystal: Atoms, potential: Any) -> Array | None:
    """Elastic constants of a crystal's primitive cell, where there are any.

    Parameters
    ----------
    crystal : Atoms
    potential : ASE calculator, or None

    Returns
    -------
    ndarray, shape (3, 3, 3, 3), eV/Å³, or None
        If nothing gives stresses, or the crystal is not periodic along three directions.
    """
    if potential is None or not np.all(crystal.pbc):
        return None
    try:
        return elastic_constants(primitive_cell(prepared_crystal(crystal))[0], potential)
    except (CalculatorError, PropertyNotImplementedError):
        return None


def image_energy(
    dipole: Array, constants: Array | None, crystal: Atoms, *, relaxed_cell: bool
) -> float:
    """What a defect's periodic images hold back of its relaxation energy.

    Parameters
    ----------
    dipole : ndarray, shape (3, 3), eV
        From `elastic_dipole`.
    constants : ndarray, shape (3, 3, 3, 3), eV/Å³, or None
        From `known_constants`; they are those of any cell of the crystal.
    crystal : Atoms
        In the cell of the defect.
    relaxed_cell : bool
        Whether the defect's cell is relaxed to zero stress, too.

    Returns
    -------
    float, eV
        To be added to the formation energy; NaN without constants.
    """
    if constants is None:
        return float("nan")
    correction = image_correction(dipole, constants, crystal.cell.array)
    if relaxed_cell:
        correction += relaxed_cell_correction(dipole, constants, crystal.get_volume())
    return correction


def elastic_constants(crystal: Atoms, potential: Any) -> Array:
    """Elastic constants of a crystal whose atoms relax under strain.

    Parameters
    ----------
    crystal : Atoms
        Periodic along three directions.
    potential : ASE calculator
        Gives stresses.

    Returns
    -------
    ndarray, shape (3, 3, 3, 3), eV/Å³

    Raises
    ------
    CalculatorError
        If the potential fails.
    """
    from matscipy.elasticity import Voigt_6x6_to_full_3x3x3x3, fit_elastic_constants

    atoms = crystal.copy()
    atoms.set_constraint()
    atoms.calc = potential
    with calculator_failures(potential, "stress", "elastic constants"):
        constants, _ = fit_elastic_constants(
            atoms,
            symmetry="triclinic",
            N_steps=3,
            delta=STRAIN,
            optimizer=BFGS,
            fmax=FMAX,
            logfile=None,
            verbose=False,
        )
    return np.asarray(Voigt_6x6_to_full_3x3x3x3(constants))


def elastic_dipole(defect: Atoms, crystal: Atoms, potential: Any, constants: Array | None) -> Array:
    """Force dipole of a defect, from the stress of its cell and how that has been strained.

    Parameters
    ----------
    defect, crystal : Atoms
        At rest, the defect in the crystal's cell or one near it.
    potential : ASE calculator, or None
    constants : ndarray, shape (3, 3, 3, 3), eV/Å³, or None
        From `known_constants`.

    Returns
    -------
    ndarray, shape (3, 3), eV
        NaN without constants.
    """
    if constants is None:
        return np.full((3, 3), np.nan)
    whole, part = (atoms.copy() for atoms in (crystal, defect))
    whole.calc = part.calc = potential
    stresses = [
        voigt_6_to_full_3x3_stress(atoms.get_stress(apply_constraint=False))
        for atoms in (part, whole)
    ]
    given_way = np.einsum("ijkl,kl", constants, cell_strain(defect, crystal))
    return np.asarray(crystal.get_volume() * (given_way - stresses[0] + stresses[1]))


def image_correction(
    dipole: Array, constants: Array, cell: Array, *, smoothing: float = SMOOTHING
) -> float:
    """What the energy of a defect in a cell of zero mean strain lacks to that of one alone.

    Parameters
    ----------
    dipole : ndarray, shape (3, 3), eV
    constants : ndarray, shape (3, 3, 3, 3), eV/Å³
    cell : ndarray, shape (3, 3), Å
    smoothing : float
        See `SMOOTHING`; the result does not depend on it.

    Returns
    -------
    float, eV
        To be added.
    """
    volume = abs(np.linalg.det(cell))
    reciprocal = 2 * np.pi * np.linalg.inv(cell).T
    # Images of the cell are nowhere nearer than the widest sphere between lattice planes.
    heights = 2 * np.pi / np.linalg.norm(reciprocal, axis=1)
    width = smoothing * 2 * np.pi / heights.min()
    reach = 8 * width
    counts = np.ceil(reach / (2 * np.pi) * np.linalg.norm(cell, axis=1)).astype(int)
    steps = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in counts], indexing="ij"), axis=-1)
    points = steps.reshape(-1, 3) @ reciprocal
    lengths = np.linalg.norm(points, axis=1)
    points, lengths = points[lengths > 0], lengths[lengths > 0]
    x = (lengths / width) ** 2 / 2
    window = np.exp(-x) * sum(x**m / factorial(m) for m in range(TERMS))
    total = window @ _relaxation(points / lengths[:, None], dipole, constants)
    # Of the window, a product of Gaussian integrals.
    integral = (
        (2 * np.pi) ** 1.5 * width**3 * sum(poch(1.5, m) / factorial(m) for m in range(TERMS))
    )
    alone = volume / (2 * np.pi) ** 3 * integral * _angular_mean(dipole, constants)
    return float((total - alone) / (2 * volume))


def relaxed_cell_correction(dipole: Array, constants: Array, volume: float) -> float:
    """What relaxing the cell of a defect has lowered its energy by, eV: ½ P S P / V.

    Parameters
    ----------
    dipole : ndarray, shape (3, 3), eV
    constants : ndarray, shape (3, 3, 3, 3), eV/Å³
    volume : float, Å³
    """
    return float(np.sum(dipole * relaxation_strain(dipole, constants, volume)) / 2)


def relaxation_strain(dipole: Array, constants: Array, volume: float) -> Array:
    """Strain by which a defect's cell relaxes to zero stress, S P / V.

    Parameters
    ----------
    dipole : ndarray, shape (3, 3), eV
    constants : ndarray, shape (3, 3, 3, 3), eV/Å³
    volume : float, Å³

    Returns
    -------
    ndarray, shape (3, 3)
    """
    matrix = minor_symmetric(constants).reshape(9, 9)
    strain = np.linalg.lstsq(matrix, dipole.ravel() / volume, rcond=1e-10)[0]
    return np.asarray(strain.reshape(3, 3))


def minor_symmetric(constants: Array) -> Array:
    """What constants, shape (3, 3, 3, 3), are to symmetric strains."""
    half = (constants + constants.swapaxes(0, 1)) / 2
    return np.asarray((half + half.swapaxes(2, 3)) / 2)


def _relaxation(directions: Array, dipole: Array, constants: Array) -> Array:
    """f(k̂) of unit vectors, shape (n,), eV Å³."""
    forces = directions @ dipole
    acoustic = np.einsum("nj,ijkl,nl->nik", directions, constants, directions)
    return np.einsum("ni,ni->n", forces, np.linalg.solve(acoustic, forces[:, :, None])[:, :, 0])


def _angular_mean(dipole: Array, constants: Array, order: int = 48) -> float:
    heights, weights = np.polynomial.legendre.leggauss(order)
    angles = 2 * np.pi * np.arange(2 * order) / (2 * order)
    radii = np.sqrt(1 - heights**2)
    directions = np.stack(
        [
            np.outer(radii, np.cos(angles)),
            np.outer(radii, np.sin(angles)),
            np.repeat(heights[:, None], 2 * order, axis=1),
        ],
        axis=-1,
    )
    values = _relaxation(directions.reshape(-1, 3), dipole, constants).reshape(order, -1)
    return float(weights @ values.mean(axis=1) / 2)
