"""Exact site entropies as a model should give them, of chosen sites, in structures of any size."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from numpy.typing import NDArray

from ase_vibent import dataset
from ase_vibent.arrays import Array, IntArray
from ase_vibent.calculators.hessian import HessianEntropyCalculator
from ase_vibent.checks import check_positive
from ase_vibent.crystal.perfect_crystal import PerfectCrystal
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.entropy import mass_entropy
from ase_vibent.hessian import (
    HessianOptions,
    compute_hessian,
    repeated_hessian,
    takes_analytic_hessian,
)
from ase_vibent.labelling.labels import attach_labels
from ase_vibent.potentials import resolve_calculator
from ase_vibent.structures.cells import match_references, repeats_to, widths
from ase_vibent.structures.validity import without_leftovers
from ase_vibent.training.targets import ReferenceCrystals

#: Radius of balls where the cell has room, and the least that is worth it, Å.
RADIUS, LEAST_RADIUS = 10.0, 7.0
#: A smaller ball, in radii: its values tell how far those of the ball have converged.
SMALLER = 0.8
#: Lanczos steps in a ball.
STEPS = 30
#: Atoms up to which a structure is diagonalised if no radius is asked for.
SMALL = 300


class SiteMeasurement(NamedTuple):
    """Mass-free reduced site entropies, thermodynamic limits.

    Attributes
    ----------
    values : ndarray, shape (n_sites,), k_B
    truncation : ndarray, shape (n_sites,), k_B
        Value in the ball less that in a smaller one; 0 after diagonalisation.
    remarks : tuple of str
        What keeps the values from being what they should be.
    """

    values: Array
    truncation: Array
    remarks: tuple[str, ...] = ()


class ExactSites:
    """Site entropies in the decomposition and limit that site models are trained on.

    Parameters
    ----------
    calculator : ASE calculator or factory
        Without an analytic Hessian, atoms are displaced, six force calls each.
    crystal : Atoms, optional
        Perfect crystal, a unit cell or any supercell: values are differences to its sites plus its
        converged ones.
    options : HessianOptions
        With an interaction range, only the surroundings of balls are calculated.
    """

    def __init__(
        self,
        calculator: object,
        crystal: Atoms | None = None,
        options: HessianOptions = HessianOptions(),
    ):
        self._calculator: Any = resolve_calculator(calculator)
        self._crystal = crystal
        self._options = options

    def diagonalise(self, atoms: Atoms) -> SiteMeasurement:
        """All sites of a structure, unstable modes left out.

        Parameters
        ----------
        atoms : Atoms
            Without constraints; a cell of the crystal's repetitions if there is a crystal.

        Returns
        -------
        SiteMeasurement

        Raises
        ------
        LabelError
            If no repetition of the crystal has the structure's cell.
        """
        exact = HessianEntropyCalculator(
            self._calculator,
            decomposition="mass-free",
            unstable="any",
            **asdict(self._options),
        )
        frames, name, remarks = [], None, []
        if self._crystal is not None:
            name, (same_cell,) = "crystal", match_references([atoms], [self._crystal])
            frames.append(attach_labels(same_cell, exact, name=name, labels=["sites"]))
        frames.append(attach_labels(atoms, exact, reference=name, labels=["sites"]))
        n_unstable = frames[-1].info[dataset.N_UNSTABLE]
        if n_unstable:
            remarks.append(f"{n_unstable:g} unstable modes are left out of the measured values")
        values = ReferenceCrystals(frames).targets(frames[-1]).sites
        assert values is not None
        return SiteMeasurement(values, np.zeros(len(atoms)), tuple(remarks))

    def in_balls(self, atoms: Atoms, sites: IntArray, radius: float) -> SiteMeasurement:
        """Some sites, from the Hessian of the balls around them; see `ball_site_differences`.

        Parameters
        ----------
        atoms : Atoms
            Without constraints.
        sites : ndarray of int64, shape (n_sites,)
        radius : float, Å

        Returns
        -------
        SiteMeasurement

        Raises
        ------
        InvalidInputError
            If a ball would feel its own images.
        UnstableStructureError
            If a ball is unstable, and with it the structure.
        """
        from ase_vibent.harmonic.ball import ball_site_entropies  # numba, slow to import

        balls = _within(atoms, sites, radius + 0.01)
        hessian = self._hessian_of(atoms, balls, sites, radius)
        atoms = without_leftovers(atoms)
        members, own = atoms[balls], np.searchsorted(np.flatnonzero(balls), sites)
        remarks: tuple[str, ...] = ()
        if self._crystal is None:
            remarks = (
                "without a perfect crystal all measured values are off by what balls leave out, "
                "1e-3 k_B or so each",
            )

        def measured(size: float) -> Array:
            if self._crystal is None:
                return ball_site_entropies(members, hessian, own, radius=size, steps=STEPS)
            values = self._reference.ball_site_entropies(
                members,
                hessian,
                self._calculator,
                radius=size,
                steps=STEPS,
                sites=own,
                options=self._options,
            )
            return values - mass_entropy(members.get_masses())[own]

        values = measured(radius)
        return SiteMeasurement(values, values - measured(SMALLER * radius), remarks)

    def _hessian_of(
        self, atoms: Atoms, balls: NDArray[np.bool_], sites: IntArray, radius: float
    ) -> Any:
        """Sparse Hessian of the atoms in balls; what they do not feel is cut off."""
        near = np.ones(len(atoms), dtype=bool)
        if self._options.interaction_range is not None:
            reach = radius + self._options.interaction_range + self._options.step
            near = balls | _within(atoms, sites, reach)
        surroundings = without_leftovers(atoms)[near]
        if not balls.all():
            surroundings.set_constraint(FixAtoms(mask=~balls[near]))
        return compute_hessian(surroundings, self._calculator, options=self._options, sparse=True)

    @cached_property
    def _reference(self) -> PerfectCrystal:
        """The crystal; its Hessian takes displacements in one cell at most."""
        crystal: Any = self._crystal

        def hessian_of(supercell: Atoms, sparse: bool) -> Any:
            if takes_analytic_hessian(self._calculator, self._options):
                return compute_hessian(supercell, self._calculator, sparse=sparse)
            repeats = repeats_to(crystal, supercell)
            return repeated_hessian(
                crystal, repeats.tolist(), self._calculator, options=self._options
            )

        return PerfectCrystal(crystal, hessian_of)


def ball_radius(atoms: Atoms, wanted: float | None = None) -> float | None:
    """Radius of the balls in which sites of a structure are measured.

    Parameters
    ----------
    atoms : Atoms
    wanted : float, Å, optional
        By default 10, or a third of the cell's width where that is less.

    Returns
    -------
    float, Å, or None
        None where the structure is better diagonalised as a whole, unless a radius is wanted: it
        has at most 300 atoms, or is less than 21 Å wide.

    Raises
    ------
    InvalidInputError
        If a ball would meet its own images.
    """
    width = float(widths(atoms).min(initial=np.inf))
    if wanted is None:
        radius = min(RADIUS, width / 3)
        return None if len(atoms) <= SMALL or radius < LEAST_RADIUS else radius
    check_positive("radius", wanted)
    if 2 * wanted > width:
        raise InvalidInputError(
            f"radius: a ball of {wanted} Å would meet its own images in a cell that is "
            f"{width:.2f} Å wide; take a smaller one, or leave it out"
        )
    return float(wanted)


def _within(atoms: Atoms, sites: IntArray, distance: float) -> NDArray[np.bool_]:
    """Whether each atom is that near to one of the sites."""
    inside, everyone = np.zeros(len(atoms), dtype=bool), np.arange(len(atoms))
    for site in sites:
        inside |= atoms.get_distances(site, everyone, mic=True) <= distance
    return inside
