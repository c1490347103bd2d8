"""Fit the moments of local densities of states, which give quantum corrections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ase_vibent import dataset
from ase_vibent.descriptors import Descriptor
from ase_vibent.descriptors.kinds import species_indices
from ase_vibent.errors import LabelError, TrainingError
from ase_vibent.harmonic.entropy import quantum_correction
from ase_vibent.harmonic.moments import (
    mass_factors,
    mean_inverse_masses,
    moment_columns,
    path_species,
    thermodynamics_of_moments,
)
from ase_vibent.model.moments import MomentModel
from ase_vibent.training.solvers import ridge

Array = NDArray[np.float64]


def fit_moments(
    descriptor: Descriptor, frames: Sequence[Atoms], shift: Array
) -> MomentModel | None:
    """Moment model of the frames that have labels of moments.

    Every atom of them is a row, for each moment. Moments are local, so perfect crystals and
    other frames count alike and no finite-size correction is needed.

    Parameters
    ----------
    descriptor : Descriptor
    frames : sequence of Atoms
    shift : ndarray, shape (n_kinds, n_features)
        Subtracted from features.

    Returns
    -------
    MomentModel, or None if no frame has such labels

    Raises
    ------
    TrainingError
        If a kind of site does not occur in these frames.
    LabelError
        If a label is malformed.
    """
    labelled = [atoms for atoms in frames if dataset.MOMENTS in atoms.arrays]
    if not labelled:
        return None
    species = sorted({symbol for atoms in labelled for symbol in atoms.get_chemical_symbols()})
    n_columns = len(moment_columns(len(species)))
    triangles = [_Triangle(1 + shift.shape[1] + n_columns) for _ in shift]
    for atoms in labelled:
        kinds = species_indices(atoms, descriptor.species)
        centred = descriptor.compute(atoms) - shift[kinds]
        rows = np.hstack([np.ones((len(atoms), 1)), centred, moment_targets(atoms, species)])
        for z in np.unique(kinds):
            triangles[z].add(rows[kinds == z])
    missing = [k for k, t in zip(descriptor.species, triangles, strict=True) if not t.count]
    if missing:
        raise TrainingError(
            f"frames: none with labels of moments holds {', '.join(missing)}; label all with "
            "moments=True, or none"
        )
    fits = [
        _solve(triangle, magnitude, n_columns)
        for triangle, magnitude in zip(triangles, shift, strict=True)
    ]
    weights, constants = (np.stack(parts, axis=1) for parts in zip(*fits, strict=True))
    numbers = np.array([atomic_numbers[s] for s in species])
    return MomentModel(numbers, weights, constants, shift)


def moment_targets(atoms: Atoms, species: Sequence[str]) -> Array:
    """Labels of moments among columns for more species than the frame holds.

    Parameters
    ----------
    atoms : Atoms
        Labelled.
    species : sequence of str
        Chemical symbols in alphabetical order, those of the frame among them.

    Returns
    -------
    ndarray, shape (N, n_columns), (eV/Å²)^k
        Zero where a path would go through a species that is not there.

    Raises
    ------
    LabelError
        If the label has another shape.
    """
    label, present = atoms.arrays[dataset.MOMENTS], path_species(atoms)[0]
    own = [tuple(species.index(present[z]) for z in p) for p in moment_columns(len(present))]
    if label.shape != (len(atoms), len(own)):
        raise LabelError(
            f"{dataset.MOMENTS}: expected shape {(len(atoms), len(own))}, got {label.shape}"
        )
    paths = moment_columns(len(species))
    targets = np.zeros((len(atoms), len(paths)))
    targets[:, [paths.index(path) for path in own]] = label
    return targets


def labelled_correction(atoms: Atoms, temperature: float) -> Array:
    """Quantum correction of the free energy from labels of moments.

    Parameters
    ----------
    atoms : Atoms
        Labelled.
    temperature : float, K

    Returns
    -------
    ndarray, shape (N,), eV
    """
    symbols, species = path_species(atoms)
    passed = mean_inverse_masses(atoms, [species == z for z in range(len(symbols))])
    factors = mass_factors(passed, passed)[species]
    moments = np.einsum("ikc,ic->ik", factors, moment_targets(atoms, symbols))
    return thermodynamics_of_moments(moments, quantum_correction, temperature).free_energy


class _Triangle:
    """Triangle of the QR decomposition of rows that are added one after another."""

    def __init__(self, width: int):
        self.rows = np.empty((0, width))
        self.count = 0

    def add(self, rows: Array) -> None:
        """Add rows; as many are kept as twice the width at most."""
        self.rows, self.count = np.vstack([self.rows, rows]), self.count + len(rows)
        if len(self.rows) > 2 * self.rows.shape[1]:
            self.reduce()

    def reduce(self) -> None:
        """Bring the rows to a triangle."""
        triangle: Any = np.linalg.qr(self.rows, mode="r")
        self.rows = triangle


def _solve(triangle: _Triangle, magnitude: Array, n_columns: int) -> tuple[Array, Array]:
    """Weights, shape (n_columns, n_features), and constants, by ridge regression."""
    triangle.reduce()
    # The first row holds the means, the others the rows with their means taken off.
    (first, means, targets), (_, matrix, values) = (
        np.split(rows, [1, triangle.rows.shape[1] - n_columns], axis=1)
        for rows in (triangle.rows[:1], triangle.rows[1:])
    )
    scale = np.linalg.norm(matrix, axis=0) / np.sqrt(triangle.count)
    noise = 1e-12 * max(np.abs(magnitude).max(initial=0.0), scale.max(initial=0.0))
    scale[scale <= noise] = np.inf
    weights = np.zeros((n_columns, len(magnitude)))
    if np.any(np.isfinite(scale)):  # otherwise all environments are the same
        for column, wanted in enumerate(values.T):
            fit = ridge(matrix / scale, wanted, n_rows=triangle.count - 1)
            weights[column] = fit.coefficients / scale
    constants = (targets[0] - weights @ means[0]) / first[0, 0]
    return weights, constants
