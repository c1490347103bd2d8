"""How far a Hessian by finite differences is off."""

from __future__ import annotations

from typing import NamedTuple


class StepError(NamedTuple):
    """How far a Hessian by finite differences is off.

    Attributes
    ----------
    step : float, Å
        By which atoms were displaced.
    relative : float
        Of forces that the Hessian predicts, compared with those of a typical displacement.
    entropy : float, k_B
        Of the reduced entropy, with the sign of the estimate.
    """

    step: float
    relative: float
    entropy: float
