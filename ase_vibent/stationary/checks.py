"""Energies of structures at rest, with the forces that prove them to be."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

from ase_vibent.calculators.base import EntropyCalculator
from ase_vibent.errors import InvalidInputError, InvalidStructureError
from ase_vibent.harmonic.modes import check_masses
from ase_vibent.harmonic.rigid_motions import free_motions, orthonormal_motions
from ase_vibent.harmonic.spectrum import largest_eigenvalue, lowest_modes
from ase_vibent.hessian import DisplacedForces, hessian_products
from ase_vibent.potentials import calculator_failures, energy_and_forces, resolve_calculator
from ase_vibent.structures.validity import free_atoms

#: Largest force that a structure at rest may have, eV/Å.
FMAX = 1e-2
#: Largest stress times volume of a cell without stress, eV: formation entropies move with it, by
#: some tenths of k_B per eV, however large the cell is.
LARGEST_VIRIAL = 0.02


def potential_behind(calculator: EntropyCalculator, potential: object | None) -> Any:
    """Calculator of energies: the given one, else the one that an exact calculator wraps.

    Parameters
    ----------
    calculator : EntropyCalculator
    potential : ASE calculator or factory, or None

    Returns
    -------
    ASE calculator, or None
    """
    given = getattr(calculator, "wrapped", None) if potential is None else potential
    return None if given is None else resolve_calculator(given)


def stationary_energy(
    atoms: Atoms, potential: Any, name: str, fmax: float = FMAX
) -> tuple[float, Atoms]:
    """Energy of a structure at rest.

    Parameters
    ----------
    atoms : Atoms
    potential : ASE calculator, or None
        None takes results that the structure has from a calculation before.
    name : str
        Of the structure, for messages.
    fmax : float, eV/Å

    Returns
    -------
    energy : float, eV
        NaN if there is neither a potential nor a result.
    atoms : Atoms
        Copy that has its energy and forces.

    Raises
    ------
    InvalidStructureError
        If a force on a free atom exceeds `fmax`.
    CalculatorError
        If the potential fails.
    """
    copy = atoms.copy()
    copy.calc = atoms.calc if potential is None else potential
    if copy.calc is None:
        return float("nan"), copy
    if isinstance(copy.calc, EntropyCalculator):
        raise InvalidInputError(
            f"potential: {type(copy.calc).__name__} gives vibrational free energies; pass the "
            "calculator of the potential energy"
        )
    energy, forces = energy_and_forces(copy, "a structure at rest")
    free = free_atoms(atoms)
    sizes = np.linalg.norm(forces[free], axis=1)
    if not sizes.max() <= fmax:
        raise InvalidStructureError(
            f"{name}: not at rest, atom {free[sizes.argmax()]} feels a force of "
            f"{sizes.max():.3g} eV/Å (at most {fmax:g}); relax it (vibent make relax, or "
            "ase_vibent.stationary.relax), or raise fmax"
        )
    return energy, copy


def require_same_system(atoms: Atoms, other: Atoms, name: str) -> None:
    """Raise unless two structures are the same atoms elsewhere in the same cell.

    Parameters
    ----------
    atoms, other : Atoms
    name : str
        Of the other, for messages.

    Raises
    ------
    InvalidStructureError
        If species, cell, periodicity, masses or fixed atoms differ.
    """
    if not np.array_equal(atoms.numbers, other.numbers):
        raise InvalidStructureError(
            f"{name}: expected the atoms of the first structure, {atoms.get_chemical_formula()}, "
            f"in the same order, got {other.get_chemical_formula()}"
        )
    for quantity, same in (
        ("cell", np.allclose(atoms.cell.array, other.cell.array, rtol=0, atol=1e-5)),
        ("pbc", np.array_equal(atoms.pbc, other.pbc)),
        ("masses", np.array_equal(atoms.get_masses(), other.get_masses())),
        ("fixed atoms", np.array_equal(free_atoms(atoms), free_atoms(other))),
    ):
        if not same:
            raise InvalidStructureError(f"{name}: its {quantity} differ from the first structure's")


def is_free_of_stress(atoms: Atoms) -> bool:
    """Whether a structure with a calculator is under no stress; without one, nobody knows.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    bool
    """
    if atoms.calc is None:
        return False
    with calculator_failures(atoms.calc, "stress"):
        try:
            return bool(np.abs(atoms.get_stress()).max() * atoms.get_volume() <= LARGEST_VIRIAL)
        except (PropertyNotImplementedError, NotImplementedError):
            return False


def require_unstable_modes(atoms: Atoms, potential: Any, n_unstable: int) -> None:
    """Raise unless a structure has so many unstable modes; needs no Hessian.

    The softest modes by Lanczos iteration on differences of forces, in the order of a hundred.

    Parameters
    ----------
    atoms : Atoms
    potential : ASE calculator
    n_unstable : int

    Raises
    ------
    UnstableStructureError
        It carries the negative frequencies and the softest positive one.
    """
    free = free_atoms(atoms)
    roots = np.repeat(np.sqrt(check_masses(atoms)[free]), 3)
    motions = free_motions(atoms, free, mass_weighted=True)
    multiply = hessian_products(DisplacedForces(atoms, potential), free, roots)
    basis = orthonormal_motions(motions)
    lowest_modes(multiply, basis, largest_eigenvalue(multiply, len(roots)), unstable=n_unstable)
