"""Fit a site model to labelled structures."""

from __future__ import annotations

import datetime
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent import dataset
from ase_vibent.descriptors import ACE, Descriptor, collapsed
from ase_vibent.descriptors.ace.channels import ChannelDescriptor
from ase_vibent.descriptors.kinds import kinds_of, species_indices
from ase_vibent.errors import InvalidInputError, LabelError, TrainingError
from ase_vibent.model import SiteModel
from ase_vibent.structures.sublattices import SUBLATTICES
from ase_vibent.training.report import Report, evaluate_frames
from ase_vibent.training.rows import Progress, assemble_triangles, weighted_rows
from ase_vibent.training.solvers import SOLVERS, Solution, solve
from ase_vibent.training.targets import QUANTITIES, ReferenceCrystals, Targets
from ase_vibent.training.triangle import Triangle

Array = NDArray[np.float64]

#: P0 4.2.1, but for sites: with its 600, values are fitted at the expense of gradients, and both
#: are predicted worse (benchmarks/papers/p0_silicon.py).
DEFAULT_WEIGHTS = {
    "entropy": 60.0,
    "gradient": 1.0,
    "strain": 1.0,
    "sites": 60.0,
    "site_gradients": 1.0,
}


def train(
    frames: Sequence[Atoms] | str | os.PathLike[str],
    descriptor: Descriptor | None = None,
    *,
    resolve: str = "sublattices",
    quantities: Sequence[str] | None = None,
    weights: Mapping[str, float] | None = None,
    solver: str = "ridge",
    solver_options: Mapping[str, Any] | None = None,
    test: Sequence[Atoms] | float = 0.0,
    seed: int = 0,
    progress: Progress = lambda items: items,
) -> SiteModel:
    """Fit a linear site-entropy model, P0 (4.3), (4.4).

    The constant of every species that the first perfect crystal holds is its converged
    bulk value; other constants are fitted.

    Parameters
    ----------
    frames : sequence of Atoms, or path
        Labelled by `attach_labels`, the perfect crystals they name among them.
    descriptor : Descriptor, optional
        By default ACE of the species that occur, with a cutoff of 5 Å, correlation order
        3 and degree 16.
    resolve : {"sublattices", "species", "nothing"}
        What the model tells apart: sublattices where all frames have labels of them, species
        only, or no kinds of sites at all.
    quantities : sequence of {"entropy", "gradient", "strain", "sites", "site_gradients"}, optional
        Labels to fit. By default totals and their derivatives, wherever a frame has them;
        those of sites only where there is nothing else.
    weights : mapping, optional
        Weight of each kind of row; by default 60, 1, 1, 60, 1.
    solver : {"ridge", "bayesian-ridge", "ard", "rrqr"}
    solver_options : mapping, optional
        Passed on to the solver, except "smoothness": the power p of a prior by which rough
        features have small coefficients, see `ChannelDescriptor.smoothness`; by default none.
    test : sequence of Atoms, or float
        Held-out frames, or the fraction of frames to hold out, whole configurations at a
        time. Perfect crystals are never held out by a fraction.
    seed : int
        Of the split.
    progress : callable (items) -> items
        Progress bar around the frames.

    Returns
    -------
    SiteModel
        Its header holds the report.

    Raises
    ------
    TrainingError, LabelError, UnknownSpeciesError
    """
    if isinstance(frames, str | os.PathLike):
        frames = dataset.read_labels(frames)
    frames = list(frames)
    if solver not in SOLVERS:
        raise InvalidInputError(f"solver: expected one of {', '.join(SOLVERS)}, got {solver!r}")
    fit_weights = _checked_weights(weights)
    if isinstance(test, int | float):
        frames, held_out = split_frames(frames, float(test), seed)
    else:
        held_out = list(test)
    if not frames:
        raise TrainingError("frames: there is no labelled structure to fit")
    references = ReferenceCrystals([*frames, *held_out])
    targets = [references.targets(atoms, k) for k, atoms in enumerate(frames)]
    chosen = _chosen_quantities(targets, quantities)
    if descriptor is None:
        labelled = all(atoms.has(SUBLATTICES) for atoms in frames)
        present = {k for atoms in frames for k in kinds_of(atoms, sublattices=labelled)}
        descriptor = ACE(tuple(sorted(present)))
    descriptor = collapsed(descriptor, resolve)
    shift, count = _feature_shift(descriptor, frames, references)
    known = references.bulk_constants(descriptor.species)
    triangles = assemble_triangles(
        descriptor, frames, targets, shift, known, chosen, progress=progress
    )
    rows = weighted_rows(triangles, fit_weights)
    free = [z for z, symbol in enumerate(descriptor.species) if symbol not in known]
    _require_determined(rows, descriptor.species, free, count)
    solution, scale = _solve(rows, len(free), descriptor, shift, solver, solver_options or {})
    constants = np.array([known.get(symbol, 0.0) for symbol in descriptor.species])
    constants[free] = solution.coefficients[: len(free)]
    model = SiteModel(
        descriptor,
        constants=constants,
        weights=solution.coefficients[len(free) :].reshape(shift.shape),
        shift=shift,
        scale=scale.reshape(shift.shape),
    )
    report = Report(
        train=evaluate_frames(model, frames, references),
        test=evaluate_frames(model, held_out, references) if held_out else {},
    )
    model.header.update(
        units="k_B per site, mass-free (masses of 1 amu, T0 = 300 K)",
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        solver={"name": solver, **solution.details},
        quantities=list(chosen),
        row_weights=fit_weights,
        reference_crystals=list(references.crystals),
        n_frames=len(frames),
        n_rows=rows.n_rows,
        data_checksum=data_checksum(frames),
        errors=report.metrics(),
    )
    return model


def split_frames(
    frames: Sequence[Atoms], fraction: float, seed: int
) -> tuple[list[Atoms], list[Atoms]]:
    """Hold out a fraction of the configurations; perfect crystals stay in training.

    Parameters
    ----------
    frames : sequence of Atoms
    fraction : float
    seed : int

    Returns
    -------
    train, test : lists of Atoms
    """
    if not 0 <= fraction < 1:
        raise InvalidInputError(f"test: expected a fraction from 0 up to 1, got {fraction}")
    candidates = [k for k, atoms in enumerate(frames) if dataset.NAME not in atoms.info]
    # Processes write frames as they finish; their keys bring them into one order again.
    candidates.sort(key=lambda k: str(frames[k].info.get(dataset.KEY, "")))
    n_test = round(fraction * len(candidates))
    held = set(np.random.default_rng(seed).permutation(candidates)[:n_test].tolist())
    return (
        [atoms for k, atoms in enumerate(frames) if k not in held],
        [atoms for k, atoms in enumerate(frames) if k in held],
    )


def data_checksum(frames: Sequence[Atoms]) -> str:
    """SHA-256 of the labelled structures, as they stand in a file."""
    digest = hashlib.sha256()
    for atoms in frames:
        digest.update(dataset.format_frame(atoms).encode())
    return digest.hexdigest()


def _checked_weights(weights: Mapping[str, float] | None) -> dict[str, float]:
    for name, value in (weights or {}).items():
        if name not in QUANTITIES or not (np.isfinite(value) and value >= 0):
            raise InvalidInputError(
                f"weights: expected numbers ≥ 0 for {', '.join(QUANTITIES)}, got {name}: {value}"
            )
    return {**DEFAULT_WEIGHTS, **(weights or {})}


def _chosen_quantities(targets: Sequence[Targets], wanted: Sequence[str] | None) -> tuple[str, ...]:
    present = [q for q in QUANTITIES if any(getattr(t, q) is not None for t in targets)]
    if wanted is None:
        totals = tuple(q for q in present if not q.startswith("site"))
        return totals or tuple(present)
    for quantity in wanted:
        if quantity not in QUANTITIES:
            raise InvalidInputError(
                f"quantities: expected some of {', '.join(QUANTITIES)}, got {quantity!r}"
            )
        if quantity not in present:
            raise LabelError(
                f"quantities: no frame has a label for {quantity!r} and a perfect crystal with "
                f"one (present: {', '.join(present) or 'none'})"
            )
    if not wanted:
        raise TrainingError("quantities: none asked for, so there is no row to fit")
    return tuple(wanted)


def _feature_shift(
    descriptor: Descriptor, frames: Sequence[Atoms], references: ReferenceCrystals
) -> tuple[Array, NDArray[np.int64]]:
    """Mean features per species, of the first perfect crystal where it has the species.

    Also the number of atoms of every species in the frames.
    """
    shape = (len(descriptor.species), descriptor.n_features)
    crystals = list(references.crystals.values())[:1]
    shift, missing = np.zeros(shape), np.ones(shape[0], dtype=bool)
    count = np.zeros(shape[0], dtype=np.int64)
    for atoms in frames:
        count += np.bincount(species_indices(atoms, descriptor.species), minlength=shape[0])
    for group in (crystals, frames):
        sums, numbers = np.zeros(shape), np.zeros(shape[0])
        if missing.any():
            for atoms in group:
                features = descriptor.compute(atoms)
                species = species_indices(atoms, descriptor.species)
                np.add.at(sums, species, features)
                numbers += np.bincount(species, minlength=shape[0])
        found = missing & (numbers > 0)
        shift[found] = sums[found] / numbers[found, None]
        missing &= ~found
    return shift, count


def _require_determined(
    rows: Triangle, species: Sequence[str], free: Sequence[int], count: NDArray[np.int64]
) -> None:
    for symbol, number in zip(species, count, strict=True):
        if number == 0:
            raise TrainingError(
                f"species: no frame holds {symbol}, so nothing determines its constant; leave it "
                "out of the descriptor or add structures"
            )
    rank = np.linalg.matrix_rank(rows.matrix[:, : len(free)]) if free else 0
    if rank < len(free):
        raise TrainingError(
            f"species: nothing determines the constants of {', '.join(species[z] for z in free)} "
            f"({rank} of {len(free)} are independent); add value labels of structures with other "
            "compositions, or a perfect crystal labelled with a name"
        )


def _solve(
    rows: Triangle,
    n_free: int,
    descriptor: Descriptor,
    shift: Array,
    solver: str,
    options: Mapping[str, Any],
) -> tuple[Solution, Array]:
    """Solution for free constants and features, and the column scale of these."""
    scale = rows.eliminated(n_free).column_rms()
    # What centring leaves of equal features is rounding.
    noise = 1e-12 * np.abs(shift).max(initial=0.0)
    dead = scale <= max(noise, 1e-12 * scale.max(initial=0.0))
    if dead.all():
        raise TrainingError(
            "frames: all features equal the perfect crystal's; add rattled or defective structures"
        )
    roughness, options = _roughness(descriptor, solver, options)
    divisor = np.where(dead, np.inf, scale * roughness)
    solution = solve(rows, solver, n_free=n_free, scale=divisor, **options)
    return solution, np.where(dead, 0.0, scale)


def _roughness(
    descriptor: Descriptor, solver: str, options: Mapping[str, Any]
) -> tuple[Array, dict[str, Any]]:
    """What coefficients are penalised by, column by column, and the solver's own options."""
    options = dict(options)
    power = options.pop("smoothness", 0)
    n_species = len(descriptor.species)
    if not power:
        return np.ones(n_species * descriptor.n_features), options
    if solver == "rrqr":
        raise InvalidInputError("smoothness: rrqr penalises nothing; use another solver")
    if not isinstance(descriptor, ChannelDescriptor):
        raise InvalidInputError(
            f"smoothness: expected a descriptor of channels, got {type(descriptor).__name__}"
        )
    return np.tile(descriptor.smoothness(power), n_species), options
