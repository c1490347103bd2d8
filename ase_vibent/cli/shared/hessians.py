"""Hessians and force constants from files, as commands take them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ase import Atoms

from ase_vibent.cli.shared.arguments import repeats
from ase_vibent.cli.shared.files import read_structures
from ase_vibent.errors import InvalidInputError

if TYPE_CHECKING:
    from ase_vibent.hessian import StoredHessian

#: What the files may be.
FILES = (
    "Hessian or force constants: phonopy yaml, FORCE_SETS, FORCE_CONSTANTS, force_constants.hdf5, "
    "vasprun.xml, q2r, VibrationsData, LAMMPS, CASTEP, NumPy"
)


def add_reading(parser: argparse.ArgumentParser) -> None:
    """How files of Hessians are read."""
    parser.add_argument(
        "--supercell",
        type=repeats,
        metavar="AxBxC",
        help="of the Hessian, where the structure is a unit cell: 2x2x2",
    )
    parser.add_argument(
        "--hessian-format",
        metavar="NAME",
        help="of the Hessian's file; default: told by its content",
    )
    parser.add_argument(
        "--units", metavar="UNIT", help="of the Hessian, if not its format's own: Ry/bohr^2, …"
    )
    parser.add_argument(
        "--acoustic-sum-rule",
        action="store_true",
        help="impose that moving all atoms of the Hessian costs no force",
    )


def add_hessians(parser: argparse.ArgumentParser) -> None:
    """Hessians of structures, and of the perfect crystal."""
    parser.add_argument(
        "--hessian", nargs="+", default=[], metavar="FILE", help=f"one for each structure: {FILES}"
    )
    parser.add_argument(
        "--reference-hessian", metavar="FILE", help="the same of the perfect crystal"
    )
    add_reading(parser)


@dataclass(frozen=True)
class Stored:
    """Hessians of the structures, and of their crystals, each in the order of the files."""

    defects: list[StoredHessian]
    references: list[StoredHessian]

    @property
    def all(self) -> list[StoredHessian]:
        """Both."""
        return [*self.defects, *self.references]

    @property
    def crystals(self) -> list[Atoms]:
        """Structures of the references."""
        return [stored.atoms for stored in self.references]

    def of(self, atoms: Atoms, *, calculated: bool) -> StoredHessian | None:
        """That of a structure; None if there are none, or a calculator stands in."""
        from ase_vibent.hessian.stored import StoredHessians

        known = StoredHessians(self.all)
        found = known.find(atoms)
        if found is None and self.all and not calculated:
            known(atoms)  # says what is wrong
        return None if found is None else found.reordered(atoms)


def stored_hessians(
    options: argparse.Namespace, structures: Sequence[str], reference: str | None
) -> Stored:
    """What `add_hessians` asks for.

    Parameters
    ----------
    options : Namespace
    structures : sequence of path
        Structures of files that have none themselves; all frames.
    reference : path, optional
        Likewise of the perfect crystal.

    Returns
    -------
    Stored
    """
    if not options.hessian and not options.reference_hessian:
        return Stored([], [])
    atoms = read_structures(structures, options.format)[1] if structures and options.hessian else []
    crystals = read_structures([reference], options.format)[1][-1:] if reference else []
    references = [options.reference_hessian] if options.reference_hessian else []
    defects = read_hessians(options, options.hessian, atoms)
    given = read_hessians(options, references, crystals if references else [])
    return Stored(defects, _in_supercells(given, defects) if defects else given)


def _in_supercells(
    crystals: Sequence[StoredHessian], defects: Sequence[StoredHessian]
) -> list[StoredHessian]:
    """Hessians of crystals in every supercell that there is a defect in."""
    from ase_vibent.crystal.stored import in_supercell
    from ase_vibent.structures.cells import same_cell

    found: list[StoredHessian] = []
    for crystal in crystals:
        for defect in defects:
            if not any(same_cell(known.atoms, defect.atoms) for known in found):
                found.append(in_supercell(crystal, defect.atoms))
    return found


def read_hessians(
    options: argparse.Namespace, paths: Sequence[str], structures: Sequence[Atoms] = ()
) -> list[StoredHessian]:
    """Hessians of files, each with its structure where the files have none."""
    from ase_vibent.hessian import read_hessian

    if structures and len(structures) != len(paths):
        raise InvalidInputError(
            f"--hessian: {len(paths)} files for {len(structures)} structures; give one for each, "
            "or none where the files hold them"
        )
    given = list(structures) or [None] * len(paths)
    return [
        read_hessian(
            path,
            atoms,
            supercell=options.supercell,
            born=getattr(options, "born", None),
            format=options.hessian_format,
            units=options.units,
            displacement=getattr(options, "displacement", None),
            acoustic_sum_rule=options.acoustic_sum_rule,
        )
        for path, atoms in zip(paths, given, strict=True)
    ]
