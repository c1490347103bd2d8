"""Fit the moments of local densities of states, which give quantum statistics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from ase_vibent import dataset
from ase_vibent.arrays import Array
from ase_vibent.errors import LabelError, TrainingError
from ase_vibent.harmonic.expansion import N_NODES, Densities, density_nodes
from ase_vibent.harmonic.moments import mean_inverse_masses, moment_columns, path_species
from ase_vibent.model.moments import MomentModel
from ase_vibent.regression.r_factor import RFactor
from ase_vibent.regression.solvers import solve
from ase_vibent.structures.atom_types import species_indices
from ase_vibent.training.features import FrameFeatures


def fit_moments(
    features: FrameFeatures, frames: Sequence[Atoms], shift: Array
) -> MomentModel | None:
    """Moment model of the frames that have labels of moments.

    Every atom of them is a row, for each moment. Moments are local, so perfect crystals and
    other frames count alike and no finite-size correction is needed. Densities of states are those
    of the perfect crystals among them.

    Parameters
    ----------
    features : FrameFeatures
    frames : sequence of Atoms
    shift : ndarray, shape (n_kinds, n_features)
        Subtracted from features.

    Returns
    -------
    MomentModel, or None if no frame has such labels, or no perfect crystal

    Raises
    ------
    TrainingError
        If a kind of site does not occur in these frames.
    LabelError
        If a label is malformed.
    """
    labelled = [atoms for atoms in frames if dataset.MOMENTS in atoms.arrays]
    crystals = [atoms for atoms in frames if dataset.DENSITIES in atoms.arrays]
    if not labelled or not crystals:
        return None
    species = sorted({symbol for atoms in labelled for symbol in atoms.get_chemical_symbols()})
    r_factors = _gather(features, labelled, species, shift)
    for kind, of_kind in zip(features.descriptor.species, r_factors, strict=True):
        if not of_kind[0].n_rows:
            raise TrainingError(
                f"frames: none with labels of moments holds {kind}; label all with 'moments', or "
                "none"
            )
    fits = [
        [_fit(r_factor, magnitude) for r_factor in of_kind]
        for of_kind, magnitude in zip(r_factors, shift, strict=True)
    ]
    weights, constants = (
        np.array([[fit[part] for fit in of_kind] for of_kind in fits]).swapaxes(0, 1)
        for part in range(2)
    )
    numbers = np.array([atomic_numbers[s] for s in species])
    densities = _densities(crystals, features.descriptor.species)
    return MomentModel(
        numbers,
        weights,
        constants,
        shift,
        _masses([*crystals, *labelled], numbers),
        densities.nodes,
        densities.weights,
        densities.sampled,
        densities.sampled_weights,
    )


def _densities(crystals: Sequence[Atoms], kinds: Sequence[str]) -> Densities:
    """Of every kind in the first crystal that holds it, of a mean atom where none does."""
    parts = [atoms.arrays[dataset.DENSITIES].reshape(len(atoms), 2, -1) for atoms in crystals]
    mean = [own.transpose(1, 0, 2).reshape(2, -1) / [[1], [len(own)]] for own in parts]
    eigenvalues, weights = np.hstack(mean)
    sampled = density_nodes(eigenvalues, weights / len(parts), N_NODES)
    of_kinds = np.array([sampled] * len(kinds))
    for atoms, own in reversed(list(zip(crystals, parts, strict=True))):
        indices = species_indices(atoms, kinds)
        for kind in np.unique(indices):
            chosen = own[indices == kind]
            same = chosen.transpose(1, 0, 2).reshape(2, -1)
            of_kinds[kind] = density_nodes(same[0], same[1] / len(chosen), N_NODES)
    return Densities(of_kinds[:, 0], of_kinds[:, 1], *sampled)


def _masses(frames: Sequence[Atoms], numbers: Array) -> Array:
    """Of every species in the first frame that holds it, amu."""
    masses = np.zeros(len(numbers))
    for atoms in reversed(frames):
        found = mean_inverse_masses(atoms, [atoms.numbers == number for number in numbers])
        masses = np.where(found > 0, 1 / np.where(found > 0, found, 1), masses)
    return masses


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


def _gather(
    features: FrameFeatures, frames: Sequence[Atoms], species: Sequence[str], shift: Array
) -> list[list[RFactor]]:
    """Rows of all sites, by kind of site and column of moments."""
    columns = moment_columns(len(species))
    r_factors = [[RFactor(1 + shift.shape[1]) for _ in columns] for _ in shift]
    for atoms in frames:
        kinds = species_indices(atoms, features.descriptor.species)
        centred = features.values(atoms) - shift[kinds]
        rows = np.hstack([np.ones((len(atoms), 1)), centred])
        targets = moment_targets(atoms, species)
        for z in np.unique(kinds):
            own = kinds == z
            for r_factor, values in zip(r_factors[z], targets.T, strict=True):
                r_factor.add(rows[own], values[own])
    return r_factors


def _fit(r_factor: RFactor, magnitude: Array) -> tuple[Array, float]:
    """Weights and constant of one moment for one kind of site."""
    scale = r_factor.eliminate(1).column_rms() if r_factor.n_rows > 1 else np.zeros(len(magnitude))
    # What centring leaves of equal features is rounding.
    dead = scale <= 1e-12 * max(np.abs(magnitude).max(initial=0.0), scale.max(initial=0.0))
    if dead.all():  # all environments are the same
        weights = np.zeros(len(magnitude))
        return weights, float(r_factor.first_coefficients(1, weights)[0])
    solution = solve(r_factor, "ridge", n_free=1, scale=np.where(dead, np.inf, scale))
    return solution.coefficients[1:], float(solution.coefficients[0])
