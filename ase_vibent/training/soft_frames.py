"""What unstable and soft modes in the labels do to a fit.

Entropies are logarithms: where a mode is about to turn unstable they diverge, and log⁺ leaves it
out from there on. No smooth sum over neighbourhoods follows that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import kB

from ase_vibent import dataset
from ase_vibent.descriptors import SiteSums
from ase_vibent.training.targets import ReferenceCrystals

#: Entropy gradient on an atom from which on a frame counts as one with soft modes, k_B/Å: rattled
#: crystals have tenths, stiff defects 1 to 3.
SOFT = 6.0


@dataclass(frozen=True)
class SoftFrames:
    """Frames with unstable or soft modes, and their share of what a fit leaves.

    Attributes
    ----------
    n_frames : int
        All.
    n_unstable : int
        Of these with unstable modes, which their entropies leave out.
    n_soft : int
        Of the others with soft modes: an entropy gradient of `SOFT` or more on an atom.
    shares : dict of str to float
        Of the sums of squared residuals of totals and gradients, what these two kinds have; for
        kinds of row that there are.
    """

    n_frames: int
    n_unstable: int
    n_soft: int
    shares: dict[str, float]

    def as_header(self) -> dict[str, Any]:
        """For the header of a model, and for JSON."""
        return asdict(self)


def is_unstable(atoms: Atoms) -> bool:
    """Whether a labelled frame has unstable modes, at some point of its mesh at least."""
    return float(atoms.info.get(dataset.N_UNSTABLE, 0)) > 0


def is_soft(atoms: Atoms) -> bool:
    """Whether a labelled frame is stable but nearly not, as far as its gradient tells."""
    gradient = atoms.arrays.get(dataset.GRADIENT)
    if gradient is None or is_unstable(atoms):
        return False
    return bool(np.linalg.norm(gradient, axis=1).max() >= SOFT * kB)


def soft_frames(
    frames: Sequence[Atoms], references: ReferenceCrystals, sums: Sequence[SiteSums]
) -> SoftFrames:
    """Count frames with unstable and soft modes, and what a model leaves of them.

    Parameters
    ----------
    frames : sequence of Atoms
        Labelled with entropies.
    references : ReferenceCrystals
    sums : sequence of SiteSums
        What the model predicts of them.

    Returns
    -------
    SoftFrames
    """
    unstable = np.array([is_unstable(atoms) for atoms in frames], dtype=bool)
    soft = np.array([is_soft(atoms) for atoms in frames], dtype=bool)
    squares: dict[str, list[float]] = {"total": [], "gradient": []}
    for number, (atoms, own) in enumerate(zip(frames, sums, strict=True)):
        target = references.targets(atoms, number)
        squares["total"].append(_squares(target.total, own.values.sum()))
        squares["gradient"].append(_squares(target.gradient, own.gradient))
    shares = {
        name: float(np.sum(np.array(values)[unstable | soft]) / np.sum(values))
        for name, values in squares.items()
        if np.sum(values) > 0
    }
    return SoftFrames(len(frames), int(unstable.sum()), int(soft.sum()), shares)


def _squares(exact: Any, predicted: Any) -> float:
    """Of what is left, 0 where one of them is not known."""
    known = exact is not None and predicted is not None
    return float(np.sum((exact - predicted) ** 2)) if known else 0.0


def format_soft_frames(found: Mapping[str, Any]) -> str:
    """One line of `SoftFrames.as_header`.

    Parameters
    ----------
    found : mapping

    Returns
    -------
    str
        Empty where there are none, else with its end of line.
    """
    if not found["n_unstable"] + found["n_soft"]:
        return ""
    shares = " and ".join(
        f"{share:.0%} of the squared residual of {name}s" for name, share in found["shares"].items()
    )
    return (
        f"soft: of {found['n_frames']} frames {found['n_unstable']} have unstable modes, which are "
        f"left out of their entropies, {found['n_soft']} soft ones (a gradient above {SOFT:g} "
        f"k_B/Å)" + (f"; they make {shares}" if shares else "") + "\n"
    )
