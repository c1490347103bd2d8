"""Figure of densities of states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ase_vibent.figures.saving import Place, save, verbatim

if TYPE_CHECKING:
    from ase_vibent.arrays import Array


def states_plot(curves: Mapping[str, tuple[Array, Array]], path: Place) -> None:
    """Densities of states.

    Parameters
    ----------
    curves : mapping of str to (energies, densities)
        ħω, eV, and states per atom, 1/eV, by label.
    path : path or binary file
        PNG, PDF or SVG by its ending; SVG into an open file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for label, (energies, densities) in curves.items():
        axes.plot(1e3 * energies, 1e-3 * densities, lw=1.2, label=verbatim(label))
    axes.set(xlabel="$\\hbar\\omega$ (meV)", ylabel="states per atom (1/meV)")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside upper center", ncols=min(3, len(curves)), frameon=False)
    save(figure, path)
