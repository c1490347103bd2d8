"""The structure of a report as a picture, for papers."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from ase_vibent.figures.saving import Place, save, typeset, verbatim
from ase_vibent.report.scene import VIEW, Scene

#: Smallest radius of a sphere, as a share of the largest.
SMALLEST = 0.3
#: Colour of atoms whose value is unknown.
UNKNOWN = "#bbbbbb"


def picture(scene: Scene, place: Place, quantity: int = 0) -> None:
    """Draw a structure as a page shows it at first, by matplotlib.

    Parameters
    ----------
    scene : Scene
    place : path or binary file
        PNG, PDF or SVG by its ending; SVG into an open file.
    quantity : int
        Which of the scene's quantities colours stand for.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import EllipseCollection, LineCollection
    from matplotlib.colors import ListedColormap, Normalize, to_rgba
    from matplotlib.figure import Figure

    shown = scene.quantities[quantity]
    colours = ScalarMappable(Normalize(*shown.limits), ListedColormap(shown.colours(256)))
    across, up, depth = (scene.places @ VIEW.T).T
    order = np.argsort(depth, kind="stable")
    sizes = scene.radii * (SMALLEST + (1 - SMALLEST) * np.sqrt(shown.strengths[scene.shown]))
    known = np.isfinite(shown.values[scene.shown])
    faces = np.where(known[:, None], colours.to_rgba(shown.values[scene.shown]), to_rgba(UNKNOWN))
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    panel = figure.subplots()
    flat = scene.corners @ VIEW[:2].T
    edges = [flat[[a, b]] for a, b in combinations(range(len(flat)), 2) if (a ^ b).bit_count() == 1]
    panel.add_collection(LineCollection(edges, colors="0.6", linewidths=0.6))
    widths = 2 * sizes[order]
    spheres = EllipseCollection(
        widths, widths, np.zeros(len(widths)), units="xy", facecolors=faces[order],
        edgecolors="0.3", linewidths=0.3, offsets=np.column_stack([across, up])[order],
        offset_transform=panel.transData,
    )  # fmt: skip
    panel.add_collection(spheres)
    room = scene.radii.max() + 0.5
    points = np.vstack([np.column_stack([across, up]), flat])
    panel.set(xlim=_ends(points[:, 0], room), ylim=_ends(points[:, 1], room), aspect="equal")
    panel.set_axis_off()
    unit = typeset(shown.title)
    figure.colorbar(colours, ax=panel, label=unit, shrink=0.8)
    if scene.remark:
        figure.supxlabel(verbatim(scene.remark), fontsize="small")
    save(figure, place)


def _ends(places: np.ndarray, room: float) -> tuple[float, float]:
    return float(places.min()) - room, float(places.max()) + room
