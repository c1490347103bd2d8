"""Supercells of one shape at several strains, each beside its own perfect crystal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.mep import NEB
from ase.optimize import FIRE

from ase_vibent.errors import VibentError
from ase_vibent.stationary import Saddle, path_saddle, relax
from ase_vibent.structures import apply_strain, rattle, unique
from ase_vibent.thermo import path_tangents

FMAX = 1e-3  # eV/Å
#: Å, of copies of a path's images, peak to peak.
PATH_AMPLITUDE = 0.06
#: Two minima are one below this difference, eV.
SAME_ENERGY = 1e-3


@dataclass(frozen=True)
class Supercells:
    """Relaxed defects, rattled copies of them and of the crystal, the saddle of a vacancy jump.

    Attributes
    ----------
    crystal : Atoms
        Unstrained supercell.
    defects : callable (crystal) -> list of Atoms
        Unrelaxed, the kind of each in `info["defect"]`.
    amplitude : float, Å
        Peak-to-peak, the largest of rattled cells.
    rattled : tuple of int
        Rattled copies of every minimum, at no strain and at the others.
    bulk_rattled : int
        Rattled copies of the crystal at every strain.
    near : dict of str to int
        Further copies of unstrained minima by kind, rattled by a third of the amplitude.
    strains : tuple of float
        Isotropic, of lengths; each has a perfect crystal of its own.
    crystal_strains : tuple of float
        Further ones, of perfect crystals alone: volumes of least free energy need them.
    vacancy_jump : bool
        Whether the saddle of a vacancy jump to the next site is looked for.
    path_images : int
        Of the jump's path between its ends, three rattled copies of each, labelled without motion
        along the path. Not beside minima, which have one mode more.
    """

    crystal: Atoms
    defects: Callable[[Atoms], list[Atoms]]
    amplitude: float = 0.15
    rattled: tuple[int, int] = (3, 1)
    bulk_rattled: int = 3
    near: dict[str, int] = field(default_factory=dict)
    strains: tuple[float, ...] = (0.0, -0.02, 0.015, 0.03)
    crystal_strains: tuple[float, ...] = ()
    vacancy_jump: bool = True
    path_images: int = 0

    def made(self, calculator: Any) -> Iterator[Atoms]:
        """All structures, as `described`."""
        rng = np.random.default_rng(0)
        near, path = [], []
        for strain in self.strains:
            name = f"crystal{strain:+.1%}"
            crystal = apply_strain(self.crystal, strain)
            crystal.info = {"kind": "crystal"}
            found = minima(self.defects(crystal), crystal, calculator)
            starts = [(crystal, self.bulk_rattled)]
            starts += [(atoms, self.rattled[strain != 0]) for atoms in found]
            if strain == 0:
                near = [atoms for atoms in found if atoms.info["kind"] in self.near]
                if self.vacancy_jump:
                    jump = vacancy_jump(crystal, calculator)
                    starts.append((jump.saddle, 3))
                    path = list(path_cells(jump, self.path_images, calculator))
            for start, copies in starts:
                kind = start.info["kind"]
                yield described(start, kind, name, strain, relaxed=start is not crystal)
                kind = "rattled bulk" if start is crystal else kind
                for atoms in rattle(start, self.amplitude, copies, rng):
                    yield described(atoms, kind, name, strain)
        for start in near:
            kind = start.info["kind"]
            for atoms in rattle(start, self.amplitude / 3, self.near[kind], 1):
                yield described(atoms, kind, f"crystal{0:+.1%}")
        for strain in self.crystal_strains:
            crystal = apply_strain(self.crystal, strain)
            yield described(crystal, "crystal", f"crystal{strain:+.1%}", strain)
        for atoms in path:
            yield described(atoms, "vacancy path", f"crystal{0:+.1%}", gradient=False)


def minima(defects: list[Atoms], crystal: Atoms, calculator: Any) -> list[Atoms]:
    """Relaxed defects of a crystal, those that relax to the same left out."""
    rng = np.random.default_rng(1)
    found, energies = [], []
    for start in defects:
        try:
            # Symmetry would keep a structure on a saddle.
            atoms = relax(rattle(start, 0.1, 1, rng)[0], calculator, fmax=FMAX)
        except VibentError as error:
            print(f"{start.info['defect']}: left out, {error}", flush=True)
            continue
        atoms.info = {"kind": start.info["defect"]}
        found.append(atoms)
        energies.append(atoms.get_potential_energy())
    kept = unique(found, energies, crystal=crystal, energy_tolerance=SAME_ENERGY)
    return [found[k] for k in kept]


def jump_ends(crystal: Atoms, calculator: Any) -> list[Atoms]:
    """A vacancy at the first site, and at the next one, relaxed."""
    distances = crystal.get_distances(0, range(1, len(crystal)), mic=True)
    neighbour = 1 + int(np.argmin(distances))
    ends = []
    for empty, mover in ((0, neighbour), (neighbour, 0)):
        atoms = crystal.copy()
        atoms.positions[[0, neighbour]] = crystal.positions[[empty, mover]]
        del atoms[0]
        ends.append(relax(atoms, calculator, fmax=FMAX))
    return ends


def vacancy_jump(crystal: Atoms, calculator: Any) -> Saddle:
    """Saddle between a vacancy and the next site, with both minima."""
    jump = path_saddle(*jump_ends(crystal, calculator), calculator, fmax=FMAX)
    jump.saddle.info = {"kind": "vacancy saddle"}
    return jump


def path_cells(jump: Saddle, count: int, calculator: Any) -> Iterator[Atoms]:
    """Images of the path of lowest energy, ends included, and copies; its direction as an array."""
    if not count:
        return
    start, end = jump.minimum_1, jump.minimum_2
    images = [start, *(start.copy() for _ in range(count)), end]
    for image in images[1:-1]:
        image.calc = calculator
    band = NEB(images, climb=True, method="improvedtangent", allow_shared_calculator=True)
    band.interpolate("idpp", mic=True)
    FIRE(band, logfile=None).run(fmax=0.01, steps=500)
    tangents = path_tangents(images)
    for number, (image, tangent) in enumerate(zip(images, tangents, strict=True)):
        for atoms in (image, *rattle(image, PATH_AMPLITUDE, 3, number)):
            copy = atoms.copy()
            copy.set_array("tangent", tangent)
            yield copy


def described(
    atoms: Atoms,
    kind: str,
    crystal: str,
    strain: float = 0.0,
    *,
    relaxed: bool = False,
    gradient: bool = True,
    minimum: str = "",
) -> Atoms:
    """Copy with kind, expected number of unstable modes, and what else the labels need.

    Parameters
    ----------
    atoms : Atoms
    kind : str
        "crystal" for a perfect crystal.
    crystal : str
        Name of its perfect crystal.
    strain : float
    relaxed : bool
        Whether it is a minimum or saddle itself, no copy of one.
    gradient : bool
        Whether the gradient is labelled.
    minimum : str
        Cells of one minimum are held out together.
    """
    copy = atoms.copy()
    copy.info = {
        "kind": kind,
        "crystal": crystal,
        "strain": strain,
        "unstable": int("saddle" in kind),
        "relaxed": relaxed,
        "gradient": gradient and kind != "crystal",
    }
    if minimum:
        copy.info["minimum"] = minimum
    return copy
