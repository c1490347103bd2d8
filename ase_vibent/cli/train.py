"""`vibent train`: labels to coefficient file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ase import Atoms

from ase_vibent import dataset
from ase_vibent.cli.shared.arguments import (
    add_basis,
    add_fit,
    add_report,
    natural_number,
    positive_number,
)
from ase_vibent.cli.shared.descriptors import descriptor_of_options, descriptor_text
from ase_vibent.cli.shared.files import (
    progress_bar,
    require_page,
    require_plottable,
    require_writable,
    show,
)
from ase_vibent.descriptors import RESOLUTIONS
from ase_vibent.figures import parity_plot
from ase_vibent.model import SiteModel
from ase_vibent.quantities import TARGETS
from ase_vibent.report.training import training_page
from ase_vibent.training.budget import as_header, error_budget, format_budget
from ase_vibent.training.coverage import CRYSTAL, defect_kind
from ase_vibent.training.energies import REFERENCES
from ase_vibent.training.report import evaluate_frames, format_metrics
from ase_vibent.training.soft_frames import format_soft_frames
from ase_vibent.training.trainer import split_frames, train
from ase_vibent.training.training_set import TrainingSet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("labels", nargs="+", help="extended XYZ from 'vibent label'")
    parser.add_argument("-o", "--output", required=True, help="coefficient file (.vibent)")
    add_basis(parser)
    parser.add_argument(
        "--resolve",
        choices=RESOLUTIONS,
        default=RESOLUTIONS[0],
        help="what the model tells apart; default: species, and sublattices where labelled",
    )
    parser.add_argument(
        "--quadratic",
        type=positive_number,
        nargs="?",
        const=True,
        default=False,
        metavar="N",
        help="add a quadratic form (EQML) of N feature combinations for every kind of site",
    )
    add_fit(parser)
    parser.add_argument(
        "--test-fraction", type=float, default=0.1, help="configurations held out; default 0.1"
    )
    parser.add_argument("--seed", type=natural_number, default=0, help="of the split; default 0")
    parser.add_argument("--plot", metavar="FILE", help="parity plot (PNG, PDF, SVG)")
    add_report(parser, "with figures of parity and calibration")
    parser.add_argument(
        "--error-budget",
        action="store_true",
        help="split the error into truncation, basis, statistics and solver, by some dozen fits",
    )


def run(options: argparse.Namespace) -> int:
    """`vibent train`: labels to coefficient file."""
    frames = [atoms for path in options.labels for atoms in dataset.read_labels(path)]
    fitted, held_out = split_frames(frames, options.test_fraction, options.seed)
    require_writable(options.output)
    require_plottable(options.plot)
    require_page(options.report)
    target = options.target
    training_set = TrainingSet.of(fitted, options.quantities, held_out=held_out, target=target)
    model = train(
        fitted,
        descriptor_of_options(options, training_set),
        target=target,
        resolve=options.resolve,
        quantities=options.quantities,
        quadratic=_curvature_options(options.quadratic),
        solver=options.solver,
        test=held_out,
        progress=lambda items: progress_bar(items, None, "features"),
    )
    if options.error_budget:
        budgets = error_budget(
            training_set,
            model.descriptor,
            model.header["row_weights"],
            {},
            progress=lambda items: progress_bar(items, None, "error budget"),
        )
        model.header["budget"] = as_header(budgets)
    model.save(options.output)
    if options.plot or options.report:
        references = REFERENCES[target](frames)
        sets = {"train": fitted, "test": held_out}
        comparisons = {k: evaluate_frames(model, v, references) for k, v in sets.items() if v}
    if options.plot:
        parity_plot(comparisons, options.plot, target)
    if options.report:
        settings = _settings(model, options, fitted, held_out)
        name = Path(options.output).stem
        page = training_page(name, model, comparisons, held_out, references, settings)
        page.write(options.report)
    errors, n_features = model.header["errors"], model.descriptor.n_features
    budget, soft = model.header.get("budget"), model.header.get("soft")
    trials = model.header["descriptor_trials"]
    show(
        options,
        {
            "model": str(options.output),
            "descriptor": model.descriptor.to_dict(),
            "n_features": n_features,
            "solver": model.header["solver"],
            "label_errors": model.header["label_errors"],
            "descriptor_trials": trials,
            "errors": errors,
            "soft": soft,
            "budget": budget,
        },
        f"{descriptor_text(model.descriptor.to_dict())}\n"
        + (f"the best of {len(trials)} that were tried by cross-validation\n" if trials else "")
        + f"{n_features} functions, {model.header['n_rows']} rows, "
        f"{len(fitted)} frames fitted, {len(held_out)} held out\n"
        f"{_solver_text(model.header['solver'])}\n"
        f"{_label_errors_text(model.header['label_errors'], TARGETS[target]['total'].unit)}"
        f"{format_metrics(errors, target)}\n"
        f"{_curvature_hint(training_set)}"
        + (format_soft_frames(soft) if soft else "")
        + (format_budget(budget, model.descriptor.cutoff) + "\n" if budget else "")
        + f"coefficient file: {options.output}",
    )
    return 0


def _solver_text(solver: Mapping[str, Any]) -> str:
    """How coefficients were found, in a line."""
    if "chosen_by" not in solver:
        return str(solver["name"])
    by = {"cross-validation": "configurations left out in turn: few rows for so many functions"}
    return f"{solver['name']}, strength {solver['strength']:.2g} by " + by.get(
        solver["chosen_by"], solver["chosen_by"]
    )


def _label_errors_text(errors: Mapping[str, float], unit: str) -> str:
    """A line of what errors of labels did to the fit, if they did anything."""
    if not errors["weighted"]:
        return ""
    return (
        f"labels off by up to {errors['largest']:.2g} {unit}: {errors['weighted']} frames count "
        f"less for it, {errors['below_half']} less than half (least weight "
        f"{errors['least_weight']:.2g})\n"
    )


def _curvature_hint(training_set: TrainingSet) -> str:
    """A line of advice where all frames but the perfect crystals hold defects."""
    references = training_set.references
    kinds = [
        defect_kind(atoms, references.of(atoms), key="")
        for atoms in training_set.frames
        if dataset.NAME not in atoms.info
    ]
    if not references.crystals or not kinds or CRYSTAL in kinds:
        return ""
    return (
        "no crystal with displaced atoms among the frames: away from defects, such a model knows "
        "little of how the entropy changes with displacements; add some with 'vibent label "
        "--displaced-crystals 2'\n"
    )


def _settings(
    model: SiteModel, options: argparse.Namespace, fitted: list[Atoms], held_out: list[Atoms]
) -> dict[str, object]:
    """How a model was made, for the report."""
    return {
        "labels": ", ".join(options.labels),
        "model": options.output,
        "descriptor": descriptor_text(model.descriptor.to_dict()),
        "functions": model.descriptor.n_features,
        "solver": options.solver,
        "rows": model.header["n_rows"],
        "frames fitted": len(fitted),
        "frames held out": len(held_out),
    }


def _curvature_options(quadratic: bool | int) -> bool | dict[str, int]:
    return quadratic if isinstance(quadratic, bool) else {"directions": quadratic}
