"""Types of arrays, and what becomes one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


def coordinates(atoms: NDArray[np.intp] | IntArray) -> NDArray[np.intp]:
    """Which of the 3N coordinates, rows of a Hessian, are those of some atoms.

    Parameters
    ----------
    atoms : ndarray of int, shape (n,)

    Returns
    -------
    ndarray of int, shape (3n,)
        x, y and z of the first, and so on.
    """
    return np.asarray((3 * atoms[:, None] + np.arange(3)).ravel(), dtype=np.intp)


def from_tensor(value: Any) -> Any:
    """Array of a PyTorch tensor, on whatever device and with whatever history.

    Parameters
    ----------
    value : tensor, or anything else

    Returns
    -------
    ndarray
        Of double precision, unless complex. What is no tensor comes back as it is.
    """
    if not all(hasattr(value, name) for name in ("detach", "cpu", "is_complex")):
        return value
    plain = value.detach().cpu()
    plain = plain.to_dense() if plain.is_sparse else plain
    return (plain if plain.is_complex() else plain.double()).numpy()
