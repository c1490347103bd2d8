"""The floor of labels, and the force field of a model that is trained on them."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms

from ase_vibent.arrays import Array
from ase_vibent.errors import LabelError, TrainingError
from ase_vibent.hessian import ValenceForceField
from ase_vibent.model import SiteModel
from ase_vibent.model.floor import Floor
from ase_vibent.training.energies import force_constants
from ase_vibent.training.targets import ReferenceCrystals


def floor_of(frames: Sequence[Atoms], references: ReferenceCrystals) -> Floor | None:
    """What a model needs to find the soft modes that its labels leave out.

    Parameters
    ----------
    frames : sequence of Atoms
        Labelled; those with the whole Hessian make the force field. Held-out ones may be among
        them: what is held out are labels with the floor, which the force field has no part in.
    references : ReferenceCrystals

    Returns
    -------
    Floor or None
        None where labels have no floor.

    Raises
    ------
    TrainingError
        If no frame has its Hessian, or none with some species.
    """
    if references.floor is None:
        return None
    pairs = [(atoms, hessian) for atoms in frames if (hessian := _whole_hessian(atoms)) is not None]
    if not pairs:
        raise TrainingError(
            "frames: labels with a floor leave soft modes to force calls, which a force field "
            "directs; label some relaxed structures with force_constants, too (attach_labels(…, "
            "labels=['gradient', 'force_constants']), vibent label --labels)"
        )
    structures, hessians = zip(*pairs, strict=True)
    force_field = ValenceForceField.of_hessians(structures, hessians)
    missing = {symbol for atoms in frames for symbol in atoms.symbols} - {*force_field.species}
    if missing:
        raise TrainingError(
            f"frames: no structure with {', '.join(sorted(missing))} has its Hessian, which the "
            "force field for soft modes needs; label some with force_constants, too"
        )
    return Floor.of(references.floor, force_field)


def require_same_floor(model: SiteModel, references: ReferenceCrystals) -> None:
    """Raise LabelError where labels count soft modes otherwise than a model.

    Parameters
    ----------
    model : SiteModel
    references : ReferenceCrystals
        Of the labels.
    """
    own = None if model.floor is None else float(model.floor.value)
    if own != references.floor:
        raise LabelError(
            f"frames: their floor for soft modes is {references.floor or 'none'}, that of the "
            f"model {own or 'none'} (eV/Å²); label with the model's"
        )


def _whole_hessian(atoms: Atoms) -> Array | None:
    """Shape (3N, 3N), eV/Å², of a frame that has the rows of all atoms."""
    rows, displaced = force_constants(atoms)
    if rows is None or displaced is None or len(displaced) < len(atoms):
        return None
    whole = rows[displaced.argsort()].reshape(3 * len(atoms), -1)
    return (whole + whole.T) / 2
