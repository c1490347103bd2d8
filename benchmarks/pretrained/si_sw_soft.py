"""Silicon of Stillinger and Weber, soft defects among all others: soft modes left to force calls.

    python benchmarks/pretrained/si_sw_soft.py [--folder pretrained-si-sw-soft] [--table Si.sw]

Dumbbells and saddles have modes too soft for a sum over neighbourhoods. Labels count them as stiff
as a floor; predictions find them by force calls. Compressed defects are labelled, and left out of
the fit: another minimum at every strain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.geometry import find_mic
from common import Recipe, main
from si_sw import RECIPE as STIFF
from si_sw import defects
from supercells import FMAX, described, jump_ends, minima

from ase_vibent.errors import VibentError
from ase_vibent.stationary.saddles import climb
from ase_vibent.structures import apply_strain, rattle

SADDLE = "saddle between sites"


@dataclass(frozen=True)
class SoftDefects:
    """Minima, saddles between a vacancy's sites, and copies, in cells of one size.

    Attributes
    ----------
    crystal : Atoms
        Unstrained supercell.
    strains : tuple of float
        Isotropic, of lengths.
    copies : tuple of int
        Of every minimum, rattled by the amplitude and by a third of it.
    more : int
        So many times as many of unstrained ones.
    hessians : tuple of float
        Strains at which Hessians of minima are kept, for the force field.
    amplitude : float, Å
        Peak to peak.
    """

    crystal: Atoms
    strains: tuple[float, ...]
    copies: tuple[int, int]
    more: int = 1
    hessians: tuple[float, ...] = ()
    amplitude: float = 0.15

    def made(self, calculator: Any) -> Iterator[Atoms]:
        """All structures; a minimum and its copies are held out together."""
        rng = np.random.default_rng(len(self.crystal))
        for strain in self.strains:
            name = f"crystal of {len(self.crystal)}{strain:+.2%}"
            crystal = apply_strain(self.crystal, strain)
            crystal.info = {"kind": "crystal"}
            yield described(crystal, "crystal", name, strain)
            for number, atoms in enumerate(rattle(crystal, self.amplitude, self.copies[0], rng)):
                yield described(atoms, "rattled bulk", name, strain, minimum=f"{name} {number}")
            found = [*minima(defects(crystal), crystal, calculator), *saddles(crystal, calculator)]
            for number, start in enumerate(found):
                about = {"kind": start.info["kind"], "minimum": f"{name} minimum {number}"}
                atoms = described(start, crystal=name, strain=strain, relaxed=True, **about)
                atoms.info |= {"hessian": strain in self.hessians, "group": about["kind"]}
                yield atoms
                many = self.more if strain == 0 else 1
                for amplitude, few in zip((1, 1 / 3), self.copies, strict=True):
                    for atoms in rattle(start, amplitude * self.amplitude, many * few, rng):
                        copy = described(atoms, crystal=name, strain=strain, **about)
                        copy.info["group"] = about["kind"]
                        yield copy


@dataclass(frozen=True)
class SeveralSizes:
    """The same in cells of several sizes."""

    sizes: tuple[SoftDefects, ...]

    @property
    def amplitude(self) -> float:
        """Å, peak to peak."""
        return self.sizes[0].amplitude

    @property
    def strains(self) -> tuple[float, ...]:
        """Of the smallest cells."""
        return self.sizes[0].strains

    def made(self, calculator: Any) -> Iterator[Atoms]:
        """All structures."""
        return chain.from_iterable(size.made(calculator) for size in self.sizes)


def saddles(crystal: Atoms, calculator: Any) -> list[Atoms]:
    """Reached by a dimer from halfway between two neighbouring sites of a vacancy, if it is."""
    ends = jump_ends(crystal, calculator)
    way = find_mic(ends[1].positions - ends[0].positions, crystal.cell, True)[0]
    guess = ends[0].copy()
    guess.positions += way / 2 + np.random.default_rng(0).normal(scale=0.02, size=way.shape)
    try:
        found = climb(guess, way, calculator, fmax=FMAX)
    except VibentError as error:
        print(f"saddle: left out, {error}"[:150], flush=True)
        return []
    found.info = {"kind": SADDLE}
    return [found]


CRYSTAL = bulk("Si", "diamond", a=5.4310, cubic=True)
COMPRESSED = (-0.02, -0.015, -0.01, -0.005)
EXTENDED = (0.0, 0.0025, 0.005, 0.0075, 0.01, 0.0125, 0.015, 0.0175, 0.02, 0.0225, 0.025, 0.03)
RECIPE = Recipe(
    name="si-sw-soft",
    calculator=STIFF.calculator,
    structures=SeveralSizes(
        (
            SoftDefects(CRYSTAL * 2, (*EXTENDED, *COMPRESSED), (2, 2), 5, (0.0, -0.02, 0.03)),
            SoftDefects(CRYSTAL * 3, (0.0, -0.01, 0.0075, 0.0175, 0.03), (1, 1)),
        )
    ),
    descriptor=STIFF.descriptor,
    floor=1.0,
    least_strain=0.0,
    largest_gradient=float("inf"),
    card={
        **STIFF.card,
        "title": f"{STIFF.card['title']}, soft modes by force calls",
        "not_for": (
            "forces and dynamics: it has no gradients; structures off their minima and saddles; "
            "compressed defects; "
            "defects without soft modes, which si-sw has to 0.005 k_B without a force call; "
            "liquid, amorphous or other phases, surfaces, impurities; real silicon beyond what the "
            "potential says of it"
        ),
    },
)

if __name__ == "__main__":
    main(RECIPE)
