"""What periodic images of a defect do to its entropy: the temperature derivative of their energy.

The free energies of a defect and of the crystal have a dipole and elastic constants of their own,
P(T) and C(T), with ∂P/∂T = ∂S_f/∂ε and ∂C/∂T = -(1/V) ∂²S/∂η² of the crystal, η the Lagrangian
strain; atoms relax under strain in both. At constant volume the crystal comes under a stress σ(T),
too, and what resists a displacement gradient is C_ijkl + δ_ik σ_jl. Images then hold back the
entropy -∂/∂T of `elasticity.image_energy`.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import kB
from scipy.linalg import sqrtm

from ase_vibent.arrays import Array
from ase_vibent.calculators.base import EntropyCalculator
from ase_vibent.crystal.bulk import primitive_cell
from ase_vibent.crystal.phonons import prepared_crystal
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.thermodynamics import Vibrations
from ase_vibent.stationary.relaxation import relax
from ase_vibent.structures.cells import VOIGT_STRAINS, cell_strain, strain_derivatives, strained
from ase_vibent.structures.symmetry import point_group
from ase_vibent.thermo.elasticity import (
    FMAX,
    STRAIN,
    image_energy,
    minor_symmetric,
    relaxation_strain,
)

#: Strain of second differences, which want a larger one.
CURVATURE_STRAIN = 1e-2
#: How much the size of a dipole changes with temperature, stiffness included, eV/K: two of three
#: vacancies and dumbbells of five elements stay below (benchmarks/image_entropy.py).
DIPOLE_CHANGE = 80 * kB


class TemperatureChanges(NamedTuple):
    """What a temperature does to a defect's dipole and to its crystal; of any cell.

    Attributes
    ----------
    dipole : ndarray, shape (n, 3, 3), eV/K
    constants : ndarray, shape (n, 3, 3, 3, 3), eV/Å³/K
        Of what resists displacement gradients.
    """

    dipole: Array
    constants: Array


def temperature_changes(
    defect: Atoms,
    crystal: Atoms,
    calculator: EntropyCalculator,
    potential: Any,
    temperatures: Array,
) -> TemperatureChanges:
    """How a defect's dipole and the crystal's stiffness change with temperature.

    Besides gradients and strain derivatives of both structures it takes twelve relaxations of
    each, and the entropies of the crystal's primitive cell in 43 states of strain, fewer by
    symmetry: 12 of a cubic one.

    Parameters
    ----------
    defect, crystal : Atoms
        At rest, in cells of one size; periodic along three directions.
    calculator : EntropyCalculator
    potential : ASE calculator
    temperatures : ndarray, shape (n,), K

    Returns
    -------
    TemperatureChanges

    Raises
    ------
    RelaxationError, UnstableStructureError
        If a strained structure does not relax, or is unstable.
    InvalidInputError
        If the calculator has no derivatives of entropies.
    """
    slopes = [
        relaxed_strain_derivatives(atoms, calculator, potential, temperatures)
        for atoms in (defect, crystal)
    ]
    volume = crystal.get_volume()
    constants = _stiffness_changes(crystal, calculator, potential, temperatures)
    constants -= np.einsum("ik,tjl->tijkl", np.eye(3), slopes[1] / volume)
    # The defect's own cell may have given way: its dipole is that of the crystal's cell.
    symmetric = np.array([minor_symmetric(change) for change in constants])
    given_way = volume * np.einsum("tijkl,kl->tij", symmetric, cell_strain(defect, crystal))
    return TemperatureChanges(slopes[0] - slopes[1] + given_way, constants)


def image_entropies(
    dipole: Array,
    constants: Array,
    crystal: Atoms,
    changes: TemperatureChanges,
    *,
    relaxed_cell: bool,
) -> Array:
    """What a defect's periodic images hold back of its formation entropy.

    Parameters
    ----------
    dipole : ndarray, shape (3, 3), eV
        From `elasticity.elastic_dipole`.
    constants : ndarray, shape (3, 3, 3, 3), eV/Å³
    crystal : Atoms
        In the cell of the defect.
    changes : TemperatureChanges
        Of this cell, or of a smaller one.
    relaxed_cell : bool
        Whether the defect's cell is relaxed to zero stress, too.

    Returns
    -------
    ndarray, shape (n,), eV/K
        To be added to the formation entropy, to first order in the temperature.
    """

    def energies(kelvin: float) -> Array:
        moved = zip(
            dipole + kelvin * changes.dipole, constants + kelvin * changes.constants, strict=True
        )
        return np.array([image_energy(p, c, crystal, relaxed_cell=relaxed_cell) for p, c in moved])

    return (energies(-1.0) - energies(1.0)) / 2


def usual_image_entropy(energy: float, dipole: Array) -> float:
    """Size of an image entropy, estimated from the image energy: 2 |E| p'/|P|.

    Parameters
    ----------
    energy : float, eV
        From `elasticity.image_energy`.
    dipole : ndarray, shape (3, 3), eV

    Returns
    -------
    float, eV/K
        With p' = `DIPOLE_CHANGE`, whatever the defect.
    """
    size = float(np.linalg.norm(dipole))
    return 2 * abs(energy) * DIPOLE_CHANGE / size if size else 0.0


def relaxed_cell_vibrations(
    dipole: Array,
    constants: Array,
    crystal: Atoms,
    calculator: EntropyCalculator,
    potential: Any,
    temperatures: Array,
) -> Vibrations:
    """What a crystal's vibrations gain where it gives way to a defect at constant pressure.

    The strain S P / V falls with the size of the cell as its entropy grows: (∂S/∂ε) S P / V is one
    number in all cells, what formation entropies at constant pressure and at constant volume differ
    by. It takes two strained states of the primitive cell.

    Parameters
    ----------
    dipole : ndarray, shape (3, 3), eV
        From `elasticity.elastic_dipole`.
    constants : ndarray, shape (3, 3, 3, 3), eV/Å³
    crystal : Atoms
    calculator : EntropyCalculator
    potential : ASE calculator
    temperatures : ndarray, shape (n,), K

    Returns
    -------
    Vibrations

    Raises
    ------
    RelaxationError, UnstableStructureError
        If the strained crystal does not relax, or is unstable.
    """
    primitive = primitive_cell(prepared_crystal(crystal))[0]
    strain = relaxation_strain(dipole, constants, primitive.get_volume())
    size = float(np.linalg.norm(strain))
    direction = STRAIN / (size or 1.0) * strain
    ends = [
        calculator.bulk_vibrations(
            relax(strained(primitive, sign * direction), potential, fmax=FMAX), temperatures
        )
        for sign in (1, -1)
    ]
    return (ends[0] - ends[1]) * (size / (2 * STRAIN))


def relaxed_strain_derivatives(
    atoms: Atoms, calculator: EntropyCalculator, potential: Any, temperatures: Array
) -> Array:
    """Derivatives of an entropy with respect to strain, while the atoms relax.

    Parameters
    ----------
    atoms : Atoms
        At rest.
    calculator : EntropyCalculator
    potential : ASE calculator
    temperatures : ndarray, shape (n,), K

    Returns
    -------
    ndarray, shape (n, 3, 3), eV/K

    Raises
    ------
    InvalidInputError
        If the calculator has no derivatives of entropies.
    """

    def inner(strain: Array) -> Array:
        there = relax(strained(atoms, strain), potential, fmax=FMAX)
        return there.cell.scaled_positions(there.positions) @ atoms.cell.array

    names = ("entropy_strain", "entropy_gradient")
    # Classical entropies change with the structure alike at all temperatures.
    chosen = temperatures if calculator.parameters["quantum"] else temperatures[:1]
    try:
        derivatives = calculator.properties_at(chosen, names, atoms)
    except PropertyNotImplementedError as error:
        raise InvalidInputError(
            f"image_entropy: it takes derivatives of entropies, and there are none ({error})"
        ) from error
    motions = strain_derivatives(inner, STRAIN)
    found = [
        affine + voigt_6_to_full_3x3_stress(np.einsum("vic,ic->v", motions, gradient))
        for affine, gradient in derivatives
    ]
    return np.broadcast_to(found, (len(temperatures), 3, 3))


def _stiffness_changes(
    crystal: Atoms, calculator: EntropyCalculator, potential: Any, temperatures: Array
) -> Array:
    """∂C/∂T of a crystal, shape (n, 3, 3, 3, 3), eV/Å³/K."""
    from matscipy.elasticity import Voigt_6x6_to_full_3x3x3x3

    primitive = primitive_cell(prepared_crystal(crystal))[0]
    group = (
        point_group(primitive) if calculator.parameters.get("symmetry", True) else np.eye(3)[None]
    )
    known: dict[tuple[float, ...], Array] = {}

    def entropies(*directions: int, sign: float) -> Array:
        unit = sign * VOIGT_STRAINS[list(directions)].sum(axis=0)
        # Symmetry maps strains on each other: one of them stands for all.
        turned = np.round(group @ unit @ np.swapaxes(group, -1, -2), 6) + 0.0
        key = max(map(tuple, turned.reshape(-1, 9).tolist()))
        if key not in known:
            stretch = sqrtm(np.eye(3) + 2 * CURVATURE_STRAIN * unit)
            there = relax(strained(primitive, stretch - np.eye(3)), potential, fmax=FMAX)
            known[key] = calculator.bulk_vibrations(there, temperatures).entropies
        return known[key]

    def pair(*directions: int) -> Array:
        """Second difference along a sum of directions, without the value in the middle."""
        return entropies(*directions, sign=1) + entropies(*directions, sign=-1)

    middle = 2 * entropies(sign=0)
    alone = [pair(v) - middle for v in range(6)]
    curvature = np.zeros((len(temperatures), 6, 6))
    for v in range(6):
        curvature[:, v, v] = alone[v]
    for v, w in combinations(range(6), 2):
        mixed = (pair(v, w) - middle - alone[v] - alone[w]) / 2
        curvature[:, v, w] = curvature[:, w, v] = mixed
    changes = -curvature / (CURVATURE_STRAIN**2 * primitive.get_volume())
    return np.array([Voigt_6x6_to_full_3x3x3x3(change) for change in changes])
