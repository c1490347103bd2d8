"""Labelled structures, checked, and what they offer to be fitted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from ase import Atoms

from ase_vibent import dataset
from ase_vibent.arrays import Array
from ase_vibent.checks import check_choice
from ase_vibent.errors import InvalidInputError, LabelError, TrainingError
from ase_vibent.quantities import (
    ENERGY,
    OF_SITES,
    QUANTITIES,
    TARGETS,
    QuantityName,
    TargetName,
    how_to_label,
)
from ase_vibent.structures.atom_types import kinds_of
from ase_vibent.structures.sublattices import SUBLATTICES
from ase_vibent.training.energies import REFERENCES, with_energy_labels
from ase_vibent.training.larger_cells import split_larger_cells
from ase_vibent.training.targets import FrameTargets, ReferenceCrystals, frame_weight

#: Error of a model, as a share of what totals vary by: beside it errors of labels count. Those of
#: the shipped models are 0.2 to 5 %, their geometric mean 0.9 %; a factor of four either way costs
#: a fit up to 40 %, see benchmarks/label_errors.py.
MODEL_ERROR = 0.01


@dataclass(frozen=True)
class TrainingSet:
    """Frames with their targets.

    Attributes
    ----------
    frames : list of Atoms
        Labelled, the perfect crystals that they name among them.
    references : ReferenceCrystals
    targets : list of FrameTargets
        One per frame.
    quantities : tuple of str
        Kinds of row that are to be fitted.
    larger : list of Atoms
        Larger cells, which are not fitted; see `split_larger_cells`.
    """

    frames: list[Atoms]
    references: ReferenceCrystals
    targets: list[FrameTargets]
    quantities: tuple[QuantityName, ...]
    larger: list[Atoms] = field(default_factory=list)

    @property
    def error_weights(self) -> Array:
        """What the weights of frames are multiplied by for the errors of their labels, (n,)."""
        return np.array(
            [t.weight / frame_weight(a) for a, t in zip(self.frames, self.targets, strict=True)]
        )

    @classmethod
    def of(
        cls,
        frames: Sequence[Atoms] | str | os.PathLike[str],
        quantities: Sequence[QuantityName] | None = None,
        *,
        held_out: Sequence[Atoms] = (),
        target: TargetName = "entropy",
    ) -> TrainingSet:
        """Training set of labelled frames.

        Parameters
        ----------
        frames : sequence of Atoms, or path
        quantities : sequence of str, optional
            By default totals and their derivatives, wherever a frame has them; those of
            sites only where there is nothing else.
        held_out : sequence of Atoms
            Other frames, whose perfect crystals count too.
        target : {"entropy", "energy"}
            What is to be learned.

        Returns
        -------
        TrainingSet

        Raises
        ------
        TrainingError, LabelError, InvalidInputError
            If there is nothing to fit.
        """
        if isinstance(frames, str | os.PathLike):
            frames = dataset.read_labels(frames)
        frames, larger = split_larger_cells(frames)
        if not frames:
            raise TrainingError("frames: there is no labelled structure to fit")
        check_choice("target", target, TARGETS)
        if target == ENERGY.name:
            frames = [with_energy_labels(atoms) for atoms in frames]
        references = REFERENCES[target]([*frames, *held_out])
        targets = [references.targets(atoms, k) for k, atoms in enumerate(frames)]
        for number, atoms in enumerate(held_out):  # what cannot be compared fails before the fit
            references.targets(atoms, f"held-out {number}")
        chosen = _chosen_quantities(references, targets, quantities)
        return cls(frames, references, _weighted_by_errors(frames, targets), chosen, larger)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of sites that occur; sublattices where all frames have labels of them."""
        labelled = all(atoms.has(SUBLATTICES) for atoms in self.frames)
        present = {k for atoms in self.frames for k in kinds_of(atoms, sublattices=labelled)}
        return tuple(sorted(present))

    @property
    def n_rows(self) -> int:
        """Number of rows of all kinds that are to be fitted."""
        values = (getattr(t, q) for t in self.targets for q in self.quantities)
        return sum(np.size(value) for value in values if value is not None)

    def checksum(self) -> str:
        """SHA-256 of the labelled structures, as they stand in a file."""
        digest = hashlib.sha256()
        for atoms in self.frames:
            digest.update(dataset.format_frame(atoms).encode())
        return digest.hexdigest()


def _weighted_by_errors(
    frames: Sequence[Atoms], targets: Sequence[FrameTargets]
) -> list[FrameTargets]:
    """Targets whose rows count less where the Hessian behind them is off.

    A model's own error is a small share of what totals of one composition vary by; only errors of
    labels that are larger matter beside it.
    """
    known = [k for k, target in enumerate(targets) if target.total is not None]
    if len(known) < 2 or not any(targets[k].error for k in known):
        return list(targets)
    symbols = sorted({symbol for atoms in frames for symbol in atoms.symbols})
    counts = np.array([[frames[k].symbols.count(s) for s in symbols] for k in known], dtype=float)
    totals = np.array([targets[k].total for k in known])
    beyond = totals - counts @ np.linalg.lstsq(counts, totals)[0]
    own = MODEL_ERROR * float(np.sqrt(np.mean(beyond**2)))
    if own < 1e-9:  # k_B: rounding
        return list(targets)
    return [
        replace(t, weight=t.weight * own / np.hypot(own, t.error)) if t.error else t
        for t in targets
    ]


def shuffled_configurations(frames: Sequence[Atoms], seed: int) -> list[int]:
    """Numbers of all frames but perfect crystals and larger cells, in random order.

    Parameters
    ----------
    frames : sequence of Atoms
    seed : int

    Returns
    -------
    list of int
    """
    own = {dataset.NAME, dataset.SIZE_CHECK}
    candidates = [k for k, atoms in enumerate(frames) if own.isdisjoint(atoms.info)]
    # Processes write frames as they finish; their keys bring them into one order again.
    candidates.sort(key=lambda k: str(frames[k].info.get(dataset.KEY, "")))
    order = np.random.default_rng(seed).permutation(len(candidates))
    return [candidates[k] for k in order]


def _chosen_quantities(
    references: ReferenceCrystals,
    targets: Sequence[FrameTargets],
    wanted: Sequence[QuantityName] | None,
) -> tuple[QuantityName, ...]:
    present = [q for q in QUANTITIES if any(getattr(t, q) is not None for t in targets)]
    if wanted is None:
        totals = tuple(q for q in present if q not in OF_SITES)
        return totals or tuple(present)
    fitted = references.target.fitted
    for quantity in wanted:
        if quantity not in fitted:
            raise InvalidInputError(
                f"quantities: expected some of {', '.join(fitted)} for target "
                f"{references.target.name!r}, got {quantity!r}"
            )
        if quantity not in present:
            raise LabelError(
                f"quantities: no frame has a label for {quantity!r} (and a perfect crystal with "
                f"one, where it needs that; present: {', '.join(present) or 'none'}); label with "
                f"{how_to_label(fitted[quantity].label)}"
            )
    if not wanted:
        raise TrainingError("quantities: none asked for, so there is no row to fit")
    return tuple(wanted)
