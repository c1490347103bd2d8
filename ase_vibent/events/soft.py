"""What is known of attempt frequencies of events: softest modes, all others by a force field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms

from ase_vibent import dataset
from ase_vibent.arrays import Array
from ase_vibent.errors import TrainingError
from ase_vibent.events.event import MODE, Event, displacement_to
from ase_vibent.hessian import SoftModes, ValenceForceField, soft_modes
from ase_vibent.quantities import how_to_label

#: Å, of the most displaced atom: forward differences are off by what is anharmonic over it.
DISPLACEMENT = 0.003


@dataclass(frozen=True)
class SoftPart:
    """What the softest stable modes of minimum and saddle contribute to ln ν*, or of one of them.

    Attributes
    ----------
    logarithm : float
        ½ Σ ln λ of the minimum's less that of the saddle's.
    error : float
        Of it, estimated.
    force_calls : int
        What it took.
    """

    logarithm: float
    error: float
    force_calls: int


def labelled_soft_part(event: Event, count: int) -> float:
    """½ Σ ln λ of so many softest stable modes, minimum less saddle, from the labels.

    Parameters
    ----------
    event : Event
    count : int

    Returns
    -------
    float

    Raises
    ------
    TrainingError
        If a frame has no label of soft modes, or of too few.
    """
    below, above = (_labelled_logarithm(a, count) for a in (event.minimum, event.saddle))
    return below - above


def _labelled_logarithm(atoms: Atoms, count: int) -> float:
    if count == 0:
        return 0.0
    values = np.ravel(atoms.info.get(dataset.SOFT_EIGENVALUES, ()))
    stable = values[values > 0][:count]
    if len(stable) < count:
        raise TrainingError(
            f"soft_modes: expected events with labels of {count} soft modes at least, got "
            f"{len(stable)}; find_events makes twelve, and so does {how_to_label('soft_modes')}"
        )
    return float(np.log(stable).sum() / 2)


@dataclass
class ModelledPart:
    """½ Σ ln λ of all other stable modes, minimum less saddle, by a force field.

    Every structure is looked at once.

    Parameters
    ----------
    force_field : ValenceForceField or None
        None knows nothing: 0.
    count : int
        Of softest stable modes that are left out; of the saddle, so is the lowest.
    """

    force_field: ValenceForceField | None
    count: int
    _seen: dict[bytes, float] = field(default_factory=dict)

    def __call__(self, minimum: Atoms, saddle: Atoms) -> float:
        """Of an event."""
        if self.force_field is None:
            return 0.0
        ends = ((minimum, self.count), (saddle, self.count + 1))
        for atoms, softest in ends:
            if _place(atoms) not in self._seen:
                self._seen[_place(atoms)] = self.force_field.log_determinant(atoms, softest)
        return (self._seen[_place(minimum)] - self._seen[_place(saddle)]) / 2


@dataclass
class SoftPartFinder:
    """Exact soft parts of events, each minimum looked at once.

    Parameters
    ----------
    calculator : ASE calculator or factory
    count : int
        Of stable modes.
    max_force_calls : int
        For an event, half of them for its minimum. One with a label of soft modes needs none.
    similar : ndarray or sparse array, shape (3n, 3n), eV/Å², optional
        See `soft_modes`.
    force_field : ValenceForceField, optional
        Whose Hessians stand in for it.
    """

    calculator: Any
    count: int
    max_force_calls: int
    similar: Any = None
    force_field: ValenceForceField | None = None
    _minima: dict[bytes, SoftPart] = field(default_factory=dict)

    def __call__(self, minimum: Atoms, saddle: Atoms) -> SoftPart:
        """The soft part of an event."""
        if self.count == 0:
            return SoftPart(0.0, 0.0, 0)
        # Without the unstable mode of the search, the way to the saddle lies about along it.
        path = saddle.arrays.get(MODE, displacement_to(saddle, minimum))[None]
        below, calls = self._of_minimum(minimum, path)
        modes = self._modes(saddle, path, 1, self.max_force_calls - calls)
        above = _part(modes)
        return SoftPart(
            below.logarithm - above.logarithm,
            float(np.hypot(below.error, above.error)),
            calls + above.force_calls,
        )

    def _of_minimum(self, minimum: Atoms, path: Array) -> tuple[SoftPart, int]:
        """½ Σ ln λ, and the force calls that it takes now."""
        if dataset.SOFT_EIGENVALUES in minimum.info:
            return SoftPart(_labelled_logarithm(minimum, self.count), 0.0, 0), 0
        place = _place(minimum)
        if place in self._minima:
            return self._minima[place], 0
        part = _part(self._modes(minimum, path, 0, self.max_force_calls // 2))
        self._minima[place] = part
        return part, part.force_calls

    def _modes(self, atoms: Atoms, path: Array, unstable: int, calls: int) -> SoftModes:
        similar = self.similar
        if similar is None and self.force_field is not None:
            similar = self.force_field.hessian(atoms)
        return soft_modes(
            atoms,
            self.calculator,
            self.count,
            unstable=unstable,
            start=path,
            similar=similar,
            max_force_calls=calls,
            differences="forward",
            displacement=DISPLACEMENT,
        )


def _place(atoms: Atoms) -> bytes:
    return bytes(atoms.positions.tobytes() + atoms.cell.array.tobytes())


def _part(modes: SoftModes) -> SoftPart:
    """½ Σ ln λ of the stable ones."""
    stable = slice(modes.n_unstable, None)
    return SoftPart(
        float(np.log(modes.eigenvalues[stable]).sum() / 2),
        float(modes.log_errors[stable].sum() / 2),
        modes.force_calls,
    )
