"""Features of the frames of a training, computed once for all that is done with them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms

from ase_vibent.arrays import Array
from ase_vibent.descriptors import Descriptor
from ase_vibent.model.force_constants import displaced_differences
from ase_vibent.quantities import QuantityName
from ase_vibent.structures.atom_types import species_indices
from ase_vibent.training.targets import FrameTargets

#: Memory of what is kept, bytes.
MOST_BYTES = 2**30
#: Kinds of row that are made of derivatives of features, which know no centre.
DERIVATIVES: tuple[QuantityName, ...] = ("gradient", "strain", "site_gradients", "force_constants")


class DerivativeRows(NamedTuple):
    """Rows of one kind, of one frame.

    Attributes
    ----------
    kind : str
    matrix : ndarray, shape (n, n_kinds * n_features)
        Derivatives of features, kind of site by kind of site.
    values : ndarray, shape (n,)
    """

    kind: QuantityName
    matrix: Array
    values: Array


class FrameFeatures:
    """Features of frames and rows of their derivatives, kept for as long as the object lives.

    What does not fit into memory is computed anew. Frames are told apart by identity: they must not
    be changed meanwhile.

    Parameters
    ----------
    descriptor : Descriptor
    again : sequence of Atoms
        Frames whose rows will be asked for once more, and are therefore kept.
    most_bytes : int
        Of all that is kept.
    """

    def __init__(
        self, descriptor: Descriptor, again: Sequence[Atoms] = (), most_bytes: int = MOST_BYTES
    ):
        self.descriptor = descriptor
        self._left = most_bytes
        self._again = {id(atoms): atoms for atoms in again}
        self._rows: dict[int, list[DerivativeRows]] = {}
        self._features: dict[int, tuple[Atoms, Array]] = {}
        self._latest: tuple[Atoms, Array] | None = None

    def values(self, atoms: Atoms) -> Array:
        """Features of every atom, shape (N, n_features)."""
        known = self._features.get(id(atoms), self._latest)
        if known is not None and known[0] is atoms:
            return known[1]
        return self._remember(atoms, self.descriptor.compute(atoms))

    def derivative_rows(
        self, atoms: Atoms, target: FrameTargets, quantities: Collection[str]
    ) -> Iterator[DerivativeRows]:
        """Rows of derivatives that are wanted and labelled.

        Parameters
        ----------
        atoms : Atoms
        target : FrameTargets
        quantities : collection of str
            Of a frame whose rows are kept, always the same.

        Yields
        ------
        DerivativeRows
            Those of force constants atom by atom.
        """
        if id(atoms) in self._rows:
            yield from self._rows[id(atoms)]
            return
        wanted = {
            kind: values
            for kind in DERIVATIVES
            if kind in quantities and (values := getattr(target, kind)) is not None
        }
        n_columns = len(self.descriptor.species) * self.descriptor.n_features
        n_bytes = 8 * n_columns * sum(values.size for values in wanted.values())
        found = self._compute_rows(atoms, target, wanted)
        if id(atoms) in self._again and self._take(n_bytes):
            self._rows[id(atoms)] = list(found)
            found = iter(self._rows[id(atoms)])
        yield from found

    def _compute_rows(
        self, atoms: Atoms, target: FrameTargets, wanted: Collection[QuantityName]
    ) -> Iterator[DerivativeRows]:
        if not {"gradient", "strain"}.isdisjoint(wanted):
            summed = self.descriptor.compute_with_gradients(atoms)
            self._remember(atoms, summed.values)
            if "gradient" in wanted and target.gradient is not None:
                yield DerivativeRows("gradient", _by_row(summed.gradient), target.gradient.ravel())
            if "strain" in wanted and target.strain is not None:
                yield DerivativeRows("strain", _by_row(summed.strain), target.strain.ravel())
        if "site_gradients" in wanted and target.site_gradients is not None:
            species = self.descriptor.species
            membership = np.eye(len(species))[species_indices(atoms, species)]
            slopes = self.descriptor.compute_site_gradients(atoms)
            of_kinds = np.einsum("iz,inaf->inazf", membership, slopes)
            labels = target.site_gradients.ravel()
            yield DerivativeRows("site_gradients", of_kinds.reshape(labels.size, -1), labels)
        if "force_constants" in wanted and target.force_constants is not None:
            assert target.displaced is not None
            for atom, labels in zip(target.displaced, target.force_constants, strict=True):
                # By differences of the features' gradients.
                rows = displaced_differences(self._gradients, atoms, int(atom))
                yield DerivativeRows(
                    "force_constants", rows.reshape(labels.size, -1), labels.ravel()
                )

    def _gradients(self, atoms: Atoms) -> Array:
        return _by_row(self.descriptor.compute_with_gradients(atoms).gradient)

    def _remember(self, atoms: Atoms, values: Array) -> Array:
        self._latest = atoms, values
        if id(atoms) not in self._features and self._take(values.nbytes):
            self._features[id(atoms)] = self._latest
        return values

    def _take(self, n_bytes: int) -> bool:
        """Whether there is memory left for something, which is then used."""
        fits = n_bytes <= self._left
        self._left -= n_bytes if fits else 0
        return fits


def _by_row(slopes: Array) -> Array:
    """Derivatives of sums over atom types, shape (n_kinds, ..., n_features), as rows."""
    n_kinds, n_features = slopes.shape[0], slopes.shape[-1]
    by_row = slopes.reshape(n_kinds, -1, n_features).transpose(1, 0, 2)
    return by_row.reshape(-1, n_kinds * n_features)
