"""Structures in notebooks."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from ase import Atoms

from ase_vibent.calculators.base import EntropyCalculator
from ase_vibent.errors import InvalidInputError
from ase_vibent.report.page import Page
from ase_vibent.report.scene import MOST_ATOMS, Scene
from ase_vibent.report.site_values import scene_of, site_values

#: Of what a notebook shows, pixels.
HEIGHT = 760


@dataclass(frozen=True, repr=False)
class View:
    """A structure as a notebook shows it.

    Attributes
    ----------
    scene : Scene
    """

    scene: Scene

    def __repr__(self) -> str:
        return f"View({self.scene.name}: {len(self.scene.shown)} atoms)"

    def page(self) -> Page:
        """The structure as a page of its own, to be written."""
        page = Page(self.scene.name)
        page.scene(self.scene)
        return page

    def _repr_html_(self) -> str:
        # In a frame of its own, where neither styles nor scripts meet those of the notebook.
        return (
            f'<iframe srcdoc="{escape(self.page().html())}" title="{escape(self.scene.name)}" '
            f'style="width: 100%; height: {HEIGHT}px; border: 0"></iframe>'
        )


def show(
    atoms: Atoms,
    calculator: EntropyCalculator | None = None,
    *,
    crystal: Atoms | None = None,
    most: int = MOST_ATOMS,
) -> View:
    """A structure in 3D, its atoms coloured by site entropy, in a notebook.

    Turn it by dragging, magnify it by the wheel, click an atom for its numbers.

    Parameters
    ----------
    atoms : Atoms
    calculator : EntropyCalculator, optional
        Exact or surrogate; by default `atoms.calc`.
    crystal : Atoms, optional
        Perfect crystal, a unit cell or a supercell, that differences are to; a classical site model
        knows its own.
    most : int
        Number of atoms that are drawn at most: those of the largest differences, and what is around
        them.

    Returns
    -------
    View

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase_vibent import SiteEntropyCalculator, show
    >>> atoms = bulk("Si", a=5.431, cubic=True) * 2
    >>> del atoms[0]
    >>> show(atoms, SiteEntropyCalculator.from_pretrained("si-sw"))
    View(Si63: 63 atoms)
    """
    if most < 1:
        raise InvalidInputError(f"most: expected at least 1 atom, got {most}")
    values = site_values(atoms, atoms.calc if calculator is None else calculator, crystal)
    return View(scene_of(atoms.get_chemical_formula(), values, most=most))
