"""What values labels can have: those of a file, or of a user's own frames, are checked here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from ase import Atoms

from ase_vibent.checks import is_positive
from ase_vibent.dataset import names
from ase_vibent.errors import LabelError

#: Says what is expected where a value is none that the label of a structure can have.
_Check: TypeAlias = Callable[[Any, Atoms], str | None]


def check_frame(atoms: Atoms, number: int | str) -> None:
    """Raise unless a structure and its labels are numbers of the right shape and range.

    Parameters
    ----------
    atoms : Atoms
        Labels that it does not have are not missed.
    number : int or str
        Position in the dataset, for the message.

    Raises
    ------
    LabelError
        Names the label, and what was expected.
    """
    values: dict[str, Any] = {**atoms.arrays, **atoms.info, "cell": atoms.cell.array}
    values |= getattr(atoms.calc, "results", {})
    for name in values.keys() & _CHECKS.keys():
        expected = _CHECKS[name](values[name], atoms)
        if expected is not None:
            shape = np.shape(values[name])
            got = (
                f"shape {shape}, or not finite" if shape else repr(np.asarray(values[name]).item())
            )
            raise LabelError(
                f"frame {number}: {name}: expected {expected}, got {got}; correct the label, or "
                "leave it out"
            )
    left_out = [values[name] for name in (names.N_MODES, names.N_UNSTABLE) if name in values]
    if sum(left_out) > 3 * len(atoms) + 1e-6:
        raise LabelError(
            f"frame {number}: {names.N_MODES} and {names.N_UNSTABLE} are {left_out}, more than "
            f"{len(atoms)} atoms have"
        )


def _are_numbers(value: Any) -> bool:
    array = np.asarray(value)
    return array.dtype.kind in "iuf" and bool(np.all(np.isfinite(array)))


def _numbers(*shape: str | int) -> _Check:
    """Finite numbers; "N" in the shape stands for the number of atoms, "*" for any."""

    def check(value: Any, atoms: Atoms) -> str | None:
        sizes = {"N": len(atoms), "3N": 3 * len(atoms)}
        wanted = [sizes.get(str(n), n) for n in shape]
        found = np.shape(value)
        fits = len(found) == len(wanted) and all(
            w in ("*", f) for w, f in zip(wanted, found, strict=True)
        )
        if fits and _are_numbers(value):
            return None
        return f"finite numbers of shape {tuple(wanted)}" if wanted else "a finite number"

    return check


def _nine(value: Any, atoms: Atoms) -> str | None:
    return None if np.size(value) == 9 and _are_numbers(value) else "finite numbers of shape (3, 3)"


def _densities(value: Any, atoms: Atoms) -> str | None:
    if np.ndim(value) == 2 and np.shape(value)[1] % 2 == 0 and _are_numbers(value):
        halves = np.reshape(value, (len(value), 2, -1))
        if len(value) == len(atoms) and np.all(halves[:, 0] > 0) and np.all(halves[:, 1] >= 0):
            return None
    return "numbers > 0 and, as many, numbers ≥ 0, for every atom"


def _modes(value: Any, atoms: Atoms) -> str | None:
    most = 3 * len(atoms)
    fits = np.shape(value) == () and _are_numbers(value) and 0 <= value <= most
    return None if fits else f"a number from 0 to {most}"


def _share(value: Any, atoms: Atoms) -> str | None:
    fits = np.shape(value) == () and _are_numbers(value) and 0 <= value <= 1
    return None if fits else "a number from 0 to 1"


def _positive(value: Any, atoms: Atoms) -> str | None:
    return None if is_positive(value) else "a number > 0"


def _displacement(value: Any, atoms: Atoms) -> str | None:
    fits = value == "auto" if isinstance(value, str) else is_positive(value)
    return None if fits else "a number > 0, or auto"


def _masses(value: Any, atoms: Atoms) -> str | None:
    return None if _are_numbers(value) and np.all(value > 0) else "numbers > 0"


def _mesh(value: Any, atoms: Atoms) -> str | None:
    array = np.asarray(value)
    fits = array.shape == (3,) and array.dtype.kind in "iu" and bool(np.all(array > 0))
    return None if fits else "three integers > 0"


def _errors(value: Any, atoms: Atoms) -> str | None:
    """Of which some may be unknown, NaN."""
    array = np.asarray(value)
    fits = array.shape == (3,) and array.dtype.kind in "iuf" and not np.any(np.isinf(array))
    return None if fits else "three numbers"


def _ascending(value: Any, atoms: Atoms) -> str | None:
    array = np.asarray(value)
    fits = (
        array.ndim == 1 and len(array) > 0 and _are_numbers(array) and np.all(np.diff(array) >= 0)
    )
    return None if fits else "ascending numbers"


def _displaced(value: Any, atoms: Atoms) -> str | None:
    array = np.ravel(value)
    fits = (
        array.dtype.kind in "iu"
        and len(np.unique(array)) == len(array) > 0
        and 0 <= array.min() <= array.max() < len(atoms)
    )
    return None if fits else f"different numbers of atoms, from 0 to {len(atoms) - 1}"


def _force_constants(value: Any, atoms: Atoms) -> str | None:
    n_displaced = np.size(atoms.info.get(names.DISPLACED, ()))
    return _numbers("N", 9 * n_displaced)(value, atoms)


def _yes_or_no(value: Any, atoms: Atoms) -> str | None:
    return None if isinstance(value, bool | np.bool_) else "T or F"


_CHECKS: dict[str, _Check] = {
    "positions": _numbers("N", 3),
    "cell": _numbers(3, 3),
    "masses": _masses,
    "energy": _numbers(),
    "free_energy": _numbers(),
    "forces": _numbers("N", 3),
    "stress": lambda value, atoms: None if _are_numbers(value) else "finite numbers",
    names.ENTROPY: _numbers(),
    names.N_MODES: _modes,
    names.N_UNSTABLE: _modes,
    names.ERRORS: _errors,
    names.GUESSED: _share,
    names.MESH: _mesh,
    names.SOFT_EIGENVALUES: _ascending,
    names.STRAIN: _nine,
    names.BULK_STRAIN: _nine,
    names.SITES: _numbers("N"),
    names.SITE_MODES: _numbers("N"),
    names.BULK: _numbers("N"),
    names.GRADIENT: _numbers("N", 3),
    names.SITE_GRADIENTS: _numbers("N", "3N"),
    names.MOMENTS: _numbers("N", "*"),
    names.DENSITIES: _densities,
    names.ENERGY: _numbers(),
    names.FORCES: _numbers("N", 3),
    names.ENERGY_STRAIN: _nine,
    names.DISPLACED: _displaced,
    names.FORCE_CONSTANTS: _force_constants,
    names.FLOOR: _positive,
    names.SIZE_CHECK: _yes_or_no,
    names.WEIGHT: _positive,
    names.DISPLACEMENT: _displacement,
    names.INTERACTION_RANGE: _positive,
    names.SYMMETRY: _yes_or_no,
}
