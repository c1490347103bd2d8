"""The design matrix of a site model: rows of all labels of all frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent.descriptors import Descriptor
from ase_vibent.descriptors.kinds import species_indices
from ase_vibent.errors import TrainingError
from ase_vibent.training.targets import Targets

Array = NDArray[np.float64]
Progress = Callable[[Iterable[Any]], Iterable[Any]]

#: Rows that are gathered before they are reduced to a triangle, which carries as much.
ROW_BLOCK = 20_000


@dataclass(frozen=True)
class Rows:
    """Weighted rows of a design matrix.

    Attributes
    ----------
    features : ndarray, shape (n_rows, n_species * n_features)
    constants : ndarray, shape (n_rows, n_species)
        How often the constant of each species enters.
    values : ndarray, shape (n_rows,)
    count : int
        Number of rows of the problem. Many rows are reduced to the triangle of their QR
        decomposition, which leaves every least-squares problem as it is.
    """

    features: Array
    constants: Array
    values: Array
    count: int

    def reduced(self) -> Rows:
        """Triangle of the QR decomposition, as many rows as there are columns."""
        whole = np.hstack([self.features, self.constants, self.values[:, None]])
        triangle = np.linalg.qr(whole, mode="r")
        n_features, n_constants = self.features.shape[1], self.constants.shape[1]
        features, constants, values = np.split(
            triangle, [n_features, n_features + n_constants], axis=1
        )
        return Rows(features, constants, values[:, 0], self.count)

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """All rows of several sets."""
        return cls(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.constants for part in parts]),
            np.concatenate([part.values for part in parts]),
            sum(part.count for part in parts),
        )


def assemble_rows(
    descriptor: Descriptor,
    frames: Sequence[Atoms],
    targets: Sequence[Targets],
    shift: Array,
    known: Mapping[str, float],
    quantities: Sequence[str],
    weights: Mapping[str, float],
    *,
    reduce: bool = True,
    progress: Progress = lambda items: items,
) -> Rows:
    """Design matrix of all frames, P0 (4.3), (4.4).

    Parameters
    ----------
    descriptor : Descriptor
    frames : sequence of Atoms
    targets : sequence of Targets
        One per frame.
    shift : ndarray, shape (n_species, n_features)
        Subtracted from features in value rows.
    known : mapping of str to float
        Constants that are not fitted.
    quantities : sequence of str
    weights : mapping of str to float
    reduce : bool
        Whether many rows may be reduced to their triangle, to bound the memory.
    progress : callable (items) -> items

    Returns
    -------
    Rows

    Raises
    ------
    TrainingError
        If there is no row at all.
    """
    fixed = np.array([known.get(s, 0.0) for s in descriptor.species])
    block = max(ROW_BLOCK, 2 * shift.size)
    gathered: list[Rows] = []
    for atoms, target in progress(list(zip(frames, targets, strict=True))):
        for kind, features, constants, values in _frame_rows(
            descriptor, atoms, target, shift, quantities
        ):
            weight = weights[kind]
            values = weight * (values - constants @ fixed)
            gathered.append(Rows(weight * features, weight * constants, values, len(values)))
        if reduce and sum(len(rows.values) for rows in gathered) > block:
            gathered = [Rows.joined(gathered).reduced()]
    if not gathered:
        raise TrainingError(
            f"frames: none of {len(frames)} frames gives a row for {', '.join(quantities)}"
        )
    return Rows.joined(gathered)


def _frame_rows(
    descriptor: Descriptor,
    atoms: Atoms,
    target: Targets,
    shift: Array,
    quantities: Sequence[str],
) -> Iterable[tuple[str, Array, Array, Array]]:
    """Kind, features, counts of constants, and values of the rows of one frame."""
    gradient = target.gradient if "gradient" in quantities else None
    strain = target.strain if "strain" in quantities else None
    n_species, n_features = shift.shape
    if gradient is None and strain is None:
        values = descriptor.compute(atoms)
    else:
        summed = descriptor.compute_with_gradients(atoms)
        values = summed.values
        for kind, slopes, wanted in (
            ("gradient", summed.gradient, gradient),
            ("strain", summed.strain, strain),
        ):
            if wanted is not None:
                by_row = slopes.reshape(n_species, -1, n_features).transpose(1, 0, 2)
                features = by_row.reshape(wanted.size, n_species * n_features)
                yield kind, features, np.zeros((wanted.size, n_species)), wanted.ravel()
    membership = np.eye(n_species)[species_indices(atoms, descriptor.species)]
    centred = values - membership @ shift
    per_site = (membership[:, :, None] * centred[:, None, :]).reshape(len(atoms), -1)
    if "entropy" in quantities and target.entropy is not None:
        yield (
            "entropy",
            per_site.sum(axis=0)[None],
            membership.sum(axis=0)[None],
            np.array([target.entropy]),
        )
    if "sites" in quantities and target.sites is not None:
        yield "sites", per_site, membership, target.sites
    if "site_gradients" in quantities and target.site_gradients is not None:
        slopes = descriptor.compute_site_gradients(atoms)
        of_species = np.einsum("iz,inaf->inazf", membership, slopes)
        n_rows = target.site_gradients.size
        yield (
            "site_gradients",
            of_species.reshape(n_rows, -1),
            np.zeros((n_rows, n_species)),
            target.site_gradients.ravel(),
        )
