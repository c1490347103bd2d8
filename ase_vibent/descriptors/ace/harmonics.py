"""Real spherical harmonics as polynomials (solid harmonics), and their normalisation.

Y_00 = 1: orthonormal harmonics times √(4π). Index of (l, m): l² + l + m. Recurrences in
x, y, z without square roots or angles, as in sphericart (Bigi et al. 2023).
"""

from __future__ import annotations

from math import factorial

import numpy as np
from numpy.typing import NDArray


def harmonic_prefactors(l_max: int) -> NDArray[np.float64]:
    """Normalisation F_lm of the recurrences.

    Parameters
    ----------
    l_max : int

    Returns
    -------
    ndarray, shape (l_max + 1, l_max + 1)
        F_lm for 0 ≤ m ≤ l; the factor 1/√2 of m = 0 included.
    """
    prefactors = np.zeros((l_max + 1, l_max + 1))
    for l in range(l_max + 1):
        for m in range(l + 1):
            ratio = factorial(l - m) / factorial(l + m)
            prefactors[l, m] = (-1) ** m * np.sqrt(2 * (2 * l + 1) * ratio)
        prefactors[l, 0] /= np.sqrt(2)
    return prefactors
