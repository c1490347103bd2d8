"""Fit a site model to labelled structures."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent import dataset
from ase_vibent.arrays import Array
from ase_vibent.checks import check_choice
from ase_vibent.descriptors import Descriptor, Resolution, collapse
from ase_vibent.errors import InvalidInputError, TrainingError
from ase_vibent.model import SiteModel, TrainingDomain
from ase_vibent.quantities import (
    DEFAULT_WEIGHTS,
    ENTROPY,
    QUANTITIES,
    TARGETS,
    VALUES,
    QuantityName,
    SolverName,
    TargetName,
)
from ase_vibent.regression.solvers import SOLVERS
from ase_vibent.structures.atom_types import species_indices
from ase_vibent.training.automatic import choose_weights
from ase_vibent.training.calibration import posterior
from ase_vibent.training.cross_validation import fit_rows
from ase_vibent.training.curvature import fit_curvature
from ase_vibent.training.descriptor_choice import choose_descriptor
from ase_vibent.training.features import FrameFeatures
from ase_vibent.training.floors import floor_of
from ase_vibent.training.larger_cells import finite_size
from ase_vibent.training.left_out import calibration_frames, left_out
from ase_vibent.training.moments import fit_moments
from ase_vibent.training.report import Comparison, Report, evaluate_frames
from ase_vibent.training.rows import Progress, gather_rows
from ase_vibent.training.soft_frames import soft_frames
from ase_vibent.training.training_set import TrainingSet, shuffled_configurations
from ase_vibent.training.tuning import Trial

#: Share of the variance of gradients that a fit must explain.
LEAST_EXPLAINED = 0.1


def train(
    frames: Sequence[Atoms] | str | os.PathLike[str],
    descriptor: Descriptor | Mapping[str, Any] | None = None,
    *,
    target: TargetName = "entropy",
    resolve: Resolution = "sublattices",
    quantities: Sequence[QuantityName] | None = None,
    weights: Mapping[str, float] | None = None,
    quadratic: bool | Mapping[str, Any] = False,
    solver: SolverName = "ridge",
    solver_options: Mapping[str, Any] | None = None,
    test: Sequence[Atoms] | float = 0.0,
    seed: int = 0,
    progress: Progress = lambda items: items,
) -> SiteModel:
    """Fit a model of site entropies.

    [Torabi2024] (4.3), (4.4), [Lapointe2022] (16)-(18), or site energies, [Ortner2022] (4.2).

    Labels of moments, where frames have them, make a `MomentModel` for quantum corrections.
    The constant of every species that the first perfect crystal holds is its converged
    bulk entropy; other constants are fitted. `vibent_weight` in a frame's info multiplies its rows;
    those whose Hessian is off (`vibent_entropy_errors`) by more than a model is count less.
    Labels with a floor (`vibent_floor`) make a model that leaves soft modes to force calls, see
    `Floor`; frames that have their Hessians in `vibent_force_constants` make its force field.
    Frames with `vibent_size_check`, larger than the others, and their crystals are not fitted: they
    tell how far the model is off in large cells.

    Parameters
    ----------
    frames : sequence of Atoms, or path
        Labelled by `attach_labels`, the perfect crystals they name among them. Energies may as
        well be results of calculators on the frames, as ASE reads them from files.
    descriptor : Descriptor or mapping, optional
        By default ACE of the atom types that occur, beside pair functions where they help, chosen
        by leaving some of the training data out (see `choose_descriptor`); a mapping holds those
        parameters of ACE that are not left to the data.
    target : {"entropy", "energy"}
        What is learned. Energies make a potential, see `SiteEnergyCalculator`.
    resolve : {"sublattices", "species", "nothing"}
        What the model tells apart: sublattices where all frames have labels of them, species
        only, or no atom types at all.
    quantities : sequence of str, optional
        Labels to fit, some of "total", "gradient", "strain", "sites", "site_gradients" and
        "force_constants"; of energies, the gradient stands for forces, strain for virials. By
        default totals and their derivatives, wherever a frame has them; those of sites only
        where there is nothing else.
    weights : mapping, optional
        Factor of each kind of row, whose square enters the loss. By default derivatives have 1,
        force constants 0.1, and values what predicts left-out configurations best (see
        `choose_weights`).
    quadratic : bool or mapping
        Whether a quadratic form (EQML) is fitted to what the linear model leaves; a
        mapping holds options of `fit_curvature`: directions, rank.
    solver : {"ridge", "bayesian-ridge", "ard", "rrqr"}
    solver_options : mapping, optional
        Passed on to the solver, except "smoothness": the power p of a prior by which rough
        features have small coefficients, see `DensityDescriptor.roughness`; by default none. The
        "strength" of ridge regression is a number, "evidence", "gcv", "cv" (the least errors on
        configurations that are left out), or by default "auto", which is "cv" where there are few
        rows, below four for every coefficient, and else "evidence".
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
    TrainingError
        If nothing determines a constant or no feature varies; or if the labels are no smooth
        function of the structure, as those of a potential whose forces are rough.
    LabelError, UnknownSpeciesError

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase_vibent import ACE, HessianEntropyCalculator, attach_labels, train
    >>> from ase_vibent.potentials import stillinger_weber_silicon
    >>> from ase_vibent.structures import rattle
    >>> crystal = bulk("Si", cubic=True)
    >>> exact = HessianEntropyCalculator(stillinger_weber_silicon(), bulk_width=8.0, unstable="any")
    >>> frames = [attach_labels(crystal, exact, name="si8")]
    >>> rattled = rattle(crystal, 0.05, 3)
    >>> frames += [attach_labels(atoms, exact, reference="si8") for atoms in rattled]
    >>> model = train(frames, ACE(["Si"], cutoff=4.0, order=2, degree=6))
    >>> model.weights.shape  # species, features
    (1, 17)
    """
    if isinstance(frames, str | os.PathLike):
        frames = dataset.read_labels(frames)
    check_choice("solver", solver, SOLVERS)
    check_choice("target", target, TARGETS)
    given_weights = None if weights is None else _checked_weights(weights)
    if isinstance(test, int | float):
        frames, held_out = split_frames(frames, float(test), seed)
    else:
        held_out = list(test)
    training_set = TrainingSet.of(frames, quantities, held_out=held_out, target=target)
    frames, references = training_set.frames, training_set.references
    trials: list[Trial] = []
    if descriptor is None or isinstance(descriptor, Mapping):
        choice = choose_descriptor(training_set, progress=progress, **(descriptor or {}))
        descriptor, trials = choice.descriptor, choice.trials
    descriptor = collapse(descriptor, resolve)
    options = solver_options or {}
    calibrating = [frames[k] for k in calibration_frames(training_set)]
    features = FrameFeatures(descriptor, again=calibrating)
    rows = gather_rows(features, training_set, progress=progress)
    fit_weights = given_weights or choose_weights(rows, solver, options)
    fit = fit_rows(rows, fit_weights, solver, options)
    shift = rows.problem.shift
    model = replace(
        fit.model(),
        floor=floor_of([*frames, *held_out], references),
        domain=_domain(features, frames, shift),
        moments=fit_moments(features, frames, shift) if target == ENTROPY.name else None,
    )
    changes = None
    if quadratic:
        keywords = dict(quadratic) if isinstance(quadratic, Mapping) else {}
        curvature, changes = fit_curvature(
            model, training_set, fit_weights, features=features, progress=progress, **keywords
        )
        model = replace(model, curvature=curvature)
    sums = [model.evaluate(atoms) for atoms in frames]
    totals = [own.values.sum() for own in sums]
    errors = left_out(
        fit,
        training_set,
        fit_weights,
        totals,
        features=features,
        changes=changes,
        progress=progress,
    )
    if np.isfinite(fit.solution.noise):  # which rows that are all fitted exactly do not tell
        model = replace(model, posterior=posterior(fit, fit_weights, errors))
    if target == ENTROPY.name and references.crystals:
        model = replace(model, finite_size=finite_size(model, frames, training_set.larger))
    report = Report(
        train=evaluate_frames(model, frames, references, sums),
        test=evaluate_frames(model, held_out, references) if held_out else {},
    )
    explained = report.train["gradient"].metrics()["r2"] if "gradient" in report.train else 1.0
    if explained < LEAST_EXPLAINED and "gradient" in training_set.quantities:
        # Values that contradict one another spoil gradients, too: judged without them.
        alone = fit_weights | dict.fromkeys(VALUES, 1e-6)
        gradients_only = fit_rows(rows, alone, solver, options).model()
        _require_smooth_gradients(evaluate_frames(gradients_only, frames, references)["gradient"])
    model.header.update(
        units=TARGETS[target].site_values,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        solver={"name": solver, "noise": fit.solution.noise, **fit.solution.details},
        descriptor_trials=[asdict(trial) for trial in trials],
        quantities=list(training_set.quantities),
        row_weights=fit_weights,
        label_errors=_label_errors(training_set),
        reference_crystals=list(references.crystals),
        n_frames=len(frames),
        n_rows=fit.n_rows,
        data_checksum=training_set.checksum(),
        errors=report.metrics(),
    )
    if target == ENTROPY.name:
        model.header["soft"] = soft_frames(frames, references, sums).as_header()
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
    held = set(candidates[: round(fraction * len(candidates))])
    return (
        [atoms for k, atoms in enumerate(frames) if k not in held],
        [atoms for k, atoms in enumerate(frames) if k in held],
    )


def _checked_weights(weights: Mapping[str, float] | None) -> dict[str, float]:
    for name, value in (weights or {}).items():
        if name not in QUANTITIES or not (np.isfinite(value) and value >= 0):
            raise InvalidInputError(
                f"weights: expected numbers ≥ 0 for {', '.join(QUANTITIES)}, got {name}: {value}"
            )
    return {**DEFAULT_WEIGHTS, **(weights or {})}


def _require_smooth_gradients(fitted: Comparison) -> None:
    """Raise TrainingError if a fit explains next to nothing of the gradients it is made for."""
    explained = fitted.metrics()["r2"]
    if explained < LEAST_EXPLAINED:
        raise TrainingError(
            f"labels: a fit explains {max(explained, 0.0):.0%} of their gradients, as if they were "
            "no smooth function of the structure; the forces behind them may be rough (see "
            "vibent_entropy_errors): label with a larger --displacement, or fit with --quantities "
            "total alone"
        )


def _label_errors(training_set: TrainingSet) -> dict[str, float]:
    """How many labels have errors that count, and what weights they leave."""
    weights = training_set.error_weights
    return {
        "largest": max(target.error for target in training_set.targets),
        "weighted": int(np.sum(weights < 1)),
        "below_half": int(np.sum(weights < 0.5)),
        "least_weight": float(weights.min()),
    }


def _domain(features: FrameFeatures, frames: Sequence[Atoms], shift: Array) -> TrainingDomain:
    """Where the frames' environments lie."""

    def environments() -> Iterator[tuple[Array, NDArray[np.int64]]]:
        for atoms in frames:
            yield features.values(atoms), species_indices(atoms, features.descriptor.species)

    return TrainingDomain.of_environments(environments, shift)
