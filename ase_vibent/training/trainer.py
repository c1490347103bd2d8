"""Fit a site model to labelled structures."""

from __future__ import annotations

import datetime
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent import dataset
from ase_vibent.descriptors import ACE, Descriptor, collapsed
from ase_vibent.descriptors.kinds import kinds_of, species_indices
from ase_vibent.errors import InvalidInputError, LabelError, TrainingError
from ase_vibent.model import SiteModel, TrainingDomain
from ase_vibent.structures.sublattices import SUBLATTICES
from ase_vibent.training.calibration import posterior
from ase_vibent.training.curvature import fit_curvature
from ase_vibent.training.moments import fit_moments
from ase_vibent.training.problem import SiteProblem
from ase_vibent.training.report import Report, evaluate_frames
from ase_vibent.training.rows import Progress, gather_rows, shuffled_configurations
from ase_vibent.training.solvers import SOLVERS
from ase_vibent.training.targets import QUANTITIES, ReferenceCrystals, Targets

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
    quadratic: bool | Mapping[str, Any] = False,
    solver: str = "ridge",
    solver_options: Mapping[str, Any] | None = None,
    test: Sequence[Atoms] | float = 0.0,
    seed: int = 0,
    progress: Progress = lambda items: items,
) -> SiteModel:
    """Fit a site-entropy model, P0 (4.3), (4.4), P3 (16)-(18).

    Labels of moments, where frames have them, make a `MomentModel` for quantum corrections.
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
    quadratic : bool or mapping
        Whether a quadratic form (EQML) is fitted to what the linear model leaves; a
        mapping holds options of `fit_curvature`: directions, rank.
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
    problem = SiteProblem.of_frames(descriptor, frames, references)
    rows = gather_rows(problem, frames, targets, chosen, progress=progress)
    all_rows = rows.merged(fit_weights)
    options = solver_options or {}
    fit = problem.fit(all_rows, solver, options)
    model = replace(
        fit.model(),
        posterior=posterior(fit, rows, fit_weights, solver, options),
        domain=_domain(problem, frames),
        moments=fit_moments(descriptor, frames, problem.shift),
    )
    if quadratic:
        keywords = dict(quadratic) if isinstance(quadratic, Mapping) else {}
        curvature = fit_curvature(
            model, frames, targets, chosen, fit_weights, progress=progress, **keywords
        )
        model = replace(model, curvature=curvature)
    report = Report(
        train=evaluate_frames(model, frames, references),
        test=evaluate_frames(model, held_out, references) if held_out else {},
    )
    model.header.update(
        units="k_B per site, mass-free (masses of 1 amu, T0 = 300 K)",
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        solver={"name": solver, **fit.solution.details},
        quantities=list(chosen),
        row_weights=fit_weights,
        reference_crystals=list(references.crystals),
        n_frames=len(frames),
        n_rows=all_rows.n_rows,
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
    candidates = shuffled_configurations(frames, seed)
    held = set(candidates[: round(fraction * len(candidates))].tolist())
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


def _domain(problem: SiteProblem, frames: Sequence[Atoms]) -> TrainingDomain:
    """Where the frames' environments lie."""

    def environments() -> Iterator[tuple[Array, NDArray[np.int64]]]:
        for atoms in frames:
            descriptor = problem.descriptor
            yield descriptor.compute(atoms), species_indices(atoms, descriptor.species)

    return TrainingDomain.of_environments(environments, problem.shift)
