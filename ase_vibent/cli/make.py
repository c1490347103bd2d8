"""`vibent make`: structures to label, from perfect crystals or from other structures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

from ase_vibent.cli.make_kinds import JOBS
from ase_vibent.cli.shared.arguments import (
    add_finite_differences,
    add_fmax,
    direction,
    length,
    natural_number,
    positive_number,
)
from ase_vibent.cli.shared.files import (
    add_format,
    json_ready,
    progress_bar,
    read_structures,
    require_writable,
    show,
)
from ase_vibent.dataset import write_labels
from ase_vibent.errors import VibentError
from ase_vibent.potentials import BUILT_IN, CalculatorSpec
from ase_vibent.stationary.instabilities import ROUNDS
from ase_vibent.structures.displacements import nearest_distance
from ase_vibent.structures.wigner_seitz import wigner_seitz_defects
from ase_vibent.tables import format_table

#: Options by name; those of a kind are listed below.
_OPTIONS: dict[str, dict[str, Any]] = {
    "-n": {"type": positive_number, "default": 1, "help": "structures per input; default 1"},
    "--seed": {"type": natural_number, "default": 0, "help": "of random numbers; default 0"},
    "--repeat": {
        "type": positive_number,
        "nargs": 3,
        "default": (1, 1, 1),
        "metavar": "N",
        "help": "supercell of the input to make first; default 1 1 1",
    },
    "--strains": {
        "type": float,
        "nargs": "+",
        "default": (-0.01, 0.01, 0.02, 0.03),
        "metavar": "STRAIN",
        "help": "isotropic strains of lengths; default -0.01 0.01 0.02 0.03",
    },
    "--shell": {
        "type": positive_number,
        "default": 1,
        "help": "of neighbours; default 1, the nearest",
    },
    "--species": {"nargs": "+", "metavar": "SYMBOL", "help": "of atoms put in; default: all"},
    "--directions": {
        "type": direction,
        "nargs": "+",
        "metavar": "UVW",
        "help": "of dumbbells, such as 110 or 1-10, in terms of the conventional cell; default "
        "100 110 111. Where the supercell has less symmetry than the crystal, list all variants",
    },
    "--smallest": {
        "type": length,
        "default": 0.8,
        "help": "least radius of a void, as a fraction of the largest's; default 0.8",
    },
    "--of": {
        "choices": ("vacancy", "interstitial", "antisite"),
        "default": "vacancy",
        "help": "default vacancy",
    },
    "--size": {"type": positive_number, "default": 2, "help": "defects per cluster; default 2"},
    "--reach": {
        "type": length,
        "help": "Å, greatest distance of neighbours in a cluster; default 1.2 × the nearest",
    },
    "--fraction": {
        "type": length,
        "default": 0.1,
        "help": "of the atoms that are displaced; default 0.1",
    },
    "--cell": {"action": "store_true", "help": "relax the cell too"},
    "--follow-unstable": {
        "action": "store_true",
        "help": "step down along unstable modes, at Γ of the cell, and relax again, until there "
        "are none: what symmetry holds on a saddle becomes a minimum",
    },
    "--rounds": {
        "type": positive_number,
        "default": ROUNDS,
        "help": f"of --follow-unstable, at most; default {ROUNDS}",
    },
    "--steps": {"type": positive_number, "default": 2000, "help": "at most; default 2000"},
    "--energy-tolerance": {
        "type": length,
        "default": 1e-2,
        "help": "eV; structures no farther apart than this are one; default 0.01",
    },
    "--radius": {
        "type": length,
        "default": 3.0,
        "help": "Å around a random atom in which a search displaces atoms; default 3",
    },
    "--images": {"type": positive_number, "default": 5, "help": "of the band; default 5"},
    "--calculator": {
        "metavar": "SPEC",
        "help": f"as in 'vibent label': {', '.join(BUILT_IN)}, or an import path",
    },
    "--reference": {
        "metavar": "CRYSTAL",
        "help": "perfect crystal, a unit cell or a supercell: vacancies and interstitials are "
        "counted against it; 'unique' compares these interstitials, and 'saddles' searches "
        "around these defects",
    },
}

#: Amplitudes mean something else in every kind.
_AMPLITUDES: dict[str, tuple[float, str]] = {
    "rattle": (0.1, "Å; components are uniform in ±α/2, α uniform up to this; default 0.1"),
    "damage": (3.0, "Å, radius of the ball in which displacements are uniform; default 3"),
    "saddles": (0.1, "Å, standard deviation of the first displacements; default 0.1"),
}

#: Kinds: what they take, what they make, and their options ("!" where one must be given).
KINDS: dict[str, tuple[str, str, str]] = {
    "rattle": ("STRUCTURE", "randomly displaced copies", "-n --amplitude --seed"),
    "strain": ("STRUCTURE", "homogeneously strained copies", "--strains"),
    "vacancies": ("CRYSTAL", "every inequivalent vacancy", "--repeat"),
    "divacancies": ("CRYSTAL", "every inequivalent pair of vacancies", "--shell --repeat"),
    "interstitials": (
        "CRYSTAL",
        "interstitials: in voids, and dumbbells",
        "--species --smallest --directions --repeat",
    ),
    "antisites": ("CRYSTAL", "every inequivalent antisite of a compound", "--repeat"),
    "clusters": (
        "CRYSTAL",
        "defects next to each other, at random",
        "--of --size -n --seed --reach --repeat",
    ),
    "damage": (
        "STRUCTURE",
        "many atoms displaced at random; relaxed, with --calculator, to Frenkel pairs",
        "--fraction --amplitude -n --seed --calculator --fmax --steps --reference",
    ),
    "relax": (
        "STRUCTURE",
        "relaxed structures, with --follow-unstable minima in any case",
        "--calculator! --fmax --steps --cell --follow-unstable --rounds --reference",
    ),
    "unique": (
        "STRUCTURE",
        "structures without duplicates, by energy and the interstitials' tensor of inertia",
        "--energy-tolerance --calculator --reference",
    ),
    "saddles": (
        "MINIMUM",
        "saddles next to minima (dimer), with the minima on both sides",
        "--calculator! -n --amplitude --radius --seed --fmax --steps --reference",
    ),
    "path": (
        "MINIMUM",
        "saddle between two minima (nudged elastic band)",
        "--calculator! --images --fmax --steps",
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a parser for every kind of structure."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind, (inputs, title, names) in KINDS.items():
        own = kinds.add_parser(kind, help=title, description=f"Makes {title}.")
        own.add_argument("structures", nargs="+", metavar=inputs, help="files that ASE reads")
        own.add_argument("-o", "--output", required=True, metavar="OUT.xyz")
        for name in names.split():
            flag = name.rstrip("!")
            if flag == "--fmax":
                add_fmax(own, 1e-3)
            elif flag == "--amplitude":
                default, text = _AMPLITUDES[kind]
                own.add_argument(flag, type=length, default=default, help=text)
            else:
                own.add_argument(flag, required=name.endswith("!"), **_OPTIONS[flag])
        if kind in ("relax", "saddles", "path"):  # which a Hessian proves
            add_finite_differences(own)
        add_format(own)
        # A default here would undo a --json that stands before the kind.
        own.add_argument(
            "--json",
            action="store_true",
            default=argparse.SUPPRESS,
            help="print JSON, for machines",
        )


def run(options: argparse.Namespace) -> int:
    """`vibent make`: one extended XYZ file of structures; what fails is reported, and left out."""
    sources, inputs = read_structures(options.structures, options.format)
    require_writable(options.output)
    crystal = None
    if getattr(options, "reference", None):
        crystal = read_structures([options.reference], options.format)[1][0]
    if getattr(options, "calculator", None):
        CalculatorSpec(options.calculator)()  # a wrong one fails here, and not in every frame
    jobs = list(JOBS[options.kind](options, sources, inputs, crystal))
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


def _describe(atoms: Atoms, kind: str, source: str, crystal: Atoms | None) -> Atoms:
    """Copy whose info says how it was made, with its energy and counted defects."""
    copy: Atoms = atoms.copy()
    copy.info["made"] = kind
    copy.info["source"] = atoms.info["source"] if kind == "unique" else source
    with suppress(RuntimeError, PropertyNotImplementedError):  # not every structure has one
        copy.info["energy"] = float(atoms.get_potential_energy())
    if crystal is not None:
        counted = wigner_seitz_defects(atoms, crystal)
        copy.info["n_vacancies"] = counted.n_vacancies
        copy.info["n_interstitials"] = counted.n_interstitials
    return copy


#: Entries of info that the table shows, with their title and format.
_COLUMNS = {
    "energy": ("E (eV)", ">.6f"),
    "n_vacancies": ("vacancies", ">"),
    "n_interstitials": ("interstitials", ">"),
    "strain": ("strain", ">+g"),
    "void_radius": ("void (Å)", ">.3f"),
    "nearest": ("nearest (Å)", ">.3f"),
    "point": ("point", "<"),
    "barrier_forward": ("forward (eV)", ">.6f"),
    "barrier_backward": ("backward (eV)", ">.6f"),
    "connected": ("connected", "<"),
    "unstable_before": ("unstable before", ">"),
    "rounds": ("rounds", ">"),
    "energy_gained": ("gained (eV)", ">.6f"),
    "largest_displacement": ("moved (Å)", ">.3f"),
    "unstable": ("unstable", ">"),
}


def _row(atoms: Atoms) -> dict[str, Any]:
    row: dict[str, Any] = {"source": atoms.info["source"], "made": atoms.info["made"]}
    row["defect"] = json_ready(atoms.info.get("defect"))
    row["formula"] = atoms.get_chemical_formula()
    row["n_atoms"] = len(atoms)
    row["nearest"] = nearest_distance(atoms)
    # Entries of info may be anybody's.
    return row | {key: json_ready(atoms.info[key]) for key in _COLUMNS if key in atoms.info}


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of a table with the columns that any row fills."""
    if not rows:
        return []
    shown = {key: column for key, column in _COLUMNS.items() if any(key in row for row in rows)}
    return format_table(
        {"": ">", "source": "<", "what": "<", "formula": "<"} | dict(shown.values()),
        [
            (
                number,
                row["source"],
                row["defect"] or row["made"],
                row["formula"],
                *(row.get(key, "") for key in shown),
            )
            for number, row in enumerate(rows)
        ],
    )
