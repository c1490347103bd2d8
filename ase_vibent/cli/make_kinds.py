"""What `vibent make` makes: for every kind of structure, the jobs that draw it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms

from ase_vibent import stationary
from ase_vibent import structures as library
from ase_vibent.cli.shared.arguments import hessian_options
from ase_vibent.errors import InvalidInputError
from ase_vibent.potentials import CalculatorSpec, with_results
from ase_vibent.structures.cells import repeated
from ase_vibent.structures.wigner_seitz import defect_atoms

#: What is to be made of an input, with the name of that input.
Job = tuple[str, Callable[[], list[Atoms]]]


def _rattle(
    options: argparse.Namespace, sources: list[str], inputs: list[Atoms], crystal: Atoms | None
) -> Iterator[Job]:
    """Rattled copies of every input."""
    for source, atoms, rng in _with_generators(options, sources, inputs):
        draw = partial(library.rattle, atoms, options.amplitude, options.n, rng)
        yield source, partial(_with_info, draw, amplitude=options.amplitude)


def _apply_strain(
    options: argparse.Namespace, sources: list[str], inputs: list[Atoms], crystal: Atoms | None
) -> Iterator[Job]:
    """Strained copies of every input."""
    for source, atoms in zip(sources, inputs, strict=True):
        for strain in options.strains:
            yield source, partial(_with_info, partial(_strain, atoms, strain), strain=strain)


def _damage(
    options: argparse.Namespace, sources: list[str], inputs: list[Atoms], crystal: Atoms | None
) -> Iterator[Job]:
    """Damaged copies, relaxed where there is a calculator."""
    for source, atoms, rng in _with_generators(options, sources, inputs):
        numbers = (options.fraction, options.amplitude)
        for number, own in enumerate(rng.spawn(options.n)):
            draw = partial(library.damage, atoms, *numbers, 1, own)
            draw = partial(_relax, options, draw) if options.calculator else draw
            info = {"fraction": options.fraction, "amplitude": options.amplitude}
            yield f"{source} draw {number}", partial(_with_info, draw, **info)


def _defects(
    options: argparse.Namespace, sources: list[str], inputs: list[Atoms], crystal: Atoms | None
) -> Iterator[Job]:
    """Point defects of every input, a perfect crystal."""
    for source, atoms, rng in _with_generators(options, sources, inputs):
        cell = repeated(atoms, tuple(options.repeat))
        if options.kind == "vacancies":
            yield source, partial(library.vacancies, cell)
        elif options.kind == "divacancies":
            yield source, partial(library.divacancies, cell, options.shell)
        elif options.kind == "antisites":
            yield source, partial(library.antisites, cell)
        elif options.kind == "interstitials":
            keywords = {"smallest": options.smallest}
            yield source, partial(library.interstitials, cell, options.species, **keywords)
            keywords = {"species": options.species}
            if options.directions:
                keywords["directions"] = options.directions
            yield source, partial(library.dumbbells, cell, **keywords)
        else:
            numbers = (options.of, options.size, options.n, rng)
            yield source, partial(library.clusters, cell, *numbers, reach=options.reach)


def _relaxations(
    options: argparse.Namespace, sources: list[str], inputs: list[Atoms], crystal: Atoms | None
) -> Iterator[Job]:
    """Every input relaxed."""
    for source, atoms in zip(sources, inputs, strict=True):
        if options.follow_unstable:
            yield source, partial(_minimum, options, atoms)
        else:
            yield source, partial(_relax, options, partial(list, [atoms]))


def _unique(
    options: argparse.Namespace, sources: list[str], inputs: list[Atoms], crystal: Atoms | None
) -> Iterator[Job]:
    """The inputs without duplicates."""

    def job() -> list[Atoms]:
        frames = inputs
        if options.calculator:
            frames = [with_results(a, CalculatorSpec(options.calculator)) for a in inputs]
        tolerance = options.energy_tolerance
        kept = library.unique(frames, crystal=crystal, energy_tolerance=tolerance)
        for k in kept:
            frames[k].info["source"] = sources[k]
        return [frames[k] for k in kept]

    yield f"{len(inputs)} structures", job


def _saddles(
    options: argparse.Namespace, sources: list[str], inputs: list[Atoms], crystal: Atoms | None
) -> Iterator[Job]:
    """Dimer searches from every input."""
    for source, atoms, rng in _with_generators(options, sources, inputs):
        for number, own in enumerate(rng.spawn(options.n)):
            yield f"{source} search {number}", partial(_search, options, atoms, crystal, own)


def _search(
    options: argparse.Namespace, atoms: Atoms, crystal: Atoms | None, rng: np.random.Generator
) -> list[Atoms]:
    around = None if crystal is None else defect_atoms(atoms, crystal)
    found = stationary.dimer_saddle(
        atoms,
        CalculatorSpec(options.calculator),
        around=around,
        radius=options.radius,
        amplitude=options.amplitude,
        rng=rng,
        fmax=options.fmax,
        steps=options.steps,
        options=hessian_options(options),
    )
    return _event(found)


def _paths(
    options: argparse.Namespace, sources: list[str], inputs: list[Atoms], crystal: Atoms | None
) -> Iterator[Job]:
    """The path between two inputs."""
    if len(inputs) != 2:
        raise InvalidInputError(f"path: expected two structures, got {len(inputs)}")

    def job() -> list[Atoms]:
        numbers = {"images": options.images, "fmax": options.fmax, "steps": options.steps}
        initial, final = inputs
        found = stationary.path_saddle(
            initial,
            final,
            CalculatorSpec(options.calculator),
            options=hessian_options(options),
            **numbers,
        )
        return _event(found)

    yield f"{sources[0]} to {sources[1]}", job


#: By name of the kind.
JOBS: dict[str, Callable[..., Iterator[Job]]] = {
    "rattle": _rattle,
    "strain": _apply_strain,
    "damage": _damage,
    "relax": _relaxations,
    "unique": _unique,
    "saddles": _saddles,
    "path": _paths,
} | dict.fromkeys(("vacancies", "divacancies", "interstitials", "antisites", "clusters"), _defects)


def _with_generators(
    options: argparse.Namespace, sources: list[str], inputs: list[Atoms]
) -> Iterator[tuple[str, Atoms, np.random.Generator]]:
    """Inputs, each with random numbers of its own, whatever becomes of the others."""
    seed = getattr(options, "seed", 0)
    yield from zip(sources, inputs, np.random.default_rng(seed).spawn(len(inputs)), strict=True)


def _relax(options: argparse.Namespace, draw: Callable[[], list[Atoms]]) -> list[Atoms]:
    """What is drawn, relaxed."""
    keywords = {"fmax": options.fmax, "steps": options.steps}
    if options.kind == "relax":
        keywords["relax_cell"] = options.cell
    calculator = CalculatorSpec(options.calculator)()
    return [stationary.relax(atoms, calculator, **keywords) for atoms in draw()]


def _minimum(options: argparse.Namespace, atoms: Atoms) -> list[Atoms]:
    """The minimum that an input relaxes to, with what that took."""
    found = stationary.relax_to_minimum(
        atoms,
        CalculatorSpec(options.calculator),
        fmax=options.fmax,
        steps=options.steps,
        relax_cell=options.cell,
        rounds=options.rounds,
        options=hessian_options(options),
    )
    changes = {f.name: getattr(found, f.name) for f in fields(found) if f.name != "atoms"}
    found.atoms.info |= changes | {"unstable": 0}
    return [found.atoms]


def _event(found: stationary.Saddle) -> list[Atoms]:
    """Saddle and minima as frames."""
    frames = []
    for point in ("minimum_1", "saddle", "minimum_2"):
        atoms = getattr(found, point)
        atoms.info["point"] = point
        atoms.info["unstable"] = int(point == "saddle")  # which 'vibent label' goes by
        atoms.info["connected"] = found.connected
        frames.append(atoms)
    found.saddle.info["barrier_forward"] = found.barrier_forward
    found.saddle.info["barrier_backward"] = found.barrier_backward
    return frames


def _strain(atoms: Atoms, strain: float) -> list[Atoms]:
    return [library.apply_strain(atoms, strain)]


def _with_info(draw: Callable[[], list[Atoms]], **info: Any) -> list[Atoms]:
    frames = draw()
    for atoms in frames:
        atoms.info |= info
    return frames
