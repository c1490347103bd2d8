"""Linear and quadratic models of total entropies.

[Lapointe2020] (15), [Lapointe2022] (17), from sums of features.

Summed features of a frame do not change with the split, so they are kept on disk, and a
hundred fits take seconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from tqdm import tqdm

import ase_vibent.descriptors as kinds
from ase_vibent import dataset
from ase_vibent.regression.r_factor import RFactor
from ase_vibent.regression.solvers import solve
from ase_vibent.training.targets import ReferenceCrystals

Array = NDArray[np.float64]

FRACTIONS = (0.1, 0.3, 0.5, 0.7, 0.9)


def descriptors(
    species: str, cutoff: float = 5.0, r0: float | None = None, inner: float = 1.6
) -> dict[str, Callable[[], Any]]:
    """Descriptors of [Lapointe2020] and [Lapointe2022], and ours, by name."""
    ace = partial(kinds.ACE, [species], cutoff=cutoff, r0=r0, inner=inner)
    # Slopes may jump, as second derivatives of tabulated potentials do, and Hessians with them.
    pairs = partial(kinds.PairFunctions, [species], cutoff=5.3, degree=1, inner=inner)
    # Power spectra of high radial resolution.
    spectra = partial(ace, order=2, degree=24)
    return {
        "AFS(20,10)": lambda: kinds.AFS([species], cutoff=cutoff),
        "bSO(4) 3.5": lambda: kinds.Bispectrum([species], cutoff=cutoff, j_max=3.5),
        "bSO(4) 4": lambda: kinds.Bispectrum([species], cutoff=cutoff, j_max=4.0),
        "scattering": lambda: kinds.Scattering([species]),
        "ACE": lambda: ace(degree=16),
        "ACE small": lambda: ace(degree=9),
        "ACE 2": spectra,
        "pairs": pairs,
        "pairs + bSO(4)": lambda: pairs() + kinds.Bispectrum([species], cutoff=cutoff),
        "pairs + AFS": lambda: pairs() + kinds.AFS([species], cutoff=cutoff),
        "pairs + ACE 2": lambda: pairs() + spectra(),
    }


def _sum_features(descriptor: Any, atoms: Atoms, shift: Array, quadratic: bool) -> Array:
    """Sum over the atoms of the features less a shift, and of their products where wanted."""
    if hasattr(descriptor, "compute_total"):
        return np.asarray(descriptor.compute_total(atoms))
    centred = descriptor.compute(atoms) - shift
    linear = centred.sum(axis=0)
    if not quadratic:
        return linear
    upper = np.triu_indices(len(linear))
    return np.concatenate([linear, (centred.T @ centred)[upper]])


def feature_sums(
    descriptor: Any,
    frames: Sequence[Atoms],
    folder: Path,
    *,
    crystal: Atoms | None = None,
    quadratic: bool = False,
) -> Array:
    """Summed features of labelled frames, shape (n_frames, n_columns); kept in a file.

    Parameters
    ----------
    crystal : Atoms, optional
        The features of its first atom are subtracted from all.
    """
    shift = np.zeros(1)
    if crystal is not None and not hasattr(descriptor, "compute_total"):
        shift = descriptor.compute(crystal)[0]
    text = json.dumps([descriptor.to_dict(), quadratic, shift.tolist()], sort_keys=True)
    path = folder / f"features-{hashlib.sha256(text.encode()).hexdigest()[:12]}.npz"
    known: dict[str, Array] = dict(np.load(path)) if path.exists() else {}
    missing = [atoms for atoms in frames if atoms.info[dataset.KEY] not in known]
    for atoms in tqdm(missing, desc=f"{type(descriptor).__name__}", unit="cell", disable=None):
        known[str(atoms.info[dataset.KEY])] = _sum_features(descriptor, atoms, shift, quadratic)
    if missing:
        np.savez(path, **known)  # type: ignore[arg-type]
    return np.array([known[str(atoms.info[dataset.KEY])] for atoms in frames])


@dataclass(frozen=True)
class Formation:
    """Formation entropies and features of frames, each less N/N_b of its perfect crystal's.

    Attributes
    ----------
    features : ndarray, shape (n, n_columns)
    entropies : ndarray, shape (n,), k_B
    """

    features: Array
    entropies: Array

    def __getitem__(self, chosen: Any) -> Formation:
        return Formation(self.features[chosen], self.entropies[chosen])

    @property
    def spread(self) -> float:
        """Standard deviation of the entropies."""
        return float(self.entropies.std())


def formation(frames: Sequence[Atoms], sums: Array) -> tuple[Formation, list[Atoms]]:
    """[Lapointe2020] (3), (15), of all frames that are no perfect crystal, and these frames.

    Entropies are extensive: the cell's Γ-point sums plus what the perfect crystal's lack.
    """
    references = ReferenceCrystals(frames)
    numbers = {str(a.info[dataset.NAME]): k for k, a in enumerate(frames) if dataset.NAME in a.info}
    totals = np.array([references.targets(a, k).total for k, a in enumerate(frames)], dtype=float)
    defects = [k for k, atoms in enumerate(frames) if dataset.NAME not in atoms.info]
    own = np.array([numbers[str(frames[k].info[dataset.REFERENCE])] for k in defects])
    sizes = np.array([len(atoms) for atoms in frames])
    share = sizes[defects] / sizes[own]
    return (
        Formation(
            sums[defects] - share[:, None] * sums[own], totals[defects] - share * totals[own]
        ),
        [frames[k] for k in defects],
    )


def fitted(
    train: Formation, solver: str = "ridge", roughness: Array | float = 1.0, **options: Any
) -> Array:
    """Weights of the linear model, shape (n_columns,); rougher columns are penalised more."""
    scale = np.sqrt(np.mean(train.features**2, axis=0)) * roughness
    scale[scale == 0] = np.inf
    r_factor = RFactor.from_blocks([(train.features, train.entropies)])
    return np.asarray(solve(r_factor, solver, scale=scale, **options).coefficients)


def rmse(data: Formation, weights: Array) -> float:
    return float(np.sqrt(np.mean((data.features @ weights - data.entropies) ** 2)))


def split(count: int, fraction: float, seed: int) -> tuple[Array, Array]:
    """Which frames train, and which test."""
    order = np.random.default_rng(seed).permutation(count)
    n_test = round(fraction * count)
    return np.sort(order[n_test:]), np.sort(order[:n_test])


def split_errors(
    data: Formation, fractions: Sequence[float] = FRACTIONS, splits: int = 100, **options: Any
) -> Array:
    """Mean RMSE over random splits, shape (n_fractions, 2): training and test, k_B."""
    errors = []
    for fraction in fractions:
        found = []
        for seed in range(splits):
            train, test = (data[part] for part in split(len(data.entropies), fraction, seed))
            weights = fitted(train, **options)
            found.append([rmse(train, weights), rmse(test, weights)])
        errors.append(np.mean(found, axis=0))
    return np.array(errors)
