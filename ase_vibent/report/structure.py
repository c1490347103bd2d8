"""The report of one structure: its atoms in 3D, tables and figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from ase.units import kB

from ase_vibent.arrays import Array
from ase_vibent.calculators.base import EntropyCalculator
from ase_vibent.figures import sites_plot, states_plot
from ase_vibent.report.page import Page
from ase_vibent.report.scene import Scene
from ase_vibent.report.site_values import SiteValues

#: Atoms in the table.
LISTED = 15
#: Of models, below their site values.
SHARES = (
    "Totals and differences of totals are what a model is trained on. How they are shared among "
    "neighbouring sites is less certain: by the standard deviations of the sites, which largely "
    "cancel in sums."
)


def structure_page(
    scene: Scene,
    values: SiteValues,
    calculator: EntropyCalculator,
    *,
    remarks: Sequence[str] = (),
    states: Mapping[str, tuple[Array, Array]] | None = None,
) -> Page:
    """Page of a structure.

    Parameters
    ----------
    scene : Scene
        Of the values, see `scene_of`.
    values : SiteValues
    calculator : EntropyCalculator
    remarks : sequence of str
        What the reader should know, such as warnings.
    states : mapping of str to (energies, densities), optional
        Densities of states, as `states_plot` draws them.

    Returns
    -------
    Page
    """
    page = Page(f"Site entropies of {scene.name}")
    for remark in (conditions(calculator), *remarks):
        page.text(remark)
    page.table(*_totals(values))
    page.heading("Atoms")
    page.scene(scene)
    page.heading("Atoms that stand out")
    page.table(*unusual_atoms(scene))
    page.text(share_remark(values))
    page.heading("Figures")
    first = scene.quantities[0]
    distances = scene.distances(scene.order[:1])
    page.figure(
        lambda file: sites_plot(first.values, distances, first.name, file),
        f"Sites by {first.name}, and {first.name} around atom {scene.order[0]}.",
    )
    if states:
        page.figure(
            lambda file: states_plot(states, file),
            "Exact densities of states, of all atoms on average and of single sites.",
        )
    return page


def conditions(calculator: EntropyCalculator, temperatures: Iterable[float] = ()) -> str:
    """What values are of, in a sentence.

    Parameters
    ----------
    calculator : EntropyCalculator
        Its temperature is that of site values.
    temperatures : iterable of float, K
        Of other values.

    Returns
    -------
    str
    """
    model = calculator.parameters.get("model")
    source = f"the model {Path(model).stem}" if model else type(calculator).__name__
    statistics = "quantum" if calculator.parameters.get("quantum") else "classical"
    others = sorted({*temperatures} - {calculator.temperature})
    chosen = ", ".join(f"{temperature:g}" for temperature in others)
    also = f" (sites) and {chosen} K" if others else ""
    return f"Entropies by {source}, {statistics} statistics, at {calculator.temperature:g} K{also}."


def share_remark(values: SiteValues) -> str:
    """How well single sites are known, in words; empty where they are exact.

    Parameters
    ----------
    values : SiteValues

    Returns
    -------
    str
    """
    return "" if values.entropies_std is None else SHARES


def _totals(values: SiteValues) -> tuple[dict[str, str], list[tuple]]:
    std, differences, grades = values.entropy_std, values.differences, values.grades
    columns = {
        "formula": "<",
        "atoms": ">",
        "S (k_B)": ">.4f",
        "± (k_B)": ">±.4f",
        "S/atom (k_B)": ">.6f",
        "more than in the crystal (k_B)": ">.4f",
        "F_vib (eV)": ">.6f",
        "largest grade": ">.2f",
    }
    row = (
        values.atoms.get_chemical_formula(),
        len(values.atoms),
        values.entropy / kB,
        None if std is None else std / kB,
        values.entropy / kB / len(values.atoms),
        None if differences is None else float(np.nansum(differences)) / kB,
        values.free_energy,
        None if grades is None else float(grades.max()),
    )
    return columns, [row]


def unusual_atoms(scene: Scene) -> tuple[dict[str, str], list[tuple]]:
    """Table of the atoms that stand out.

    Parameters
    ----------
    scene : Scene

    Returns
    -------
    columns, rows
        As `ase_vibent.tables.format_table` takes them.
    """
    columns = {"atom": ">", "species": "<", "x (Å)": ">z.3f", "y (Å)": ">z.3f", "z (Å)": ">z.3f"}
    columns |= {q.title: ">+.4f" if q.diverging else ">.4f" for q in scene.quantities}
    atoms = scene.atoms
    return columns, [
        (k, atoms.symbols[k], *atoms.positions[k], *(q.values[k] for q in scene.quantities))
        for k in scene.order[:LISTED].tolist()
    ]
