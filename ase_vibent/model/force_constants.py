"""Second derivatives of site models, by differences of their analytic first ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ase import Atoms

from ase_vibent.arrays import Array

#: Displacement in Å at which truncation (1e-6 relative) and rounding (1e-12) are both small.
STEP = 1e-3


def displaced_differences(
    gradients: Callable[[Atoms], Array], atoms: Atoms, atom: int, step: float = STEP
) -> Array:
    """Derivatives of gradients in the position of one atom.

    Parameters
    ----------
    gradients : callable
        From a structure to an array of any shape, 1/Å.
    atoms : Atoms
    atom : int
    step : float, Å

    Returns
    -------
    ndarray, shape (3, ...), 1/Å²
        By component of the atom's displacement.
    """
    displaced = atoms.copy()
    displaced.calc = None
    displaced.set_constraint()
    found = []
    for component in range(3):
        ends = []
        for sign in (1, -1):
            displaced.positions = atoms.positions
            displaced.positions[atom, component] += sign * step
            ends.append(gradients(displaced))
        found.append((ends[0] - ends[1]) / (2 * step))
    return np.array(found)
