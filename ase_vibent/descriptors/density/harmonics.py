"""Real spherical harmonics as polynomials (solid harmonics): coefficients of their recurrences.

Y_00 = 1: orthonormal harmonics times √(4π). Index of (l, m): l² + l + m; of (l, m ≥ 0):
l (l + 1)/2 + m. On the unit sphere, as in sphericart (Bigi et al. 2023),

    Y_l,±m = Q_lm(z) · {Re, Im} (x + iy)^m,   Q_lm = α_lm z Q_l-1,m + β_lm Q_l-2,m,

with constants Q_ll, and gradients of the solid harmonics that need no other functions.
"""

from __future__ import annotations

from math import factorial

import numpy as np
from numpy.typing import NDArray


def _prefactor(l: int, m: int) -> float:
    """Normalisation of Q_lm; the factor 1/√2 of m = 0 included."""
    norm = 2 * (2 * l + 1) * factorial(l - m) / factorial(l + m)
    return float((-1) ** m * np.sqrt(norm / 2 if m == 0 else norm))


def harmonic_recurrences(l_max: int) -> NDArray[np.float64]:
    """Coefficients of the recurrences, of the z-derivative and of the ring derivative.

    Parameters
    ----------
    l_max : int

    Returns
    -------
    ndarray, shape (n_lm, 4)
        Rows (l, m ≥ 0): α, β; ∂Q_lm/∂z = γ Q_l-1,m; (1/ρ) ∂Q_lm/∂ρ = δ Q_l-1,m+1, where
        ρ² = x² + y². For l = m, α holds the constant Q_ll itself.
    """
    table = np.zeros(((l_max + 1) * (l_max + 2) // 2, 4))
    constant = 1.0
    for l in range(l_max + 1):
        for m in range(l + 1):
            row, own = table[l * (l + 1) // 2 + m], _prefactor(l, m)
            if m == l:
                constant *= -(2 * l - 1) if l else 1
                row[0] = own * constant
                continue
            low = own / _prefactor(l - 1, m)
            row[0] = low * (2 * l - 1) / (l - m)
            row[2] = low * (l + m)
            if m < l - 1:
                row[1] = -own / _prefactor(l - 2, m) * (l + m - 1) / (l - m)
                row[3] = own / _prefactor(l - 1, m + 1)
    return table
