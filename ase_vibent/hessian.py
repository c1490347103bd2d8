"""Hessian of a structure: analytic where the calculator offers it, else finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.constraints import FixAtoms
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from ase_vibent.errors import CalculatorError, InvalidInputError, InvalidStructureError
from ase_vibent.harmonic.gradient import ForceResponse
from ase_vibent.harmonic.modes import check_hessian
from ase_vibent.structures import check_structure

Array = NDArray[np.float64]

#: Constraints that leave every atom free to vibrate.
_IGNORED_CONSTRAINTS = ("FixCom", "FixSymmetry")


def resolve_calculator(calculator: Any) -> Any:
    """Calculator from a calculator or from a factory that makes one.

    Parameters
    ----------
    calculator : ASE calculator, or callable () -> ASE calculator

    Returns
    -------
    ASE calculator

    Raises
    ------
    InvalidInputError
        If it is neither.
    """
    if not isinstance(calculator, type) and hasattr(calculator, "get_property"):
        return calculator
    if callable(calculator):
        return resolve_calculator(calculator())
    raise InvalidInputError(
        "calculator: expected an ASE calculator or a function that returns one, "
        f"got {type(calculator).__name__}"
    )


def free_atoms(atoms: Atoms) -> NDArray[np.intp]:
    """Indices of the atoms that may vibrate, all but those under FixAtoms.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    ndarray, shape (n,)

    Raises
    ------
    InvalidStructureError
        If all atoms are fixed, or another constraint restricts their motion.
    """
    free = np.ones(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            free[constraint.index] = False
        elif type(constraint).__name__ not in _IGNORED_CONSTRAINTS:
            raise InvalidStructureError(
                f"atoms: vibrations under {type(constraint).__name__} are not supported; "
                "remove the constraint or use FixAtoms"
            )
    if not free.any():
        raise InvalidStructureError("atoms: no atom is free to vibrate")
    return np.flatnonzero(free)


class DisplacedForces:
    """Forces and virials of displaced copies of one structure.

    Copies carry no constraint (FixAtoms would block the displacement without a word) and
    keep initial magnetic moments and charges.

    Parameters
    ----------
    atoms : Atoms
    calculator : ASE calculator
    virial : bool
        Whether responses carry the virial.
    """

    def __init__(self, atoms: Atoms, calculator: object, *, virial: bool = False):
        check_structure(atoms)
        self._atoms = atoms.copy()
        self._atoms.set_constraint()
        self._rest = self._atoms.positions.copy()
        self._calculator: Any = calculator
        self._virial = virial

    def property(self, name: str) -> Any:
        """Raw property of the structure as it is now displaced, checked to be finite."""
        return self._call(name, lambda: self._calculator.get_property(name, self._atoms))

    def hessian(self) -> Any:
        """Result of the calculator's `get_hessian` for the structure."""
        # matscipy's many-body calculator trips over a structure it has not seen yet.
        self.property("energy")
        return self._call("Hessian", lambda: self._calculator.get_hessian(self._atoms))

    def _call(self, name: str, function: Callable[[], Any]) -> Any:
        try:
            value = function()
        except (PropertyNotImplementedError, NotImplementedError) as error:
            raise CalculatorError(
                f"calculator: {type(self._calculator).__name__} offers no {name}, "
                "which the harmonic approximation needs"
            ) from error
        except Exception as error:
            raise CalculatorError(
                f"calculator: {type(self._calculator).__name__} failed to give {name}: "
                f"{type(error).__name__}: {error}"
            ) from error
        if value is None or not np.all(np.isfinite(_dense(value))):
            raise CalculatorError(
                f"calculator: {type(self._calculator).__name__} returned NaN or no {name}"
            )
        return value

    def __call__(self, displacement: Array) -> ForceResponse:
        """Response at a displacement, shape (N, 3), Å."""
        self._atoms.positions = self._rest + displacement
        forces = np.array(self.property("forces"), dtype=float)
        if not self._virial:
            return ForceResponse(forces, None)
        stress = np.asarray(self.property("stress"), dtype=float)
        full = stress if stress.shape == (3, 3) else voigt_6_to_full_3x3_stress(stress)
        return ForceResponse(forces, self._atoms.get_volume() * full)


def has_analytic_hessian(calculator: object) -> bool:
    """Whether a calculator offers its own Hessian: matscipy's, or a property `hessian`.

    Parameters
    ----------
    calculator : ASE calculator

    Returns
    -------
    bool
    """
    return _analytic_source(calculator) is not None


def compute_hessian(
    atoms: Atoms,
    calculator: object,
    *,
    method: str = "auto",
    displacement: float = 0.01,
) -> Array:
    """Second derivatives of the energy with respect to the positions of the free atoms.

    Parameters
    ----------
    atoms : Atoms
        Its own calculator is not used. Atoms under FixAtoms are left out.
    calculator : ASE calculator or factory
    method : {"auto", "analytic", "finite-differences"}
        "auto" takes the calculator's analytic Hessian where it has one.
    displacement : float, Å
        Of the central finite differences.

    Returns
    -------
    ndarray, shape (3n, 3n), eV/Å²
        Symmetrised; n counts the free atoms, rows are ordered x1 y1 z1 x2 …

    Raises
    ------
    CalculatorError
        If the calculator fails, lacks forces or (for "analytic") a Hessian.
    """
    if method not in ("auto", "analytic", "finite-differences"):
        raise InvalidInputError(
            f"method: expected 'auto', 'analytic' or 'finite-differences', got {method!r}"
        )
    check_displacement(displacement)
    calculator = resolve_calculator(calculator)
    free = free_atoms(atoms)
    responses = DisplacedForces(atoms, calculator)
    analytic = _analytic_source(calculator) if method != "finite-differences" else None
    if analytic is not None:
        return check_hessian(_free_block(analytic(responses), len(atoms), free))
    if method == "analytic":
        raise CalculatorError(
            f"calculator: {type(calculator).__name__} offers no analytic Hessian; "
            "use method='finite-differences'"
        )
    return _finite_difference_hessian(responses, len(atoms), free, displacement)


def check_displacement(displacement: float) -> None:
    """Raise InvalidInputError unless a displacement is a finite length in Å above 0."""
    if not (isinstance(displacement, int | float) and 0 < displacement < np.inf):
        raise InvalidInputError(f"displacement: expected a length in Å > 0, got {displacement!r}")


def _analytic_source(calculator: object) -> Callable[[DisplacedForces], object] | None:
    """The calculator's own Hessian (matscipy, and ASE's property `hessian`), or None."""
    if "hessian" in getattr(calculator, "implemented_properties", ()):
        return lambda structure: _dense(structure.property("hessian"))
    if hasattr(calculator, "get_hessian"):
        return lambda structure: _dense(structure.hessian())
    return None


def _dense(matrix: Any) -> Any:
    return matrix.toarray() if hasattr(matrix, "toarray") else matrix


def _free_block(matrix: object, n_atoms: int, free: NDArray[np.intp]) -> Array:
    """Block of the free atoms from shapes (3N, 3N), (3N, N, 3) or (N, 3, N, 3)."""
    array = np.asarray(matrix, dtype=float)
    if array.size != 9 * n_atoms**2:
        raise CalculatorError(
            f"calculator: expected a Hessian of {3 * n_atoms} × {3 * n_atoms} entries, "
            f"got shape {array.shape}"
        )
    blocks = array.reshape(n_atoms, 3, n_atoms, 3)[free][:, :, free]
    return blocks.reshape(3 * len(free), 3 * len(free))


def _finite_difference_hessian(
    responses: DisplacedForces, n_atoms: int, free: NDArray[np.intp], displacement: float
) -> Array:
    rows = np.empty((len(free), 3, len(free), 3))
    shift = np.zeros((n_atoms, 3))
    for row, atom in enumerate(free):
        for axis in range(3):
            shift[atom, axis] = displacement
            difference = responses(-shift).forces[free] - responses(shift).forces[free]
            rows[row, axis] = difference / (2 * displacement)
            shift[atom, axis] = 0
    return check_hessian(rows.reshape(3 * len(free), 3 * len(free)))
