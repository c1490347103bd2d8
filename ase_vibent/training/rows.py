"""The design matrix of a site model: rows of all labels of all frames, kind by kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent.descriptors import Descriptor
from ase_vibent.descriptors.kinds import species_indices
from ase_vibent.errors import TrainingError
from ase_vibent.training.targets import Targets
from ase_vibent.training.triangle import Triangle

Array = NDArray[np.float64]
Progress = Callable[[Iterable[Any]], Iterable[Any]]


def assemble_triangles(
    descriptor: Descriptor,
    frames: Sequence[Atoms],
    targets: Sequence[Targets],
    shift: Array,
    known: Mapping[str, float],
    quantities: Sequence[str],
    *,
    progress: Progress = lambda items: items,
) -> dict[str, Triangle]:
    """Design matrices of all frames, P0 (4.3), (4.4), one for each kind of row.

    Columns are the constants that are fitted, in the order of species, then the features
    species by species. Kinds are weighted when they are merged: see `weighted_rows`.

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
    progress : callable (items) -> items
        Progress bar around the frames.

    Returns
    -------
    dict of str to Triangle
        Quantities that no frame has are not in it.
    """
    fixed = np.array([known.get(s, 0.0) for s in descriptor.species])
    free = np.array([s not in known for s in descriptor.species])
    triangles: dict[str, Triangle] = {}
    for atoms, target in progress(list(zip(frames, targets, strict=True))):
        for kind, features, constants, values in _frame_rows(
            descriptor, atoms, target, shift, quantities
        ):
            triangle = triangles.setdefault(kind, Triangle(int(free.sum()) + shift.size))
            triangle.add(np.hstack([constants[:, free], features]), values - constants @ fixed)
    return triangles


def weighted_rows(triangles: Mapping[str, Triangle], weights: Mapping[str, float]) -> Triangle:
    """All rows, each times the weight of its kind.

    Parameters
    ----------
    triangles : mapping of str to Triangle
    weights : mapping of str to float
        Kinds of weight zero are left out.

    Returns
    -------
    Triangle

    Raises
    ------
    TrainingError
        If no row is left.
    """
    kept = [part.weighted(weights[kind]) for kind, part in triangles.items() if weights[kind] > 0]
    if not kept:
        raise TrainingError(
            f"frames: no row is left to fit; there are {', '.join(triangles) or 'none'}, and those "
            "with a weight of zero are left out"
        )
    return Triangle.merged(kept)


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
