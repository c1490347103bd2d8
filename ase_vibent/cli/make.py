"""`vibent make`: structures to label, from perfect crystals or from other structures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

from ase_vibent import stationary
from ase_vibent import structures as library
from ase_vibent.cli import hessian_options
from ase_vibent.cli.files import progress_bar, read_structures, require_writable, show
from ase_vibent.dataset import write_labels
from ase_vibent.errors import InvalidInputError, VibentError
from ase_vibent.potentials import CalculatorSpec, with_results
from ase_vibent.structures.displacements import nearest_distance
from ase_vibent.structures.wigner_seitz import defect_atoms

#: What is to be made of an input, with the name of that input.
Job = tuple[str, Callable[[], list[Atoms]]]


def make(options: argparse.Namespace) -> int:
    """`vibent make`: one extended XYZ file of structures; what fails is reported, and left out."""
    sources, inputs = read_structures(options.structures)
    require_writable(options.output)
    crystal = None
    if getattr(options, "reference", None):
        crystal = read_structures([options.reference])[1][0]
    if getattr(options, "calculator", None):
        CalculatorSpec(options.calculator)()  # a wrong one fails here, and not in every frame
    jobs = list(_JOBS[options.kind](options, sources, inputs, crystal))
    frames: list[Atoms] = []
    failures = []
    for source, job in progress_bar(jobs, len(jobs), f"make {options.kind}"):
        try:
            made = [_describe(atoms, options.kind, source, crystal) for atoms in job()]
        except VibentError as error:
            failures.append({"source": source, "reason": " ".join(str(error).split())})
            continue
        if made:  # at once: a run may take hours, and be stopped
            write_labels(options.output, made, append=bool(frames))
        frames += made
    for failure in failures:
        print(f"vibent make: {failure['source']} failed: {failure['reason']}", file=sys.stderr)
    rows = [_row(atoms) for atoms in frames]
    written = str(options.output) if frames else None
    counts = f"{len(frames)} made, {len(failures)} failed: {written or 'nothing written'}"
    show(
        options,
        {"structures": rows, "failed": failures, "output": written},
        "\n".join([*_table(rows), counts]),
    )
    return 1 if failures or not frames else 0


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
        cell = atoms.repeat(tuple(options.repeat))
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


_JOBS: dict[str, Callable[..., Iterator[Job]]] = {
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


def _describe(atoms: Atoms, kind: str, source: str, crystal: Atoms | None) -> Atoms:
    """Copy whose info says how it was made, with its energy and counted defects."""
    copy: Atoms = atoms.copy()
    copy.info["made"] = kind
    copy.info["source"] = atoms.info["source"] if kind == "unique" else source
    with suppress(RuntimeError, PropertyNotImplementedError):  # not every structure has one
        copy.info["energy"] = float(atoms.get_potential_energy())
    if crystal is not None:
        counted = library.wigner_seitz_defects(atoms, crystal)
        copy.info["n_vacancies"] = counted.n_vacancies
        copy.info["n_interstitials"] = counted.n_interstitials
    return copy


#: Entries of info that the table shows, with their heading and format.
_COLUMNS = {
    "energy": ("E (eV)", "{:.6f}"),
    "n_vacancies": ("vacancies", "{}"),
    "n_interstitials": ("interstitials", "{}"),
    "strain": ("strain", "{:+g}"),
    "void_radius": ("void (Å)", "{:.3f}"),
    "nearest": ("nearest (Å)", "{:.3f}"),
    "point": ("point", "{}"),
    "barrier_forward": ("forward (eV)", "{:.6f}"),
    "barrier_backward": ("backward (eV)", "{:.6f}"),
    "connected": ("connected", "{}"),
}


def _row(atoms: Atoms) -> dict[str, Any]:
    row: dict[str, Any] = {"source": atoms.info["source"], "made": atoms.info["made"]}
    row["defect"] = _plain(atoms.info.get("defect"))
    row["formula"] = atoms.get_chemical_formula()
    row["n_atoms"] = len(atoms)
    row["nearest"] = nearest_distance(atoms)
    return row | {key: _plain(atoms.info[key]) for key in _COLUMNS if key in atoms.info}


def _plain(value: Any) -> Any:
    """An entry of info, which may be anybody's, for JSON."""
    value = np.asarray(value).tolist()
    return value if value is None or isinstance(value, bool | int | float | list) else str(value)


def _cell(value: Any, style: str) -> str:
    """An entry as its column has it, or as it is if it is of another kind."""
    try:
        return style.format(value)
    except (TypeError, ValueError):
        return " ".join(str(value).split())


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of a table with the columns that any row fills."""
    if not rows:
        return []
    shown = [key for key in _COLUMNS if any(key in row for row in rows)]
    cells = [["", "source", "what", "formula", *(_COLUMNS[key][0] for key in shown)]]
    for number, row in enumerate(rows):
        values = [_cell(row[key], _COLUMNS[key][1]) if key in row else "" for key in shown]
        what = _cell(row["defect"] or row["made"], "{}")
        cells.append([str(number), row["source"], what, row["formula"], *values])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
