"""Kinds and options of `vibent make`."""

from __future__ import annotations

import argparse
from typing import Any

from ase_vibent.cli import (
    add_finite_differences,
    direction,
    length,
    natural_number,
    positive_number,
)

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
    "--fmax": {
        "type": length,
        "default": 1e-3,
        "help": "eV/Å, largest force that may be left; default 0.001",
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
        "help": "as in 'vibent label': sw-si, tersoff-sic, emt, or an import path",
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
_KINDS: dict[str, tuple[str, str, str]] = {
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
        "relaxed structures (rattle first what symmetry may hold on a saddle)",
        "--calculator! --fmax --steps --cell --reference",
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


def add_kinds(make: argparse.ArgumentParser) -> None:
    """Add a parser for every kind of structure.

    Parameters
    ----------
    make : ArgumentParser
        Of `vibent make`.
    """
    kinds = make.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind, (inputs, title, names) in _KINDS.items():
        parser = kinds.add_parser(kind, help=title, description=f"Makes {title}.")
        parser.add_argument("structures", nargs="+", metavar=inputs, help="files that ASE reads")
        parser.add_argument("-o", "--output", required=True, metavar="OUT.xyz")
        for name in names.split():
            flag = name.rstrip("!")
            if flag == "--amplitude":
                default, text = _AMPLITUDES[kind]
                parser.add_argument(flag, type=length, default=default, help=text)
            else:
                parser.add_argument(flag, required=name.endswith("!"), **_OPTIONS[flag])
        if kind in ("saddles", "path"):  # which a Hessian proves
            add_finite_differences(parser)
        # A default here would undo a --json that stands before the kind.
        parser.add_argument(
            "--json",
            action="store_true",
            default=argparse.SUPPRESS,
            help="print JSON, for machines",
        )
