"""The report of a training: errors, parity, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ase import Atoms

from ase_vibent.errors import VibentError
from ase_vibent.figures import calibration_plot, parity_plot
from ase_vibent.model import SiteModel
from ase_vibent.report.page import Page
from ase_vibent.training.budget import format_budget
from ase_vibent.training.coverage import check_calibration
from ase_vibent.training.report import METRIC_COLUMNS, Comparison, metric_rows
from ase_vibent.training.targets import ReferenceCrystals


def training_page(
    name: str,
    model: SiteModel,
    comparisons: Mapping[str, dict[str, Comparison]],
    held_out: Sequence[Atoms],
    references: ReferenceCrystals,
    settings: Mapping[str, object],
) -> Page:
    """Page of a model and its errors.

    Parameters
    ----------
    name : str
        Of the model.
    model : SiteModel
        As `train` returns it.
    comparisons : mapping of str to dict
        Of `evaluate_frames`, by set: "train", "test".
    held_out : sequence of Atoms
        Labelled.
    references : ReferenceCrystals
        Of all frames.
    settings : mapping of str to object
        What the reader should know of how it was made.

    Returns
    -------
    Page
    """
    page = Page(f"Training of {name}")
    page.table({"": "<", "value": "<"}, list(settings.items()))
    page.heading("Errors")
    page.table(METRIC_COLUMNS, metric_rows(model.header["errors"], model.target))
    if model.header.get("budget"):
        page.lines(format_budget(model.header["budget"], model.descriptor.cutoff))
    page.figure(
        lambda file: parity_plot(comparisons, file, model.target),
        "Predicted against exact values, errors beneath.",
    )
    page.heading("Are its error bars right?")
    try:
        calibration = check_calibration(model, held_out, references)
    except VibentError as error:
        page.text(f"Nothing tells: {error}")
        return page
    page.text(f"{calibration.verdict()}.")
    page.figure(
        lambda file: calibration_plot(calibration, file),
        "Totals that were held out, within the errors that the model states for them.",
    )
    return page
