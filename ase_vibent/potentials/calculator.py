"""By name or from a factory, its folder, its results, and its failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator

from ase_vibent.arrays import Array
from ase_vibent.checks import parse_call
from ase_vibent.errors import (
    CalculatorError,
    InvalidInputError,
    VibentError,
)
from ase_vibent.potentials.pace import pace_of
from ase_vibent.potentials.torch_sim import TorchSimCalculator, is_torch_sim_model


def stillinger_weber_silicon() -> Any:
    """Stillinger-Weber silicon (Phys. Rev. B 31, 5262) of matscipy, with analytic Hessian."""
    from matscipy.calculators.manybody import Manybody
    from matscipy.calculators.manybody.explicit_forms import StillingerWeber
    from matscipy.calculators.manybody.explicit_forms.stillinger_weber import (
        Stillinger_Weber_PRB_31_5262_Si,
    )

    form = StillingerWeber(Stillinger_Weber_PRB_31_5262_Si)
    slope = form["d2G"]

    def slope_or_nothing(r_ij: Any, r_ik: Any, *types: Any) -> Any:
        # matscipy's loop over quadruplets asks for one triplet at a time and multiplies it by
        # ∂²F/∂ξ², which is 0 here; all else has as many triplets as there are, never one.
        return np.zeros_like(r_ij) if len(r_ij) == 1 else slope(r_ij, r_ik, *types)

    return Manybody(**{**form, "d2G": slope_or_nothing})


def tersoff_silicon_carbide() -> Any:
    """Tersoff Si-C (Phys. Rev. B 39, 5566) of matscipy, with analytic Hessian."""
    from matscipy.calculators.manybody import Manybody
    from matscipy.calculators.manybody.explicit_forms import TersoffBrenner
    from matscipy.calculators.manybody.explicit_forms.tersoff_brenner import (
        Tersoff_PRB_39_5566_Si_C,
    )

    return Manybody(**TersoffBrenner(Tersoff_PRB_39_5566_Si_C))


def effective_medium() -> Any:
    """Effective medium theory of ASE, for Al, Cu, Ag, Au, Ni, Pd and Pt."""
    from ase.calculators.emt import EMT

    return EMT()


#: Potentials that the command line knows by name.
BUILT_IN: dict[str, Callable[[], Any]] = {
    "emt": effective_medium,
    "sw-si": stillinger_weber_silicon,
    "tersoff-sic": tersoff_silicon_carbide,
}


def set_directory(calculator: Any, folder: Path) -> None:
    """Let a calculator write its files into a folder; one that writes none does not mind.

    Parameters
    ----------
    calculator : ASE calculator
        Those inside ASE's mixing calculators get a folder each, below the given one.
    folder : Path
    """
    parts = getattr(getattr(calculator, "mixer", None), "calcs", ())
    for number, part in enumerate(parts):
        set_directory(part, folder / str(number))
    if hasattr(calculator, "directory"):
        with suppress(AttributeError):  # one that does not let itself be moved
            calculator.directory = folder


@dataclass(frozen=True)
class CalculatorSpec:
    """A calculator as text; calling it makes a new one. Pickles, unlike most calculators.

    Parameters
    ----------
    text : str
        A built-in name (`sw-si`), or an import path, with keyword arguments if need be:
        `ase.calculators.lj:LennardJones(sigma=2.5, epsilon=0.4)`.
    """

    text: str

    def __call__(self) -> Any:
        """Make the calculator.

        Raises
        ------
        InvalidInputError
            If the text is malformed, the import fails, or the arguments do not fit.
        """
        if self.text in BUILT_IN:
            return BUILT_IN[self.text]()
        factory = self._factory()
        try:
            with chdir("."):
                made = factory()
        except (Exception, SystemExit) as error:
            raise InvalidInputError(
                f"calculator: {self.text!r} could not be made: {type(error).__name__}: {error}"
            ) from error
        return TorchSimCalculator(made) if is_torch_sim_model(made) else made

    def _factory(self) -> Callable[[], Any]:
        path, _, call = self.text.partition(":")
        try:
            name, keywords = parse_call(call)
        except ValueError as error:
            raise InvalidInputError(
                f"calculator: {self.text!r} is neither one of {', '.join(BUILT_IN)} nor of the "
                f"form module:Name or module:Name(key=value) ({error})"
            ) from error
        try:
            with chdir("."):
                return partial(getattr(import_module(path), name), **keywords)
        except (Exception, SystemExit) as error:  # importing a user's module may fail in any way
            raise InvalidInputError(
                f"calculator: cannot import {name} from {path!r}: {type(error).__name__}: {error}"
            ) from error


def resolve_calculator(calculator: Any) -> Any:
    """Calculator from a calculator or from a factory that makes one.

    Parameters
    ----------
    calculator : ASE calculator, model of torch-sim, or callable () -> one of these

    Returns
    -------
    ASE calculator

    Raises
    ------
    InvalidInputError
        If it is neither.
    """
    if is_torch_sim_model(calculator):
        return TorchSimCalculator(calculator)
    if not isinstance(calculator, type) and hasattr(calculator, "get_property"):
        return calculator
    if callable(calculator):
        with chdir("."):
            made = calculator()
        return resolve_calculator(made)
    raise InvalidInputError(
        "calculator: expected an ASE calculator or a function that returns one, "
        f"got {type(calculator).__name__}"
    )


@contextmanager
def calculator_failures(
    calculator: object, quantity: str, purpose: str = "the harmonic approximation"
) -> Iterator[None]:
    """Whatever a calculator raises leaves as a CalculatorError; our own errors stay as they are.

    Wherever it goes, the working folder is as before afterwards.

    Parameters
    ----------
    calculator : ASE calculator
    quantity : str
        What it is asked for.
    purpose : str
        What needs that.

    Raises
    ------
    CalculatorError
    """
    name = type(calculator).__name__
    try:
        with chdir("."):
            yield
    except VibentError:
        raise
    except PropertyNotImplementedError as error:
        raise CalculatorError(
            f"calculator: {name} offers no {quantity}, which {purpose} needs"
        ) from error
    except NotImplementedError as error:  # as EMT of elements that it does not know
        why = f" ({error})" if str(error) else ""
        raise CalculatorError(
            f"calculator: {name} offers no {quantity}, which {purpose} needs{why}"
        ) from error
    except (Exception, SystemExit) as error:  # an exit is the structure's end, not the run's
        raise CalculatorError(
            f"calculator: {name} failed to give {quantity}: {type(error).__name__}: {error}"
        ) from error


def energy_and_forces(atoms: Atoms, purpose: str) -> tuple[float, Array]:
    """Energy and forces of a structure by its own calculator.

    Parameters
    ----------
    atoms : Atoms
    purpose : str
        What needs them.

    Returns
    -------
    energy : float, eV
    forces : ndarray, shape (N, 3), eV/Å
        On fixed atoms too.

    Raises
    ------
    CalculatorError
        If the calculator fails; it names the one that is missing.
    """
    # Of copies, whatever the calculator does to what it is given.
    with pace_of(atoms.calc).timed(len(atoms)):
        with calculator_failures(atoms.calc, "energy", purpose):
            energy = _with_calculator(atoms).get_potential_energy()
        with calculator_failures(atoms.calc, "forces", purpose):
            forces = _with_calculator(atoms).get_forces(apply_constraint=False)
    for name, value in (("energy", energy), ("forces", forces)):
        require_numbers(atoms.calc, name, value, purpose)
    return float(energy), forces


def require_numbers(
    calculator: object, quantity: str, value: Any, purpose: str = "the harmonic approximation"
) -> None:
    """Raise unless a calculator's result is made of real, finite numbers.

    Parameters
    ----------
    calculator : ASE calculator
    quantity : str
        What it was asked for.
    value : array or sparse matrix
    purpose : str
        What needs that.

    Raises
    ------
    CalculatorError
    """
    name, needs = type(calculator).__name__, f"which {purpose} needs"
    numbers = value.data if hasattr(value, "tocsr") else value
    with calculator_failures(calculator, quantity, purpose):
        missing = value is None or not np.all(np.isfinite(numbers))
    if missing:
        raise CalculatorError(f"calculator: {name} returned NaN or no {quantity}, {needs}")
    if np.iscomplexobj(numbers):
        raise CalculatorError(
            f"calculator: {name} returned complex numbers for {quantity}, {needs} as real ones"
        )


def _with_calculator(atoms: Atoms) -> Atoms:
    copy: Atoms = atoms.copy()
    copy.calc = atoms.calc
    return copy


def with_results(atoms: Atoms, calculator: Any = None) -> Atoms:
    """Copy that keeps energy and forces, and not the calculator that gives them.

    Parameters
    ----------
    atoms : Atoms
    calculator : ASE calculator or factory, optional
        By default that of the atoms.

    Returns
    -------
    Atoms
        With a `SinglePointCalculator`.

    Raises
    ------
    CalculatorError
        If the calculator fails.
    """
    copy: Atoms = atoms.copy()
    copy.calc = atoms.calc if calculator is None else resolve_calculator(calculator)
    energy, forces = energy_and_forces(copy, "an evaluation")
    copy.calc = SinglePointCalculator(copy, energy=energy, forces=forces)
    return copy
